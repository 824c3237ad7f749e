# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""From where the disks of all VMs of a plan are read."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

from ..manager.inventory import Inventory
from .access import Access, Source, choose_source, is_reached
from .disks import disk_label
from .plan_types import DiskPlan, VmPlan


def with_sources(
    planned: Sequence[VmPlan], wanted: str, inventory: Inventory, accesses: Mapping[str, Access]
) -> list[VmPlan]:
    """Return the VMs with the sources of their disks, by what their proxies reach.

    First come the VMs whose own server decides: the others are then dealt to the servers that have the least to do.
    """
    loads: Counter[str] = Counter()
    found: dict[str, VmPlan] = {}

    def key(item: VmPlan) -> tuple[bool, str]:
        return (not _reads_own(item, wanted, inventory, accesses[item.proxy]), item.vm_id)

    for item in sorted(planned, key=key):
        found[item.vm_id] = _with_sources(item, wanted, inventory, accesses[item.proxy], loads)
        if found[item.vm_id].action == "backup":
            loads.update({disk.server.id for disk in found[item.vm_id].disks if disk.server is not None})
    return [found[item.vm_id] for item in planned]


def sources_elsewhere(item: VmPlan, wanted: str, inventory: Inventory, access: Access) -> VmPlan:
    """Return a VM with the sources of its disks for a proxy that reaches something else."""
    return _with_sources(item, wanted, inventory, access, Counter())


def no_way_to(item: VmPlan, wanted: str, inventory: Inventory, access: Access) -> list[str]:
    """Return for each disk of a VM that cannot be read why that is so."""
    found = [(disk, choose_source(disk.repository_id, wanted, inventory, access)) for disk in item.disks]
    return [f"{disk_label(disk)}: {source.reason}" for disk, source in found if source.is_missing]


def all_reached(item: VmPlan, wanted: str, inventory: Inventory, access: Access) -> bool:
    """Return whether all disks of a VM are there for certain."""
    return all(
        is_reached(choose_source(disk.repository_id, wanted, inventory, access), disk.repository_id, access)
        for disk in item.disks
    )


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
    return dataclasses.replace(item, disks=tuple(disks))
