# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What planning has to know of the vault, read from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ..errors import InvalidInputError, VaultError
from ..vault.distrust import read_distrust
from ..vault.health import Health
from ..vault.jobs import JobStore
from ..vault.manifest import Point, PointDisk
from ..vault.outages import read_outages
from ..vault.points import Client, DamagedPoint, Vault
from .state import ClientState, GoodPoint, LastJob, VaultDisk, VaultState


def read_vault_state(
    vault: Vault, subclient: str | None = None, *, job_id: str | None = None, restart: bool = False
) -> VaultState:
    """Return the newest recovery point of every client; reads manifests and looks at file sizes, not at disk data.

    With C(subclient) also its last finished job, or the job with this id. Raises C(PointNotFoundError) if there is no
    such job. If the last one is to be restarted (C(restart)), also which are later than that and not closed.
    """
    clients = tuple(_client_state(client, *client.scan(), Health(client)) for client in vault.clients())
    if subclient is None:
        return VaultState(clients)
    jobs = JobStore(vault)
    last = _last_job(jobs, subclient, job_id, restart=restart)
    if last is not None and restart and job_id is None:
        last = dataclasses.replace(last, open_after=jobs.open_after(last.id, subclient))
    return VaultState(clients, last)


def read_coverage_state(vault: Vault) -> VaultState:
    """Return the same with the newest recovery point of each client that is good, which may be an older one."""
    return VaultState(tuple(_with_newest_good(client) for client in vault.clients()))


def _with_newest_good(client: Client) -> ClientState:
    points, damaged = client.scan()
    health = Health(client)
    state = _client_state(client, points, damaged, health)
    good = _newest_good(points, health)
    return dataclasses.replace(state, vm_name=state.vm_name or client.name, newest_good=good)


def _newest_good(points: Sequence[Point], health: Health) -> GoodPoint | None:
    for point in reversed(points):
        if _problem(health, point) is None:
            return GoodPoint(
                point.id,
                point.created,
                point.type,
                point.consistency,
                point.subclient,
                point.manager.get("id"),
                tuple(disk.disk_id for disk in point.disks),
            )
    return None


def _client_state(
    client: Client, points: Sequence[Point], damaged: Sequence[DamagedPoint], health: Health
) -> ClientState:
    document = client.document
    vm_id, vm_name = str(document["vm_id"]), str(document.get("vm_name", ""))
    subclients = frozenset(point.subclient for point in points if point.subclient is not None)
    known = ClientState(
        client.name,
        vm_id,
        vm_name=vm_name,
        subclients=subclients,
        outages=read_outages(client.directory),
        distrust=read_distrust(client.directory),
    )
    newest_damaged = max(damaged, key=lambda bad: bad.sequence, default=None)
    if newest_damaged is not None and (not points or newest_damaged.sequence > points[-1].sequence):
        return dataclasses.replace(known, newest_point=newest_damaged.id)
    if not points:
        return known
    newest = points[-1]
    disks = _disks(client, points, health)
    return dataclasses.replace(
        known,
        newest_point=newest.id,
        # The disks are as of the moment when the transfer began, so that is how old the protection is.
        newest_created=newest.created,
        newest_healthy=_problem(health, newest) is None,
        disks=disks,
        newest_is_full=newest.is_full,
    )


def _disks(client: Client, points: Sequence[Point], health: Health) -> tuple[VaultDisk, ...]:
    """Return the disks of the newest point, and what can be built on."""
    newest = points[-1]
    found = []
    for disk in newest.disks:
        problem = _problem(health, newest, disk)
        healthy = problem is None
        try:
            base, full = client.last_full(newest, disk)
        except VaultError:
            found.append(VaultDisk(disk.disk_id, disk.slot, disk.size, healthy, problem=problem))
            continue
        later = [point for point in points if point.sequence > base.sequence and point.disk(disk.disk_id) is not None]
        full_problem = None if healthy else _problem(health, base, full)
        found.append(
            VaultDisk(
                disk.disk_id,
                disk.slot,
                disk.size,
                healthy,
                base.id,
                full_problem is None,
                len(later),
                problem,
                full_problem,
                disk.image,
                full.image,
            )
        )
    return tuple(found)


def _problem(health: Health, point: Point, disk: PointDisk | None = None) -> str | None:
    """Return why a point, or a disk of it, cannot be built upon, or nothing.

    What cannot be looked at right now costs a full of one VM, not the plan of all.
    """
    try:
        return health.problem_of(point) if disk is None else health.problem_of_disk(point, disk)
    except VaultError as error:
        return error.message


def _last_job(jobs: JobStore, subclient: str, job_id: str | None, *, restart: bool) -> LastJob | None:
    # A comparison may be with an older job; what failed in an older one is not what has to be repeated.
    job = jobs.read(job_id) if job_id is not None else jobs.last_of(subclient, certain=restart)
    if job is None:
        return None
    if job["state"] != "finished" or job["subclient"] != subclient:
        what = "still runs" if job["state"] != "finished" else f"is one of subclient {job['subclient']!r}"
        raise InvalidInputError(f"Job {job_id} {what}: name a finished job of subclient {subclient!r}", job_id=job_id)
    return LastJob(
        id=job["id"],
        requested_type=job["requested_type"],
        vms={vm["vm_id"]: vm["vm_name"] for vm in job["vms"]},
        statuses={vm["vm_id"]: vm["status"] for vm in job["vms"]},
    )
