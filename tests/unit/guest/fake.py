# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stands in for an appliance: a tree of files in memory, and the answers of libguestfs that we ask for.

The integration targets look into real file systems with the real appliance.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import stat
import threading
from collections.abc import Iterator
from typing import Any

from ansible_collections.ovm.backup.plugins.module_utils.errors import GuestFileError
from ansible_collections.ovm.backup.plugins.module_utils.guest.appliance import shown
from ansible_collections.ovm.backup.plugins.module_utils.guest.libguestfs import Status

TIME = 1_700_000_000_500_000_000
FILE, DIRECTORY, LINK, DEVICE = stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFCHR


class FakeGuest:
    """Files by path. C(claims) are sizes that the guest claims for files which give something else."""

    def __init__(self, files: dict[bytes, bytes] | None = None) -> None:
        self.files: dict[bytes, tuple[int, bytes, int]] = {b"/": (DIRECTORY | 0o755, b"", TIME)}
        self.claims: dict[bytes, int] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.filesystems = {b"/dev/sda1": b"ext4", b"/dev/sda2": b"swap"}
        self.systems: dict[bytes, dict[bytes, bytes]] = {b"/dev/sda1": {b"/": b"/dev/sda1"}}
        self.broken: set[bytes] = set()
        for path, content in (files or {}).items():
            self.add(path, content)

    def add(self, path: bytes, content: bytes = b"", mode: int = FILE | 0o644, mtime: int = TIME) -> None:
        """Put something into the tree, with the directories above it."""
        above = posixpath.dirname(path)
        while above not in self.files:
            self.files[above] = (DIRECTORY | 0o755, b"", TIME)
            above = posixpath.dirname(above)
        self.files[path] = (mode, content, mtime)

    def __enter__(self) -> FakeGuest:
        return self

    def __exit__(self, *_exception: object) -> None:
        pass

    def status(self, path: bytes) -> Status:
        if path not in self.files:
            raise GuestFileError(f"Cannot read {shown(path)} in the guest: lstatns: No such file", path=shown(path))
        mode, content, mtime = self.files[path]
        size = self.claims.get(path, len(content))
        return Status(mode, 0, 0, size, -(-size // 512), mtime - 10**9, mtime)

    def directory(self, path: bytes) -> Iterator[tuple[bytes, Status]]:
        names = sorted(posixpath.basename(one) for one in self.files if posixpath.dirname(one) == path and one != b"/")
        return ((name, self.status(posixpath.join(path, name))) for name in names)

    def link(self, path: bytes) -> bytes:
        return self.files[path][1]

    @contextlib.contextmanager
    def content(self, path: bytes) -> Iterator[int]:
        ours, theirs = os.pipe()

        def write() -> None:
            with contextlib.suppress(BrokenPipeError), open(theirs, "wb") as file:
                file.write(self.files[path][1])

        thread = threading.Thread(target=write)
        thread.start()
        try:
            yield ours
        finally:
            os.close(ours)
            thread.join()

    def do(self, name: str, *arguments: Any) -> int:
        self.calls.append((name, *arguments))
        if name == "mount_ro" and arguments[0] in self.broken:
            raise GuestFileError(f"{name}: {arguments[0].decode()}: wrong fs type")
        return 1024

    def text(self, name: str, *arguments: Any) -> str:
        if name == "vfs_label":
            raise GuestFileError("it has none")
        return name.rpartition("_")[2]

    def words(self, name: str, *arguments: Any) -> list[bytes]:
        return list(self.systems)

    def pairs(self, name: str, *arguments: Any) -> dict[bytes, bytes]:
        return self.filesystems if name == "list_filesystems" else self.systems[arguments[0]]
