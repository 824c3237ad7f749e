# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""When the tasks of a subclient run: the entries of its schedule, and how they are read."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any, Callable

from .reading import Problems, quoted, read_choice, read_items, read_mapping, read_string

# What can be scheduled: the playbooks of the collection that work on one subclient.
TASKS = ("backup", "retention", "verify")
DEFAULT_TASK = "backup"

# The letters of the calendar expressions of systemd: names, numbers, ranges, lists, repetitions, time zones. Whether an
# expression means anything is for systemd to say.
_CALENDAR = re.compile(r"[A-Za-z0-9 *,./:~@+_-]+", re.ASCII)
_EXAMPLE = "a calendar expression of systemd, such as 'Mon..Sat 22:00'"
_LONGEST = 256  # no expression of a person comes near
# The last of several words names a time zone if it begins with a letter and is no day of the week: times are digits.
_ZONE = re.compile(
    r".* (?!(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*(?:[,.-]|$))[a-z][a-z0-9+_/-]*", re.ASCII | re.IGNORECASE
)


@dataclass(frozen=True)
class ScheduleEntry:
    """One line of a schedule: what to run, and when."""

    calendar: str
    task: str = DEFAULT_TASK
    backup_type: str | None = None  # of a backup; none: the subclient's own

    def calendar_in(self, timezone: str) -> str:
        """Return the expression with its time zone: its own, or the one given."""
        return self.calendar if _ZONE.fullmatch(self.calendar) else f"{self.calendar} {timezone}"


def playbook_variables(subclient: str, backup_type: str | None) -> dict[str, str]:
    """Return the variables that the playbook of an entry gets. Only entries of the task backup have a type."""
    return {"subclient": subclient, **({"backup_type": backup_type} if backup_type else {})}


def read_schedule(
    value: Any, key: str, problems: Problems, *, read_type: Callable[[Any, str, Problems], str | None]
) -> tuple[ScheduleEntry, ...]:
    """Read the list of entries. C(read_type) reads a backup type."""
    before = len(problems.found)
    read = functools.partial(_read_entry, read_type=read_type)
    entries = read_items(value, key, "entries", read, problems, empty=True)
    seen: dict[ScheduleEntry, int] = {}
    for number, entry in enumerate(entries if len(problems.found) == before else ()):
        if entry in seen:
            problems.add(f"{key}[{number}]", None, f"says the same as {key}[{seen[entry]}]; remove one")
        seen.setdefault(entry, number)
    return entries


def _read_entry(
    value: Any, key: str, problems: Problems, *, read_type: Callable[[Any, str, Problems], str | None]
) -> ScheduleEntry | None:
    mapping = read_mapping(value, key, ("calendar", "task", "backup_type"), problems)
    if mapping is None:
        return None
    before = len(problems.found)
    calendar = read_calendar(mapping.get("calendar"), f"{key}.calendar", problems)
    task: str | None = DEFAULT_TASK
    if mapping.get("task") is not None:
        task = read_choice(mapping["task"], f"{key}.task", "a task", TASKS, problems)
    backup_type = mapping.get("backup_type")
    if backup_type is not None:
        backup_type = read_type(backup_type, f"{key}.backup_type", problems)
        if task not in (None, "backup"):
            message = f"is for the task backup only, and this is the task {task}; remove the key"
            problems.add(f"{key}.backup_type", mapping["backup_type"], message)
    if len(problems.found) > before or calendar is None or task is None:
        return None
    return ScheduleEntry(calendar, task, backup_type)


def read_calendar(value: Any, key: str, problems: Problems) -> str | None:
    """Read a calendar expression. Whether it is one, is for systemd to say."""
    if value is None:
        problems.add(key, None, f"is missing: it must be {_EXAMPLE}")
        return None
    text = read_string(value, key, problems)
    if text is None:
        return None
    expression = re.sub(" +", " ", text).strip(" ")
    if not _CALENDAR.fullmatch(expression) or len(expression) > _LONGEST:
        problems.add(key, value, f"{quoted(text)} is not {_EXAMPLE}")
        return None
    return expression
