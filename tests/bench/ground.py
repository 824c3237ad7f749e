# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the images and the repositories of all tools lie, and what a disk is on it: yesterday, today, today once more.

Two grounds: an XFS in a file, where a new day is a clone as a hot clone on OCFS2 is, with extent maps to compare (takes
root); and a plain directory, where it is a copy.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .install import Unavailable, need_programs
from .spans import changed_extents, clone, copy_sparse, patch, read_blocks
from .workload import Workload

GIB = 1 << 30
CLUSTER = 1 << 20  # of OCFS2, as Oracle VM formats a storage repository
# Where there are no clones, a day is a copy of the whole image.
VERSIONS = ("base", "day", "again")


@dataclass(frozen=True)
class Ground:
    """C(maps): files can be cloned, and their extents compared."""

    directory: Path
    maps: bool
    reason: str = ""

    @property
    def images(self) -> Path:
        return self.directory / "images"

    def image(self, version: str) -> Path:
        """Return the image C(base), C(day), C(again) (the same as day), C(coarse) (day in whole clusters)."""
        return self.images / f"{version}.img"

    def fresh(self, name: str) -> Path:
        """Return a new empty directory."""
        path = self.directory / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path

    def lay(self, workload: Workload) -> None:
        """Put the images of a workload there."""
        self.images.mkdir(exist_ok=True)
        base, live = self.image("base"), self.images / "live.img"
        copy_sparse(workload.image, base)
        if not self.maps:
            copy_sparse(base, self.image("day"))
            patch(self.image("day"), read_blocks(workload.changes))
            copy_sparse(self.image("day"), self.image("again"))
            return
        for version, step in (("day", 0), ("coarse", CLUSTER)):
            # The guest writes to its disk, then that is cloned.
            clone(base, live)
            patch(live, read_blocks(workload.changes), **({"step": step} if step else {}))
            clone(live, self.image(version))
            live.unlink()
        clone(self.image("day"), self.image("again"))

    def copy_tree(self, source: Path, target: Path) -> None:
        """Copy a repository, cheaply where that can be."""
        shutil.rmtree(target, ignore_errors=True)
        subprocess.run(["cp", "-a", "--reflink=auto", str(source), str(target)], check=True)

    def changed(self, version: str) -> int | None:
        """Return the bytes in extents of a version that are not those of the base."""
        return changed_extents(self.image("base"), self.image(version)) if self.maps else None


def place_of(directory: Path, need: int, where: str) -> Path:
    """Return the file for a ground of C(need) bytes, in memory or on the disk, or as it seems best."""
    memory = _memory_for(need) if where == "auto" else Path("/dev/shm")
    if where == "disk" or memory is None:
        return directory / "ground.img"
    # Another clone of the repository may measure at the same time.
    return memory / f"ovm-bench-{os.stat(directory).st_ino}.img"


def _memory_for(need: int) -> Path | None:
    """Return where files lie in memory, if there is so much of it to spare that nobody will miss it."""
    with open("/proc/meminfo", encoding="ascii") as file:
        known = dict(line.split(":", 1) for line in file)
    available = int(known["MemAvailable"].split()[0]) * 1024
    place = Path("/dev/shm")
    if not place.is_dir() or shutil.disk_usage(place).free < need:
        return None
    return place if available > need * 3 // 2 else None


@contextlib.contextmanager
def ground(directory: Path, file: Path, size: int) -> Iterator[Ground]:
    """Give the best ground there is, mounted below a directory, C(size) bytes in a file; remove all of it in the end.

    If there can be no XFS, the directory itself is the ground.
    """
    place = directory / "ground"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        try:
            stack.enter_context(_xfs(file, place, size))
        except Unavailable as error:
            yield Ground(place, False, str(error))
        else:
            yield Ground(place, True)


@contextlib.contextmanager
def _xfs(file: Path, top: Path, size: int) -> Iterator[None]:
    if os.getuid() != 0:
        raise Unavailable("mounting an XFS takes root")
    need_programs({"mkfs.xfs": "xfsprogs"})
    if "\txfs\n" not in Path("/proc/filesystems").read_text(encoding="utf-8"):
        subprocess.run(["modprobe", "xfs"], check=False, stderr=subprocess.DEVNULL)
    file.unlink(missing_ok=True)
    with file.open("wb") as image:
        image.truncate(size)
    try:
        subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", str(file)], check=True)
        command = ["mount", "-o", "loop,discard", str(file), str(top)]
        mounted = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
        if mounted.returncode:
            raise Unavailable(f"an XFS cannot be mounted here: {mounted.stderr.strip()}")
        # The mount holds it: whatever becomes of this process, its space comes free.
        file.unlink()
        try:
            yield
        finally:
            subprocess.run(["umount", str(top)], check=True)
    finally:
        file.unlink(missing_ok=True)
