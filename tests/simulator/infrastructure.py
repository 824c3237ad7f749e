# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The part of an estate below the VMs: pools, servers, networks, storage, repositories."""

from __future__ import annotations

import copy
from typing import Any

from .platform_facts import (
    ARRAY,
    CONTROL_DOMAIN,
    CPU_GROUP,
    INITIATOR,
    NFS_PLUGIN,
    OCFS2_PLUGIN,
    PLUGINS,
    SCSI,
    SCSI_PLUGIN,
    SERVER,
    VOLUME_GROUP,
)
from .storage_parts import StorageParts, fixed, fixed_id
from .store import Obj, Ref
from .world import World


class Infrastructure:
    """Makes the objects; keeps them by the names of the estate file."""

    def __init__(self, world: World, estate: dict[str, Any]) -> None:
        self._world = world
        self._store = world.store
        self._estate = estate
        self.manager_uuid = fixed_id("Manager", str(estate.get("name", "estate")))
        self.pools: dict[str, Ref] = {}
        self.servers: dict[str, Ref] = {}
        self.networks: list[Ref] = []
        self.repositories: dict[str, Ref] = {}
        self.elements: dict[str, Ref] = {}

    def build(self) -> None:
        """Everything, in the order in which the objects depend on each other."""
        self._store.add(
            "Manager",
            self.manager_uuid,
            0,
            name="OVM Manager",
            managerUuid=self.manager_uuid,
            managerRunState="RUNNING",
        )
        self._plugins()
        for item in self._estate["networks"]:
            self._network(item)
        for item in self._estate["pools"]:
            self._pool(item)
        for item in self._estate["servers"]:
            self._server(item)
        for pool in self._store.all("ServerPool"):
            members = self._store.back("Server", "serverPoolId", pool.ref)
            pool["masterServerId"] = members[0].ref if members else None
        storage = StorageParts(self._world, self.manager_uuid, self.servers)
        for item in self._estate["repositories"]:
            self.repositories[item["name"]] = storage.repository(item)
        for item in self._estate.get("physical_disks", []):
            self.elements[item["name"]] = storage.physical_disk(item)

    def _plugins(self) -> None:
        self._store.add("CpuCompatibilityGroup", CPU_GROUP, 0, name="Default_Intel_Family:6_Model:60")
        for identifier, facts in PLUGINS.items():
            fields = dict(facts)
            self._store.add(
                "FileServerPlugin",
                identifier,
                0,
                pluginName=facts["name"],
                pluginDescription=facts["description"],
                pluginVendor="Oracle",
                extraInfoHelpText=None,
                **fields,
            )
        name, description = SCSI["pluginName"], SCSI["pluginDescription"]
        self._store.add("StorageArrayPlugin", SCSI_PLUGIN, 0, name=name, description=description, **SCSI)

    def _network(self, item: dict[str, Any]) -> None:
        network = self._store.add(
            "Network",
            str(item["id"]),
            name=item["name"],
            roles=list(item["roles"]),
            vlanInterfaceIds=[],
            serverLocal=False,
            mtu=int(item.get("mtu", 0)),
            serverId=None,
        )
        self.networks.append(network.ref)

    def _pool(self, item: dict[str, Any]) -> None:
        identifier = fixed_id("ServerPool", item["name"])
        cluster = None
        if item.get("clustered", True):
            # A cluster's id is the last 16 digits of its pool's (ovm-rest-api 3.3).
            cluster = Ref("Cluster", identifier[-16:])
            fields = {"clusterTimeout": 120, "heartbeatDeviceIds": [], "serverPoolId": Ref("ServerPool", identifier)}
            self._store.add("Cluster", cluster.id, 3, **fields)
        policy = Ref("ServerPoolPolicy", f"balancer_{identifier}")
        pool = self._store.add(
            "ServerPool",
            identifier,
            8,
            name=item["name"],
            affinityGroupIds=[],
            clusterId=cluster,
            virtualIp=item.get("virtual_ip"),
            keymap="en-us",
            secureVmMigrate=False,
            serverPoolPolicyId=policy,
            zoneId=None,
            vmStartPolicy="BEST_SERVER",
            serverUpdateConfigurationId=None,
        )
        self._store.add(
            "ServerPoolPolicy",
            policy.id,
            0,
            mode="OFF",
            cpuEnable=False,
            periodMinutes=10,
            cpuThreshold=75,
            serverIds=[],
            serverPoolNetworkPolicyIds=[],
            serverPoolId=pool.ref,
        )
        self.pools[item["name"]] = pool.ref

    def _server(self, item: dict[str, Any]) -> None:
        name, store = item["name"], self._store
        digits = fixed("Server", name) + fixed("Server", name, "more")
        identifier = ":".join(digits[n : n + 2] for n in range(0, 32, 2))
        server = store.add(
            "Server",
            identifier,
            48,
            name=name,
            ipAddress=item["ip"],
            hostname=name,
            managerUuid=self.manager_uuid,
            cpuCompatibilityGroupId=Ref("CpuCompatibilityGroup", CPU_GROUP),
            serverPoolId=self.pools[item["pool"]] if item.get("pool") else None,
            fileServerPluginIds=[Ref("FileServerPlugin", NFS_PLUGIN), Ref("FileServerPlugin", OCFS2_PLUGIN)],
            storageArrayPluginIds=[Ref("StorageArrayPlugin", SCSI_PLUGIN)],
            **copy.deepcopy(SERVER),
        )
        self.servers[name] = server.ref
        domain = {"name": "Control Domain", "serverId": server.ref, **CONTROL_DOMAIN}
        store.add("ControlDomain", fixed_id("ControlDomain", name), **domain)
        self._server_storage(server)
        self._ports(server, item["ip"])

    def _server_storage(self, server: Obj) -> None:
        store, name = self._store, server.name
        local = store.add(
            "StorageArray",
            fixed_id("StorageArray", name),
            0,
            name=f"Generic Local Storage Array @ {name}",
            storageArrayPluginId=Ref("StorageArrayPlugin", SCSI_PLUGIN),
            defaultArray=False,
            storageType="LOCAL",
            accessHosts=None,
            useChap=None,
            **{**copy.deepcopy(ARRAY), "serverId": server.ref, "adminServerIds": [server.ref]},
        )
        group = {"name": "Local Storage Volume Group", "nameOnArray": "Local_Storage_Volume_Group", **VOLUME_GROUP}
        store.add("VolumeGroup", fixed_id("VolumeGroup", name), 1, storageArrayId=local.ref, **group)
        server["localStorageArrayId"] = local.ref
        files = store.add(
            "FileServer",
            fixed_id("FileServer", name),
            9,
            name=f"Local FS {name}",
            fileServerType="LOCAL",
            zoneIds=[],
            fileServerPluginId=Ref("FileServerPlugin", OCFS2_PLUGIN),
            accessHost="",
            storageDescription=None,
            adminServerIds=[server.ref],
            serverId=server.ref,
            refreshServerIds=None,
            accessGroupIds=None,
            uniformExports=None,
        )
        server["localFileServerId"] = files.ref
        iqn = f"iqn.1988-12.com.oracle:{fixed('iqn', name)[:11]}"
        for kind, identifier in (("LOCAL", f"storage.LocalStorageInitiator in {server.id}"), ("ISCSI", iqn)):
            values = {"name": identifier, "serverId": server.ref, "initiatorType": kind, **copy.deepcopy(INITIATOR)}
            store.add("StorageInitiator", identifier, 0, **values)
        world_wide = f"0x{fixed('wwn', name)}"
        values = {
            "name": world_wide,
            "serverId": server.ref,
            "initiatorType": "FIBRECHANNEL",
            **copy.deepcopy(INITIATOR),
        }
        store.add("StorageInitiator", world_wide, 0, **values)

    def _ports(self, server: Obj, address: str) -> None:
        store = self._store
        digits = fixed("mac", server.name)
        mac = ":".join(digits[n : n + 2] for n in range(0, 12, 2))
        common = {
            "macAddress": mac,
            "mtu": 1500,
            "serverId": server.ref,
            "vlanInterfaceIds": [],
            "portState": "PORT_UP",
        }
        bond = Ref("EthernetPort", fixed_id("EthernetPort", server.name, "bond0"))
        port = store.add(
            "EthernetPort",
            fixed_id("EthernetPort", server.name, "eth0"),
            0,
            name=f"eth0 on {server.name}",
            bondMode=None,
            interfaceName="eth0",
            networkId=None,
            physicalPortIds=None,
            bondPortId=bond,
            portType="PHYSICAL",
            virtualSwitchId=None,
            ipaddresses=None,
            **common,
        )
        addresses = [{"address": address, "netmask": "255.255.255.0", "type": "IPV4", "configType": "STATIC"}]
        store.add(
            "EthernetPort",
            bond.id,
            3,
            name=f"bond0 on {server.name}",
            bondMode="ACTIVE_PASSIVE",
            interfaceName="bond0",
            networkId=self.networks[0],
            physicalPortIds=[port.ref],
            bondPortId=None,
            portType="BOND",
            virtualSwitchId=None,
            ipaddresses=addresses,
            **common,
        )
