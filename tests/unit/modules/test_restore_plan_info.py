# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module restore_plan_info against the simulator and a vault."""

from __future__ import annotations

from typing import Any

import pytest
from unit.transfer.builders import Estate, disk, vm_plan
from unit.vault.builders import MIB

from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from simulator.testing import Simulator


@pytest.fixture
def args(manager: dict[str, Any], simulator: Simulator, estate: Estate) -> dict[str, Any]:
    """A recovery point of the simulator's db01."""
    vm = simulator.find("Vm", "db01")
    repository = simulator.find("Repository", "repo-iscsi-1")["id"]
    nics = [nic for nic in simulator._get("/VirtualNic") if nic["vmId"]["value"] == vm["id"]["value"]]
    disks = [{"id": {"value": "disk0.img"}, "repositoryId": repository}]
    plan = vm_plan(disk(0), vm_id=vm["id"]["value"], vm_name="db01")
    document = {"vm": vm, "virtual_disks": disks, "virtual_nics": nics, "disk_mappings": []}
    backup_vm(estate.vault, estate.request(plan, document=document))
    return {
        **manager,
        "vault": estate.vault.path,
        "client": "web_01",
        "repositories_path": str(simulator.repositories),
    }


def test_a_new_vm_is_planned(succeed: Any, args: dict[str, Any], simulator: Simulator) -> None:
    simulator.read_only()
    found = succeed("restore_plan_info", {**args, "name": "again", "mac": "auto"})
    assert sorted(found) == ["changed", "plan", "plan_summary"]
    assert found["changed"] is False
    assert found["plan_summary"][0].endswith(" to a new VM again: 1 disk, 2.0 MiB of data")
    plan = found["plan"]
    assert (plan["mode"], plan["name"], plan["vm_id"], plan["stop"], plan["start"]) == (
        "new",
        "again",
        None,
        False,
        False,
    )
    [only] = plan["disks"]
    assert (only["slot"], only["size"], only["needed"], only["repository"]) == (0, 2 * MIB, 2 * MIB, "repo-iscsi-1")
    assert (only["source"], only["server"], only["previous"]) == ("path", None, None)
    assert plan["needed"] == 2 * MIB
    [nic] = plan["nics"]
    assert (nic["network"], nic["mac"]) == ("vm-net", None)
    assert "gets a new address, for VM 'db01' has its own" in " ".join(plan["notes"])
    assert plan["definition"]["memory"] == simulator.find("Vm", "db01")["memory"]
    # The same restore has the same id, another one another.
    assert succeed("restore_plan_info", {**args, "name": "again"})["plan"]["run_id"] == plan["run_id"]
    assert succeed("restore_plan_info", {**args, "name": "other"})["plan"]["run_id"] != plan["run_id"]


def test_a_restore_in_place_is_planned(succeed: Any, args: dict[str, Any], simulator: Simulator) -> None:
    found = succeed("restore_plan_info", {**args, "mode": "in_place", "confirm": "db01", "stop": True})["plan"]
    vm_id = simulator.find("Vm", "db01")["id"]["value"]
    assert (found["vm_id"], found["stop"], found["start"], found["nics"]) == (vm_id, True, True, [])
    held = {disk["name"]: disk["id"]["value"] for disk in simulator._get("/VirtualDisk")}
    assert [disk["previous"] for disk in found["disks"]] == [held["db01-sys"]]


def test_a_disk_for_another_vm_is_planned(succeed: Any, args: dict[str, Any], simulator: Simulator) -> None:
    found = succeed("restore_plan_info", {**args, "mode": "attach", "vm": "files01", "slots": [0]})["plan"]
    vm_id = simulator.find("Vm", "files01")["id"]["value"]
    assert (found["vm_id"], found["stop"], found["definition"], found["nics"]) == (vm_id, False, {}, [])
    assert [(disk["slot"], disk["target_slot"], disk["previous"]) for disk in found["disks"]] == [(0, 1, None)]


@pytest.mark.parametrize(
    ("wishes", "vm"),
    [({"mode": "in_place", "confirm": "db01", "stop": True}, "db01"), ({"mode": "attach", "vm": "files01"}, "files01")],
    ids=["in_place", "attach"],
)
def test_a_restore_that_was_killed_after_the_exchange_is_gone_on_with(
    succeed: Any, args: dict[str, Any], manager: dict[str, Any], simulator: Simulator, wishes: dict[str, Any], vm: str
) -> None:
    state = simulator.find("Vm", vm)["vmRunState"]
    first = succeed("restore_plan_info", {**args, **wishes})["plan"]
    [disk] = first["disks"]
    run = {**manager, "run_id": first["run_id"]}
    disk_args = {name: disk[name] for name in ("name", "repository_id", "size", "purpose")}
    made = succeed("virtual_disk", {**run, **disk_args})["virtual_disk"]["id"]
    simulator.set_state(vm, "STOPPED")
    slot = {**manager, "vm_id": first["vm_id"], "slot": disk["target_slot"]}
    held = [disk["previous"]] if disk["previous"] else []
    succeed("vm_disk_mapping", {**slot, "virtual_disk_id": made, "expected": held})

    again = succeed("restore_plan_info", {**args, **wishes})["plan"]
    expected = {**first, "stop": False, "disks": [{**disk, "made": made, "held": made, "exchanged": True}]}
    assert again == expected
    assert again["start"] == again["was_running"] == (state == "RUNNING")

    succeed("vm_disk_mapping", {**slot, "virtual_disk_id": disk["previous"], "expected": [made]})
    assert succeed("virtual_disk", {**run, "state": "absent"})["changed"]
    simulator.set_state(vm, state)


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        ({}, ["there is a VM 'db01'", "pass another name, or mode: in_place"]),
        ({"mode": "in_place"}, ["pass its name in confirm, where nothing stands", "is RUNNING: stop it, or pass stop"]),
        ({"mode": "in_place", "name": "x"}, ["name: 'x' has no meaning for mode: in_place; it is for new"]),
        ({"stop": True}, ["stop: 'True' has no meaning for mode: new; it is for in_place and attach"]),
        ({"mode": "attach"}, ["vm is missing"]),
        ({"mode": "attach", "vm": "nobody"}, ["there is no VM 'nobody'"]),
        ({"mode": "attach", "vm": "app 01"}, ["VM 'app 01' is RUNNING"]),
        ({"slots": []}, ["slots must not be an empty list"]),
        ({"slots": [7], "name": "x"}, ["it has no disk in slot 7; it has 0"]),
        ({"name": "x", "mac": "keep"}, ["VM 'db01' has this address: pass mac: new or auto"]),
        ({"name": "x", "storage_repository": "repo-iscsi"}, ["no storage repository 'repo-iscsi' (did you mean"]),
        ({"name": "x", "server_pool": "p"}, ["there is no server pool 'p'"]),
        ({"name": "x", "server": "s"}, ["there is no server 's'"]),
        ({"name": "x", "mapping": {"networks": {"vm-net": "gone"}}}, ["there is no network 'gone'"]),
        ({"name": "x", "mapping": {"network": {}}}, ["mapping.network", "networks"]),
        ({"name": "x", "mapping": {"networks": {"a": 5}}}, ["mapping.networks.a", "must be a name or an id"]),
        ({"name": "x", "repositories_path": "/nowhere"}, ["nothing can be written there: the proxy does not see"]),
        ({"name": "x", "client": "nobody"}, ["no client 'nobody'"]),
        ({"name": "x", "point": "20200101T000000Z-0001"}, ["has no recovery point '20200101T000000Z-0001'"]),
    ],
)
def test_what_stands_in_the_way_is_named(
    fail: Any, args: dict[str, Any], changes: dict[str, Any], messages: list[str]
) -> None:
    found = fail("restore_plan_info", {**args, **changes})["msg"]
    for message in messages:
        assert message in found


def test_too_little_space_is_found(fail: Any, args: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.ovm.backup.plugins.modules import restore_plan_info

    monkeypatch.setattr(restore_plan_info, "data_sizes", lambda *_arguments: {0: 1 << 60})
    assert (
        f"{1 << 60} bytes of data are needed in storage repository"
        in fail("restore_plan_info", {**args, "name": "x"})["msg"]
    )
