# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""One VM into the vault as a recovery point: all of its planned disks and its configuration, or nothing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Callable

from ..errors import CorruptVaultError, PointNotFoundError
from ..vault.drafts import Draft, find_draft
from ..vault.lock import ClientLock
from ..vault.manifest import Point
from ..vault.point_making import PointOutcome, clear_away_left, discarded_on_failure, taken_over
from ..vault.points import Client, Vault
from .deadline import Deadline
from .merge import merge_passes, publish_draft
from .point_transfer import PointTransfer, Progress
from .request import BackupRequest, check_request


def existing_point(vault: Vault, request: BackupRequest) -> Point | None:
    """Return the newest recovery point if this run made it already, so that a repeated run does not repeat it."""
    try:
        point = vault.client(request.plan["client"]).point()
    except (PointNotFoundError, CorruptVaultError):
        return None
    return point if (point.run_id, point.vm_id) == (request.run_id, request.plan["vm_id"]) else None


@contextlib.contextmanager
def client_at_work(
    vault: Vault, request: BackupRequest, clock: Callable[[], float]
) -> Iterator[tuple[Client, ClientLock, list[str]]]:
    """Hold the lock of the request's client, which is registered; the list takes notes for an administrator."""
    client = vault.prepare_client(request.plan["client"])
    lock = client.lock(owner=request.owner, run_id=request.run_id, break_lock=request.break_lock)
    with lock:
        vault.register(client, vm_id=request.plan["vm_id"], vm_name=request.plan["vm_name"], now=clock())
        yield client, lock, taken_over(lock)


def new_draft(client: Client, request: BackupRequest, notes: list[str], now: float) -> Draft:
    """Begin a recovery point that several steps of the run may make together."""
    clear_away_left(client, notes)
    writer = client.new_point(now=now, level=request.compression_level)
    return Draft(writer, request.run_id, request.plan["vm_id"])


def backup_vm(
    vault: Vault,
    request: BackupRequest,
    *,
    publish: bool = True,
    deadline: Deadline | None = None,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.time,
) -> PointOutcome:
    """Make the recovery point under the client's lock, over what a first pass of the run has stored if there was one.

    Without C(publish) it stays a draft of the run. After any failure, interruption and a C(deadline) that is over
    included, the point does not exist and leaves nothing in the vault.
    """
    check_request(request)
    with client_at_work(vault, request, clock) as (client, lock, notes):
        done = existing_point(vault, request)
        if done is not None:
            return PointOutcome(done, False, ())
        draft = find_draft(client, request.run_id) or new_draft(client, request, notes, clock())
        created = publish or draft.point is None
        with discarded_on_failure(draft.writer):
            if draft.point is None:
                draft.point = PointTransfer(client, draft, request, progress, clock, notes, deadline).run()
                if not publish:
                    draft.save()
                    lock.check()
            point = draft.point
            if publish:
                merge_passes(client, draft, level=request.compression_level, clock=clock)
                point = publish_draft(client, lock, draft)
    return PointOutcome(point, created, tuple(notes), publish)
