# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The steps around an outage: a first pass over the disks before it, and the recovery point after it.

In between, C(backup_vm) without C(publish) reads the disks at rest, compares them with the first pass and stores what
differs. So the outage holds a reading pass, but nearly no compression and no merging.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any, Callable

from ..errors import InvalidInputError, PointNotFoundError
from ..vault.drafts import discard_draft, find_draft, no_draft
from ..vault.manifest import Point
from ..vault.points import Client, Vault
from .merge import publish_draft
from .point_backup import (
    BackupOutcome,
    PointTransfer,
    Progress,
    client_at_work,
    existing_point,
    new_draft,
)
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
        try:
            draft.disks = PointTransfer(client, draft, request, progress, clock, notes).first_pass()
            draft.seconds = clock() - started
            draft.notes = tuple(notes)
            draft.save()
            lock.check()
        except BaseException:
            with contextlib.suppress(Exception):
                draft.writer.discard()
            raise
    return FirstPass(True, sum(disk.read for disk in draft.disks), draft.seconds, tuple(notes))


def publish(
    vault: Vault,
    client_name: str,
    *,
    run_id: str,
    owner: str,
    compression_level: int = 1,
    clock: Callable[[], float] = time.time,
) -> BackupOutcome:
    """Make the recovery point exist that the steps of a run have made; after a failure it does not, nor its draft."""
    client = vault.client(client_name)
    with client.lock(owner=owner, run_id=run_id) as lock:
        done = published_by(client, run_id)
        if done is not None:
            return BackupOutcome(done, False, ())
        draft = find_draft(client, run_id)
        if draft is None or draft.point is None:
            raise no_draft(client, run_id)
        try:
            point = publish_draft(client, lock, draft, level=compression_level, clock=clock)
        except BaseException:
            with contextlib.suppress(Exception):
                draft.writer.discard()
            raise
    return BackupOutcome(point, True, ())


def discard(vault: Vault, client_name: str, *, run_id: str, owner: str) -> bool:
    """Remove the draft of a run; return whether there was one."""
    try:
        client = vault.client(client_name)
    except PointNotFoundError:
        return False
    if find_draft(client, run_id) is None:
        return False
    with client.lock(owner=owner, run_id=run_id):
        return discard_draft(client, run_id)


def foresee(vault: Vault, client_name: str, run_id: str) -> dict[str, Any]:
    """Return what there is of a run: C(draft), C(complete), and C(point) if it is published already."""
    try:
        client = vault.client(client_name)
    except PointNotFoundError:
        return {"draft": False, "complete": False, "point": None}
    draft = find_draft(client, run_id)
    return {
        "draft": draft is not None,
        "complete": draft is not None and draft.point is not None,
        "point": published_by(client, run_id),
    }


def published_by(client: Client, run_id: str) -> Point | None:
    """Return the newest recovery point if a run made it."""
    points, _damaged = client.scan()
    return points[-1] if points and points[-1].run_id == run_id else None
