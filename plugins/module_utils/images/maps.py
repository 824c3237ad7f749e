# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What an extent map says of a file: which parts lie where, and which read as zeros. Any doubt counts as data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .types import Extent, ExtentMap, MapUnavailable, Span

# linux/fiemap.h
_LAST = 0x0001
_UNWRITTEN = 0x0800
_MERGED = 0x1000
_SHARED = 0x2000
# Anything else (unknown, delalloc, encoded, encrypted, not aligned, inline, tail, and what later kernels invent) means
# that the physical place does not tell what the bytes are.
_UNDERSTOOD = _LAST | _UNWRITTEN | _MERGED | _SHARED
_TOLD = 0.9  # of what a file takes: a map that tells of less has lost something


class Part(NamedTuple):
    """A part of a disk: C(place) is where it begins physically; None: nobody knows; C(zero): it reads as zeros."""

    start: int
    end: int
    place: int | None
    zero: bool


def check_map(extents: ExtentMap) -> None:
    """Raise C(MapUnavailable) for a map that cannot be a whole map of a file."""
    position = 0
    for extent in extents.extents:
        if extent.length <= 0 or extent.logical < position:
            raise MapUnavailable(f"the extent map is not in order at offset {extent.logical}")
        position = extent.logical + extent.length
    if extents.extents and not extents.extents[-1].flags & _LAST:
        raise MapUnavailable("the extent map does not say that its last extent is the last")
    told = sum(extent.length for extent in extents.extents)
    # Some file systems count a little more than data, for a large file: what tells where the data is.
    if extents.allocated is not None and told < extents.allocated * _TOLD:
        raise MapUnavailable(f"the extent map tells of {told} bytes, the file takes {extents.allocated}")


def is_plain(extents: ExtentMap) -> bool:
    """Return whether the physical place of every extent tells what its bytes are."""
    return not any(extent.flags & ~_UNDERSTOOD for extent in extents.extents)


def mapped_data(extents: ExtentMap) -> list[Span]:
    """Return what may hold data according to a map; all else is zeros. Raises as C(check_map) does."""
    check_map(extents)
    found: list[Span] = []
    start = end = 0  # of data that was not added yet
    for logical, _physical, length, flags in extents.extents:
        # An unwritten extent that has flags which are not understood may be anything.
        if flags & _UNWRITTEN and not flags & ~_UNDERSTOOD:
            continue
        if logical >= extents.size:
            break
        if logical != end:
            if start < end:
                found.append(Span(start, end))
            start = logical
        end = logical + length
    if start < end:
        found.append(Span(start, min(end, extents.size)))
    return found


def parts_of_map(extents: ExtentMap, size: int) -> Iterator[Part]:
    """Yield a whole file of C(size) bytes, holes included. What lies behind the file's own size is unknown."""
    position = 0
    own = min(extents.size, size)
    for extent in extents.extents:
        start, end = extent.logical, min(extent.logical + extent.length, own)
        if start >= own:
            break
        if start > position:
            yield Part(position, start, None, True)
        yield _part(extent, end)
        position = end
    if position < own:
        yield Part(position, own, None, True)
    if own < size:
        yield Part(own, size, None, False)


def _part(extent: Extent, end: int) -> Part:
    if extent.flags & ~_UNDERSTOOD:
        return Part(extent.logical, end, None, False)
    if extent.flags & _UNWRITTEN:
        return Part(extent.logical, end, None, True)
    return Part(extent.logical, end, extent.physical, False)


def add_span(spans: list[Span], start: int, end: int) -> None:
    if spans and spans[-1].end == start:
        spans[-1] = Span(spans[-1].start, end)
    else:
        spans.append(Span(start, end))
