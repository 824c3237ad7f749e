# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What a subclient says of the verification of its recovery points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import InvalidInputError
from .reading import Problems, kind_of, problem_details, problem_text, read_duration, read_mapping

_KEYS = ("max_age", "share")


@dataclass(frozen=True)
class VerifySettings:
    """Which recovery points a verification run reads: see C(select_due). C(max_age) in seconds."""

    max_age: int | None = None
    share: int | None = None


def read_verify(value: Any, key: str, problems: Problems) -> VerifySettings | None:
    """Read the mapping; a key without a value counts as absent."""
    mapping = read_mapping(value, key, _KEYS, problems)
    if mapping is None:
        return None
    max_age, share = (mapping.get(name) for name in _KEYS)
    return VerifySettings(
        None if max_age is None else read_duration(max_age, f"{key}.max_age" if key else "max_age", problems),
        None if share is None else _read_share(share, f"{key}.share" if key else "share", problems),
    )


def checked_verify(defaults: VerifySettings, *, max_age: Any, share: Any) -> VerifySettings:
    """Return settings of which some are given at run time; C(InvalidInputError) if they are not right."""
    problems = Problems()
    given = read_verify({"max_age": max_age, "share": share}, "", problems)
    if problems.found or given is None:
        raise InvalidInputError(problem_text("verification", problems.found), **problem_details(problems.found))
    return VerifySettings(
        defaults.max_age if given.max_age is None else given.max_age,
        defaults.share if given.share is None else given.share,
    )


def _read_share(value: Any, key: str, problems: Problems) -> int | None:
    """Read a percentage; as a text too, because a template can give nothing else."""
    number = value
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        number = int(value.strip())
    if isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= 100:
        return int(number)
    problems.add(key, value, f"must be a whole number from 1 to 100, the percentage of a run, not {kind_of(value)}")
    return None
