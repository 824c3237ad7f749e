# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Flip a bit in a part of a disk file of the vault, and print the offset that a reader has to name for it.

Usage: python damage.py COPY [FILE frame|records|hashes|header]

What an earlier call damaged is repaired first, from COPY, where it left the file as it was. The parts are found from
the end of the file, as the description of the format says.
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path

FOOTER = struct.Struct("<IBI")  # number of frames, descriptor, magic number
ENTRY = struct.Struct("<II")  # compressed and uncompressed size of a frame
SKIPPABLE = struct.Struct("<II")  # magic number, size of the content


def main() -> None:
    """Run as a program."""
    copy = Path(sys.argv[1])
    name = copy.with_suffix(".name")
    if copy.exists():
        Path(name.read_text(encoding="utf-8")).write_bytes(copy.read_bytes())
        copy.unlink()
    if len(sys.argv) > 2:
        path = Path(sys.argv[2])
        name.write_text(str(path), encoding="utf-8")
        copy.write_bytes(path.read_bytes())
        print(damage(path, sys.argv[3]))


def damage(path: Path, part: str) -> int:
    """Flip a bit and return the offset to be named."""
    data = bytearray(path.read_bytes())
    footer = len(data) - FOOTER.size
    frames = FOOTER.unpack_from(data, footer)[0]
    table = footer - frames * ENTRY.size - SKIPPABLE.size
    header = table - ENTRY.unpack_from(data, footer - ENTRY.size)[0]
    facts = json.loads(data[header + SKIPPABLE.size : table])
    # Where the bit is flipped, and what is named.
    places = {
        "frame": (12, 0),
        "records": (facts["records_offset"], facts["records_offset"]),
        "hashes": (facts["hashes_offset"], facts["hashes_offset"]),
        "header": (header + SKIPPABLE.size + 1, header),
    }
    flipped, named = places[part]
    data[flipped] ^= 0x10
    path.write_bytes(data)
    return int(named)


if __name__ == "__main__":
    main()
