# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Reading the content rules and filters of a definition: groups of rules, filters of disks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .content import DISK_FIELDS, FIELDS, OPERATORS, POWER_STATES, DiskFilter, Group, Rule
from .patterns import Pattern
from .reading import (
    Problems,
    did_you_mean,
    kind_of,
    quoted,
    read_boolean,
    read_choice,
    read_items,
    read_mapping,
    read_string,
)


def read_content(value: Any, key: str, problems: Problems) -> tuple[Group, ...]:
    """Read the groups of rules that say which VMs are in."""
    return read_items(value, key, "groups", _read_group, problems, empty=False)


def read_exclude(value: Any, key: str, problems: Problems) -> tuple[tuple[Group, ...], tuple[DiskFilter, ...]]:
    """Read the filters: groups of rules that take VMs out, and filters that take disks out."""
    mapping = read_mapping(value, key, ("vms", "disks"), problems) or {}
    vms: tuple[Group, ...] = ()
    disks: tuple[DiskFilter, ...] = ()
    if mapping.get("vms") is not None:
        vms = read_items(mapping["vms"], f"{key}.vms", "groups", _read_group, problems, empty=True)
    if mapping.get("disks") is not None:
        disks = read_items(mapping["disks"], f"{key}.disks", "disk filters", _read_disk_filter, problems, empty=True)
    return vms, disks


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
