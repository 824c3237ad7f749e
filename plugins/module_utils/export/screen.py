# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The screen of a machine: pictures as qemu takes them, as PNG, how alike two are; and the letters of a text screen."""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

_HEAD = re.compile(rb"P6\s+(\d{1,5})\s+(\d{1,5})\s+255\s")
_LARGEST = 64 * 1024 * 1024
_PIECE = 96  # bytes that are compared at once: 32 pixels
# A cursor that blinks and a clock that ticks change so much, a screen that goes on changes more.
_ALIKE = 0.002
TEXT_ADDRESS, TEXT_SIZE = 0xB8000, 80 * 25 * 2


@dataclass(frozen=True)
class Picture:
    """A screen, three bytes for each pixel."""

    width: int
    height: int
    pixels: bytes

    @property
    def blank(self) -> bool:
        """Return whether all pixels have the same colour: nothing was shown yet, or nothing any more."""
        return self.pixels == self.pixels[:3] * (self.width * self.height)

    def is_like(self, other: Picture) -> bool:
        """Return whether two pictures show the same but for a few places."""
        if (self.width, self.height) != (other.width, other.height):
            return False
        if self.pixels == other.pixels:
            return True
        places = range(0, len(self.pixels), _PIECE)
        changed = sum(self.pixels[at : at + _PIECE] != other.pixels[at : at + _PIECE] for at in places)
        return changed <= max(2, len(places) * _ALIKE)

    def png(self) -> bytes:
        """Return it as PNG. Each row is stored as its difference to the one above, which is mostly zeros."""
        stride = 3 * self.width
        above = bytes(stride)
        rows = bytearray()
        for start in range(0, len(self.pixels), stride):
            row = self.pixels[start : start + stride]
            if row == above:
                rows += b"\2" + bytes(stride)
            else:
                rows += b"\0" + row
            above = row
        head = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        parts = (_chunk(b"IHDR", head), _chunk(b"IDAT", zlib.compress(bytes(rows), 9)), _chunk(b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def parse_ppm(data: bytes) -> Picture:
    """Return the picture of a PPM file; raise C(ValueError) for anything else."""
    head = _HEAD.match(data)
    if head is None:
        raise ValueError("it is not a PPM picture")
    width, height = int(head[1]), int(head[2])
    pixels = data[head.end() :]
    if not 0 < 3 * width * height <= _LARGEST or len(pixels) != 3 * width * height:
        raise ValueError("the PPM picture is cut off")
    return Picture(width, height, pixels)


def screen_text(memory: bytes) -> str:
    """Return the letters of a screen in text mode: in its memory each has a byte, and one for its colour.

    A screen in graphics mode gives gibberish, in which nothing sensible is found.
    """
    letters = memory[0::2].decode("cp437")
    lines = [letters[at : at + 80].replace("\0", " ").rstrip() for at in range(0, len(letters), 80)]
    return "\n".join(lines).strip("\n")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
