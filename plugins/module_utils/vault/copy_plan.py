# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Which recovery points of a client are copied from one vault to another: a pure function, with all reasons in words.

What a chosen point builds on comes along, and older points come first, so that in the other vault, too, nothing is ever
there without what it needs. What the other vault holds already is compared and never written again.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from ..errors import InvalidInputError
from .expiry import facts_of, unreadable
from .files import exists
from .health import Health
from .manifest import Point, is_published, sequence_of
from .points import Client, DamagedPoint
from .retention import PointFacts, RetentionPolicy, decide

ALL, NEWEST, FULLS = "all", "newest", "fulls"
# Why a point is left out: nobody asked for it; it is not in order; the other vault holds something that is in the way.
NOT_CHOSEN, BAD, CONFLICT = "not_chosen", "bad", "conflict"


@dataclass(frozen=True)
class Wishes:
    """What is to be copied of a client.

    C(points) is one of C(ALL), C(NEWEST) and C(FULLS), C(count) how many of the newest of these (1 for C(NEWEST) if it
    is not given), C(newer_than) how many seconds old its data may be, C(subclient) whose runs made it. What C(policy),
    the retention of the other vault, would not keep is not copied: it would come back with every copy.
    """

    points: str = ALL
    count: int | None = None
    newer_than: float | None = None
    subclient: str | None = None
    policy: RetentionPolicy = field(default_factory=RetentionPolicy)
    zone: datetime.tzinfo = datetime.timezone.utc

    def __post_init__(self) -> None:
        if self.count is not None and self.points == ALL:
            raise InvalidInputError(
                f"count is for points: {NEWEST} and points: {FULLS}: leave it out with points: {ALL}", option="count"
            )
        if self.count is not None and self.count < 1:
            raise InvalidInputError(f"count must be at least 1, not {self.count}", option="count")

    @property
    def limit(self) -> int | None:
        """Return how many points are chosen at most, without those that they build on."""
        return 1 if self.points == NEWEST and self.count is None else self.count


@dataclass(frozen=True)
class Side:
    """What one of the vaults has of a client: the points that can be read and their facts by their id, oldest first."""

    points: Mapping[str, Point] = field(default_factory=dict)
    facts: Mapping[str, PointFacts] = field(default_factory=dict)
    damaged: tuple[DamagedPoint, ...] = ()

    def problem_of(self, point_id: str) -> str | None:
        """Return why a point cannot be built upon, or nothing."""
        return self.facts[point_id].problem


def look_at(client: Client) -> Side:
    """Return what a vault has of a client, whose folder need not exist; looks at all but the data.

    Without the lock of the client, points may be removed meanwhile.
    """
    if not exists(client.directory):
        return Side()
    points, damaged = client.scan()
    health = Health(client)
    facts = {point.id: facts_of(client, point, health) for point in points}
    # A removal takes the manifest away first: what is missing without it is no damage, and nothing to build on.
    gone = {name for name, fact in facts.items() if fact.problem is not None and not _is_there(client, name)}
    there = {point.id: point for point in points if point.id not in gone}
    return Side(there, {name: facts[name] for name in there}, tuple(damaged))


def _is_there(client: Client, point_id: str) -> bool:
    return is_published(os.path.join(client.directory, point_id))


@dataclass(frozen=True)
class Due:
    """A point to be copied, and why."""

    point: Point
    why: str


@dataclass(frozen=True)
class LeftOut:
    """A point that is not copied. C(kind) is one of C(NOT_CHOSEN), C(BAD) and C(CONFLICT)."""

    id: str
    kind: str
    reason: str


@dataclass(frozen=True)
class CopyPlan:
    """What is to be done for a client: C(due) in the order in which to copy it. C(present) is there already."""

    due: tuple[Due, ...]
    present: tuple[str, ...]
    left_out: tuple[LeftOut, ...]


def plan_copy(source: Side, target: Side, wishes: Wishes, *, now: float) -> CopyPlan:
    """Decide on all points that the source has of a client."""
    left_out = {bad.id: LeftOut(bad.id, BAD, bad.error) for bad in source.damaged}
    chosen = _chosen(source, wishes, now, left_out)
    reasons = _with_bases(source, chosen)
    numbers = {bad.sequence: bad.id for bad in target.damaged}
    numbers.update({point.sequence: point.id for point in target.points.values()})
    due: dict[str, Due] = {}
    present: list[str] = []
    for point in (point for point in source.points.values() if point.id in reasons):
        left_out.pop(point.id, None)
        found = _what_is_there(point, source, target, numbers) or _what_is_below(point, target, due, left_out)
        if found is not None:
            left_out[point.id] = found
        elif point.id in target.points:
            present.append(point.id)
        else:
            due[point.id] = Due(point, reasons[point.id])
    for one in _would_expire(source, target, due, wishes, now):
        del due[one.id]
        left_out[one.id] = one
    ordered = tuple(left_out[point_id] for point_id in sorted(left_out, key=sequence_of))
    return CopyPlan(tuple(due.values()), tuple(present), ordered)


def _chosen(source: Side, wishes: Wishes, now: float, left_out: dict[str, LeftOut]) -> list[str]:
    """Return the points that the wishes name, old ones first; say of all others why not."""
    candidates = []
    for point in source.points.values():
        problem = source.problem_of(point.id)
        why_not = _why_not(point, wishes, now)
        if why_not is not None:
            left_out[point.id] = LeftOut(point.id, NOT_CHOSEN, why_not)
        elif problem is not None:
            left_out[point.id] = LeftOut(point.id, BAD, problem)
        else:
            candidates.append(point.id)
    if wishes.limit is None:
        return candidates
    for point_id in candidates[: -wishes.limit]:
        what = "full ones" if wishes.points == FULLS else "ones"
        newest = "it is not the newest" if wishes.limit == 1 else f"it is not among the {wishes.limit} newest {what}"
        left_out[point_id] = LeftOut(point_id, NOT_CHOSEN, newest)
    return candidates[-wishes.limit :]


def _why_not(point: Point, wishes: Wishes, now: float) -> str | None:
    if wishes.subclient is not None and point.subclient != wishes.subclient:
        return f"no run of subclient {wishes.subclient!r} made it"
    if wishes.points == FULLS and not point.is_full:
        return "it is no full one"
    if wishes.newer_than is not None and point.created < now - wishes.newer_than:
        return "it is older than newer_than says"
    return None


def _with_bases(source: Side, chosen: list[str]) -> dict[str, str]:
    """Return points and all that they build on, with the reasons."""
    reasons = dict.fromkeys(chosen, "it is chosen")
    waiting = list(chosen)
    while waiting:
        point_id = waiting.pop()
        disks = source.points[point_id].disks if point_id in source.points else ()
        for base in sorted({disk.base for disk in disks if disk.base is not None}):
            if base not in reasons:
                reasons[base] = f"{point_id} builds on it"
                waiting.append(base)
    return reasons


def _what_is_there(point: Point, source: Side, target: Side, numbers: Mapping[int, str]) -> LeftOut | None:
    """Return what is wrong with a point itself, or with what the other vault has under its name or number."""
    there = target.points.get(point.id)
    if there is not None:
        if there != point:
            return LeftOut(point.id, CONFLICT, "the other vault holds another recovery point with this id")
        return None
    for bad in target.damaged:
        if bad.id == point.id:
            return LeftOut(
                point.id,
                CONFLICT,
                f"what the other vault holds of it is damaged: {bad.error}. Remove that folder to have it copied again",
            )
    other = numbers.get(point.sequence)
    if other is not None:
        return LeftOut(
            point.id,
            CONFLICT,
            f"the other vault has {other} with the same number, which does not come from this vault: no backups may be "
            "made into a vault that holds copies",
        )
    problem = source.problem_of(point.id)
    return LeftOut(point.id, BAD, problem) if problem is not None else None


def _what_is_below(
    point: Point, target: Side, due: Mapping[str, Due], left_out: Mapping[str, LeftOut]
) -> LeftOut | None:
    """Return why a point would be useless in the other vault for want of what it builds on."""
    if point.id in target.points:
        return None
    for base in sorted({disk.base for disk in point.disks if disk.base is not None}):
        if base in due:
            continue
        below = left_out.get(base)
        if below is not None:
            return LeftOut(point.id, below.kind, f"it builds on {base}, which is not copied: {below.reason}")
        problem = target.problem_of(base)
        if problem is not None:
            return LeftOut(
                point.id, CONFLICT, f"it builds on {base}, which is not in order in the other vault: {problem}"
            )
    return None


def _would_expire(source: Side, target: Side, due: Mapping[str, Due], wishes: Wishes, now: float) -> Iterator[LeftOut]:
    """Yield what is due but would be removed by the next retention of the other vault."""
    if wishes.policy.is_empty or not due:
        return
    # A pin is the affair of the vault where it is, and so is an object lock.
    coming = [replace(source.facts[point_id], pin=None, held=None) for point_id in due]
    facts = [*target.facts.values(), *map(unreadable, target.damaged), *coming]
    for decision in decide(facts, wishes.policy, now=now, zone=wishes.zone).decisions:
        if not decision.keep and decision.point.id in due:
            why = ", ".join(decision.reasons).removeprefix("expired: ")
            yield LeftOut(decision.point.id, NOT_CHOSEN, f"the other vault would not keep it: {why}")
