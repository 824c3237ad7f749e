# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sample estate holds what demo and tests count on."""

from __future__ import annotations

import re
from typing import Any

from simulator import guest


def storage_of(client: Any, repository_id: str) -> str:
    """``nfs`` or the storage type of the LUN below a repository, by the path of ovm-rest-api 8.6."""
    system = client.get(f"/Repository/{repository_id}/FileSystem")
    if system["storageElementId"] is None:
        server = client.get(f"/FileServer/{system['fileServerIds'][0]['value']}")
        assert server["fileServerType"] == "NETWORK"
        return "nfs"
    element = client.get(f"/StorageElement/{system['storageElementId']['value']}")
    array = client.get(f"/VolumeGroup/{element['volumeGroupId']['value']}/StorageArray")
    return str(array["storageType"]).lower()


def table(client: Any) -> dict[str, tuple[str, set[str]]]:
    """VM name -> state and kinds of storage."""
    storage = {item["value"]: storage_of(client, item["value"]) for item in client.get("/Repository/id")}
    disks = {item["id"]["value"]: item for item in client.get("/VirtualDisk")}
    mappings = client.get("/VmDiskMapping")
    rows = {}
    for vm in client.get("/Vm"):
        kinds = set()
        for mapping in mappings:
            if mapping["vmId"]["value"] != vm["id"]["value"]:
                continue
            if mapping["storageElementId"]:
                kinds.add("physical")
            elif (disk := disks[mapping["virtualDiskId"]["value"]])["diskType"] == "VIRTUAL_DISK":
                kinds.add(storage[disk["repositoryId"]["value"]])
        rows[vm["name"]] = (vm["vmRunState"], kinds)
    return rows


def test_it_has_every_role(sample_client: Any) -> None:
    rows = table(sample_client)
    kinds = list(rows.values())
    assert kinds.count(("RUNNING", {"iscsi"})) >= 3
    assert kinds.count(("RUNNING", {"fibrechannel"})) >= 1
    assert kinds.count(("RUNNING", {"nfs"})) >= 1
    assert rows["rac01"] == ("RUNNING", {"iscsi", "physical"})
    assert rows["split01"] == ("RUNNING", {"iscsi", "nfs"})
    assert rows["legacy01"] == ("STOPPED", {"iscsi"})
    assert rows["ol7-template"][0] == "TEMPLATE"
    assert rows["test.01 [dev]"] == ("RUNNING", {"local"})
    windows = sample_client.simulator.find("Vm", "Windows DC #1")
    assert (windows["osType"], windows["vmDomainType"]) == ("Microsoft Windows Server 2016", "XEN_HVM_PV_DRIVERS")


def test_two_names_collapse(sample_client: Any) -> None:
    names = [re.sub(r"[\s\\|`~!@#$%^&*+=<>?,{}():;'\"/]", "_", vm["name"]) for vm in sample_client.get("/Vm")]
    assert [name for name in names if names.count(name) > 1] == ["web_01", "web_01"]


def test_lists_of_servers_and_pools(sample_client: Any) -> None:
    servers = {item["name"]: item for item in sample_client.get("/Server")}
    assert {name: item["serverPoolId"]["name"] for name, item in servers.items()} == {
        "ovs1.example.com": "prod-pool",
        "ovs2.example.com": "prod-pool",
        "ovs3.example.com": "branch-pool",
    }
    assert servers["ovs3.example.com"]["clusterId"] is None
    assert "legacy01" in [vm["name"] for vm in servers["ovs1.example.com"]["vmIds"]]  # stopped ones too
    pools = {item["name"]: item for item in sample_client.get("/ServerPool")}
    assert [vm["name"] for vm in pools["prod-pool"]["unassignedVmIds"]] == ["old01"]
    assert pools["prod-pool"]["clusterId"]["value"] == pools["prod-pool"]["id"]["value"][-16:]
    listed = {vm["name"] for pool in pools.values() for vm in pool["vmIds"]}
    assert {"ol7-template", "old01"}.isdisjoint(listed)


def test_references_that_are_null(sample_client: Any) -> None:
    mappings = sample_client.get(f"/Vm/{sample_client.id('Vm', 'rac01')}/VmDiskMapping")
    physical = next(item for item in mappings if item["storageElementId"])
    path = f"/VmDiskMapping/{physical['id']['value']}"
    assert sample_client.get(path + "/StorageElement")["name"] == "rac01-asm1"
    response = sample_client.session.get(sample_client.simulator.url + path + "/VirtualDisk")
    assert (response.status_code, response.content) == (204, b"")


def test_disks_hold_files_of_their_guests(sample_client: Any) -> None:
    simulator = sample_client.simulator
    disk = simulator.find("VirtualDisk", "db01-data")
    image = simulator.repositories / disk["mountedPath"].removeprefix("/OVS/Repositories/")
    assert guest.read_file(image, "/etc/hostname") == b"db01-1\n"
    assert guest.list_files(image, "/var/log")["messages"] > 1 << 20
    assert image.stat().st_size == disk["size"] == 48 << 20
    assert image.stat().st_blocks * 512 < 20 << 20
