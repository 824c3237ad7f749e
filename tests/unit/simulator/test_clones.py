# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cloning: naming, contents, and what is refused (ovm-rest-api 11)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from simulator.storage import copy_image

Clone = Callable[..., dict[str, Any]]


def disk_file(client: Any, disk: dict[str, Any]) -> Path:
    """Where the file of a disk lies, from the path that the manager tells."""
    mounted = disk["mountedPath"]
    assert mounted.startswith("/OVS/Repositories/")
    return Path(client.simulator.repositories / mounted.removeprefix("/OVS/Repositories/"))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def disks_of(client: Any, vm_id: str) -> dict[int, dict[str, Any]]:
    mappings = client.get(f"/Vm/{vm_id}/VmDiskMapping")
    return {m["diskTarget"]: client.get(f"/VmDiskMapping/{m['id']['value']}/VirtualDisk") for m in mappings}


def test_a_simple_hot_clone_has_all_virtual_disks_in_their_repositories(client: Any, clone: Clone) -> None:
    job = clone("db01")
    assert (job["jobRunState"], job["name"]) == ("SUCCESS", "Clone Vm: db01")
    assert job["resultId"]["name"] == "db01.0"
    made = client.get(f"/Vm/{job['resultId']['value']}")
    assert (made["vmRunState"], made["serverId"]["name"], made["generation"]) == ("STOPPED", "ovs1.example.com", 1)
    source, copies = disks_of(client, client.id("Vm", "db01")), disks_of(client, made["id"]["value"])
    assert {slot: disk["name"] for slot, disk in copies.items()} == {0: "db01-sys (2)", 1: "db01-data (2)"}
    assert source[2]["id"]["value"] == "EMPTY_CDROM"  # CD-ROM drives are not cloned
    for slot, disk in copies.items():
        assert disk["repositoryId"] == source[slot]["repositoryId"]
        assert disk["onDiskSize"] == source[slot]["onDiskSize"] > 0
        path = disk_file(client, disk)
        assert digest(path) == digest(disk_file(client, source[slot]))
        assert (path.stat().st_size, path.stat().st_mode & 0o777) == (disk["size"], 0o644)
        assert path.stat().st_blocks * 512 < disk["size"]


def test_names_take_the_lowest_free_number(client: Any, clone: Clone) -> None:
    names = [clone("app 01")["resultId"]["name"] for _unused in range(3)]
    assert names == ["app 01.0", "app 01.1", "app 01.2"]
    client.done("DELETE", f"/Vm/{client.id('Vm', 'app 01.1')}")
    again = clone("app 01")["resultId"]
    assert again["name"] == "app 01.1"
    assert disks_of(client, again["value"])[0]["name"] == "app01-sys (5)"  # the disk (3) outlived its VM


def test_only_mapped_disks_are_in_an_advanced_clone(client: Any, clone: Clone) -> None:
    vm_id = client.id("Vm", "db01")
    definition = client.done("POST", f"/Vm/{vm_id}/VmCloneDefinition", {"name": "d", "description": "x"})
    data = client.simulator.find("VirtualDisk", "db01-data")
    mapping = {"name": "m", "cloneType": "THIN_CLONE", "vmDiskMappingId": data["vmDiskMappingIds"][0]}
    mapping["repositoryId"] = {"value": data["repositoryId"]["value"], "type": data["repositoryId"]["type"]}
    client.done("POST", f"/VmCloneDefinition/{definition}/VmCloneStorageMapping", mapping)
    job = clone("db01", vmCloneDefinitionId=definition)
    made = client.get(f"/Vm/{job['resultId']['value']}")
    assert list(disks_of(client, made["id"]["value"])) == [1]
    assert made["virtualNicIds"] == []  # no network mapping, no NIC
    client.done("DELETE", f"/Vm/{vm_id}/VmCloneDefinition/{definition}")
    assert client.get("/VmCloneStorageMapping") == []
    assert client.get(f"/Vm/{vm_id}")["vmCloneDefinitionIds"] == []


def test_simple_clones_get_nics_with_new_macs(client: Any, clone: Clone) -> None:
    made = client.get(f"/Vm/{clone('db01')['resultId']['value']}")
    source = client.get(f"/Vm/{client.id('Vm', 'db01')}")
    assert len(made["virtualNicIds"]) == 1
    assert made["virtualNicIds"][0]["name"] != source["virtualNicIds"][0]["name"]
    client.simulator.set_switch("clone_nics", "never")
    assert client.get(f"/Vm/{clone('db01')['resultId']['value']}")["virtualNicIds"] == []


def test_a_running_vm_on_nfs_is_not_cloned_but_a_stopped_one_is(client: Any, clone: Clone) -> None:
    assert clone("files01")["jobRunState"] == "SUCCESS"
    client.simulator.set_state("files01", "RUNNING")
    job = clone("files01")
    assert job["jobRunState"] == "FAILURE"
    assert job["error"]["type"] == "RULE"
    text = "OVMRU_005002E Operation not allowed- Virtual Machine: files01, is not STOPPED. It is RUNNING. ["
    assert text in job["error"]["message"]
    client.simulator.set_switch("rule_violations", "http")
    pool = client.id("ServerPool", "pool1")
    path = f"/Vm/{client.id('Vm', 'files01')}/clone?serverPoolId={pool}"
    assert client.refused("PUT", path) == (409, "OVMRU_005002E")


def mapped_clone(client: Any, clone: Clone, name: str, disk: str, clone_type: str, repository: str) -> dict[str, Any]:
    vm_id = client.id("Vm", name)
    definition = client.done("POST", f"/Vm/{vm_id}/VmCloneDefinition", {"name": "d"})
    mapping = {
        "cloneType": clone_type,
        "vmDiskMappingId": client.simulator.find("VirtualDisk", disk)["vmDiskMappingIds"][0],
    }
    mapping["repositoryId"] = client.ref("Repository", repository)
    client.done("POST", f"/VmCloneDefinition/{definition}/VmCloneStorageMapping", mapping)
    return clone(name, vmCloneDefinitionId=definition)


def test_hot_clones_must_be_thin(client: Any, clone: Clone) -> None:
    job = mapped_clone(client, clone, "app 01", "app01-sys", "SPARSE_COPY", "repo-iscsi-1")
    assert (job["jobRunState"], job["error"]["type"]) == ("FAILURE", "RULE")
    assert "OVMRU_005002E" in job["error"]["message"]


def test_thin_clones_stay_in_their_repository(client: Any, clone: Clone) -> None:
    job = mapped_clone(client, clone, "app 01", "app01-sys", "THIN_CLONE", "repo-nfs-1")
    assert (job["jobRunState"], job["error"]["type"]) == ("FAILURE", "WS_API")
    assert "VM_CLONE_STORAGE_MAPPING_000000" in job["error"]["message"]


def test_the_target_can_be_checked_with_the_mapping(client: Any) -> None:
    client.simulator.set_switch("illegal_target_at", "mapping")
    disk = client.simulator.find("VirtualDisk", "app01-sys")
    definition = client.done("POST", f"/Vm/{client.id('Vm', 'app 01')}/VmCloneDefinition", {"name": "d"})
    mapping = {"cloneType": "THIN_CLONE", "vmDiskMappingId": disk["vmDiskMappingIds"][0]}
    mapping["repositoryId"] = client.ref("Repository", "repo-nfs-1")
    path = f"/VmCloneDefinition/{definition}/VmCloneStorageMapping"
    assert client.refused("POST", path, mapping) == (400, "VM_CLONE_STORAGE_MAPPING_000000")
    mapping["cloneType"] = "MAGIC"
    assert client.refused("POST", path, mapping) == (400, "CLONE_TYPE_000000")


def test_a_cold_copy_may_go_to_another_repository(client: Any, clone: Clone) -> None:
    client.simulator.set_state("app 01", "STOPPED")
    job = mapped_clone(client, clone, "app 01", "app01-sys", "SPARSE_COPY", "repo-nfs-1")
    disk = disks_of(client, job["resultId"]["value"])[0]
    assert disk["repositoryId"]["name"] == "repo-nfs-1"
    assert disk["absolutePath"].startswith("nfs01.example.com:/export/ovm/repo1/VirtualDisks/")
    assert digest(disk_file(client, disk)) == digest(
        disk_file(client, client.simulator.find("VirtualDisk", "app01-sys"))
    )


def test_suspended_and_changing_vms_are_not_cloned(client: Any, clone: Clone) -> None:
    for state in ("SUSPENDED", "STARTING", "STOPPING"):
        client.simulator.set_state("app 01", state)
        job = clone("app 01")
        assert job["jobRunState"] == "FAILURE"
        assert f"It is {state}." in job["error"]["message"]


def test_the_pool_belongs_into_the_query(client: Any) -> None:
    vm_id = client.id("Vm", "app 01")
    response = client.send("PUT", f"/Vm/{vm_id}/clone", {"serverPoolId": client.ref("ServerPool", "pool1")})
    assert response.status_code == 400
    assert response.json() == {
        "cause": None,
        "errorCode": "GEN_000001",
        "message": 'GEN_000001:The value for the argument "serverPoolId" was found to be null',
        "wsErrorCode": "GENERAL_NULL_ARGUMENT",
    }
    assert client.refused("PUT", f"/Vm/{vm_id}/clone?serverPoolId=nonesuch") == (404, "GEN_000002")


def test_a_template_from_a_vm(client: Any, clone: Clone) -> None:
    made = client.get(f"/Vm/{clone('app 01', createTemplate='True')['resultId']['value']}")
    assert (made["vmRunState"], made["serverPoolId"], made["serverId"]) == ("TEMPLATE", None, None)
    assert (made["affinityGroupIds"], made["vmStartPolicy"]) == (None, None)
    nic = client.get(f"/Vm/{made['id']['value']}/VirtualNic")[0]
    assert (nic["name"], nic["macAddress"]) == ("Template Vnic", None)
    assert "/Templates/" in made["vmConfigFileMountedPath"]
    assert client.refused("PUT", f"/Vm/{made['id']['value']}/start") == (400, "BUSINESS_MANAGER_000002")


def test_physical_disks_keep_simple_clones_from_working(sample_client: Any) -> None:
    client = sample_client
    pool, vm_id = client.id("ServerPool", "prod-pool"), client.id("Vm", "rac01")
    kind, message = client.failed("PUT", f"/Vm/{vm_id}/clone?serverPoolId={pool}")
    assert kind == "RULE"
    assert "is not STOPPED. It is RUNNING." in message
    disk = client.simulator.find("VirtualDisk", "rac01-sys")
    definition = client.done("POST", f"/Vm/{vm_id}/VmCloneDefinition", {"name": "d"})
    mapping = {"cloneType": "THIN_CLONE", "vmDiskMappingId": disk["vmDiskMappingIds"][0]}
    mapping["repositoryId"] = disk["repositoryId"]
    client.done("POST", f"/VmCloneDefinition/{definition}/VmCloneStorageMapping", mapping)
    made = client.done("PUT", f"/Vm/{vm_id}/clone?serverPoolId={pool}&vmCloneDefinitionId={definition}")
    assert list(disks_of(client, made)) == [0]


def test_nothing_is_left_of_a_clone_that_was_aborted(client: Any) -> None:
    before = [client.get("/Vm"), client.get("/VirtualDisk")]
    files = sorted(client.simulator.repositories.rglob("*.img"))
    path = f"/Vm/{client.id('Vm', 'db01')}/clone?serverPoolId={client.id('ServerPool', 'pool1')}"
    job = client.submit("PUT", path)
    client.simulator.advance(1)  # the disks are copied, the VM is not made yet
    assert len(client.get("/VirtualDisk")) == len(before[1]) + 2
    aborted = client.submit("PUT", f"/Job/{job['id']['value']}/abort")
    assert (aborted["jobRunState"], aborted["abortedByUser"]) == ("FAILURE", "admin")
    assert aborted["error"] == {"message": "Job aborted by user", "type": "ABORT"}
    after = [client.get("/Vm"), client.get("/VirtualDisk")]
    assert [[obj["id"] for obj in objects] for objects in after] == [[o["id"] for o in objects] for objects in before]
    assert sorted(client.simulator.repositories.rglob("*.img")) == files


def test_no_space_and_no_server(client: Any, clone: Clone) -> None:
    client.simulator.set_full("repo-iscsi-1")
    error = clone("app 01")["error"]
    assert error["type"] == "SERVER"
    assert error["message"].startswith(
        "OVMAPI_4010E Attempt to send command: storage_plugin_clone to server: ovs1.example.com failed. "
    )
    assert "No space left on device" in error["message"]
    client.simulator.set_full("repo-iscsi-1", False)
    client.simulator.set_server("ovs1.example.com", state="STOPPED")
    assert "WORKER_SERVER_000001" in clone("app 01")["error"]["message"]


def test_copies_keep_holes(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    with source.open("wb") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"x" * 4096)
    copy_image(source, target)
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_blocks == source.stat().st_blocks
