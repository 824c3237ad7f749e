# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What a plan of a restore says."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..manager.inventory import Disk, Inventory, Vm
from ..manager.restored_survey import MadeDisk
from ..vault.manifest import Point, PointDisk
from .restore_places import Home
from .restore_wishes import Wishes


@dataclass(frozen=True)
class DiskToRestore:
    """A disk and where it goes. C(size) and C(needed) are bytes; C(previous) is the virtual disk that it replaces.

    C(held) is what the slot holds now: an interrupted call may have emptied it, or have put there what it made.
    C(made) is the virtual disk that an interrupted call of the same restore has made, C(exchanged) whether the slot
    holds it already, C(purpose) what the virtual disk remembers of all that.
    """

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
    held: str | None
    made: str | None
    exchanged: bool
    purpose: dict[str, Any]


@dataclass(frozen=True)
class Placed:
    """A disk of the recovery point, what its slot holds now, and the storage repository that it goes to."""

    disk: PointDisk
    held: Disk | None
    repository_id: str


@dataclass(frozen=True)
class RestorePlan:
    """What will be done. C(run_id) is the same for the same restore, so that one that is repeated finds its objects.

    C(complete): an interrupted call has done it all, but the marks are still there. C(was_running): the VM runs, or did
    when an interrupted call of the same restore began.
    """

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
    was_running: bool
    complete: bool
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


def restore_id(
    inventory: Inventory, point: Point, wishes: Wishes, target: str, home: Home, placed: Sequence[Placed]
) -> str:
    """Return the id of a restore: that of another VM, point or manager, or to another place, is another one."""
    places = [f"{one.disk.slot}:{one.repository_id}" for one in placed]
    where = [home.server_pool or "", home.server or "", home.repository or ""]
    facts = (inventory.manager_id, point.client, point.id, wishes.mode, target, str(wishes.slots), *where, *places)
    return f"restore-{hashlib.sha256(chr(0).join(facts).encode('utf-8', 'backslashreplace')).hexdigest()[:20]}"


def holds_done(vm: Vm, own: Mapping[str, MadeDisk]) -> bool:
    """Return whether a VM has disks of a restore of which nothing but the marks is left to do."""
    purposes = [own[disk.id].purpose for disk in vm.disks if disk.id in own]
    return any(one is not None and one.done for one in purposes)
