# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clone definitions, their mappings, and the clone itself (ovm-rest-api 11)."""

from __future__ import annotations

from typing import Any

from ..call import Call, action, null_argument
from ..clone_rules import CLONE_TYPES, DiskStep, check_target, plan_clone
from ..errors import ApiError, JobFailure
from ..jobs import Run, Work
from ..store import Obj, Ref, new_id
from ..world import World
from .disks import copy_disk, delete_disk_file
from .mappings import make_mapping, make_nic, new_mac
from .vms import DEFAULTS, make_vm, remove_definition, remove_vm

# What a clone does not take from its source.
_OWN = {"vmRunState", "repositoryId", "serverPoolId", "serverId"}


@action("POST", "Vm", "VmCloneDefinition")
def create_definition(call: Call) -> Obj:
    document, vm, world = call.new_document(), call.obj, call.world
    name = str(document.get("name") or "")

    def work(run: Run) -> Work:
        yield world.jobs.job_seconds
        values: dict[str, Any] = {"name": name, "description": document.get("description") or "", "vmId": vm.ref}
        definition = world.store.add("VmCloneDefinition", new_id("VmCloneDefinition"), **values)
        world.store.touch(vm.ref)
        return definition.ref

    title = f"Create Vm Clone Definition: {name} for VM: {vm.name}"
    return call.submit("definition.create", title, work, locks=[vm.ref])


def _delete_definition(call: Call, definition: Obj) -> Obj:
    world = call.world

    def work(run: Run) -> Work:
        yield world.jobs.job_seconds
        remove_definition(world, definition)
        world.store.touch(definition["vmId"])
        return None

    locks = [definition["vmId"], definition.ref]
    return call.submit("definition.delete", f"Delete Vm Clone Definition: {definition.name}", work, locks=locks)


@action("DELETE", "Vm", "VmCloneDefinition")
def delete_definition_of_vm(call: Call) -> Obj:
    assert call.child_id is not None
    definition = call.world.store.get("VmCloneDefinition", call.child_id)
    if definition["vmId"] != call.obj.ref:
        raise ApiError("GEN_000007", f"VmCloneDefinition {definition.name} does not belong to Vm {call.obj.name}")
    return _delete_definition(call, definition)


@action("DELETE", "VmCloneDefinition")
def delete_definition(call: Call) -> Obj:
    return _delete_definition(call, call.obj)


@action("POST", "VmCloneDefinition", "VmCloneStorageMapping")
def create_storage_mapping(call: Call) -> Obj:
    document, definition, world = call.new_document(), call.obj, call.world
    parent = call.reference("VmCloneDefinition", document.get("vmCloneDefinitionId"), "vmCloneDefinitionId")
    if parent not in (None, definition.ref):
        raise ApiError("GEN_000008", "The clone definition in the body is not the one in the URI")
    mapping = world.store.get(*call.required_reference("VmDiskMapping", "vmDiskMappingId"))
    if mapping["vmId"] != definition["vmId"]:
        raise ApiError("GEN_000009", "The disk mapping belongs to another VM than the clone definition")
    clone_type = document.get("cloneType")
    if clone_type not in CLONE_TYPES:
        raise ApiError("CLONE_TYPE_000000", f"The clone type {clone_type} is not valid")
    kinds = {"repositoryId": "Repository", "storageArrayId": "StorageArray", "storageElementId": "StorageElement"}
    targets = {name: call.reference(type_, document.get(name), name) for name, type_ in kinds.items()}
    if sum(target is not None for target in targets.values()) != 1:
        raise ApiError("VM_CLONE_STORAGE_MAPPING_000000", "Exactly one storage target must be supplied")
    disk = world.store.find(mapping["virtualDiskId"])
    if world.switches["illegal_target_at"] == "mapping" and disk is not None and targets["repositoryId"]:
        _refuse_target(world, DiskStep(mapping, disk, clone_type, targets["repositoryId"]))
    values: dict[str, Any] = {"vmDiskMappingId": mapping.ref, "cloneType": clone_type, **targets}
    return _create_mapping(call, "VmCloneStorageMapping", values)


def _refuse_target(world: World, step: DiskStep) -> None:
    try:
        check_target(world, step)
    except JobFailure as failure:
        raise ApiError(failure.code, failure.message.partition(": ")[2].partition(": ")[2]) from None


def _create_mapping(call: Call, type_: str, values: dict[str, Any]) -> Obj:
    definition, world, document = call.obj, call.world, call.document()

    def work(run: Run) -> Work:
        yield world.jobs.job_seconds
        made = world.store.add(
            type_,
            new_id(type_),
            name=document.get("name") or "",
            description=document.get("description") or "",
            vmCloneDefinitionId=definition.ref,
            **values,
        )
        world.store.touch(definition.ref)
        return made.ref

    title = f"Create {type_} in clone definition: {definition.name}"
    return call.submit("definition.map", title, work, locks=[definition.ref])


@action("POST", "VmCloneDefinition", "VmCloneNetworkMapping")
def create_network_mapping(call: Call) -> Obj:
    document, definition = call.new_document(), call.obj
    parent = call.reference("VmCloneDefinition", document.get("vmCloneDefinitionId"), "vmCloneDefinitionId")
    if parent not in (None, definition.ref):
        raise ApiError("GEN_000008", "The clone definition in the body is not the one in the URI")
    nic = call.world.store.get(*call.required_reference("VirtualNic", "virtualNicId"))
    if nic["vmId"] != definition["vmId"]:
        raise ApiError("GEN_000009", "The NIC belongs to another VM than the clone definition")
    network = call.required_reference("Network", "networkId")
    return _create_mapping(call, "VmCloneNetworkMapping", {"virtualNicId": nic.ref, "networkId": network})


@action("DELETE", "VmCloneDefinition", "VmCloneStorageMapping")
def delete_storage_mapping(call: Call) -> Obj:
    return _delete_mapping(call, "VmCloneStorageMapping")


@action("DELETE", "VmCloneDefinition", "VmCloneNetworkMapping")
def delete_network_mapping(call: Call) -> Obj:
    return _delete_mapping(call, "VmCloneNetworkMapping")


def _delete_mapping(call: Call, type_: str) -> Obj:
    assert call.child_id is not None
    mapping = call.world.store.get(type_, call.child_id)
    if mapping["vmCloneDefinitionId"] != call.obj.ref:
        raise ApiError("GEN_000007", f"{type_} {mapping.name} does not belong to the clone definition {call.obj.name}")

    def work(run: Run) -> Work:
        yield call.world.jobs.job_seconds
        call.world.store.remove(mapping.ref)
        call.world.store.touch(call.obj.ref)
        return None

    locks = [call.obj.ref, mapping.ref]
    return call.submit("definition.unmap", f"Delete {type_}: {mapping.name}", work, locks=locks)


# -- the clone -----------------------------------------------------------------------------------------------


@action("PUT", "Vm", "clone")
def clone(call: Call) -> Obj:
    vm, world = call.obj, call.world
    pool = world.store.get("ServerPool", call.required("serverPoolId")).ref
    repository = call.text("repositoryId")
    config_repository = world.store.get("Repository", repository).ref if repository else None
    wanted = call.text("vmCloneDefinitionId")
    definition = world.store.get("VmCloneDefinition", wanted) if wanted else None
    if definition is not None and definition["vmId"] != vm.ref:
        raise ApiError("GEN_000009", "The clone definition belongs to another VM")
    template = call.flag("createTemplate")
    if vm["repositoryId"] is None and config_repository is None:
        raise null_argument("repositoryId")
    world.jobs.refuse_locked([vm.ref])
    world.rule_checks(lambda: plan_clone(world, vm, definition, config_repository))
    disks = [mapping["virtualDiskId"] for mapping in world.store.back("VmDiskMapping", "vmId", vm.ref)]
    disks = [ref for ref in disks if ref is not None and ref.id != "EMPTY_CDROM"]
    locks = {vm.ref, *(disks if world.switches["clone_locks"] == "vm_disks" else ())}
    if definition is not None:
        locks.add(definition.ref)
    serial = {config_repository or vm["repositoryId"], *(world.store.get(*ref)["repositoryId"] for ref in disks)}
    work = _Clone(world, vm, definition, pool, config_repository, template)
    description = f"Clone Virtual Machine: {vm.name}"
    return call.submit("vm.clone", f"Clone Vm: {vm.name}", work, description=description, locks=locks, serial=serial)


class _Clone:
    """The work of one clone job."""

    def __init__(
        self, world: World, vm: Obj, definition: Obj | None, pool: Ref, config_repository: Ref | None, template: bool
    ) -> None:
        self._world = world
        self._vm = vm
        self._definition = definition
        self._pool = pool
        self._config_repository = config_repository
        self._template = template
        self._disks: list[tuple[DiskStep, Obj]] = []
        self._made: Obj | None = None

    def __call__(self, run: Run) -> Work:
        try:
            result = yield from self._work(run)
        except BaseException:
            self._undo()
            raise
        return result

    def _undo(self) -> None:
        if self._made is not None:
            remove_vm(self._world, self._made)
        for _unused, disk in self._disks:
            delete_disk_file(self._world, disk)

    def _work(self, run: Run) -> Work:
        world = self._world
        steps = plan_clone(world, self._vm, self._definition, self._config_repository)
        repository = self._config_repository or self._vm["repositoryId"]
        world.check_space(repository, "storage_plugin_clone")
        for step in steps:
            world.check_space(step.target, "storage_plugin_clone")
        yield world.jobs.job_seconds / 2
        run.job["progressMessage"] = run.job["latestSummaryProgressMessage"] = "Cloning virtual disk"
        for step in steps:
            yield from self._clone_disk(run, step)
        if run.fault is not None and run.fault.leftovers == "disks":
            self._disks = []
            raise JobFailure(run.fault.error_type, run.fault.message)
        yield world.jobs.job_seconds / 2
        self._made = self._make(repository)
        for step, disk in self._disks:
            mode = step.mapping["diskWriteMode"]
            make_mapping(world, self._made.ref, step.mapping["diskTarget"], disk=disk.ref, mode=mode)
        self._copy_cdroms()
        self._copy_nics()
        world.store.touch(self._vm.ref, repository, self._pool)
        run.job["progressMessage"] = run.job["latestSummaryProgressMessage"] = None
        return self._made.ref

    def _clone_disk(self, run: Run, step: DiskStep) -> Work:
        jobs = self._world.jobs
        shown = self._world.switches["clone_child_jobs"]
        child = jobs.begin_child(run, f"Clone virtual disk: {step.disk.name}") if shown else None
        sparse = step.clone_type != "NON_SPARSE_COPY"
        disk = copy_disk(self._world, step.disk, step.target, sparse=sparse)
        self._disks.append((step, disk))
        gap = self._world.switches["disk_cut_gap"]
        if gap > 0:
            yield gap
        if child is not None:
            jobs.end_child(run, child, disk.ref)
        return None

    def _make(self, repository: Ref) -> Obj:
        world, source = self._world, self._vm
        taken = set()
        for vm in world.store.all("Vm"):
            tail = vm.name.removeprefix(f"{source.name}.")
            if tail != vm.name and tail.isdigit():
                taken.add(int(tail))
        number = world.next_number(f"vm {source.name}", taken, 0, world.switches["clone_number"])
        values = {key: source[key] for key in DEFAULTS if key not in _OWN}
        made = make_vm(world, f"{source.name}.{number}", **values, repositoryId=repository)
        made["description"] = source["description"]
        if self._template:
            made["vmRunState"] = "TEMPLATE"
        else:
            made["serverPoolId"] = self._pool
            made["serverId"] = self._choose_server()
        return made

    def _choose_server(self) -> Ref | None:
        if self._world.switches["clone_server"] == "none":
            return None
        own = self._world.store.find(self._vm["serverId"])
        if own is not None and own["serverPoolId"] == self._pool:
            return own.ref
        members = self._world.store.back("Server", "serverPoolId", self._pool)
        return members[0].ref if members else None

    def _copy_cdroms(self) -> None:
        assert self._made is not None
        if not self._world.switches["clone_cdroms"]:
            return
        for mapping in self._world.store.back("VmDiskMapping", "vmId", self._vm.ref):
            disk = self._world.store.find(mapping["virtualDiskId"])
            if disk is not None and disk["diskType"] == "VIRTUAL_CDROM":
                make_mapping(self._world, self._made.ref, mapping["diskTarget"], disk=disk.ref, mode="READ_ONLY")

    def _copy_nics(self) -> None:
        assert self._made is not None
        store = self._world.store
        if self._definition is not None:
            mappings = store.back("VmCloneNetworkMapping", "vmCloneDefinitionId", self._definition.ref)
            networks = [mapping["networkId"] for mapping in mappings]
        elif self._world.switches["clone_nics"] == "simple":
            networks = [nic["networkId"] for nic in store.back("VirtualNic", "vmId", self._vm.ref)]
        else:
            networks = []
        for network in networks:
            mac = None if self._template else new_mac(self._world)
            make_nic(self._world, self._made.ref, network, mac, template=self._template)
