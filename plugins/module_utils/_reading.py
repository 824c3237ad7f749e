# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Reading what a person wrote: every value is checked, every problem collected with its key path."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Callable

# ISO 8601, extended or basic, as people and the names of recovery points write it. YAML itself makes a blank of the T.
_TIME = re.compile(
    r"(\d{4})(-?)(\d\d)\2(\d\d)"
    r"(?:[Tt ](\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d{1,9}))?)?\s?(Z|z|[+-]\d\d(?::?\d\d)?)?)?\Z",
    re.ASCII,
)
_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: at which key, with which value, and what would be right."""

    key: str
    value: Any
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}" if self.key else self.message


@dataclass
class Problems:
    """The problems that have been found so far."""

    found: list[Problem] = field(default_factory=list)

    def add(self, key: str, value: Any, message: str) -> None:
        self.found.append(Problem(key, plain(value), message))


def problem_text(subject: str, problems: Sequence[Problem]) -> str:
    """Return one message for all problems of a subject: one line for one problem, a list for several."""
    if len(problems) == 1:
        return f"{subject}: {problems[0]}"
    return "\n".join([f"{subject} has {len(problems)} problems:", *(f"- {problem}" for problem in problems)])


def problem_details(problems: Sequence[Problem]) -> dict[str, Any]:
    """Return the same for programs: the first problem's key and value, and all of them."""
    return {
        "key": problems[0].key,
        "value": problems[0].value,
        "problems": [{"key": item.key, "value": item.value, "message": item.message} for item in problems],
    }


def plain(value: Any) -> Any:
    """Return a value in plain JSON types, whatever subclasses of them a YAML loader made."""
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return repr(value)


def kind_of(value: Any) -> str:
    """Return what a value is, in the words of somebody who writes YAML."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return f"the boolean {str(bool(value)).lower()}"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the string {quoted(value)}"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    return f"a {type(value).__name__}"


def quoted(value: str) -> str:
    return repr(str(value))


def did_you_mean(value: str, choices: Iterable[str]) -> str:
    """Return a remark on the choice that a wrong value resembles, to be put behind a message; empty if none does."""
    by_folded = {choice.casefold(): choice for choice in choices}
    closest = difflib.get_close_matches(value.casefold(), by_folded, n=1, cutoff=0.6)
    return f" (did you mean {quoted(by_folded[closest[0]])}?)" if closest else ""


def read_mapping(value: Any, key: str, known: Sequence[str], problems: Problems) -> Mapping[Any, Any] | None:
    """Return the value if it is a mapping; unknown keys are problems, the known ones can be read all the same."""
    if not isinstance(value, Mapping):
        problems.add(key, value, f"must be a mapping with the keys {', '.join(known)}, not {kind_of(value)}")
        return None
    for name in value:
        if name not in known:
            hint = did_you_mean(name, known) if isinstance(name, str) else ""
            path = f"{key}.{name}" if key else f"{name}"
            problems.add(path, value[name], f"unknown key; known here are {', '.join(known)}{hint}")
    return value


def read_items(
    value: Any, key: str, what: str, read: Callable[[Any, str, Problems], Any], problems: Problems, *, empty: bool
) -> tuple[Any, ...]:
    """Read a list, one item after the other; items that could not be read (C(None)) are left out."""
    if not isinstance(value, (list, tuple)):
        problems.add(key, value, f"must be a list of {what}, not {kind_of(value)}")
        return ()
    if not value and not empty:
        problems.add(key, value, f"must not be an empty list of {what}")
    items = [read(item, f"{key}[{number}]", problems) for number, item in enumerate(value)]
    return tuple(item for item in items if item is not None)


def read_string(value: Any, key: str, problems: Problems) -> str | None:
    if not isinstance(value, str):
        hint = "; put it into quotes if that is its name" if isinstance(value, (bool, int, float)) else ""
        problems.add(key, value, f"must be a string, not {kind_of(value)}{hint}")
        return None
    if not value:
        problems.add(key, value, "must not be an empty string")
        return None
    return str(value)


def read_boolean(value: Any, key: str, problems: Problems) -> bool | None:
    """Read true or false; as words too, because a template in a definition can give nothing else."""
    if isinstance(value, bool):
        return bool(value)
    if isinstance(value, str) and value.strip().lower() in _BOOLEANS:
        return _BOOLEANS[value.strip().lower()]
    problems.add(key, value, f"must be true or false, not {kind_of(value)}")
    return None


def read_choice(value: Any, key: str, what: str, choices: Sequence[str], problems: Problems) -> str | None:
    """Read one word of a few. C(what) completes the message "'x' is not ..."."""
    if isinstance(value, str) and value in choices:
        return str(value)
    if isinstance(value, str):
        hint = did_you_mean(value, choices)
        problems.add(key, value, f"{quoted(value)} is not {what}; use one of {', '.join(choices)}{hint}")
    else:
        problems.add(key, value, f"must be one of {', '.join(choices)}, not {kind_of(value)}")
    return None


def read_count(
    value: Any, key: str, problems: Problems, *, at_least: int = 0, at_most: int | None = None
) -> int | None:
    """Read a whole number; as digits too, because a template in a definition can give nothing else."""
    text = str(value).strip() if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    if not (text.isascii() and text.isdigit()):
        problems.add(key, value, f"must be a whole number, not {kind_of(value)}")
        return None
    number = int(text)
    if number < at_least or (at_most is not None and number > at_most):
        limits = f"at least {at_least}" if at_most is None else f"between {at_least} and {at_most}"
        problems.add(key, value, f"must be {limits}, not {number}")
        return None
    return number


def read_number(
    value: Any, key: str, problems: Problems, *, above: float | None = None, between: tuple[float, float] | None = None
) -> float | None:
    """Read a number; as text too, because a template in a definition can give nothing else."""
    text = str(value).strip() if isinstance(value, (int, float, str)) and not isinstance(value, bool) else ""
    try:
        # Infinities, digits of other alphabets and gaps between digits are numbers to float(), not to people.
        number = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        problems.add(key, value, f"must be a number, not {kind_of(value)}")
        return None
    if above is not None and number <= above:
        problems.add(key, value, f"must be more than {above:g}, not {number:g}")
        return None
    if between is not None and not between[0] <= number <= between[1]:
        problems.add(key, value, f"must be between {between[0]:g} and {between[1]:g}, not {number:g}")
        return None
    return number


def read_time(value: Any, key: str, problems: Problems) -> float | None:
    """Read a moment in ISO 8601 form; return seconds since the epoch. Without an offset it is UTC, a day its begin."""
    example = "such as 2026-11-23T01:02:03Z, 2026-11-23T02:02+01:00 or 2026-11-23 (UTC unless it says otherwise)"
    found = _TIME.match(value.strip()) if isinstance(value, str) else None
    if found is None:
        problems.add(key, value, f"must be a time in ISO 8601 form, {example}, not {kind_of(value)}")
        return None
    year, _dash, month, day, hour, minute, second, fraction, zone = found.groups(default="0")
    try:
        whole = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=_zone(zone))
        moment = whole.timestamp()
    except (ValueError, OverflowError) as error:
        problems.add(key, value, f"{quoted(value)} is no time: {error}; write one {example}")
        return None
    return moment + float(f"0.{fraction}")


def _zone(text: str) -> timezone:
    if text[0] not in "+-":
        return timezone.utc
    digits = text[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(offset if text[0] == "+" else -offset)
