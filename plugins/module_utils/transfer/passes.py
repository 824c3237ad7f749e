# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The steps around an outage: a first pass over the disks before it, and the recovery point after it.

In between, C(backup_vm) without C(publish) reads the disks at rest, compares them with the first pass and stores what
differs. So the outage holds a reading pass, but nearly no compression and no merging.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Callable

from ..errors import CorruptVaultError, InvalidInputError, PointNotFoundError, VaultError
from ..vault.drafts import find_draft
from ..vault.manifest import Point
from ..vault.point_making import PointOutcome, discarded_on_failure
from ..vault.points import Vault
from .merge import check_merge_space, merge_passes, publish_draft
from .point_backup import client_at_work, existing_point, new_draft
from .point_transfer import PointTransfer, Progress
from .request import BackupRequest, check_request


@dataclass(frozen=True)
class FirstPass:
    """What the first pass has read, and whether this call did it. Bytes and seconds."""

    created: bool
    read: int
    seconds: float
    notes: tuple[str, ...] = ()


def check_first_pass(request: BackupRequest) -> None:
    """Raise C(InvalidInputError) for a request that cannot work, before anything is touched."""
    check_request(request)
    if request.plan["method"] != "shutdown":
        raise InvalidInputError(
            f"VM {request.plan['vm_name']!r} is planned with method {request.plan['method']}: a first pass is for VMs "
            "that are shut down"
        )


def first_pass(
    vault: Vault,
    request: BackupRequest,
    *,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.time,
) -> FirstPass:
    """Store the disks of a running VM as a draft of the run, under the client's lock; after a failure there is none."""
    check_first_pass(request)
    with client_at_work(vault, request, clock) as (client, lock, notes):
        draft = find_draft(client, request.run_id)
        if draft is not None or existing_point(vault, request) is not None:
            return FirstPass(False, 0, 0.0)
        started = clock()
        draft = new_draft(client, request, notes, started)
        with discarded_on_failure(draft.writer):
            draft.disks = PointTransfer(client, draft, request, progress, clock, notes).first_pass()
            draft.seconds = clock() - started
            draft.notes = tuple(notes)
            check_merge_space(client, draft)
            draft.save()
            lock.check()
    return FirstPass(True, sum(disk.read for disk in draft.disks), draft.seconds, tuple(notes))


def publish(vault: Vault, request: BackupRequest, *, clock: Callable[[], float] = time.time) -> PointOutcome:
    """Make the recovery point exist that the steps of a run have made; after a failure it does not.

    The passes have cost an outage: when merging them fails, as in a vault that is full, they stay for a repetition of
    this step. They go when their data is wrong, and after an interruption, for then nobody will repeat it.
    """
    client = vault.client(request.plan["client"])
    with client.lock(owner=request.owner, run_id=request.run_id) as lock:
        done = existing_point(vault, request)
        if done is not None:
            return PointOutcome(done, False, ())
        draft = find_draft(client, request.run_id)
        if draft is None or draft.point is None:
            raise VaultError(
                f"Run {request.run_id} has not transferred the disks of client {client.name}: there is no recovery "
                "point to publish",
                client=client.name,
            )
        with discarded_on_failure(draft.writer, (CorruptVaultError, KeyboardInterrupt)):
            merge_passes(client, draft, level=request.compression_level, clock=clock)
        with discarded_on_failure(draft.writer):
            point = publish_draft(client, lock, draft)
    return PointOutcome(point, True, ())


def discard(vault: Vault, request: BackupRequest) -> bool:
    """Remove the draft of a run; return whether there was one."""
    if not find(vault, request).draft:
        return False
    client = vault.client(request.plan["client"])
    with client.lock(owner=request.owner, run_id=request.run_id):
        draft = find_draft(client, request.run_id)
        if draft is None:
            return False
        draft.writer.discard()
    return True


@dataclass(frozen=True)
class Found:
    """What there is of a run: a draft, or the recovery point."""

    draft: bool
    point: Point | None


def find(vault: Vault, request: BackupRequest) -> Found:
    """Return what the steps of a run have left so far."""
    try:
        client = vault.client(request.plan["client"])
    except PointNotFoundError:
        return Found(False, None)
    return Found(find_draft(client, request.run_id) is not None, existing_point(vault, request))
