# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.
"""The tables of a disk file, which may be too large to hold: read in pieces, each checked whenever it is read."""

from __future__ import annotations

import bisect
import struct
from array import array
from collections.abc import Iterator
from typing import Callable

from .._libraries import blake3
from . import format as fmt
from .record_check import RecordCheck

# Records of a piece: what is read at once, and again whenever another piece was wanted meanwhile.
RECORDS_PER_PIECE = 512
_SEGMENT_NUMBER = struct.Struct("<I")  # a record begins with it


class Table:
    """C(count) entries of C(size) bytes, given in runs by C(read) (first, last). Threads may share it.

    C(load) or C(expect) comes first. From then on every piece has to be what it was then, or is said to be: it is read
    again when it is wanted again, and the file may have been damaged meanwhile. C(damaged) makes the error for one that
    is not.
    """

    def __init__(
        self,
        read: Callable[[int, int], bytes],
        count: int,
        size: int,
        per_piece: int,
        damaged: Callable[[], Exception],
    ) -> None:
        self._read = read
        self._size = size
        self._per_piece = per_piece
        self._damaged = damaged
        self.digests = b""  # the BLAKE3 of each piece, one after the other
        # One object, so that no thread sees the piece of another number.
        self._last: tuple[int, bytes] = (-1, b"")
        self.count = count
        self.pieces = -(-count // per_piece)

    def load(self, look: Callable[[bytes], None] = lambda _piece: None) -> str:
        """Read everything once and return its BLAKE3. Nobody knows yet whether what C(look) sees is right."""
        whole = blake3.blake3()
        digests = bytearray()
        for number in range(self.pieces):
            data = self._fetch(number)
            whole.update(data)
            digests += blake3.blake3(data).digest()
            look(data)
            self._last = (number, data)
        self.digests = bytes(digests)
        return str(whole.hexdigest())

    def expect(self, digests: bytes) -> None:
        """Take the BLAKE3 of each piece from somebody who knows them, and read nothing before it is wanted."""
        self.digests = digests

    def piece(self, number: int) -> bytes:
        """Return a piece, the last of which may be short."""
        found, data = self._last
        if found != number:
            data = self._fetch(number)
            if blake3.blake3(data).digest() != self.digests[number * fmt.HASH_SIZE : (number + 1) * fmt.HASH_SIZE]:
                raise self._damaged()
            self._last = (number, data)
        return data

    def entries(self, first: int, last: int) -> bytes:
        """Return the entries from C(first) up to, but not including, C(last)."""
        parts = []
        while first < last:
            number, skip = divmod(first, self._per_piece)
            end = min(last, (number + 1) * self._per_piece)
            parts.append(self.piece(number)[skip * self._size : (skip + end - first) * self._size])
            first = end
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _fetch(self, number: int) -> bytes:
        first = number * self._per_piece
        return self._read(first, min(first + self._per_piece, self.count))


class RecordTable:
    """The records of a file, ascending by segment. C(load) comes first."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._starts = array("Q")  # the first segment of each piece

    def __len__(self) -> int:
        return self._table.count

    def load(self, check: RecordCheck) -> str:
        """Read everything once, for C(check) too; return its BLAKE3."""
        self._starts = array("Q")

        def look(piece: bytes) -> None:
            self._starts.append(_SEGMENT_NUMBER.unpack_from(piece)[0])
            check.add(piece)

        return self._table.load(look)

    def __iter__(self) -> Iterator[fmt.Record]:
        for number in range(self._table.pieces):
            yield from map(fmt.Record._make, fmt.RECORD.iter_unpack(self._table.piece(number)))

    def since(self, segment: int) -> Iterator[fmt.Record]:
        """Yield the records that end behind a segment."""
        size = fmt.RECORD.size
        for number in range(max(bisect.bisect_right(self._starts, segment) - 1, 0), self._table.pieces):
            data = self._table.piece(number)
            low, high = 0, len(data) // size
            while low < high:
                middle = (low + high) // 2
                if _SEGMENT_NUMBER.unpack_from(data, middle * size)[0] <= segment:
                    low = middle + 1
                else:
                    high = middle
            # The last record that begins at or before the segment may end there, too.
            start = max(low - 1, 0)
            if low and fmt.Record._make(fmt.RECORD.unpack_from(data, start * size)).end <= segment:
                start = low
            yield from map(fmt.Record._make, fmt.RECORD.iter_unpack(data[start * size :]))
