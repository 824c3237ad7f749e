# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The type of a backup that is really made, decided per disk, and why it is that one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..manager.inventory import Disk
from .disks import disk_label
from .state import ClientState


@dataclass(frozen=True)
class TypeDecision:
    """C(type): full or incremental."""

    type: str
    reason: str


def decide_disk_type(disk: Disk, requested: str, state: ClientState | None) -> TypeDecision:
    """Return the type for one disk: what was asked for, or a full if the newest recovery point is no base for it.

    A disk is the same disk if it has the same id and size; its name, slot and storage repository do not matter.
    """
    if state is None or state.newest_point is None:
        return TypeDecision("full", "first backup of this VM")
    if requested == "full":
        return TypeDecision("full", "full backup was asked for")
    if not state.newest_healthy:
        why = f": {state.newest_problem}" if state.newest_problem is not None else ""
        return TypeDecision("full", f"newest recovery point is damaged{why}")
    base = {item.id: item for item in state.disks}.get(disk.id)
    if base is None:
        return TypeDecision("full", "disk was not in the newest recovery point")
    if disk.size is None:
        return TypeDecision("full", "the manager does not tell the size of the disk")
    # An image may be larger than the manager says; whether it has become smaller is seen when it is read.
    if base.size < disk.size:
        return TypeDecision("full", f"disk resized from {base.size} to {disk.size} bytes")
    return TypeDecision("incremental", f"changes since recovery point {state.newest_point}")


def combine_types(decisions: Sequence[tuple[Disk, TypeDecision]]) -> TypeDecision:
    """Return the type of the VM: incremental if any of its disks (one at least) is; the reason covers all disks."""
    reasons = list(dict.fromkeys(decision.reason for _unused, decision in decisions))
    incremental = [decision for _unused, decision in decisions if decision.type == "incremental"]
    if len(reasons) == 1:
        return decisions[0][1]
    full = [f"{disk_label(disk)} in full: {decision.reason}" for disk, decision in decisions if decision.type == "full"]
    if incremental:
        return TypeDecision("incremental", "; ".join([incremental[0].reason, *full]))
    return TypeDecision("full", "; ".join(full))
