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

from ..images.maps import Part, add_span, check_map, is_plain, parts_of_map
from ..images.types import ExtentMap, Span


class Changes(NamedTuple):
    """Ascending spans without overlaps: C(data) may hold anything now, C(zeros) are zeros now and were not before."""

    data: tuple[Span, ...]
    zeros: tuple[Span, ...]


def find_changes(before: ExtentMap, now: ExtentMap) -> Changes:
    """Return what of C(now) may differ from C(before). Raises C(MapUnavailable) if a map is not whole."""
    check_map(before)
    check_map(now)
    if before.size == now.size and before.extents == now.extents and is_plain(now):
        return Changes((), ())  # as below, but large maps are compared at once
    data: list[Span] = []
    zeros: list[Span] = []
    for start, end, old, new in _side_by_side(before, now):
        if new.zero:
            if not old.zero:
                add_span(zeros, start, end)
        elif new.place is None or old.place is None or old.place + start - old.start != new.place + start - new.start:
            add_span(data, start, end)
    return Changes(tuple(data), tuple(zeros))


def _side_by_side(before: ExtentMap, now: ExtentMap) -> Iterator[tuple[int, int, Part, Part]]:
    old_parts, new_parts = parts_of_map(before, now.size), parts_of_map(now, now.size)
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
