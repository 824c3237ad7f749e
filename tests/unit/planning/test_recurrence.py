# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calendar expressions as recurrence rules: the same moments as systemd's own."""

from __future__ import annotations

import datetime
import re
import shutil
import subprocess
from typing import Any

import pytest
from dateutil import rrule

from ansible_collections.ovm.backup.plugins.module_utils.errors import InvalidInputError
from ansible_collections.ovm.backup.plugins.module_utils.planning.recurrence import recurrence_rule, recurrences
from ansible_collections.ovm.backup.plugins.module_utils.planning.subclient import Subclient

RULES = {
    "Mon..Fri 22:00 Europe/Vienna": "DTSTART;TZID=Europe/Vienna:20260101T220000 RRULE:FREQ=WEEKLY;INTERVAL=1;"
    "BYDAY=MO,TU,WE,TH,FR",
    "daily UTC": "DTSTART:20260101T000000Z RRULE:FREQ=DAILY;INTERVAL=1",
    "*:0/15 UTC": "DTSTART:20260101T000000Z RRULE:FREQ=DAILY;INTERVAL=1;BYHOUR="
    + ",".join(map(str, range(24)))
    + ";BYMINUTE=0,15,30,45",
    "*-*-01 03:00 UTC": "DTSTART:20260101T030000Z RRULE:FREQ=DAILY;INTERVAL=1;BYMONTHDAY=1",
    "Sun *-*-1..7 12:30:15 UTC": "DTSTART:20260104T123015Z RRULE:FREQ=DAILY;INTERVAL=1;BYDAY=SU;"
    "BYMONTHDAY=1,2,3,4,5,6,7",
    "*-*~01 23:00 UTC": "DTSTART:20260131T230000Z RRULE:FREQ=DAILY;INTERVAL=1;BYMONTHDAY=-1",
    "quarterly UTC": "DTSTART:20260101T000000Z RRULE:FREQ=DAILY;INTERVAL=1;BYMONTH=1,4,7,10;BYMONTHDAY=1",
}
# What systemd is asked about, beside the above.
OTHERS = [
    "hourly UTC", "weekly UTC", "monthly UTC", "semiannually UTC", "yearly UTC", "Sat,Sun 06,18:30 UTC",
    "Mon-Fri 08:00 UTC", "*-2-29 01:00 UTC", "*-05~07/1 UTC", "Mon *-05~07/1 02:00 UTC", "*-*~1..5/2 04:00 UTC",
    "*-1..6/2-10/7 05:05 UTC", "06-24 00:00 UTC", "tuesday *-*-* 9..17/4:20 UTC", "Wed UTC", "*-*-5 UTC",
]  # fmt: skip


@pytest.mark.parametrize(("calendar", "rule"), RULES.items())
def test_rules(calendar: str, rule: str) -> None:
    assert recurrence_rule(calendar) == rule


@pytest.mark.parametrize("calendar", [*(calendar for calendar in RULES if calendar.endswith("UTC")), *OTHERS])
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_moments_are_those_of_systemd(calendar: str) -> None:
    count = 8
    command = ["systemd-analyze", "calendar", "--base-time=2027-03-01 00:00:00 UTC", f"--iterations={count}", calendar]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"TZ": "UTC", "LC_ALL": "C.UTF-8"})
    theirs = re.findall(r"(?:Next elapse|Iter\S* #\d+): \w+ (\S+ \S+) UTC", done.stdout)
    begin = datetime.datetime(2027, 3, 1, tzinfo=datetime.UTC)
    rule: Any = rrule.rrulestr(recurrence_rule(calendar))
    ours = [moment.strftime("%Y-%m-%d %H:%M:%S") for moment in rule.xafter(begin, count=count)]
    assert ours == theirs
    assert len(ours) == count
    # RFC 5545 takes the beginning for the first moment, so it has to be one of the rule.
    assert rule[0] == rule._dtstart


@pytest.mark.parametrize(
    ("calendar", "why"),
    [
        ("2027-01-01 10:00 UTC", "'2027-01-01' names a year, and the controller repeats without end"),
        ("*:*:0/10 UTC", "'*:*:0/10' is more often than once in a minute"),
        ("*-2-30 UTC", "it never comes"),
        ("fortnightly UTC", "'fortnightly' is not a day of the week, and no word"),
        ("@1700000000 UTC", "'@1700000000' is not a date of the form *-*-*"),
        ("Sun..Mon 10:00 UTC", "'Sun..Mon': Sun comes after Mon in the week"),
        ("25:00 UTC", "'25' is not between 0 and 23"),
        ("10:x UTC", "'x' is not *, a number, a range or a repetition"),
        ("Mon 1 *-*-* 10:00 UTC", "'1' is neither days of the week nor a date nor a time"),
    ],
)
def test_what_no_rule_can_say(calendar: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        recurrence_rule(calendar)


def subclient(name: str, *schedule: dict[str, str], **more: Any) -> Subclient:
    content = [{"rules": [{"field": "name", "value": "*"}]}]
    return Subclient.parse(name, {"content": content, "schedule": list(schedule), **more})


def test_schedules_of_subclients() -> None:
    found = recurrences(
        [
            subclient("web", {"calendar": "03:00 UTC", "task": "verify"}),
            subclient(
                "db", {"calendar": "Sun 22:00", "backup_type": "full"}, {"calendar": "Mon..Sat 22:00"},
                timezone="Europe/Vienna",
            ),
            subclient("none"),
        ]
    )  # fmt: skip
    assert [one.name for one in found] == [
        "db: backup, Mon..Sat 22:00 Europe/Vienna",
        "db: full backup, Sun 22:00 Europe/Vienna",
        "web: verify, 03:00 UTC",
    ]
    assert [one.variables for one in found] == [
        {"subclient": "db"},
        {"subclient": "db", "backup_type": "full"},
        {"subclient": "web"},
    ]
    assert found[1].as_dict()["rule"].startswith("DTSTART;TZID=Europe/Vienna:20260104T220000 RRULE:FREQ=WEEKLY;")


def test_says_whose_schedule_it_is() -> None:
    with pytest.raises(InvalidInputError) as error:
        recurrences([subclient("db", {"calendar": "daily"}, {"calendar": "2027-01-01"})])
    assert error.value.message == (
        "subclient 'db': schedule[1].calendar: '2027-01-01' cannot be a schedule of the controller: "
        "'2027-01-01' names a year, and the controller repeats without end"
    )
