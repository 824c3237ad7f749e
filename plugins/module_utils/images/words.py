# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What the program on a server tells of spans: words for data, zeros and sameness, turned into pieces of an image."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from ..errors import ServerToolError
from .dom0_program import DATA, KIND_SHIFT, LENGTH_MASK, SAME, ZERO
from .types import Piece, Span


class _Words:
    """Hands out what is told, in portions of the size that is asked for."""

    def __init__(self, payloads: Iterable[bytes]) -> None:
        self._told = self._read(payloads)
        self._rest: tuple[int, int, memoryview] | None = None

    def take(self, length: int) -> Iterator[tuple[int, int, memoryview]]:
        """Yield kind, length and data of the next C(length) bytes."""
        while length:
            word = self._rest or next(self._told, None)
            if word is None:
                raise _nonsense()
            kind, size, data = word
            self._rest = None
            if size > length:
                self._rest = (kind, size - length, data[length:])
                size, data = length, data[:length]
            length -= size
            yield kind, size, data

    def finish(self) -> None:
        """Take the end of the answer; raise when more was told than asked for."""
        if self._rest or next(self._told, None) is not None:
            raise _nonsense()

    @staticmethod
    def _read(payloads: Iterable[bytes]) -> Iterator[tuple[int, int, memoryview]]:
        for payload in payloads:
            try:
                (count,) = struct.unpack_from(">I", payload)
                words = struct.unpack_from(f">{count}I", payload, 4)
            except struct.error as error:
                raise _nonsense() from error
            view, position = memoryview(payload), 4 + 4 * count
            for word in words:
                kind, size = word >> KIND_SHIFT, word & LENGTH_MASK
                data = view[position : position + size] if kind == DATA else view[:0]
                if kind > SAME or not size or (kind == DATA and len(data) < size):
                    raise _nonsense()
                position += len(data)
                yield kind, size, data


def pieces_of(cells: Iterable[Span], payloads: Iterable[bytes]) -> Iterator[Piece]:
    """Yield the pieces of cells, one for each run of bytes that are not the same as those of the reference."""
    words = _Words(payloads)
    for start, end in cells:
        parts: list[bytes | memoryview] = []
        begin = position = start
        for kind, size, data in words.take(end - start):
            if kind == SAME:
                if parts:
                    yield Piece(begin, b"".join(parts))
                    parts = []
                begin = position + size
            else:
                parts.append(bytes(size) if kind == ZERO else data)
            position += size
        if parts:
            yield Piece(begin, b"".join(parts))
    words.finish()


def _nonsense() -> ServerToolError:
    return ServerToolError("The program on the server tells less or more than it was asked for")
