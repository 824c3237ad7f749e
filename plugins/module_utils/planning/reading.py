# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Reading the definition of a subclient: what all rooms read, and durations."""

from __future__ import annotations

from typing import Any

from .._reading import (
    Problem,
    Problems,
    did_you_mean,
    kind_of,
    plain,
    problem_details,
    problem_text,
    quoted,
    read_boolean,
    read_choice,
    read_count,
    read_items,
    read_mapping,
    read_number,
    read_string,
)
from .durations import format_duration, parse_duration

__all__ = [
    "Problem",
    "Problems",
    "did_you_mean",
    "kind_of",
    "plain",
    "problem_details",
    "problem_text",
    "quoted",
    "read_boolean",
    "read_choice",
    "read_count",
    "read_items",
    "read_mapping",
    "read_number",
    "read_string",
    "read_duration",
]


def read_duration(value: Any, key: str, problems: Problems, *, at_least: int = 0) -> int | None:
    """Read a duration in seconds."""
    try:
        seconds = parse_duration(value)
    except ValueError as error:
        problems.add(key, value, f"{kind_of(value)} is not a duration: {error}")
        return None
    if seconds < at_least:
        problems.add(key, value, f"must be at least {format_duration(at_least)}, not {format_duration(seconds)}")
        return None
    return seconds
