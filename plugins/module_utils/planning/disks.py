# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The disks of a VM: which are backed up and which are not, with the reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from ..manager.inventory import Disk, Inventory, Vm
from .content import DiskFilter
from .reading import quoted


class _Named(Protocol):
    """What has the name and the slot of a disk."""

    @property
    def slot(self) -> int:
        """The slot of the disk in its VM."""

    @property
    def name(self) -> str:
        """The name of the disk."""


@dataclass(frozen=True)
class SkippedDisk:
    """A disk of the VM that is not backed up. C(kind) is the manager room's: virtual, physical or something new."""

    slot: int
    name: str
    kind: str
    reason: str


@dataclass(frozen=True)
class DiskChoice:
    """The virtual disks that are wanted, sorted by slot, and the disks that are not."""

    wanted: tuple[Disk, ...]
    skipped: tuple[SkippedDisk, ...]
    warnings: tuple[str, ...]


def choose_disks(vm: Vm, filters: Iterable[DiskFilter], inventory: Inventory) -> DiskChoice:
    """Divide the disks of a VM. A CD-ROM is not a disk and is left out silently.

    What a filter takes out is wanted so; every other disk that is not backed up gives a warning.
    """
    wanted: list[Disk] = []
    skipped: list[SkippedDisk] = []
    warnings: list[str] = []
    for disk in sorted(vm.disks, key=lambda disk: (disk.slot, disk.id)):
        if disk.kind == "cdrom":
            continue
        taken_out = next((item for item in filters if item.matches(disk, inventory)), None)
        if taken_out is not None:
            skipped.append(SkippedDisk(disk.slot, disk.name, disk.kind, f"taken out by {taken_out}"))
        elif disk.kind == "virtual":
            wanted.append(disk)
        else:
            is_physical = disk.kind == "physical"
            reason = "physical disks are not backed up" if is_physical else f"disks of kind {disk.kind} are not known"
            skipped.append(SkippedDisk(disk.slot, disk.name, disk.kind, reason))
            warnings.append(f"{disk_label(disk)} is not backed up: {reason}")
    return DiskChoice(tuple(wanted), tuple(skipped), tuple(warnings))


def disk_label(disk: _Named) -> str:
    return f"disk {quoted(disk.name)} (slot {disk.slot})"


def repository_label(repository_id: str, inventory: Inventory) -> str:
    """Return a storage repository as people know it: by its name, or by its id if the manager does not list it."""
    repository = inventory.repositories.get(repository_id)
    return f"storage repository {quoted(repository.name if repository is not None else repository_id)}"
