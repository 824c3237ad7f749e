# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What planning has to know of the vault: for each client, its newest recovery point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..vault.jobs import FAILED
from ..vault.outages import Outage


@dataclass(frozen=True)
class VaultDisk:
    """A disk of the newest recovery point. C(size) in bytes.

    C(healthy) tells whether it can be built upon. C(full_point) holds its most recent full or synthetic full, and
    C(full_healthy) tells the same of that. C(increments) counts the points since then that hold the disk.
    """

    id: str
    slot: int
    size: int
    healthy: bool = True
    full_point: str | None = None
    full_healthy: bool = False
    increments: int = 0
    problem: str | None = None  # why it is not healthy
    full_problem: str | None = None
    image: Mapping[str, Any] | None = None  # what the newest point read it from, as its manifest says
    full_image: Mapping[str, Any] | None = None  # what the full did


@dataclass(frozen=True)
class GoodPoint:
    """A recovery point that can be restored, as far as manifests and file sizes tell. C(created) is epoch seconds."""

    id: str
    created: float
    type: str
    consistency: str
    subclient: str | None
    manager_id: str | None
    disk_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClientState:
    """A client and its newest recovery point, if it has one.

    C(newest_is_full) tells whether that is a full or synthetic full in all its disks, C(subclients) name those whose
    jobs made any of the client's points.
    """

    client: str
    vm_id: str
    newest_point: str | None = None
    newest_created: float | None = None  # epoch seconds
    newest_healthy: bool = False
    disks: tuple[VaultDisk, ...] = ()  # of the newest recovery point
    vm_name: str = ""
    newest_is_full: bool = False
    subclients: frozenset[str] = frozenset()
    # Only read for the report on coverage; it plays no part in a plan.
    newest_good: GoodPoint | None = field(default=None, compare=False)
    outages: tuple[Outage, ...] = ()  # the last ones that were measured, oldest first
    distrust: str | None = None  # why what its increments left out may have changed all the same

    @property
    def can_be_consolidated(self) -> bool:
        """Whether there is something that a synthetic full could be made of; whether it is healthy is judged later."""
        return self.newest_point is not None and self.distrust is None

    @property
    def protected_at(self) -> float | None:
        """When the VM was last protected: the newest recovery point counts only if it is healthy and trusted."""
        counts = self.newest_point is not None and self.newest_healthy and self.distrust is None
        return self.newest_created if counts else None


@dataclass(frozen=True)
class LastJob:
    """The last finished job of a subclient, or the one that is restarted: names and statuses of VMs by id.

    C(open_after) are the ids of later ones that are not closed, if that was asked for.
    """

    id: str
    requested_type: str
    vms: Mapping[str, str]
    statuses: Mapping[str, str]
    open_after: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[str, ...]:
        """Return the ids of the VMs that failed."""
        return tuple(vm_id for vm_id, status in self.statuses.items() if status == FAILED)


@dataclass(frozen=True)
class VaultState:
    """All clients of the vault, and the job that the run is compared with."""

    clients: tuple[ClientState, ...] = ()
    last_job: LastJob | None = None

    def by_vm(self) -> dict[str, ClientState]:
        """Return the client of each VM id; if there are several, the one that was protected last."""
        found: dict[str, ClientState] = {}
        for state in sorted(self.clients, key=lambda state: (state.newest_created or 0.0, state.client)):
            found[state.vm_id] = state
        return found
