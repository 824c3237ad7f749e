# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which blocks are read again: at random, only of what is called unchanged, and as many as were asked for."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ovm.backup.plugins.module_utils.images.types import Span
from ansible_collections.ovm.backup.plugins.module_utils.transfer.changes import Changes
from ansible_collections.ovm.backup.plugins.module_utils.transfer.sampling import draw_sample
from ansible_collections.ovm.backup.plugins.module_utils.vault.format import Geometry

NOTHING = Changes((), ())


def blocks(start: int, end: int) -> Span:
    return Span(start * 4, end * 4)


@pytest.mark.parametrize(("percent", "count"), [(0.0, 0), (0.001, 16), (5.0, 50), (0.5, 16), (100.0, 1000)], ids=str)
def test_as_many_blocks_as_were_asked_for_but_a_few_at_least(percent: float, count: int) -> None:
    geometry = Geometry(4 * 1000, 4, 16)
    sample = draw_sample([blocks(0, 1000)], NOTHING, geometry, percent=percent, chance=random.Random(1))
    assert (len(sample.spans), sample.size, sample.zeros) == (count, count * 4, ())
    assert sorted(set(sample.spans)) == list(sample.spans)


def test_a_disk_with_fewer_blocks_is_read_whole() -> None:
    geometry = Geometry(4 * 100, 4, 16)
    changes = Changes((blocks(0, 2),), (blocks(5, 6),))
    sample = draw_sample([blocks(0, 7)], changes, geometry, percent=1, chance=random.Random(1))
    assert sample.spans == (blocks(2, 3), blocks(3, 4), blocks(4, 5), blocks(6, 7))


def test_holes_are_looked_at() -> None:
    geometry = Geometry(4 * 1000, 4, 16)
    changes = Changes((), (blocks(0, 100),))
    sample = draw_sample([blocks(100, 200)], changes, geometry, percent=50, chance=random.Random(1))
    assert 50 <= len([span for span in sample.zeros if span.end <= 400]) <= 66
    assert 50 < len(sample.zeros) <= 66
    assert not [span for span in sample.zeros if 400 <= span.start < 800]


def test_nothing_to_draw_from() -> None:
    geometry = Geometry(400, 4, 16)
    assert draw_sample([], NOTHING, geometry, percent=10, chance=random.Random(1)).spans == ()
    assert draw_sample([Span(5, 7)], NOTHING, geometry, percent=10, chance=random.Random(1)).spans == ()


def test_every_block_can_be_drawn() -> None:
    geometry = Geometry(4 * 64, 4, 16)
    drawn: set[Span] = set()
    for seed in range(200):
        drawn |= set(draw_sample([blocks(8, 60)], NOTHING, geometry, percent=1, chance=random.Random(seed)).spans)
    assert drawn == {blocks(number, number + 1) for number in range(8, 60)}


@given(st.lists(st.integers(0, 300), max_size=12), st.lists(st.integers(0, 300), max_size=12), st.integers(0, 1000))
def test_only_whole_blocks_of_unchanged_data(data: list[int], changed: list[int], seed: int) -> None:
    geometry = Geometry(300, 4, 16)
    spans = [Span(start, end) for start, end in zip(sorted(set(data))[::2], sorted(set(data))[1::2], strict=False)]
    gone = [Span(start, end) for start, end in zip(sorted(set(changed))[::2], sorted(set(changed))[1::2], strict=False)]
    changes = Changes(tuple(gone[::2]), tuple(gone[1::2]))
    sample = draw_sample(spans, changes, geometry, percent=50, chance=random.Random(seed))
    for block in sample.spans:
        assert block.start % 4 == 0 and block.end == block.start + 4
        for position in range(*block):
            assert any(span.start <= position < span.end for span in spans)
            assert not any(span.start <= position < span.end for span in gone)
