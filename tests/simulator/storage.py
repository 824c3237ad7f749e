# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Storage repositories as directories with real files (ovm-rest-api 8.2, 14.7)."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Protocol

from .computed import config_path, disk_path
from .store import Obj, Store
from .vmcfg import render_config

FICLONE = 0x40049409
MIB = 1 << 20
FOLDERS = ("Assemblies", "ISOs", "Templates", "VirtualDisks", "VirtualMachines")


def copy_image(source: Path, target: Path, *, sparse: bool = True) -> None:
    """Copy an image: a reflink where the file system can, else only the ranges that hold data; mode 0644.

    The target must not exist; it is removed again if the copy fails.
    """
    fd = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        with open(source, "rb") as src, os.fdopen(fd, "wb") as dst:
            os.fchmod(dst.fileno(), 0o644)
            try:
                fcntl.ioctl(dst.fileno(), FICLONE, src.fileno())
            except OSError:
                _copy_data(src.fileno(), dst.fileno(), sparse=sparse)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _copy_data(src: int, dst: int, *, sparse: bool) -> None:
    size = os.fstat(src).st_size
    os.ftruncate(dst, size)
    if not sparse and size:
        os.posix_fallocate(dst, 0, size)
    position = 0
    while position < size:
        try:
            begin = os.lseek(src, position, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole is left
            return
        end = os.lseek(src, begin, os.SEEK_HOLE)
        while begin < end:
            data = os.pread(src, min(end - begin, 4 * MIB), begin)
            if not data:
                return
            begin += os.pwrite(dst, data, begin)
        position = end


class Elsewhere(Protocol):
    """Repositories that are only mounted here, and what only their own file system can do."""

    def clone(self, source: Path, target: Path) -> bool:
        """Clone an image; False if the two do not lie there."""

    def allocated(self, path: Path) -> int | None:
        """Bytes that a file occupies, None if it does not lie there."""


class Storage:
    """The tree ``<state>/OVS/Repositories`` of all repositories."""

    def __init__(self, root: Path, store: Store) -> None:
        self.root = root
        self.elsewhere: Elsewhere | None = None
        self._store = store
        self._written: dict[Path, str] = {}
        root.mkdir(parents=True, exist_ok=True)

    def repository(self, repository_id: str) -> Path:
        """Directory of a repository."""
        return self.root / repository_id

    def disk(self, disk: Obj) -> Path:
        """File of a virtual disk or ISO (not of the empty drive)."""
        return self.repository(disk["repositoryId"].id) / (disk_path(disk) or "").lstrip("/")

    def make(self, repository: Obj) -> None:
        """Make the folders of a repository."""
        for folder in FOLDERS:
            (self.repository(repository.id) / folder).mkdir(parents=True, exist_ok=True)

    def copy(self, source: Path, target: Path, *, sparse: bool = True) -> None:
        """Copy an image, as a clone does."""
        if not sparse or self.elsewhere is None or not self.elsewhere.clone(source, target):
            copy_image(source, target, sparse=sparse)

    def allocated(self, path: Path) -> int:
        """Bytes that a file occupies, in OCFS2's clusters of 1 MiB (ovm-rest-api 15.4)."""
        try:
            size = self.elsewhere.allocated(path) if self.elsewhere is not None else None
            if size is None:
                size = path.stat().st_blocks * 512
        except OSError:
            return 0
        return -(-size // MIB) * MIB

    def sync(self) -> None:
        """Bring vm.cfg, .ovsmeta and .ovsrepo files in line with the objects: writes and removes what differs."""
        wanted: dict[Path, str] = {}
        for repo in self._store.all("Repository"):
            base = self.repository(repo.id)
            wanted[base / ".ovsrepo"] = f"OVS_REPO_UUID={repo.id}\nOVS_REPO_ALIAS={repo.name}\nOVS_REPO_VERSION=3.0\n"
            wanted[base / ".ovsmeta"] = self._meta(repo)
        for vm in self._store.all("Vm"):
            if vm["repositoryId"] is not None:
                path = self.repository(vm["repositoryId"].id) / config_path(vm).lstrip("/")
                wanted[path] = render_config(self._store, vm)
        for path in [path for path in self._written if path not in wanted]:
            path.unlink(missing_ok=True)
            if path.name == "vm.cfg":
                shutil.rmtree(path.parent, ignore_errors=True)
            del self._written[path]
        for path, text in wanted.items():
            if self._written.get(path) != text:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
                self._written[path] = text

    def _meta(self, repo: Obj) -> str:
        files = {
            disk.id: {"OBJECT_TYPE": disk["diskType"], "SIMPLE_NAME": disk.name}
            for disk in self._store.back("VirtualDisk", "repositoryId", repo.ref)
        }
        return json.dumps(files, ensure_ascii=False, indent=1) + "\n"

    def forget(self, path: Path) -> None:
        """A file that is known but was taken over from outside (a hand-placed vm.cfg)."""
        self._written.pop(path, None)
