# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The systemd units of a schedule, as names and texts: a service and a timer for each task that is repeated."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import InvalidInputError
from .reading import Problems, kind_of, problem_details, problem_text, quoted
from .schedule import ScheduleEntry, playbook_variables, read_calendar
from .subclient import Subclient

_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*", re.ASCII)
_DIRECTIVE = re.compile(r"[A-Z][A-Za-z0-9]*", re.ASCII)
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
# What can be started, with what systemd replaces in it, such as notify@%n.service.
_UNIT = re.compile(r"(?:[A-Za-z0-9:_.\\@-]|%[A-Za-z%])+\.(?:service|target|path|timer|socket)", re.ASCII)
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.")
_LONGEST = 236  # bytes: "stamp-<name>.timer", which systemd keeps, and "<name>.service.d" are names of files, too
_STOP_SECONDS = 900  # for a run that is stopped to start its VM and to remove its clone
# What the texts below set, and what must stay as it is for them to be right.
_OURS = frozenset(
    "Type User WorkingDirectory EnvironmentFile RuntimeDirectory RuntimeDirectoryPreserve ExecStart "
    "TimeoutStartSec TimeoutSec RemainAfterExit Restart RootDirectory RootImage DynamicUser".split()
)
# What would put secrets into a file that everybody can read.
_OPEN = re.compile(r"Environment|PassEnvironment|SetCredential.*", re.ASCII)


@dataclass(frozen=True)
class Runner:
    """How the proxy runs playbooks. Times in seconds; an empty text means: not set."""

    ansible_playbook: str
    directory: str
    flock: str = "/usr/bin/flock"
    inventory: str = ""
    user: str = "root"
    environment_file: str = ""
    options: tuple[str, ...] = ()
    service_options: Mapping[str, Any] = field(default_factory=dict)
    wait: int = 21600
    randomized_delay: int = 0
    accuracy: int = 60
    prefix: str = "ovm-backup"
    on_failure: str = ""
    janitor_calendar: str = ""

    def check(self) -> None:
        """Raise C(InvalidInputError) that lists every setting that no unit can hold."""
        problems = Problems()
        if not _PREFIX.fullmatch(self.prefix):
            message = f"{quoted(self.prefix)} must begin with a letter or digit and hold only these, - and _"
            problems.add("prefix", self.prefix, message)
        for key in ("ansible_playbook", "directory", "environment_file"):
            path = getattr(self, key)
            if path and (not path.startswith("/") or not _fits_a_line(path)):
                message = f"{quoted(path)} must be an absolute path, without control characters and not ending in \\"
                problems.add(key, path, message)
        for key, texts in (("inventory", [self.inventory]), ("options", self.options)):
            for text in texts:
                if not _is_text(text):
                    problems.add(key, text, f"{quoted(text)} must be text without control characters")
        if self.user and not _USER.fullmatch(self.user):
            problems.add("user", self.user, f"{quoted(self.user)} is not the name of a user")
        for key in ("wait", "randomized_delay", "accuracy"):
            if getattr(self, key) < 0:
                problems.add(key, getattr(self, key), f"must not be negative, as {getattr(self, key)} is")
        if self.on_failure and not _UNIT.fullmatch(self.on_failure):
            message = f"{quoted(self.on_failure)} is not the name of a unit of systemd, such as notify@%n.service"
            problems.add("on_failure", self.on_failure, message)
        if self.janitor_calendar:
            read_calendar(self.janitor_calendar, "janitor_calendar", problems)
        for name, value in self.service_options.items():
            self._check_directive(f"service_options.{name}", name, value, problems)
        if problems.found:
            raise InvalidInputError(problem_text("the schedule", problems.found), **problem_details(problems.found))

    def _check_directive(self, key: str, name: Any, value: Any, problems: Problems) -> None:
        if not isinstance(name, str) or not _DIRECTIVE.fullmatch(name):
            problems.add(key, value, f"{quoted(name)} is not a directive of systemd, such as Nice")
        elif name in _OURS:
            problems.add(key, value, "is set by the role itself; use the variables of the role")
        elif _OPEN.fullmatch(name):
            message = "would stand in a file that everybody can read; put variables into the environment file"
            problems.add(key, None, message)
            return
        for text in value if isinstance(value, (list, tuple)) else [value]:
            if not isinstance(text, (str, int, float)) or not _fits_a_line(_plain(text)):
                message = f"must be one line of text, a number, a boolean or a list of them, not {kind_of(text)}"
                problems.add(key, value, message)


@dataclass(frozen=True)
class Unit:
    """A service and its timer."""

    name: str  # without ending
    subclient: str | None  # none: of no single one
    task: str
    backup_type: str | None
    calendars: Mapping[str, str]  # from the key path of each entry to its expression
    service: str
    timer: str

    @property
    def files(self) -> dict[str, str]:
        """Return the texts of the two files by their names."""
        return {f"{self.name}.service": self.service, f"{self.name}.timer": self.timer}

    @property
    def owner(self) -> str:
        """Return how the key path of a calendar begins in a message."""
        return f"subclient {quoted(self.subclient)}: " if self.subclient is not None else ""


def marker(prefix: str) -> str:
    """Return the first line of each of our files. It names the prefix, so that two schedules stay apart."""
    return f"# Written by ovm.backup.schedule for {prefix}: it is replaced and removed with the schedule."


def escape_unit_name(text: str) -> str:
    """Return a text as part of the name of a unit, as C(systemd-escape) does; that reads it back, too.

    A slash is escaped like all others and does not become a hyphen: hyphens stand between the parts of our names.
    """
    encoded = enumerate(text.encode("utf-8"))
    return "".join(
        chr(byte) if byte in _PLAIN and (number or byte != ord(".")) else f"\\x{byte:02x}" for number, byte in encoded
    )


def quote_argument(text: str) -> str:
    """Return a text as one argument in a C(ExecStart=) line, with no meaning left in any of its characters."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return escaped if re.fullmatch(r"[A-Za-z0-9_./:=,@+-]+", text, re.ASCII) else f'"{escaped}"'


def schedule_units(subclients: Iterable[Subclient], runner: Runner) -> list[Unit]:
    """Return the units of all schedules, in the order of their names.

    What differs in time only is one unit with several times. So its name, under which systemd keeps when it last ran,
    depends on what it does and not on its place in the schedule.
    """
    runner.check()
    units = [_janitor(runner)] if runner.janitor_calendar else []
    for subclient in subclients:
        wanted: dict[tuple[str, str | None], dict[str, str]] = {}
        # The times of a subclient are in its time zone.
        for number, entry in enumerate(subclient.schedule):
            calendars = wanted.setdefault((entry.task, entry.backup_type), {})
            calendars[f"schedule[{number}].calendar"] = entry.calendar_in(subclient.timezone)
        for (task, backup_type), calendars in wanted.items():
            units.append(_unit(subclient.name, task, backup_type, calendars, runner))
    return sorted(units, key=lambda unit: unit.name)


def _janitor(runner: Runner) -> Unit:
    # No subclient has these names: its unit has a task behind it, and its lock has no hyphen.
    calendar = read_calendar(runner.janitor_calendar, "janitor_calendar", Problems()) or ""
    calendars = {"janitor_calendar": ScheduleEntry(calendar).calendar_in("UTC")}
    return Unit(
        name=f"{runner.prefix}-janitor",
        subclient=None,
        task="janitor",
        backup_type=None,
        calendars=calendars,
        service=_service("ovm.backup: clean up after dead runs", "-janitor", '{"apply": true}', "janitor", runner),
        timer=_timer("ovm.backup: time to clean up after dead runs", list(calendars.values()), runner),
    )


def _unit(subclient: str, task: str, backup_type: str | None, calendars: Mapping[str, str], runner: Runner) -> Unit:
    escaped = escape_unit_name(subclient) if _is_text(subclient) else ""
    name = "-".join(part for part in (runner.prefix, escaped, task, backup_type) if part)
    if not escaped or len(name) > _LONGEST:
        raise InvalidInputError(
            f"subclient {quoted(subclient)} cannot be scheduled: the name of a unit of systemd must be text without "
            f"control characters and at most {_LONGEST} bytes long, and {name!a} is not",
            subclient=subclient,
        )
    what = f"{backup_type or ''} {task} of subclient {quoted(subclient)}".strip().replace("%", "%%")
    return Unit(
        name=name,
        subclient=subclient,
        task=task,
        backup_type=backup_type,
        calendars=calendars,
        service=_service(f"ovm.backup: {what}", escaped, _variables(subclient, backup_type), task, runner),
        timer=_timer(f"ovm.backup: time for the {what}", list(calendars.values()), runner),
    )


def _variables(subclient: str, backup_type: str | None) -> str:
    # YAML in the form of JSON. The name of a subclient is data, also where it looks like a template.
    pairs = []
    for key, value in playbook_variables(subclient, backup_type).items():
        pairs.append(f'"{key}": {"!unsafe " * (key == "subclient")}{json.dumps(value, ensure_ascii=False)}')
    return "{" + ", ".join(pairs) + "}"


def _service(description: str, lock_name: str, variables: str, task: str, runner: Runner) -> str:
    # The other units of the subclient wait for the same lock. It is held by flock and by all that it starts.
    lock = '"%t/{}/{}.lock"'.format(runner.prefix, lock_name.replace("\\", "\\\\"))
    command = [quote_argument(runner.flock), "--exclusive", "--wait", str(runner.wait), lock]
    command += [quote_argument(runner.ansible_playbook)]
    command += [quote_argument(f"--inventory={runner.inventory}")] if runner.inventory else []
    command += [quote_argument(option) for option in runner.options]
    command += ["--extra-vars", quote_argument(variables)]
    command += [f"ovm.backup.{task}"]
    lines = [
        ("Type", "oneshot"),
        ("User", runner.user or "root"),
        ("WorkingDirectory", _in_line(runner.directory)),
        ("RuntimeDirectory", runner.prefix),
        ("RuntimeDirectoryPreserve", "yes"),
        ("Environment", "LC_ALL=C.UTF-8"),  # Ansible runs with UTF-8 only
        *([("EnvironmentFile", _in_line(runner.environment_file))] if runner.environment_file else []),
        ("ExecStart", " ".join(command)),
        ("TimeoutStartSec", "infinity"),
        *([] if "TimeoutStopSec" in runner.service_options else [("TimeoutStopSec", str(_STOP_SECONDS))]),
        *([] if "LimitCORE" in runner.service_options else [("LimitCORE", "0")]),  # a core dump would hold passwords
    ]
    for name, value in sorted(runner.service_options.items()):
        lines += [(name, _plain(item)) for item in (value if isinstance(value, (list, tuple)) else [value])]
    unit = [("Description", description), ("Wants", "network-online.target"), ("After", "network-online.target")]
    unit += [("OnFailure", runner.on_failure)] if runner.on_failure else []
    return _text(runner.prefix, {"Unit": unit, "Service": lines})


def _timer(description: str, calendars: Sequence[str], runner: Runner) -> str:
    timer = [
        *(("OnCalendar", calendar) for calendar in sorted(calendars)),
        ("Persistent", "true"),
        ("RandomizedDelaySec", str(runner.randomized_delay)),
        ("AccuracySec", str(runner.accuracy)),
    ]
    install = [("WantedBy", "timers.target")]
    return _text(runner.prefix, {"Unit": [("Description", description)], "Timer": timer, "Install": install})


def _text(prefix: str, sections: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    parts = [
        "\n".join([f"[{section}]", *(f"{key}={value}" for key, value in lines)]) for section, lines in sections.items()
    ]
    return f"{marker(prefix)}\n" + "\n\n".join(parts) + "\n"


def _in_line(path: str) -> str:
    """Return a path as the value of a directive that takes one path and knows no quotes."""
    return path.replace("%", "%%")


def _plain(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _is_text(text: str) -> bool:
    return not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in text)


def _fits_a_line(text: str) -> bool:
    """Tell whether systemd reads a text back as it is: it strips blanks, and joins a line that ends in a backslash."""
    return _is_text(text) and text == text.strip() and not text.endswith("\\")
