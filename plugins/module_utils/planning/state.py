# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What planning has to know of the vault: for each client, its newest recovery point."""

from __future__ import annotations

from dataclasses import dataclass

from ..vault.outages import Outage


@dataclass(frozen=True)
class VaultDisk:
    """A disk of a recovery point. C(size) in bytes."""

    id: str
    slot: int
    size: int


@dataclass(frozen=True)
class ClientState:
    """A client and its newest recovery point, if it has one."""

    client: str
    vm_id: str
    newest_point: str | None = None
    newest_created: float | None = None  # epoch seconds
    newest_healthy: bool = False
    disks: tuple[VaultDisk, ...] = ()  # of the newest recovery point
    outages: tuple[Outage, ...] = ()  # the last ones that were measured, oldest first

    @property
    def protected_at(self) -> float | None:
        """When the VM was last protected: the newest recovery point counts only if it is healthy."""
        return self.newest_created if self.newest_point is not None and self.newest_healthy else None


@dataclass(frozen=True)
class VaultState:
    """All clients of the vault."""

    clients: tuple[ClientState, ...] = ()

    def by_vm(self) -> dict[str, ClientState]:
        """Return the client of each VM id; if there are several, the one that was protected last."""
        found: dict[str, ClientState] = {}
        for state in sorted(self.clients, key=lambda state: (state.newest_created or 0.0, state.client)):
            found[state.vm_id] = state
        return found
