# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What will need attention before or after a VM of Oracle VM starts on KVM."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from ..vault.text import number_of, one_line
from .disk_start import DiskStart
from .machine import HVM_PV, LINUX, WINDOWS, Machine
from .mapping import Target

# It does not start, or data is missing, unless somebody acts | it may not work | good to know.
MUST, CHECK, INFO = "must", "check", "info"
_VIRTIO = ("virtio", "virtio_scsi")
_OLD = re.compile(r"\b(?:Enterprise Linux|Linux) [3-5]\b")


@dataclass(frozen=True)
class Attention:
    """One thing: how urgent, what about, and what to do. C(key) is for programs."""

    level: str
    key: str
    subject: str
    text: str

    def as_dict(self) -> dict[str, str]:
        """Return plain JSON types."""
        return asdict(self)


def attention(machine: Machine, target: Target, starts: Mapping[int, DiskStart]) -> list[Attention]:
    """Return all of it, the urgent first."""
    found = [
        *_start(machine, target, starts),
        *_drivers(machine, target),
        *_disks(machine, target),
        *_network(target, machine),
        *_rest(machine, target),
    ]
    return sorted(found, key=lambda item: (MUST, CHECK, INFO).index(item.level))


def _start(machine: Machine, target: Target, starts: Mapping[int, DiskStart]) -> Iterator[Attention]:
    boot = next((disk for disk in target.disks if disk.boots), None)
    start = starts.get(boot.source.slot) if boot is not None else None
    if boot is None:
        yield Attention(MUST, "no_disk", "disks", "There is no disk to start from: boot from the network or add one.")
    elif start is None or not start.bootable:
        how = (
            "The server started this PVM guest with a boot loader of its own and the guest's kernel and menu. Start a "
            "rescue system with the disks, install GRUB to the disk (grub2-install and grub2-mkconfig, or grub-install)"
            if machine.is_pvm
            else "Start a rescue system with the disks and install a boot loader"
        )
        yield Attention(
            MUST,
            "boot_loader",
            f"disk {one_line(boot.source.disk.name)}",
            f"No disk has a boot loader in its first sector. {how}.",
        )
    elif machine.is_pvm:
        yield Attention(
            CHECK,
            "boot_loader",
            f"disk {one_line(boot.source.disk.name)}",
            "The first sector of the disk holds a boot loader, but the server never used it for this PVM guest: it may "
            "be older than the guest's kernels. If it starts nothing, install it anew from a rescue system.",
        )
    if target.firmware == "uefi":
        yield Attention(
            CHECK,
            "firmware",
            "firmware",
            "The machine starts by UEFI. Entries that the guest had written into its old firmware are gone: it starts "
            "from \\EFI\\BOOT\\BOOTX64.EFI, or choose the file in the firmware's menu once.",
        )
    words = [word.lower() for word in machine.boot_order]
    if words and words[0] != "disk":
        yield Attention(
            CHECK,
            "boot_order",
            "boot order",
            f"The VM was set to start from {', then '.join(words)}. CD drives were left out, the order of the others "
            "was kept: set the disk first if the machine waits for the network.",
        )


def _drivers(machine: Machine, target: Target) -> Iterator[Attention]:
    bus = target.disks[0].bus if target.disks else ""
    if machine.is_pvm:
        yield Attention(
            MUST,
            "pvm",
            "kernel",
            "The VM was a PVM guest: its kernel ran on Xen without firmware and emulated devices. It needs a kernel "
            "that also runs on plain hardware (UEK or the distribution's own, not kernel-xen) and a console on tty0 "
            "and ttyS0 in place of hvc0 and xvc0 (boot menu, inittab or getty, securetty).",
        )
    if machine.family == WINDOWS:
        yield from _windows(machine, bus)
        return
    if bus in _VIRTIO:
        yield Attention(
            MUST,
            "initramfs",
            "drivers",
            "The disks are virtio. The guest finds them only if its initramfs holds the drivers. Where it does not (a "
            "shell of dracut, or 'no root device'), start a rescue kernel or system and run: "
            'dracut -f --regenerate-all --add-drivers "virtio_pci virtio_blk virtio_scsi virtio_net" (mkinitrd '
            "--with=virtio_pci --with=virtio_blk on version 5, update-initramfs -u -k all on Debian).",
        )
    else:
        driver = "ata_piix" if bus == "ide" else "ahci"
        yield Attention(
            CHECK,
            "initramfs",
            "drivers",
            f"The disks are {bus}, which takes the driver {driver} in place of xen-blkfront. An initramfs that was "
            "made for the old machine only may lack it: then start the rescue kernel of the boot menu and rebuild it "
            "with dracut -f. When the VM is up, add the virtio drivers to the initramfs, then change disks and "
            "network cards to virtio, which is much faster.",
        )
    if _OLD.search(machine.os_type):
        yield Attention(
            CHECK,
            "old_system",
            "operating system",
            f"{one_line(machine.os_type)} may have no virtio drivers at all: keep emulated disks and network cards, or "
            "update its kernel first.",
        )
    if machine.family == LINUX:
        yield Attention(
            INFO,
            "guest_tools",
            "guest tools",
            "Remove the tools of Oracle VM (ovmd, libovmapi, xenstoreprovider) and install qemu-guest-agent.",
        )


def _windows(machine: Machine, bus: str) -> Iterator[Attention]:
    if bus in _VIRTIO:
        yield Attention(
            MUST,
            "windows_drivers",
            "drivers",
            "Windows stops with INACCESSIBLE_BOOT_DEVICE on virtio disks whose driver it does not have. Install the "
            "virtio drivers in the VM before its last backup, or export with disk_bus sata or ide and add them there.",
        )
    else:
        yield Attention(
            CHECK,
            "windows_drivers",
            "drivers",
            f"Windows starts from {bus} disks by its own driver, if that is enabled. Then install the virtio drivers "
            "(virtio-win) and change disks and network cards to virtio one by one.",
        )
    if machine.domain_type == HVM_PV:
        yield Attention(
            CHECK,
            "pv_drivers",
            "PV drivers",
            "The Oracle VM Paravirtual Drivers for Windows find no Xen. Remove them after the first start, in safe "
            "mode if it hangs, before other drivers are installed.",
        )
    yield Attention(
        CHECK,
        "activation",
        "activation",
        "Windows sees other hardware, so it may ask to be activated again. The id of the machine "
        + ("was kept." if machine.uuid is not None else "is new."),
    )


def _disks(machine: Machine, target: Target) -> Iterator[Attention]:
    for disk in machine.skipped_disks:
        yield Attention(
            MUST,
            "missing_disk",
            f"slot {disk.get('slot')}",
            f"Disk {one_line(disk.get('name') or '')!r} ({one_line(disk.get('kind') or 'unknown')}) is not in the "
            f"recovery point: {one_line(disk.get('reason') or 'unknown')}. Bring its data by other means, and take "
            "it out of /etc/fstab or the like until then, or the guest may stop while it starts.",
        )
    for item in target.disks:
        if item.source.shared:
            yield Attention(
                MUST,
                "shared_disk",
                f"slot {item.source.slot}",
                f"Disk {one_line(item.source.disk.name)!r} was shared with other VMs. This is a copy for this VM "
                "alone: share one copy (format raw, <shareable/>, no cache) between the machines, or they diverge.",
            )
        if item.source.read_only:
            yield Attention(
                INFO,
                "read_only",
                f"slot {item.source.slot}",
                f"Disk {one_line(item.source.disk.name)!r} was read-only and is so in the domain of libvirt; oVirt has "
                "to be told.",
            )
    names = [f"{item.old} is {item.new}" for item in target.disks if item.old != item.new]
    if names and machine.family != WINDOWS:
        yield Attention(
            CHECK,
            "device_names",
            "device names",
            f"Disks have other names: {', '.join(names)}. Where they are named so, change to UUID= or the new name: "
            "/etc/fstab, root= and resume= of the boot menu, GRUB's device.map, filters of LVM and multipath, udev "
            "rules and disk strings of ASM. Disks that are found by UUID, label or LVM need nothing.",
        )
    if machine.cdroms:
        yield Attention(
            INFO,
            "cdrom",
            "CD drives",
            f"The VM had {number_of(machine.cdroms, 'CD drive')}, left out here.",
        )


def _network(target: Target, machine: Machine) -> Iterator[Attention]:
    if not target.nics:
        yield Attention(INFO, "network", "network", "The VM had no network card.")
        return
    cards = "; ".join(
        f"{nic.mac} ({nic.model}) from network {one_line(nic.old_network) or 'unknown'!r} to {one_line(nic.network)!r}"
        for nic in target.nics
    )
    yield Attention(CHECK, "network", "network", f"These networks must exist on the new side: {cards}.")
    if any(nic.mac == old.mac for nic, old in zip(target.nics, machine.nics)):
        yield Attention(
            CHECK,
            "mac_kept",
            "MAC addresses",
            "MAC addresses were kept. Never let this VM and the original run on one network.",
        )
    else:
        yield Attention(
            CHECK,
            "mac_new",
            "MAC addresses",
            "MAC addresses are new: look after DHCP reservations, HWADDR= in ifcfg files, udev rules "
            "(70-persistent-net.rules) and licences that are bound to the old ones.",
        )
    if machine.family != WINDOWS:
        yield Attention(
            CHECK,
            "interface_names",
            "network",
            "Names of network interfaces may change (eth0 to ens3 or enp1s0): look after the network's configuration.",
        )


def _rest(machine: Machine, target: Target) -> Iterator[Attention]:
    if machine.local_time is None:
        yield Attention(
            CHECK,
            "clock",
            "clock",
            f"The configuration does not say whether the machine's clock is in UTC. It is set to {target.clock}, as "
            "usual for the guest's system: compare the time after the first start.",
        )
    if machine.consistency == "crash_consistent":
        yield Attention(
            INFO,
            "consistency",
            "consistency",
            "The disks are as after a power failure: journals of file systems and databases are replayed at the first "
            "start.",
        )
    if machine.memory_limit > machine.memory:
        yield Attention(
            INFO,
            "memory",
            "memory",
            f"The VM could grow to {machine.memory_limit} MiB while it ran; the new machine has {machine.memory} MiB.",
        )
    if machine.guessed:
        yield Attention(
            CHECK,
            "guessed",
            "configuration",
            f"The recovery point does not say: {', '.join(machine.guessed)}. Usual values were taken.",
        )
    yield Attention(
        INFO,
        "policies",
        "policies",
        "High availability, CPU priority and cap, pinning, affinity and the server pool were left out.",
    )
