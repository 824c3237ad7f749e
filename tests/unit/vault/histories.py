# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disks as they change over time, drawn by hypothesis. Blocks and segments are small, so that disks can be."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st
from unit.vault.builders import noise

BLOCK, SEGMENT = 512, 2048


class State(NamedTuple):
    """A disk at a time, and whether its pages of zeros are holes."""

    data: bytes
    holes: bool


@st.composite
def writes(draw: st.DrawFn, data: bytes) -> bytes:
    """Draw some writes to a disk: of noise, of what compresses, of zeros."""
    changed = bytearray(data)
    for _write in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data) - 1))
        unit = draw(st.sampled_from([1, BLOCK, SEGMENT, 4 * SEGMENT]))
        start -= start % unit
        length = min(unit * draw(st.integers(1, 5)), len(data) - start)
        content = draw(st.sampled_from(["noise", "same", "zeros"]))
        fill = {"noise": noise(length, draw(st.integers(0, 99))), "same": b"A" * length, "zeros": bytes(length)}
        changed[start : start + length] = fill[content]
    return bytes(changed)


sizes = st.integers(1, 24 * SEGMENT + 100)


@st.composite
def histories(draw: st.DrawFn) -> list[State]:
    """Draw a size that need not be round, a first state and some changes to it."""
    data = bytes(draw(sizes))
    states = []
    for _state in range(draw(st.integers(2, 5))):
        data = draw(writes(data))
        states.append(State(data, draw(st.booleans())))
    return states


def blocks_of(data: bytes) -> list[bytes]:
    """Return a disk as blocks."""
    return [data[start : start + BLOCK] for start in range(0, len(data), BLOCK)]
