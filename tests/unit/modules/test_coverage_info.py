# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module coverage_info. How a VM is judged is tested in the planning room."""

from __future__ import annotations

from typing import Any

import pytest
from unit.transfer.builders import Estate, ticking, vm_plan

from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from simulator.testing import Simulator

SUBCLIENTS = {
    "databases": {"content": [{"rules": [{"field": "name", "value": "db*"}]}], "max_age": "20h"},
    "none": {"content": [{"rules": [{"field": "name", "value": "nobody"}]}]},
}


@pytest.fixture
def args(manager: dict[str, Any], estate: Estate) -> dict[str, Any]:
    return {**manager, "vault": estate.vault.path, "subclients": SUBCLIENTS}


@pytest.fixture
def db01(estate: Estate, simulator: Simulator) -> str:
    """Make a recovery point of db01, long ago; return its id."""
    vm_id = simulator.find("Vm", "db01")["id"]["value"]
    plan = vm_plan(vm_id=vm_id, client="db01", vm_name="db01")
    return backup_vm(estate.vault, estate.request(plan), clock=ticking(1_600_000_000.0)).point.id


def states(result: dict[str, Any]) -> dict[str, str]:
    return {vm["vm_name"]: vm["state"] for vm in result["vms"]}


def test_report(foresee: Any, args: dict[str, Any], estate: Estate, simulator: Simulator, db01: str) -> None:
    before = estate.tree
    found = foresee("coverage_info", args)
    assert estate.tree == before
    assert found["changed"] is False
    assert found["manager"]["id"] == simulator.find("Manager", "OVM Manager")["managerUuid"]
    assert states(found) == {"app 01": "unprotected", "files01": "unprotected", "db01": "late"}
    assert [vm["newest_good"]["id"] if vm["newest_good"] else None for vm in found["vms"]] == [None, None, db01]
    assert found["vms"][2]["promised_age"] == 20 * 3600
    assert found["counts"] == {
        "unprotected": 2, "never": 0, "late": 1, "cannot": 0, "excluded": 0, "protected": 0, "template": 0,
    }  # fmt: skip
    assert found["subclient_warnings"] == [
        "subclient 'none': content[0].rules[0]: name equals 'nobody' matches no VM of the manager"
    ]
    assert found["summary"][0] == "Coverage of 3 VMs: 2 unprotected, 1 late"
    assert found["orphaned_clients"] == []


def test_a_clone_that_has_no_mark_yet_is_no_vm(beside_a_new_clone: Any, args: dict[str, Any]) -> None:
    found = beside_a_new_clone("coverage_info", args)
    assert (sorted(states(found)), found["our_clones"]) == (["app 01", "db01", "files01"], 1)


def test_grace(succeed: Any, args: dict[str, Any], db01: str) -> None:
    assert states(succeed("coverage_info", {**args, "grace": "999999999"}))["db01"] == "protected"


def test_vm_is_gone(succeed: Any, args: dict[str, Any], estate: Estate) -> None:
    manager_id = succeed("coverage_info", args)["manager"]["id"]
    backup_vm(estate.vault, estate.request(manager={"id": manager_id, "version": "3.4"}))
    found = succeed("coverage_info", args)
    assert [(gone["client"], gone["vm_name"]) for gone in found["orphaned_clients"]] == [("web_01", "web 01")]
    assert found["clients_of_other_managers"] == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"subclients": {"a": {}, "b": {"contents": []}}}, "subclient 'a': content: is missing"),
        ({"subclients": {"a": "all"}}, "subclient 'a': must be a mapping with the keys of a subclient, not the string"),
        ({"grace": "4 hours"}, "grace: the string '4 hours' is not a duration: a duration is "),
    ],
)
def test_bad_input_is_refused_before_anybody_is_asked(
    fail: Any, args: dict[str, Any], simulator: Simulator, changes: dict[str, Any], message: str
) -> None:
    failure = fail("coverage_info", {**args, **changes})
    assert failure["msg"].startswith(message)
    assert failure["failure"]["kind"] in ("SubclientError", "InvalidInputError")
    assert simulator.calls() == []


def test_no_vault(fail: Any, args: dict[str, Any], tmp_path: Any) -> None:
    assert fail("coverage_info", {**args, "vault": str(tmp_path / "no")})["failure"]["kind"] == "NotAVaultError"
