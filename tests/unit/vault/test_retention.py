# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which points are kept and which expire, with the exact reasons: tables, time zones, and chains."""

from __future__ import annotations

import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.vault.retention import (
    PointFacts,
    RetentionPolicy,
    Review,
    decide,
)

UTC = "UTC"


def at(text: str, zone: str = UTC, fold: int = 0) -> float:
    """Return the moment at which the clocks of a time zone show this."""
    return datetime.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def point(sequence: int, created: str | float | None, *bases: int, **changes: Any) -> PointFacts:
    """Return a good point P<sequence>: a full, or an incremental with bases."""
    moment = at(created) if isinstance(created, str) else created
    kind = "incremental" if bases else "full"
    values = {"type": kind, "bases": frozenset(f"P{base}" for base in bases), **changes}
    return PointFacts(f"P{sequence}", sequence, moment, **values)


def review(points: list[PointFacts], now: str = "2026-11-25T12:00", zone: str = UTC, **policy: int) -> Review:
    return decide(points, RetentionPolicy(**policy), now=at(now), zone=ZoneInfo(zone))


def told(found: Review) -> dict[str, Any]:
    """Return the reasons by point: a list when it is kept, the one text when it expires."""
    return {item.point.id: list(item.reasons) if item.keep else item.reasons[0] for item in found.decisions}


def kept(found: Review) -> list[str]:
    return [item.point.id for item in found.decisions if item.keep]


# --- each rule -------------------------------------------------------------------------------------------------------


DAYS = [point(number, f"2026-11-{20 + number}T01:00") for number in range(1, 6)]  # 21 to 25 November 2026


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"keep_last": 2}, {
            "P1": "expired: not among the last 2",
            "P2": "expired: not among the last 2",
            "P3": "expired: not among the last 2",
            "P4": ["among the last 2"],
            "P5": ["newest point", "among the last 2"],
        }),
        ({"keep_days": 1}, {
            "P1": "expired: not younger than 1 day",
            "P2": "expired: not younger than 1 day",
            "P3": "expired: not younger than 1 day",
            "P4": "expired: not younger than 1 day",
            "P5": ["newest point", "younger than 1 day"],
        }),
        ({"keep_last": 1, "keep_daily": 2, "keep_days": 3}, {
            "P1": "expired: not among the last 1, not younger than 3 days, 2026-11-21 is not among the last 2 days",
            "P2": "expired: not among the last 1, not younger than 3 days, 2026-11-22 is not among the last 2 days",
            "P3": ["younger than 3 days"],
            "P4": ["younger than 3 days", "daily for 2026-11-24 (the newest of that day)"],
            "P5": [
                "newest point", "among the last 1", "younger than 3 days",
                "daily for 2026-11-25 (the newest of that day)",
            ],
        }),
        ({"keep_weekly": 2}, {
            "P1": "expired: not the newest of 2026-W47",
            "P2": ["weekly for 2026-W47 (the newest of that week)"],
            "P3": "expired: not the newest of 2026-W48",
            "P4": "expired: not the newest of 2026-W48",
            "P5": ["newest point", "weekly for 2026-W48 (the newest of that week)"],
        }),
        ({"keep_daily": 1}, {
            **{f"P{number}": f"expired: 2026-11-{20 + number} is not the last day" for number in range(1, 5)},
            "P5": ["newest point", "daily for 2026-11-25 (the newest of that day)"],
        }),
        ({"keep_monthly": 1}, {
            **{f"P{number}": "expired: not the newest of 2026-11" for number in range(1, 5)},
            "P5": ["newest point", "monthly for 2026-11 (the newest of that month)"],
        }),
        ({"keep_yearly": 9}, {
            **{f"P{number}": "expired: not the newest of 2026" for number in range(1, 5)},
            "P5": ["newest point", "yearly for 2026 (the newest of that year)"],
        }),
    ],
)  # fmt: skip
def test_rules(policy: dict[str, int], expected: dict[str, Any]) -> None:
    found = review(DAYS, **policy)
    assert told(found) == expected
    assert found.warnings == ()
    assert [item.point.id for item in found.expired] == sorted(set(told(found)) - set(kept(found)), reverse=True)
    assert told(review(list(reversed(DAYS)), **policy)) == expected


def test_no_rule_keeps_everything() -> None:
    assert told(review(DAYS[:2])) == {
        "P1": ["no rule is set, so everything is kept"],
        "P2": ["no rule is set, so everything is kept"],
    }
    assert told(review([], keep_last=1)) == {}


def test_newest_point_never_expires() -> None:
    assert told(review(DAYS, now="2036-11-25T12:00", keep_days=1))["P5"] == ["newest point"]


def test_age_in_elapsed_time() -> None:
    points = [point(1, "2026-11-23T12:00"), point(2, at("2026-11-23T12:00") + 0.5), point(3, "2026-11-25T11:00")]
    assert kept(review(points, keep_days=2)) == ["P2", "P3"]


def test_slots_without_points_do_not_count() -> None:
    moments = ("2019-03-01T05:00", "2024-12-30T05:00", "2024-12-31T05:00", "2026-11-25T05:00")
    points = [point(number, moment) for number, moment in enumerate(moments, 1)]
    assert told(review(points, keep_yearly=2, keep_weekly=2)) == {
        "P1": "expired: 2019-W09 is not among the last 2 weeks, 2019 is not among the last 2 years",
        "P2": "expired: not the newest of 2025-W01, not the newest of 2024",
        "P3": ["weekly for 2025-W01 (the newest of that week)", "yearly for 2024 (the newest of that year)"],
        "P4": [
            "newest point",
            "weekly for 2026-W48 (the newest of that week)",
            "yearly for 2026 (the newest of that year)",
        ],
    }


# --- chains, pins, synthetic fulls -----------------------------------------------------------------------------------


def test_what_a_kept_point_needs_is_kept() -> None:
    points = [
        point(1, "2026-11-20T01:00"),
        point(2, "2026-11-21T01:00", 1),
        point(3, "2026-11-22T01:00", 2),
        point(4, "2026-11-23T01:00", 3, 1),  # one disk on P3, one on P1
        point(5, "2026-11-24T01:00", 1),
        point(6, "2026-11-25T01:00", 1),
    ]
    by_rule = ["among the last 3"]
    assert told(review(points, keep_last=3)) == {
        "P1": ["kept only as a base: needed by P2 and 3 more"],
        "P2": ["kept only as a base: needed by P3"],
        "P3": ["kept only as a base: needed by P4"],
        "P4": by_rule,
        "P5": by_rule,
        "P6": ["newest point", *by_rule],
    }
    assert told(review(points, keep_last=2)) == {
        "P1": ["kept only as a base: needed by P5 and 1 more"],
        **{f"P{number}": "expired: not among the last 2" for number in (2, 3, 4)},
        "P5": ["among the last 2"],
        "P6": ["newest point", "among the last 2"],
    }


def test_a_base_may_be_kept_for_itself_too() -> None:
    points = [point(1, "2026-11-24T01:00"), point(2, "2026-11-25T01:00", 1)]
    assert told(review(points, keep_daily=2))["P1"] == ["daily for 2026-11-24 (the newest of that day)", "needed by P2"]


def test_pins() -> None:
    points = [
        point(1, "2026-11-20T01:00"),
        point(2, "2026-11-21T01:00", 1, pin="before the upgrade"),
        point(3, "2026-11-22T01:00", 2),
        point(4, "2026-11-23T01:00", pin=""),
        point(5, "2026-11-25T01:00"),
    ]
    assert told(review(points, keep_last=1)) == {
        "P1": ["kept only as a base: needed by P2"],
        "P2": ["pinned: before the upgrade"],
        "P3": "expired: not among the last 1",
        "P4": ["pinned"],
        "P5": ["newest point", "among the last 1"],
    }


FULL, SYNTHETIC = frozenset({("disk", "hash")}), {"type": "synthetic_full", "consolidates": "P2"}
CHAIN = [point(1, "2026-11-20T01:00"), point(2, "2026-11-21T01:00", 1, content=FULL)]


def test_synthetic_full_stands_for_what_it_consolidates() -> None:
    points = [*CHAIN, point(3, "2026-11-21T01:00", content=FULL, **SYNTHETIC), point(4, "2026-11-22T01:00", 3)]
    assert told(review(points, keep_days=60, keep_last=2)) == {
        "P1": ["younger than 60 days"],
        "P2": "expired: same content as the synthetic full P3",
        "P3": ["among the last 2", "younger than 60 days", "needed by P4"],
        "P4": ["newest point", "among the last 2", "younger than 60 days"],
    }
    assert told(review(points, keep_last=1)) == {
        "P1": "expired: not among the last 1",
        "P2": "expired: same content as the synthetic full P3",
        "P3": ["kept only as a base: needed by P4"],
        "P4": ["newest point", "among the last 1"],
    }


@pytest.mark.parametrize(
    "others",
    [
        [point(3, "2026-11-21T01:00", content=FULL, problem="a file is missing", **SYNTHETIC)],
        [point(3, "2026-11-21T01:00", content=frozenset({("disk", "other")}), **SYNTHETIC)],
        [point(3, "2026-11-21T01:00", content=FULL, **SYNTHETIC), point(4, "2026-11-22T01:00", 2)],
    ],
    ids=["damaged", "other content", "needed"],
)
def test_synthetic_full_that_cannot_stand_for_it(others: list[PointFacts]) -> None:
    assert "P2" in kept(review([*CHAIN, *others], keep_days=60))


def test_synthetic_full_of_the_same_moment_is_the_newer_one() -> None:
    points = [point(1, "2026-11-25T01:00"), point(2, "2026-11-25T01:00", type="synthetic_full")]
    assert told(review(points, keep_daily=3)) == {
        "P1": "expired: not the newest of 2026-11-25",
        "P2": ["newest point", "daily for 2026-11-25 (the newest of that day)"],
    }


# --- damage ----------------------------------------------------------------------------------------------------------


def test_damaged_points_fill_no_slot() -> None:
    points = [
        *DAYS[:3],
        point(4, "2026-11-23T13:00", problem="a file is missing"),
        point(5, "2026-11-25T01:00", problem="a file is short"),
        point(6, "2026-11-22T13:00", problem="gone"),
        point(7, "2026-11-22T14:00"),
    ]
    found = review(points, keep_daily=2)
    assert told(found) == {
        "P1": "expired: 2026-11-21 is not among the last 2 days",
        "P2": "expired: not the newest of 2026-11-22",
        "P3": ["newest point", "daily for 2026-11-23 (the newest of that day)"],
        "P4": ["damaged, does not count: daily for 2026-11-23 (the newest of that day)"],
        "P5": [
            "damaged, does not count: newest point",
            "damaged, does not count: daily for 2026-11-25 (the newest of that day)",
        ],
        "P6": "expired: damaged, 2026-11-22 is not among the last 2 days",
        "P7": ["last point made", "daily for 2026-11-22 (the newest of that day)"],
    }
    assert found.warnings == (
        "recovery point P4 is damaged and does not count: a file is missing",
        "recovery point P5 is damaged and does not count: a file is short",
        "recovery point P6 is damaged and does not count: gone",
    )


def test_damaged_point_stays_as_the_newest_as_it_would_if_it_were_good() -> None:
    points = [*DAYS[:3], point(4, "2026-11-24T01:00", 3, problem="a file is short"), point(5, "2026-11-21T02:00")]
    bad_last = [*DAYS[:3], point(6, "2026-11-20T01:00", problem="gone")]
    assert told(review(points, now="2027-11-25T12:00", keep_days=1)) == {
        **{f"P{number}": "expired: not younger than 1 day" for number in (1, 2)},
        "P3": ["newest point", "needed by P4"],
        "P4": ["damaged, does not count: newest point"],
        "P5": ["last point made"],
    }
    assert told(review(bad_last, now="2027-11-25T12:00", keep_days=1)) == {
        **{f"P{number}": "expired: not younger than 1 day" for number in (1, 2)},
        "P3": ["newest point"],
        "P6": ["damaged, does not count: last point made"],
    }


def test_without_a_good_point_nothing_expires() -> None:
    points = [point(number, f"2026-11-2{number}T01:00", problem="gone") for number in (1, 2)]
    why = ["no recovery point of this client is known to be good, so nothing expires"]
    assert told(review(points, keep_last=1)) == {"P1": why, "P2": why}


def test_an_unreadable_manifest_may_need_all_older_points() -> None:
    points = [*DAYS[:2], point(3, None, type=None, problem="it is not JSON"), *DAYS[3:]]
    found = review(points, keep_last=1)
    assert told(found) == {
        "P1": ["may be needed by P3, whose manifest cannot be read"],
        "P2": ["may be needed by P3, whose manifest cannot be read"],
        "P3": ["its manifest cannot be read"],
        "P4": "expired: not among the last 1",
        "P5": ["newest point", "among the last 1"],
    }
    assert found.warnings == (
        "the manifest of recovery point P3 cannot be read, so it is kept with all older ones: it is not JSON",
    )


# --- clocks and time zones -------------------------------------------------------------------------------------------


def test_points_from_the_future_are_kept_and_do_not_count() -> None:
    points = [*DAYS[:3], point(4, "2031-01-01T00:00:01"), point(5, "2026-11-25T12:04"), point(6, "2026-11-25T11:00")]
    found = review(points, keep_last=1, keep_yearly=1)
    assert told(found) == {
        **{f"P{number}": "expired: not among the last 1, not the newest of 2026" for number in (1, 2, 3)},
        "P4": ["newest point", "created in the future"],
        "P5": ["among the last 1", "yearly for 2026 (the newest of that year)"],  # clocks differ by some minutes
        "P6": ["last point made"],
    }
    assert found.warnings == (
        "recovery point P4 was created in the future (2031-01-01 00:00:01 UTC): it is kept and does not count; check "
        "the clocks of the proxies",
    )


def test_a_clock_that_goes_back_expires_nothing() -> None:
    assert kept(review(DAYS, now="2020-01-01T00:00", keep_last=1)) == ["P1", "P2", "P3", "P4", "P5"]


@pytest.mark.parametrize("zone", ["Europe/Vienna", "America/New_York", "Pacific/Auckland"])
def test_nightly_backups_just_after_midnight(zone: str) -> None:
    first = datetime.date(2025, 12, 28)
    days = [first + datetime.timedelta(days=number) for number in range(365)]  # both changes of the clocks
    points = [point(number, at(f"{day}T00:05", zone)) for number, day in enumerate(days, 1)]
    found = review(points, now="2026-12-28T23:00", zone=zone, keep_daily=365)
    labels = [item.reasons[-1] for item in found.decisions]
    assert labels == [f"daily for {day} (the newest of that day)" for day in days]
    monthly = review(points, now="2026-12-28T23:00", zone=zone, keep_monthly=3).decisions
    stay = [day for day, item in zip(days, monthly, strict=True) if item.keep]
    assert stay == [datetime.date(2026, 10, 31), datetime.date(2026, 11, 30), days[-1]]


@pytest.mark.parametrize(
    ("zone", "first", "second"),
    [
        # Days of 23 hours: the second point is less than a day after the first.
        ("Europe/Vienna", "2026-03-29T00:05", "2026-03-30T00:00"),
        ("America/New_York", "2026-03-08T00:05", "2026-03-09T00:00"),
        ("Pacific/Auckland", "2026-09-27T00:05", "2026-09-28T00:00"),
    ],
)
def test_short_days(zone: str, first: str, second: str) -> None:
    points = [point(1, at(first, zone)), point(2, at(second, zone))]
    assert points[1].created - points[0].created == 22 * 3600 + 55 * 60
    assert kept(review(points, zone=zone, keep_daily=2)) == ["P1", "P2"]


@pytest.mark.parametrize(
    ("zone", "day", "hour"),
    [
        ("Europe/Vienna", "2026-10-25", "02:30"),
        ("America/New_York", "2026-11-01", "01:30"),
        ("Pacific/Auckland", "2026-04-05", "02:30"),
    ],
)
def test_repeated_hour_and_long_day(zone: str, day: str, hour: str) -> None:
    points = [
        point(1, at(f"{day}T00:00", zone)),
        point(2, at(f"{day}T{hour}", zone, fold=0)),
        point(3, at(f"{day}T{hour}", zone, fold=1)),
    ]
    assert points[2].created - points[1].created == 3600
    end = point(4, at(f"{day}T23:59", zone))
    assert end.created - points[0].created == 25 * 3600 - 60
    assert told(review(points, zone=zone, keep_daily=5)) == {
        "P1": f"expired: not the newest of {day}",
        "P2": f"expired: not the newest of {day}",
        "P3": ["newest point", f"daily for {day} (the newest of that day)"],
    }
    assert kept(review([*points, end], zone=zone, keep_daily=5)) == ["P4"]


def test_the_zone_decides_on_which_day_it_was() -> None:
    points = [point(1, "2026-12-31T22:30"), point(2, "2026-12-31T23:30"), point(3, "2027-01-01T05:30")]
    now = "2027-01-02T00:00"
    assert kept(review(points, now, UTC, keep_yearly=2)) == ["P2", "P3"]
    assert kept(review(points, now, "Europe/Vienna", keep_yearly=2)) == ["P1", "P3"]
    assert kept(review(points, now, "America/New_York", keep_daily=2)) == ["P2", "P3"]
    assert kept(review(points, now, "Pacific/Auckland", keep_daily=2)) == ["P3"]
