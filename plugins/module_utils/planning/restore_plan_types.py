# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What a plan of a restore says."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..manager.inventory import Disk
from ..vault.manifest import PointDisk


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
