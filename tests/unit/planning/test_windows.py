# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Windows of time: inside or not, when they close and open, over midnight and when the clock is changed; wrong ones."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.planning.reading import Problems
from ansible_collections.ovm.backup.plugins.module_utils.planning.windows import (
    Window,
    WindowState,
    local_time,
    read_timezone,
    read_windows,
    window_state,
    zone_of,
)

BERLIN = "Europe/Berlin"


def at(text: str) -> float:
    """Return a moment in UTC, as C(2026-11-25 13:00)."""
    return datetime.datetime.fromisoformat(f"{text}+00:00").timestamp()


def windows(*definitions: dict[str, Any]) -> tuple[Window, ...]:
    problems = Problems()
    found = read_windows(list(definitions), "outage_window", problems)
    assert problems.found == []
    return found


NIGHT = windows({"from": "22:00", "to": "06:00"})
SATURDAY = windows({"days": ["sat"], "from": "22:00", "to": "02:00"})
WHOLE_WEEKEND = windows({"days": ["sat", "sun"], "from": "00:00", "to": "24:00"})
TOUCHING = windows({"days": ["fri"], "from": "20:00", "to": "24:00"}, {"days": ["sat"], "from": "00:00", "to": "03:00"})


# 2026-11-25 is a Wednesday; Berlin is one hour ahead of UTC in winter, two in summer.
@pytest.mark.parametrize(
    ("definition", "zone", "now", "is_open", "until"),
    [
        (NIGHT, "UTC", "2026-11-25 21:59", False, "2026-11-25 22:00"),
        (NIGHT, "UTC", "2026-11-25 22:00", True, "2026-11-26 06:00"),
        (NIGHT, "UTC", "2026-11-26 05:59", True, "2026-11-26 06:00"),
        (NIGHT, "UTC", "2026-11-26 06:00", False, "2026-11-26 22:00"),
        (NIGHT, BERLIN, "2026-11-25 21:30", True, "2026-11-26 05:00"),
        (NIGHT, BERLIN, "2026-07-01 20:00", True, "2026-07-02 04:00"),
        # The day is that on which it opens.
        (SATURDAY, "UTC", "2026-11-28 01:00", False, "2026-11-28 22:00"),
        (SATURDAY, "UTC", "2026-11-29 01:00", True, "2026-11-29 02:00"),
        (SATURDAY, "UTC", "2026-11-29 02:00", False, "2026-12-05 22:00"),
        (WHOLE_WEEKEND, "UTC", "2026-11-28 12:00", True, "2026-11-30 00:00"),
        (WHOLE_WEEKEND, "UTC", "2026-11-30 00:00", False, "2026-12-05 00:00"),
        (TOUCHING, "UTC", "2026-11-27 21:00", True, "2026-11-28 03:00"),
        # 2026-03-29, 02:00 becomes 03:00 in Berlin, which is 01:00 UTC.
        (windows({"from": "01:00", "to": "04:00"}), BERLIN, "2026-03-29 00:30", True, "2026-03-29 02:00"),
        (windows({"from": "02:30", "to": "04:00"}), BERLIN, "2026-03-29 00:30", False, "2026-03-29 01:00"),
        (windows({"from": "01:00", "to": "02:30"}), BERLIN, "2026-03-29 00:30", True, "2026-03-29 01:00"),
        (windows({"from": "02:15", "to": "02:45"}), BERLIN, "2026-03-29 00:30", False, "2026-03-30 00:15"),
        (windows({"days": ["sun"], "from": "02:15", "to": "02:45"}), BERLIN, "2026-03-28 12:00", False,
         "2026-04-05 00:15"),
        # 2026-10-25, 03:00 becomes 02:00: 02:30 comes twice, at 00:30 and 01:30 UTC. The first counts.
        (windows({"from": "01:00", "to": "02:30"}), BERLIN, "2026-10-25 00:00", True, "2026-10-25 00:30"),
        (windows({"from": "02:30", "to": "05:00"}), BERLIN, "2026-10-25 00:45", True, "2026-10-25 04:00"),
        (NIGHT, BERLIN, "2026-10-25 03:00", True, "2026-10-25 05:00"),
        # The zone's own day counts, not that of UTC.
        (WHOLE_WEEKEND, "Pacific/Auckland", "2026-11-27 11:00", True, "2026-11-29 11:00"),
    ],
)  # fmt: skip
def test_state(definition: tuple[Window, ...], zone: str, now: str, is_open: bool, until: str) -> None:
    assert window_state(definition, zone, at(now)) == WindowState(is_open, at(until))


def test_always_open() -> None:
    assert window_state((), "UTC", 0.0) == WindowState(True, None)
    every_hour = windows({"from": "00:00", "to": "24:00"})
    assert window_state(every_hour, BERLIN, at("2026-10-25 00:30")) == WindowState(True, None)


@pytest.mark.parametrize("zone", ["UTC", BERLIN, "America/New_York", "Asia/Kathmandu"])
def test_a_window_closes_when_it_says_and_another_opens_later(zone: str) -> None:
    moment, end = at("2026-03-20 00:00"), at("2026-04-10 00:00")
    while moment < end:
        found = window_state(NIGHT, zone, moment)
        assert found.until is not None and moment < found.until
        assert window_state(NIGHT, zone, found.until).open is not found.open
        assert window_state(NIGHT, zone, found.until - 1).open is found.open
        hour = datetime.datetime.fromtimestamp(moment, zone_of(zone)).hour
        assert found.open is (hour >= 22 or hour < 6)
        moment += 1800


def test_local_time() -> None:
    assert local_time(at("2026-11-28 21:00"), BERLIN) == "Sat 2026-11-28 22:00 CET"
    assert local_time(at("2026-07-01 21:00"), BERLIN) == "Wed 2026-07-01 23:00 CEST"
    assert local_time(at("2026-11-28 21:00"), "UTC") == "Sat 2026-11-28 21:00 UTC"


def test_definition() -> None:
    assert windows(
        {"from": "00:00", "to": "24:00"}, {"days": ["sun", "mon", "sun"], "from": "23:30", "to": "00:00"}
    ) == (Window(0, 1440), Window(1410, 0, (0, 6)))
    assert windows() == ()


TIMES = 'must be a time from "00:00" to "23:59", in quotes, not'


@pytest.mark.parametrize(
    ("value", "problems"),
    [
        ("22:00-06:00", ["w: must be a list of windows, not the string '22:00-06:00'"]),
        (["night"], ["w[0]: must be a mapping with the keys days, from, to, not the string 'night'"]),
        ([{"from": "22:00"}], ['w[0].to: is missing: it must be a time from "00:00" to "24:00", in quotes']),
        ([{"from": "24:00", "to": "06:00"}], [f"w[0].from: {TIMES} the string '24:00'"]),
        ([{"from": "22:00", "to": "24:01"}],
         ["w[0].to: must be a time from \"00:00\" to \"24:00\", in quotes, not the string '24:01'"]),
        ([{"from": "7:00", "to": "08:00"}], [f"w[0].from: {TIMES} the string '7:00'"]),
        ([{"from": 1320, "to": "06:00"}],
         [f'w[0].from: {TIMES} the number 1320; if you wrote 22:00, put it into quotes: "22:00"']),
        ([{"from": "06:00", "to": "06:00"}],
         ['w[0].to: is the same as from; a whole day is from "00:00" to "24:00"']),
        ([{"days": ["Monday"], "from": "06:00", "to": "07:00"}],
         ["w[0].days[0]: 'Monday' is not a day; use one of mon, tue, wed, thu, fri, sat, sun (did you mean 'mon'?)"]),
        ([{"days": [], "from": "06:00", "to": "07:00"}], ["w[0].days: must not be an empty list of days"]),
        ([{"until": "06:00", "from": "01:00", "to": "02:00"}],
         ["w[0].until: unknown key; known here are days, from, to"]),
    ],
)  # fmt: skip
def test_wrong_definitions(value: Any, problems: list[str]) -> None:
    found = Problems()
    read_windows(value, "w", found)
    assert [str(problem) for problem in found.found] == problems


def test_time_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Problems()
    assert [read_timezone(zone, "timezone", found) for zone in ("UTC", BERLIN)] == ["UTC", BERLIN]
    assert [read_timezone(zone, "timezone", found) for zone in ("Europe/Berln", "../etc", 1, "")] == [None] * 4
    known = "is not a time zone that is known here: it must be a name of the IANA data base, such as Europe/Berlin"
    assert [str(problem) for problem in found.found] == [
        f"timezone: 'Europe/Berln' {known} (did you mean 'Europe/Berlin'?)",
        f"timezone: '../etc' {known}",
        "timezone: must be the name of a time zone, such as Europe/Berlin, not the number 1",
        f"timezone: '' {known}",
    ]
    monkeypatch.setattr("zoneinfo.available_timezones", set)
    with pytest.raises(ValueError, match="knows no time zones: install its package tzdata"):
        zone_of("Nowhere/Here")
