# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter recurrences. The rules themselves are tested with the schedules."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.ovm.backup.plugins.filter.recurrences import FilterModule

rules = FilterModule().filters()["recurrences"]
CONTENT = [{"rules": [{"field": "name", "value": "*"}]}]


def test_rules() -> None:
    assert rules({"db": {"content": CONTENT, "schedule": [{"calendar": "daily", "backup_type": "full"}]}}) == [
        {
            "name": "db: full backup, daily UTC",
            "subclient": "db",
            "task": "backup",
            "backup_type": "full",
            "calendar": "daily UTC",
            "rule": "DTSTART:20260101T000000Z RRULE:FREQ=DAILY;INTERVAL=1",
            "variables": {"subclient": "db", "backup_type": "full"},
        }
    ]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "needs subclients by their names, not a list"),
        ({"db": {"content": CONTENT, "schedule": [{"calendar": "2030-01-01"}]}}, "cannot be a schedule"),
        ({"db": {}}, "content"),
    ],
)
def test_wrong_input(value: Any, message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        rules(value)
