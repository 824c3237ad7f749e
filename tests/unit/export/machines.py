# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Saved configurations, as the manager and its servers give them."""

from __future__ import annotations

from typing import Any

from unit.reporting.builders import MOMENT

from ansible_collections.ovm.backup.plugins.module_utils.export.disk_start import DiskStart
from ansible_collections.ovm.backup.plugins.module_utils.export.machine import Machine, parse_machine
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point, PointDisk

GIB = 1 << 30
VM_ID = "0004fb00000600006f8e65a5d245ea0c"
UUID = "0004fb00-0006-0000-6f8e-65a5d245ea0c"
BOOTS = DiskStart("mbr", loader=True, efi=False, blank=False)
PLAIN = DiskStart("none", loader=False, efi=False, blank=False)


def point_disk(slot: int, name: str = "", size: int = 8 * GIB) -> PointDisk:
    return PointDisk(
        slot=slot,
        disk_id=f"disk{slot}.img",
        name=name or f"disk {slot}",
        size=size,
        type="full",
        reason="first",
        base=None,
        file=f"{slot}-disk.img.zst",
        file_size=1,
        header_hash="00",
        content_hash=f"c{slot}",
        repository="repo one",
        statistics={},
    )


def point(*disks: PointDisk, **changes: Any) -> Point:
    values: dict[str, Any] = {
        "id": "20261123T010203Z-0001",
        "client": "web_01",
        "sequence": 1,
        "parent": None,
        "type": "full",
        "requested_type": "full",
        "reason": "first",
        "method": "hot_clone",
        "consistency": "crash_consistent",
        "vm_id": VM_ID,
        "vm_name": "web 01",
        "created": MOMENT,
        "completed": MOMENT,
        "run_id": "r",
        "job_id": None,
        "subclient": None,
        "manager": {},
        "disks": disks or (point_disk(0),),
        "skipped_disks": (),
        "configuration": {},
        "durations": {},
        "versions": {},
    }
    return Point(**{**values, **changes})


def ref(value: str, name: str = "") -> dict[str, str]:
    return {"type": "com.oracle.ovm.mgr.ws.model.X", "value": value, "name": name}


def document(slots: tuple[int, ...] = (0,), **changes: Any) -> dict[str, Any]:
    """What the manager says of a VM with disks in these slots, a CD drive behind them and a network card."""
    vm = {
        "id": ref(VM_ID, "web 01"),
        "name": "web 01",
        "description": "a <web> server",
        "vmDomainType": "XEN_HVM_PV_DRIVERS",
        "osType": "Oracle Linux 7",
        "memory": 4096,
        "memoryLimit": 8192,
        "cpuCount": 2,
        "cpuCountLimit": 4,
        "bootOrder": ["CDROM", "DISK"],
        "vmMouseType": "OS_DEFAULT",
        "keymapName": "de",
        "restartActionOnCrash": "RESTART",
    }
    mappings = [{"diskTarget": slot, "virtualDiskId": ref(f"disk{slot}.img")} for slot in slots]
    mappings.append({"diskTarget": len(slots), "virtualDiskId": ref("EMPTY_CDROM")})
    return {
        "vm": {**vm, **changes},
        "disk_mappings": mappings,
        "virtual_disks": [{"id": ref(f"disk{slot}.img"), "shareable": slot == 3} for slot in slots],
        "virtual_nics": [{"macAddress": "00:21:F6:5B:B5:F7", "networkId": ref("10238073c2", "vm-net")}],
    }


def machine(*slots: int, made: Point | None = None, **changes: Any) -> Machine:
    slots = slots or (0,)
    made = made or point(*(point_disk(slot) for slot in slots))
    return parse_machine(made, document(slots, **changes), {})
