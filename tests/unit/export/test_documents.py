# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The documents beside the images: well-formed, valid where there is a schema, and telling what the machine is."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from unit.export.machines import BOOTS, GIB, PLAIN, UUID, machine, point, point_disk

from ansible_collections.ovm.backup.plugins.module_utils.export.attention import CHECK, INFO, MUST, attention
from ansible_collections.ovm.backup.plugins.module_utils.export.disk_start import DiskStart
from ansible_collections.ovm.backup.plugins.module_utils.export.libvirt_xml import libvirt_xml
from ansible_collections.ovm.backup.plugins.module_utils.export.machine import Machine
from ansible_collections.ovm.backup.plugins.module_utils.export.mapping import Target, Wishes, map_machine
from ansible_collections.ovm.backup.plugins.module_utils.export.ovf import OVF, RASD, ovf_descriptor
from ansible_collections.ovm.backup.plugins.module_utils.export.report_text import report_text

HOSTILE = "<a> & \"b\" \x00\ufffe\n'c'"
UEFI = DiskStart("gpt", loader=False, efi=True, blank=False)
SKIPPED = {"slot": 1, "name": "asm", "kind": "physical", "reason": "physical disks are not backed up"}


def mapped(found: Machine, start: DiskStart = BOOTS, **wishes: Any) -> Target:
    return map_machine(found, dict.fromkeys((disk.slot for disk in found.disks), start), Wishes(**wishes))


def files(target: Target) -> dict[int, str]:
    return {disk.source.slot: f"{disk.source.slot}-disk.qcow2" for disk in target.disks}


def domain(found: Machine, target: Target) -> bytes:
    return libvirt_xml(found, target, files(target), "/var/lib/images")


MACHINES = [
    (machine(), {}, BOOTS),
    (machine(0, 1, 2, 3, 4, 5, 6, 7), {"mac": "new"}, BOOTS),
    (machine(0, 1, vmDomainType="XEN_PVM", bootOrder=["PXE", "DISK"]), {"network": "br one"}, PLAIN),
    (machine(0, 1, osType="Windows"), {"disk_bus": "virtio_scsi", "nic_model": "rtl8139"}, UEFI),
    (machine(name=HOSTILE, description=HOSTILE, keymapName=HOSTILE, cpuCountLimit=0), {"name": "plain"}, BOOTS),
    (machine(made=point(point_disk(0, HOSTILE), vm_name=HOSTILE)), {"network": HOSTILE}, BOOTS),
]


@pytest.mark.parametrize(("found", "wishes", "start"), MACHINES)
def test_domain_is_valid(found: Machine, wishes: dict[str, Any], start: DiskStart, tmp_path: Path) -> None:
    if shutil.which("virt-xml-validate") is None:
        pytest.skip("virt-xml-validate is not installed (libvirt-clients)")
    path = tmp_path / "domain.xml"
    path.write_bytes(domain(found, mapped(found, start, **wishes)))
    done = subprocess.run(["virt-xml-validate", str(path), "domain"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_domain() -> None:
    found = replace(machine(0, 3), local_time=True)
    root = ET.fromstring(domain(found, mapped(found, networks={"vm-net": "blue"})))

    def text(path: str) -> str | None:
        return root.findtext(path)

    assert (text("name"), text("uuid"), text("description")) == ("web 01", UUID, "a <web> server")
    assert (text("memory"), text("vcpu")) == ("4096", "4")
    assert root.find("vcpu").get("current") == "2"
    assert (root.find("os/type").get("machine"), root.find("os").get("firmware")) == ("pc", None)
    assert root.find("clock").get("offset") == "localtime"
    disks = root.findall("devices/disk")
    assert [disk.find("source").get("file") for disk in disks] == [
        "/var/lib/images/0-disk.qcow2", "/var/lib/images/3-disk.qcow2",
    ]  # fmt: skip
    assert [disk.find("target").attrib for disk in disks] == [
        {"dev": "hda", "bus": "ide"},
        {"dev": "hdb", "bus": "ide"},
    ]
    assert [disk.find("boot") is not None for disk in disks] == [True, False]
    nic = root.find("devices/interface")
    assert (nic.find("mac").get("address"), nic.find("source").get("network")) == ("00:21:f6:5b:b5:f7", "blue")
    assert (nic.find("model").get("type"), nic.find("boot")) == ("e1000", None)
    assert root.find("devices/graphics").get("keymap") == "de"


def test_order_of_booting() -> None:
    found = machine(vmDomainType="XEN_PVM", bootOrder=["PXE", "CDROM", "DISK"])
    root = ET.fromstring(domain(found, mapped(found)))
    assert [root.find(f"devices/{kind}/boot").get("order") for kind in ("interface", "disk")] == ["1", "101"]


@pytest.mark.parametrize(("found", "wishes", "start"), MACHINES)
def test_descriptor(found: Machine, wishes: dict[str, Any], start: DiskStart) -> None:
    target = mapped(found, start, **wishes)
    sizes = {disk.source.slot: 100 + disk.source.slot for disk in target.disks}
    text = ovf_descriptor(found, target, files(target), sizes, "20261123T010203Z-0001")
    assert text == ovf_descriptor(found, target, files(target), sizes, "20261123T010203Z-0001")
    root = ET.fromstring(text)
    names = {"o": OVF, "r": RASD}
    attribute = f"{{{OVF}}}"
    parts = root.findall("o:References/o:File", names)
    disks = root.findall("o:DiskSection/o:Disk", names)
    assert [part.get(f"{attribute}href") for part in parts] == list(files(target).values())
    assert [part.get(f"{attribute}size") for part in parts] == [str(size) for size in sizes.values()]
    assert [disk.get(f"{attribute}fileRef") for disk in disks] == [part.get(f"{attribute}id") for part in parts]
    assert [disk.get(f"{attribute}capacity") for disk in disks] == [str(8 * GIB)] * len(disks)
    assert [disk.get(f"{attribute}boot") for disk in disks] == ["true"] + ["false"] * (len(disks) - 1)
    items = root.findall("o:VirtualSystem/o:VirtualHardwareSection/o:Item", names)
    kinds = [item.findtext("r:ResourceType", None, names) for item in items]
    assert kinds == ["3", "4", *["17"] * len(disks), "10", "20"]
    assert [items[0].findtext(f"r:{name}", None, names) for name in ("num_of_sockets", "cpu_per_socket")] == ["2", "1"]
    assert items[1].findtext("r:VirtualQuantity", None, names) == "4096"
    where = [item.findtext("r:HostResource", None, names) for item in items[2 : 2 + len(disks)]]
    assert where == [f"ovf:/disk/{disk.get(f'{attribute}diskId')}" for disk in disks]
    assert items[-2].findtext("r:MACAddress", None, names) == target.nics[0].mac
    # By these names and prefixes oVirt looks for them.
    assert b"<VirtualSystem ovf:id=" in text and b"<rasd:ResourceType>17<" in text and b" ovf:disk-interface=" in text


# --- what will need attention ----------------------------------------------------------------------------------------


def keys(found: Machine, start: DiskStart = BOOTS, **wishes: Any) -> dict[str, list[str]]:
    target = mapped(found, start, **wishes)
    items = attention(found, target, {disk.slot: start for disk in found.disks})
    return {level: [item.key for item in items if item.level == level] for level in (MUST, CHECK, INFO)}


def test_usual_linux() -> None:
    assert keys(machine()) == {
        MUST: [],
        CHECK: [
            "boot_order", "initramfs", "device_names", "network", "mac_kept", "interface_names", "clock",
        ],
        INFO: ["guest_tools", "cdrom", "consistency", "memory", "policies"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("found", "start", "wishes", "level", "key"),
    [
        (machine(vmDomainType="XEN_PVM"), PLAIN, {}, MUST, "boot_loader"),
        (machine(vmDomainType="XEN_PVM"), BOOTS, {}, MUST, "pvm"),
        (machine(vmDomainType="XEN_PVM"), BOOTS, {}, CHECK, "boot_loader"),
        (machine(), PLAIN, {}, MUST, "boot_loader"),
        (machine(), UEFI, {}, CHECK, "firmware"),
        (machine(), BOOTS, {"disk_bus": "virtio"}, MUST, "initramfs"),
        (machine(), BOOTS, {"mac": "new"}, CHECK, "mac_new"),
        (machine(osType="Microsoft Windows Server 2012"), BOOTS, {}, CHECK, "pv_drivers"),
        (machine(osType="Microsoft Windows Server 2012"), BOOTS, {}, CHECK, "activation"),
        (machine(osType="Microsoft Windows Server 2012"), BOOTS, {"disk_bus": "virtio"}, MUST, "windows_drivers"),
        (machine(osType="Oracle Linux 5"), BOOTS, {}, CHECK, "old_system"),
        (machine(0, 3), BOOTS, {}, MUST, "shared_disk"),
        (machine(made=point(skipped_disks=(SKIPPED,))), BOOTS, {}, MUST, "missing_disk"),
        (machine(memory=None), BOOTS, {}, CHECK, "guessed"),
        (replace(machine(), disks=()), BOOTS, {}, MUST, "no_disk"),
        (replace(machine(), nics=()), BOOTS, {}, INFO, "network"),
    ],
)
def test_attention(found: Machine, start: DiskStart, wishes: dict[str, Any], level: str, key: str) -> None:
    assert key in keys(found, start, **wishes)[level]


def test_report() -> None:
    made = point(point_disk(0, HOSTILE), point_disk(1), vm_name=HOSTILE, skipped_disks=(SKIPPED,))
    found = machine(0, 1, made=made)
    target = mapped(found)
    items = attention(found, target, {0: BOOTS, 1: PLAIN})
    text = report_text(found, target, items, made, files(target), xml="web_01.xml", ovf="web_01.ovf")
    assert "\x00" not in text and max(map(len, text.splitlines())) < 160
    for part in (
        "export of recovery point 20261123T010203Z-0001 of client web_01",
        "  slot 0: 0-disk.qcow2, 8.0 GiB, ide, xvda -> sda, starts the machine\n    content hash c0\n",
        "  00:21:f6:5b:b5:f7, e1000, vm-net -> default\n",
        "To be done:\n  - slot 1: Disk 'asm' (physical) is not in the recovery point: physical disks are not",
        "tar -cf web_01.ova web_01.ovf 0-disk.qcow2 1-disk.qcow2",
    ):
        assert part in text
