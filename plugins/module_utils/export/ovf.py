# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The new machine as an OVF descriptor, with what oVirt and Oracle Linux Virtualization Manager add to the standard.

oVirt reads the elements by their names without prefix, the attributes with the prefix C(ovf), and wants a few that are
not in the standard: sockets of the CPU, the names of its disk interfaces, numbers of its network cards.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from xml.etree import ElementTree as ET

from .libvirt_xml import document, plain
from .machine import LINUX, WINDOWS, Machine
from .mapping import Target, TargetDisk, TargetNic
from .qcow2 import virtual_size

OVF = "http://schemas.dmtf.org/ovf/envelope/1/"
_CIM = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2"
RASD = f"{_CIM}/CIM_ResourceAllocationSettingData"
VSSD = f"{_CIM}/CIM_VirtualSystemSettingData"
_QCOW2 = "http://www.gnome.org/~markmc/qcow-image-format.html"
_INTERFACES = {"virtio": "VirtIO", "virtio_scsi": "VirtIO_SCSI", "sata": "SATA", "ide": "IDE"}
_NICS = {"rtl8139": "1", "e1000": "2", "virtio": "3"}
# Numbers of operating systems in the standard (CIM_OperatingSystem): Linux 64 bit, Windows Server 2008 R2, other.
_SYSTEMS = {LINUX: "101", WINDOWS: "103"}
_BIOS_TYPES = {("pc", "bios"): "1", ("q35", "bios"): "2", ("q35", "uefi"): "3"}
_CPU, _MEMORY, _NETWORK, _DISK, _MONITOR = "3", "4", "10", "17", "20"


def ovf_descriptor(
    machine: Machine, target: Target, files: Mapping[int, str], sizes: Mapping[int, int], point_id: str
) -> bytes:
    """Return the descriptor. C(files) and C(sizes) are the names and sizes of the image files by slot."""
    ids = {disk.source.slot: _disk_id(machine, point_id, disk) for disk in target.disks}
    root = ET.Element(
        "Envelope", {"xmlns": OVF, "xmlns:ovf": OVF, "xmlns:rasd": RASD, "xmlns:vssd": VSSD, "ovf:version": "4.4.0.0"}
    )
    references = ET.SubElement(root, "References")
    for disk in target.disks:
        slot = disk.source.slot
        attributes = {"ovf:href": files[slot], "ovf:id": ids[slot], "ovf:size": str(sizes[slot])}
        ET.SubElement(references, "File", attributes)
    networks = ET.SubElement(root, "NetworkSection")
    _add(networks, "Info", "List of networks")
    for name in dict.fromkeys(nic.network for nic in target.nics):
        ET.SubElement(networks, "Network", {"ovf:name": plain(name)})
    disks = ET.SubElement(root, "DiskSection")
    _add(disks, "Info", "List of virtual disks")
    for disk in target.disks:
        _disk(disks, disk, ids[disk.source.slot], sizes[disk.source.slot])
    _system(root, machine, target, ids)
    return document(root)


def _disk(section: ET.Element, disk: TargetDisk, disk_id: str, size: int) -> None:
    ET.SubElement(
        section,
        "Disk",
        {
            "ovf:diskId": disk_id,
            # In bytes, which is what counts without a unit.
            "ovf:capacity": str(virtual_size(disk.source.disk.size)),
            "ovf:populatedSize": str(size),
            "ovf:fileRef": disk_id,
            "ovf:format": _QCOW2,
            "ovf:volume-format": "COW",
            "ovf:volume-type": "Sparse",
            "ovf:disk-interface": _INTERFACES[disk.bus],
            "ovf:boot": "true" if disk.boots else "false",
            "ovf:disk-alias": plain(disk.source.disk.name),
        },
    )


def _system(root: ET.Element, machine: Machine, target: Target, ids: Mapping[int, str]) -> None:
    name = plain(target.name)
    system = ET.SubElement(root, "VirtualSystem", {"ovf:id": target.uuid or name})
    _add(system, "Info", "A virtual machine")
    _add(system, "Name", name)
    family = ET.SubElement(
        system, "OperatingSystemSection", {"ovf:id": _SYSTEMS.get(machine.family, "1"), "ovf:required": "false"}
    )
    _add(family, "Info", "Guest operating system")
    _add(family, "Description", plain(machine.os_type))
    hardware = ET.SubElement(system, "VirtualHardwareSection")
    _add(hardware, "Info", f"{machine.cpu_count} CPU, {machine.memory} MiB of memory")
    items = _Items(hardware)
    sockets = {"num_of_sockets": str(machine.cpu_count), "cpu_per_socket": "1", "threads_per_cpu": "1"}
    items.add(_CPU, f"{machine.cpu_count} virtual CPU", VirtualQuantity=str(machine.cpu_count), **sockets)
    quantity = {"AllocationUnits": "MegaBytes", "VirtualQuantity": str(machine.memory)}
    items.add(_MEMORY, f"{machine.memory} MB of memory", **quantity)
    for disk in target.disks:
        items.add(
            _DISK,
            plain(disk.source.disk.name),
            HostResource=f"ovf:/disk/{ids[disk.source.slot]}",
            BootOrder=_boot(disk),
        )
    for place, nic in enumerate(target.nics, 1):
        items.add(_NETWORK, f"nic{place}", **_nic(place, nic))
    items.add(_MONITOR, "Graphical console", VirtualQuantity="1")
    _add(system, "Description", plain(machine.description))
    _add(system, "BiosType", _BIOS_TYPES[(target.chipset, target.firmware)])


def _boot(disk: TargetDisk) -> str:
    return "1" if disk.boots else "0"


def _nic(place: int, nic: TargetNic) -> dict[str, str]:
    return {
        "ResourceSubType": _NICS[nic.model],
        "Connection": plain(nic.network),
        "Linked": "true",
        "Name": f"nic{place}",
        "MACAddress": nic.mac,
    }


class _Items:
    """The items of the hardware, numbered. Their names are those of CIM, with the prefix that oVirt looks for."""

    def __init__(self, section: ET.Element) -> None:
        self._section = section
        self._number = 0

    def add(self, kind: str, caption: str, **fields: str) -> None:
        self._number += 1
        item = ET.SubElement(self._section, "Item")
        # The standard wants the fields in the order of their names.
        known = {"ElementName": caption, "InstanceID": str(self._number), "ResourceType": kind, **fields}
        for name in sorted(known, key=str.lower):
            _add(item, f"rasd:{name}", known[name])


def _disk_id(machine: Machine, point_id: str, disk: TargetDisk) -> str:
    """Return an id that is the same each time for the same disk of the same recovery point."""
    return str(
        uuid.uuid5(uuid.NAMESPACE_OID, f"{machine.vm_id}/{point_id}/{disk.source.slot}/{disk.source.disk.disk_id}")
    )


def _add(parent: ET.Element, tag: str, content: str) -> None:
    ET.SubElement(parent, tag).text = content
