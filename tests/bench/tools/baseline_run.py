# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compress and hash the data of an image by the MiB, nothing else.

Usage: python baseline_run.py IMAGE TARGET
"""

from __future__ import annotations

import os
import sys

import blake3
import zstandard

SEGMENT = 1 << 20
BLOCK = 1 << 16  # what is hashed, as the engine does


def main() -> int:
    """Run as a program."""
    image, target = sys.argv[1:]
    compressor = zstandard.ZstdCompressor(level=1, write_checksum=True)
    descriptor = os.open(image, os.O_RDONLY)
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
    with open(target, "wb") as file:
        for segment in segments:
            raw = os.pread(descriptor, SEGMENT, segment * SEGMENT)
            for at in range(0, len(raw), BLOCK):
                blake3.blake3(raw[at : at + BLOCK]).digest()
            file.write(compressor.compress(raw))
    return 0


if __name__ == "__main__":
    sys.exit(main())
