# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module backup_draft, and backup around it. What the passes store is tested in the transfer room."""

from __future__ import annotations

from typing import Any

import pytest
from unit.transfer.builders import RUN, Estate, vm_plan
from unit.vault.builders import MIB

PLAN = vm_plan(method="shutdown")


@pytest.fixture
def args(estate: Estate) -> dict[str, Any]:
    return {
        "vault": estate.vault.path,
        "plan": PLAN,
        "run_id": RUN,
        "repositories_path": str(estate.repositories),
    }


def test_life(succeed: Any, args: dict[str, Any], estate: Estate) -> None:
    foreseen = succeed("backup_draft", args, check_mode=True)
    assert foreseen == {"changed": True, "bytes_read": 0, "duration": 0.0, "notes": []}
    assert estate.vault.client_folders() == []
    first = succeed("backup_draft", args)
    assert (first.pop("duration") >= 0, first) == (True, {"changed": True, "bytes_read": 2 * MIB, "notes": []})
    nothing = {"changed": False, "bytes_read": 0, "duration": 0.0, "notes": []}
    assert succeed("backup_draft", args) == succeed("backup_draft", args, check_mode=True) == nothing
    estate.change(0, 0, b"changed")
    second = succeed("backup", {**args, "publish": False, "time_limit": 600})
    assert (second["changed"], second["recovery_point"], second["type"]) == (True, None, "full")
    assert succeed("backup", {**args, "publish": False})["changed"] is False
    tree = estate.tree
    finish = {**args, "state": "published"}
    assert succeed("backup_draft", finish, check_mode=True) == {
        "changed": True, "recovery_point": None, "duration": 0.0,
    }  # fmt: skip
    assert estate.tree == tree
    published = succeed("backup_draft", finish)
    assert published["changed"] is True
    assert published["recovery_point"] == estate.client.point().as_dict()
    again = {**published, "changed": False, "duration": 0.0}
    assert succeed("backup_draft", finish) == succeed("backup_draft", finish, check_mode=True) == again
    assert succeed("backup_draft", {**args, "state": "absent"}) == {"changed": False}


def test_absent(succeed: Any, args: dict[str, Any], estate: Estate) -> None:
    remove = {**args, "state": "absent"}
    assert succeed("backup_draft", remove) == {"changed": False}
    succeed("backup_draft", args)
    tree = estate.tree
    assert succeed("backup_draft", remove, check_mode=True) == {"changed": True}
    assert estate.tree == tree
    assert succeed("backup_draft", remove) == {"changed": True}
    assert succeed("backup_draft", remove) == {"changed": False}
    assert estate.client.scan() == ([], [])


def test_time_limit(succeed: Any, fail: Any, args: dict[str, Any], estate: Estate) -> None:
    succeed("backup_draft", args)
    failed = fail("backup", {**args, "publish": False, "time_limit": 0})
    assert failed["failure"] == {"kind": "OutageLimitError", "seconds": 0.0}
    assert failed["msg"].startswith("The transfer was given up after 0 s, so that the VM can run again before")
    assert succeed("backup_draft", {**args, "state": "absent"}) == {"changed": False}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"plan": vm_plan()}, "a first pass is for VMs that are shut down"),
        ({"plan": {}}, "plan (one of the VMs that plan_info returns in plan.vms) has "),
        ({"run_id": "x"}, "'x' is not the id of a run"),
        ({"compression_level": 20}, "compression_level must be from 1 to 19, not 20"),
        ({"vault": "/nonexistent"}, "/nonexistent is not a vault"),
        ({"state": "published"}, "The vault "),
    ],
)
def test_wrong_input(fail: Any, args: dict[str, Any], estate: Estate, change: dict[str, Any], message: str) -> None:
    tree = estate.tree
    assert message in fail("backup_draft", {**args, **change})["msg"]
    assert estate.tree == tree
