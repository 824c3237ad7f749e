# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""A disk as of a recovery point, read anywhere and in any order, as a file system does that is looked at."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from . import format as fmt
from .chain import DiskChain, ResolvedSegment

CACHE_SIZE = 32 * 1024 * 1024
# Threads that want segments of different numbers seldom wait for each other.
_STRIPES = 16


class Extent(NamedTuple):
    """A part of the disk that is nothing but zeros, or that has data."""

    offset: int
    length: int
    zero: bool


class DiskReader:
    """Reads a chain at any offset. Threads may share it.

    Every block is compared with its hash before anyone sees it. The segments that were read last stay in memory, up to
    C(cache_size) bytes, because who looks at a file system comes back to the same places. Holes take none of it.
    """

    def __init__(self, chain: DiskChain, *, cache_size: int = CACHE_SIZE) -> None:
        self._chain = chain
        self._geometry = chain.geometry
        self._room = max(cache_size // self._geometry.segment_size, 1)
        self._cached: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._loading = tuple(threading.Lock() for _number in range(_STRIPES))

    @property
    def size(self) -> int:
        """Return the size of the disk in bytes."""
        return self._geometry.size

    @property
    def block_size(self) -> int:
        """Return the size of the pieces that have a hash each."""
        return self._geometry.block_size

    def read(self, offset: int, length: int) -> bytes:
        """Return a part of the disk; raise C(CorruptVaultError) if it is not what was backed up."""
        buffer = bytearray(length)
        self.read_into(offset, memoryview(buffer))
        return bytes(buffer)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill C(buffer) with what lies at C(offset)."""
        self._check_range(offset, len(buffer))
        size, filled = self._geometry.segment_size, 0
        while filled < len(buffer):
            segment, start = divmod(offset + filled, size)
            length = min(size - start, len(buffer) - filled)
            data = self._segment(segment)
            if data is None:
                buffer[filled : filled + length] = bytes(length)
            else:
                buffer[filled : filled + length] = memoryview(data)[start : start + length]
            filled += length

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """Yield what lies in a range, in order, without gaps; nothing is read but the tables."""
        self._check_range(offset, length)
        end = offset + length
        if not length:
            return
        kept = Extent(offset, 0, False)
        for resolved in self._chain.segments(offset // self._geometry.segment_size):
            for found in self._parts(resolved):
                first = max(found.offset, offset)
                last = min(found.offset + found.length, end)
                if first >= last:
                    continue
                if kept.length and kept.zero == found.zero:
                    kept = kept._replace(length=kept.length + last - first)
                else:
                    if kept.length:
                        yield kept
                    kept = Extent(first, last - first, found.zero)
            if resolved.end * self._geometry.segment_size >= end:
                break
        yield kept

    def _check_range(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ValueError(f"{length} bytes at {offset} are not all within a disk of {self.size}")

    def _parts(self, resolved: ResolvedSegment) -> Iterator[Extent]:
        geometry = self._geometry
        start = resolved.segment * geometry.segment_size
        if not resolved.pieces:
            yield Extent(start, min(resolved.end * geometry.segment_size, geometry.size) - start, True)
            return
        for block in range(geometry.blocks(resolved.segment)):
            length = geometry.block_length(resolved.segment, block)
            yield Extent(start + block * geometry.block_size, length, bool(resolved.zero >> block & 1))

    def _segment(self, segment: int) -> bytes | None:
        """Return the content of a segment, or nothing if it is nothing but zeros."""
        found = self._recall(segment)
        if found is not None:
            return found
        # Whoever comes for the same segment meanwhile waits and then finds it, instead of decompressing it again.
        with self._loading[segment % _STRIPES]:
            found = self._recall(segment)
            if found is not None:
                return found
            resolved = self._chain.at(segment)
            if not resolved.pieces:
                return None
            loaded = bytearray(self._geometry.segment_length(segment))
            for run in self._chain.read_runs(resolved):
                start = run.block * self._geometry.block_size
                loaded[start : start + len(run.data)] = run.data
            data = bytes(loaded)
            with self._lock:
                self._cached[segment] = data
                while len(self._cached) > self._room:
                    self._cached.popitem(last=False)
            return data

    def _recall(self, segment: int) -> bytes | None:
        with self._lock:
            found = self._cached.get(segment)
            if found is not None:
                self._cached.move_to_end(segment)
            return found


def preferred_size(reader: DiskReader) -> int:
    """Return the size of requests that suits a disk: a power of two, as protocols for block devices want it."""
    size = 1 << (reader.block_size.bit_length() - 1)
    return min(max(size, 512), fmt.SEGMENT_SIZE)
