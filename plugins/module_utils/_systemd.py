# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Units of systemd on a host: what systemd thinks of them, and the files of ours in a directory of units."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Callable

from .errors import InvalidInputError
from .planning.reading import Problems, problem_details, problem_text, quoted
from .planning.schedule_units import Unit

# Run a program, and return its exit code, output and error output.
Run = Callable[[list[str]], tuple[int, str, str]]

_ENDINGS = (".service", ".timer")


@dataclass(frozen=True)
class Changes:
    """What differs between the files of ours that are there and those that are wanted, by their names."""

    before: Mapping[str, str]
    after: Mapping[str, str]

    @property
    def written(self) -> list[str]:
        return sorted(name for name, text in self.after.items() if self.before.get(name) != text)

    @property
    def removed(self) -> list[str]:
        return sorted(set(self.before) - set(self.after))

    def diff(self) -> list[dict[str, str]]:
        """Return the differences as Ansible shows them."""
        return [
            {
                "before_header": name if name in self.before else "(no file)",
                "after_header": name if name in self.after else "(no file)",
                "before": self.before.get(name, ""),
                "after": self.after.get(name, ""),
            }
            for name in sorted({*self.written, *self.removed})
        ]


def compare(directory: str, prefix: str, marker: str, wanted: Mapping[str, str]) -> Changes:
    """Return what is to be changed in a directory of units; C(InvalidInputError) if a wanted name is somebody else's.

    A file is ours if its name begins with the prefix and its first line is the marker. Others are not even looked at.
    """
    if not os.path.isdir(directory):
        raise InvalidInputError(f"path: there is no directory {directory} for the units of systemd", path=directory)
    before: dict[str, str] = {}
    for name in sorted(os.listdir(directory)):
        if name.startswith(f"{prefix}-") and name.endswith(_ENDINGS):
            text = _read(os.path.join(directory, name))
            if text is not None and text.split("\n", 1)[0] == marker:
                before[name] = text
    foreign = [name for name in wanted if name not in before and os.path.lexists(os.path.join(directory, name))]
    if foreign:
        raise InvalidInputError(
            f"{os.path.join(directory, foreign[0])} exists and was not written by this role: remove it, or choose "
            "another prefix",
            path=os.path.join(directory, foreign[0]),
        )
    return Changes(before, dict(wanted))


def next_times(units: Iterable[Unit], analyze: str, run: Run) -> dict[str, str]:
    """Return when each calendar expression is next, as systemd says it; an empty text means never.

    C(InvalidInputError) lists every expression that systemd does not accept, with subclient and key.
    """
    problems = Problems()
    known: dict[str, tuple[str, str]] = {}
    for unit in units:
        for key, calendar in unit.calendars.items():
            if calendar not in known:
                known[calendar] = _next_time(calendar, analyze, run)
            _when, complaint = known[calendar]
            if complaint:
                message = f"{quoted(calendar)} is not a calendar expression: {complaint} (see man systemd.time)"
                problems.add(f"{unit.owner}{key}", calendar, message)
    if problems.found:
        raise InvalidInputError(problem_text("the schedule", problems.found), **problem_details(problems.found))
    return {calendar: when for calendar, (when, _complaint) in known.items()}


def _next_time(calendar: str, analyze: str, run: Run) -> tuple[str, str]:
    code, output, errors = run([analyze, "calendar", "--", calendar])
    if code != 0:
        return "", " ".join(errors.split()) or f"systemd-analyze ended with code {code}"
    found = [line.split(":", 1)[1].strip() for line in output.splitlines() if line.strip().startswith("Next elapse:")]
    when = found[0] if found else ""
    return ("" if when == "never" else when), ""


def verify(files: Iterable[str], analyze: str, run: Run) -> None:
    """Let systemd check files of units; C(InvalidInputError) with whatever it says about them.

    It loads what they depend on as well, and what it says about units of others is not for us. Its exit code counts
    those and leaves out warnings about ours, so what it says decides.
    """
    paths = list(files)
    if not paths:
        return
    _code, output, errors = run([analyze, "verify", *paths])
    names = [os.path.basename(path) for path in paths]
    said = [line for line in (output + errors).splitlines() if any(name in line for name in names)]
    if said:
        complaints = [line.replace(os.path.dirname(paths[0]) + "/", "") for line in dict.fromkeys(said)]
        raise InvalidInputError(
            "systemd does not accept the units, nothing was written: " + "\n".join(complaints), complaints=complaints
        )


def _read(path: str) -> str | None:
    """Return the text of a regular file, nothing for what is none or is no text."""
    if os.path.islink(path) or not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        data = file.read()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None
