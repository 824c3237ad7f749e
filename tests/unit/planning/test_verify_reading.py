# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a subclient says of verification, and what a run says instead."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.errors import InvalidInputError, SubclientError
from ansible_collections.ovm.backup.plugins.module_utils.planning.subclient import Subclient
from ansible_collections.ovm.backup.plugins.module_utils.planning.verify_reading import VerifySettings, checked_verify

CONTENT = [{"rules": [{"field": "name", "value": "db*"}]}]
PERCENT = "must be a whole number from 1 to 100, the percentage of a run, not"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ({}, VerifySettings()),
        (None, VerifySettings()),
        ({"max_age": None, "share": None}, VerifySettings()),
        ({"max_age": "30d", "share": 10}, VerifySettings(30 * 86400, 10)),
        ({"max_age": 0, "share": "100"}, VerifySettings(0, 100)),
        ({"share": " 1 "}, VerifySettings(None, 1)),
    ],
)
def test_good(value: Any, wanted: VerifySettings) -> None:
    assert Subclient.parse("x", {"content": CONTENT, "verify": value}).verify == wanted


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (7, "verify: must be a mapping with the keys max_age, share, not the number 7"),
        ({"shar": 1}, "verify.shar: unknown key; known here are max_age, share (did you mean 'share'?)"),
        ({"share": 0}, f"verify.share: {PERCENT} the number 0"),
        ({"share": 101}, f"verify.share: {PERCENT} the number 101"),
        ({"share": True}, f"verify.share: {PERCENT} the boolean true"),
        ({"share": "10%"}, f"verify.share: {PERCENT} the string '10%'"),
        ({"share": 2.5}, f"verify.share: {PERCENT} the number 2.5"),
        ({"share": []}, f"verify.share: {PERCENT} a list"),
    ],
)
def test_wrong(value: Any, message: str) -> None:
    with pytest.raises(SubclientError) as caught:
        Subclient.parse("x", {"content": CONTENT, "verify": value})
    assert caught.value.message == f"subclient 'x': {message}"


def test_both_values_may_be_wrong() -> None:
    with pytest.raises(SubclientError) as caught:
        Subclient.parse("x", {"content": CONTENT, "verify": {"max_age": "soon", "share": "half"}})
    assert [problem["key"] for problem in caught.value.details["problems"]] == ["verify.max_age", "verify.share"]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, VerifySettings(5, 6)),
        ({"max_age": "1h"}, VerifySettings(3600, 6)),
        ({"share": "7"}, VerifySettings(5, 7)),
        ({"max_age": 0, "share": 100}, VerifySettings(0, 100)),
    ],
)
def test_what_is_given_for_a_run_counts(given: dict[str, Any], wanted: VerifySettings) -> None:
    options: dict[str, Any] = {"max_age": None, "share": None, **given}
    assert checked_verify(VerifySettings(5, 6), **options) == wanted


def test_what_is_given_for_a_run_is_checked() -> None:
    with pytest.raises(InvalidInputError) as caught:
        checked_verify(VerifySettings(), max_age=None, share=0)
    assert caught.value.message == f"verification: share: {PERCENT} the number 0"
    assert caught.value.details["key"] == "share"
