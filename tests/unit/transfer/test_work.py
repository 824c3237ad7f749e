# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pieces and zeros sorted into segments: every byte comes up once, in the segment where it lies, in order."""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ovm.backup.plugins.module_utils.images.spans import split_spans
from ansible_collections.ovm.backup.plugins.module_utils.images.types import Piece, Span
from ansible_collections.ovm.backup.plugins.module_utils.transfer.work import Work, plan_work
from ansible_collections.ovm.backup.plugins.module_utils.vault.format import Geometry

SEGMENT = 16


class Resolved(NamedTuple):
    """Stands in for what a chain knows of a segment: whether it has data, and where the next one begins."""

    pieces: tuple[str, ...]
    end: int


class Base:
    """Stands in for a chain whose segments in ``data`` hold data."""

    def __init__(self, data: set[int], segments: int) -> None:
        self._data = data
        self._segments = segments

    def at(self, segment: int) -> Any:
        if segment in self._data:
            return Resolved(("data",), segment + 1)
        return Resolved((), min((other for other in self._data if other > segment), default=self._segments))


@st.composite
def disks(draw: st.DrawFn) -> tuple[Geometry, list[Span], list[Span], set[int] | None]:
    """Return a disk with spans that were read, spans of zeros, and the segments in which the base has data."""
    size = draw(st.integers(1, 200))
    geometry = Geometry(size, 4, SEGMENT)
    cuts = sorted({0, size, *draw(st.lists(st.integers(0, size), max_size=10))})
    kinds = draw(st.lists(st.sampled_from("drz"), min_size=len(cuts), max_size=len(cuts)))
    spans = [(Span(start, end), kind) for start, end, kind in zip(cuts, cuts[1:], kinds, strict=False)]
    read = [span for span, kind in spans if kind == "r"]
    zeros = [span for span, kind in spans if kind == "z"]
    base = draw(st.one_of(st.none(), st.sets(st.integers(0, geometry.segments - 1))))
    return geometry, read, zeros, base


@given(disks())
def test_every_byte_once_and_in_its_place(disk: tuple[Geometry, list[Span], list[Span], set[int] | None]) -> None:
    geometry, read, zeros, data = disk
    pieces = [Piece(span.start, b"r" * (span.end - span.start)) for span in split_spans(read, SEGMENT)]
    base: Any = Base(data, geometry.segments) if data is not None else None
    found: list[Work] = list(plan_work(iter(pieces), zeros, geometry, base))
    seen = bytearray(b"." * geometry.size)
    position = 0
    for work in found:
        assert work.segment >= position
        position = work.segment + work.segments
        start, end = work.segment * SEGMENT, min(position * SEGMENT, geometry.size)
        if work.zero_run:
            assert work.pieces == work.zeros == ()
            assert base is None or not work.base.pieces  # type: ignore[union-attr]
            seen[start:end] = b"z" * (end - start)
            continue
        assert work.segments == 1
        assert (work.base is None) == (base is None)
        for piece in work.pieces:
            assert start <= piece.offset and piece.offset + len(piece.data) <= end
            seen[piece.offset : piece.offset + len(piece.data)] = piece.data
        for span in work.zeros:
            assert start <= span.start < span.end <= end
            seen[span.start : span.end] = b"z" * (span.end - span.start)
    expected = bytearray(b"." * geometry.size)
    for letter, spans in ((b"r", read), (b"z", zeros)):
        for span in spans:
            expected[span.start : span.end] = letter * (span.end - span.start)
    assert seen == expected


def test_a_long_run_of_zeros_is_one_piece_of_work_where_the_base_has_no_data() -> None:
    geometry = Geometry(100 * SEGMENT, 4, SEGMENT)
    whole = [Span(0, geometry.size)]
    assert [(work.segment, work.segments, work.zero_run) for work in plan_work([], whole, geometry, None)] == [
        (0, 100, True)
    ]
    base: Any = Base({40}, 100)
    assert [(work.segment, work.segments, work.zero_run) for work in plan_work([], whole, geometry, base)] == [
        (0, 40, True),
        (40, 1, False),
        (41, 59, True),
    ]
