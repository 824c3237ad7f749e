# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The storage of an estate: arrays, LUNs, file systems, repositories (ovm-rest-api 8)."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

from .actions.storage import sync_mounts
from .platform_facts import (
    ARRAY,
    ELEMENT,
    NFS_PLUGIN,
    SCSI_PLUGIN,
    VOLUME_GROUP,
)
from .store import Obj, Ref, new_id
from .world import World

GIB = 1 << 30
ARRAYS = {
    "iscsi": ("Unmanaged iSCSI Storage Array", "ISCSI", "iSCSI Volume Group", "Generic_iSCSI_Volume_Group"),
    "fibre_channel": (
        "Unmanaged FibreChannel Storage Array",
        "FIBRECHANNEL",
        "FibreChannel Volume Group",
        "Generic_SAN_Volume_Group",
    ),
}


def fixed(*words: str) -> str:
    """16 hex digits that are the same in every run."""
    return hashlib.sha256("/".join(words).encode()).hexdigest()[:16]


def fixed_id(type_: str, *words: str, suffix: str = "") -> str:
    """An id that is the same in every run."""
    return new_id(type_, suffix, fixed(type_, *words))


class StorageParts:
    """Makes storage objects. ``servers``: the servers of the estate by name, all made already."""

    def __init__(self, world: World, manager_uuid: str, servers: dict[str, Ref]) -> None:
        self._world = world
        self._store = world.store
        self._manager_uuid = manager_uuid
        self._servers = servers
        self._groups: dict[str, Ref] = {}
        self._pages = 0
        for kind in ARRAYS:
            self._array(kind)

    def physical_disk(self, item: dict[str, Any]) -> Ref:
        """A LUN that VMs may use directly."""
        size, servers = int(item["size_gib"]) * GIB, list(self._servers.values())
        return self._element(item["storage"], item["name"], size, servers, bool(item.get("shareable", False))).ref

    def _array(self, kind: str) -> None:
        name, storage_type, group_name, on_array = ARRAYS[kind]
        iscsi = kind == "iscsi"
        array = self._store.add(
            "StorageArray",
            name,
            0,
            name=name,
            storageArrayPluginId=Ref("StorageArrayPlugin", SCSI_PLUGIN),
            defaultArray=True,
            storageType=storage_type,
            accessHosts=[] if iscsi else None,
            useChap=False if iscsi else None,
            **copy.deepcopy(ARRAY),
        )
        group = {"name": group_name, "nameOnArray": on_array, "storageArrayId": array.ref, **VOLUME_GROUP}
        self._groups[kind] = self._store.add("VolumeGroup", fixed_id("VolumeGroup", kind), 0, **group).ref

    def _element(self, kind: str, name: str, size: int, servers: list[Ref], shareable: bool = False) -> Obj:
        self._pages += 1
        page83 = f"3600601601234567890abcdef{self._pages:08}"
        local = kind == "local"
        owner = self._store.get(*servers[0])
        group = Ref("VolumeGroup", fixed_id("VolumeGroup", owner.name)) if local else self._groups[kind]
        if local:
            page83 = f"OVM_SYS_REPO_PART_{page83}"
        element = self._store.add(
            "StorageElement",
            fixed_id("StorageElement", name or page83),
            3,
            name=name or page83,
            volumeGroupId=group,
            deviceNames=[] if local else [f"/dev/mapper/{page83}"],
            page83Id=page83,
            size=size,
            state="UNKNOWN" if local else "ONLINE",
            vendor="ATA" if local else "LIO-ORG",
            **{**copy.deepcopy(ELEMENT), "shareable": shareable},
        )
        for server in servers[:1] if local else servers:
            self._path(element, kind, server)
        return element

    def _path(self, element: Obj, kind: str, server: Ref) -> None:
        wanted = {"iscsi": "ISCSI", "fibre_channel": "FIBRECHANNEL", "local": "LOCAL"}[kind]
        initiators = self._store.back("StorageInitiator", "serverId", server)
        initiator = next(item for item in initiators if item["initiatorType"] == wanted)
        self._store.add(
            "StoragePath",
            fixed_id("StoragePath", element.id, server.id),
            0,
            name=f"{initiator.name} ({element['page83Id']})",
            storageInitiatorId=initiator.ref,
            storageTargetId=None,
            storageElementId=element.ref,
            scsiDeviceId=None,
            multipathDevice=None,
            ipAddress=None,
            pathState="PATH_UP",
        )

    def repository(self, item: dict[str, Any]) -> Ref:
        """A repository with its file system and LUN or export, presented to its servers."""
        name, kind = item["name"], item["storage"]
        servers = [self._servers[server] for server in item.get("servers", list(self._servers))]
        size = int(item.get("size_gib", 1024)) * GIB
        fs = self._nfs(item, servers, size) if kind == "nfs" else self._ocfs2(name, kind, servers, size)
        repo = self._store.add(
            "Repository",
            item.get("id") or fixed_id("Repository", name),
            12,
            name=name,
            description=item.get("description", ""),
            assemblyIds=[],
            presentedServerIds=servers,
            fileSystemId=fs.ref,
            managerUuid=self._manager_uuid,
            refreshed=True,
            sharePath=item.get("share_path", "") if kind == "nfs" else "",
        )
        self._world.storage.make(repo)
        sync_mounts(self._world, repo)
        return repo.ref

    def _file_system(self, key: str, size: int, **values: Any) -> Obj:
        common = {
            "clusterHeartbeatDeviceId": None,
            "size": size,
            "freeSize": size,
            "refreshed": True,
            "accessGroupId": None,
        }
        return self._store.add("FileSystem", fixed_id("FileSystem", key), 7, **common, **values)

    def _ocfs2(self, name: str, kind: str, servers: list[Ref], size: int) -> Obj:
        element = self._element(kind, "", size, servers)
        owners = [self._store.get(*ref) for ref in (servers[:1] if kind == "local" else servers)]
        pool = self._store.find(owners[0]["serverPoolId"])
        return self._file_system(
            name,
            size,
            name="" if kind == "local" else f"fs on {element['page83Id']}",
            fileServerIds=[owner["localFileServerId"] for owner in owners],
            storageElementId=element.ref,
            clusterId=pool["clusterId"] if pool and kind != "local" else None,
            path=f"/dev/mapper/{element['page83Id']}",
            shared=kind != "local",
        )

    def _nfs(self, item: dict[str, Any], servers: list[Ref], size: int) -> Obj:
        host, export = item["host"], item["export"]
        files = self._store.find(Ref("FileServer", fixed_id("FileServer", host))) or self._store.add(
            "FileServer",
            fixed_id("FileServer", host),
            4,
            name=host.split(".")[0],
            fileServerType="NETWORK",
            zoneIds=[],
            fileServerPluginId=Ref("FileServerPlugin", NFS_PLUGIN),
            accessHost=host,
            storageDescription=None,
            adminServerIds=servers[:1],
            serverId=None,
            refreshServerIds=servers[:1],
            accessGroupIds=[],
            uniformExports=True,
        )
        return self._file_system(
            item["name"],
            size,
            name=f"nfs:{export}",
            fileServerIds=[files.ref],
            storageElementId=None,
            clusterId=None,
            path=export,
            shared=True,
        )
