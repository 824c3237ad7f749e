# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The definition of a subclient: read, checked in full, and turned into typed values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidInputError, SubclientError
from .content import DISK_FIELDS, FIELDS, OPERATORS, POWER_STATES, DiskFilter, Group, Rule
from .patterns import Pattern
from .reading import (
    Problems,
    did_you_mean,
    kind_of,
    problem_details,
    problem_text,
    quoted,
    read_boolean,
    read_choice,
    read_duration,
    read_items,
    read_mapping,
    read_string,
)

BACKUP_TYPES = ("full", "incremental")
_TYPES_NOT_OFFERED = ("differential", "synthetic_full")
NFS_POLICIES = ("shutdown", "skip", "fail")
_KEYS = (
    "description",
    "content",
    "exclude",
    "backup_type",
    "max_age",
    "allow_empty",
    "nfs_policy",
    "shutdown_timeout",
    "kill",
)


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
    allow_empty: bool = False
    nfs_policy: str = "fail"
    shutdown_timeout: int = 600
    kill: bool = False

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
    mapping = read_mapping(definition, "", _KEYS, problems)
    if mapping is None:
        return {}
    given = {str(key): value for key, value in mapping.items() if value is not None}
    settings: dict[str, Any] = {}
    if "content" in given:
        settings["content"] = read_items(given["content"], "content", "groups", _read_group, problems, empty=False)
    else:
        problems.add("content", None, "is missing: it must be a list of groups of rules that say which VMs are in")
    if "exclude" in given:
        settings.update(_read_exclude(given["exclude"], problems))
    if "description" in given and given["description"] != "":
        settings["description"] = read_string(given["description"], "description", problems)
    if "backup_type" in given:
        settings["backup_type"] = _read_backup_type(given["backup_type"], "backup_type", problems)
    if "nfs_policy" in given:
        policy = read_choice(given["nfs_policy"], "nfs_policy", "an NFS policy", NFS_POLICIES, problems)
        settings["nfs_policy"] = policy
    if "max_age" in given:
        settings["max_age"] = read_duration(given["max_age"], "max_age", problems)
    if "shutdown_timeout" in given:
        settings["shutdown_timeout"] = read_duration(
            given["shutdown_timeout"], "shutdown_timeout", problems, at_least=1
        )
    for key in ("allow_empty", "kill"):
        if key in given:
            settings[key] = read_boolean(given[key], key, problems)
    return settings


def _read_exclude(value: Any, problems: Problems) -> dict[str, Any]:
    mapping = read_mapping(value, "exclude", ("vms", "disks"), problems) or {}
    filters: dict[str, Any] = {}
    if mapping.get("vms") is not None:
        filters["exclude_vms"] = read_items(mapping["vms"], "exclude.vms", "groups", _read_group, problems, empty=True)
    if mapping.get("disks") is not None:
        disks = read_items(mapping["disks"], "exclude.disks", "disk filters", _read_disk_filter, problems, empty=True)
        filters["exclude_disks"] = disks
    return filters


def _read_backup_type(value: Any, key: str, problems: Problems) -> str | None:
    if isinstance(value, str) and value in _TYPES_NOT_OFFERED:
        offered = ", ".join(BACKUP_TYPES)
        problems.add(key, value, f"{quoted(value)} is not offered by this version; use one of {offered}")
        return None
    return read_choice(value, key, "a backup type", BACKUP_TYPES, problems)


def _read_group(value: Any, key: str, problems: Problems) -> Group | None:
    mapping = read_mapping(value, key, ("match", "rules"), problems)
    if mapping is None:
        return None
    match: str | None = "all"
    if mapping.get("match") is not None:
        match = read_choice(mapping["match"], f"{key}.match", "a way to match", ("all", "any"), problems)
    if mapping.get("rules") is None:
        problems.add(f"{key}.rules", None, "is missing: it must be a list of rules")
        return None
    rules = read_items(mapping["rules"], f"{key}.rules", "rules", _read_rule, problems, empty=False)
    return Group(key, rules, match_any=match == "any")


def _read_rule(value: Any, key: str, problems: Problems) -> Rule | None:
    mapping = read_mapping(value, key, ("field", "operator", "value"), problems)
    if mapping is None:
        return None
    field = _read_field(mapping, key, "a field of a VM", FIELDS, problems)
    operator: str | None = "equals"
    if mapping.get("operator") is not None:
        operator = read_choice(mapping["operator"], f"{key}.operator", "an operator", OPERATORS, problems)
    given = mapping.get("value")
    if given is None:
        problems.add(f"{key}.value", None, "is missing: it must be what the field is compared with")
        return None
    if field == "template":
        wanted = read_boolean(given, f"{key}.value", problems)
        patterns: tuple[Pattern, ...] = () if wanted is None else (Pattern.parse("true" if wanted else "false"),)
    elif field == "power_state":
        patterns = _read_values(given, f"{key}.value", _read_power_state, problems)
    else:
        patterns = _read_values(given, f"{key}.value", _read_pattern, problems)
    if field is None or operator is None or not patterns:
        return None
    return Rule(key, field, patterns, negated=operator == "not_equals")


def _read_disk_filter(value: Any, key: str, problems: Problems) -> DiskFilter | None:
    mapping = read_mapping(value, key, ("field", "value"), problems)
    if mapping is None:
        return None
    field = _read_field(mapping, key, "a field of a disk", DISK_FIELDS, problems)
    given = mapping.get("value")
    if given is None:
        problems.add(f"{key}.value", None, "is missing: it must be what the field is compared with")
        return None
    if field is None:
        return None
    if field == "slot":
        return DiskFilter(key, field, slots=_read_values(given, f"{key}.value", _read_slot, problems))
    return DiskFilter(key, field, patterns=_read_values(given, f"{key}.value", _read_pattern, problems))


def _read_field(
    mapping: Mapping[Any, Any], key: str, what: str, fields: tuple[str, ...], problems: Problems
) -> str | None:
    if mapping.get("field") is None:
        problems.add(f"{key}.field", None, f"is missing: it must be one of {', '.join(fields)}")
        return None
    return read_choice(mapping["field"], f"{key}.field", what, fields, problems)


def _read_values(value: Any, key: str, read: Any, problems: Problems) -> tuple[Any, ...]:
    """Read one value, or a list of values of which any may match."""
    if isinstance(value, (list, tuple)):
        return read_items(value, key, "values", read, problems, empty=False)
    single = read(value, key, problems)
    return () if single is None else (single,)


def _read_pattern(value: Any, key: str, problems: Problems) -> Pattern | None:
    text = read_string(value, key, problems)
    if text is None:
        return None
    try:
        return Pattern.parse(text)
    except ValueError as error:
        problems.add(key, value, f"{quoted(text)} is not a pattern: {error}")
        return None


def _read_power_state(value: Any, key: str, problems: Problems) -> Pattern | None:
    pattern = _read_pattern(value, key, problems)
    if pattern is not None and not any(pattern.matches(state) for state in POWER_STATES):
        hint = did_you_mean(pattern.text, POWER_STATES)
        states = ", ".join(POWER_STATES)
        problems.add(key, value, f"{quoted(pattern.text)} is not a power state; use one of {states}{hint}")
        return None
    return pattern


def _read_slot(value: Any, key: str, problems: Problems) -> int | None:
    text = str(value).strip() if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    if text.isascii() and text.isdigit():
        return int(text)
    problems.add(key, value, f"must be the number of a slot (0, 1, 2 ...), not {kind_of(value)}")
    return None
