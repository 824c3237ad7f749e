# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A disk image with the files of a server, and what a day changes in it. Made once, kept in a directory.

The image is a real ext4 file system that mke2fs fills with real files, the day goes through that file system (fuse2fs):
no loop device, and outside of containers no root. Content, sizes and places come from a seed. Only time stamps in
inodes differ from one making to the next.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from .content import MIB, PAGE, Content
from .install import need_programs
from .spans import BLOCK, changed_blocks, copy_sparse, write_blocks

VERSION = 1  # of the recipe: another one is another image
SEED = 4
FILLED = 0.70  # of the disk is in files
UUID = "6f766d2e-6261-636b-7570-2d62656e6368"


class Kind(NamedTuple):
    """Files of one sort: where, what they hold, their share of all data, and their smallest and largest size."""

    directory: str
    content: str
    share: float
    smallest: int
    largest: int


KINDS = (
    Kind("usr/bin", "program", 0.14, 16 * 1024, 2 * MIB),
    Kind("usr/lib", "program", 0.20, 8 * 1024, 6 * MIB),
    Kind("usr/share/doc", "text", 0.05, 500, 60 * 1024),
    Kind("etc", "text", 0.003, 100, 12 * 1024),
    Kind("home", "text", 0.16, 2000, 3 * MIB),
    Kind("srv/media", "media", 0.10, 256 * 1024, 16 * MIB),
)
LOGS, LOG_SHARE = 24, 0.15
DATABASE, DATABASE_SHARE = "var/lib/db/base.dat", 0.18

# What a day changes, as shares of all data. Together with the file system's own records that is about 2 %.
DAY_PACKAGES, DAY_LOGS, DAY_PAGES = 0.0095, 0.006, 0.004


@dataclass(frozen=True)
class Workload:
    """The image of yesterday, and what became of it: C(changes) holds the blocks of C(BLOCK) bytes that differ."""

    directory: Path
    size: int
    files: int
    data: int
    changed: int
    written: dict[str, int]

    @property
    def image(self) -> Path:
        return self.directory / "base.img"

    @property
    def changes(self) -> Path:
        return self.directory / "day.changes"


def prepare(directory: Path, size: int) -> Workload:
    """Return the workload for a disk of C(size) bytes, made now if it is not there yet."""
    need_programs({"mke2fs": "e2fsprogs", "e2fsck": "e2fsprogs", "fuse2fs": "fuse2fs"})
    directory = directory / f"workload-{size // MIB}m-{VERSION}"
    record = directory / "workload.json"
    if not record.exists():
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        started = time.monotonic()
        made = _make(directory, size)
        record.write_text(json.dumps(made), encoding="utf-8")
        print(f"Made the image of {size // MIB} MiB and its day in {time.monotonic() - started:.0f} s", flush=True)
    return Workload(directory, **json.loads(record.read_text(encoding="utf-8")))


def _make(directory: Path, size: int) -> dict[str, object]:
    content = Content(SEED)
    tree, image, day = directory / "tree", directory / "base.img", directory / "day.img"
    files, data = _fill(tree, content, int(size * FILLED))
    options = f"hash_seed={UUID},root_owner={os.getuid()}:{os.getgid()}"
    _run("mke2fs", "-q", "-F", "-t", "ext4", "-U", UUID, "-E", options, "-d", str(tree), str(image), f"{size // 1024}k")
    shutil.rmtree(tree)
    copy_sparse(image, day)
    with _mounted(day, directory / "mnt") as top:
        written = _day(top, content, data)
    _run("e2fsck", "-f", "-n", str(day))
    changed = write_blocks(directory / "day.changes", changed_blocks(image, day))
    day.unlink()
    return {"size": size, "files": files, "data": data, "changed": changed * BLOCK, "written": asdict(written)}


def _fill(tree: Path, content: Content, data: int) -> tuple[int, int]:
    """Write the files of the server; return their number and bytes."""
    rng = random.Random(f"{SEED} tree")
    count = total = 0

    def add(name: str, kind: str, size: int) -> None:
        nonlocal count, total
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.make(kind, size, rng))
        os.utime(path, (1_764_000_000, 1_764_000_000))
        count, total = count + 1, total + size

    for kind in KINDS:
        end = total + int(data * kind.share)
        while total < end:
            # Many small files and few large ones; a small disk has no file that is most of it.
            large = max(kind.smallest + 1, min(kind.largest, data // 100))
            size = int(kind.smallest * (large / kind.smallest) ** rng.random())
            add(f"{kind.directory}/{count % 60:02d}/file-{count:06d}", kind.content, size)
    for number in range(LOGS):
        add(f"var/log/app{number:02d}.log", "log", int(data * LOG_SHARE / LOGS))
    add(DATABASE, "pages", int(data * DATABASE_SHARE) // PAGE * PAGE)
    return count, total


@dataclass
class _Written:
    """Bytes that the guest wrote in its day."""

    packages: int = 0
    logs: int = 0
    pages: int = 0


def _day(top: Path, content: Content, data: int) -> _Written:
    """Replace programs as a package manager does, append to logs, write to pages of the database."""
    rng = random.Random(f"{SEED} day")
    written = _Written()
    programs = sorted((top / "usr").glob("[bl]i[nb]/*/*"))
    rng.shuffle(programs)
    while written.packages < data * DAY_PACKAGES and programs:
        old = programs.pop()
        new = old.with_name(old.name + ".new")
        size = max(4096, int(old.stat().st_size * rng.uniform(0.9, 1.15)))
        new.write_bytes(content.make("program", size, rng))
        new.rename(old)
        written.packages += size
    for log in sorted((top / "var/log").glob("*.log")):
        size = int(data * DAY_LOGS / LOGS * rng.uniform(0.2, 1.8))
        with log.open("ab") as file:
            file.write(content.make("log", size, rng))
        written.logs += size
    with (top / DATABASE).open("r+b") as file:
        pages = file.seek(0, os.SEEK_END) // PAGE
        for _number in range(int(data * DAY_PAGES) // PAGE):
            file.seek(rng.randrange(pages) * PAGE)
            file.write(content.make("pages", PAGE, rng))
            written.pages += PAGE
    return written


@contextlib.contextmanager
def _mounted(image: Path, top: Path) -> Iterator[Path]:
    """Give access to the files of an image; the process that does ends with this block, however it is left."""
    top.mkdir()
    server = subprocess.Popen(["fuse2fs", "-f", "-o", "rw", str(image), str(top)], stdout=subprocess.DEVNULL)
    try:
        while not os.path.ismount(top):
            if server.poll() is not None:
                raise SystemExit(f"fuse2fs cannot mount {image}: exit code {server.returncode}")
            time.sleep(0.02)
        yield top
    finally:
        command = ["umount", str(top)] if os.getuid() == 0 else ["fusermount", "-u", str(top)]
        if os.path.ismount(top):
            subprocess.run(command, check=True)
        server.wait()
        top.rmdir()


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}")
