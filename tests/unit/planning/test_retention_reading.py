# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading a retention policy and a time zone: what is wrong is named with key and value."""

from __future__ import annotations

import datetime
import sys
import zoneinfo
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.errors import InvalidInputError, SubclientError
from ansible_collections.ovm.backup.plugins.module_utils.planning.retention_reading import (
    checked_policy,
    checked_time_zone,
)
from ansible_collections.ovm.backup.plugins.module_utils.planning.subclient import Subclient
from ansible_collections.ovm.backup.plugins.module_utils.vault.retention import RetentionPolicy

RULES = "keep_last, keep_days, keep_daily, keep_weekly, keep_monthly, keep_yearly"
NOTHING = f"keeps nothing: set at least one of {RULES}, or leave it out to keep everything"
DEFINITION = {"content": [{"rules": [{"field": "name", "value": "db*"}]}]}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"keep_last": 1}, RetentionPolicy(keep_last=1)),
        ({"keep_daily": "7", "keep_yearly": None}, RetentionPolicy(keep_daily=7)),
        (dict.fromkeys(RULES.split(", "), 2), RetentionPolicy(2, 2, 2, 2, 2, 2)),
    ],
)
def test_policies(policy: dict[str, Any], expected: RetentionPolicy) -> None:
    assert checked_policy(policy) == expected
    assert Subclient.parse("prod", {**DEFINITION, "retention": policy}).retention == expected


def test_without_a_policy() -> None:
    assert Subclient.parse("prod", DEFINITION).retention is None
    assert Subclient.parse("prod", {**DEFINITION, "retention": None}).retention is None


@pytest.mark.parametrize(
    ("value", "key", "message"),
    [
        ({}, "", NOTHING),
        (dict.fromkeys(RULES.split(", ")), "", NOTHING),
        (7, "", f"must be a mapping with the keys {RULES}, not the number 7"),
        ({"keep_last": 0}, ".keep_last", "must be between 1 and 100000, not 0"),
        ({"keep_days": 100001}, ".keep_days", "must be between 1 and 100000, not 100001"),
        ({"keep_daily": -1}, ".keep_daily", "must be a whole number, not the number -1"),
        ({"keep_weekly": 1.5}, ".keep_weekly", "must be a whole number, not the number 1.5"),
        ({"keep_monthly": "a few"}, ".keep_monthly", "must be a whole number, not the string 'a few'"),
        ({"keep_yearly": True}, ".keep_yearly", "must be a whole number, not the boolean true"),
        ({"keep_week": 1, "keep_last": 2}, ".keep_week",
            f"unknown key; known here are {RULES} (did you mean 'keep_weekly'?)"),
    ],
)  # fmt: skip
def test_wrong_policies(value: Any, key: str, message: str) -> None:
    with pytest.raises(SubclientError) as error:
        Subclient.parse("prod", {**DEFINITION, "retention": value})
    assert error.value.message == f"subclient 'prod': retention{key}: {message}"
    if isinstance(value, dict):
        with pytest.raises(InvalidInputError) as error:
            checked_policy(value)
        assert error.value.message == f"retention: policy{key}: {message}"
        assert error.value.details["key"] == f"policy{key}"


@pytest.mark.parametrize("name", ["UTC", "Europe/Vienna", "America/New_York", "Pacific/Auckland"])
def test_time_zones(name: str) -> None:
    assert str(checked_time_zone(name)) == name


@pytest.mark.parametrize("name", ["Europe/Wien", "", "Europe", "../../etc/passwd", "/etc/localtime", "CET\0"])
def test_unknown_time_zones(name: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        checked_time_zone(name)
    known = f"timezone: {name!r} is not a time zone that is known here: it must be a name of the IANA data base"
    assert error.value.message.startswith(known)
    assert error.value.details == {"key": "timezone", "value": name}


def test_host_without_time_zones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ["tzdata", *(name for name in sys.modules if name.startswith("tzdata."))]:
        monkeypatch.setitem(sys.modules, name, None)
    zoneinfo.ZoneInfo.clear_cache()
    try:
        zoneinfo.reset_tzpath([str(tmp_path)])
        with pytest.raises(InvalidInputError, match="this host knows no time zones: install its package tzdata"):
            checked_time_zone("Europe/Vienna")
        assert checked_time_zone("UTC") == datetime.UTC
    finally:
        zoneinfo.reset_tzpath()
        zoneinfo.ZoneInfo.clear_cache()
    assert str(checked_time_zone("Europe/Vienna")) == "Europe/Vienna"
