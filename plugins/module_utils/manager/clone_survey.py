# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Which VMs are clones of ours, and what belongs to them.

For all VMs that is four list calls, joined in memory. For one VM it is the list of VMs, since any of them may be a
clone of it, and what belongs to that VM and to its clones, each asked for only when it is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInputError, ManagerResponseError, NotFoundError
from .clone_records import Clone, CloneDisk, Mark, MarkedDisk, read_mark
from .inventory import disk_kind, disk_path
from .jobs import is_job
from .objects import by_id, number, object_id, object_name, reference, text

if TYPE_CHECKING:
    from .client import ManagerClient

Item = Mapping[str, Any]


@dataclass(frozen=True)
class WantedDisk:
    """A virtual disk of the source that the clone shall have. C(size) is bytes."""

    slot: int
    mapping_id: str
    id: str
    name: str
    repository_id: str
    size: int


@dataclass(frozen=True)
class Proven:
    """A VM that is a clone of ours, and how that is known: C(marked) itself, else by the result of our job."""

    vm: Item
    vm_id: str
    run_id: str
    marked: bool
    recorded: tuple[MarkedDisk, ...]

    @property
    def id(self) -> str:
        """The clone's id."""
        return object_id(self.vm)


class Survey:
    """The manager's VMs, and what belongs to all of them or, with C(vm_id), to one and its clones.

    The VMs and the virtual disks are as they were when the survey was made, but that the disks of one VM are read when
    they are asked for.
    """

    def __init__(self, client: ManagerClient, vm_id: str | None = None) -> None:
        self.client = client
        self.vm_id = vm_id
        self.manager_id = client.manager_id
        self.vms = by_id(client.list("Vm"))
        self._definitions: dict[str, Item] | None = None
        self._mappings: dict[str, Sequence[Item]] = {}  # by VM
        self._disks: dict[str, Item] | None = None
        self._storage_mappings: list[dict[str, Any]] | None = None
        if vm_id is None:
            self._definitions = by_id(client.list("VmCloneDefinition"))
            found: dict[str, list[Item]] = {}
            for item in client.list("VmDiskMapping"):
                found.setdefault(reference(item, "vmId") or "", []).append(item)
            self._mappings.update(found)
            self._disks = by_id(client.list("VirtualDisk"))

    @property
    def definitions(self) -> Mapping[str, Item]:
        """Return the clone definitions; they belong to their VM and go with it (ovm-rest-api 11.1)."""
        if self._definitions is None:
            # A VM names its definitions, so as a rule there is nothing to ask for.
            source = self.vms.get(self.vm_id or "", {"vmCloneDefinitionIds": []})
            known = source.get("vmCloneDefinitionIds") == []
            self._definitions = {} if known else by_id(self._children(self.vm_id or "", "VmCloneDefinition"))
        return self._definitions

    @property
    def disks(self) -> Mapping[str, Item]:
        """Return all virtual disks."""
        if self._disks is None:
            self._disks = by_id(self.client.list("VirtualDisk"))
        return self._disks

    def mappings_of(self, vm_id: str) -> list[Item]:
        """Return the mappings of a VM by slot."""
        if self.vm_id is not None and vm_id not in self._mappings:
            self._mappings[vm_id] = self._children(vm_id, "VmDiskMapping") if vm_id in self.vms else []
        found = self._mappings.get(vm_id, [])
        return sorted(found, key=lambda item: (number(item, "diskTarget") or 0, object_id(item)))

    def _children(self, vm_id: str, kind: str) -> list[dict[str, Any]]:
        try:
            return self.client.children("Vm", vm_id, kind)
        except NotFoundError:
            return []  # deleted since the VMs were listed

    def source(self, vm_id: str) -> Item:
        """Return the source VM. Raises NotFoundError."""
        if vm_id not in self.vms:
            raise NotFoundError(f"There is no VM with the id {vm_id} on Oracle VM Manager (any more).", vm_id=vm_id)
        return self.vms[vm_id]

    def wanted(self, vm_id: str, slots: frozenset[int] | None) -> tuple[WantedDisk, ...]:
        """Return the virtual disks of the source to clone: all, or those in the slots. Raises InvalidInputError."""
        name = object_name(self.source(vm_id))
        found: dict[int, WantedDisk] = {}
        for mapping in self.mappings_of(vm_id):
            slot, disk_id = number(mapping, "diskTarget"), reference(mapping, "virtualDiskId")
            if slot is None or disk_id is None or disk_kind(disk_id, self.disks.get(disk_id, {})) != "virtual":
                continue
            if slots is not None and slot not in slots:
                continue
            item = self.disks.get(disk_id, {})
            repository_id, size = reference(item, "repositoryId"), number(item, "size")
            if repository_id is None or size is None:
                raise ManagerResponseError(
                    f'Oracle VM Manager does not tell the storage repository or size of disk {disk_id} of VM "{name}".',
                    vm_id=vm_id,
                    disk_id=disk_id,
                )
            found[slot] = WantedDisk(slot, object_id(mapping), disk_id, object_name(item), repository_id, size)
        absent = sorted((slots or frozenset()) - set(found))
        if absent or not found:
            which = f"no virtual disk in slot {', '.join(map(str, absent))}" if absent else "no virtual disk to clone"
            raise InvalidInputError(f'VM "{name}" has {which}.', vm_id=vm_id, vm_name=name, slots=absent or None)
        return tuple(found[slot] for slot in sorted(found))

    # --- ownership ---

    def our_definitions(self, vm_id: str | None = None, run_id: str | None = None) -> list[tuple[str, Mark]]:
        """Return id and mark of the clone definitions that are ours."""
        found = []
        for definition_id, item in sorted(self.definitions.items()):
            mark = read_mark(text(item, "description"), "definition")
            if mark is None or mark.manager_id != self.manager_id or mark.vm_id != reference(item, "vmId"):
                continue
            if vm_id in (None, mark.vm_id) and run_id in (None, mark.run_id):
                found.append((definition_id, mark))
        return found

    def job_of(self, definition_id: str, mark: Mark) -> str | None:
        """Return the id of the clone job that a definition records, itself or in a mapping while it was locked."""
        if mark.job_id is not None:
            return mark.job_id
        if self._storage_mappings is None:
            self._storage_mappings = self.client.list("VmCloneStorageMapping")
        for item in self._storage_mappings:
            noted = read_mark(text(item, "description"), "definition")
            if noted is None or reference(item, "vmCloneDefinitionId") != definition_id:
                continue
            if (noted.manager_id, noted.vm_id, noted.run_id) == (mark.manager_id, mark.vm_id, mark.run_id):
                return noted.job_id
        return None

    def our_clones(self, vm_id: str | None = None, run_id: str | None = None) -> list[Proven]:
        """Return the clones that are provably ours, sorted by source, run and id."""
        found = {clone.id: clone for clone in self._marked()}
        marked_runs = {(clone.vm_id, clone.run_id) for clone in found.values()}
        for definition_id, mark in self.our_definitions(vm_id, run_id):
            if (mark.vm_id, mark.run_id) not in marked_runs:  # else the clone is marked: no need to ask for the job
                for vm in self.results(definition_id, mark):
                    found.setdefault(object_id(vm), Proven(vm, mark.vm_id, mark.run_id, False, ()))
        wanted = [clone for clone in found.values() if vm_id in (None, clone.vm_id) and run_id in (None, clone.run_id)]
        return sorted(wanted, key=lambda clone: (clone.vm_id, clone.run_id, clone.id))

    def _marked(self) -> Iterator[Proven]:
        for vm_id, item in self.vms.items():
            mark = read_mark(text(item, "description"), "clone")
            if mark is not None and mark.manager_id == self.manager_id and mark.own_id == vm_id != mark.vm_id:
                yield Proven(item, mark.vm_id, mark.run_id, True, mark.disks)

    def results(self, definition_id: str, mark: Mark) -> Iterator[Item]:
        """Yield the VM that the job of a definition made, if the VM still exists."""
        job_id = self.job_of(definition_id, mark)
        if job_id is None:
            return
        try:
            job = self.client.get("Job", job_id)
        except NotFoundError:
            return  # the manager keeps a limited number of jobs; then there is no proof
        result = reference(job, "resultId") if is_job(job) else None
        if result in self.vms and result != mark.vm_id:
            yield self.vms[result]

    def describe(self, proven: Proven) -> Clone:
        """Return the clone with its disks as they are mapped."""
        sources = {copy: source for _slot, source, copy, _mapping in proven.recorded}
        by_slot = {
            number(item, "diskTarget"): reference(item, "virtualDiskId") for item in self.mappings_of(proven.vm_id)
        }
        disks = []
        for mapping in self.mappings_of(proven.id):
            slot, disk_id = number(mapping, "diskTarget"), reference(mapping, "virtualDiskId")
            if slot is None or disk_id is None or disk_kind(disk_id, self.disks.get(disk_id, {})) != "virtual":
                continue
            source = sources.get(disk_id) or by_slot.get(slot) or ""
            disks.append(clone_disk(slot, source, disk_id, self.disks.get(disk_id, {})))
        return Clone(proven.id, object_name(proven.vm), proven.vm_id, proven.run_id, tuple(disks))


def mapped_copies(mappings: Iterable[Item], sources: Mapping[int, str]) -> tuple[MarkedDisk, ...]:
    """Return what the mark of a clone says of its disks, by slot; C(sources) are the disks of the source by slot."""
    found = []
    for mapping in mappings:
        slot, disk_id = number(mapping, "diskTarget"), reference(mapping, "virtualDiskId")
        if slot is not None and slot in sources and disk_id is not None:
            found.append((slot, sources[slot], disk_id, object_id(mapping)))
    return tuple(sorted(found))


def clone_disk(slot: int, source_id: str, disk_id: str, item: Item) -> CloneDisk:
    """Describe a disk of a clone; what the manager does not tell is empty or 0."""
    return CloneDisk(
        slot=slot,
        source_disk_id=source_id,
        id=disk_id,
        repository_id=reference(item, "repositoryId") or "",
        path=disk_path(disk_id, item) or "",
        size=number(item, "size") or 0,
    )


def missing_from(clone: Clone, wanted: tuple[WantedDisk, ...]) -> str | None:
    """Return what a clone lacks to be a whole clone of the wanted disks, None if nothing."""
    copies = {disk.slot: disk for disk in clone.disks}
    if set(copies) != {disk.slot for disk in wanted}:
        return f"it has the slots {sorted(copies)}, not {[disk.slot for disk in wanted]}"
    for disk in wanted:
        copy = copies[disk.slot]
        if not copy.path or copy.repository_id != disk.repository_id:
            return f"its disk in slot {disk.slot} is not in storage repository {disk.repository_id}"
        if copy.size != disk.size:
            return f"its disk in slot {disk.slot} has {copy.size} bytes, not {disk.size}"
        if copy.id == disk.id:
            return f"its slot {disk.slot} holds the disk of the source itself"
    return None
