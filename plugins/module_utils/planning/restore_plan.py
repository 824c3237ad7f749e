# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What a restore of a VM will do, from its recovery point, the manager's objects and what is wished: nothing is done.

Everything that could not work is found here, before anything is touched, and all of it is named at once.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from ..errors import InvalidInputError
from ..manager.inventory import Inventory, Nic, Vm
from ..manager.networks import Network
from ..manager.objects import object_id, optional_text, reference
from ..manager.restored_disks import BLOCK
from ..manager.restored_vms import SETTINGS
from ..vault.manifest import Point, PointDisk
from .access import Access, Source, choose_source
from .reading import did_you_mean, quoted
from .restore_wishes import Wishes

_Thing = TypeVar("_Thing")


@dataclass(frozen=True)
class DiskToRestore:
    """A disk and where it goes. C(size) and C(needed) are bytes; C(previous) is the virtual disk that it replaces."""

    slot: int  # in the recovery point
    target_slot: int  # of the VM
    name: str
    size: int
    needed: int
    content_hash: str
    repository_id: str
    repository: str
    source: str
    server: dict[str, Any] | None
    source_reason: str
    previous: str | None


@dataclass(frozen=True)
class RestorePlan:
    """What will be done. C(run_id) is the same for the same restore, so that one that is repeated finds its objects."""

    run_id: str
    mode: str
    client: str
    point_id: str
    source_vm_id: str
    source_vm_name: str
    vm_id: str | None  # of the VM whose disks are replaced
    name: str
    stop: bool
    start: bool
    disks: tuple[DiskToRestore, ...]
    definition: dict[str, Any]
    nics: tuple[dict[str, Any], ...]
    needed: int
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            **asdict(self),
            "disks": [asdict(disk) for disk in self.disks],
            "nics": [*self.nics],
            "notes": [*self.notes],
        }


def restore_id(inventory: Inventory, point: Point, wishes: Wishes, name: str) -> str:
    """Return the id of a restore: that of another VM, point or manager is another one."""
    facts = (inventory.manager_id, point.client, point.id, wishes.mode, wishes.vm or name, str(wishes.slots))
    return f"restore-{hashlib.sha256(chr(0).join(facts).encode('utf-8', 'backslashreplace')).hexdigest()[:20]}"


def plan_restore(
    point: Point,
    document: Mapping[str, Any],
    inventory: Inventory,
    networks: Mapping[str, Network],
    wishes: Wishes,
    access: Access,
    *,
    needed: Mapping[int, int],
    run_of: Mapping[str, str] | None = None,
) -> RestorePlan:
    """Return the plan. Raises C(InvalidInputError) with everything that stands in the way.

    C(document) is the saved configuration, C(needed) the bytes of data by slot, C(run_of) the restores that made
    VMs, by the id of the VM.
    """
    return _Planning(point, document, inventory, networks, wishes, access, needed, run_of or {}).plan()


class _Planning:
    """One plan in the making; C(problems) collects what stands in the way."""

    def __init__(
        self,
        point: Point,
        document: Mapping[str, Any],
        inventory: Inventory,
        networks: Mapping[str, Network],
        wishes: Wishes,
        access: Access,
        needed: Mapping[int, int],
        run_of: Mapping[str, str],
    ) -> None:
        self.point = point
        self.saved: Mapping[str, Any] = document.get("vm") or {}
        self.document = document
        self.inventory = inventory
        self.networks = networks
        self.wishes = wishes
        self.access = access
        self.needed = needed
        self.name = wishes.name or point.vm_name
        self.run_id = restore_id(inventory, point, wishes, self.name)
        self.run_of = run_of
        self.problems: list[str] = []
        self.notes: list[str] = []

    def plan(self) -> RestorePlan:
        chosen = self._chosen()
        vm = None
        if self.wishes.mode == "new":
            self._check_name()
        else:
            vm = self._existing() if self.wishes.mode == "in_place" else self._other()
            if vm is not None and vm.state not in ("STOPPED", "RUNNING"):
                self.problems.append(f"VM {quoted(vm.name)} is {vm.state}: let it run or stop it first")
            elif vm is not None and vm.state != "STOPPED" and not self.wishes.stop:
                self.problems.append(f"VM {quoted(vm.name)} is {vm.state}: stop it, or pass stop: true")
        disks = self._disks(chosen, vm)
        self._check_space(disks)
        definition = {
            "new": self._definition,
            # Who wants some of the disks only wants nothing else to change.
            "in_place": self._settings if self.wishes.slots is None else dict,
            "attach": dict,  # the VM keeps its own
        }[self.wishes.mode]()
        nics = self._nics() if self.wishes.mode == "new" else ()
        if self.point.skipped_disks:
            slots = ", ".join(str(disk.get("slot")) for disk in self.point.skipped_disks)
            self.notes.append(f"disks in the slots {slots} were not backed up and are not restored")
        if self.problems:
            what = f"Recovery point {self.point.id} of client {self.point.client} cannot be restored: "
            raise InvalidInputError(what + "; ".join(self.problems), problems=list(self.problems))
        return RestorePlan(
            run_id=self.run_id,
            mode=self.wishes.mode,
            client=self.point.client,
            point_id=self.point.id,
            source_vm_id=self.point.vm_id,
            source_vm_name=self.point.vm_name,
            vm_id=vm.id if vm is not None else None,
            name=vm.name if vm is not None else self.name,
            stop=vm is not None and vm.state != "STOPPED",
            # A VM that is stopped for it runs again afterwards.
            start=self.wishes.start or (vm is not None and vm.state != "STOPPED"),
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
        found = self._find(names, self.wishes.vm, None, None, "VM", "the disks", "vm")
        return self.inventory.vms[found] if found is not None else None

    def _check_name(self) -> None:
        for vm in self.inventory.vms.values():
            if self.run_of.get(vm.id) == self.run_id and vm.state != "STOPPED":
                self.problems.append(
                    f"VM {quoted(vm.name)} ({vm.id}), which this restore has made, is {vm.state} already: "
                    "its disks are in use"
                )
            if vm.name == self.name and self.run_of.get(vm.id) != self.run_id:
                self.problems.append(
                    f"there is a VM {quoted(vm.name)} ({vm.id}) already: pass another name, or mode: in_place"
                )

    # --- disks ---

    def _disks(self, chosen: Sequence[PointDisk], vm: Vm | None) -> list[DiskToRestore]:
        places = {object_id(item): item for item in self.document.get("virtual_disks", ())}
        attach = self.wishes.mode == "attach"
        taken = {disk.slot for disk in vm.disks} if vm is not None and attach else set()
        free = (slot for slot in itertools.count() if slot not in taken)
        found = []
        for disk in chosen:
            if disk.size % BLOCK:
                self.problems.append(
                    f"disk {quoted(disk.name)} has {disk.size} bytes, no multiple of {BLOCK}: the manager makes no "
                    "such disk; restore it to an image file"
                )
            old = reference(places.get(disk.disk_id, {}), "repositoryId")
            previous = None
            held = None
            if vm is not None and not attach:
                held = next((one for one in vm.disks if one.slot == disk.slot), None)
            if held is not None and held.kind != "virtual":
                self.problems.append(f"slot {disk.slot} of the VM holds a {held.kind} disk now: it is not replaced")
            elif held is not None:
                old, previous = held.repository_id or old, held.id
                if held.shared:
                    self.problems.append(f"disk {quoted(held.name)} in slot {disk.slot} is shared with other VMs")
            repository_id = self._repository(old, disk.repository, f"disk {quoted(disk.name)}")
            if repository_id is None:
                continue
            way = self._way(repository_id)
            found.append(
                DiskToRestore(
                    slot=disk.slot,
                    target_slot=next(free) if attach else disk.slot,
                    name=self._disk_name(disk, chosen),
                    size=disk.size,
                    needed=self.needed.get(disk.slot, 0),
                    content_hash=disk.content_hash,
                    repository_id=repository_id,
                    repository=self.inventory.repositories[repository_id].name,
                    source=way.kind,
                    server=asdict(way.server) if way.server is not None else None,
                    source_reason=way.reason,
                    previous=previous,
                )
            )
        return found

    @staticmethod
    def _disk_name(disk: PointDisk, chosen: Sequence[PointDisk]) -> str:
        """Return a name that no other disk of this restore has: it is found by it."""
        same = sum(other.name == disk.name for other in chosen) > 1
        return f"{disk.name} (slot {disk.slot})" if same else disk.name

    def _repository(self, old_id: str | None, old_name: str | None, what: str) -> str | None:
        known = {key: item.name for key, item in self.inventory.repositories.items()}
        wanted = self.wishes.storage_repository or self.wishes.mapped("storage_repositories", old_id, old_name)
        return self._find(
            known,
            wanted,
            old_id,
            old_name,
            "storage repository",
            what,
            "storage_repository or mapping.storage_repositories",
        )

    def _way(self, repository_id: str) -> Source:
        way = choose_source(repository_id, "auto", self.inventory, self.access)
        if self.wishes.import_address and (
            way.is_missing or repository_id not in self.access.mounted and way.kind == "path"
        ):
            return Source("import", f"the manager imports it: {way.reason}")
        if way.is_missing:
            self.problems.append(way.reason)
        elif way.kind == "path" and repository_id not in self.access.mounted:
            self.problems.append(f"nothing can be written there: {way.reason}")
        return way

    def _check_space(self, disks: Sequence[DiskToRestore]) -> None:
        together: dict[str, int] = {}
        for disk in disks:
            together[disk.repository_id] = together.get(disk.repository_id, 0) + disk.needed
        for repository_id, needed in together.items():
            repository = self.inventory.repositories[repository_id]
            if repository.free_size is not None and needed > repository.free_size:
                self.problems.append(
                    f"{needed} bytes of data are needed in storage repository {quoted(repository.name)}, "
                    f"{repository.free_size} are free"
                )

    # --- settings and networks ---

    def _settings(self) -> dict[str, Any]:
        return {key: self.saved[key] for key in SETTINGS if self.saved.get(key) is not None}

    def _definition(self) -> dict[str, Any]:
        pools, servers = self.inventory.server_pools, {key: one.name for key, one in self.inventory.servers.items()}
        old_pool, old_server = reference(self.saved, "serverPoolId"), reference(self.saved, "serverId")
        wanted = self.wishes.server_pool or self.wishes.mapped("server_pools", old_pool, self._old_name("serverPoolId"))
        pool = self._find(pools, wanted, old_pool, None, "server pool", "the VM", "server_pool or mapping.server_pools")
        wanted = self.wishes.server or self.wishes.mapped("servers", old_server, self._old_name("serverId"))
        server = None
        if wanted is not None:
            server = self._find(servers, wanted, None, None, "server", "the VM", "server")
        repository = self._repository(reference(self.saved, "repositoryId"), self._old_name("repositoryId"), "vm.cfg")
        if self.saved.get("pinnedCpus"):
            self.notes.append(
                f"the VM was pinned to processors {self.saved['pinnedCpus']}: pin it again where it runs now"
            )
        return {**self._settings(), "serverPoolId": pool, "serverId": server, "repositoryId": repository}

    def _old_name(self, field: str) -> str | None:
        item = self.saved.get(field)
        return optional_text(item, "name") if isinstance(item, Mapping) else None

    def _nics(self) -> list[dict[str, Any]]:
        taken = {
            nic.mac: vm.name
            for vm in self.inventory.vms.values()
            for nic in vm.nics
            if self.run_of.get(vm.id) != self.run_id
        }
        usable = {key: network.name for key, network in self.networks.items() if network.for_vms}
        found = []
        for item in self.document.get("virtual_nics", ()):
            nic = Nic(object_id(item), optional_text(item, "macAddress"), reference(item, "networkId"))
            what = f"network card {nic.mac or nic.id}"
            old_name = optional_text(item.get("networkId") or {}, "name")
            wanted = self.wishes.mapped("networks", nic.network_id, old_name)
            network = self._find(usable, wanted, nic.network_id, old_name, "network", what, "mapping.networks")
            mac = nic.mac if self.wishes.mac != "new" else None
            if mac in taken and mac is not None:
                if self.wishes.mac == "keep":
                    self.problems.append(f"{what}: VM {quoted(taken[mac])} has this address: pass mac: new or auto")
                self.notes.append(f"{what} gets a new address, for VM {quoted(taken[mac])} has its own")
                mac = None
            found.append({"network_id": network, "network": usable.get(network or ""), "mac": mac})
        return found

    def _find(
        self,
        known: Mapping[str, str],
        wanted: str | None,
        old_id: str | None,
        old_name: str | None,
        kind: str,
        what: str,
        option: str,
    ) -> str | None:
        """Return the id of what is wanted, else of what there was; without a name that fits, that is a problem."""
        if wanted is None:
            if old_id in known:
                return old_id
            gone = f" {quoted(old_name or old_id or '')}" if old_name or old_id else ""
            has = ", ".join(sorted(map(quoted, known.values()))) or "none"
            self.problems.append(f"{what}: its {kind}{gone} is not on this manager: pass {option}; there are {has}")
            return None
        if wanted in known:
            return wanted
        fitting = [key for key, name in known.items() if name == wanted]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            self.problems.append(
                f"{what}: there are {len(fitting)} of the name {quoted(wanted)}: pass the id of the {kind}"
            )
        else:
            names = sorted(known.values())
            self.problems.append(
                f"{what}: there is no {kind} {quoted(wanted)}{did_you_mean(wanted, names)}; there are "
                f"{', '.join(map(quoted, names)) or 'none'}"
            )
        return None
