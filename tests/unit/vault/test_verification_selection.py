# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which points are due: tables, and turns that leave nobody out."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.ovm.backup.plugins.module_utils.vault.verification_selection import Candidate, select_due

NOW = 1_000_000.0
NEVER = "it was never verified"
BAD = "it was found bad by the latest verification"


def point(name: str, ago: float | None = None, ok: bool | None = True, age: float = 5000.0) -> Candidate:
    """Return a candidate that was verified C(ago) seconds ago."""
    if ago is None:
        return Candidate("c", name, NOW - age)
    return Candidate("c", name, NOW - age, NOW - ago, ok)


POINTS = [
    point("recent", 100.0),
    point("new", age=10.0),
    point("older", 200.0),
    point("bad", 5.0, False),
    point("oldest", 3600.0),
    point("newer", age=7.0),
]


@pytest.mark.parametrize(
    ("options", "due"),
    [
        ({}, ["bad", "new", "newer", "oldest", "older", "recent"]),
        ({"max_age": 150}, ["bad", "new", "newer", "oldest", "older"]),
        ({"max_age": 200}, ["bad", "new", "newer", "oldest", "older"]),
        ({"max_age": 201}, ["bad", "new", "newer", "oldest"]),
        ({"max_age": 10**6}, ["bad", "new", "newer"]),
        ({"max_age": 0}, ["bad", "new", "newer", "oldest", "older", "recent"]),
        # Of six points.
        ({"share": 1}, ["bad", "new"]),
        ({"share": 16}, ["bad", "new"]),
        ({"share": 17}, ["bad", "new", "newer"]),
        ({"share": 50}, ["bad", "new", "newer", "oldest"]),
        ({"share": 100}, ["bad", "new", "newer", "oldest", "older", "recent"]),
        ({"max_age": 150, "share": 50}, ["bad", "new", "newer", "oldest"]),
        ({"max_age": 10**6, "share": 50}, ["bad", "new", "newer"]),
        ({"max_age": 10**6, "share": 17}, ["bad", "new", "newer"]),
        ({"max_age": 10**6, "share": 1}, ["bad", "new"]),
    ],
)
def test_table(options: dict[str, int], due: list[str]) -> None:
    for points in (POINTS, POINTS[::-1]):
        found = select_due(points, now=NOW, max_age=options.get("max_age"), share=options.get("share"))
        assert [item.candidate.point for item in found] == due


def test_reasons() -> None:
    found = select_due(POINTS, now=NOW)
    assert {item.candidate.point: item.why for item in found} == {
        "bad": BAD,
        "new": NEVER,
        "newer": NEVER,
        "oldest": "it was verified 1 h 00 min ago",
        "older": "it was verified 3 min 20 s ago",
        "recent": "it was verified 1 min 40 s ago",
    }


def test_nothing() -> None:
    assert select_due([], now=NOW, max_age=5, share=5) == []
    assert select_due([point("x", 1.0)], now=NOW, max_age=60) == []


@pytest.mark.parametrize(("ahead", "due"), [(1.0, False), (299.0, False), (301.0, True), (10**9, True)])
def test_a_result_from_the_future_does_not_put_a_point_off_for_ever(ahead: float, due: bool) -> None:
    found = select_due([point("x", -ahead)], now=NOW, max_age=60)
    assert bool(found) == due
    if due:
        assert found[0].why == "it was verified 0.0 s ago"


def test_points_of_clients_take_turns_by_age_not_by_name() -> None:
    points = [Candidate("b", "1", 10.0), Candidate("a", "2", 20.0), Candidate("a", "1", 10.0)]
    found = select_due(points, now=NOW)
    assert [(item.candidate.client, item.candidate.point) for item in found] == [("a", "1"), ("b", "1"), ("a", "2")]


candidates = st.lists(
    st.builds(
        Candidate,
        client=st.sampled_from("ab"),
        point=st.uuids().map(str),
        created=st.floats(0, NOW),
        verified_at=st.one_of(st.none(), st.floats(0, NOW - 1)),
        ok=st.just(True),
    ),
    min_size=1,
    max_size=40,
)


@given(candidates, st.integers(1, 100), st.sets(st.integers(0, 39)))
@settings(max_examples=100)
def test_a_share_covers_all_after_so_many_runs(points: list[Candidate], share: int, bad: set[int]) -> None:
    """Some are bad, and stay so: they take no turn away from the others."""
    known = {one.point: one for one in points}
    damaged = {one.point for number, one in enumerate(points) if number in bad}
    covered: set[str] = set()
    for number in range(math.ceil(100 / share)):
        now = NOW + number * 60
        due = select_due(list(known.values()), now=now, share=share)
        names = [item.candidate.point for item in due]
        assert len(names) == len(set(names))
        again = {one.point for one in known.values() if one.ok is False}
        assert again <= set(names)
        assert len(set(names) - again) <= math.ceil(len(points) * share / 100)
        assert names
        covered |= set(names)
        for name in names:
            known[name] = replace(known[name], verified_at=now, ok=name not in damaged)
    assert covered == set(known)


@given(candidates, st.integers(0, 2 * 10**6), st.one_of(st.none(), st.integers(1, 100)))
@settings(max_examples=100)
def test_max_age_selects_and_share_caps(points: list[Candidate], max_age: int, share: int | None) -> None:
    found = [item.candidate for item in select_due(points, now=NOW, max_age=max_age, share=share)]
    old = [one for one in points if one.verified_at is None or NOW - one.verified_at >= max_age]
    assert set(found) <= set(old)
    assert len(found) == (len(old) if share is None else min(len(old), math.ceil(len(points) * share / 100)))
    # Nobody who waits longer was passed over.
    left = [one for one in old if one not in found]
    if found and left:
        assert max(one.verified_at or 0.0 for one in found) <= min(one.verified_at or 0.0 for one in left)
