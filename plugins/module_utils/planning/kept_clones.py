# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Which clones on the manager later backups of a client can read against, as its recovery points say.

A backup finds what has changed by comparing its clone with the one that its base was read from. An increment builds on
the newest point, a differential on the last full. So the clone that the newest point was read from is of use, and where
that is a differential, which may be followed by another one, also that of the full below it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ..errors import VaultError
from ..vault.manifest import Point, PointDisk
from ..vault.points import Client, Vault


def reference_clones(client: Client) -> dict[str, Point]:
    """Return the ids of the clones that its points made reference clones, each with the point that was read from it.

    Whether they still exist is not known here. A point that is damaged does not count: nothing can be built on it.
    """
    newest = client.newest_readable()
    if newest is None:
        return {}
    read = [(newest, disk) for disk in newest.disks]
    if newest.type == "differential":
        with contextlib.suppress(VaultError):
            read += [client.last_full(newest, disk) for disk in newest.disks]
    found = [(_clone_of(point, disk), point) for point, disk in read]
    return {clone_id: point for clone_id, point in found if clone_id is not None}


def _clone_of(point: Point, disk: PointDisk) -> str | None:
    """Return the clone that a disk was read from, unless it was not to be kept."""
    kept = disk.image is not None and (point.clone is None or point.clone["keep"])
    return disk.image.get("clone_id") if disk.image is not None and kept else None


@dataclass(frozen=True)
class KnownReferences:
    """Reference clones by the id of their VM. C(unreadable): a client about which nothing is known."""

    by_vm: Mapping[str, Mapping[str, Point]]
    unreadable: str | None = None

    def point_of(self, vm_id: str, clone_id: str) -> Point | None:
        """Return the point that was read from a clone of a VM, if a later backup can read against it."""
        return self.by_vm.get(vm_id, {}).get(clone_id)


def read_references(vault: Vault, vm_ids: Collection[str]) -> KnownReferences:
    """Return the reference clones of the clients of some VMs; only few manifests are read."""
    found: dict[str, dict[str, Point]] = {}
    unreadable = None
    for client in vault.clients() if vm_ids else ():
        try:
            vm_id = str(client.document["vm_id"])
            if vm_id in vm_ids:
                found.setdefault(vm_id, {}).update(reference_clones(client))
        except VaultError:
            unreadable = unreadable or client.name
    return KnownReferences(found, unreadable)
