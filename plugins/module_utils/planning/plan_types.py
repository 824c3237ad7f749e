# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What a plan consists of, in the form that playbooks see."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from .access import SourceServer
from .content import Excluded
from .disks import SkippedDisk
from .limits import Limits, Slot
from .reference import Reference


@dataclass(frozen=True)
class DiskPlan:
    """A disk that is backed up. C(size) in bytes, if the manager tells; C(path) is relative to the repository.

    With the C(source) ssh it is read through the C(server). C(changes): all, extent_maps or hash, how they are found.
    """

    slot: int
    disk_id: str
    name: str
    size: int | None
    repository_id: str | None
    repository: str | None
    path: str | None
    type: str
    type_reason: str
    base: str | None = None  # the recovery point that it builds on
    source: str = "path"  # path | ssh
    server: SourceServer | None = None
    source_reason: str = ""
    changes: str = "all"
    changes_reason: str = ""

    @property
    def place(self) -> DiskSource:
        """Return from where it is read."""
        return DiskSource(self.source, self.server, self.source_reason)


@dataclass(frozen=True)
class DiskSource:
    """From where a disk is read."""

    source: str
    server: SourceServer | None
    source_reason: str


@dataclass(frozen=True)
class StandIn:
    """Another proxy that may go on with a VM when its own is lost: the places it needs, the sources of the disks."""

    proxy: str
    slots: tuple[Slot, ...]
    disks: tuple[DiskSource, ...]


@dataclass(frozen=True)
class VmPlan:
    """What happens to one VM, and why. C(order) counts from 1 through the plan."""

    vm_id: str
    vm_name: str
    client: str
    new_client: bool
    selected_by: str
    action: str  # backup | current | fail | skip
    method: str  # hot_clone | shutdown | cold | consolidate | skip
    reason: str
    requested_type: str
    type: str  # full | incremental | differential | synthetic_full
    type_reason: str
    disks: tuple[DiskPlan, ...] = ()
    skipped_disks: tuple[SkippedDisk, ...] = ()
    repositories: tuple[str, ...] = ()  # names of the storage repositories of the disks, in the order of slots
    expected_outage: float | None = None  # seconds, as the last backups took
    outage_until: float | None = None  # epoch seconds at which the outage window closes
    pause: str = "not_needed"  # or cannot_be_served: whether the guest is paused while it is cloned
    reference: Reference | None = None  # the clone of an earlier backup that tells what has changed
    reference_reason: str = ""
    order: int = 0
    proxy: str = ""
    slots: tuple[Slot, ...] = ()  # the places that the VM needs before it is worked on
    stand_ins: tuple[StandIn, ...] = ()  # who goes on with it when the proxy is lost
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChangeDetection:
    """How backups find out what has changed; shares in percent.

    C(reference_space) of a storage repository has to be free for a reference clone to stay, and C(sample) of what has
    not changed is read all the same.
    """

    keep_reference: bool = True
    reference_space: int = 10
    sample: float = 0.01


@dataclass(frozen=True)
class Named:
    """A VM that is named because it is not in the plan, or was not in the last job."""

    vm_id: str
    vm_name: str


@dataclass(frozen=True)
class Plan:
    """The VMs of a subclient in run order: backups, then current, failing and skipped ones. Durations in seconds.

    C(new) are the VMs that the last job of the subclient did not have, C(gone) those that only it had.
    """

    subclient: str
    requested_type: str
    max_age: int
    shutdown_timeout: int
    kill: bool
    max_outage: int
    two_pass: bool
    change_detection: ChangeDetection
    vms: tuple[VmPlan, ...]
    limits: Limits = Limits()
    retries: int = 0
    retry_delay: int = 0
    max_failed_percent: int = 100
    last_job: str | None = None
    new: tuple[Named, ...] = ()
    gone: tuple[Named, ...] = ()
    excluded: tuple[Excluded, ...] = ()  # the content identifies them, exclude.vms takes them out
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the plan in plain JSON types, under the names of the fields."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
