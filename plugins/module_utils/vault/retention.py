# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Which recovery points of a client are kept, and which expire: a pure function, with all reasons in words.

What a kept point needs is kept too, so no chain is ever broken. With any doubt a point is kept: an unreadable manifest
may need every older point, and a client without a point that is known to be good loses none.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable, Sequence
from dataclasses import astuple, dataclass, field
from typing import Callable, NamedTuple

from .manifest import CLOCK_TOLERANCE
from .summary import utc_time
from .text import number_of

_DAY = 86400


@dataclass(frozen=True)
class RetentionPolicy:
    """What is kept. A rule that is C(None) is not set; each point that any rule keeps is kept."""

    keep_last: int | None = None
    keep_days: int | None = None
    keep_daily: int | None = None
    keep_weekly: int | None = None
    keep_monthly: int | None = None
    keep_yearly: int | None = None

    @property
    def is_empty(self) -> bool:
        """Return whether no rule is set."""
        return all(rule is None for rule in astuple(self))


@dataclass(frozen=True)
class PointFacts:
    """What counts of a recovery point.

    C(created) is null when its manifest cannot be read, C(bases) are the points that its disks build on, C(problem) is
    why it cannot be restored, C(pin) the note of its pin, C(held) how the storage keeps it from removal,
    C(consolidates) the point that a synthetic full takes the place of. C(content) says what its disks hold, C(stored)
    how many bytes its files take.
    """

    id: str
    sequence: int
    created: float | None
    type: str | None = "full"
    bases: frozenset[str] = frozenset()
    problem: str | None = None
    pin: str | None = None
    held: str | None = None
    consolidates: str | None = None
    content: frozenset[tuple[str, str]] = frozenset()
    stored: int = 0


@dataclass(frozen=True)
class Decision:
    """A point, whether it is kept, and why."""

    point: PointFacts
    keep: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Review:
    """The decisions on all points of a client in the order of their sequence, and what one should know about them."""

    decisions: tuple[Decision, ...]
    warnings: tuple[str, ...]

    @property
    def expired(self) -> list[Decision]:
        """Return what expires, in the order in which to remove it: nothing goes before what builds on it."""
        return [decision for decision in reversed(self.decisions) if not decision.keep]


class _Slots(NamedTuple):
    """A rule that keeps the newest point of each of the last days, weeks, months or years."""

    rule: str
    adjective: str
    unit: str
    label: Callable[[datetime.date], str]


def _week(day: datetime.date) -> str:
    year, week, _weekday = day.isocalendar()
    return f"{year:04d}-W{week:02d}"


_SLOTS = (
    _Slots("keep_daily", "daily", "day", lambda day: day.isoformat()),
    _Slots("keep_weekly", "weekly", "week", _week),
    _Slots("keep_monthly", "monthly", "month", lambda day: f"{day.year:04d}-{day.month:02d}"),
    _Slots("keep_yearly", "yearly", "year", lambda day: f"{day.year:04d}"),
)


@dataclass
class _Verdict:
    """What the rules say of some points: the reasons to keep each, and those not to."""

    keep: dict[str, list[str]] = field(default_factory=dict)
    drop: dict[str, list[str]] = field(default_factory=dict)

    def say(self, point: PointFacts, kept: bool, why: str, why_not: str) -> None:
        """Add what one rule says of a point."""
        if kept:
            self.keep.setdefault(point.id, []).append(why)
        else:
            self.drop.setdefault(point.id, []).append(why_not)


def decide(points: Collection[PointFacts], policy: RetentionPolicy, *, now: float, zone: datetime.tzinfo) -> Review:
    """Decide on all recovery points of one client.

    Days, weeks, months and years are those of the calendar in C(zone); C(keep_days) counts elapsed time.
    """
    ordered = sorted(points, key=lambda point: point.sequence)
    dated = sorted((point for point in ordered if point.created is not None), key=_moment)
    good = [point for point in dated if point.problem is None]
    ahead = {point.id for point in dated if _created(point) > now + CLOCK_TOLERANCE}
    reasons: dict[str, list[str]] = {point.id: [] for point in ordered}
    replaced = _replaced(good, ahead)
    verdict = _Verdict()

    if policy.is_empty:
        _add(reasons, ordered, "no rule is set, so everything is kept")
    elif not good:
        _add(reasons, ordered, "no recovery point of this client is known to be good, so nothing expires")
    else:
        for name, text in _newest(good).items():
            reasons[name].append(text)
        past = [point for point in dated if point.id not in ahead and point.id not in replaced]
        verdict = _apply(policy, [point for point in past if point.problem is None], now, zone)
        for name, why in verdict.keep.items():
            reasons[name] += why
        # A damaged point stands for none that is good, and stays only as long as it would if it were good itself.
        as_if_good, newest = _apply(policy, past, now, zone), _newest(dated)
        for point in past:
            if point.problem is not None:
                whys = [newest[point.id]] if point.id in newest else []
                whys += as_if_good.keep.get(point.id, ())
                reasons[point.id] += [f"damaged, does not count: {why}" for why in whys]
                verdict.drop[point.id] = ["damaged", *as_if_good.drop.get(point.id, ())]
    _keep_what_is_special(reasons, ordered, ahead)
    kept_as_base = _keep_bases(reasons, ordered)

    decisions = []
    for point in ordered:
        found = reasons[point.id]
        if point.id in kept_as_base:
            found[0] = f"kept only as a base: {found[0]}"
        against = verdict.drop.get(point.id, [])
        if point.id in replaced:
            against = [f"same content as the synthetic full {replaced[point.id]}"]
        decisions.append(Decision(point, bool(found), tuple(found or [f"expired: {', '.join(against)}"])))
    return Review(tuple(decisions), tuple(_warnings(ordered, ahead)))


def _created(point: PointFacts) -> float:
    return 0.0 if point.created is None else point.created


def _moment(point: PointFacts) -> tuple[float, int]:
    """Order by the age of the data: a synthetic full is as old as what it consolidates, and counts as newer than it."""
    return _created(point), point.sequence


def _newest(dated: Sequence[PointFacts]) -> dict[str, str]:
    """Return which of some points, at least one, that come from old to new, stay whatever the rules say, and why.

    A point that is given by a wrong clock to be the newest must not stand for the one that is. The one that was made
    last keeps its number from being given again, by which copies in another vault are known.
    """
    last = max(dated, key=lambda point: point.sequence)
    return {last.id: "last point made", dated[-1].id: "newest point"}


def _add(reasons: dict[str, list[str]], points: Iterable[PointFacts], why: str) -> None:
    for point in points:
        reasons[point.id].append(why)


def _replaced(good: Sequence[PointFacts], ahead: set[str]) -> dict[str, str]:
    """Return the points whose content a later, good synthetic full holds, with the id of that."""
    known = {point.id: point for point in good}
    found = {}
    for synthetic in good:
        point = known.get(synthetic.consolidates or "")
        if point is None or ahead & {point.id, synthetic.id} or synthetic.sequence <= point.sequence:
            continue
        if point.type == synthetic.type:
            continue  # were it removed for another one, what it stands for itself would count again
        if synthetic.content == point.content:
            found[point.id] = synthetic.id
    return found


def _apply(policy: RetentionPolicy, points: Sequence[PointFacts], now: float, zone: datetime.tzinfo) -> _Verdict:
    """Let all rules of a policy count these points, which come from old to new."""
    verdict = _Verdict()
    if policy.keep_last is not None:
        first = len(points) - policy.keep_last
        for number, point in enumerate(points):
            count = policy.keep_last
            verdict.say(point, number >= first, f"among the last {count}", f"not among the last {count}")
    if policy.keep_days is not None:
        age = number_of(policy.keep_days, "day")
        for point in points:
            young = now - _created(point) < policy.keep_days * _DAY
            verdict.say(point, young, f"younger than {age}", f"not younger than {age}")
    for slots in _SLOTS:
        count = getattr(policy, slots.rule)
        if count is not None:
            _fill(slots, count, points, zone, verdict)
    return verdict


def _fill(slots: _Slots, count: int, points: Sequence[PointFacts], zone: datetime.tzinfo, verdict: _Verdict) -> None:
    """Keep the newest point of each of the last C(count) slots that have a point."""
    labels = {point.id: slots.label(datetime.datetime.fromtimestamp(_created(point), zone).date()) for point in points}
    newest = {labels[point.id]: point.id for point in points}
    last = sorted(newest)[-count:]
    for point in points:
        label = labels[point.id]
        why_not = f"not the newest of {label}"
        if label not in last:
            last_ones = f"the last {slots.unit}" if count == 1 else f"among the last {count} {slots.unit}s"
            why_not = f"{label} is not {last_ones}"
        verdict.say(
            point,
            label in last and newest[label] == point.id,
            f"{slots.adjective} for {label} (the newest of that {slots.unit})",
            why_not,
        )


def _keep_what_is_special(reasons: dict[str, list[str]], ordered: Sequence[PointFacts], ahead: set[str]) -> None:
    """Keep pins, what the storage holds, points from the future, and unreadable ones with all that they may need."""
    unreadable = [point for point in ordered if point.created is None]
    for point in ordered:
        if point.pin is not None:
            reasons[point.id].append(f"pinned: {point.pin}" if point.pin else "pinned")
        if point.held is not None:
            reasons[point.id].append(point.held)
        if point.id in ahead:
            reasons[point.id].append("created in the future")
        if point.created is None:
            reasons[point.id].append("its manifest cannot be read")
        elif unreadable and point.sequence < unreadable[-1].sequence:
            reasons[point.id].append(f"may be needed by {unreadable[-1].id}, whose manifest cannot be read")


def _keep_bases(reasons: dict[str, list[str]], ordered: Sequence[PointFacts]) -> set[str]:
    """Keep what the kept points need, and what that needs; return the points that are kept for nothing else."""
    known = {point.id: point for point in ordered}
    wanted = [point for point in ordered if reasons[point.id]]
    needed_by: dict[str, list[PointFacts]] = {}
    seen = {point.id for point in wanted}
    only_base = set()
    while wanted:
        point = wanted.pop()
        for base in sorted(point.bases & known.keys()):
            needed_by.setdefault(base, []).append(point)
            if base not in seen:
                seen.add(base)
                only_base.add(base)
                wanted.append(known[base])
    for base, users in needed_by.items():
        nearest = min(users, key=lambda point: point.sequence)
        more = f" and {len(users) - 1} more" if len(users) > 1 else ""
        reasons[base].append(f"needed by {nearest.id}{more}")
    return only_base


def _warnings(ordered: Sequence[PointFacts], ahead: set[str]) -> Iterable[str]:
    for point in ordered:
        if point.created is None:
            yield (
                f"the manifest of recovery point {point.id} cannot be read, so it is kept with all older ones: "
                f"{point.problem}"
            )
        elif point.problem is not None:
            yield f"recovery point {point.id} is damaged and does not count: {point.problem}"
        if point.id in ahead:
            yield (
                f"recovery point {point.id} was created in the future ({utc_time(_created(point))}): it is kept and "
                "does not count; check the clocks of the proxies"
            )
