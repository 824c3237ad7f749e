# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compress and hash the data of an image by the MiB, nothing else.

Usage: python baseline_run.py IMAGE TARGET [CHANGES]

With CHANGES (bench.spans.write_blocks) only the blocks of 64 KiB in which something has changed, by the MiB.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator

import blake3
import zstandard

SEGMENT = 1 << 20
BLOCK = 1 << 16  # what is hashed, as the engine does
RECORD = "<Q4096s"


def data(descriptor: int) -> Iterator[bytes]:
    """Yield the segments that hold data."""
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
    for segment in segments:
        yield os.pread(descriptor, SEGMENT, segment * SEGMENT)


def changed(descriptor: int, changes: str) -> Iterator[bytes]:
    """Yield the blocks that have changed, those of a segment together."""
    blocks: dict[int, dict[int, None]] = {}
    with open(changes, "rb") as file:
        while record := file.read(struct.calcsize(RECORD)):
            offset, _content = struct.unpack(RECORD, record)
            blocks.setdefault(offset // SEGMENT, {})[offset // BLOCK * BLOCK] = None
    for offsets in blocks.values():
        yield b"".join(os.pread(descriptor, BLOCK, offset) for offset in offsets)


def main() -> int:
    """Run as a program."""
    image, target, *changes = sys.argv[1:]
    compressor = zstandard.ZstdCompressor(level=1, write_checksum=True)
    descriptor = os.open(image, os.O_RDONLY)
    with open(target, "wb") as file:
        for raw in changed(descriptor, *changes) if changes else data(descriptor):
            for at in range(0, len(raw), BLOCK):
                blake3.blake3(raw[at : at + BLOCK]).digest()
            file.write(compressor.compress(raw))
    return 0


if __name__ == "__main__":
    sys.exit(main())
