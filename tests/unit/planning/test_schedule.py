# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Schedules of subclients: what is read, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.errors import SubclientError
from ansible_collections.ovm.backup.plugins.module_utils.planning.schedule import ScheduleEntry
from ansible_collections.ovm.backup.plugins.module_utils.planning.subclient import Subclient

CONTENT = [{"rules": [{"field": "name", "value": "*"}]}]
KEYS = "calendar, task, backup_type"
CALENDAR = "a calendar expression of systemd, such as 'Mon..Sat 22:00'"
NO_CALENDAR = f"is not {CALENDAR}"


def parse(schedule: Any) -> tuple[ScheduleEntry, ...]:
    return Subclient.parse("db", {"content": CONTENT, "schedule": schedule}).schedule


def refused(schedule: Any) -> list[str]:
    with pytest.raises(SubclientError) as failure:
        parse(schedule)
    return [f"{problem['key']}: {problem['message']}" for problem in failure.value.details["problems"]]


def test_entries_are_read() -> None:
    assert parse(
        [
            {"calendar": "Mon..Sat 22:00"},
            {"calendar": "  Sun   22:00 ", "backup_type": "synthetic_full"},
            {"calendar": "monthly", "task": "verify", "backup_type": None},
            {"calendar": "daily", "task": "retention"},
        ]
    ) == (
        ScheduleEntry("Mon..Sat 22:00"),
        ScheduleEntry("Sun 22:00", "backup", "synthetic_full"),
        ScheduleEntry("monthly", "verify"),
        ScheduleEntry("daily", "retention"),
    )
    assert parse([]) == parse(None) == ()


@pytest.mark.parametrize(
    ("schedule", "messages"),
    [
        ("daily", ["schedule: must be a list of entries, not the string 'daily'"]),
        (
            ["daily"],
            [f"schedule[0]: must be a mapping with the keys {KEYS}, not the string 'daily'"],
        ),
        (
            [{"calender": "daily"}],
            [
                f"schedule[0].calender: unknown key; known here are {KEYS} (did you mean 'calendar'?)",
                f"schedule[0].calendar: is missing: it must be {CALENDAR}",
            ],
        ),
        (
            [{"calendar": 2200}],
            ["schedule[0].calendar: must be a string, not the number 2200; put it into quotes if that is its name"],
        ),
        ([{"calendar": " "}], [f"schedule[0].calendar: ' ' {NO_CALENDAR}"]),
        ([{"calendar": "daily\nPersistent=no"}], [f"schedule[0].calendar: 'daily\\nPersistent=no' {NO_CALENDAR}"]),
        ([{"calendar": "%h"}], [f"schedule[0].calendar: '%h' {NO_CALENDAR}"]),
        ([{"calendar": "täglich"}], [f"schedule[0].calendar: 'täglich' {NO_CALENDAR}"]),
        ([{"calendar": "1" * 257}], [f"schedule[0].calendar: '{'1' * 257}' {NO_CALENDAR}"]),
        (
            [{"calendar": "daily", "task": "restore"}],
            ["schedule[0].task: 'restore' is not a task; use one of backup, retention, verify"],
        ),
        (
            [{"calendar": "daily", "task": "verify", "backup_type": "full"}],
            ["schedule[0].backup_type: is for the task backup only, and this is the task verify; remove the key"],
        ),
        (
            [{"calendar": "daily"}, {"calendar": "weekly"}, {"calendar": "daily", "task": "backup"}],
            ["schedule[2]: says the same as schedule[0]; remove one"],
        ),
    ],
)
def test_what_is_wrong_is_named(schedule: Any, messages: list[str]) -> None:
    assert refused(schedule) == messages


def test_a_wrong_type_is_named() -> None:
    [message] = refused([{"calendar": "daily", "backup_type": "ful"}])
    assert message.startswith("schedule[0].backup_type: 'ful' is not a backup type; use one of full, incremental")


@pytest.mark.parametrize(
    ("calendar", "expected"),
    [
        ("daily", "daily Europe/Vienna"),
        ("22:00", "22:00 Europe/Vienna"),
        ("Mon..Fri", "Mon..Fri Europe/Vienna"),
        ("Mon *-*-01..07 04:00:00", "Mon *-*-01..07 04:00:00 Europe/Vienna"),
        ("22:00 UTC", "22:00 UTC"),
        ("daily Etc/GMT+5", "daily Etc/GMT+5"),
        ("Sun 22:00 America/Port-au-Prince", "Sun 22:00 America/Port-au-Prince"),
        ("Mon MST", "Mon MST"),
        ("2026-01-01 Saturday", "2026-01-01 Saturday Europe/Vienna"),
    ],
)
def test_time_zone_is_that_of_the_expression_or_of_the_subclient(calendar: str, expected: str) -> None:
    assert ScheduleEntry(calendar).calendar_in("Europe/Vienna") == expected
