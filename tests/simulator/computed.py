# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fields whose value follows from other objects or from the run state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zlib import crc32

from .store import Obj, Ref, Store

RUNNING_STATES = ("RUNNING", "STOPPING", "SUSPENDED")


def on(obj: Obj) -> bool:
    """Whether the VM has a domain on its server."""
    return obj["vmRunState"] in RUNNING_STATES


def location(store: Store, repository: Ref | None, *, mounted: bool) -> str | None:
    """Where a repository lies: its mount point on a server, or device or export (row 22 of section 21)."""
    repo = store.find(repository)
    if repo is None:
        return None
    if mounted:
        return f"/OVS/Repositories/{repo.id}"
    fs = store.find(repo["fileSystemId"])
    if fs is None:
        return None
    if fs["storageElementId"] is not None:
        return str(fs["path"])
    servers = [store.find(ref) for ref in fs["fileServerIds"]]
    host = servers[0]["accessHost"] if servers and servers[0] else ""
    share = f"/{repo['sharePath']}" if repo["sharePath"] else ""
    return f"{host}:{fs['path']}{share}"


def disk_path(disk: Obj) -> str | None:
    """Path of a virtual disk or ISO below its repository."""
    if disk["repositoryId"] is None:
        return None
    folder = "ISOs" if disk.id.endswith(".iso") else "VirtualDisks"
    return f"/{folder}/{disk.id}"


def config_path(vm: Obj) -> str:
    """Path of vm.cfg below its repository (ovm-rest-api 8.2)."""
    folder = "Templates" if vm["vmRunState"] == "TEMPLATE" else "VirtualMachines"
    return f"/{folder}/{vm.id}/vm.cfg"


def _join(base: str | None, rest: str | None) -> str | None:
    return None if base is None or rest is None else base + rest


def _pool_vms(store: Store, pool: Obj) -> list[Ref]:
    return [vm.ref for vm in store.back("Vm", "serverPoolId", pool.ref)]


def _unassigned_vms(store: Store, pool: Obj) -> list[Ref]:
    found = []
    for vm in store.all("Vm"):
        repo = store.find(vm["repositoryId"])
        if vm["serverPoolId"] is not None or vm["vmRunState"] == "TEMPLATE" or repo is None:
            continue
        servers = [store.find(ref) for ref in repo["presentedServerIds"]]
        if any(server and server["serverPoolId"] == pool.ref for server in servers):
            found.append(vm.ref)
    return found


def _server_cluster(store: Store, server: Obj) -> Ref | None:
    pool = store.find(server["serverPoolId"])
    return pool["clusterId"] if pool else None


def _server_elements(store: Store, server: Obj) -> list[Ref]:
    initiators = {item.ref for item in store.back("StorageInitiator", "serverId", server.ref)}
    found = [p["storageElementId"] for p in store.all("StoragePath") if p["storageInitiatorId"] in initiators]
    return list(dict.fromkeys(found))


def _cluster_servers(store: Store, cluster: Obj) -> list[Ref]:
    return [server.ref for server in store.back("Server", "serverPoolId", cluster["serverPoolId"])]


def _domain(vm: Obj) -> int:
    return crc32(vm.id.encode()) % 89 + 1 if on(vm) else -1


def _policy(vm: Obj) -> str | None:
    return None if vm["vmRunState"] == "TEMPLATE" else vm["vmStartPolicy"]


COMPUTED: dict[tuple[str, str], Callable[[Store, Obj], Any]] = {
    ("ServerPool", "vmIds"): _pool_vms,
    ("ServerPool", "unassignedVmIds"): _unassigned_vms,
    ("Server", "clusterId"): _server_cluster,
    ("Server", "storageElementIds"): _server_elements,
    ("Cluster", "serverIds"): _cluster_servers,
    ("Vm", "sslVncPort"): lambda store, vm: str(6900 + _domain(vm)) if on(vm) else None,
    ("Vm", "sslTtyPort"): lambda store, vm: str(10000 + _domain(vm)) if on(vm) else None,
    ("Vm", "affinityGroupIds"): lambda store, vm: None if vm["vmRunState"] == "TEMPLATE" else [],
    ("Vm", "vmStartPolicy"): lambda store, vm: _policy(vm),
    ("Vm", "currentMemory"): lambda store, vm: vm["memory"] + 3 if on(vm) else -1,
    ("Vm", "currentCpuCount"): lambda store, vm: vm["cpuCount"] if on(vm) else -1,
    ("Vm", "currentDomainId"): lambda store, vm: _domain(vm),
    ("Vm", "vmConfigFileAbsolutePath"): lambda store, vm: _join(
        location(store, vm["repositoryId"], mounted=False), config_path(vm)
    ),
    ("Vm", "vmConfigFileMountedPath"): lambda store, vm: _join(
        location(store, vm["repositoryId"], mounted=True), config_path(vm)
    ),
    ("VirtualDisk", "path"): lambda store, disk: disk_path(disk),
    ("VirtualDisk", "absolutePath"): lambda store, disk: _join(
        location(store, disk["repositoryId"], mounted=False), disk_path(disk)
    ),
    ("VirtualDisk", "mountedPath"): lambda store, disk: _join(
        location(store, disk["repositoryId"], mounted=True), disk_path(disk)
    ),
}
