# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Content of files that compresses as that of real ones does, the same for the same seed on every machine.

Each kind has a library of some MiB, which is made once. A file is pieces of it of random length from random places:
quick to make, and no tool finds two equal blocks of the usual sizes in it.
"""

from __future__ import annotations

import random
import string
import struct
from collections.abc import Callable

MIB = 1 << 20
LIBRARY = 24 * MIB
PAGE = 8192  # of the database
_PIECES = (4 * 1024, 32 * 1024)


def _words(rng: random.Random) -> list[str]:
    letters = string.ascii_lowercase
    return ["".join(rng.choices(letters, k=rng.randint(2, 11))) for _number in range(6000)]


def _zipf(count: int) -> list[float]:
    total, sums = 0.0, []
    for rank in range(count):
        total += 1 / (rank + 2)
        sums.append(total)
    return sums


def _text(rng: random.Random) -> bytes:
    words = _words(rng)
    weights = _zipf(len(words))
    lines: list[str] = []
    size = 0
    while size < LIBRARY:
        for _line in range(500):
            line = " ".join(rng.choices(words, cum_weights=weights, k=rng.randint(6, 14)))
            lines.append(line)
            size += len(line) + 1
    return "\n".join(lines).encode()[:LIBRARY]


def _log(rng: random.Random) -> bytes:
    words = _words(rng)[:400]
    forms = [" ".join(rng.sample(words, rng.randint(4, 9))) for _number in range(120)]
    weights = _zipf(len(forms))
    lines: list[str] = []
    size, moment = 0, 1_764_000_000.0
    while size < LIBRARY:
        for form in rng.choices(forms, cum_weights=weights, k=500):
            moment += rng.random() / 4
            number = rng.getrandbits(40)
            line = (
                f"{moment:.6f} host{number % 7} app[{2000 + number % 61}]: {form} "
                f"id={number:010x} from=10.1.{number % 13}.{number % 251} ms={number % 997}"
            )
            lines.append(line)
            size += len(line) + 1
    return "\n".join(lines).encode()[:LIBRARY]


def _program(rng: random.Random) -> bytes:
    """Return what looks like machine code to a compressor: few short sequences often, and operands between them."""
    codes = [rng.randbytes(rng.choice((3, 4, 5, 7, 9, 12))) for _number in range(900)]
    weights = _zipf(len(codes))
    parts: list[bytes] = []
    size = 0
    while size < LIBRARY:
        chosen = rng.choices(codes, cum_weights=weights, k=2000)
        for start in range(0, 2000, 16):
            parts += chosen[start : start + 16]
            parts.append(rng.randbytes(1))
        size += sum(map(len, chosen)) + 125
    return b"".join(parts)[:LIBRARY]


def _pages(rng: random.Random) -> bytes:
    """Return pages of a database: a header, rows with numbers and names, and free space at the end of the page."""
    words = [word.encode() for word in _words(rng)]
    pages = []
    for number in range(LIBRARY // PAGE):
        rows = [struct.pack("<QIIHH", rng.getrandbits(48), number, rng.getrandbits(32), 24, PAGE)]
        size, limit = len(rows[0]), rng.randint(PAGE // 3, PAGE - 64)
        while size < limit:
            name = b" ".join(rng.choices(words, k=3))
            row = struct.pack("<IIQH", number, rng.getrandbits(20), len(rows), len(name)) + name
            rows.append(row)
            size += len(row)
        pages.append(b"".join(rows).ljust(PAGE, b"\0")[:PAGE])
    return b"".join(pages)


_MAKERS: dict[str, Callable[[random.Random], bytes]] = {
    "text": _text,
    "log": _log,
    "program": _program,
    "pages": _pages,
}


class Content:
    """Gives the content of files. C(media) is what cannot be compressed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._libraries: dict[str, bytes] = {}

    def make(self, kind: str, size: int, rng: random.Random) -> bytes:
        """Return C(size) bytes of a kind: text, log, program, pages or media."""
        if kind == "media":
            return rng.randbytes(size)
        library = self._library(kind)
        step = PAGE if kind == "pages" else 1
        parts: list[bytes] = []
        left = size
        while left > 0:
            length = min(left, PAGE if kind == "pages" else rng.randint(*_PIECES))
            start = rng.randrange(0, (len(library) - length) // step + 1) * step
            parts.append(library[start : start + length])
            left -= length
        if kind == "pages":
            # The same page is nowhere twice: each has its number, and that of its last change.
            parts = [struct.pack("<QQ", rng.getrandbits(60), number) + part[16:] for number, part in enumerate(parts)]
        return b"".join(parts)[:size]

    def _library(self, kind: str) -> bytes:
        if kind not in self._libraries:
            self._libraries[kind] = _MAKERS[kind](random.Random(f"{self._seed} {kind}"))
        return self._libraries[kind]
