# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Which hardware of KVM takes the place of which hardware of Oracle VM.

A guest can only start from a disk whose driver its first file system holds. What an HVM guest saw before its PV drivers
took over was emulated IDE disks and an emulated network card, so these are what it most likely starts from elsewhere.
A PVM guest saw nothing of the kind; it needs new drivers in any case, and gets the fastest devices.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import InvalidInputError
from .disk_start import DiskStart
from .machine import Machine, MachineDisk

AUTO = "auto"
BUSES = (AUTO, "virtio", "virtio_scsi", "sata", "ide")
NIC_MODELS = (AUTO, "virtio", "e1000", "rtl8139")
FIRMWARES = (AUTO, "bios", "uefi")
MACS = ("keep", "new")
_IDE_DISKS = 4  # two channels with two places each
_PREFIX = {"virtio": "vd", "virtio_scsi": "sd", "sata": "sd", "ide": "hd"}
# The names under which a Linux guest finds the disks; its IDE driver calls them as SCSI does.
_GUEST_PREFIX = {"virtio": "vd", "virtio_scsi": "sd", "sata": "sd", "ide": "sd"}
_QEMU_PREFIX = (0x52, 0x54, 0x00)  # of MAC addresses, locally administered: what libvirt takes, too


@dataclass(frozen=True)
class Wishes:
    """How somebody wants the VM to be elsewhere."""

    name: str | None = None
    disk_bus: str = AUTO
    nic_model: str = AUTO
    firmware: str = AUTO
    mac: str = "keep"
    network: str = "default"
    networks: Mapping[str, str] = field(default_factory=dict)  # new ones by the old ones' names

    def check(self) -> None:
        """Raise C(InvalidInputError) for what cannot be."""
        for option, value, choices in (
            ("disk_bus", self.disk_bus, BUSES),
            ("nic_model", self.nic_model, NIC_MODELS),
            ("firmware", self.firmware, FIRMWARES),
            ("mac", self.mac, MACS),
        ):
            if value not in choices:
                raise InvalidInputError(
                    f"{option} must be one of {', '.join(choices)}, not {value!r}", key=option, value=value
                )
        if self.name is not None and (not self.name.strip() or "/" in self.name or "\n" in self.name):
            raise InvalidInputError(
                f"name must be the name of a VM, without slash and line break, not {self.name!r}",
                key="name",
                value=self.name,
            )


@dataclass(frozen=True)
class TargetDisk:
    """A disk as the new machine has it. C(device) is libvirt's name, C(old) and C(new) are the guest's own names."""

    source: MachineDisk
    bus: str
    place: int
    device: str
    old: str
    new: str
    boots: bool


@dataclass(frozen=True)
class TargetNic:
    """A network card as the new machine has it."""

    mac: str
    model: str
    network: str
    old_network: str


@dataclass(frozen=True)
class Target:
    """The new machine. C(chipset): pc (i440FX) or q35; C(clock): utc or localtime."""

    name: str
    uuid: str | None
    chipset: str
    firmware: str
    clock: str
    disks: tuple[TargetDisk, ...]
    nics: tuple[TargetNic, ...]
    boot_order: tuple[str, ...]


def map_machine(machine: Machine, starts: Mapping[int, DiskStart], wishes: Wishes) -> Target:
    """Return the new machine. C(starts) is what the first bytes of the disks tell, by slot."""
    wishes.check()
    bus = wishes.disk_bus if wishes.disk_bus != AUTO else _bus(machine)
    if bus == "ide" and len(machine.disks) > _IDE_DISKS:
        raise InvalidInputError(
            f"disk_bus ide takes {_IDE_DISKS} disks, and {machine.name!r} has {len(machine.disks)}: "
            "choose sata, virtio_scsi or virtio",
            key="disk_bus",
            value=bus,
        )
    first = next((disk.slot for disk in machine.disks if starts.get(disk.slot) and starts[disk.slot].bootable), None)
    if first is None and machine.disks:
        first = machine.disks[0].slot
    firmware = wishes.firmware if wishes.firmware != AUTO else _firmware(starts.get(first if first is not None else -1))
    if firmware == "uefi" and bus == "ide":
        if wishes.disk_bus == "ide":
            raise InvalidInputError(
                "disk_bus ide does not go with firmware uefi, which needs the chipset q35: choose sata",
                key="disk_bus",
                value="ide",
            )
        bus = "sata"
    model = wishes.nic_model if wishes.nic_model != AUTO else "virtio" if machine.is_pvm else "e1000"
    keep = wishes.mac == "keep"
    name = wishes.name or machine.name
    return Target(
        name=name,
        uuid=machine.uuid if keep else None,
        chipset="pc" if bus == "ide" else "q35",
        firmware=firmware,
        clock="localtime" if _local_time(machine) else "utc",
        disks=tuple(
            TargetDisk(
                source=disk,
                bus=bus,
                place=place,
                device=_PREFIX[bus] + letters(place),
                old="xvd" + letters(disk.slot),
                new=_GUEST_PREFIX[bus] + letters(place),
                boots=disk.slot == first,
            )
            for place, disk in enumerate(machine.disks)
        ),
        nics=tuple(
            TargetNic(
                mac=(nic.mac if keep else None) or _new_mac(machine.vm_id, name, place),
                model=model,
                network=wishes.networks.get(nic.network, wishes.network),
                old_network=nic.network,
            )
            for place, nic in enumerate(machine.nics)
        ),
        boot_order=machine.boot_order,
    )


def letters(number: int) -> str:
    """Return the letters of a disk: a to z, then aa and so on."""
    found = ""
    while True:
        found = chr(ord("a") + number % 26) + found
        number = number // 26 - 1
        if number < 0:
            return found


def _bus(machine: Machine) -> str:
    if machine.is_pvm:
        return "virtio"
    return "ide" if len(machine.disks) <= _IDE_DISKS else "sata"


def _firmware(start: DiskStart | None) -> str:
    """Oracle VM starts its guests by BIOS; only a disk that no BIOS could start points to UEFI."""
    return "uefi" if start is not None and start.efi and not start.loader else "bios"


def _local_time(machine: Machine) -> bool:
    """Return whether the clock of the machine shows local time: as vm.cfg says, otherwise as Windows takes it."""
    return machine.local_time if machine.local_time is not None else machine.family == "windows"


def _new_mac(vm_id: str, name: str, place: int) -> str:
    """Return an address that is the same each time for the same card of the same new VM."""
    digest = hashlib.sha256(f"{vm_id}\n{name}\n{place}".encode("utf-8", "surrogatepass")).digest()
    return ":".join(f"{part:02x}" for part in (*_QEMU_PREFIX, *digest[:3]))
