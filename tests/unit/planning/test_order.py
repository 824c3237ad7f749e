# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The order of a run: round robin over storage repositories, the least recently protected first in each."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ovm.backup.plugins.module_utils.planning.order import Candidate, round_robin


def candidates(text: str) -> list[Candidate]:
    """Read "name@repository=protected" for each VM; no protected: never."""
    found = []
    for item in text.split():
        name, _unused, rest = item.partition("@")
        place, _unused, protected = rest.partition("=")
        found.append(Candidate(f"id-{name}", name, place, float(protected) if protected else None))
    return found


@pytest.mark.parametrize(
    ("waiting", "expected"),
    [
        pytest.param("", "", id="nothing to do"),
        pytest.param("a@x b@x c@x", "a b c", id="one repository, by name"),
        pytest.param("a@x=30 b@x=10 c@x=20", "b c a", id="least recently protected first"),
        pytest.param("a@x=30 b@x c@x=20", "b c a", id="never protected first of all"),
        pytest.param("a@x=5 b@x=4 c@y=3 d@y=2", "d b c a", id="repository of the most urgent VM opens"),
        pytest.param("a1@x a2@x a3@x b1@y b2@y", "a1 b1 a2 b2 a3", id="round robin"),
        pytest.param("a1@x a2@x a3@x b1@y c1@z c2@z", "a1 b1 c1 a2 c2 a3", id="three repositories"),
    ],
)
def test_round_robin(waiting: str, expected: str) -> None:
    assert " ".join(item.vm_name for item in round_robin(candidates(waiting))) == expected


def test_equals_go_by_name_then_id() -> None:
    twins = [Candidate("2", "twin", "x", 1.0), Candidate("1", "twin", "x", 1.0), Candidate("0", "z", "x", 1.0)]
    assert [item.vm_id for item in round_robin(twins)] == ["1", "2", "0"]


WAITING = st.lists(
    st.builds(
        Candidate,
        vm_id=st.text(alphabet="0123456789", min_size=1, max_size=4),
        vm_name=st.sampled_from(["a", "b", "c"]),
        repository_id=st.sampled_from(["w", "x", "y", "z"]),
        protected_at=st.none() | st.integers(0, 5).map(float),
    ),
    unique_by=lambda item: item.vm_id,
    max_size=20,
)


@given(WAITING, st.randoms(use_true_random=False))
def test_order_is_a_permutation_and_does_not_depend_on_the_input_order(
    waiting: list[Candidate], rng: random.Random
) -> None:
    ordered = round_robin(waiting)
    assert sorted(ordered, key=lambda item: item.vm_id) == sorted(waiting, key=lambda item: item.vm_id)
    shuffled = list(waiting)
    rng.shuffle(shuffled)
    assert round_robin(shuffled) == ordered


@given(WAITING)
def test_neighbours_share_a_repository_only_if_no_other_has_vms_left(waiting: list[Candidate]) -> None:
    ordered = round_robin(waiting)
    for number, (one, next_one) in enumerate(zip(ordered, ordered[1:], strict=False)):
        if one.repository_id == next_one.repository_id:
            assert {item.repository_id for item in ordered[number:]} == {one.repository_id}


@given(WAITING)
def test_within_a_repository_the_least_recently_protected_comes_first(waiting: list[Candidate]) -> None:
    ordered = round_robin(waiting)
    for place in {item.repository_id for item in ordered}:
        urgencies = [item.urgency for item in ordered if item.repository_id == place]
        assert urgencies == sorted(urgencies)
    if ordered:
        assert ordered[0].urgency == min(item.urgency for item in ordered)
