# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Windows of time of the week, in a time zone: is a moment inside, when does the window close, when does one open."""

from __future__ import annotations

import datetime
import re
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .reading import Problems, did_you_mean, kind_of, quoted, read_choice, read_items, read_mapping

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MIDNIGHT = 24 * 60
_TIME = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])", re.ASCII)
# A window opens once a week at least, and a week later if the clock is changed just then.
_AHEAD = 16


@dataclass(frozen=True)
class Window:
    """From C(start) to C(end), minutes of a day; an end that is not later is one of the next day.

    C(days) are those on which it opens, 0 for Monday.
    """

    start: int
    end: int
    days: tuple[int, ...] = tuple(range(len(DAYS)))


@dataclass(frozen=True)
class WindowState:
    """C(open): the moment is in a window, which closes at C(until); else the next one opens then.

    Epoch seconds; nothing if that never happens.
    """

    open: bool
    until: float | None


def window_state(windows: Sequence[Window], timezone: str, now: float) -> WindowState:
    """Return how a moment lies to the windows. Those that touch or overlap are one; without any it is always open."""
    if not windows:
        return WindowState(True, None)
    zone = zone_of(timezone)
    today = datetime.datetime.fromtimestamp(now, zone).date()
    last = today + datetime.timedelta(days=_AHEAD)
    days = (today + datetime.timedelta(days=number) for number in range(-2, _AHEAD + 1))
    spans = sorted(
        (_moment(day, window.start, zone), _moment(day, _end(window), zone))
        for day in days
        for window in windows
        if day.weekday() in window.days
    )
    until: float | None = None
    for begin, end in spans:
        if begin >= end:
            continue  # the clock jumps over it
        if until is None and begin > now:
            return WindowState(False, begin)
        if until is not None and begin > until:
            break
        if end > now:
            until = end if until is None else max(until, end)
    if until is None:
        return WindowState(False, None)
    return WindowState(True, until if until < _moment(last, 0, zone) else None)


def zone_of(timezone: str) -> datetime.tzinfo:
    """Return a time zone; C(ValueError) if this host does not know it."""
    if timezone == "UTC":
        return datetime.timezone.utc  # also where no data base of time zones is installed
    try:
        return zoneinfo.ZoneInfo(timezone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        known = zoneinfo.available_timezones()
        if not known:
            raise ValueError("this host knows no time zones: install its package tzdata") from error
        hint = did_you_mean(timezone, sorted(known))
        raise ValueError(f"it must be a name of the IANA data base, such as Europe/Berlin{hint}") from error


def local_time(moment: float, timezone: str) -> str:
    """Return a moment as people read it: C(Sat 2026-11-28 22:00 CET)."""
    local = datetime.datetime.fromtimestamp(moment, zone_of(timezone))
    return f"{DAYS[local.weekday()].capitalize()} {local:%Y-%m-%d %H:%M} {local.tzname()}"


def read_timezone(value: Any, key: str, problems: Problems) -> str | None:
    """Read the name of a time zone."""
    if not isinstance(value, str):
        problems.add(key, value, f"must be the name of a time zone, such as Europe/Berlin, not {kind_of(value)}")
        return None
    try:
        zone_of(str(value))
    except ValueError as error:
        problems.add(key, value, f"{quoted(value)} is not a time zone that is known here: {error}")
        return None
    return str(value)


def read_windows(value: Any, key: str, problems: Problems) -> tuple[Window, ...]:
    """Read a list of windows."""
    return read_items(value, key, "windows", _read_window, problems, empty=True)


def _read_window(value: Any, key: str, problems: Problems) -> Window | None:
    mapping = read_mapping(value, key, ("days", "from", "to"), problems)
    if mapping is None:
        return None
    days: tuple[int, ...] = Window.days
    if mapping.get("days") is not None:
        names = read_items(mapping["days"], f"{key}.days", "days", _read_day, problems, empty=False)
        days = tuple(sorted({DAYS.index(name) for name in names}))
    times = [_read_time(mapping.get(name), f"{key}.{name}", name, problems) for name in ("from", "to")]
    start, end = times
    if start is None or end is None or not days:
        return None
    if start == end:
        problems.add(f"{key}.to", mapping["to"], 'is the same as from; a whole day is from "00:00" to "24:00"')
        return None
    return Window(start, end, days)


def _read_day(value: Any, key: str, problems: Problems) -> str | None:
    return read_choice(value, key, "a day", DAYS, problems)


def _read_time(value: Any, key: str, name: str, problems: Problems) -> int | None:
    latest = "24:00" if name == "to" else "23:59"
    if value is None:
        problems.add(key, None, f'is missing: it must be a time from "00:00" to "{latest}", in quotes')
        return None
    matched = _TIME.fullmatch(value) if isinstance(value, str) else None
    minutes = int(matched.group(1)) * 60 + int(matched.group(2)) if matched is not None else -1
    if not 0 <= minutes <= (MIDNIGHT if name == "to" else MIDNIGHT - 1):
        hint = ""
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MIDNIGHT:
            # YAML takes 22:00 for a number to the base of 60.
            written = f"{value // 60:02d}:{value % 60:02d}"
            hint = f'; if you wrote {written}, put it into quotes: "{written}"'
        problems.add(key, value, f'must be a time from "00:00" to "{latest}", in quotes, not {kind_of(value)}{hint}')
        return None
    return minutes


def _end(window: Window) -> int:
    return window.end if window.end > window.start else window.end + MIDNIGHT


def _moment(day: datetime.date, minutes: int, zone: datetime.tzinfo) -> float:
    """Return when the clocks show a time: the first time if they do twice, the moment of the jump if they never do."""
    days, rest = divmod(minutes, MIDNIGHT)
    wall = datetime.datetime.combine(day + datetime.timedelta(days=days), datetime.time(rest // 60, rest % 60))
    first = wall.replace(tzinfo=zone).timestamp()
    second = wall.replace(tzinfo=zone, fold=1).timestamp()
    if second >= first:  # later only where the clock shows it twice
        return first
    offset = datetime.datetime.fromtimestamp(second, zone).utcoffset()
    low, high = int(second), int(first)
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.datetime.fromtimestamp(middle, zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return float(high)
