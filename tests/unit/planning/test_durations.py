# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Durations in and out."""

from __future__ import annotations

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.planning.durations import (
    SYNTAX,
    format_duration,
    parse_duration,
)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0),
        (600, 600),
        ("0", 0),
        ("45", 45),
        ("45s", 45),
        ("90m", 5400),
        ("24h", 86400),
        ("1d", 86400),
        ("2w", 1209600),
        (" 2 W ", 1209600),
    ],
)
def test_parse(value: object, seconds: int) -> None:
    assert parse_duration(value) == seconds


@pytest.mark.parametrize("value", ["", "h", "1.5h", "-1h", "1h30m", "1y", "٣h", True, False, 1.5, None, [], {}])
def test_parse_refuses(value: object) -> None:
    with pytest.raises(ValueError) as caught:
        parse_duration(value)
    assert str(caught.value) == f"a duration is {SYNTAX}"


def test_parse_refuses_negative_numbers() -> None:
    with pytest.raises(ValueError) as caught:
        parse_duration(-1)
    assert str(caught.value) == "a duration is not negative"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.9, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3605, "1 h"),
        (5400, "1 h 30 min"),
        (86400, "1 d"),
        (97200, "1 d 3 h"),
        (97261, "1 d 3 h"),
        (1209600, "14 d"),
    ],
)
def test_format(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
