# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which disks a clone gets, and what is refused (ovm-rest-api 11.3, 11.4, rows 6 to 10 and 32 of section 21)."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import JobFailure, not_stopped, rule, web_service
from .store import Obj, Ref
from .world import World

CLONE_TYPES = ("THIN_CLONE", "SPARSE_COPY", "NON_SPARSE_COPY")


@dataclass(frozen=True)
class DiskStep:
    """One disk to clone: its mapping in the source VM, type and target repository."""

    mapping: Obj
    disk: Obj
    clone_type: str
    target: Ref


def is_hot(world: World, vm: Obj) -> bool:
    """Whether cloning this VM now is a hot clone; raises for states that allow none."""
    state = vm["vmRunState"]
    if state == "RUNNING" or (state == "SUSPENDED" and world.switches["clone_suspended"] == "hot"):
        return True
    if state in ("STOPPED", "TEMPLATE"):
        return False
    raise not_stopped(vm.name, state, world.now)


def plan_clone(world: World, vm: Obj, definition: Obj | None, config_repository: Ref | None) -> list[DiskStep]:
    """The disks that the clone gets, by slot. JobFailure if the manager would refuse the clone."""
    hot = is_hot(world, vm)
    steps = _defined(world, definition) if definition is not None else _simple(world, vm, hot, config_repository)
    for step in steps:
        check_target(world, step)
        if hot and (step.clone_type != "THIN_CLONE" or world.file_system_kind(step.disk["repositoryId"]) != "ocfs2"):
            raise not_stopped(vm.name, vm["vmRunState"], world.now)
    return sorted(steps, key=lambda step: step.mapping["diskTarget"])


def check_target(world: World, step: DiskStep) -> None:
    """VM_CLONE_STORAGE_MAPPING_000000 for a thin clone that is no reflink inside of one OCFS2 file system."""
    if step.clone_type != "THIN_CLONE":
        return
    same = step.target == step.disk["repositoryId"]
    if not same or world.file_system_kind(step.target) != "ocfs2":
        raise web_service(
            "VM_CLONE_STORAGE_MAPPING_000000", f"The storage target for the clone of disk {step.disk.name} is illegal"
        )


def _simple(world: World, vm: Obj, hot: bool, config_repository: Ref | None) -> list[DiskStep]:
    steps = []
    for mapping in world.store.back("VmDiskMapping", "vmId", vm.ref):
        disk = world.store.find(mapping["virtualDiskId"])
        if disk is None:
            _physical(world, vm, hot)
            continue
        if disk["diskType"] == "VIRTUAL_CDROM":
            continue
        repository: Ref = disk["repositoryId"]
        thin = world.file_system_kind(repository) == "ocfs2"
        target = repository
        if config_repository is not None and world.switches["clone_repository_moves_disks"]:
            thin = thin and config_repository == repository
            target = config_repository
        steps.append(DiskStep(mapping, disk, "THIN_CLONE" if thin else "SPARSE_COPY", target))
    return steps


def _physical(world: World, vm: Obj, hot: bool) -> None:
    if world.switches["hot_clone_physical" if hot else "cold_clone_physical"] == "skip":
        return
    if hot:
        raise not_stopped(vm.name, vm["vmRunState"], world.now)
    text = f"Cannot clone Virtual Machine: {vm.name}, it has physical disks that are not mapped to a target."
    raise rule("OVMRU_005030E", text, world.now)


def _defined(world: World, definition: Obj) -> list[DiskStep]:
    steps = []
    for item in world.store.back("VmCloneStorageMapping", "vmCloneDefinitionId", definition.ref):
        mapping = world.store.find(item["vmDiskMappingId"])
        if mapping is None:
            continue
        disk = world.store.find(mapping["virtualDiskId"])
        if disk is None or item["repositoryId"] is None:
            # The generic storage plugins report CLONE as UNSUPPORTED (ovm-rest-api 8.4): nothing is lost by refusing.
            raise _unsupported()
        if disk["diskType"] == "VIRTUAL_CDROM" and disk["repositoryId"] is None:
            continue
        steps.append(DiskStep(mapping, disk, item["cloneType"], item["repositoryId"]))
    return steps


def _unsupported() -> JobFailure:
    return web_service("STORAGE_ELEMENT_000001", "Cloning from or to a physical disk is not supported by its plugin")
