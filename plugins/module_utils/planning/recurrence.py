# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Schedules of subclients as recurrence rules (RFC 5545), which is what AWX understands.

A calendar expression of systemd names weekdays, dates and times that must all agree. A rule that recurs each day and is
limited by weekday, month and day of the month means the same.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidInputError
from .reading import quoted
from .schedule import playbook_variables
from .subclient import Subclient

_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WORDS = {
    "minutely": "*-*-* *:*:00",
    "hourly": "*-*-* *:00:00",
    "daily": "*-*-* 00:00:00",
    "weekly": "Mon *-*-* 00:00:00",
    "monthly": "*-*-01 00:00:00",
    "quarterly": "*-01,04,07,10-01 00:00:00",
    "semiannually": "*-01,07-01 00:00:00",
    "annually": "*-01-01 00:00:00",
    "yearly": "*-01-01 00:00:00",
}
_PART = re.compile(r"(?:(?P<all>\*)|(?P<first>\d+)(?:\.\.(?P<last>\d+))?)(?:/(?P<step>\d+))?", re.ASCII)
# Rules begin on the first day from this one on that they match. It has to be the same each time a rule is made, so that
# nothing changes on the controller.
_EPOCH = datetime.date(2026, 1, 1)
_LONGEST_GAP = 8 * 366  # days between two leap days at most


@dataclass(frozen=True)
class Recurrence:
    """A task of a subclient that is repeated."""

    name: str  # tells what it does and when: unique among all subclients
    subclient: str
    task: str
    backup_type: str | None
    calendar: str  # with its time zone
    rule: str

    @property
    def variables(self) -> dict[str, str]:
        """Return the variables of the playbook."""
        return playbook_variables(self.subclient, self.backup_type)

    def as_dict(self) -> dict[str, Any]:
        """Return it in plain types."""
        return {
            "name": self.name,
            "subclient": self.subclient,
            "task": self.task,
            "backup_type": self.backup_type,
            "calendar": self.calendar,
            "rule": self.rule,
            "variables": self.variables,
        }


def recurrences(subclients: Iterable[Subclient]) -> list[Recurrence]:
    """Return the rules of all schedules; C(InvalidInputError) for an expression that no rule can say."""
    found = []
    for subclient in subclients:
        for number, entry in enumerate(subclient.schedule):
            calendar = entry.calendar_in(subclient.timezone)
            try:
                rule = recurrence_rule(calendar)
            except ValueError as error:
                raise InvalidInputError(
                    f"subclient {quoted(subclient.name)}: schedule[{number}].calendar: {quoted(entry.calendar)} cannot "
                    f"be a schedule of the controller: {error}",
                    subclient=subclient.name,
                    key=f"schedule[{number}].calendar",
                ) from error
            what = f"{entry.backup_type} {entry.task}" if entry.backup_type else entry.task
            found.append(
                Recurrence(
                    name=f"{subclient.name}: {what}, {calendar}",
                    subclient=subclient.name,
                    task=entry.task,
                    backup_type=entry.backup_type,
                    calendar=calendar,
                    rule=rule,
                )
            )
    return sorted(found, key=lambda recurrence: recurrence.name)


def recurrence_rule(calendar: str) -> str:
    """Return the rule of a calendar expression with a time zone; C(ValueError) that says what no rule can say."""
    expression, _blank, zone = calendar.rpartition(" ")
    words = _WORDS.get(expression.lower(), expression).split(" ")
    weekdays = _weekdays(words.pop(0)) if words[0][:1].isalpha() else set(range(7))
    clock = words.pop() if words and ":" in words[-1] else "00:00:00"
    months, days, last_days = _date(words.pop() if words else "*-*-*")
    if words:
        raise ValueError(f"{quoted(words[0])} is neither days of the week nor a date nor a time")
    hours, minutes, second = _clock(clock)
    rule = ["FREQ=DAILY", "INTERVAL=1"]
    if len(weekdays) < 7:
        rule.append("BYDAY=" + ",".join(_NAMES[day][:2].upper() for day in sorted(weekdays)))
        if len(months) == 12 and days is None:
            rule[0] = "FREQ=WEEKLY"  # the same; the form of the controller shows it
    if len(months) < 12:
        rule.append("BYMONTH=" + _listed(months))
    if days is not None:
        rule.append(
            "BYMONTHDAY=" + _listed(-day for day in sorted(days)) if last_days else "BYMONTHDAY=" + _listed(days)
        )
    if len(hours) > 1:
        rule.append("BYHOUR=" + _listed(hours))
    if len(minutes) > 1:
        rule.append("BYMINUTE=" + _listed(minutes))
    begin = _first_day(weekdays, months, days, last_days).strftime("%Y%m%d")
    begin += f"T{min(hours):02}{min(minutes):02}{second:02}"
    start = f"DTSTART:{begin}Z" if zone == "UTC" else f"DTSTART;TZID={zone}:{begin}"
    return f"{start} RRULE:{';'.join(rule)}"


def _weekdays(text: str) -> set[int]:
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, dots, last = part.replace("-", "..").partition("..")
        begin, end = _weekday(first), _weekday(last if dots else first)
        if begin > end:
            raise ValueError(f"{quoted(part)}: {first} comes after {last} in the week")
        found.update(range(begin, end + 1))
    return found


def _weekday(text: str) -> int:
    for number, name in enumerate(_NAMES):
        if text.lower() in (name, name[:3]):
            return number
    raise ValueError(f"{quoted(text)} is not a day of the week, and no word for a time that is known here")


def _date(text: str) -> tuple[list[int], list[int] | None, bool]:
    """Return months, days of the month if not all, and whether these count from its end."""
    last_days = "~" in text
    head, _separator, day = text.rpartition("~" if last_days else "-")
    year, dash, month = head.rpartition("-")
    if not head or text.startswith("@"):
        raise ValueError(f"{quoted(text)} is not a date of the form *-*-*")
    if dash and year != "*":
        raise ValueError(f"{quoted(text)} names a year, and the controller repeats without end")
    months = _numbers(month, 1, 12)
    days = _numbers(day, 1, 31, backwards=last_days)
    return months, None if len(days) == 31 else days, last_days


def _clock(text: str) -> tuple[list[int], list[int], int]:
    parts = text.split(":")
    if len(parts) == 2:
        parts.append("00")
    if len(parts) != 3:
        raise ValueError(f"{quoted(text)} is not a time of the form hours:minutes")
    hours, minutes = _numbers(parts[0], 0, 23), _numbers(parts[1], 0, 59)
    seconds = _numbers(parts[2], 0, 59)
    if len(seconds) != 1:
        raise ValueError(f"{quoted(text)} is more often than once in a minute, which the controller does not do")
    return hours, minutes, seconds[0]


def _numbers(text: str, low: int, high: int, *, backwards: bool = False) -> list[int]:
    """Return the numbers of one part of a date or time. Days from the end of the month are stepped towards it."""
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"{quoted(part)} is not *, a number, a range or a repetition of one of them")
        step = int(match["step"] or 1)
        begin = low if match["all"] else int(match["first"])
        end = int(match["last"]) if match["last"] else (high if match["all"] or match["step"] else begin)
        if not step or not low <= begin <= end <= high:
            raise ValueError(f"{quoted(part)} is not between {low} and {high}")
        if backwards and match["step"]:
            found.update(
                range(end, begin - 1, -step) if match["last"] or match["all"] else range(begin, low - 1, -step)
            )
        else:
            found.update(range(begin, end + 1, step))
    return sorted(found)


def _listed(numbers: Iterable[int]) -> str:
    return ",".join(str(number) for number in numbers)


def _first_day(weekdays: set[int], months: list[int], days: list[int] | None, last_days: bool) -> datetime.date:
    for offset in range(_LONGEST_GAP):
        day = _EPOCH + datetime.timedelta(days=offset)
        if day.weekday() not in weekdays or day.month not in months:
            continue
        following = (day.replace(day=28) + datetime.timedelta(days=4)).replace(day=1)
        number = (following - day).days if last_days else day.day
        if days is None or number in days:
            return day
    raise ValueError("it never comes")
