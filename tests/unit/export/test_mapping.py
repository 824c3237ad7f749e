# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which hardware takes the place of which."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from unit.export.machines import BOOTS, PLAIN, UUID, machine

from ansible_collections.ovm.backup.plugins.module_utils.errors import InvalidInputError
from ansible_collections.ovm.backup.plugins.module_utils.export.disk_start import DiskStart, parse_start
from ansible_collections.ovm.backup.plugins.module_utils.export.mapping import Wishes, map_machine

UEFI = DiskStart("gpt", loader=False, efi=True, blank=False)


@pytest.mark.parametrize(
    ("kind", "slots", "start", "expected"),
    [
        ("XEN_HVM", (0,), BOOTS, ("pc", "bios", ["ide"], "e1000")),
        ("XEN_HVM_PV_DRIVERS", (0, 1, 2, 5), BOOTS, ("pc", "bios", ["ide"] * 4, "e1000")),
        ("XEN_HVM_PV_DRIVERS", (0, 1, 2, 3, 4), BOOTS, ("q35", "bios", ["sata"] * 5, "e1000")),
        ("XEN_HVM", (0,), UEFI, ("q35", "uefi", ["sata"], "e1000")),
        ("XEN_PVM", (0, 1), PLAIN, ("q35", "bios", ["virtio"] * 2, "virtio")),
    ],
)
def test_automatic_choice(kind: str, slots: tuple[int, ...], start: DiskStart, expected: tuple[Any, ...]) -> None:
    found = map_machine(machine(*slots, vmDomainType=kind), {0: start}, Wishes())
    assert (found.chipset, found.firmware, [disk.bus for disk in found.disks], found.nics[0].model) == expected


@pytest.mark.parametrize(
    ("bus", "devices", "new", "chipset"),
    [
        ("virtio", ["vda", "vdb"], ["vda", "vdb"], "q35"),
        ("virtio_scsi", ["sda", "sdb"], ["sda", "sdb"], "q35"),
        ("sata", ["sda", "sdb"], ["sda", "sdb"], "q35"),
        ("ide", ["hda", "hdb"], ["sda", "sdb"], "pc"),
    ],
)
def test_names_of_disks(bus: str, devices: list[str], new: list[str], chipset: str) -> None:
    found = map_machine(machine(0, 27), {0: PLAIN, 27: BOOTS}, Wishes(disk_bus=bus))
    assert [disk.device for disk in found.disks] == devices
    assert [(disk.old, disk.new) for disk in found.disks] == [("xvda", new[0]), ("xvdab", new[1])]
    assert ([disk.boots for disk in found.disks], found.chipset) == ([False, True], chipset)


def test_identity_is_kept_or_new() -> None:
    kept = map_machine(machine(), {0: BOOTS}, Wishes())
    assert (kept.name, kept.uuid, kept.nics[0].mac) == ("web 01", UUID, "00:21:f6:5b:b5:f7")
    new = [map_machine(machine(), {0: BOOTS}, Wishes(name=name, mac="new")) for name in ("copy", "copy", "other")]
    assert new[0] == new[1]
    assert len({one.nics[0].mac for one in new}) == 2
    assert (new[0].name, new[0].uuid, new[0].nics[0].mac[:9]) == ("copy", None, "52:54:00:")


def test_networks() -> None:
    for wishes, network in ((Wishes(networks={"vm-net": "blue"}), "blue"), (Wishes(network="red"), "red")):
        nic = map_machine(machine(), {0: BOOTS}, wishes).nics[0]
        assert (nic.network, nic.old_network) == (network, "vm-net")


@pytest.mark.parametrize(
    ("slots", "wishes", "message"),
    [
        ((0, 1, 2, 3, 4), Wishes(disk_bus="ide"), "disk_bus ide takes 4 disks, and 'web 01' has 5: "
            "choose sata, virtio_scsi or virtio"),
        ((0,), Wishes(disk_bus="ide", firmware="uefi"), "disk_bus ide does not go with firmware uefi, which needs the "
            "chipset q35: choose sata"),
        ((0,), Wishes(disk_bus="xen"), "disk_bus must be one of auto, virtio, virtio_scsi, sata, ide, not 'xen'"),
        ((0,), Wishes(name="a/b"), "name must be the name of a VM, without slash and line break, not 'a/b'"),
    ],
)  # fmt: skip
def test_what_cannot_be(slots: tuple[int, ...], wishes: Wishes, message: str) -> None:
    with pytest.raises(InvalidInputError) as found:
        map_machine(machine(*slots), {0: BOOTS}, wishes)
    assert found.value.message == message


# --- the first bytes of a disk ---------------------------------------------------------------------------------------

CODE = bytes(range(1, 201)).ljust(446, b"\0")
TABLE = struct.pack("<B3xB3xII", 0x80, 0x83, 2048, 4096) + bytes(48)
EFI_ENTRY = bytes.fromhex("28732ac11ff8d211ba4b00a0c93ec93b").ljust(128, b"\0")


def gpt(entry: bytes, code: bytes = bytes(446)) -> bytes:
    protective = struct.pack("<B3xB3xII", 0, 0xEE, 1, 1) + bytes(48)
    header = b"EFI PART".ljust(72, b"\0") + struct.pack("<QII", 2, 128, 128)
    return code + protective + b"\x55\xaa" + header.ljust(512, b"\0") + bytes(128) + entry


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (bytes(65536), DiskStart("none", False, False, True)),
        (CODE + TABLE + b"\x55\xaa", DiskStart("mbr", True, False, False)),
        (bytes(446) + TABLE + b"\x55\xaa", DiskStart("mbr", False, False, False)),
        (CODE + TABLE + b"\0\0", DiskStart("none", False, False, False)),
        (CODE + b"file system data" * 4 + b"\x55\xaa", DiskStart("none", True, False, False)),
        (bytes(1080) + b"\x53\xef", DiskStart("none", False, False, False)),
        (gpt(EFI_ENTRY), DiskStart("gpt", False, True, False)),
        (gpt(bytes([1]) * 128, CODE), DiskStart("gpt", True, False, False)),
        (b"short", DiskStart("none", False, False, False)),
    ],
)
def test_first_bytes(data: bytes, expected: DiskStart) -> None:
    assert parse_start(data) == expected
