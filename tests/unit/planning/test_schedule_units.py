# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The units of schedules: their names, their texts, and that systemd and Ansible read them as they are meant."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from unit.planning.unit_files import command

from ansible_collections.ovm.backup.plugins.module_utils.errors import InvalidInputError
from ansible_collections.ovm.backup.plugins.module_utils.planning.schedule_units import (
    Runner,
    Unit,
    escape_unit_name,
    quote_argument,
    schedule_units,
)
from ansible_collections.ovm.backup.plugins.module_utils.planning.subclient import Subclient

CONTENT = [{"rules": [{"field": "name", "value": "*"}]}]
RUNNER = Runner("/opt/bin/ansible-playbook", "/srv/site")
HOSTILE = [
    "-x",
    ".hidden",
    "a b",
    "büro",
    "50%",
    "%h",
    "$HOME",
    "${x}",
    'it\'s "q"',
    "a\\",
    "a;b",
    "a/b-c",
    "{{ 1 }}",
    "=",
]
# Text that fits on one line: what no unit can hold is refused.
LINES = st.text(st.characters(blacklist_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=15)


def units(schedule: list[dict[str, str]], name: str = "db", runner: Runner = RUNNER) -> list[Unit]:
    return schedule_units([Subclient.parse(name, {"content": CONTENT, "schedule": schedule})], runner)


# --- texts -----------------------------------------------------------------------------------------------------------


def test_a_unit_is_written_out_in_full() -> None:
    runner = dataclasses.replace(
        RUNNER,
        inventory="inventory",
        user="backup",
        environment_file="/etc/ovm backup/environment",
        options=("--vault-password-file=/etc/key", "-v"),
        service_options={"Nice": 10, "NoNewPrivileges": True, "ReadOnlyPaths": ["/a", "/b"], "LimitCORE": 1},
        on_failure="notify@%n.service",
    )
    [unit] = units([{"calendar": "Sun 22:00", "backup_type": "full"}], runner=runner)
    assert (unit.name, unit.subclient, unit.task, unit.backup_type) == (
        "ovm-backup-db-backup-full",
        "db",
        "backup",
        "full",
    )
    assert unit.calendars == {"schedule[0].calendar": "Sun 22:00 UTC"}
    assert unit.service.splitlines() == [
        "# Written by ovm.backup.schedule for ovm-backup: it is replaced and removed with the schedule.",
        "[Unit]",
        "Description=ovm.backup: full backup of subclient 'db'",
        "Wants=network-online.target",
        "After=network-online.target",
        "OnFailure=notify@%n.service",
        "",
        "[Service]",
        "Type=oneshot",
        "User=backup",
        "WorkingDirectory=/srv/site",
        "RuntimeDirectory=ovm-backup",
        "RuntimeDirectoryPreserve=yes",
        "Environment=LC_ALL=C.UTF-8",
        "EnvironmentFile=/etc/ovm backup/environment",
        'ExecStart=/usr/bin/flock --exclusive --wait 21600 "%t/ovm-backup/db.lock" /opt/bin/ansible-playbook '
        "--inventory=inventory --vault-password-file=/etc/key -v --extra-vars "
        '"{\\"subclient\\": !unsafe \\"db\\", \\"backup_type\\": \\"full\\"}" ovm.backup.backup',
        "TimeoutStartSec=infinity",
        "TimeoutStopSec=900",
        "LimitCORE=1",
        "Nice=10",
        "NoNewPrivileges=yes",
        "ReadOnlyPaths=/a",
        "ReadOnlyPaths=/b",
    ]
    assert unit.timer.splitlines() == [
        "# Written by ovm.backup.schedule for ovm-backup: it is replaced and removed with the schedule.",
        "[Unit]",
        "Description=ovm.backup: time for the full backup of subclient 'db'",
        "",
        "[Timer]",
        "OnCalendar=Sun 22:00 UTC",
        "Persistent=true",
        "RandomizedDelaySec=0",
        "AccuracySec=60",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]


def test_what_differs_in_time_only_is_one_unit() -> None:
    schedule = [
        {"calendar": "22:00"},
        {"calendar": "Sun 12:00", "backup_type": "full"},
        {"calendar": "06:00"},
        {"calendar": "daily", "task": "retention"},
    ]
    found = units(schedule)
    assert [(unit.name, dict(unit.calendars)) for unit in found] == [
        ("ovm-backup-db-backup", {"schedule[0].calendar": "22:00 UTC", "schedule[2].calendar": "06:00 UTC"}),
        ("ovm-backup-db-backup-full", {"schedule[1].calendar": "Sun 12:00 UTC"}),
        ("ovm-backup-db-retention", {"schedule[3].calendar": "daily UTC"}),
    ]
    assert command(found[2].service)[-1] == "ovm.backup.retention"
    # The order of the entries changes nothing of what is written.
    assert [unit.files for unit in units(schedule[::-1])] == [unit.files for unit in found]
    # All tasks of a subclient wait for the same lock.
    assert {command(unit.service)[4] for unit in found} == {"/run/ovm-backup/db.lock"}


def test_the_janitor_has_a_timer_if_it_is_wanted() -> None:
    runner = dataclasses.replace(RUNNER, janitor_calendar=" 05:30 ", on_failure="tell.service")
    unit, other = units([{"calendar": "daily"}], "z", runner)
    assert (unit.name, unit.subclient, unit.task, other.subclient) == ("ovm-backup-janitor", None, "janitor", "z")
    assert unit.calendars == {"janitor_calendar": "05:30 UTC"}
    arguments = command(unit.service)
    assert arguments[4:7] == ["/run/ovm-backup/-janitor.lock", "/opt/bin/ansible-playbook", "--extra-vars"]
    assert (json.loads(arguments[7]), arguments[8:]) == ({"apply": True}, ["ovm.backup.janitor"])
    assert "OnFailure=tell.service" in unit.service.splitlines()
    assert "OnCalendar=05:30 UTC" in unit.timer.splitlines()
    # A subclient of that name has other units.
    names = [item.name for item in units([{"calendar": "daily"}], "janitor", runner)]
    assert names == ["ovm-backup-janitor", "ovm-backup-janitor-backup"]
    vienna = dataclasses.replace(runner, janitor_calendar="daily Europe/Vienna")
    assert units([], runner=vienna)[0].calendars == {"janitor_calendar": "daily Europe/Vienna"}


# --- names and quotes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_arrive_as_they_are(name: str) -> None:
    [unit] = units([{"calendar": "daily"}], name)
    arguments = command(unit.service)
    assert arguments[:4] == ["/usr/bin/flock", "--exclusive", "--wait", "21600"]
    assert arguments[4] == f"/run/ovm-backup/{escape_unit_name(name)}.lock"
    assert arguments[5:] == ["/opt/bin/ansible-playbook", "--extra-vars", arguments[7], "ovm.backup.backup"]
    assert json.loads(arguments[7].replace("!unsafe ", "")) == {"subclient": name}
    assert all(len(line.splitlines()) == 1 for line in unit.service.splitlines() if line)


def test_names_are_escaped_as_systemd_does() -> None:
    names = [name for name in HOSTILE if "/" not in name]
    escaped = subprocess.run(["systemd-escape", "--", *names], check=True, capture_output=True, text=True).stdout
    assert [escape_unit_name(name) for name in names] == escaped.split()
    back = ["systemd-escape", "--unescape", "--", *map(escape_unit_name, HOSTILE)]
    read = subprocess.run(back, check=True, capture_output=True, text=True).stdout
    assert read == " ".join(HOSTILE) + "\n"


@given(LINES, LINES)
def test_different_names_have_different_units(one: str, other: str) -> None:
    schedule = [{"calendar": "daily"}, {"calendar": "daily", "task": "verify"}]
    names = [unit.name for name in sorted({one, other}) for unit in units(schedule, f"x{name}")]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9:_.\\-]+", name) for name in names)


@given(LINES)
def test_quoted_arguments_are_read_back(text: str) -> None:
    assert command(f"[Service]\nExecStart=/x {quote_argument(text)}\n") == ["/x", text]


def test_ansible_takes_a_name_for_data_and_no_template() -> None:
    from ansible.parsing.dataloader import DataLoader

    [unit] = units([{"calendar": "daily", "backup_type": "full"}], "{{ 1 }} \\ \"é'")
    assert DataLoader().load(command(unit.service)[7]) == {"subclient": "{{ 1 }} \\ \"é'", "backup_type": "full"}
    assert yaml.safe_load(command(unit.service)[7].replace("!unsafe ", ""))["backup_type"] == "full"


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    program = tmp_path / "play %h \"it's"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    runner = dataclasses.replace(
        RUNNER, ansible_playbook=str(program), service_options={"Nice": 10}, janitor_calendar="05:30"
    )
    runner = dataclasses.replace(runner, on_failure="notify@%n.service")
    paths = []
    for name in HOSTILE:
        for unit in units([{"calendar": "Mon..Sat 22:00"}, {"calendar": "06:00 Europe/Vienna"}], name, runner):
            for file, text in unit.files.items():
                (tmp_path / file).write_text(text, encoding="utf-8")
                paths.append(str(tmp_path / file))
    done = subprocess.run(["systemd-analyze", "verify", *paths], check=False, capture_output=True, text=True)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "ovm-backup" in line]) == (0, [])


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a\nb", "a\tb", "a\u2028", "ü" * 60, "x" * 230])
def test_names_that_no_unit_can_have(name: str) -> None:
    with pytest.raises(InvalidInputError, match="cannot be scheduled: the name of a unit of systemd must be text"):
        units([{"calendar": "daily"}], name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prefix": "a b"}, "prefix: 'a b' must begin with a letter or digit and hold only these, - and _"),
        ({"directory": "site"}, "directory: 'site' must be an absolute path"),
        ({"directory": "/site\\"}, "directory: '/site\\\\' must be an absolute path"),
        ({"ansible_playbook": "/x\n"}, "ansible_playbook: '/x\\n' must be an absolute path"),
        ({"environment_file": "-/x"}, "environment_file: '-/x' must be an absolute path"),
        ({"inventory": "a\0"}, "inventory: 'a\\x00' must be text without control characters"),
        ({"options": ("-v", "\n")}, "options: '\\n' must be text without control characters"),
        ({"user": "a b"}, "user: 'a b' is not the name of a user"),
        ({"wait": -1}, "wait: must not be negative, as -1 is"),
        (
            {"on_failure": "notify"},
            "on_failure: 'notify' is not the name of a unit of systemd, such as notify@%n.service",
        ),
        ({"on_failure": "a.service b.service"}, "on_failure: 'a.service b.service' is not the name of a unit"),
        ({"on_failure": "a\n.service"}, "on_failure: 'a\\n.service' is not the name of a unit"),
        ({"janitor_calendar": "daily\nx"}, "janitor_calendar: 'daily\\nx' is not a calendar expression of systemd"),
        ({"service_options": {"Environment": "A=s3cret"}}, "service_options.Environment: would stand in a file that"),
        ({"service_options": {"PassEnvironment": "A"}}, "service_options.PassEnvironment: would stand in a file that"),
        ({"service_options": {"SetCredentialEncrypted": "a:b"}}, "service_options.SetCredentialEncrypted: would stand"),
        ({"service_options": {"nice": 1}}, "service_options.nice: 'nice' is not a directive of systemd, such as Nice"),
        ({"service_options": {"User": "x"}}, "service_options.User: is set by the role itself"),
        ({"service_options": {"Nice": "1\nUser=x"}}, "service_options.Nice: must be one line of text"),
        ({"service_options": {"Nice": {}}}, "service_options.Nice: must be one line of text, a number, a boolean"),
        ({"service_options": {"Nice": ["1\\"]}}, "service_options.Nice: must be one line of text"),
    ],
)
def test_settings_that_no_unit_can_hold(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError) as failure:
        schedule_units([], dataclasses.replace(RUNNER, **change))
    assert failure.value.message.startswith(f"the schedule: {message}")
