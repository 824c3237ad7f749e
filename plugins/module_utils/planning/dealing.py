# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Which proxy works on which VM, which others may do it instead, and from where each of them reads."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..manager.inventory import Inventory
from .access import Access
from .limits import slots_of
from .plan_types import StandIn, VmPlan
from .sources import all_reached, no_way_to, sources_elsewhere, with_sources
from .subclient import Subclient

# A VM whose proxies are lost one after the other is not worked on by every proxy of a large group.
MOST_STAND_INS = 2


@dataclass(frozen=True)
class Proxies:
    """The proxies of a run: their inventory names, and what each of them reaches."""

    names: tuple[str, ...]
    access: Mapping[str, Access]

    @classmethod
    def alike(cls, names: Sequence[str], access: Access, single: Mapping[str, Access] | None = None) -> Proxies:
        """Return proxies that all reach the same, but for the single ones of which more is known."""
        return cls(tuple(names), {name: (single or {}).get(name, access) for name in names})

    @property
    def differ(self) -> bool:
        """Whether they do not all reach the same."""
        return any(access != self.access[self.names[0]] for access in self.access.values())


def deal(ordered: Sequence[VmPlan], proxies: Proxies, subclient: Subclient, inventory: Inventory) -> list[VmPlan]:
    """Return the VMs with their proxies, sources, places and stand-ins, in the order that is given.

    Each VM goes to the proxy that has the fewest so far, the next one in turn among equals; that is round robin, but
    past the proxies that cannot read the VM.
    """
    dealt: list[VmPlan] = []
    able = {item.vm_id: able_to_read(item, subclient.source, inventory, proxies) for item in ordered}
    counts: Counter[str] = Counter()
    for number, item in enumerate(ordered):
        first = number % len(proxies.names)
        turn = [*proxies.names[first:], *proxies.names[:first]]
        choice = [name for name in turn if name in able[item.vm_id]] or turn
        proxy = min(choice, key=lambda name: counts[name])
        counts[proxy] += 1
        dealt.append(dataclasses.replace(item, order=number + 1, proxy=proxy))
    dealt = with_sources(dealt, subclient.source, inventory, proxies.access)
    return [
        with_stand_ins(with_slots(item, subclient, inventory), able[item.vm_id], proxies, subclient, inventory)
        for item in dealt
    ]


def able_to_read(item: VmPlan, wanted: str, inventory: Inventory, proxies: Proxies) -> tuple[str, ...]:
    """Return the proxies that can read all disks of a VM: those that see them, if there are any."""
    way = [name for name in proxies.names if not no_way_to(item, wanted, inventory, proxies.access[name])]
    certain = [name for name in way if all_reached(item, wanted, inventory, proxies.access[name])]
    return tuple(certain or way)


def without_way(item: VmPlan, wanted: str, inventory: Inventory, proxies: Proxies) -> VmPlan:
    """Return a VM as it is, or as one that fails because no proxy can read one of its disks."""
    if item.action != "backup" or able_to_read(item, wanted, inventory, proxies):
        return item
    problems = {name: no_way_to(item, wanted, inventory, proxies.access[name]) for name in proxies.names}
    text = "; ".join(problems[proxies.names[0]])
    if proxies.differ:
        text = "; ".join(f"on proxy {name}: {'; '.join(found)}" for name, found in problems.items())
    return dataclasses.replace(
        item, action="fail", method="skip", new_client=False, reason=f"there is no way to its data: {text}"
    )


def with_slots(item: VmPlan, subclient: Subclient, inventory: Inventory | None) -> VmPlan:
    """Return the plan of a VM that has its proxy, with the places that it needs before it is worked on."""
    if item.action != "backup":
        return item
    own = inventory.vms[item.vm_id].server_id if inventory is not None else None
    read_through = [disk.server.id for disk in item.disks if disk.server is not None]
    slots = slots_of(
        subclient.limits,
        repository_ids=[disk.repository_id for disk in item.disks if disk.repository_id is not None],
        server_ids=[*([own] if own is not None else []), *read_through],
        proxy=item.proxy,
    )
    return dataclasses.replace(item, slots=slots)


def with_stand_ins(
    item: VmPlan,
    able: Sequence[str],
    proxies: Proxies,
    subclient: Subclient,
    inventory: Inventory | None,
) -> VmPlan:
    """Return the plan of a VM with those who go on when its proxy is lost, the next ones in turn first."""
    if item.action != "backup":
        return item
    place = proxies.names.index(item.proxy)
    turn = [*proxies.names[place + 1 :], *proxies.names[:place]]
    stand_ins = []
    for name in [name for name in turn if name in able][:MOST_STAND_INS]:
        moved = dataclasses.replace(item, proxy=name)
        if inventory is not None:
            moved = sources_elsewhere(moved, subclient.source, inventory, proxies.access[name])
        slots = with_slots(moved, subclient, inventory).slots
        sources = tuple(disk.place for disk in moved.disks)
        stand_ins.append(StandIn(name, slots, sources))
    return dataclasses.replace(item, stand_ins=tuple(stand_ins))
