# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Everything on the manager that a backup has to know, read at once (ovm-rest-api 14.1).

One list call per type, joined in memory by id: the cost does not depend on the number of VMs. Names are not unique
(ovm-rest-api 3.3), so nothing is keyed by name. Nothing is written.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import NotFoundError
from .objects import (
    by_id,
    flag,
    number,
    object_id,
    object_name,
    optional_text,
    reference,
    references,
    relative_path,
    text,
)
from .storage import StorageMap, StorageRepository

if TYPE_CHECKING:
    from .client import ManagerClient

__all__ = ["Disk", "Inventory", "Nic", "Server", "StorageRepository", "Vm", "read_inventory"]

EMPTY_CDROM = "EMPTY_CDROM"  # id of a CD drive without a medium (ovm-rest-api 3.3)

Item = Mapping[str, Any]


@dataclass(frozen=True)
class Server:
    """A physical host of VMs."""

    id: str
    name: str
    ip_address: str
    running: bool
    maintenance: bool
    hostname: str = ""
    server_pool_id: str | None = None


@dataclass(frozen=True)
class Disk:
    """What is mapped in a slot of a VM. C(size) is bytes."""

    slot: int
    mapping_id: str
    kind: str  # "virtual" | "physical" | "cdrom"
    id: str
    name: str
    size: int | None
    repository_id: str | None
    path: str | None  # relative to the repository, "/VirtualDisks/<id>.img"
    shared: bool  # mapped to more than one VM, or shareable


@dataclass(frozen=True)
class Nic:
    """A virtual network card."""

    id: str
    mac: str | None
    network_id: str | None


@dataclass(frozen=True)
class Vm:
    """A virtual machine or template. C(memory) is MiB; C(state) is the manager's vmRunState (ovm-rest-api 9.1)."""

    id: str
    name: str
    state: str
    domain_type: str
    os_type: str
    memory: int
    cpu_count: int
    description: str
    locked: bool
    repository_id: str | None  # where vm.cfg lives; disks may be elsewhere
    server_id: str | None
    server_pool_id: str | None
    tags: tuple[str, ...]  # names of the USER_LABEL resource groups, sorted
    disks: tuple[Disk, ...]  # sorted by slot
    nics: tuple[Nic, ...]
    config_path: str | None  # of vm.cfg relative to its repository
    document: dict[str, Any]  # vm, disk_mappings, virtual_disks, virtual_nics as the manager sent them

    @property
    def is_template(self) -> bool:
        """Whether it is a template, which can be neither started nor backed up (ovm-rest-api 2.2)."""
        return self.state == "TEMPLATE"


@dataclass(frozen=True)
class Inventory:
    """The manager's objects at one time. C(taken_at) is epoch seconds by the manager's clock."""

    manager_id: str
    manager_version: str
    taken_at: float
    vms: dict[str, Vm]
    repositories: dict[str, StorageRepository]
    servers: dict[str, Server]
    server_pools: dict[str, str]  # id -> name


def read_inventory(client: ManagerClient) -> Inventory:
    """Read the whole inventory. Raises the manager's errors; unknown values and missing fields are tolerated."""
    manager = client.manager
    server_pools = {object_id(item): object_name(item) for item in client.list("ServerPool")}
    servers = {server.id: server for server in map(_server, client.list("Server"))}
    repositories = client.list("Repository")
    storage = StorageMap(
        file_systems=client.list("FileSystem"),
        file_servers=client.list("FileServer"),
        plugins=client.list("FileServerPlugin"),
        elements=client.list("StorageElement"),
        volume_groups=client.list("VolumeGroup"),
        arrays=client.list("StorageArray"),
    )
    vms = client.list("Vm")  # before its parts: what is created while we read is then missing as a whole
    parts = _Parts(client, storage)
    taken = number(manager, "managerTime")  # milliseconds
    return Inventory(
        manager_id=text(manager, "managerUuid") or object_id(manager),
        manager_version=text(manager, "managerVersion"),
        taken_at=taken / 1000.0 if taken is not None else time.time(),
        vms={vm.id: vm for vm in (parts.vm(item) for item in vms)},
        repositories={found.id: found for found in map(storage.repository, repositories)},
        servers=servers,
        server_pools=server_pools,
    )


def _server(item: Item) -> Server:
    return Server(
        id=object_id(item),
        name=object_name(item),
        ip_address=text(item, "ipAddress"),
        running=text(item, "serverRunState") == "RUNNING",
        maintenance=flag(item, "maintenanceMode"),
        hostname=text(item, "hostname"),
        server_pool_id=reference(item, "serverPoolId"),
    )


class _Parts:
    """Mappings, disks, NICs and tags of all VMs, joined by id."""

    def __init__(self, client: ManagerClient, storage: StorageMap) -> None:
        self._client = client
        self._storage = storage
        self._mappings = dict(by_id(client.list("VmDiskMapping")))
        self._disks = dict(by_id(client.list("VirtualDisk")))
        self._nics: dict[str, list[Item]] = {}
        for nic in sorted(client.list("VirtualNic"), key=object_id):
            self._nics.setdefault(reference(nic, "vmId") or "", []).append(nic)
        self._tags: dict[str, set[str]] = {}
        self._labels: dict[str, str] = {}
        for group in client.list("ResourceGroup"):
            if text(group, "type") == "USER_LABEL":
                self._labels[object_id(group)] = object_name(group)
                for resource in references(group, "resourceIds"):
                    self._tags.setdefault(resource, set()).add(object_name(group))
        self._mapped: dict[str, set[str]] = {}  # disk or LUN id -> ids of the VMs that it is mapped to
        self._of_vm: dict[str, dict[str, Item]] = {}
        for mapping_id, mapping in self._mappings.items():
            vm_id = reference(mapping, "vmId") or ""
            self._of_vm.setdefault(vm_id, {})[mapping_id] = mapping
            target = reference(mapping, "virtualDiskId") or reference(mapping, "storageElementId")
            if target:
                self._mapped.setdefault(target, set()).add(vm_id)

    def vm(self, item: Item) -> Vm:
        vm_id = object_id(item)
        mappings = self._mappings_of(item)
        disks = tuple(
            sorted((self._disk(mapping) for mapping in mappings), key=lambda disk: (disk.slot, disk.mapping_id))
        )
        nics = self._nics.get(vm_id, [])
        labels = {self._labels[group] for group in references(item, "resourceGroupIds") if group in self._labels}
        virtual = [disk.id for disk in disks if disk.kind != "physical" and disk.id in self._disks]
        return Vm(
            id=vm_id,
            name=object_name(item),
            state=text(item, "vmRunState"),
            domain_type=text(item, "vmDomainType"),
            os_type=text(item, "osType"),
            memory=number(item, "memory") or 0,
            cpu_count=number(item, "cpuCount") or 0,
            description=text(item, "description"),
            locked=flag(item, "locked"),
            repository_id=reference(item, "repositoryId"),
            server_id=reference(item, "serverId"),
            server_pool_id=reference(item, "serverPoolId"),
            tags=tuple(sorted(labels | self._tags.get(vm_id, set()))),
            disks=disks,
            nics=tuple(
                Nic(id=object_id(nic), mac=optional_text(nic, "macAddress"), network_id=reference(nic, "networkId"))
                for nic in nics
            ),
            config_path=config_path(item),
            document={
                "vm": dict(item),
                "disk_mappings": [dict(self._mappings[disk.mapping_id]) for disk in disks],
                "virtual_disks": [dict(self._disks[disk_id]) for disk_id in virtual],
                "virtual_nics": [dict(nic) for nic in nics],
            },
        )

    def _mappings_of(self, vm: Item) -> list[Item]:
        """Return the mappings of a VM; one that came into being between two list calls is fetched.

        Without this a disk could be missing from a backup without anybody noticing.
        """
        found = dict(self._of_vm.get(object_id(vm), {}))
        for mapping_id in references(vm, "vmDiskMappingIds"):
            if mapping_id not in self._mappings:
                try:
                    self._mappings[mapping_id] = found[mapping_id] = self._client.get("VmDiskMapping", mapping_id)
                except NotFoundError:
                    continue  # unmapped in between
        return list(found.values())

    def _disk(self, mapping: Item) -> Disk:
        slot, element_id = number(mapping, "diskTarget"), reference(mapping, "storageElementId")
        disk_id = reference(mapping, "virtualDiskId") or ""
        if element_id and not disk_id:
            element = self._storage.element(element_id) or {}
            return Disk(
                slot=slot if slot is not None else -1,
                mapping_id=object_id(mapping),
                kind="physical",
                id=element_id,
                name=object_name(element),
                size=number(element, "size"),
                repository_id=None,
                path=None,
                shared=flag(element, "shareable") or len(self._mapped.get(element_id, ())) > 1,
            )
        item = self._virtual_disk(disk_id)
        repository_id = reference(item, "repositoryId")
        return Disk(
            slot=slot if slot is not None else -1,
            mapping_id=object_id(mapping),
            kind=disk_kind(disk_id, item),
            id=disk_id,
            name=object_name(item),
            size=number(item, "size"),
            repository_id=repository_id,
            path=disk_path(disk_id, item),
            shared=flag(item, "shareable") or len(self._mapped.get(disk_id, ())) > 1,
        )

    def _virtual_disk(self, disk_id: str) -> Item:
        if disk_id and disk_id != EMPTY_CDROM and disk_id not in self._disks:
            try:
                self._disks[disk_id] = self._client.get("VirtualDisk", disk_id)
            except NotFoundError:
                return {}
        return self._disks.get(disk_id, {})


def disk_kind(disk_id: str, item: Item) -> str:
    """Tell a virtual disk from a virtual CD (ovm-rest-api 10.1). Doubt counts as a disk: it must not get lost."""
    if disk_id == EMPTY_CDROM or disk_id.endswith(".iso") or text(item, "diskType") == "VIRTUAL_CDROM":
        return "cdrom"
    return "virtual"


def disk_path(disk_id: str, item: Item) -> str | None:
    """Return the path of a virtual disk in its repository; 3.3 and 3.4 both send C(path) (ovm-rest-api 10.2)."""
    repository_id = reference(item, "repositoryId")
    if repository_id is None:
        return None
    given = text(item, "path") or text(item, "mountedPath")
    if not given and disk_id.endswith(".img") and "/" not in disk_id:
        given = f"/VirtualDisks/{disk_id}"  # the layout of every repository (ovm-rest-api 8.2)
    return relative_path(given, repository_id)


def config_path(vm: Item) -> str | None:
    """Return the path of vm.cfg in the VM's repository; before 3.4 the manager does not tell, the layout does (8.2)."""
    repository_id, vm_id = reference(vm, "repositoryId"), object_id(vm)
    if repository_id is None or not vm_id or "/" in vm_id:
        return None
    folder = "Templates" if text(vm, "vmRunState") == "TEMPLATE" else "VirtualMachines"
    told = relative_path(optional_text(vm, "vmConfigFileMountedPath"), repository_id)
    return told or f"/{folder}/{vm_id}/vm.cfg"
