# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What two extent maps say: every doubt is a change, and nothing that may differ is ever called unchanged."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ovm.backup.plugins.module_utils.images.maps import mapped_data
from ansible_collections.ovm.backup.plugins.module_utils.images.types import Extent, ExtentMap, MapUnavailable, Span
from ansible_collections.ovm.backup.plugins.module_utils.transfer.changes import (
    Changes,
    complement,
    find_changes,
    total,
    widened,
)

LAST, UNKNOWN, DELALLOC, ENCODED, NOT_ALIGNED, INLINE, TAIL = 0x1, 0x2, 0x4, 0x8, 0x100, 0x200, 0x400
UNWRITTEN, MERGED, SHARED, LATER = 0x800, 0x1000, 0x2000, 0x10000


def mapped(size: int, *extents: tuple[int, int, int] | tuple[int, int, int, int]) -> ExtentMap:
    """Return a map of (logical, physical, length[, flags]); the last extent gets its flag."""
    found = [Extent(*item) if len(item) == 4 else Extent(*item, 0) for item in extents]
    if found:
        found[-1] = found[-1]._replace(flags=found[-1].flags | LAST)
    return ExtentMap(size, tuple(found))


def data(*spans: tuple[int, int]) -> Changes:
    return Changes(tuple(Span(*span) for span in spans), ())


def zeros(*spans: tuple[int, int]) -> Changes:
    return Changes((), tuple(Span(*span) for span in spans))


@pytest.mark.parametrize(
    ("before", "now", "changes"),
    [
        pytest.param(mapped(100, (0, 500, 100)), mapped(100, (0, 500, 100)), data(), id="the same"),
        pytest.param(
            mapped(100, (0, 500, 100)),
            mapped(100, (0, 500, 40), (40, 900, 20), (60, 560, 40)),
            data((40, 60)),
            id="a cluster was copied on write",
        ),
        pytest.param(
            mapped(100, (0, 500, 30), (30, 530, 70)),
            mapped(100, (0, 500, 60), (60, 560, 40)),
            data(),
            id="split in another way",
        ),
        pytest.param(
            mapped(100, (0, 500, 100)),
            mapped(100, (0, 500, 40), (60, 560, 40)),
            zeros((40, 60)),
            id="a hole was punched",
        ),
        pytest.param(mapped(100, (0, 500, 40)), mapped(100), zeros((0, 40)), id="all was punched"),
        pytest.param(mapped(100), mapped(100, (20, 500, 40)), data((20, 60)), id="a hole was written into"),
        pytest.param(mapped(100), mapped(100), data(), id="nothing is there"),
        pytest.param(
            mapped(100, (0, 500, 100, UNWRITTEN)),
            mapped(100, (0, 500, 30, UNWRITTEN), (30, 530, 20), (50, 550, 50, UNWRITTEN)),
            data((30, 50)),
            id="space that was allocated is written in place",
        ),
        pytest.param(
            mapped(100, (0, 500, 100)),
            mapped(100, (0, 500, 100, UNWRITTEN)),
            zeros((0, 100)),
            id="data became unwritten",
        ),
        pytest.param(mapped(100, (0, 500, 100, UNWRITTEN)), mapped(100), data(), id="unwritten became a hole"),
        pytest.param(
            mapped(100, (0, 500, 100, SHARED)), mapped(100, (0, 500, 100, MERGED)), data(), id="flags that say nothing"
        ),
        pytest.param(
            mapped(100, (0, 500, 100)),
            mapped(200, (0, 500, 200)),
            data((100, 200)),
            id="it grew in its cluster",
        ),
        pytest.param(mapped(100, (0, 500, 100)), mapped(200, (0, 500, 100)), zeros((100, 200)), id="it grew by a hole"),
        pytest.param(mapped(200, (0, 500, 200)), mapped(100, (0, 500, 200)), data(), id="it shrank"),
        pytest.param(
            mapped(100, (0, 500, 1000)), mapped(100, (0, 500, 1000)), data(), id="the last cluster goes beyond the end"
        ),
    ],
)
def test_what_changed(before: ExtentMap, now: ExtentMap, changes: Changes) -> None:
    assert find_changes(before, now) == changes


@pytest.mark.parametrize("flag", [UNKNOWN, DELALLOC, ENCODED, 0x80, NOT_ALIGNED, INLINE, TAIL, LATER])
@pytest.mark.parametrize("also", [0, UNWRITTEN])
def test_an_odd_flag_means_changed_in_either_map(flag: int, also: int) -> None:
    plain, odd = mapped(100, (0, 500, 100)), mapped(100, (0, 500, 50), (50, 550, 50, flag | also))
    assert find_changes(plain, odd) == data((50, 100))
    assert find_changes(odd, plain) == data((50, 100))
    assert find_changes(odd, odd) == data((50, 100))
    assert find_changes(odd, mapped(100)) == zeros((0, 100))
    assert mapped_data(odd) == [Span(0, 100)]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (ExtentMap(100, (Extent(0, 500, 100, 0),)), "does not say that its last extent is the last"),
        (ExtentMap(100, (Extent(50, 500, 50, 0), Extent(0, 500, 50, LAST))), "not in order at offset 0"),
        (ExtentMap(100, (Extent(0, 500, 60, 0), Extent(50, 500, 50, LAST))), "not in order at offset 50"),
        (ExtentMap(100, (Extent(0, 500, 0, LAST),)), "not in order at offset 0"),
        (ExtentMap(100, (), 100), "tells of 0 bytes, the file takes 100"),
        (ExtentMap(100, (Extent(0, 500, 80, LAST),), 100), "tells of 80 bytes, the file takes 100"),
    ],
)
def test_a_map_that_is_not_whole_is_none(broken: ExtentMap, message: str) -> None:
    good = mapped(100, (0, 500, 100))
    for before, now in ((broken, good), (good, broken)):
        with pytest.raises(MapUnavailable, match=message):
            find_changes(before, now)
    with pytest.raises(MapUnavailable, match=message):
        mapped_data(broken)


# --- against a model of a file system in which every byte is known ----------------------------------------------------

# Each unit of a file is a hole, or allocated at a place, written or not.
UNITS = st.lists(
    st.one_of(st.just(("hole", 0)), st.tuples(st.sampled_from(["data", "unwritten", "odd"]), st.integers(0, 6))),
    min_size=1,
    max_size=24,
)


def to_map(units: list[tuple[str, int]]) -> ExtentMap:
    """Return the map of a file of such units of ten bytes, with neighbours joined where they are one extent."""
    found: list[Extent] = []
    for number, (kind, place) in enumerate(units):
        if kind == "hole":
            continue
        flags = {"data": 0, "unwritten": UNWRITTEN, "odd": UNKNOWN}[kind]
        extent = Extent(number * 10, place * 10, 10, flags)
        last = found[-1] if found else None
        if last and (last.logical + last.length, last.physical + last.length, last.flags) == (*extent[:2], flags):
            found[-1] = last._replace(length=last.length + 10)
        else:
            found.append(extent)
    if found:
        found[-1] = found[-1]._replace(flags=found[-1].flags | LAST)
    return ExtentMap(len(units) * 10, tuple(found))


def contains(spans: Iterable[Span], position: int) -> bool:
    return any(span.start <= position < span.end for span in spans)


@given(UNITS, UNITS)
def test_unit_by_unit(before: list[tuple[str, int]], now: list[tuple[str, int]]) -> None:
    found = find_changes(to_map(before), to_map(now))
    for number, unit in enumerate(now):
        old = before[number] if number < len(before) else None
        is_zero, was_zero = unit[0] in ("hole", "unwritten"), old is not None and old[0] in ("hole", "unwritten")
        same = unit == old and unit[0] == "data"
        at = number * 10
        assert contains(found.data, at) == (not is_zero and not same)
        assert contains(found.zeros, at) == (is_zero and not was_zero)
    spans = sorted([*found.data, *found.zeros])
    assert all(left.end <= right.start for left, right in itertools.pairwise(spans))


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 30)), max_size=8), st.integers(1, 40))
def test_spans_are_widened_and_complemented(parts: list[tuple[int, int]], step: int) -> None:
    size = 231
    spans: list[Span] = []
    for start, length in sorted(parts):
        if not spans or start > spans[-1].end:
            spans.append(Span(start, min(start + length, size)))
    wide = widened(spans, step, size)
    rest = complement(wide, size)
    for position in range(size):
        block = position // step * step
        near = any(contains(spans, at) for at in range(block, min(block + step, size)))
        assert contains(wide, position) == near
        assert contains(rest, position) != near
    assert total(wide) + total(rest) == size
