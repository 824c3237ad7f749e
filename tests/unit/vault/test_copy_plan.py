# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which recovery points are copied: what is chosen, what comes along, what is in the way."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from unit.vault.builders import describe

from ansible_collections.ovm.backup.plugins.module_utils.errors import InvalidInputError
from ansible_collections.ovm.backup.plugins.module_utils.vault.copy_plan import (
    ALL,
    FULLS,
    NEWEST,
    CopyPlan,
    Side,
    Wishes,
    plan_copy,
)
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point, PointDisk
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import DamagedPoint
from ansible_collections.ovm.backup.plugins.module_utils.vault.retention import PointFacts, RetentionPolicy

DAY = 86400.0
# Two chains, and a third that has just begun: the number of a point and of what it builds on.
CHAINS = {1: None, 2: 1, 3: 2, 4: None, 5: 4, 6: None}


def name(number: int) -> str:
    return f"197001{number:02d}T000000Z-{number:04d}"


def point(number: int, base: int | None = None, **changes: Any) -> Point:
    disk = PointDisk(
        slot=0,
        disk_id="a",
        name="system",
        size=1,
        type="full" if base is None else "incremental",
        reason="r",
        base=None if base is None else name(base),
        file="0-system.img.zst",
        file_size=100,
        header_hash="h",
        content_hash="c",
        repository=None,
        statistics={},
    )
    writer: Any = SimpleNamespace(id=name(number), sequence=number)
    client: Any = SimpleNamespace(name="web01")
    return replace(describe(writer, client, (disk,), created=number * DAY), **changes)


def side(*points: Point, problems: dict[int, str] | None = None, damaged: tuple[int, ...] = ()) -> Side:
    facts = {
        one.id: PointFacts(
            id=one.id,
            sequence=one.sequence,
            created=one.created,
            type=one.type,
            bases=frozenset(disk.base for disk in one.disks if disk.base is not None),
            problem=(problems or {}).get(one.sequence),
            content=frozenset({("a", one.id)}),
        )
        for one in points
    }
    bad = tuple(DamagedPoint(name(number), number, "it is no manifest") for number in damaged)
    return Side({one.id: one for one in points}, facts, bad)


SOURCE = [point(number, base) for number, base in CHAINS.items()]


def plan(source: Side | None = None, target: Side | None = None, **wishes: Any) -> CopyPlan:
    return plan_copy(source or side(*SOURCE), target or Side(), Wishes(**wishes), now=10 * DAY)


def due(found: CopyPlan) -> list[int]:
    return [one.point.sequence for one in found.due]


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"points": NEWEST}, [6]),
        ({"points": NEWEST, "count": 2}, [4, 5, 6]),
        ({"points": FULLS}, [1, 4, 6]),
        ({"points": FULLS, "count": 2}, [4, 6]),
        ({"newer_than": 7.5 * DAY}, [1, 2, 3, 4, 5, 6]),
        ({"newer_than": 5 * DAY}, [4, 5, 6]),
        ({"newer_than": 1 * DAY}, []),
        ({"policy": RetentionPolicy(keep_last=2)}, [4, 5, 6]),
        ({"policy": RetentionPolicy(keep_last=9)}, [1, 2, 3, 4, 5, 6]),
        ({"subclient": "all"}, [1, 2, 3, 4, 5, 6]),
        ({"subclient": "other"}, []),
    ],
)
def test_chosen_and_what_they_build_on(wishes: dict[str, Any], expected: list[int]) -> None:
    found = plan(**wishes)
    assert due(found) == expected
    assert [one.id for one in found.left_out] == [name(number) for number in CHAINS if number not in expected]
    assert {one.kind for one in found.left_out} <= {"not_chosen"}


def test_reasons() -> None:
    assert [(one.point.sequence, one.why) for one in plan(points=NEWEST, count=2).due] == [
        (4, f"{name(5)} builds on it"), (5, "it is chosen"), (6, "it is chosen"),
    ]  # fmt: skip
    reasons = {
        "it is not among the 2 newest ones": {"points": NEWEST, "count": 2},
        "it is not the newest": {"points": NEWEST},
        "it is not among the 2 newest full ones": {"points": FULLS, "count": 2},
        "it is older than newer_than says": {"newer_than": 5 * DAY},
        "no run of subclient 'x' made it": {"subclient": "x"},
    }
    for reason, wishes in reasons.items():
        assert plan(**wishes).left_out[0].reason == reason  # type: ignore[arg-type]
    assert plan(points=FULLS).left_out[0].reason == "it is no full one"
    expired = plan(policy=RetentionPolicy(keep_last=2)).left_out[0].reason
    assert expired == "the other vault would not keep it: not among the last 2"


def test_what_is_there_is_not_copied_again() -> None:
    found = plan(target=side(*SOURCE[:3], point(9)))
    assert (due(found), found.present, found.left_out) == ([4, 5, 6], tuple(map(name, (1, 2, 3))), ())
    # What the source does not have any more, and what the other vault alone has, is none of its business.
    assert due(plan(side(*SOURCE[3:]), side(*SOURCE[:3]))) == [4, 5, 6]


def test_what_retention_removed_does_not_come_back() -> None:
    policy = RetentionPolicy(keep_last=3)
    target = side(*SOURCE[3:])
    assert due(plan(target=target, policy=policy)) == []
    assert due(plan(target=target)) == [1, 2, 3]
    # A pin or a lock of the source keeps nothing in the copy.
    pinned = side(*SOURCE)
    facts = {key: replace(fact, pin="keep", held="locked") for key, fact in pinned.facts.items()}
    assert due(plan(replace(pinned, facts=facts), target, policy=policy)) == []


@pytest.mark.parametrize(
    ("problems", "wishes", "expected", "bad"),
    [
        ({2: "cut", 3: "cut below"}, {}, [1, 4, 5, 6], [2, 3]),
        ({6: "cut"}, {"points": NEWEST}, [4, 5], [6]),
        # A base with damage that does not touch its disks.
        ({1: "vm.cfg"}, {}, [4, 5, 6], [1, 2, 3]),
    ],
)
def test_what_is_not_in_order(
    problems: dict[int, str], wishes: dict[str, Any], expected: list[int], bad: list[int]
) -> None:
    found = plan(side(*SOURCE, problems=problems), **wishes)
    assert due(found) == expected
    assert [one.id for one in found.left_out if one.kind == "bad"] == [name(number) for number in bad]


def test_unreadable_manifests() -> None:
    found = plan(side(*SOURCE[:4], damaged=(5, 6)))
    assert (due(found), [(one.id, one.kind) for one in found.left_out]) == (
        [1, 2, 3, 4], [(name(5), "bad"), (name(6), "bad")],
    )  # fmt: skip


def conflicts(found: CopyPlan) -> dict[str, str]:
    return {one.id: one.reason for one in found.left_out if one.kind == "conflict"}


def test_conflicts() -> None:
    other = replace(SOURCE[0], reason="another")
    found = plan(target=side(other))
    said = "the other vault holds another recovery point with this id"
    assert due(found) == [4, 5, 6]
    assert conflicts(found) == {
        name(1): said,
        name(2): f"it builds on {name(1)}, which is not copied: {said}",
        name(3): f"it builds on {name(2)}, which is not copied: it builds on {name(1)}, which is not copied: {said}",
    }
    stranger = replace(point(4), id="19800101T000000Z-0004")
    found = plan(target=side(stranger))
    assert due(found) == [1, 2, 3, 6]
    assert conflicts(found)[name(4)] == (
        f"the other vault has {stranger.id} with the same number, which does not come from this vault: no backups may "
        "be made into a vault that holds copies"
    )
    found = plan(target=side(damaged=(4,)))
    assert due(found) == [1, 2, 3, 6]
    assert conflicts(found)[name(4)] == (
        "what the other vault holds of it is damaged: it is no manifest. Remove that folder to have it copied again"
    )
    found = plan(target=side(*SOURCE[:2], problems={2: "cut"}))
    assert due(found) == [4, 5, 6]
    assert conflicts(found) == {
        name(3): f"it builds on {name(2)}, which is not in order in the other vault: cut",
    }


def test_wrong_wishes() -> None:
    with pytest.raises(InvalidInputError, match="count is for points: newest and points: fulls: leave it out"):
        Wishes(points=ALL, count=2)
    with pytest.raises(InvalidInputError, match="count must be at least 1, not 0"):
        Wishes(points=NEWEST, count=0)
