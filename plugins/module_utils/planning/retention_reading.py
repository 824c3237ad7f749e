# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Reading what is kept: the key C(retention) of a subclient, or the policy that a module gets."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ..errors import InvalidInputError
from ..vault.retention import RetentionPolicy
from .reading import Problems, problem_details, problem_text, quoted, read_count, read_mapping
from .windows import zone_of

RULES = tuple(rule.name for rule in fields(RetentionPolicy))
# More would mean nothing, and a number of days must still be one that a date can be computed with.
_MOST = 100_000


def read_retention(value: Any, key: str, problems: Problems) -> RetentionPolicy | None:
    """Read a policy. A rule without a value counts as absent; at least one has to be there."""
    mapping = read_mapping(value, key, RULES, problems)
    if mapping is None:
        return None
    given = {rule: mapping[rule] for rule in RULES if mapping.get(rule) is not None}
    if not given:
        problems.add(
            key, value, f"keeps nothing: set at least one of {', '.join(RULES)}, or leave it out to keep everything"
        )
        return None
    read = {
        rule: read_count(number, f"{key}.{rule}", problems, at_least=1, at_most=_MOST) for rule, number in given.items()
    }
    return RetentionPolicy(**read)


def checked_policy(policy: Mapping[str, Any]) -> RetentionPolicy:
    """Return the policy that a mapping describes; raise C(InvalidInputError) for anything that is wrong with it."""
    problems = Problems()
    read = read_retention(policy, "policy", problems)
    if read is None or problems.found:
        raise InvalidInputError(problem_text("retention", problems.found), **problem_details(problems.found))
    return read


def checked_time_zone(name: str) -> datetime.tzinfo:
    """Return a time zone by its name; raise C(InvalidInputError) when this host does not know it."""
    try:
        return zone_of(name)
    except ValueError as error:
        raise InvalidInputError(
            f"timezone: {quoted(name)} is not a time zone that is known here: {error}", key="timezone", value=name
        ) from error
