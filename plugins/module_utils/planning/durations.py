# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Durations as users write them (C(90m), C(24h), seconds) and as they read them."""

from __future__ import annotations

import re

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"\s*([0-9]{1,9})\s*([smhdw]?)\s*", re.IGNORECASE | re.ASCII)

SYNTAX = "a whole number of seconds, or a number with a unit s, m, h, d or w, such as 90m, 24h, 1d or 2w"


def parse_duration(value: object) -> int:
    """Return the seconds that a value stands for; C(ValueError) if it does not follow C(SYNTAX)."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ValueError("a duration is not negative")
        return int(value)
    matched = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if matched is None:
        raise ValueError(f"a duration is {SYNTAX}")
    return int(matched.group(1)) * _UNITS[matched.group(2).lower() or "s"]


def format_duration(seconds: float) -> str:
    """Return a duration for people, in its two largest units: C(1 d 3 h), C(5 min), C(0 s)."""
    rest = int(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break  # "1 d 5 s" would promise a precision that nobody wants to read
    return " ".join(parts[:2]) or "0 s"
