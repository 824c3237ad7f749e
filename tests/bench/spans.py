# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parts of large files: which hold data, which differ, what the extents of two clones say, copies that stay sparse."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import re
import struct
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

BLOCK = 4096
_STEP = 1 << 20
_FICLONE = 0x40049409  # of <linux/fs.h>
_FICLONERANGE = 0x4020940D
_EXTENT = re.compile(r"^ *\d+: *(\d+)\.\. *(\d+): *(\d+)\.\. *(\d+): *(\d+):(?: *\d+:)? *(\S*)", re.M)


def data_spans(descriptor: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of what is no hole."""
    offset, size = 0, os.fstat(descriptor).st_size
    while offset < size:
        try:
            start = os.lseek(descriptor, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        offset = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, offset


def pieces(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield offset and content of all data of a file, in pieces that no multiple of 1 MiB crosses."""
    with path.open("rb", buffering=0) as file:
        for start, end in data_spans(file.fileno()):
            while start < end:
                length = min(end, (start // _STEP + 1) * _STEP) - start
                data = os.pread(file.fileno(), length, start)
                yield start, data
                start += len(data)


def copy_sparse(source: Path, target: Path) -> None:
    """Copy what is not zero, by 4 KiB."""
    zero = bytes(BLOCK)
    with target.open("wb") as file:
        file.truncate(source.stat().st_size)
        for offset, data in pieces(source):
            run = None
            for at in range(0, len(data) + BLOCK, BLOCK):
                block = data[at : at + BLOCK]
                if block and block != zero[: len(block)]:
                    run = at if run is None else run
                elif run is not None:
                    file.seek(offset + run)
                    file.write(data[run:at])
                    run = None


def warm(*paths: Path) -> None:
    """Read files, so that whoever comes next finds them in the page cache."""
    for path in paths:
        for _offset, _data in pieces(path):
            pass


def claim_memory(size: int) -> None:
    """Write to so many bytes of free memory, and free them again: the host of a virtual machine may have taken it back.

    Linux tells a hypervisor that asks for it what is free, and whoever writes there next waits until it has it again.
    That goes on all the time, so this is for what comes at once.
    """
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    size = min(size, free * 9 // 10)
    if size < mmap.PAGESIZE:
        return
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        with contextlib.suppress(OSError):  # a kernel without huge pages
            memory.madvise(mmap.MADV_HUGEPAGE)
        for start in range(0, size, mmap.PAGESIZE):
            memory[start] = 1


def same_content(one: Path, other: Path) -> bool:
    """Compare two files byte by byte."""
    return subprocess.run(["cmp", "--quiet", str(one), str(other)], check=False).returncode == 0


def changed_blocks(before: Path, after: Path) -> Iterator[tuple[int, bytes]]:
    """Yield offset and new content of the blocks of 4 KiB that differ. Both files have the same size."""
    with before.open("rb", buffering=0) as old, after.open("rb", buffering=0) as new:
        size = os.fstat(new.fileno()).st_size
        for start in range(0, size, _STEP):
            ours = os.pread(old.fileno(), _STEP, start)
            theirs = os.pread(new.fileno(), _STEP, start)
            if ours != theirs:
                for at in range(0, len(theirs), BLOCK):
                    if ours[at : at + BLOCK] != theirs[at : at + BLOCK]:
                        yield start + at, theirs[at : at + BLOCK]


def write_blocks(path: Path, blocks: Iterable[tuple[int, bytes]]) -> int:
    """Keep blocks in a file; return how many."""
    count = 0
    with path.open("wb") as file:
        for offset, data in blocks:
            file.write(struct.pack("<Q", offset) + data)
            count += 1
    return count


def read_blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield what C(write_blocks) has kept."""
    with path.open("rb") as file:
        while record := file.read(8 + BLOCK):
            yield struct.unpack_from("<Q", record)[0], record[8:]


def patch(path: Path, blocks: Iterable[tuple[int, bytes]], *, step: int = BLOCK) -> None:
    """Write blocks into a file. With a larger C(step) all that lies around them is written anew, too."""
    with path.open("r+b", buffering=0) as file:
        done = -1
        for offset, data in blocks:
            os.pwrite(file.fileno(), data, offset)
            around = offset // step * step
            if step > BLOCK and around != done:
                os.pwrite(file.fileno(), os.pread(file.fileno(), step, around), around)
                done = around


def clone(source: Path, target: Path) -> None:
    """Make a file that shares all blocks of another one (FICLONE)."""
    with source.open("rb") as old, target.open("wb") as new:
        fcntl.ioctl(new, _FICLONE, old.fileno())


def clone_range(source: int, offset: int, length: int, target: int, at: int) -> None:
    """Let a part of an open file share blocks of another one."""
    fcntl.ioctl(target, _FICLONERANGE, struct.pack("<qQQQ", source, offset, length, at))


def extents(path: Path) -> list[tuple[int, int, int, bool]]:
    """Return (logical, physical, length, unwritten) of a file in bytes, as filefrag tells it."""
    done = subprocess.run(["filefrag", "-v", "-b4096", str(path)], check=True, stdout=subprocess.PIPE, text=True)
    found = []
    for first, _last, physical, _end, length, flags in _EXTENT.findall(done.stdout):
        numbers = int(first) * BLOCK, int(physical) * BLOCK, int(length) * BLOCK
        found.append((*numbers, "unwritten" in flags))
    return found


def changed_extents(before: Path, after: Path) -> int:
    """Return how many bytes of C(after) lie elsewhere than those of C(before): the least that must be read.

    By the block, and with a parser that is not the engine's, because it is what the engine is measured with.
    """
    known = {}
    for logical, physical, length, unwritten in extents(before):
        for at in range(0, length, BLOCK):
            known[logical + at] = (physical + at, unwritten)
    changed = 0
    for logical, physical, length, unwritten in extents(after):
        if not unwritten:
            changed += sum(known.get(logical + at) != (physical + at, False) for at in range(0, length, BLOCK))
    return changed * BLOCK
