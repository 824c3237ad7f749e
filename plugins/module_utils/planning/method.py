# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The method of a VM's backup, from the storage repositories of all its wanted disks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..manager.inventory import Disk, Inventory, Vm
from ..manager.storage import StorageRepository
from .disks import disk_label, repository_label

_TRANSPORTS = {"iscsi": "iSCSI", "fibre_channel": "fibre channel", "local": "a local disk"}


# crash: each disk is as after a power failure, several disks may be of slightly different moments. paused: they are of
# one moment, because the guest does not write while they are cloned.
CONSISTENCIES = ("crash", "paused")
PAUSE_NOT_NEEDED, PAUSE_CANNOT_BE_SERVED = "not_needed", "cannot_be_served"


@dataclass(frozen=True)
class MethodDecision:
    """What is done with a VM. C(action): backup, skip or fail; C(method): hot_clone, shutdown, cold or skip.

    C(pause) says whether the guest has to be paused while its disks are cloned and cannot be.
    """

    action: str
    method: str
    reason: str
    warnings: tuple[str, ...] = ()
    pause: str = PAUSE_NOT_NEEDED


def decide_method(
    vm: Vm, disks: Sequence[Disk], inventory: Inventory, nfs_policy: str, consistency: str = "crash"
) -> MethodDecision:
    """Return how the disks (one at least) of a VM that is not a template are backed up, and why so."""
    unreadable = [problem for disk in disks for problem in _unreadable(disk, inventory)]
    if unreadable:
        return _skip("the data of the VM cannot be found: " + "; ".join(unreadable))
    if vm.state == "STOPPED":
        # Its disks are at rest, so every kind of storage will do (ovm-rest-api 11.4).
        return MethodDecision("backup", "cold", "the VM is powered off", _shared_warnings(disks, "cold"))
    if vm.state == "RUNNING":
        found = _decide_running(disks, inventory, nfs_policy)
        needs_pause = consistency == "paused" and found.method == "hot_clone" and len(disks) > 1
        return _without_pause(found, len(disks)) if needs_pause else found
    return _skip(_state_reason(vm.state))


def _without_pause(decision: MethodDecision, disks: int) -> MethodDecision:
    """Refuse a hot clone whose disks have to be of one moment: the manager has no pause that a clone could be made in.

    Its suspend writes the memory to disk and ends the guest, and a suspended VM is not known to be cloned (ovm-rest-api
    9.3, 11.4). What is asked for and cannot be had is never replaced by less without a word.
    """
    reason = (
        f"consistency: paused asks for a pause of the guest while its {disks} disks are cloned, and Oracle VM Manager "
        "has none in which a clone can be made: use consistency: crash, keep what belongs together on one disk, or "
        "back the VM up while it is powered off"
    )
    return MethodDecision("fail", "skip", reason, decision.warnings, PAUSE_CANNOT_BE_SERVED)


def _decide_running(disks: Sequence[Disk], inventory: Inventory, nfs_policy: str) -> MethodDecision:
    storage = [(disk, inventory.repositories[disk.repository_id]) for disk in disks if disk.repository_id is not None]
    unknown = [
        f"{disk_label(disk)} is on {repository_label(repository.id, inventory)}, which is neither OCFS2 nor NFS "
        "as far as the manager tells"
        for disk, repository in storage
        if repository.file_system not in ("ocfs2", "nfs")
    ]
    if unknown:
        return _skip("the storage of the running VM is not known: " + "; ".join(unknown))
    on_nfs = [
        f"{disk_label(disk)} is on the NFS {repository_label(repository.id, inventory)}"
        for disk, repository in storage
        if repository.file_system == "nfs"
    ]
    if on_nfs:
        return _decide_nfs(disks, " and ".join(on_nfs), nfs_policy)
    refused = [text for disk, repository in storage for text in _no_hot_clone(disk, repository, inventory)]
    if refused:
        return _skip("the running VM cannot be hot cloned: " + "; ".join(refused))
    warnings = [
        f"{disk_label(disk)} is on {repository_label(repository.id, inventory)} on a local disk of a server: Oracle "
        "documents hot clones for OCFS2 on iSCSI or fibre channel only"  # (ovm-rest-api 11.4)
        for disk, repository in storage
        if repository.transport == "local"
    ]
    used = dict.fromkeys(repository for _unused, repository in storage)
    places = [f"{repository_label(item.id, inventory)} (OCFS2 on {_TRANSPORTS[item.transport]})" for item in used]
    reason = f"the VM is running, all its disks are on {' and '.join(places)}"
    return MethodDecision("backup", "hot_clone", reason, (*warnings, *_shared_warnings(disks, "hot_clone")))


def _decide_nfs(disks: Sequence[Disk], where: str, nfs_policy: str) -> MethodDecision:
    """Decide for a running VM with a disk on NFS: there is no hot clone, only an outage (ovm-rest-api 11.4)."""
    reason = f"the VM is running and cannot be hot cloned: {where}"
    if nfs_policy == "shutdown":
        text = f"{reason}; it is shut down for its backup and started again (nfs_policy: shutdown)"
        return MethodDecision("backup", "shutdown", text, _shared_warnings(disks, "shutdown"))
    if nfs_policy == "skip":
        return MethodDecision("skip", "skip", f"{reason}; it is left out (nfs_policy: skip)")
    text = f"{reason}; it may not be shut down (nfs_policy: fail): allow it with nfs_policy: shutdown"
    return MethodDecision("fail", "skip", text)


def _no_hot_clone(disk: Disk, repository: StorageRepository, inventory: Inventory) -> list[str]:
    place = f"{disk_label(disk)} is on {repository_label(repository.id, inventory)}"
    if repository.transport not in _TRANSPORTS:
        return [
            f"{place}, which is OCFS2 on storage that is neither iSCSI nor fibre channel as far as the manager tells"
        ]
    if not repository.thin_clone:
        return [f"{place}, whose storage plug-in does not fully support clones"]  # (ovm-rest-api 8.4)
    return []


def _unreadable(disk: Disk, inventory: Inventory) -> list[str]:
    if disk.repository_id is None:
        return [f"{disk_label(disk)} is in no storage repository"]
    place = repository_label(disk.repository_id, inventory)
    if disk.repository_id not in inventory.repositories:
        return [f"{disk_label(disk)} is in {place}, which the manager does not list"]
    if not disk.path:
        return [f"{disk_label(disk)} has no path in {place}"]
    return []


def _state_reason(state: str) -> str:
    if state == "SUSPENDED":
        return "the VM is suspended: it can neither be hot cloned nor are its disks at rest; resume it or power it off"
    if state in ("STARTING", "STOPPING"):
        return f"the VM is changing its power state ({state}); a later run will find it running or powered off"
    return f"the manager reports a power state that this version does not know: {state!r}"


def _shared_warnings(disks: Sequence[Disk], method: str) -> tuple[str, ...]:
    effect = (
        "the recovery point is crash consistent for this VM's clone only"
        if method == "hot_clone"
        else "the recovery point is consistent only if no other VM writes to it meanwhile"
    )
    return tuple(f"{disk_label(disk)} is shared with other VMs: {effect}" for disk in disks if disk.shared)


def _skip(reason: str) -> MethodDecision:
    return MethodDecision("skip", "skip", reason, (f"not backed up: {reason}",))
