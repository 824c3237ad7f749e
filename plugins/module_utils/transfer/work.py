# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What was read of a disk, and what is known to be zeros, sorted into segments with what the base has of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..images.types import Piece, Span
from ..vault.chain import DiskChain, ResolvedSegment
from ..vault.format import Geometry


class Work(NamedTuple):
    """A segment to look at, or a run of whole segments of zeros (C(zero_run)) that needs no looking at.

    C(pieces) and C(zeros) lie in the segment and do not overlap; C(base) is what the base has of it, if there is one.
    """

    segment: int
    segments: int
    pieces: tuple[Piece, ...]
    zeros: tuple[Span, ...]
    base: ResolvedSegment | None
    zero_run: bool


class _Zeros(NamedTuple):
    segment: int
    segments: int
    spans: tuple[Span, ...]
    whole: bool


def plan_work(
    pieces: Iterable[Piece], zeros: Iterable[Span], geometry: Geometry, base: DiskChain | None
) -> Iterator[Work]:
    """Yield the segments that pieces or zeros touch, ascending, each once; takes from C(pieces) as it goes."""
    read = _by_segment(pieces, geometry)
    empty = _zeros_by_segment(zeros, geometry)
    piece, zero = next(read, None), next(empty, None)
    while piece is not None or zero is not None:
        if piece is not None and (zero is None or piece[0] < zero.segment):
            yield _segment(piece[0], piece[1], (), base)
            piece = next(read, None)
        elif zero is not None and (piece is None or piece[0] > zero.segment):
            yield from _run(zero, geometry, base) if zero.whole else [_segment(zero.segment, (), zero.spans, base)]
            zero = next(empty, None)
        elif piece is not None and zero is not None:
            yield _segment(piece[0], piece[1], zero.spans, base)
            piece, zero = next(read, None), next(empty, None)


def _segment(segment: int, pieces: tuple[Piece, ...], zeros: tuple[Span, ...], base: DiskChain | None) -> Work:
    return Work(segment, 1, pieces, zeros, base.at(segment) if base is not None else None, False)


def _run(zeros: _Zeros, geometry: Geometry, base: DiskChain | None) -> Iterator[Work]:
    """Yield a run of zeros: as it is where nothing is stored for it, segment by segment where the base has data."""
    if base is None:
        yield Work(zeros.segment, zeros.segments, (), (), None, True)
        return
    segment, end = zeros.segment, zeros.segment + zeros.segments
    while segment < end:
        resolved = base.at(segment)
        if resolved.pieces:
            start = segment * geometry.segment_size
            yield Work(segment, 1, (), (Span(start, start + geometry.segment_length(segment)),), resolved, False)
            segment += 1
        else:
            stop = min(resolved.end, end)
            yield Work(segment, stop - segment, (), (), resolved, True)
            segment = stop


def _by_segment(pieces: Iterable[Piece], geometry: Geometry) -> Iterator[tuple[int, tuple[Piece, ...]]]:
    for segment, group in itertools.groupby(pieces, lambda piece: piece.offset // geometry.segment_size):
        yield segment, tuple(group)


def _zeros_by_segment(spans: Iterable[Span], geometry: Geometry) -> Iterator[_Zeros]:
    """Yield the zeros as runs of whole segments and as parts of segments, ascending."""
    parts: list[Span] = []
    for span in spans:
        for segment, segments, part in _cut(span, geometry):
            whole = segments > 1 or part.end - part.start == geometry.segment_length(segment)
            if parts and (whole or parts[0].start // geometry.segment_size != segment):
                yield _Zeros(parts[0].start // geometry.segment_size, 1, tuple(parts), False)
                parts = []
            if whole:
                yield _Zeros(segment, segments, (), True)
            else:
                parts.append(part)
    if parts:
        yield _Zeros(parts[0].start // geometry.segment_size, 1, tuple(parts), False)


def _cut(span: Span, geometry: Geometry) -> Iterator[tuple[int, int, Span]]:
    """Yield (segment, number of segments, part): the head, the whole segments, the tail of a span."""
    size = geometry.segment_size
    first = -(-span.start // size)
    last = geometry.segments if span.end == geometry.size else span.end // size
    if first >= last:
        middle = first * size
        for start, end in ((span.start, min(middle, span.end)), (max(middle, span.start), span.end)):
            if start < end:
                yield start // size, 1, Span(start, end)
        return
    if span.start < first * size:
        yield first - 1, 1, Span(span.start, first * size)
    yield first, last - first, Span(first * size, min(last * size, geometry.size))
    if last * size < span.end:
        yield last, 1, Span(last * size, span.end)
