# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which fields each type has, in the order of the manager's JSON (ovm-rest-api 3.2 and 6 to 13).

One word per field. ``name`` is a stored value; ``name>Type`` a stored reference; ``name*Type`` a stored list of
references; ``name<Type.field`` the list of the objects that refer back; ``name=`` and ``name=Type`` are computed
(see computed.py), the latter holds references and can be followed.
"""

from __future__ import annotations

from dataclasses import dataclass

_TEXT = {
    "Manager": "managerUuid managerVersion= managerRunState managerTime=",
    "ServerPool": """serverIds<Server.serverPoolId masterServerId>Server affinityGroupIds*AffinityGroup vmIds=Vm
        unassignedVmIds=Vm clusterId>Cluster virtualIp keymap secureVmMigrate serverPoolPolicyId>ServerPoolPolicy
        zoneId>Zone vmStartPolicy serverUpdateConfigurationId""",
    "ServerPoolPolicy": """mode cpuEnable periodMinutes cpuThreshold serverIds*Server
        serverPoolNetworkPolicyIds*ServerPoolNetworkPolicy serverPoolId>ServerPool""",
    "Server": """serverRunState ipAddress serverRoles maintenanceMode agentLogin statisticInterval ntpServers biosVendor
        biosVersion biosReleaseDate processorType processorSpeed populatedProcessorSockets threadsPerCore
        coresPerProcessorSocket totalProcessorCores enabledProcessorCores memory usableMemory noExecuteFlag ovmVersion=
        hostname managerUuid manufacturer productName serialNumber controlDomainIds<ControlDomain.serverId cpuIds*Cpu
        hypervisor serverControllerId cpuCompatibilityGroupId>CpuCompatibilityGroup
        repositoryExportIds<RepositoryExport.serverId vmIds<Vm.serverId serverPoolId>ServerPool
        ethernetPortIds<EthernetPort.serverId clusterId=Cluster networkIds*Network
        fileSystemMountIds<FileSystemMount.serverId fileServerPluginIds*FileServerPlugin
        storageArrayPluginIds*StorageArrayPlugin localStorageArrayId>StorageArray
        storageInitiatorIds<StorageInitiator.serverId storageElementIds=StorageElement
        refreshFileServerIds<FileServer.refreshServerIds accessGroupIds*AccessGroup localFileServerId>FileServer
        serverAbilities serverUpToDate rebootOnUpgrade protected""",
    "ControlDomain": """osType osName osMajorVersion osMinorVersion osKernelRelease osKernelVersion rpmVersion
        ovmVersion= agentVersion memory cpuCount serverId>Server""",
    "Cluster": """clusterTimeout fileSystemIds<FileSystem.clusterId heartbeatDeviceIds*ClusterHeartbeatDevice
        serverIds=Server serverPoolId>ServerPool""",
    "CpuCompatibilityGroup": "serverIds<Server.cpuCompatibilityGroupId",
    "EthernetPort": """bondMode interfaceName macAddress mtu networkId>Network physicalPortIds bondPortId>EthernetPort
        portType serverId>Server vlanInterfaceIds portState virtualSwitchId ipaddresses""",
    "Network": """roles virtualNicIds<VirtualNic.networkId ethernetPortIds<EthernetPort.networkId vlanInterfaceIds
        serverLocal mtu serverId>Server""",
    "Repository": """virtualDiskIds<VirtualDisk.repositoryId vmIds<Vm.repositoryId assemblyIds*Assembly
        presentedServerIds*Server fileSystemId>FileSystem managerUuid refreshed sharePath""",
    "FileSystem": """fileServerIds*FileServer fileSystemMountIds<FileSystemMount.fileSystemId
        repositoryIds<Repository.fileSystemId storageElementId>StorageElement clusterId>Cluster
        clusterHeartbeatDeviceId path size freeSize refreshed accessGroupId>AccessGroup shared""",
    "FileSystemMount": "serverId>Server fileSystemId>FileSystem absolutePath sharePath options",
    "FileServer": """fileSystemIds<FileSystem.fileServerIds fileServerType zoneIds*Zone
        fileServerPluginId>FileServerPlugin accessHost storageDescription adminServerIds*Server serverId>Server
        refreshServerIds*Server accessGroupIds*AccessGroup uniformExports""",
    "FileServerPlugin": """fileServerIds<FileServer.fileServerPluginId serverIds<Server.fileServerPluginIds
        storageAbilityRecords pluginName pluginDescription pluginVendor pluginVersion genericPlugin clusterRequired
        extraInfoHelpText backingDeviceType""",
    "StorageArray": """zoneIds*Zone accessGroupIds*AccessGroup storageArrayPluginId>StorageArrayPlugin
        adminServerIds*Server volumeGroupIds<VolumeGroup.storageArrayId serverId>Server adminHostname adminUsername
        adminPassword status totalSize usedSize freeSize allocatedSize storageDescription extraInformation qosValues
        validated defaultArray storageName knownStorageNames storageType accessHosts useChap""",
    "StorageArrayPlugin": """storageArrayIds<StorageArray.storageArrayPluginId
        serverIds<Server.storageArrayPluginIds storageTypes storageAbilityRecords pluginName pluginDescription
        pluginVendor pluginVersion pluginMaxAccessGroupEntries genericPlugin clusterRequired
        storageElementExtraInfoHelp storageArrayExtraInfoHelp singleAccessHostOnly""",
    "VolumeGroup": """storageArrayId>StorageArray storageElementIds<StorageElement.volumeGroupId totalSize usedSize
        freeSize allocatedSize volumeDescription nameOnArray""",
    "StorageElement": """accessGroupIds*AccessGroup fileSystemIds<FileSystem.storageElementId
        storagePathIds<StoragePath.storageElementId reservingServerIds*Server
        vmDiskMappingIds<VmDiskMapping.storageElementId volumeGroupId>VolumeGroup clusterHeartbeatDeviceId deviceNames
        extraInformation page83Id qos serverReserved shareable size state status storageTargetNames thinProvision type
        userFriendlyName vendor""",
    "StorageInitiator": """accessGroupIds*AccessGroup storagePathIds<StoragePath.storageInitiatorId serverId>Server
        initiatorType fibreChannelFabricName fibreChannelPortId fibreChannelPortType fibreChannelPortSpeed
        fibreChannelSupportedSpeeds fibreChannelNodeName""",
    "StoragePath": """storageInitiatorId>StorageInitiator storageTargetId>StorageTarget
        storageElementId>StorageElement scsiDeviceId multipathDevice ipAddress pathState""",
    "Vm": """vmRunState cpuPriority memory memoryLimit hugePagesEnabled cpuCount cpuCountLimit cpuUtilizationCap
        highAvailability bootOrder vmMouseType osType vmDomainType diskLimit vmDiskMappingIds<VmDiskMapping.vmId
        virtualNicIds<VirtualNic.vmId repositoryId>Repository serverPoolId>ServerPool networkInstallPath
        vmCloneDefinitionIds<VmCloneDefinition.vmId origin keymapName serverId>Server sslVncPort= sslTtyPort=
        affinityGroupIds=AffinityGroup osVersion kernelVersion guestDriverVersion vmApiVersion vmStartPolicy=
        currentMemory= currentCpuCount= currentDomainId= architecture restartActionOnCrash restartActionOnPowerOff
        restartActionOnRestart pinnedCpus vmConfigFileAbsolutePath= vmConfigFileMountedPath=""",
    "VmDiskMapping": """vmId>Vm virtualDiskId>VirtualDisk storageElementId>StorageElement diskTarget
        emulatedBlockDevice diskWriteMode""",
    "VirtualDisk": """diskType size onDiskSize path= shareable importFileName
        vmDiskMappingIds<VmDiskMapping.virtualDiskId repositoryId>Repository assemblyVirtualDiskId absolutePath=
        mountedPath=""",
    "VirtualNic": "macAddress ipAddresses interfaceName vmId>Vm networkId>Network",
    "VmCloneDefinition": """vmId>Vm vmCloneNetworkMappingIds<VmCloneNetworkMapping.vmCloneDefinitionId
        vmCloneStorageMappingIds<VmCloneStorageMapping.vmCloneDefinitionId""",
    "VmCloneStorageMapping": """vmCloneDefinitionId>VmCloneDefinition vmDiskMappingId>VmDiskMapping cloneType
        repositoryId>Repository storageArrayId>StorageArray storageElementId>StorageElement""",
    "VmCloneNetworkMapping": """vmCloneDefinitionId>VmCloneDefinition virtualNicId>VirtualNic networkId>Network""",
    "RepositoryExport": """clientHostname exportFsType options repositoryPath repositoryId>Repository
        serverId>Server""",
    "ResourceGroup": "resourceIds*Any type",
    "Event": """acknowledgeable acknowledged associatedObjectId>Any createTime modifyTime eventSeverity eventType
        summary""",
    "Job": """resultId>Any jobRunState jobSummaryState done summaryDone jobGroup error= progressMessage
        latestSummaryProgressMessage extraInfo parentJobId>Job childJobIds<Job.parentJobId user abortedByUser startTime
        endTime""",
}

# Types that answer GET but of which the sample estates hold nothing (ovm-rest-api 2.2): base fields only.
_EMPTY = """AccessGroup AffinityGroup Assembly AssemblyVirtualDisk AssemblyVm ClusterHeartbeatDevice ClusterStorageFs
    Cpu PeriodicTask ServerController ServerPoolNetworkPolicy ServerUpdateConfiguration
    ServerUpdateRepositoryConfiguration Statistic StorageTarget VirtualSwitch VlanInterface Zone"""

# Fields that managers before 3.4 do not have (ovm-rest-api 16.4).
ONLY_34 = {
    "Vm": {"pinnedCpus", "vmConfigFileAbsolutePath", "vmConfigFileMountedPath"},
    "VirtualDisk": {"absolutePath", "mountedPath"},
}

# What a PUT of an object may change (ovm-rest-api 9.1, 10.2, 12).
MODIFIABLE: dict[str, set[str]] = {
    "Vm": set(
        """name description bootOrder cpuCount cpuCountLimit cpuPriority cpuUtilizationCap highAvailability
        hugePagesEnabled keymapName memory memoryLimit networkInstallPath osType serverId vmDomainType vmMouseType
        vmStartPolicy restartActionOnCrash restartActionOnPowerOff restartActionOnRestart pinnedCpus userData""".split()
    ),
    "VirtualDisk": {"name", "description", "shareable", "userData"},
    "VmDiskMapping": {"name", "description", "diskTarget", "diskWriteMode", "emulatedBlockDevice", "virtualDiskId"},
    "VirtualNic": {"name", "description", "macAddress", "networkId", "userData"},
    "VmCloneDefinition": {"name", "description", "userData"},
    "VmCloneStorageMapping": {"name", "description", "cloneType", "repositoryId", "storageArrayId", "storageElementId"},
    "VmCloneNetworkMapping": {"name", "description", "networkId"},
    "RepositoryExport": {"name", "description", "options"},
    "ResourceGroup": {"name", "description", "userData"},
    "Repository": {"name", "description", "userData"},
    "Server": {"name", "description", "maintenanceMode", "userData"},
    "ServerPool": {"name", "description", "userData", "vmStartPolicy"},
    "Network": {"name", "description", "userData"},
    "StorageElement": {"name", "description", "userData", "shareable"},
    "FileServer": {"name", "description", "userData"},
    "FileSystem": {"name", "description", "userData"},
}


@dataclass(frozen=True)
class Field:
    """``kind``: value, ref, refs, back or computed; ``target``: type referred to; ``via``: its field for back."""

    name: str
    kind: str
    target: str | None = None
    via: str | None = None


def _parse(word: str) -> Field:
    for mark, kind in (("<", "back"), (">", "ref"), ("*", "refs"), ("=", "computed")):
        if mark in word:
            name, _unused, rest = word.partition(mark)
            target, _unused, via = rest.partition(".")
            return Field(name, kind, target or None, via or None)
    return Field(word, "value")


FIELDS: dict[str, tuple[Field, ...]] = {name: tuple(map(_parse, text.split())) for name, text in _TEXT.items()}
FIELDS.update(dict.fromkeys(_EMPTY.split(), ()))

# Manager-wide singletons with their own prefixes (ovm-rest-api 2.2); only their names are known.
SINGLETONS = frozenset(
    """ArchiveManagement BackupManagement BusinessManagement Certificate EventManagement JobManagement LogManagement
    MacManagement ModelManagement RasManagement ServerConfiguration StatisticsManagement UserPreference""".split()
)


def field(type_: str, name: str) -> Field | None:
    """The field of that name, or None."""
    return next((item for item in FIELDS.get(type_, ()) if item.name == name), None)


def links(type_: str, target: str) -> list[Field]:
    """The fields of ``type_`` that lead to ``target``, the plain ``targetId(s)`` ones first."""
    found = [item for item in FIELDS.get(type_, ()) if item.target == target]
    plain = target[0].lower() + target[1:]
    return sorted(found, key=lambda item: item.name not in (f"{plain}Id", f"{plain}Ids"))
