# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Data, zeros and sameness as the program tells them: what comes out is what the images hold, in any cut."""

from __future__ import annotations

import struct
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ovm.backup.plugins.module_utils.errors import ServerToolError
from ansible_collections.ovm.backup.plugins.module_utils.images import dom0_files, dom0_program
from ansible_collections.ovm.backup.plugins.module_utils.images.dom0_program import (
    DATA,
    KIND_SHIFT,
    SAME,
    ZERO,
    Sender,
    send_differing,
    send_spans,
    unpack_spans,
)
from ansible_collections.ovm.backup.plugins.module_utils.images.remote import batches
from ansible_collections.ovm.backup.plugins.module_utils.images.spans import split_spans
from ansible_collections.ovm.backup.plugins.module_utils.images.types import Piece, Span
from ansible_collections.ovm.backup.plugins.module_utils.images.words import pieces_of

GRAIN = dom0_program.GRAIN
SIZE = 12 * GRAIN + 100

contents = st.lists(st.sampled_from([b"\0", b"a", b"b"]), min_size=SIZE // 1024 + 1, max_size=SIZE // 1024 + 1).map(
    lambda parts: b"".join(part * 1024 for part in parts)[:SIZE]
)
span_lists = st.lists(st.integers(0, SIZE), max_size=12).map(
    lambda cuts: [Span(*pair) for pair in zip(*[iter(sorted(set(cuts)))] * 2, strict=False)]
)
steps = st.sampled_from([GRAIN, 3 * 1024, 4 * GRAIN, 1 << 20])


def told(content: bytes, spans: list[Span], other: bytes | None = None, block: int = 4096) -> list[bytes]:
    """Return the payloads that the program sends."""
    payloads: list[bytes] = []
    sender = Sender(lambda _header, parts: payloads.append(b"".join(parts)), lambda: None)
    with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as reference:
        file.write(content)
        reference.write(other or b"")
        file.flush()
        reference.flush()
        if other is None:
            assert send_spans(sender, file.fileno(), list(spans)) == sum(end - start for start, end in spans)
        else:
            send_differing(sender, file.fileno(), reference.fileno(), list(spans), block)
    sender.flush()
    return payloads


@given(content=contents, spans=span_lists, step=steps)
def test_pieces_are_the_spans(content: bytes, spans: list[Span], step: int) -> None:
    cells = list(split_spans(spans, step))
    assert list(pieces_of(cells, told(content, spans))) == [Piece(start, content[start:end]) for start, end in cells]


@given(content=contents, other=contents, keep=st.integers(0, SIZE), spans=span_lists, step=steps)
def test_pieces_that_differ(content: bytes, other: bytes, keep: int, spans: list[Span], step: int) -> None:
    other, block = other[:keep], 2048
    found = list(pieces_of(split_spans(spans, step), told(content, spans, other, block)))
    inside = set()
    for offset, data in found:
        assert content[offset : offset + len(data)] == data
        assert offset // step == (offset + len(data) - 1) // step
        for start, end in split_spans([Span(offset, offset + len(data))], block):
            inside.add((start, end))
    for cell in split_spans(spans, block):
        same = content[cell.start : cell.end] == other[cell.start : cell.end]
        parts = list(split_spans([cell], step))  # a step may cut a block
        assert all((tuple(part) in inside) is not same for part in parts)
    assert [piece.offset for piece in found] == sorted(piece.offset for piece in found)


def test_runs_of_zeros_are_not_sent() -> None:
    content = b"a" * GRAIN + bytes(6 * GRAIN) + b"b" * GRAIN
    payloads = told(content, [Span(0, 8 * GRAIN)])
    assert sum(map(len, payloads)) == 2 * GRAIN + 4 * 4


def test_many_small_spans_are_told_in_few_frames() -> None:
    payloads = told(b"a" * SIZE, [Span(start, start + 1) for start in range(0, 100_000, 2)])
    assert len(payloads) == 1  # all of them are one run of data


def test_signs_of_life_where_nothing_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(dom0_program.time, "time", lambda: float(next(clock)))
    monkeypatch.setattr(dom0_program, "CHUNK", GRAIN)
    payloads = told(b"a" * SIZE, [Span(0, SIZE)], b"a" * SIZE)
    assert len(payloads) > 5
    assert list(pieces_of([Span(0, SIZE)], payloads)) == []


def words(*items: tuple[int, int], data: bytes = b"") -> bytes:
    return struct.pack(f">{len(items) + 1}I", len(items), *[kind << KIND_SHIFT | size for kind, size in items]) + data


@pytest.mark.parametrize(
    "payloads",
    [
        [words((ZERO, 5))],  # less than was asked for
        [words((ZERO, 11))],  # more
        [words((ZERO, 10), (SAME, 1))],
        [words((DATA, 10), data=b"short")],
        [words((ZERO, 0))],
        [words((3, 10))],
        [b"\0\0"],
        [struct.pack(">I", 1000)],
    ],
)
def test_nonsense_is_refused(payloads: list[bytes]) -> None:
    with pytest.raises(ServerToolError, match="less or more than it was asked for"):
        list(pieces_of([Span(0, 10)], payloads))


@given(spans=span_lists, size=st.sampled_from([1000, GRAIN]))
def test_batches_hold_all_spans(spans: list[Span], size: int) -> None:
    found = list(batches(spans, size))
    assert [span for batch in found for span in batch] == list(split_spans(spans, size))
    assert all(0 < sum(end - start for start, end in batch) <= size for batch in found)
    packed = b"".join(dom0_files.SPAN.pack(*span) for span in spans)
    assert unpack_spans(packed) == spans


def test_batches_are_requests_that_the_program_takes() -> None:
    spans = [Span(2 * number, 2 * number + 1) for number in range(100_000)]
    found = list(batches(spans, 1 << 22))
    assert max(len(batch) for batch in found) * dom0_files.SPAN.size <= dom0_program.PAYLOAD_LIMIT
