# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pictures of a screen, and the letters on it."""

from __future__ import annotations

import struct
import zlib

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.export.screen import Picture, parse_ppm, screen_text

BLACK = Picture(320, 200, bytes(3 * 320 * 200))


def drawn(*places: int) -> Picture:
    pixels = bytearray(BLACK.pixels)
    for place in places:
        pixels[place] = 255
    return Picture(320, 200, bytes(pixels))


def test_ppm() -> None:
    assert parse_ppm(b"P6\n320 200\n255\n" + BLACK.pixels) == BLACK
    for data in (b"", b"P5\n1 1\n255\nx", b"P6\n320 200\n255\n" + bytes(7), b"P6\n0 0\n255\n"):
        with pytest.raises(ValueError, match="PPM"):
            parse_ppm(data)


def test_alike() -> None:
    assert BLACK.blank and not drawn(5).blank
    assert drawn(5).is_like(BLACK)  # a cursor
    assert not drawn(*range(0, 192000, 500)).is_like(BLACK)
    assert not Picture(1, 1, b"abc").is_like(BLACK)


def test_png() -> None:
    picture = drawn(*range(0, 192000, 777))
    png = picture.png()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    parts, place = {}, 8
    while place < len(png):
        (length,) = struct.unpack_from(">I", png, place)
        kind, data = png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        assert struct.unpack_from(">I", png, place + 8 + length)[0] == zlib.crc32(kind + data)
        parts[kind] = data
        place += 12 + length
    assert list(parts) == [b"IHDR", b"IDAT", b"IEND"]
    assert parts[b"IHDR"] == struct.pack(">IIBBBBB", 320, 200, 8, 2, 0, 0, 0)
    rows, above, found = zlib.decompress(parts[b"IDAT"]), bytes(960), b""
    for start in range(0, len(rows), 961):
        row = rows[start + 1 : start + 961]
        above = row if rows[start] == 0 else bytes((new + old) % 256 for new, old in zip(row, above, strict=True))
        found += above
    assert found == picture.pixels


def test_letters() -> None:
    line = b"".join(bytes([letter, 7]) for letter in b"login: \0 _".ljust(80))
    assert screen_text(bytes(160) + line + bytes(160)) == "login:   _"
