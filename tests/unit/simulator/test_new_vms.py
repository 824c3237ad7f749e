# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""VMs that are made from nothing: what the manager makes of the request, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

MODEL = "com.oracle.ovm.mgr.ws.model."


@pytest.fixture
def body(client: Any) -> dict[str, Any]:
    return {
        "name": "db01",  # names need not be unique
        "description": "made",
        "vmDomainType": "XEN_HVM",
        "memory": 2048,
        "repositoryId": client.ref("Repository", "repo-nfs-1"),
        "serverPoolId": client.ref("ServerPool", "pool1"),
        "serverId": client.ref("Server", "ovs1.example.com"),
    }


def test_a_vm_is_made_changed_and_deleted(client: Any, body: dict[str, Any]) -> None:
    vm_id = client.done("POST", "/Vm", body)
    vm = client.get(f"/Vm/{vm_id}")
    assert (vm["name"], vm["vmRunState"], vm["memory"], vm["description"]) == ("db01", "STOPPED", 2048, "made")
    assert (vm["vmDiskMappingIds"], vm["virtualNicIds"], vm["serverId"]["value"]) == ([], [], body["serverId"]["value"])
    config = client.simulator.repositories / vm["vmConfigFileMountedPath"].removeprefix("/OVS/Repositories/")
    assert "memory = 2048" in config.read_text(encoding="utf-8")
    client.done("PUT", f"/Vm/{vm_id}", {**vm, "memory": 1024})
    stale = {**vm, "memory": 512}
    assert client.refused("PUT", f"/Vm/{vm_id}", stale) == (409, "GEN_000011")
    assert client.get(f"/Vm/{vm_id}")["memory"] == 1024
    client.simulator.set_state(vm_id, "RUNNING")
    assert client.failed("DELETE", f"/Vm/{vm_id}")[0] == "RULE"
    client.simulator.set_state(vm_id, "STOPPED")
    client.done("DELETE", f"/Vm/{vm_id}")
    assert client.refused("GET", f"/Vm/{vm_id}") == (404, "GEN_000002")
    assert not config.exists()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"id": {"type": f"{MODEL}Vm", "value": "x"}}, (400, "GEN_000004")),
        ({"repositoryId": None}, (400, "GEN_000001")),
        ({"repositoryId": {"type": f"{MODEL}Repository", "value": "gone"}}, (404, "GEN_000002")),
        ({"repositoryId": {"type": f"{MODEL}ServerPool", "value": "x"}}, (400, "GEN_000018")),
        ({"serverPoolId": None, "serverId": None}, (400, "GEN_000001")),
        ({"vmRunState": "TEMPLATE"}, (400, "VM_000001")),
        ({"osType": "Plan 9"}, (400, "VM_000004")),
        ({"vmDomainType": "KVM"}, (400, "GEN_000023")),
        ({"memory": "much"}, (400, "GEN_000023")),
        ({"description": "x" * 4001}, (400, "GEN_000015")),
    ],
)
def test_what_is_refused(client: Any, body: dict[str, Any], changes: dict[str, Any], expected: tuple[int, str]) -> None:
    assert client.refused("POST", "/Vm", {**body, **changes}) == expected


def test_pools(client: Any, sample_client: Any, body: dict[str, Any]) -> None:
    sample = {
        "repositoryId": sample_client.ref("Repository", "repo-iscsi-1"),
        "serverPoolId": sample_client.ref("ServerPool", "prod-pool"),
        "serverId": sample_client.ref("Server", "ovs3.example.com"),
    }
    assert sample_client.refused("POST", "/Vm", sample) == (400, "VM_000002")
    vm_id = sample_client.id("Vm", "legacy01")
    assert sample_client.refused("PUT", f"/Vm/{vm_id}", {"serverId": sample["serverId"]}) == (400, "VM_000002")
    client.simulator.set_switch("create_vm_without_pool", "unassigned")
    vm_id = client.done("POST", "/Vm", {**body, "serverPoolId": None, "serverId": None})
    assert client.get(f"/Vm/{vm_id}")["serverId"] is None


def test_locks_and_faults(client: Any, body: dict[str, Any]) -> None:
    vm_id = client.done("POST", "/Vm", body)
    network = {"networkId": {"type": f"{MODEL}Network", "value": "10238073c2"}}
    job = client.submit("POST", f"/Vm/{vm_id}/VirtualNic", network)
    assert client.refused("POST", f"/Vm/{vm_id}/VirtualNic", network) == (409, "GEN_000029")
    client.simulator.finish(client.session, job)
    for leftovers, count in ((False, 4), (True, 5)):
        client.simulator.job_fault("vm.create", error_type="SERVER", leftovers=leftovers)
        assert client.failed("POST", "/Vm", body)[0] == "SERVER"
        assert len(client.get("/Vm")) == count
    client.simulator.set_server("ovs1.example.com", state="STOPPED")
    assert "WORKER_SERVER_000001" in client.failed("POST", "/Vm", body)[1]


def test_children_belong_to_the_vm_in_the_path(client: Any, body: dict[str, Any]) -> None:
    vm_id = client.done("POST", "/Vm", body)
    other = client.ref("Vm", "files01")
    network = {"networkId": {"type": f"{MODEL}Network", "value": "10238073c2"}, "vmId": other}
    assert client.refused("POST", f"/Vm/{vm_id}/VirtualNic", network) == (400, "GEN_000008")
    mapping = {"virtualDiskId": {"type": f"{MODEL}VirtualDisk", "value": "EMPTY_CDROM"}, "diskTarget": 0}
    path = f"/Vm/{vm_id}/VmDiskMapping"
    assert client.refused("POST", path, {**mapping, "vmId": other}) == (400, "GEN_000008")
    gone = {"type": f"{MODEL}VirtualDisk", "value": "gone.img"}
    assert client.refused("POST", path, {**mapping, "virtualDiskId": gone}) == (404, "GEN_000002")
    repository = client.id("Repository", "repo-nfs-1")
    disk = {"size": 4096, "repositoryId": client.ref("Repository", "repo-iscsi-1")}
    assert client.refused("POST", f"/Repository/{repository}/VirtualDisk", disk) == (400, "GEN_000008")
    for slot in range(4):
        client.done("POST", path, {**mapping, "diskTarget": slot})
    assert "at most 4 disks" in client.failed("POST", path, {**mapping, "diskTarget": 4})[1]
    client.simulator.set_switch("guest_limits", False)
    mapping_id = client.done("POST", path, {**mapping, "diskTarget": 4})
    client.simulator.set_state(vm_id, "RUNNING")
    client.simulator.set_switch("map_to_running_vm", "refuse")
    assert "OVMRU_005002E" in client.failed("DELETE", f"{path}/{mapping_id}")[1]
    client.simulator.set_switch("map_to_running_vm", "allow")
    client.done("DELETE", f"{path}/{mapping_id}")
