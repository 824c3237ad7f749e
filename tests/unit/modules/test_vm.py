# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules vm and vm_disk_mapping against the simulator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from simulator.testing import Simulator

RUN = "restore-1"


def id_of(simulator: Simulator, kind: str, name: str) -> str:
    return str(simulator.find(kind, name)["id"]["value"])


@pytest.fixture
def disks(succeed: Any, manager: dict[str, Any], simulator: Simulator) -> Iterator[list[str]]:
    """Two virtual disks of a restore."""
    place = {
        **manager,
        "run_id": RUN,
        "vm_id": id_of(simulator, "Vm", "db01"),
        "repository_id": id_of(simulator, "Repository", "repo-iscsi-1"),
    }
    made = [succeed("virtual_disk", {**place, "name": name, "size": 4096})["virtual_disk"]["id"] for name in "ab"]
    yield made
    succeed("virtual_disk", {**manager, "run_id": RUN, "state": "absent"})
    assert not set(made) & {disk["id"]["value"] for disk in simulator._get("/VirtualDisk")}


@pytest.fixture
def args(manager: dict[str, Any], simulator: Simulator, disks: list[str]) -> dict[str, Any]:
    return {
        **manager,
        "run_id": RUN,
        "name": "again",
        "source_vm_id": id_of(simulator, "Vm", "db01"),
        "definition": {
            "vmDomainType": "XEN_HVM_PV_DRIVERS",
            "memory": 2048,
            "memoryLimit": 2048,
            "cpuCount": 2,
            "cpuCountLimit": 2,
            "osType": "Oracle Linux 7",
            "repositoryId": id_of(simulator, "Repository", "repo-iscsi-1"),
            "serverPoolId": id_of(simulator, "ServerPool", "pool1"),
            "serverId": None,
        },
        "disks": [{"slot": 0, "virtual_disk_id": disks[0]}, {"slot": 3, "virtual_disk_id": disks[1]}],
        "nics": [{"network_id": "10238073c2", "mac": "00:21:f6:00:00:01"}, {"network_id": "10238073c2"}],
    }


def test_a_vm_is_made_once_changed_and_removed(
    succeed: Any, foresee: Any, fail: Any, args: dict[str, Any], manager: dict[str, Any], simulator: Simulator
) -> None:
    assert foresee("vm", args) == {"changed": True, "vm": None}
    made = succeed("vm", args)
    vm = made["vm"]
    assert made["changed"]
    generated = vm["nics"][1]["mac"]
    assert vm == {
        "id": vm["id"],
        "name": "again",
        "state": "STOPPED",
        "run_id": RUN,
        "disks": args["disks"],
        "nics": [
            {"mac": "00:21:f6:00:00:01", "network_id": "10238073c2"},
            {"mac": generated, "network_id": "10238073c2"},
        ],
    }
    shown = simulator._get(f"/Vm/{vm['id']}")
    assert (shown["memory"], shown["cpuCount"], shown["osType"]) == (2048, 2, "Oracle Linux 7")
    assert succeed("vm", args) == {"changed": False, "vm": vm}

    change = {**manager, "run_id": RUN, "vm_id": vm["id"], "definition": {"memory": 1024}}
    assert foresee("vm", change)["changed"]
    assert succeed("vm", change)["changed"]
    assert simulator._get(f"/Vm/{vm['id']}")["memory"] == 1024
    assert not succeed("vm", change)["changed"]

    simulator.set_state("again", "RUNNING")
    absent = {**manager, "run_id": RUN, "state": "absent"}
    assert "is RUNNING: stop it" in fail("vm", absent)["msg"]
    simulator.set_state("again", "STOPPED")
    assert foresee("vm", absent) == {"changed": True, "vm": None}
    assert succeed("vm", absent)["changed"]
    assert not succeed("vm", absent)["changed"]


def test_a_vm_that_was_interrupted_is_finished(
    succeed: Any, fail: Any, args: dict[str, Any], simulator: Simulator
) -> None:
    simulator.job_fault("nic.create", error_type="SERVER", skip=1)
    assert "SERVER" in str(fail("vm", args))
    simulator.clear_faults()
    made = succeed("vm", args)
    assert made["changed"]
    assert (len(made["vm"]["disks"]), len(made["vm"]["nics"])) == (2, 2)
    assert succeed("vm", {**args, "state": "absent", "name": None, "source_vm_id": None})["changed"]


def test_a_released_vm_stays(succeed: Any, args: dict[str, Any], manager: dict[str, Any], simulator: Simulator) -> None:
    vm_id = succeed("vm", args)["vm"]["id"]
    released = {**manager, "run_id": RUN, "vm_id": vm_id, "state": "released"}
    assert succeed("vm", released)["vm"]["run_id"] is None
    assert not succeed("vm", released)["changed"]
    assert not succeed("vm", {**manager, "run_id": RUN, "state": "absent"})["changed"]
    simulator.delete_vm("again", disks=False)
    # As for a virtual disk that is gone.
    assert succeed("vm", released) == {"changed": False, "vm": None}


def test_slots_are_filled_and_emptied(
    succeed: Any,
    foresee: Any,
    fail: Any,
    args: dict[str, Any],
    manager: dict[str, Any],
    disks: list[str],
    simulator: Simulator,
) -> None:
    vm_id = succeed("vm", {**args, "disks": []})["vm"]["id"]
    slot = {**manager, "vm_id": vm_id, "slot": 1}
    first = {**slot, "virtual_disk_id": disks[0]}
    assert foresee("vm_disk_mapping", first) == {"changed": True, "previous": {"virtual_disk_id": None}}
    assert succeed("vm_disk_mapping", first)["changed"]
    assert not succeed("vm_disk_mapping", first)["changed"]
    # The old one is there again when the new one cannot be mapped.
    simulator.job_fault("mapping.create", error_type="SERVER")
    assert "SERVER" in str(fail("vm_disk_mapping", {**slot, "virtual_disk_id": disks[1]}))
    assert not succeed("vm_disk_mapping", first)["changed"]
    replaced = succeed("vm_disk_mapping", {**slot, "virtual_disk_id": disks[1]})
    assert replaced == {"changed": True, "previous": {"virtual_disk_id": disks[0]}}
    simulator.set_state("again", "RUNNING")
    assert "only while it is stopped" in fail("vm_disk_mapping", slot)["msg"]
    simulator.set_state("again", "STOPPED")
    assert succeed("vm_disk_mapping", slot) == {"changed": True, "previous": {"virtual_disk_id": disks[1]}}
    assert not succeed("vm_disk_mapping", slot)["changed"]
    assert succeed("vm", {**manager, "run_id": RUN, "state": "absent"})["changed"]


@pytest.mark.parametrize("name", ["disks", "nics"])
def test_an_existing_vm_gets_settings_only(
    fail: Any, args: dict[str, Any], manager: dict[str, Any], simulator: Simulator, name: str
) -> None:
    before = len(simulator.calls(writing=True))
    vm_id = id_of(simulator, "Vm", "files01")
    found = fail("vm", {**manager, "run_id": RUN, "vm_id": vm_id, "definition": {}, name: args[name]})
    assert found["msg"] == f"parameters are mutually exclusive: {name}|vm_id"
    assert len(simulator.calls(writing=True)) == before
