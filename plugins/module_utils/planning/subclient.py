# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The definition of a subclient: read, checked in full, and turned into typed values."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from ..errors import InvalidInputError, SubclientError
from ..vault.retention import RetentionPolicy
from .access import SOURCES
from .backup_type import BACKUP_TYPES
from .content import DiskFilter, Group
from .content_reading import read_content, read_exclude
from .durations import format_duration
from .limits import Limits, read_limits
from .method import CONSISTENCIES
from .reading import (
    Problems,
    kind_of,
    problem_details,
    problem_text,
    quoted,
    read_boolean,
    read_choice,
    read_count,
    read_duration,
    read_mapping,
    read_number,
    read_string,
)
from .reference import REFERENCE_POLICIES
from .retention_reading import read_retention
from .schedule import ScheduleEntry, read_schedule
from .verify_reading import VerifySettings, read_verify
from .windows import Window, read_timezone, read_windows

NFS_POLICIES = ("shutdown", "skip", "fail")


@dataclass(frozen=True)
class Subclient:
    """What is backed up, and how. Durations in seconds."""

    name: str
    content: tuple[Group, ...]
    description: str = ""
    exclude_vms: tuple[Group, ...] = ()
    exclude_disks: tuple[DiskFilter, ...] = ()
    backup_type: str = "incremental"
    max_age: int = 0  # 0: always back up
    max_increments: int = 0  # 0: any number
    allow_empty: bool = False
    nfs_policy: str = "fail"
    shutdown_timeout: int = 600
    kill: bool = False
    verify: VerifySettings = VerifySettings()
    limits: Limits = Limits()
    retries: int = 2
    retry_delay: int = 60
    max_failed_percent: int = 100
    schedule: tuple[ScheduleEntry, ...] = ()
    retention: RetentionPolicy | None = None
    max_outage: int = 0  # 0: no limit
    outage_window: tuple[Window, ...] = ()  # none: always
    two_pass: bool = True
    timezone: str = "UTC"
    source: str = "auto"
    reference_clone: str = "keep"
    reference_space: int = 10  # percent
    sample: float = 0.01  # percent
    consistency: str = "crash"

    @classmethod
    def parse(cls, name: str, definition: Mapping[str, Any]) -> Subclient:
        """Return the subclient that a definition describes.

        Raises C(SubclientError) that lists everything that is wrong with it, each with key path, value and what would
        be right. A key without a value counts as absent.
        """
        problems = Problems()
        settings = _read_definition(definition, problems)
        if not isinstance(name, str) or not name.strip():
            problems.add("", name, f"the name of a subclient must be a string that is not empty, not {kind_of(name)}")
        if problems.found:
            subject = f"subclient {quoted(name)}" if isinstance(name, str) and name.strip() else "subclient"
            details = problem_details(problems.found)
            raise SubclientError(problem_text(subject, problems.found), subclient=str(name), **details)
        return cls(name=str(name), **{key: value for key, value in settings.items() if value is not None})


def checked_backup_type(value: str) -> str:
    """Return the backup type that was asked for at run time; C(InvalidInputError) if it is not one that we offer."""
    problems = Problems()
    backup_type = _read_backup_type(value, "backup_type", problems)
    if backup_type is None:
        raise InvalidInputError(str(problems.found[0]), **problem_details(problems.found))
    return backup_type


def _read_definition(definition: Any, problems: Problems) -> dict[str, Any]:
    mapping = read_mapping(definition, "", tuple(_READERS), problems)
    if mapping is None:
        return {}
    given = {str(key): value for key, value in mapping.items() if value is not None}
    settings = {key: read(given[key], key, problems) for key, read in _READERS.items() if key in given}
    if "content" not in given:
        problems.add("content", None, "is missing: it must be a list of groups of rules that say which VMs are in")
    if "exclude" in settings:
        settings["exclude_vms"], settings["exclude_disks"] = settings.pop("exclude")
    _check_outage(settings, problems)
    return settings


def _check_outage(settings: Mapping[str, Any], problems: Problems) -> None:
    """Refuse an outage in which the guest may not even take its time to shut down."""
    longest, timeout = settings.get("max_outage"), settings.get("shutdown_timeout", Subclient.shutdown_timeout)
    if longest and timeout and longest <= timeout:
        wanted = f"must be longer than shutdown_timeout, which is {format_duration(timeout)}"
        problems.add("max_outage", longest, f"{wanted}, not {format_duration(longest)}")


def _read_backup_type(value: Any, key: str, problems: Problems) -> str | None:
    return read_choice(value, key, "a backup type", BACKUP_TYPES, problems)


def _choice(what: str, choices: Sequence[str]) -> Callable[[Any, str, Problems], str | None]:
    return lambda value, key, problems: read_choice(value, key, what, choices, problems)


def _read_description(value: Any, key: str, problems: Problems) -> str | None:
    return "" if value == "" else read_string(value, key, problems)


# The keys of a definition, and how each is read: from (value, key path, problems) to the attribute of that name.
_READERS: dict[str, Callable[[Any, str, Problems], Any]] = {
    "description": _read_description,
    "content": read_content,
    "exclude": read_exclude,
    "backup_type": _read_backup_type,
    "max_age": read_duration,
    "max_increments": read_count,
    "allow_empty": read_boolean,
    "nfs_policy": _choice("an NFS policy", NFS_POLICIES),
    "shutdown_timeout": functools.partial(read_duration, at_least=1),
    "kill": read_boolean,
    "verify": read_verify,
    "limits": read_limits,
    "retries": functools.partial(read_count, at_most=100),
    "retry_delay": read_duration,
    "max_failed_percent": functools.partial(read_count, at_most=100),
    "schedule": functools.partial(read_schedule, read_type=_read_backup_type),
    "retention": read_retention,
    "max_outage": read_duration,
    "outage_window": read_windows,
    "two_pass": read_boolean,
    "timezone": read_timezone,
    "source": _choice("a source", SOURCES),
    "reference_clone": _choice("what becomes of a reference clone", REFERENCE_POLICIES),
    "reference_space": functools.partial(read_count, at_most=90),
    "sample": functools.partial(read_number, between=(0, 100)),
    "consistency": _choice("a consistency that can be had", CONSISTENCIES),
}
