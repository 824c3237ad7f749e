# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The type of a backup that is really made, decided per disk, and why it is that one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from ..manager.inventory import Disk
from .disks import disk_label
from .state import ClientState, VaultDisk

SYNTHETIC_FULL = "synthetic_full"
BACKUP_TYPES = ("full", "incremental", "differential", SYNTHETIC_FULL)
_INCREMENTS = ("incremental", "differential")

# A disk is read with all files of its chain open, and systems let a process open 1024 files, some of them for
# other things. A chain that has grown beyond that could neither be continued nor restored nor consolidated.
LONGEST_CHAIN = 500


@dataclass(frozen=True)
class TypeDecision:
    """C(type): full, incremental or differential; C(base) is the recovery point that it builds on, as planned."""

    type: str
    reason: str
    base: str | None = None


def decide_disk_type(disk: Disk, requested: str, state: ClientState | None, max_increments: int = 0) -> TypeDecision:
    """Return the type for one disk: what was asked for, or a full if there is no base for it.

    An incremental builds on the newest recovery point, a differential on the most recent full or synthetic full of the
    disk; a client that is distrusted gets neither. A disk is the same disk if it has the same id and size; its name,
    slot and storage repository do not matter. C(max_increments) is how many recovery points may follow a full of the
    disk, 0 for any number; an incremental never follows more than C(LONGEST_CHAIN).
    """
    if state is None or state.newest_point is None:
        return TypeDecision("full", "first backup of this VM")
    if state.distrust is not None and requested != "full":
        return TypeDecision("full", f"change detection failed before: {state.distrust}")
    if requested not in _INCREMENTS:
        return TypeDecision("full", "full backup was asked for")
    known = {item.id: item for item in state.disks}.get(disk.id)
    if known is None and (state.newest_healthy or state.disks):
        return TypeDecision("full", "disk was not in the newest recovery point")
    if known is None or not (known.healthy if requested == "incremental" else known.full_healthy):
        return TypeDecision("full", _damage(requested, known))
    if disk.size is None:
        return TypeDecision("full", "the manager does not tell the size of the disk")
    # An image may be larger than the manager says; whether it has become smaller is seen when it is read.
    if known.size < disk.size:
        return TypeDecision("full", f"disk resized from {known.size} to {disk.size} bytes")
    if max_increments and known.increments >= max_increments:
        return TypeDecision("full", f"{known.increments} recovery points follow its last full, {max_increments} may")
    if requested == "incremental" and known.increments >= LONGEST_CHAIN:
        reason = f"{known.increments} recovery points follow its last full, and a chain ends after {LONGEST_CHAIN}"
        return TypeDecision("full", reason)
    if requested == "incremental":
        return TypeDecision("incremental", f"changes since recovery point {state.newest_point}", state.newest_point)
    return TypeDecision("differential", f"changes since full recovery point {known.full_point}", known.full_point)


def _damage(requested: str, known: VaultDisk | None) -> str:
    problem = known.problem if known is not None else None
    what = "newest recovery point is damaged"
    if requested != "incremental" and known is not None and known.full_point is not None:
        what, problem = f"full recovery point {known.full_point} is damaged", known.full_problem
    return what if problem is None else f"{what}: {problem}"


def combine_types(decisions: Sequence[tuple[Disk, TypeDecision]]) -> TypeDecision:
    """Return the type of the VM: that of the disks (one at least) that are no fulls; the reason covers all disks."""
    reasons = list(dict.fromkeys(decision.reason for _unused, decision in decisions))
    increments = [decision for _unused, decision in decisions if decision.type != "full"]
    if len(reasons) == 1:
        return decisions[0][1]
    full = [f"{disk_label(disk)} in full: {decision.reason}" for disk, decision in decisions if decision.type == "full"]
    if increments:
        why = dict.fromkeys(decision.reason for decision in increments)
        return dataclasses.replace(increments[0], reason="; ".join([*why, *full]))
    return TypeDecision("full", "; ".join(full))
