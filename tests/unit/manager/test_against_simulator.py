# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Inventory and session against the simulator of the manager."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils import errors
from ansible_collections.ovm.backup.plugins.module_utils.manager.client import connect
from ansible_collections.ovm.backup.plugins.module_utils.manager.inventory import Inventory, Vm, read_inventory
from ansible_collections.ovm.backup.plugins.module_utils.manager.session import ConnectionSettings

MIB = 1 << 20


def named(inventory: Inventory, name: str) -> Vm:
    (found,) = (vm for vm in inventory.vms.values() if vm.name == name)
    return found


def disks(inventory: Inventory, name: str) -> list[tuple[Any, ...]]:
    repositories = {key: item.name for key, item in inventory.repositories.items()}
    return [
        (disk.slot, disk.kind, disk.name, disk.size, repositories.get(disk.repository_id or ""), disk.shared)
        for disk in named(inventory, name).disks
    ]


def test_inventory(simulator: Any, connected: Any) -> None:
    found = read_inventory(connected)
    assert sorted(vm.name for vm in found.vms.values()) == [
        "db01", "edge $(x)/1", "files01", "rac01", "rac02", "template1",
    ]  # fmt: skip
    assert disks(found, "db01") == [
        (0, "virtual", "db01-sys", 4 * MIB, "repo-iscsi", False),
        (1, "virtual", "db01-data", 2 * MIB, "repo-iscsi", False),
        (2, "cdrom", "install.iso", MIB, "repo-iscsi", True),
    ]
    assert disks(found, "rac01") == [
        (0, "virtual", "rac01-sys", 2 * MIB, "repo-iscsi", False),
        (1, "physical", "rac01-asm1", 100 << 30, None, False),
        (2, "virtual", "rac-vote", 2 * MIB, "repo-iscsi", True),
    ]
    assert disks(found, "rac02") == [
        (0, "virtual", "rac02-sys", 2 * MIB, "repo-fc", False),
        (2, "virtual", "rac-vote", 2 * MIB, "repo-iscsi", True),
    ]
    assert [(disk.kind, disk.id) for disk in named(found, "edge $(x)/1").disks][1] == ("cdrom", "EMPTY_CDROM")
    db01 = named(found, "db01")
    assert (db01.state, db01.memory, db01.cpu_count, db01.tags) == ("RUNNING", 4096, 2, ("database", "gold"))
    assert (db01.domain_type, db01.os_type, db01.description) == (
        "XEN_HVM_PV_DRIVERS", "Oracle Linux 7", "Order database",
    )  # fmt: skip
    assert len(db01.nics) == 1 and db01.nics[0].network_id == "10238073c2"
    assert named(found, "template1").is_template and not db01.is_template
    assert list(db01.document) == ["vm", "disk_mappings", "virtual_disks", "virtual_nics"]
    assert [len(db01.document[key]) for key in ("disk_mappings", "virtual_disks", "virtual_nics")] == [3, 3, 1]


def test_storage_repositories(simulator: Any, connected: Any) -> None:
    found = read_inventory(connected)
    described = {item.name: (item.file_system, item.transport, item.thin_clone) for item in found.repositories.values()}
    assert described == {
        "repo-iscsi": ("ocfs2", "iscsi", True),
        "repo-fc": ("ocfs2", "fibre_channel", True),
        "repo-local": ("ocfs2", "local", True),
        "repo-nfs": ("nfs", "nfs", False),
    }
    (server,) = found.servers.values()
    assert (server.name, server.ip_address, server.running, server.maintenance) == (
        "ovs1.example.com", "192.0.2.11", True, False,
    )  # fmt: skip
    assert all(item.server_ids == (server.id,) for item in found.repositories.values())
    assert list(found.server_pools.values()) == ["pool1"]


def test_paths_lead_to_the_files(simulator: Any, connected: Any) -> None:
    found = read_inventory(connected)
    for vm in found.vms.values():
        assert (simulator.repositories / f"{vm.repository_id}{vm.config_path}").is_file()
        for disk in vm.disks:
            if disk.kind == "virtual":
                assert (simulator.repositories / f"{disk.repository_id}{disk.path}").stat().st_size == disk.size


def test_reading_writes_nothing_and_costs_the_same_for_any_number_of_vms(simulator: Any, connected: Any) -> None:
    simulator.read_only()
    read_inventory(connected)
    calls = simulator.calls()
    assert {call["method"] for call in calls} == {"GET"}
    assert len(calls) == len({call["path"] for call in calls}) == 14  # and GET /Manager, when it connected


def test_manager_of_3_3(simulator: Any, connected: Any) -> None:
    simulator.set_switch("version", "3.3")
    connected.info()
    found = read_inventory(connected)
    assert found.manager_version.startswith("3.3.")
    db01 = named(found, "db01")
    assert db01.config_path == f"/VirtualMachines/{db01.id}/vm.cfg"
    assert db01.disks[0].path == f"/VirtualDisks/{db01.disks[0].id}"
    assert "vmConfigFileMountedPath" not in db01.document["vm"]


def test_lost_session_is_taken_up_again(simulator: Any, connected: Any) -> None:
    connected.list("Vm")
    simulator.expire_sessions()
    assert len(connected.list("Vm")) == 6
    assert [call["status"] for call in simulator.calls()] == [200, 401, 200]


def test_wrong_password(simulator: Any) -> None:
    settings = ConnectionSettings(simulator.url, simulator.user, "wrong-Passw0rd", ca_path=simulator.ca)
    with pytest.raises(errors.AuthenticationError) as caught, connect(settings):
        pass
    assert "wrong-Passw0rd" not in str(caught.value)
    assert len(simulator.calls()) == 1


def test_reads_survive_resets(simulator: Any, connected: Any) -> None:
    simulator.fault("reset", method="GET", path="/Vm", times=3)
    assert len(connected.list("Vm")) == 6


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("html_500", errors.ManagerResponseError), ("not_json", errors.ManagerResponseError)],
)
def test_strange_answers(simulator: Any, connected: Any, fault: str, kind: Any) -> None:
    simulator.fault(fault, method="GET", path="/Vm")
    with pytest.raises(kind):
        connected.list("Vm")


def test_missing_object(simulator: Any, connected: Any) -> None:
    with pytest.raises(errors.NotFoundError):
        connected.get("Vm", "0004fb00000600000000000000000000")


def test_modify_gets_over_stale_generations_and_locks(simulator: Any, connected: Any) -> None:
    vm_id = simulator.find("Vm", "rac02")["id"]["value"]
    simulator.fault("stale_generation", method="PUT", path="/Vm/*", times=2)
    simulator.fault("locked", method="PUT", path="/Vm/*", times=2, skip=2)
    connected.modify("Vm", vm_id, {"description": "changed"})
    assert simulator.find("Vm", "rac02")["description"] == "changed"
    connected.modify("Vm", vm_id, {"description": ""})


def test_read_only_manager_refuses_writes(simulator: Any, connected: Any) -> None:
    simulator.read_only()
    vm_id = simulator.find("Vm", "db01")["id"]["value"]
    with pytest.raises(errors.ManagerError):
        connected.run("PUT", "Vm", vm_id, "stop")
    assert simulator.running_vms() >= {"db01"}
