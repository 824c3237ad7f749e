# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What a restore of a VM will do, from its recovery point, the manager's objects and what is wished: nothing is done.

Everything that could not work is found here, before anything is touched, and all of it is named at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..errors import InvalidInputError
from ..manager.clone_records import Purpose
from ..manager.inventory import Disk, Inventory, Vm
from ..manager.networks import Network
from ..manager.objects import object_id, reference
from ..manager.restored_disks import BLOCK
from ..manager.restored_survey import Made, MadeDisk
from ..manager.restored_vms import settings_of
from ..vault.manifest import Point, PointDisk
from .access import Access
from .reading import did_you_mean, quoted
from .restore_places import Home, Places
from .restore_plan_types import DiskToRestore, Placed, RestorePlan, holds_done, restore_id
from .restore_wishes import Wishes


def plan_restore(
    point: Point,
    document: Mapping[str, Any],
    inventory: Inventory,
    networks: Mapping[str, Network],
    wishes: Wishes,
    access: Access,
    *,
    needed: Mapping[int, int],
    made: Made | None = None,
    os_types: frozenset[str] = frozenset(),
) -> RestorePlan:
    """Return the plan. Raises C(InvalidInputError) with everything that stands in the way.

    C(document) is the saved configuration, C(needed) the bytes of data by slot, C(made) what restores have made and not
    finished, C(os_types) what osType may be, nothing if that is not known.
    """
    places = Places(inventory, networks, wishes, access)
    return _Planning(point, document, places, needed, made or Made(), os_types).plan()


class _Planning:
    """One plan in the making; C(problems) collects what stands in the way."""

    def __init__(
        self,
        point: Point,
        document: Mapping[str, Any],
        places: Places,
        needed: Mapping[int, int],
        made: Made,
        os_types: frozenset[str],
    ) -> None:
        self.point = point
        self.saved: Mapping[str, Any] = document.get("vm") or {}
        self.document = document
        self.places = places
        self.inventory = places.inventory
        self.wishes = places.wishes
        self.needed = needed
        self.made = made
        self.os_types = os_types
        self.name = self.wishes.name or point.vm_name
        self.problems = places.problems
        self.notes = places.notes
        self.run_id = ""

    def plan(self) -> RestorePlan:
        mode = self.wishes.mode
        chosen = self._chosen()
        vm = {"new": lambda: None, "in_place": self._existing, "attach": self._other}[mode]()
        home = self.places.home(self.saved) if mode == "new" else Home()
        placed = self._placed(chosen, vm)
        target = vm.id if vm is not None else self.name
        self.run_id = restore_id(self.inventory, self.point, self.wishes, target, home, placed)
        own = {disk.id: disk for disk in self.made.disks.values() if disk.run_id == self.run_id}
        remembered = any(disk.purpose is not None and disk.purpose.was_running for disk in own.values())
        was_running = vm is not None and (vm.state != "STOPPED" or remembered)
        made = None
        if mode == "new":
            vms = self.inventory.vms.values()
            made = next((one for one in vms if self.made.vms.get(one.id) == self.run_id), None)
            # Its mark is the first that goes.
            made = made or next((one for one in vms if holds_done(one, own)), None)
        disks = self._disks(placed, vm if vm is not None else made, own, was_running)
        complete = self._is_complete(vm if vm is not None else made, disks, own)
        if mode == "new":
            self._check_name(made, complete)
        if vm is not None and not complete:
            self._check_state(vm, disks)
            self._check_others(vm, {disk.slot for disk in chosen})
        if not complete:
            self._check_places(vm, home, disks, own)
        definition = {
            "new": lambda: self._definition(home),
            # Who wants some of the disks only wants nothing else to change.
            "in_place": self._settings if self.wishes.slots is None else dict,
            "attach": dict,  # the VM keeps its own
        }[mode]()
        nics = []
        if mode == "new":
            nics = self.places.nics(self.document.get("virtual_nics", ()), [made.id] if made is not None else [])
        if self.point.skipped_disks:
            slots = ", ".join(str(disk.get("slot")) for disk in self.point.skipped_disks)
            self.notes.append(f"disks in the slots {slots} were not backed up and are not restored")
        if self.problems:
            what = f"Recovery point {self.point.id} of client {self.point.client} cannot be restored: "
            raise InvalidInputError(what + "; ".join(self.problems), problems=list(self.problems))
        return RestorePlan(
            run_id=self.run_id,
            mode=mode,
            client=self.point.client,
            point_id=self.point.id,
            source_vm_id=self.point.vm_id,
            source_vm_name=self.point.vm_name,
            vm_id=vm.id if vm is not None else made.id if made is not None and complete else None,
            name=vm.name if vm is not None else self.name,
            complete=complete,
            stop=vm is not None and vm.state != "STOPPED" and not complete,
            # A VM that is stopped for it runs again afterwards.
            start=self.wishes.start or was_running,
            was_running=was_running,
            disks=tuple(disks),
            definition=definition,
            nics=tuple(nics),
            needed=sum(disk.needed for disk in disks),
            notes=tuple(self.notes),
        )

    # --- the VM ---

    def _chosen(self) -> list[PointDisk]:
        known = {disk.slot: disk for disk in self.point.disks}
        if self.wishes.slots is None:
            return list(self.point.disks)
        missing = sorted(set(self.wishes.slots) - set(known))
        if missing:
            has = ", ".join(map(str, sorted(known)))
            self.problems.append(f"it has no disk in slot {missing[0]}; it has {has}")
        return [known[slot] for slot in sorted(set(self.wishes.slots) & set(known))]

    def _existing(self) -> Vm | None:
        vm = self.inventory.vms.get(self.point.vm_id)
        if vm is None:
            self.problems.append(
                f"the manager has no VM {self.point.vm_id} ({quoted(self.point.vm_name)}) any more: restore it as a "
                "new one (mode: new)"
            )
            return None
        if self.wishes.confirm != vm.name:
            given = "nothing" if self.wishes.confirm is None else quoted(self.wishes.confirm)
            self.problems.append(
                f"the disks of VM {quoted(vm.name)} would be replaced: pass its name in confirm, where {given} stands"
            )
        return vm

    def _other(self) -> Vm | None:
        names = {vm_id: vm.name for vm_id, vm in self.inventory.vms.items() if not vm.is_template}
        found = self.places.find(names, self.wishes.vm, None, None, "VM", "the disks", "vm")
        return self.inventory.vms[found] if found is not None else None

    def _is_complete(self, vm: Vm | None, disks: Sequence[DiskToRestore], own: Mapping[str, MadeDisk]) -> bool:
        """Whether an interrupted call has done it all, up to the start of the VM, and only the marks are left.

        Disks are put into slots only when they are whole. The guest may have written to them by now, also if it
        does not run at this moment: they are not written again.
        """
        if vm is not None and holds_done(vm, own):
            return True
        if vm is None or vm.state != "RUNNING" or not disks or not all(disk.exchanged for disk in disks):
            return False
        if self.wishes.mode == "new":
            return len(vm.nics) >= len(self.document.get("virtual_nics", ()))
        if self.wishes.mode == "attach" or self.wishes.slots is not None:
            return True
        saved, now = settings_of(self.saved), settings_of(vm.document.get("vm", {}))
        return all(now.get(key) == value for key, value in saved.items() if key != "osType")

    def _check_name(self, made: Vm | None, complete: bool) -> None:
        for vm in self.inventory.vms.values():
            if vm is made and vm.state != "STOPPED" and not complete:
                self.problems.append(
                    f"VM {quoted(vm.name)} ({vm.id}), which this restore has made, is {vm.state} already: "
                    "its disks are in use"
                )
            if vm.name == self.name and vm is not made:
                self.problems.append(
                    f"there is a VM {quoted(vm.name)} ({vm.id}) already: pass another name, or mode: in_place"
                )

    def _check_state(self, vm: Vm, disks: Sequence[DiskToRestore]) -> None:
        if vm.state not in ("STOPPED", "RUNNING"):
            self.problems.append(f"VM {quoted(vm.name)} is {vm.state}: let it run or stop it first")
        elif vm.state == "RUNNING" and any(disk.exchanged for disk in disks):
            self.problems.append(
                f"VM {quoted(vm.name)} is RUNNING with disks that this restore has put into its slots before it was "
                "interrupted: stop it, then repeat the restore"
            )
        elif vm.state == "RUNNING" and not self.wishes.stop:
            self.problems.append(f"VM {quoted(vm.name)} is RUNNING: stop it, or pass stop: true")

    def _check_others(self, vm: Vm, slots: Collection[int]) -> None:
        """Two restores would exchange the disks against each other. What is in the chosen slots is said elsewhere."""
        if self.wishes.mode != "in_place":
            return
        said = {
            self.made.disks[disk.id].run_id for disk in vm.disks if disk.slot in slots and disk.id in self.made.disks
        }
        others = {
            other.run_id: _of_point(other)
            for other in self.made.disks.values()
            if other.purpose is not None and other.purpose.vm_id == vm.id
        }
        for run_id in sorted(set(others) - said - {self.run_id}):
            self.problems.append(
                f"another restore{others[run_id]} to VM {quoted(vm.name)} is not finished ({run_id}): wait for it if "
                "it still works, else repeat it with the same options, or remove its virtual disks by that id"
            )

    # --- disks ---

    def _placed(self, chosen: Sequence[PointDisk], vm: Vm | None) -> list[Placed]:
        """Find the storage repository of each disk: by default that of what its slot holds, else the old one."""
        saved = {object_id(item): item for item in self.document.get("virtual_disks", ())}
        found = []
        for disk in chosen:
            old, held = reference(saved.get(disk.disk_id, {}), "repositoryId"), None
            if vm is not None and self.wishes.mode == "in_place":
                held = next((one for one in vm.disks if one.slot == disk.slot), None)
            if held is not None and held.kind == "virtual":
                old = held.repository_id or old
            repository_id = self._begun_in(disk, held, vm) if not self.wishes.storage_repository else None
            if repository_id is None:
                repository_id = self.places.repository(old, disk.repository, f"disk {quoted(disk.name)}")
            if repository_id is not None:
                found.append(Placed(disk, held, repository_id))
        return found

    def _begun_in(self, disk: PointDisk, held: Disk | None, vm: Vm | None) -> str | None:
        """Return where an interrupted call has made what replaces a disk; it found that by the mapping, once is enough.

        If it was interrupted in the middle of the exchange the slot is empty, and what was there tells nothing.
        """
        if held is not None:
            return held.repository_id if held.id in self.made.disks else None
        if vm is None or self.wishes.mode != "in_place":
            return None
        wanted = (vm.id, disk.slot, self.point.id)
        purposes = ((one.purpose, one.repository_id) for one in self.made.disks.values() if not one.mapped)
        return next((where for one, where in purposes if one and (one.vm_id, one.slot, one.point) == wanted), None)

    def _disks(
        self, placed: Sequence[Placed], vm: Vm | None, own: Mapping[str, MadeDisk], was_running: bool
    ) -> list[DiskToRestore]:
        slots = self._attach_slots(placed, vm, own)
        over = vm is not None and holds_done(vm, own)
        found = []
        for disk, held, repository_id in ((one.disk, one.held, one.repository_id) for one in placed):
            if disk.size % BLOCK:
                self.problems.append(
                    f"disk {quoted(disk.name)} has {disk.size} bytes, no multiple of {BLOCK}: the manager makes no "
                    "such disk; restore it to an image file"
                )
            name = _name(disk, placed)
            made = _made(own, name, repository_id)
            slot = slots.get(disk.slot, disk.slot)
            if made is None and over:
                held = None  # it is the new one already, without its mark
            remembered = made.purpose.previous if made is not None and made.purpose is not None else None
            previous = self._previous(held, own) if held is not None else remembered
            now = next((one.id for one in vm.disks if one.slot == slot), None) if vm is not None else None
            way = self.places.way(repository_id)
            target = vm.id if vm is not None and self.wishes.mode != "new" else None
            purpose = Purpose(slot, self.point.id, target, previous, was_running)
            found.append(
                DiskToRestore(
                    slot=disk.slot,
                    target_slot=slot,
                    name=name,
                    size=disk.size,
                    needed=self.needed.get(disk.slot, 0),
                    content_hash=disk.content_hash,
                    repository_id=repository_id,
                    repository=self.inventory.repositories[repository_id].name,
                    source=way.kind,
                    server=asdict(way.server) if way.server is not None else None,
                    source_reason=way.reason,
                    previous=previous,
                    held=now,
                    made=made.id if made is not None else None,
                    exchanged=made is not None and made.id == now,
                    purpose=asdict(purpose),
                )
            )
        return found

    def _previous(self, held: Disk, own: Mapping[str, MadeDisk]) -> str | None:
        """Return the disk that is replaced in a slot, or was so by an interrupted call."""
        if held.kind != "virtual":
            self.problems.append(f"slot {held.slot} of the VM holds a {held.kind} disk now: it is not replaced")
            return None
        if held.id in own:
            purpose = own[held.id].purpose
            return purpose.previous if purpose is not None else None
        other = self.made.disks.get(held.id)
        if other is not None:
            self.problems.append(
                f"slot {held.slot} of the VM holds a disk of another restore{_of_point(other)}, which is not finished "
                f"({other.run_id}): repeat that one first, with the same options"
            )
        if held.shared:
            self.problems.append(f"disk {quoted(held.name)} in slot {held.slot} is shared with other VMs")
        return held.id

    def _attach_slots(self, placed: Sequence[Placed], vm: Vm | None, own: Mapping[str, MadeDisk]) -> dict[int, int]:
        """Return, by the slot in the recovery point, those of another VM: remembered ones, else such as are free."""
        if vm is None or self.wishes.mode != "attach":
            return {}
        taken = {disk.slot for disk in vm.disks if disk.id not in own}
        holding = {disk.id: disk.slot for disk in vm.disks}
        found: dict[int, int] = {}
        for one in placed:
            made = _made(own, _name(one.disk, placed), one.repository_id)
            if made is not None:
                slot = holding.get(made.id, made.purpose.slot if made.purpose is not None else None)
                if slot is not None and slot not in taken:
                    found[one.disk.slot] = slot
                    taken.add(slot)
        free = (slot for slot in itertools.count() if slot not in taken)
        return {one.disk.slot: found[one.disk.slot] if one.disk.slot in found else next(free) for one in placed}

    # --- places and settings ---

    def _check_places(
        self, vm: Vm | None, home: Home, disks: Sequence[DiskToRestore], own: Mapping[str, MadeDisk]
    ) -> None:
        together: dict[str, int] = {}
        for disk in disks:
            written = own[disk.made].on_disk if disk.made is not None else 0
            together[disk.repository_id] = together.get(disk.repository_id, 0) + max(0, disk.needed - written)
        for repository_id in together:
            self.places.check_way(repository_id)
        self.places.check_space(together)
        used = {*together, *([home.repository] if home.repository is not None else [])}
        if vm is not None:
            self.places.check_presented(vm.server_pool_id, None, used)
        elif home.server_pool is not None:
            self.places.check_presented(home.server_pool, home.server, used)

    def _settings(self) -> dict[str, Any]:
        found = settings_of(self.saved)
        saved = found.get("osType")
        wanted = self.wishes.mapped("os_types", None, saved) or saved
        if wanted is not None:
            found["osType"] = wanted
            if self.os_types and wanted not in self.os_types:
                self.problems.append(
                    f"this manager knows no osType {quoted(str(wanted))}{did_you_mean(str(wanted), self.os_types)}: "
                    f"pass mapping.os_types; there are {', '.join(sorted(map(quoted, self.os_types)))}"
                )
        return found

    def _definition(self, home: Home) -> dict[str, Any]:
        if self.saved.get("pinnedCpus"):
            self.notes.append(
                f"the VM was pinned to processors {self.saved['pinnedCpus']}: pin it again where it runs now"
            )
        ids = {"serverPoolId": home.server_pool, "serverId": home.server, "repositoryId": home.repository}
        return {**self._settings(), **ids}


def _name(disk: PointDisk, placed: Sequence[Placed]) -> str:
    """Return a name that no other disk of this restore has: it is found by it."""
    same = sum(one.disk.name == disk.name for one in placed) > 1
    return f"{disk.name} (slot {disk.slot})" if same else disk.name


def _of_point(disk: MadeDisk) -> str:
    return f" of recovery point {disk.purpose.point}" if disk.purpose and disk.purpose.point else ""


def _made(own: Mapping[str, MadeDisk], name: str, repository_id: str) -> MadeDisk | None:
    return next((one for one in own.values() if (one.name, one.repository_id) == (name, repository_id)), None)
