# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Lines of text for people: names from outside that cannot break a line, and columns that stand under each other."""

from __future__ import annotations

import math
import re
import time
import unicodedata
from collections.abc import Collection, Mapping, Sequence

# Control characters, lines and paragraphs, half surrogate pairs; and what turns the direction of writing around.
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TURNING = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_WIDE = frozenset("FW")  # fullwidth and wide (Unicode Standard Annex 11)
_NOT_IN_NAMES = re.compile(r"[^\w.-]")
_NO_WIDTH = frozenset({"Mn", "Me", "Cf"})


def held_text(until: float) -> str:
    """Return in words how object lock keeps an object, until then (seconds since 1970, infinity for no end)."""
    if math.isinf(until):
        return "under a legal hold of object lock"
    return time.strftime("under object lock until %Y-%m-%d %H:%M:%S UTC", time.gmtime(until))


def one_line(value: object) -> str:
    """Return a text as one line: line breaks become blanks, what a terminal would obey becomes a replacement sign."""
    joined = re.sub(r"[\r\n]+[ \t]*", " ", str(value))
    return "".join(
        "\ufffd" if char in _TURNING or unicodedata.category(char) in _UNPRINTABLE else char for char in joined
    )


def number_of(number: int, noun: str) -> str:
    """Return how many of something there are, in words that fit."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def safe_name(text: str) -> str:
    """Return a name for a file that belongs to something with another kind of name."""
    return _NOT_IN_NAMES.sub("_", text)


def width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(
        0 if unicodedata.category(char) in _NO_WIDTH else 2 if unicodedata.east_asian_width(char) in _WIDE else 1
        for char in text
    )


def left(text: str, columns: int) -> str:
    """Fill a text up with blanks behind it."""
    return text + " " * (columns - width(text))


def right(text: str, columns: int) -> str:
    """Fill a text up with blanks before it."""
    return " " * (columns - width(text)) + text


def table(rows: Sequence[Mapping[str, str]], numbers: Collection[str]) -> list[str]:
    """Return rows under their titles, which are their keys; the columns of these names stand on the right."""
    if not rows:
        return []
    titles = list(rows[0])
    widths = {title: max(width(row[title]) for row in ({title: title}, *rows)) for title in titles}
    if titles[-1] not in numbers:
        widths[titles[-1]] = width(titles[-1])  # nothing stands behind it, and it may be a long text

    def line(cells: Mapping[str, str]) -> str:
        parts = [(right if title in numbers else left)(cells[title], widths[title]) for title in titles]
        return "  ".join(parts).rstrip()

    rule = line({title: "-" * widths[title] for title in titles})
    return [line({title: title for title in titles}), rule, *(line(row) for row in rows)]
