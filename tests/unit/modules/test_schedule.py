# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module schedule, with the systemd-analyze of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

CONTENT = [{"rules": [{"field": "name", "value": "*"}]}]
SERVICE, TIMER = "ovm-backup-db-backup.service", "ovm-backup-db-backup.timer"
FULL = ["ovm-backup-db-backup-full.service", "ovm-backup-db-backup-full.timer"]


@pytest.fixture
def units(tmp_path: Path) -> Path:
    made = tmp_path / "units"
    made.mkdir()
    return made


@pytest.fixture
def args(tmp_path: Path, units: Path) -> dict[str, Any]:
    program = tmp_path / "ansible-playbook"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    definition = {
        "content": CONTENT,
        "schedule": [{"calendar": "22:00"}, {"calendar": "Sun 12:00", "backup_type": "full"}],
    }
    return {
        "subclients": {"db": definition, "idle": {"content": CONTENT}},
        "ansible_playbook": str(program),
        "directory": str(tmp_path),
        "path": str(units),
    }


def texts(units: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in units.iterdir()}


def only(args: dict[str, Any], *calendars: str) -> dict[str, Any]:
    schedule = [{"calendar": calendar} for calendar in calendars]
    return {**args, "subclients": {"db": {"content": CONTENT, "schedule": schedule}}}


def test_written_once_changed_and_removed(succeed: Any, args: dict[str, Any], units: Path) -> None:
    checked = succeed("schedule", args, check_mode=True, diff=True)
    assert (checked["changed"], checked["timers"], texts(units)) == (True, [], {})
    first = succeed("schedule", args, diff=True)
    timers = ["ovm-backup-db-backup.timer", "ovm-backup-db-backup-full.timer"]
    assert first == {**checked, "timers": timers}
    assert first["written"] == sorted([SERVICE, TIMER, *FULL])
    written = texts(units)
    assert sorted(written) == first["written"]
    assert {file["after_header"]: file["after"] for file in first["diff"]} == written
    assert {path.stat().st_mode & 0o777 for path in units.iterdir()} == {0o644}
    again = succeed("schedule", args, diff=True)
    assert again == {**first, "changed": False, "written": [], "diff": []}

    changed = succeed("schedule", only(args, "23:00"), diff=True)
    assert (changed["written"], changed["removed"]) == ([TIMER], FULL)
    assert [(file["before_header"], file["after_header"]) for file in changed["diff"]] == [
        (FULL[0], "(no file)"),
        (FULL[1], "(no file)"),
        (TIMER, TIMER),
    ]
    assert sorted(texts(units)) == [SERVICE, TIMER]

    absent = {"state": "absent", "path": str(units)}
    checked = succeed("schedule", absent, check_mode=True)
    assert (checked["removed"], sorted(texts(units))) == ([SERVICE, TIMER], [SERVICE, TIMER])
    assert succeed("schedule", absent)["removed"] == [SERVICE, TIMER]
    assert succeed("schedule", absent)["changed"] is False
    assert texts(units) == {}


def test_what_it_says_of_the_units(succeed: Any, args: dict[str, Any]) -> None:
    result = succeed("schedule", args)
    times = [unit.pop("calendars") for unit in result["units"]]
    common = {"subclient": "db", "task": "backup"}
    assert result["units"] == [
        {**common, "name": "ovm-backup-db-backup", "backup_type": None},
        {**common, "name": "ovm-backup-db-backup-full", "backup_type": "full"},
    ]
    [[full]] = times[1:]
    assert full["expression"] == "Sun 12:00 UTC"
    assert full["next"].startswith("Sun ")
    assert result["summary"][1] == f"db: full backup, Sun 12:00 UTC, next {full['next']}"


def test_the_janitor_is_scheduled_and_removed(succeed: Any, fail: Any, args: dict[str, Any], units: Path) -> None:
    janitor = {"janitor_calendar": "05:30", "on_failure": "tell@%n.service"}
    result = succeed("schedule", {**args, **janitor})
    [unit] = [unit for unit in result["units"] if unit["subclient"] is None]
    [calendar] = unit["calendars"]
    assert (unit["name"], unit["task"], calendar["expression"]) == ("ovm-backup-janitor", "janitor", "05:30 UTC")
    assert f"janitor, 05:30 UTC, next {calendar['next']}" in result["summary"]
    assert "ovm-backup-janitor.timer" in result["timers"]
    assert "\nOnFailure=tell@%n.service\n" in texts(units)[SERVICE]
    assert not succeed("schedule", {**args, **janitor})["changed"]
    assert succeed("schedule", args)["removed"] == ["ovm-backup-janitor.service", "ovm-backup-janitor.timer"]
    failed = fail("schedule", {**args, "janitor_calendar": "25:00"})
    assert failed["msg"].startswith("the schedule: janitor_calendar: '25:00 UTC' is not a calendar expression: ")


def test_files_of_others_are_not_touched(succeed: Any, fail: Any, args: dict[str, Any], units: Path) -> None:
    other = "# Written by ovm.backup.schedule for ovm-backup-x: it is replaced and removed with the schedule.\n"
    mine = {"ovm-backup-mine.timer": "[Timer]\n", "ovm-backup-x-db-backup.timer": other, "ovm-backup-x.md": "text\n"}
    for name, text in mine.items():
        (units / name).write_text(text, encoding="utf-8")
    (units / "ovm-backup-null.service").symlink_to("/dev/null")
    (units / "ovm-backup-latin.service").write_bytes(b"\xe4\n")
    succeed("schedule", args)
    assert len(succeed("schedule", {"state": "absent", "path": str(units)})["removed"]) == 4
    (units / "ovm-backup-latin.service").unlink()
    assert texts(units) == {**mine, "ovm-backup-null.service": ""}

    (units / TIMER).symlink_to("/dev/null")
    failed = fail("schedule", args)
    assert failed["msg"] == (
        f"{units / TIMER} exists and was not written by this role: remove it, or choose another prefix"
    )
    assert len(list(units.iterdir())) == 5


def test_wrong_times_are_all_named_before_anything_is_written(fail: Any, args: dict[str, Any], units: Path) -> None:
    wrong = {"content": CONTENT, "schedule": [{"calendar": "-1"}, {"calendar": "daily"}]}
    args["subclients"] = {**only(args, "22:00", "25:00")["subclients"], "-x": wrong}
    failed = fail("schedule", args)
    for line in (
        "the schedule has 2 problems:",
        "- subclient 'db': schedule[1].calendar: '25:00 UTC' is not a calendar expression: ",
        "- subclient '-x': schedule[0].calendar: '-1 UTC' is not a calendar expression: ",
    ):
        assert line in failed["msg"]
    assert failed["failure"]["key"] == "subclient '-x': schedule[0].calendar"
    assert texts(units) == {}


def test_a_time_that_is_over_is_a_warning(succeed: Any, args: dict[str, Any], warned: list[str]) -> None:
    result = succeed("schedule", only(args, "2020-01-01"))
    assert warned == ["subclient db: '2020-01-01 UTC' never comes again"]
    succeed("schedule", {**args, "janitor_calendar": "2020-01-01"})
    assert warned[1:] == ["janitor: '2020-01-01 UTC' never comes again"]
    assert result["units"][0]["calendars"] == [{"expression": "2020-01-01 UTC", "next": None}]


def test_systemd_has_the_last_word_on_the_units(fail: Any, args: dict[str, Any], units: Path) -> None:
    failed = fail("schedule", {**args, "service_options": {"Nise": 1, "Nice": "very"}})
    assert failed["msg"].startswith("systemd does not accept the units, nothing was written: ovm-backup-db-backup")
    assert "Nise" in failed["msg"] and "very" in failed["msg"]
    assert texts(units) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ansible_playbook": "/missing"}, "ansible_playbook: there is no program /missing on this host"),
        ({"directory": "/missing"}, "directory: there is no directory /missing on this host"),
        ({"user": "nobody-of-ours"}, "user: there is no user nobody-of-ours on this host"),
        ({"environment_file": "/missing"}, "environment_file: there is no file /missing on this host"),
        ({"path": "/missing"}, "path: there is no directory /missing for the units of systemd"),
        (
            {"prefix": "a b"},
            "the schedule: prefix: 'a b' must begin with a letter or digit and hold only these, - and _",
        ),
        ({"subclients": {"db": {}}}, "subclient 'db': content: is missing"),
    ],
)
def test_wrong_settings(fail: Any, args: dict[str, Any], units: Path, change: dict[str, Any], message: str) -> None:
    assert fail("schedule", {**args, **change})["msg"].startswith(message)
    assert texts(units) == {}


def test_secrets_that_others_can_read_are_a_warning(
    succeed: Any, args: dict[str, Any], tmp_path: Path, warned: list[str]
) -> None:
    secrets = tmp_path / "environment"
    secrets.touch(0o600)
    succeed("schedule", {**args, "environment_file": str(secrets)})
    assert warned == []
    secrets.chmod(0o640)
    succeed("schedule", {**args, "environment_file": str(secrets)})
    assert warned == [f"{secrets} can be read by others than its owner; its mode should be 0600."]


def test_missing_options(fail: Any, units: Path) -> None:
    assert "subclients, ansible_playbook, directory" in fail("schedule", {"path": str(units)})["msg"]
