# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""From where the disks of all VMs of a plan are read."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

from ..manager.inventory import Inventory
from .access import Access, Source, choose_source
from .disks import disk_label
from .plan_types import DiskPlan, VmPlan


def with_sources(planned: Sequence[VmPlan], wanted: str, inventory: Inventory, access: Access) -> list[VmPlan]:
    """Return the VMs with the sources of their disks; a VM with a disk that cannot be read at all fails.

    First come the VMs whose own server decides: the others are then dealt to the servers that have the least to do.
    """
    loads: Counter[str] = Counter()
    found: dict[str, VmPlan] = {}
    for item in sorted(planned, key=lambda item: (not _reads_own(item, wanted, inventory, access), item.vm_id)):
        found[item.vm_id] = _with_sources(item, wanted, inventory, access, loads)
        if found[item.vm_id].action == "backup":
            loads.update({disk.server.id for disk in found[item.vm_id].disks if disk.server is not None})
    return [found[item.vm_id] for item in planned]


def config_source(item: VmPlan, wanted: str, inventory: Inventory, access: Access) -> Source:
    """Return from where the C(vm.cfg) of a VM is read, through the servers of its disks if they will do."""
    return choose_source(
        inventory.vms[item.vm_id].repository_id,
        wanted,
        inventory,
        access,
        own=inventory.vms[item.vm_id].server_id,
        used=[disk.server.id for disk in item.disks if disk.server is not None],
    )


def _reads_own(item: VmPlan, wanted: str, inventory: Inventory, access: Access) -> bool:
    own = inventory.vms[item.vm_id].server_id
    sources = [choose_source(disk.repository_id, wanted, inventory, access, own=own) for disk in item.disks]
    return all(source.server is None or source.server.id == own for source in sources)


def _with_sources(item: VmPlan, wanted: str, inventory: Inventory, access: Access, loads: Counter[str]) -> VmPlan:
    disks: list[DiskPlan] = []
    problems = []
    for disk in item.disks:
        source = choose_source(
            disk.repository_id,
            wanted,
            inventory,
            access,
            own=inventory.vms[item.vm_id].server_id,
            used=[one.server.id for one in disks if one.server is not None],
            loads=loads,
        )
        disks.append(dataclasses.replace(disk, source=source.kind, server=source.server, source_reason=source.reason))
        if source.is_missing:
            problems.append(f"{disk_label(disk)}: {source.reason}")
    item = dataclasses.replace(item, disks=tuple(disks))
    if item.action != "backup" or not problems:
        return item
    return dataclasses.replace(
        item,
        action="fail",
        method="skip",
        new_client=False,
        reason=f"there is no way to its data: {'; '.join(problems)}",
    )
