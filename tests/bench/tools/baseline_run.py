# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compress and hash the data of an image by the MiB, nothing else.

Usage: python baseline_run.py PROCESSES IMAGE TARGET [CHANGES]

With CHANGES (bench.spans.write_blocks) only the blocks of 64 KiB in which something has changed, by the MiB. Each
process does its share of them, and writes a file of its own.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Sequence

import blake3
import zstandard

SEGMENT = 1 << 20
BLOCK = 1 << 16  # what is hashed, as the engine does
RECORD = "<Q4096s"

Parts = list[tuple[int, int]]  # offset and length, of what is compressed together


def data(descriptor: int) -> list[Parts]:
    """Return the segments that hold data."""
    size = os.fstat(descriptor).st_size
    segments: dict[int, None] = {}
    offset = 0
    while offset < size:
        try:
            start = os.lseek(descriptor, offset, os.SEEK_DATA)
        except OSError:
            break
        offset = os.lseek(descriptor, start, os.SEEK_HOLE)
        segments.update(dict.fromkeys(range(start // SEGMENT, -(-offset // SEGMENT))))
    return [[(segment * SEGMENT, SEGMENT)] for segment in segments]


def changed(changes: str) -> list[Parts]:
    """Return the blocks that have changed, those of a segment together."""
    blocks: dict[int, dict[tuple[int, int], None]] = {}
    with open(changes, "rb") as file:
        while record := file.read(struct.calcsize(RECORD)):
            offset, _content = struct.unpack(RECORD, record)
            blocks.setdefault(offset // SEGMENT, {})[offset // BLOCK * BLOCK, BLOCK] = None
    return [list(offsets) for offsets in blocks.values()]


def work(descriptor: int, target: str, share: Sequence[Parts]) -> None:
    """Do the share of one process."""
    compressor = zstandard.ZstdCompressor(level=1, write_checksum=True)
    with open(target, "wb") as file:
        for parts in share:
            raw = b"".join(os.pread(descriptor, length, offset) for offset, length in parts)
            for at in range(0, len(raw), BLOCK):
                blake3.blake3(raw[at : at + BLOCK]).digest()
            file.write(compressor.compress(raw))


def main() -> int:
    """Run as a program."""
    image, target, *changes = sys.argv[2:]
    processes = int(sys.argv[1])
    descriptor = os.open(image, os.O_RDONLY)
    found = changed(*changes) if changes else data(descriptor)
    children = []
    for number in range(1, processes):
        child = os.fork()
        if not child:
            work(descriptor, f"{target}.{number}", found[number::processes])
            return 0
        children.append(child)
    work(descriptor, f"{target}.0", found[::processes])
    return max((os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children), default=0)


if __name__ == "__main__":
    sys.exit(main())
