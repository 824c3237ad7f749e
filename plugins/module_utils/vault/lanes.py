# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Arithmetic with a whole column of a table at once: what the interpreter does for each number is what takes long."""

from __future__ import annotations

import functools
from array import array

BITS = 64
_SIZE = BITS // 8
_TOP = 1 << (BITS - 1)


class Lanes:
    """Columns of C(count) numbers of 64 bits, each column in one large integer, the first number in its lowest bits.

    What is added, or compared with C(at_least), has to be small enough for 63 bits.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._ones = int.from_bytes((1).to_bytes(_SIZE, "little") * count, "little")
        self._tops = self._ones * _TOP
        self._rest = self._ones * (_TOP - 1)
        self._whole = self._tops | self._rest
        # Of bit_counts: every second bit, two of four, four of eight, and the number that a byte can come to.
        self._masks = tuple(self._ones * int(byte * _SIZE, 16) for byte in ("55", "33", "0f"))
        self._bytes = self._ones * 0x7F

    def column(self, items: array[int], number: int) -> int:
        """Return a column of a table whose fields are little endian; C(items) are all its numbers, row by row."""
        # The items are moved only, so nothing depends on the order of their bytes here.
        return int.from_bytes(items[number :: len(items) // self.count].tobytes(), "little")

    def halves(self, column: int) -> tuple[int, int]:
        """Return the lower and the upper 32 bits of each number."""
        low = self._ones * 0xFFFFFFFF
        return column & low, column >> 32 & low

    def fill(self, number: int) -> int:
        """Return a column of one number."""
        return self._ones * number

    def last(self, column: int) -> int:
        """Return the last number of a column."""
        return column >> BITS * (self.count - 1)

    def replace_last(self, column: int, number: int) -> int:
        """Return the column with another last number."""
        return column ^ (self.last(column) ^ number) << BITS * (self.count - 1)

    def shifted(self, column: int, first: int) -> int:
        """Return the column with each number where the next one was, the last left out, and another first."""
        return column << BITS & self._whole | first

    def bit_counts(self, column: int) -> int:
        """Return how many bits of each number are set."""
        ones, pairs, fours = self._masks
        column -= column >> 1 & ones
        column = (column & pairs) + (column >> 2 & pairs)
        column = column + (column >> 4) & fours
        for shift in (8, 16, 32):
            column += column >> shift
        return column & self._bytes

    def not_zero(self, column: int) -> int:
        """Return a column in which the numbers that are not 0 are marked: two such columns compare as sets do."""
        return ((column & self._rest) + self._rest | column) & self._tops

    def at_least(self, column: int, least: int) -> bool:
        """Return whether no number is less than that of another column in the same place."""
        return ((column | self._tops) - least) & self._tops == self._tops


@functools.lru_cache(maxsize=8)
def lanes(count: int) -> Lanes:
    """Return the lanes for columns of so many numbers."""
    return Lanes(count)
