# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What the backup of a disk builds on: the state that the plan names, or nothing if that turns out to be gone."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import CorruptVaultError, OvmBackupError, PointNotFoundError, VaultError
from ..vault.chain import DiskChain
from ..vault.distrust import mark_distrusted, read_distrust
from ..vault.format import Geometry
from ..vault.manifest import Point, PointDisk
from ..vault.points import Client


class Base(NamedTuple):
    """The state of a disk that an increment builds on. C(chain) has to be closed."""

    point_id: str
    disk: PointDisk
    chain: DiskChain


class Choice(NamedTuple):
    """How a disk is stored, and why. C(form) is that of its disk file: what is no full holds a part of the disk."""

    type: str
    reason: str
    base: Base | None = None

    @property
    def form(self) -> str:
        return "full" if self.base is None else "incremental"

    @property
    def base_id(self) -> str | None:
        return self.base.point_id if self.base is not None else None

    @property
    def chain(self) -> DiskChain | None:
        return self.base.chain if self.base is not None else None


def choose(
    client: Client, parent: Point | None, planned: Mapping[str, Any], geometry: Geometry, notes: list[str]
) -> Choice:
    """Return how a disk is stored: as planned, or in full when there is nothing to build on, which may be noted.

    C(parent) is the newest recovery point of the client.
    """
    if planned["type"] == "full":
        return Choice("full", planned["type_reason"])
    distrust = read_distrust(client.directory)
    if distrust is not None:
        return Choice("full", f"change detection failed before: {distrust}")
    base, why_not = _base(client, parent, planned, geometry, notes)
    if base is None:
        return Choice("full", why_not)
    return Choice(planned["type"], planned["type_reason"], base)


def ask_for_full(client: Client, why: str, failure: OvmBackupError, *, now: float) -> None:
    """Let the next backup of a client be a full, as a failure tells; it also tells if the vault does not take that."""
    try:
        mark_distrusted(client.directory, why, now=now)
    except VaultError as problem:
        failure.add(f". Ask for it, because the vault does not take the mark: {problem.message}")


def damaged(planned: Mapping[str, Any], parent: Point | None, base_id: str, error: VaultError, notes: list[str]) -> str:
    """Return the reason for a full in place of what was to build on C(base_id), and note why."""
    notes.append(f"disk {planned['name']} was backed up in full: {error.message}")
    which = "newest" if parent is not None and base_id == parent.id else "full"
    return f"the {which} recovery point {base_id} is damaged"


def _base(
    client: Client, parent: Point | None, planned: Mapping[str, Any], geometry: Geometry, notes: list[str]
) -> tuple[Base | None, str]:
    """Open the state of a disk that its increment builds on, or say why there is none: it may have gone since."""
    if parent is None:
        return None, "the recovery point that the plan builds on is gone"
    point, disk = parent, parent.disk(planned["disk_id"])
    if disk is None:
        return None, f"disk was not in the newest recovery point {point.id}"
    try:
        if planned["type"] == "differential":
            point, disk = client.last_full(point, disk)
        chain = client.open_disk(point, disk)
    except (PointNotFoundError, CorruptVaultError) as error:
        return None, damaged(planned, parent, point.id, error, notes)
    except VaultError as error:
        if error.details.get("errno") not in (errno.EMFILE, errno.ENFILE):
            raise
        # Every further backup would fail like this one, but a full ends the chain.
        return None, f"recovery point {point.id} builds on more files than can be opened at once"
    if chain.geometry != geometry:
        chain.close()
        return None, f"disk resized from {chain.geometry.size} to {geometry.size} bytes"
    return Base(point.id, disk, chain), ""
