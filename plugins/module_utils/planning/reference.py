# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Whether the clone of the last backup is still there for finding out what has changed, and for which disks.

Extent maps tell what changed only as long as the clone that the base was read from exists and nobody writes to it. What
the manager knows of that is judged here; the backup itself looks at the images once more before it relies on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..manager.clone_records import read_mark
from ..manager.inventory import Disk, Inventory, Vm
from .backup_type import TypeDecision
from .disks import disk_label
from .reading import quoted
from .state import ClientState, VaultDisk

REFERENCE_POLICIES = ("keep", "remove")


@dataclass(frozen=True)
class Reference:
    """The clone that the recovery point C(point_id) was read from."""

    clone_id: str
    run_id: str
    point_id: str


@dataclass(frozen=True)
class Changes:
    """How the changes of a disk are found: C(method) is all (nothing is compared), extent_maps or hash."""

    method: str
    reason: str


@dataclass(frozen=True)
class ReferenceChoice:
    """The reference clone of a VM, or why there is none, and what follows from that for each disk, by its id."""

    reference: Reference | None
    reason: str
    changes: Mapping[str, Changes]


@dataclass(frozen=True)
class _Base:
    """What a disk builds on: the point, and the image that this was read from."""

    disk: Disk
    point_id: str
    image: Mapping[str, Any]

    @property
    def clone_id(self) -> str | None:
        found = self.image.get("clone_id")
        return found if isinstance(found, str) and found else None


def choose_reference(
    vm: Vm,
    types: Sequence[tuple[Disk, TypeDecision]],
    state: ClientState | None,
    inventory: Inventory,
    *,
    method: str,
    policy: str,
    is_ours: Callable[[Vm], bool],
) -> ReferenceChoice:
    """Return the reference clone that the next backup of a VM can use; C(policy) is one of C(REFERENCE_POLICIES)."""
    bases = [_base(disk, decision, state) for disk, decision in types if decision.base is not None]
    found = _find(vm, bases, inventory, method=method, policy=policy, is_ours=is_ours)
    reference, reason = (found, "") if isinstance(found, Reference) else (None, found)
    changes = {disk.id: Changes("all", "a full reads the whole disk") for disk, _decision in types}
    for base in bases:
        problem = reason if reference is None else _disk_problem(base, inventory.vms[reference.clone_id])
        changes[base.disk.id] = (
            Changes("hash", problem) if problem else Changes("extent_maps", _compared(base.point_id))
        )
    if reference is not None:
        reason = f"the clone of recovery point {reference.point_id} is still there"
        if all(item.method != "extent_maps" for item in changes.values()):
            reasons = dict.fromkeys(changes[base.disk.id].reason for base in bases)
            reference, reason = None, "; ".join(reasons)
    return ReferenceChoice(reference, reason, changes)


def _base(disk: Disk, decision: TypeDecision, state: ClientState | None) -> _Base:
    known = {item.id: item for item in state.disks}.get(disk.id) if state is not None else None
    return _Base(disk, decision.base or "", _image(known, decision.type) or {})


def _image(known: VaultDisk | None, kind: str) -> Mapping[str, Any] | None:
    if known is None:
        return None
    return known.full_image if kind == "differential" else known.image


def _find(
    vm: Vm,
    bases: Sequence[_Base],
    inventory: Inventory,
    *,
    method: str,
    policy: str,
    is_ours: Callable[[Vm], bool],
) -> Reference | str:
    """Return the reference clone as far as it concerns all disks, or why there is none."""
    if method == "skip":
        return "the VM is not backed up"
    if method != "hot_clone":
        return "the disks are read from the VM itself, not from a clone"
    if not bases:
        return "all disks are backed up in full"
    if policy == "remove":
        return "no clone is kept (reference_clone: remove)"
    point_id = bases[0].point_id
    if not all(base.image for base in bases):
        return f"recovery point {point_id} does not tell which images it was read from"
    clone_ids = {(base.clone_id, base.point_id) for base in bases}
    if len(clone_ids) > 1:
        return "the disks build on recovery points that were read from different clones"
    clone_id = bases[0].clone_id
    if clone_id is None:
        return f"recovery point {point_id} was not read from a clone that was kept"
    clone = inventory.vms.get(clone_id)
    if clone is None:
        return f"the reference clone of recovery point {point_id} is gone from the manager"
    mark = read_mark(clone.description, "clone")
    if mark is None or not is_ours(clone) or (mark.vm_id, mark.manager_id) != (vm.id, inventory.manager_id):
        name = quoted(clone.name)
        return f"{name} was the reference clone of recovery point {point_id} and can no longer be proved to be ours"
    if clone.state != "STOPPED":
        return f"the reference clone of recovery point {point_id} is {clone.state}: somebody uses it"
    return Reference(clone_id, mark.run_id, point_id)


def _disk_problem(base: _Base, clone: Vm) -> str:
    """Return why a disk cannot be compared with its image of the reference clone, as far as the manager knows."""
    repository_id, path = base.image.get("repository_id"), base.image.get("path")
    found = next((disk for disk in clone.disks if (disk.repository_id, disk.path) == (repository_id, path)), None)
    if found is None or path is None:
        return f"the reference clone no longer has the image of {disk_label(base.disk)}"
    if found.shared:
        return f"the image of {disk_label(base.disk)} in the reference clone is mapped to other VMs too"
    if base.disk.repository_id != repository_id:
        return f"{disk_label(base.disk)} was moved to another storage repository"
    if not base.image.get("identity"):
        return f"recovery point {base.point_id} does not tell the state of the image of {disk_label(base.disk)}"
    return ""


def _compared(point_id: str) -> str:
    return f"compared with the clone of recovery point {point_id}"
