# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What restores have made and not finished: of those that still work, and of those that were interrupted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .clone_records import Purpose
from .objects import by_id, number, object_id, object_name, reference, references, text
from .restored import restore_mark

if TYPE_CHECKING:
    from .client import ManagerClient


@dataclass(frozen=True)
class MadeDisk:
    """A virtual disk of a restore. C(on_disk) is bytes, a hint of the manager (ovm-rest-api 10.2)."""

    id: str
    name: str
    run_id: str
    source_vm_id: str
    repository_id: str | None
    purpose: Purpose | None
    on_disk: int
    mapped: bool


@dataclass(frozen=True)
class Made:
    """What restores have made: their run ids by the id of the VM, and their disks by id."""

    vms: Mapping[str, str] = field(default_factory=dict)
    disks: Mapping[str, MadeDisk] = field(default_factory=dict)


def made_by_restores(client: ManagerClient, descriptions: Mapping[str, str]) -> Made:
    """Return what carries the mark of a restore. C(descriptions) are those of all VMs, by id."""
    vms = {}
    for vm_id, description in descriptions.items():
        mark = restore_mark(client, {"id": {"value": vm_id}, "description": description})
        if mark is not None:
            vms[vm_id] = mark.run_id
    disks = {}
    for item in client.list("VirtualDisk"):
        mark = restore_mark(client, item)
        if mark is not None:
            disks[object_id(item)] = MadeDisk(
                object_id(item),
                object_name(item),
                mark.run_id,
                mark.vm_id,
                reference(item, "repositoryId"),
                mark.purpose,
                number(item, "onDiskSize") or 0,
                bool(references(item, "vmDiskMappingIds")),
            )
    return Made(vms, disks)


def unfinished_restores(client: ManagerClient) -> list[dict[str, Any]]:
    """Return the restores that are not finished, each with what it has made, in plain types."""
    vms = by_id(client.list("Vm"))
    made = made_by_restores(client, {vm_id: text(item, "description") for vm_id, item in vms.items()})
    found = []
    for run_id in sorted({*made.vms.values(), *(disk.run_id for disk in made.disks.values())}):
        disks = [disk for disk in made.disks.values() if disk.run_id == run_id]
        purposes = [disk.purpose for disk in disks if disk.purpose is not None]
        target = next((one.vm_id for one in purposes if one.vm_id is not None), None)
        found.append(
            {
                "run_id": run_id,
                "point": next((one.point for one in purposes if one.point is not None), None),
                "source_vm_id": next((disk.source_vm_id for disk in disks if disk.source_vm_id), None),
                "vm_id": target,
                "vm_name": object_name(vms[target]) if target in vms else None,
                "vm_state": text(vms[target], "vmRunState") if target in vms else None,
                "was_running": any(one.was_running for one in purposes),
                "made_vms": sorted(vm_id for vm_id, run in made.vms.items() if run == run_id),
                "disks": [_plain(disk) for disk in sorted(disks, key=lambda disk: disk.id)],
            }
        )
    return found


def _plain(disk: MadeDisk) -> dict[str, Any]:
    purpose = disk.purpose
    return {
        "id": disk.id,
        "name": disk.name,
        "repository_id": disk.repository_id,
        "mapped": disk.mapped,
        "slot": purpose.slot if purpose is not None else None,
        "previous": purpose.previous if purpose is not None else None,
    }


def restore_lines(restores: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return lines of text for restores in the form of C(unfinished_restores)."""
    lines = []
    for one in restores:
        made = [f"VM {vm_id}" for vm_id in one["made_vms"]] + [f"virtual disk {disk['id']}" for disk in one["disks"]]
        text_ = f"unfinished: restore {one['run_id']} has made {', '.join(made)}"
        if one["vm_id"] is not None and one["was_running"] and one["vm_state"] == "STOPPED":
            text_ += f"; VM {one['vm_name']} ran before and is stopped"
        point = f" of recovery point {one['point']}" if one["point"] else ""
        lines.append(f"{text_}. If it works no more, repeat the restore{point}: it goes on, or takes all back.")
    return lines
