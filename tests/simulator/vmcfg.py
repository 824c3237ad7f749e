# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""vm.cfg files in the form that the servers of Oracle VM hold (ovm-rest-api 14.7)."""

from __future__ import annotations

from typing import Any

from .computed import disk_path
from .store import Obj, Store


def device(slot: int) -> str:
    """Guest device of a slot: 0 is xvda, 25 xvdz, 26 xvdaa (ovm-rest-api 10.1)."""
    letters = ""
    number = slot
    while True:
        letters = chr(ord("a") + number % 26) + letters
        number = number // 26 - 1
        if number < 0:
            return f"xvd{letters}"


def _disks(store: Store, vm: Obj) -> list[str]:
    lines = []
    for mapping in sorted(store.back("VmDiskMapping", "vmId", vm.ref), key=lambda item: item["diskTarget"]):
        slot = device(mapping["diskTarget"])
        mode = "r" if mapping["diskWriteMode"] == "READ_ONLY" else "w"
        element = store.find(mapping["storageElementId"])
        disk = store.find(mapping["virtualDiskId"])
        if element is not None:
            lines.append(f"phy:/dev/mapper/{element['page83Id']},{slot},{mode}{'!' if element['shareable'] else ''}")
        elif disk is not None and disk["diskType"] == "VIRTUAL_CDROM":
            where = f"file:{_mounted(disk)}" if disk["repositoryId"] else ""
            lines.append(f"{where},{slot}:cdrom,r")
        elif disk is not None:
            lines.append(f"file:{_mounted(disk)},{slot},{mode}{'!' if disk['shareable'] else ''}")
    return lines


def _mounted(disk: Obj) -> str:
    return f"/OVS/Repositories/{disk['repositoryId'].id}{disk_path(disk)}"


def _nics(store: Store, vm: Obj) -> list[str]:
    nics = store.back("VirtualNic", "vmId", vm.ref)
    return [f"mac={nic['macAddress']},bridge={nic['networkId'].id}" for nic in nics if nic["macAddress"]]


def config(store: Store, vm: Obj) -> dict[str, Any]:
    """The assignments of a VM's vm.cfg."""
    hvm = str(vm["vmDomainType"]).startswith("XEN_HVM")
    uuid = vm.id.split(".")[0]
    values: dict[str, Any] = {
        "vif": _nics(store, vm),
        "OVM_simple_name": vm.name,
        "OVM_description": vm["description"] or "",
        "OVM_os_type": vm["osType"],
        "OVM_domain_type": str(vm["vmDomainType"]).lower(),
        "OVM_high_availability": bool(vm["highAvailability"]),
        "OVM_cpu_compat_group": "",
        "disk": _disks(store, vm),
        "name": vm.id,
        "uuid": "-".join((uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:])),
        "memory": vm["memory"],
        "maxmem": vm["memoryLimit"],
        "vcpus": vm["cpuCount"],
        "maxvcpus": vm["cpuCountLimit"],
        "cpu_weight": 27500,
        "cpu_cap": 0 if vm["cpuUtilizationCap"] == 100 else vm["cpuUtilizationCap"],
        "on_crash": str(vm["restartActionOnCrash"]).lower(),
        "on_reboot": "restart",
        "on_poweroff": "destroy",
        "guest_os_type": "windows" if "Windows" in str(vm["osType"]) else "linux",
        "keymap": vm["keymapName"],
        "vfb": ["type=vnc,vncunused=1,vnclisten=127.0.0.1,keymap=en-us"],
    }
    if hvm:
        letters = {"PXE": "n", "DISK": "c", "CDROM": "d"}
        values.update(
            builder="hvm",
            boot="".join(letters.get(word, "") for word in vm["bootOrder"] or []),
            serial="pty",
            vnc=1,
            vncunused=1,
            vnclisten="127.0.0.1",
            usbdevice="tablet",
        )
    else:
        values["bootloader"] = "/usr/bin/pygrub"
    return values


def render_config(store: Store, vm: Obj) -> str:
    """Text of vm.cfg: Python-like assignments, values quoted as Python does."""
    return "".join(f"{key} = {value!r}\n" for key, value in config(store, vm).items())
