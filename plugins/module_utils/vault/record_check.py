# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Whether the records of a disk file fit their disk and their file, whoever wrote them."""

from __future__ import annotations

import functools
import operator
from array import array

from . import format as fmt
from .lanes import BITS, Lanes, lanes


class RecordMisfit(Exception):
    """A record, given by its index, does not fit the disk or the file."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


class RecordCheck:
    """Looks at all records of a file whose frames end at C(data_end), given in order; C(end) has the verdict."""

    def __init__(self, geometry: fmt.Geometry, full: bool, data_end: int) -> None:
        self._full = full
        self._data_end = data_end
        self._total = geometry.segments
        self._every = (1 << geometry.segment_size // geometry.block_size) - 1
        self._last = geometry.mask(geometry.segments - 1)
        self._expected = 0  # the first segment that no record was seen of
        self._hashes = 0
        self._index = 0
        self._misfit = False

    def add(self, records: bytes) -> None:
        """Look at the next records."""
        if self._misfit or self._fit(records):
            return
        size = fmt.RECORD.size
        for start in range(0, len(records), size):
            if not self._fit(records[start : start + size]):
                self._misfit = True
                return

    def end(self) -> int:
        """Return the number of hashes that the records own together; raise C(RecordMisfit) for the first bad one."""
        if self._misfit or (self._full and self._expected != self._total):
            raise RecordMisfit(self._index)
        return self._hashes

    def _fit(self, records: bytes) -> bool:
        """Look at records all at once; say of none that it was seen if there is a bad one among them."""
        count = len(records) // fmt.RECORD.size
        line, items = lanes(count), array("Q", records)
        head, offset, length, stored, zero, first_hash = (line.column(items, number) for number in range(6))
        segment, segments = line.halves(head)
        end = segment + segments
        next_hash = first_hash + line.bit_counts(stored & ~zero)
        expected = line.shifted(end, self._expected)
        every = whole = line.fill(self._every)
        if line.last(segment) == self._total - 1:
            whole = line.replace_last(every, self._last)
        one = line.fill(1)
        framed = line.not_zero(stored)
        unframed = framed ^ line.not_zero(one)
        run = line.not_zero(segments & ~one)
        good = (
            # Before anything is concluded from sums: no file is as large as this.
            not (offset | length | first_hash) & line.fill(3 << BITS - 2)
            and line.at_least(line.fill(self._data_end), offset + length)
            and line.at_least(segments, one)
            and (segment == expected if self._full else line.at_least(segment, expected))
            and line.last(end) <= self._total
            and first_hash == line.shifted(next_hash, self._hashes)
            and not (stored & ~whole or zero & ~every)
            and not framed & ~line.not_zero(length)
            and not (unframed and unframed & _hashed(line, items))
            and not run & (framed | line.not_zero(zero ^ every))
            and not (self._full and ~(stored | zero) & whole)
        )
        if good:
            self._expected = line.last(end)
            self._hashes = line.last(next_hash)
            self._index += count
        return good


def _hashed(line: Lanes, items: array[int]) -> int:
    """Return the marks of the records that have the hash of a frame."""
    parts = (line.column(items, number) for number in range(6, 10))
    return line.not_zero(functools.reduce(operator.or_, parts))
