# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What values of JSON documents may be, of which nobody knows who changed them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

_LATEST = 1e11  # seconds since the epoch: dates that every calendar function can show

Check = Callable[[Any], bool]


def is_text(value: Any) -> bool:
    """Return whether it is a text."""
    return isinstance(value, str)


def is_number(value: Any) -> bool:
    """Return whether it is a number that can be reckoned with."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def is_time(value: Any) -> bool:
    """Return whether it is a moment, in seconds since the epoch."""
    return is_number(value) and 0 <= value <= _LATEST


def is_count(value: Any) -> bool:
    """Return whether it is a whole number that is not negative."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def optional(check: Check) -> Check:
    """Return a check that takes nothing, too."""
    return lambda value: value is None or check(value)


def list_of(check: Check) -> Check:
    """Return a check of a list by that of its items."""
    return lambda value: isinstance(value, list) and all(check(item) for item in value)
