# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module vm_info."""

from __future__ import annotations

from typing import Any

import pytest
from unit.vault.builders import MIB

from simulator.testing import Simulator


def id_of(simulator: Simulator, type_: str, name: str) -> str:
    return str(simulator.find(type_, name)["id"]["value"])


def test_all_vms(foresee: Any, manager: dict[str, Any], simulator: Simulator) -> None:
    found = foresee("vm_info", manager)
    assert sorted(found) == ["changed", "manager", "vms"]
    assert found["changed"] is False
    assert found["manager"]["id"] == simulator.find("Manager", "OVM Manager")["managerUuid"]
    assert found["manager"]["version"] == simulator.find("Manager", "OVM Manager")["managerVersion"]
    assert [(vm["name"], vm["client"], vm["state"], vm["tags"]) for vm in found["vms"]] == [
        ("app 01", "app_01", "RUNNING", []),
        ("db01", "db01", "RUNNING", ["gold"]),
        ("files01", "files01", "STOPPED", []),
    ]
    files = found["vms"][2]
    repository, disk = id_of(simulator, "Repository", "repo-nfs-1"), id_of(simulator, "VirtualDisk", "files01-sys")
    mapping, mac = files["disks"][0].pop("mapping_id"), files["nics"][0].pop("mac")
    vm_id = id_of(simulator, "Vm", "files01")
    assert mapping.startswith("0004fb0000130000") and mac.startswith("00:21:f6:")
    assert files == {
        "id": vm_id,
        "name": "files01",
        "client": "files01",
        "state": "STOPPED",
        "is_template": False,
        "is_our_clone": False,
        "domain_type": "XEN_HVM",
        "os_type": "Other Linux",
        "memory": 1024,
        "cpu_count": 1,
        "description": "",
        "locked": False,
        "repository_id": repository,
        "server_id": id_of(simulator, "Server", "ovs1.example.com"),
        "server_pool_id": id_of(simulator, "ServerPool", "pool1"),
        "tags": [],
        "disks": [
            {
                "slot": 0,
                "kind": "virtual",
                "id": disk,
                "name": "files01-sys",
                "size": 4 * MIB,
                "repository_id": repository,
                "path": f"/VirtualDisks/{disk}",
                "shared": False,
            }
        ],
        "nics": [{"id": simulator.find("Vm", "files01")["virtualNicIds"][0]["value"], "network_id": "10238073c2"}],
        "config_path": f"/VirtualMachines/{vm_id}/vm.cfg",
    }
    assert [disk["kind"] for disk in found["vms"][1]["disks"]] == ["virtual", "virtual", "cdrom"]


def test_a_clone_that_has_no_mark_yet_is_ours(beside_a_new_clone: Any, manager: dict[str, Any]) -> None:
    found = beside_a_new_clone("vm_info", manager)
    assert [vm["name"] for vm in found["vms"] if vm["is_our_clone"]] == ["db01.0"]


def test_environment(succeed: Any, manager: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("url", "user", "password", "ca_path"):
        monkeypatch.setenv(f"OVM_{name.upper()}", manager[name])
    assert len(succeed("vm_info", {})["vms"]) == 3


def test_a_manager_that_is_not_well(fail: Any, manager: dict[str, Any], simulator: Simulator) -> None:
    simulator.fault("html_500", path="/Vm", times=0)
    failed = fail("vm_info", manager)
    assert (failed["failure"]["kind"], failed["failure"]["status"]) == ("ManagerResponseError", 500)
    simulator.clear_faults()
    simulator.fault("not_json", path="/Vm", times=0)
    assert fail("vm_info", manager)["failure"]["kind"] == "ManagerResponseError"
