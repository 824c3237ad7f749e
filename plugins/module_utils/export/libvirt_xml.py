# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The new machine as a domain of libvirt, for C(virsh define)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from xml.etree import ElementTree as ET

from ..vault.text import one_line
from .machine import Machine
from .mapping import Target, TargetDisk, TargetNic

_BUS = {"virtio_scsi": "scsi"}


def libvirt_xml(machine: Machine, target: Target, files: Mapping[int, str], directory: str) -> bytes:
    """Return the document. C(files) are the names of the images by slot, which lie in C(directory)."""
    domain = ET.Element("domain", type="kvm")
    _add(domain, "name", plain(target.name))
    if target.uuid is not None:
        _add(domain, "uuid", target.uuid)
    if machine.description.strip():
        _add(domain, "description", plain(machine.description))
    _add(domain, "memory", str(machine.memory), unit="MiB")
    current = {"current": str(machine.cpu_count)} if machine.cpu_limit > machine.cpu_count else {}
    _add(domain, "vcpu", str(machine.cpu_limit), placement="static", **current)
    firmware = {"firmware": "efi"} if target.firmware == "uefi" else {}
    system = ET.SubElement(domain, "os", firmware)
    _add(system, "type", "hvm", arch="x86_64", machine=target.chipset)
    features = ET.SubElement(domain, "features")
    for feature in ("acpi", "apic"):
        ET.SubElement(features, feature)
    ET.SubElement(domain, "cpu", mode="host-model")
    ET.SubElement(domain, "clock", offset=target.clock)
    _add(domain, "on_poweroff", "destroy")
    _add(domain, "on_reboot", "restart")
    _add(domain, "on_crash", "restart" if machine.restart_on_crash else "destroy")
    _devices(ET.SubElement(domain, "devices"), machine, target, files, directory)
    return document(domain)


def plain(value: str) -> str:
    """Return a text as one line that a document may hold."""
    return one_line(value).replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd")


def document(root: ET.Element) -> bytes:
    """Return a document as it is written to a file."""
    ET.indent(root)
    body: bytes = ET.tostring(root, encoding="utf-8")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + body + b"\n"


def _devices(devices: ET.Element, machine: Machine, target: Target, files: Mapping[int, str], directory: str) -> None:
    order = _Order(target)
    for disk in target.disks:
        _disk(devices, disk, os.path.join(directory, files[disk.source.slot]), order)
    if any(disk.bus == "virtio_scsi" for disk in target.disks):
        ET.SubElement(devices, "controller", type="scsi", index="0", model="virtio-scsi")
    for nic in target.nics:
        _nic(devices, nic, order)
    serial = ET.SubElement(devices, "serial", type="pty")
    ET.SubElement(serial, "target", port="0")
    console = ET.SubElement(devices, "console", type="pty")
    ET.SubElement(console, "target", type="serial", port="0")
    ET.SubElement(devices, "input", type="tablet", bus="usb")
    plausible = machine.keymap.isascii() and machine.keymap.replace("-", "").isalnum()
    graphics = ET.SubElement(devices, "graphics", type="vnc", port="-1", autoport="yes", listen="127.0.0.1")
    if plausible:
        graphics.set("keymap", machine.keymap)
    video = ET.SubElement(devices, "video")
    ET.SubElement(video, "model", type="vga")


class _Order:
    """Numbers the devices that the firmware tries, in the order of the saved configuration. There are no CD drives."""

    def __init__(self, target: Target) -> None:
        words = [word for word in target.boot_order if word != "CDROM"]
        self._first = {word: 1 + place * 100 for place, word in enumerate(words)}

    def add(self, device: ET.Element, word: str) -> None:
        if word in self._first:
            ET.SubElement(device, "boot", order=str(self._first[word]))
            self._first[word] += 1


def _disk(devices: ET.Element, disk: TargetDisk, path: str, order: _Order) -> None:
    element = ET.SubElement(devices, "disk", type="file", device="disk")
    ET.SubElement(element, "driver", name="qemu", type="qcow2", discard="unmap")
    ET.SubElement(element, "source", file=path)
    ET.SubElement(element, "target", dev=disk.device, bus=_BUS.get(disk.bus, disk.bus))
    if disk.source.read_only:
        ET.SubElement(element, "readonly")
    if disk.boots:
        order.add(element, "DISK")


def _nic(devices: ET.Element, nic: TargetNic, order: _Order) -> None:
    element = ET.SubElement(devices, "interface", type="network")
    ET.SubElement(element, "mac", address=nic.mac)
    ET.SubElement(element, "source", network=plain(nic.network))
    ET.SubElement(element, "model", type=nic.model)
    order.add(element, "PXE")


def _add(parent: ET.Element, tag: str, content: str, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, tag, attributes)
    element.text = content
    return element
