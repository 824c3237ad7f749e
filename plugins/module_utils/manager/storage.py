# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What a storage repository lies on: OCFS2 or NFS, which transport, and whether disks in it can be thin cloned.

The decision follows ovm-rest-api 8.6; the type names of the manager's objects do not tell (8.3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .objects import by_id, number, object_id, object_name, reference, references, text

_TRANSPORTS = {"ISCSI": "iscsi", "FIBRECHANNEL": "fibre_channel", "LOCAL": "local"}


@dataclass(frozen=True)
class StorageRepository:
    """A storage repository. Sizes are bytes and only hints: stale until its file system is refreshed (8.3)."""

    id: str
    name: str
    file_system: str  # "ocfs2" | "nfs" | "unknown"
    transport: str  # "iscsi" | "fibre_channel" | "local" | "nfs" | "unknown"
    thin_clone: bool  # the plugin reports CLONE as FULLY_SUPPORTED (8.4)
    server_ids: tuple[str, ...]  # servers that it is presented to
    size: int | None
    free_size: int | None


class StorageMap:
    """The manager's storage objects, indexed, so that each repository can be traced down to its array."""

    def __init__(
        self,
        *,
        file_systems: Iterable[Mapping[str, Any]],
        file_servers: Iterable[Mapping[str, Any]],
        plugins: Iterable[Mapping[str, Any]],
        elements: Iterable[Mapping[str, Any]],
        volume_groups: Iterable[Mapping[str, Any]],
        arrays: Iterable[Mapping[str, Any]],
    ) -> None:
        self._file_systems = by_id(file_systems)
        self._file_servers = by_id(file_servers)
        self._plugins = by_id(plugins)
        self._elements = by_id(elements)
        self._arrays = by_id(arrays)
        self._volume_groups = by_id(volume_groups)
        # A LUN names its volume group, and the group its LUNs: either direction is enough.
        self._group_of_element = {
            element: group
            for group, item in self._volume_groups.items()
            for element in references(item, "storageElementIds")
        }

    def element(self, element_id: str) -> Mapping[str, Any] | None:
        """Return the physical disk (LUN) with this id, or None."""
        return self._elements.get(element_id)

    def repository(self, item: Mapping[str, Any]) -> StorageRepository:
        """Describe a Repository object of the manager."""
        file_system = self._file_systems.get(reference(item, "fileSystemId") or "", {})
        servers = [
            self._file_servers[key] for key in references(file_system, "fileServerIds") if key in self._file_servers
        ]
        kind = self._kind(file_system, servers)
        return StorageRepository(
            id=object_id(item),
            name=object_name(item),
            file_system=kind,
            transport=self._transport(kind, file_system),
            thin_clone=bool(servers) and all(self._clones_thin(server) for server in servers),
            server_ids=references(item, "presentedServerIds"),
            size=number(file_system, "size"),
            free_size=number(file_system, "freeSize"),
        )

    def _kind(self, file_system: Mapping[str, Any], servers: list[Mapping[str, Any]]) -> str:
        """A LUN below means OCFS2, a network file server NFS; evidence that contradicts itself means unknown."""
        on_lun = reference(file_system, "storageElementId") is not None
        on_network = any(text(server, "fileServerType") == "NETWORK" for server in servers)
        plugins = [reference(server, "fileServerPluginId") or "" for server in servers]
        by_plugin = any(plugin.startswith("oracle.ocfs2.") for plugin in plugins)
        if on_lun and not on_network:
            return "ocfs2" if by_plugin or not any(plugins) else "unknown"
        if on_network and not on_lun:
            return "nfs" if not by_plugin else "unknown"
        return "ocfs2" if by_plugin and not on_network else "unknown"

    def _transport(self, kind: str, file_system: Mapping[str, Any]) -> str:
        if kind != "ocfs2":
            return kind  # "nfs" and "unknown" say it all
        element_id = reference(file_system, "storageElementId") or ""
        element = self._elements.get(element_id, {})
        group_id = reference(element, "volumeGroupId") or self._group_of_element.get(element_id, "")
        array = self._arrays.get(reference(self._volume_groups.get(group_id, {}), "storageArrayId") or "", {})
        return _TRANSPORTS.get(text(array, "storageType"), "unknown")

    def _clones_thin(self, server: Mapping[str, Any]) -> bool:
        plugin = self._plugins.get(reference(server, "fileServerPluginId") or "", {})
        records = plugin.get("storageAbilityRecords")
        return isinstance(records, list) and any(
            isinstance(record, Mapping)
            and record.get("ability") == "CLONE"
            and record.get("value") == "FULLY_SUPPORTED"
            for record in records
        )
