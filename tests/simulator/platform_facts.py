# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values of servers and storage plugins as real managers report them (ovm-rest-api 7.1, 8.4)."""

from __future__ import annotations

from typing import Any

OCFS2_PLUGIN = "oracle.ocfs2.OCFS2.OCFS2Plugin (0.1.0-42.1)"
NFS_PLUGIN = "oracle.generic.NFSPlugin.GenericNFSPlugin (1.1.0)"
SCSI_PLUGIN = "oracle.generic.SCSIPlugin.GenericPlugin (1.1.0)"
CPU_GROUP = "Default_Intel_F6_M60"

SERVER: dict[str, Any] = {
    "serverRunState": "RUNNING",
    "serverRoles": ["UTILITY", "VM"],
    "maintenanceMode": False,
    "agentLogin": "oracle",
    "statisticInterval": 20,
    "ntpServers": ["192.0.2.1"],
    "biosVendor": "American Megatrends Inc.",
    "biosVersion": "F7",
    "biosReleaseDate": "01/17/2014",
    "processorType": "X86_64",
    "processorSpeed": 3591797,
    "populatedProcessorSockets": 1,
    "threadsPerCore": 2,
    "coresPerProcessorSocket": 4,
    "totalProcessorCores": 4,
    "enabledProcessorCores": 1,
    "memory": 65536,
    "usableMemory": 40960,
    "noExecuteFlag": True,
    "manufacturer": "Example",
    "productName": "Simulated server",
    "serialNumber": "0",
    "cpuIds": [],
    "hypervisor": {
        "capabilities": [
            "XEN_3_0_PVM_x86_64",
            "XEN_3_0_PVM_x86_32",
            "XEN_3_0_HVM_x86_32",
            "XEN_3_0_HVM_x86_32_PAE",
            "XEN_3_0_HVM_x86_64",
        ],
        "version": "4.4.4OVM",
        "type": "XEN",
    },
    "serverControllerId": None,
    "networkIds": [],
    "accessGroupIds": [],
    "serverAbilities": {
        "cluster": True,
        "nfs": True,
        "fibreChannel": True,
        "highAvailability": True,
        "vmSuspend": True,
        "perVmCpuOverSubscribe": True,
        "allVmCpuOverSubscribe": True,
        "bondModeActiveBackup": True,
        "bondModeLinkAggregation": True,
        "bondModeAdaptiveLoadBalancing": True,
        "mtuConfiguration": True,
        "localStorageElement": True,
        "vmMemoryAlignment": 1048576,
        "vncConsole": True,
        "serialConsole": True,
        "migrationSetup": False,
        "hvmMaxVnics": 8,
        "serverPackageUpdate": True,
        "powerOnWOL": True,
        "repositoryOnSharedDisk": True,
        "repositoryOnLocalDisk": True,
        "clusterFsOnPhysicalDisk": True,
        "vmEmptyCdrom": True,
        "iScsi": True,
    },
    "serverUpToDate": True,
    "rebootOnUpgrade": True,
    "protected": False,
}

CONTROL_DOMAIN: dict[str, Any] = {
    "osType": "Linux",
    "osName": "Oracle VM server",
    "osMajorVersion": "3",
    "osMinorVersion": "4",
    "osKernelRelease": "4.1.12-124.6.1.el6uek.x86_64",
    "osKernelVersion": "#2 SMP Tue Oct 17 15:02:32 PDT 2017",
    "rpmVersion": "3.4.2-1.1.el6",
    "agentVersion": "3.4.2-1.1.el6",
    "memory": 1102,
    "cpuCount": 8,
}


def _abilities(text: str) -> list[dict[str, str]]:
    return [dict(zip(("ability", "value"), word.split("="), strict=True)) for word in text.split()]


PLUGINS: dict[str, dict[str, Any]] = {
    OCFS2_PLUGIN: {
        "name": "Oracle OCFS2 File system",
        "description": "Oracle OCFS2 File system Storage Connect Plugin",
        "storageAbilityRecords": _abilities(
            """CLONE=FULLY_SUPPORTED CLONE_CUSTOM_NAME=YES CLONE_SPLITTING_WHILE_OPEN=NO STORAGE_NAME_REQUIRED=NO
            CLONE_SPLITTING=UNSUPPORTED SNAPSHOT_CLONE=FULLY_SUPPORTED SNAPSHOT_CLONE_SYNCHRONOUS=YES
            SNAPSHOT_SYNCHRONOUS=YES CLONE_SYNCHRONOUS=YES RESIZE=FULLY_SUPPORTED CLONE_SPLITTING_SYNCHRONOUS=NO
            SNAPSHOT_CUSTOM_NAME=YES SNAPSHOT=FULLY_SUPPORTED ACCESS_CONTROL=NO RESIZE_SYNCHRONOUS=YES"""
        ),
        "pluginVersion": "0.1.0-42.1",
        "genericPlugin": False,
        "clusterRequired": True,
        "backingDeviceType": "LOCALDEVICE_SINGLE",
    },
    NFS_PLUGIN: {
        "name": "Oracle Generic Network File System",
        "description": "Oracle Generic Network File System Storage Connect Plugin",
        "storageAbilityRecords": _abilities(
            """CLONE=UNSUPPORTED CLONE_CUSTOM_NAME=UNSUPPORTED CLONE_SPLITTING_WHILE_OPEN=UNSUPPORTED
            STORAGE_NAME_REQUIRED=NO CLONE_SPLITTING=UNSUPPORTED SNAPSHOT_CLONE=UNSUPPORTED
            SNAPSHOT_CLONE_SYNCHRONOUS=UNSUPPORTED SNAPSHOT_SYNCHRONOUS=UNSUPPORTED CLONE_SYNCHRONOUS=UNSUPPORTED
            RESIZE=UNSUPPORTED CLONE_SPLITTING_SYNCHRONOUS=UNSUPPORTED SNAPSHOT_CUSTOM_NAME=UNSUPPORTED
            SNAPSHOT=UNSUPPORTED ACCESS_CONTROL=NO RESIZE_SYNCHRONOUS=UNSUPPORTED"""
        ),
        "pluginVersion": "1.1.0",
        "genericPlugin": True,
        "clusterRequired": False,
        "backingDeviceType": "INVALID",
    },
}

SCSI: dict[str, Any] = {
    "storageTypes": ["FIBRECHANNEL", "ISCSI"],
    "storageAbilityRecords": _abilities(
        """CLONE=UNSUPPORTED CLONE_CUSTOM_NAME=UNSUPPORTED STORAGE_NAME_REQUIRED=UNSUPPORTED
        CLONE_SPLITTING=UNSUPPORTED SNAPSHOT_CLONE=UNSUPPORTED SNAPSHOT_CLONE_SYNCHRONOUS=UNSUPPORTED
        SNAPSHOT_SYNCHRONOUS=UNSUPPORTED CLONE_SYNCHRONOUS=UNSUPPORTED RESIZE=UNSUPPORTED
        CLONE_SPLITTING_SYNCHRONOUS=UNSUPPORTED SNAPSHOT_CUSTOM_NAME=UNSUPPORTED SNAPSHOT=UNSUPPORTED
        ACCESS_CONTROL=NO RESIZE_SYNCHRONOUS=UNSUPPORTED"""
    ),
    "pluginName": "Oracle Generic SCSI Plugin",
    "pluginDescription": "Oracle Storage Connect Plugin for Generic FC and iSCSI",
    "pluginVendor": "Oracle",
    "pluginVersion": "1.1.0",
    "pluginMaxAccessGroupEntries": 0,
    "genericPlugin": True,
    "clusterRequired": False,
    "storageElementExtraInfoHelp": None,
    "storageArrayExtraInfoHelp": None,
    "singleAccessHostOnly": False,
}

ARRAY: dict[str, Any] = {
    "zoneIds": [],
    "accessGroupIds": [],
    "adminServerIds": [],
    "serverId": None,
    "adminHostname": "",
    "adminUsername": "",
    "adminPassword": "****************",
    "status": None,
    "totalSize": -1,
    "usedSize": -1,
    "freeSize": -1,
    "allocatedSize": -1,
    "storageDescription": None,
    "extraInformation": None,
    "qosValues": [],
    "validated": True,
    "storageName": None,
    "knownStorageNames": [],
}

VOLUME_GROUP: dict[str, Any] = {
    "totalSize": 0,
    "usedSize": 0,
    "freeSize": 0,
    "allocatedSize": 0,
    "volumeDescription": None,
}

ELEMENT: dict[str, Any] = {
    "accessGroupIds": [],
    "reservingServerIds": [],
    "clusterHeartbeatDeviceId": None,
    "extraInformation": "",
    "qos": None,
    "serverReserved": False,
    "shareable": False,
    "status": None,
    "storageTargetNames": [],
    "thinProvision": False,
    "type": "LUN",
    "userFriendlyName": None,
}

INITIATOR: dict[str, Any] = {
    "accessGroupIds": [],
    "fibreChannelFabricName": None,
    "fibreChannelPortId": None,
    "fibreChannelPortType": None,
    "fibreChannelPortSpeed": None,
    "fibreChannelSupportedSpeeds": None,
    "fibreChannelNodeName": None,
}
