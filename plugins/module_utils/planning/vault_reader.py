# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What planning has to know of the vault, read from it."""

from __future__ import annotations

from ..vault.outages import read_outages
from ..vault.points import Client, Vault
from .state import ClientState, VaultDisk, VaultState


def read_vault_state(vault: Vault) -> VaultState:
    """Return the newest recovery point of every client; reads manifests and looks at file sizes, not at disk data."""
    return VaultState(tuple(_client_state(client) for client in vault.clients()))


def _client_state(client: Client) -> ClientState:
    vm_id = str(client.document["vm_id"])
    points, damaged = client.scan()
    newest_damaged = max(damaged, key=lambda bad: bad.sequence, default=None)
    if newest_damaged is not None and (not points or newest_damaged.sequence > points[-1].sequence):
        return ClientState(client.name, vm_id, newest_point=newest_damaged.id, outages=read_outages(client.directory))
    if not points:
        return ClientState(client.name, vm_id)
    newest = points[-1]
    return ClientState(
        client.name,
        vm_id,
        newest_point=newest.id,
        # The disks are as of the moment when the transfer began, so that is how old the protection is.
        newest_created=newest.created,
        newest_healthy=client.problem_of(newest) is None,
        disks=tuple(VaultDisk(disk.disk_id, disk.slot, disk.size) for disk in newest.disks),
        outages=read_outages(client.directory),
    )
