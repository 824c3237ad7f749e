# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What differs between two clones of a disk, from their extent maps alone.

Two clones share every cluster that nobody has written to since, so a range that lies at the same physical place in both
maps holds the same bytes. That holds only while both clones exist, unmodified, on the same file system, and both maps
are taken then: a cluster whose other owner is gone is written in place (testbed: fiemap-extra). Whoever calls this has
checked it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..images.types import Extent, ExtentMap, MapUnavailable, Span

# linux/fiemap.h
_LAST = 0x0001
_UNWRITTEN = 0x0800
_MERGED = 0x1000
_SHARED = 0x2000
# Anything else (unknown, delalloc, encoded, encrypted, not aligned, inline, tail, and what later kernels invent) means
# that the physical place does not tell what the bytes are.
_UNDERSTOOD = _LAST | _UNWRITTEN | _MERGED | _SHARED


class Changes(NamedTuple):
    """Ascending spans without overlaps: C(data) may hold anything now, C(zeros) are zeros now and were not before."""

    data: tuple[Span, ...]
    zeros: tuple[Span, ...]


class _Part(NamedTuple):
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


def find_changes(before: ExtentMap, now: ExtentMap) -> Changes:
    """Return what of C(now) may differ from C(before). Raises C(MapUnavailable) if a map is not whole."""
    check_map(before)
    check_map(now)
    data: list[Span] = []
    zeros: list[Span] = []
    for start, end, old, new in _side_by_side(before, now):
        if new.zero:
            if not old.zero:
                _add(zeros, start, end)
        elif new.place is None or old.place is None or old.place + start - old.start != new.place + start - new.start:
            _add(data, start, end)
    return Changes(tuple(data), tuple(zeros))


def mapped_data(extents: ExtentMap) -> list[Span]:
    """Return what may hold data according to a map; all else is zeros. Raises as C(find_changes) does."""
    check_map(extents)
    found: list[Span] = []
    for part in _parts(extents, extents.size):
        if not part.zero:
            _add(found, part.start, part.end)
    return found


def _parts(extents: ExtentMap, size: int) -> Iterator[_Part]:
    """Yield a whole file of C(size) bytes, holes included. What lies behind the file's own size is unknown."""
    position = 0
    own = min(extents.size, size)
    for extent in extents.extents:
        start, end = extent.logical, min(extent.logical + extent.length, own)
        if start >= own:
            break
        if start > position:
            yield _Part(position, start, None, True)
        yield _part(extent, end)
        position = end
    if position < own:
        yield _Part(position, own, None, True)
    if own < size:
        yield _Part(own, size, None, False)


def _part(extent: Extent, end: int) -> _Part:
    if extent.flags & ~_UNDERSTOOD:
        return _Part(extent.logical, end, None, False)
    if extent.flags & _UNWRITTEN:
        return _Part(extent.logical, end, None, True)
    return _Part(extent.logical, end, extent.physical, False)


def _side_by_side(before: ExtentMap, now: ExtentMap) -> Iterator[tuple[int, int, _Part, _Part]]:
    old_parts, new_parts = _parts(before, now.size), _parts(now, now.size)
    old, new = next(old_parts, None), next(new_parts, None)
    position = 0
    while old is not None and new is not None:
        end = min(old.end, new.end)
        yield position, end, old, new
        position = end
        if old.end == end:
            old = next(old_parts, None)
        if new.end == end:
            new = next(new_parts, None)


def _add(spans: list[Span], start: int, end: int) -> None:
    if spans and spans[-1].end == start:
        spans[-1] = Span(spans[-1].start, end)
    else:
        spans.append(Span(start, end))


# --- spans -----------------------------------------------------------------------------------------------------------


def widened(spans: Iterable[Span], step: int, size: int) -> list[Span]:
    """Return the spans enlarged to whole multiples of C(step), joined where they then touch."""
    found: list[Span] = []
    for span in spans:
        start, end = span.start // step * step, min(-(-span.end // step) * step, size)
        if found and found[-1].end >= start:
            found[-1] = Span(found[-1].start, max(end, found[-1].end))
        else:
            found.append(Span(start, end))
    return found


def complement(spans: Iterable[Span], size: int) -> list[Span]:
    """Return what of a disk is in none of the spans, which are ascending and without overlaps."""
    found = []
    position = 0
    for span in spans:
        if span.start > position:
            found.append(Span(position, span.start))
        position = span.end
    if position < size:
        found.append(Span(position, size))
    return found


def total(spans: Iterable[Span]) -> int:
    """Return how many bytes the spans have together."""
    return sum(span.end - span.start for span in spans)
