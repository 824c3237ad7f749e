# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What a vault tells of the past: finished jobs, what they did to each VM, and the newest good point of each client."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import VaultError
from ..vault.boot_test_record import BootTest, read_boot_test, read_screenshot
from ..vault.health import Health
from ..vault.jobs import SKIPPED, DamagedJob, JobStore
from ..vault.manifest import Point
from ..vault.points import Client, Vault
from ..vault.verification_record import Verification

# Records of jobs that are read for reports on the whole vault. Recovery points are looked at whatever their age.
LOOK_BACK = 500


@dataclass(frozen=True)
class VmRun:
    """What one job did to one VM."""

    job_id: str
    subclient: str
    vm: Mapping[str, Any]


@dataclass(frozen=True)
class Booted:
    """The newest boot test of a client: of which recovery point, its result, and its screenshot as PNG."""

    point: str
    result: BootTest
    screenshot: bytes | None


@dataclass(frozen=True)
class ClientHistory:
    """A client, or a VM of a job that has no client yet.

    C(good) is the newest recovery point that can be restored as far as is known, C(problems) what is wrong with others.
    C(verified) has the newest verification of each point that has one, newest point last. C(runs) are what the jobs
    did, the newest last; C(selected) are the subclients whose newest job has the VM.
    """

    client: str
    vm_name: str
    vm_id: str
    points: int = 0
    stored: int = 0
    good: Point | None = None
    problems: tuple[str, ...] = ()
    verified: tuple[tuple[str, Verification], ...] = ()
    booted: Booted | None = None
    runs: tuple[VmRun, ...] = ()
    selected: tuple[str, ...] = ()

    @property
    def subclients(self) -> list[str]:
        """Return the subclients that the VM is or was in, as far as jobs and the newest good point tell."""
        by_point = {self.good.subclient} if self.good is not None and self.good.subclient else set()
        return sorted({run.subclient for run in self.runs} | by_point)

    @property
    def bad(self) -> list[str]:
        """Return the points that a verification found damaged."""
        return [point_id for point_id, found in self.verified if not found.ok]

    @property
    def verified_at(self) -> float | None:
        """Return when a point of the client was verified last."""
        return max((found.verified_at for _point_id, found in self.verified), default=None)

    @property
    def unprotected(self) -> bool:
        """Return whether there should be a good point and is none; what was skipped, as a template is, needs none."""
        newest = self.newest_run()
        return self.good is None and (self.points > 0 or (newest is not None and newest.vm["status"] != SKIPPED))

    def newest_run(self, subclient: str | None = None) -> VmRun | None:
        """Return what the newest job, or the newest one of a subclient, did."""
        return next((run for run in reversed(self.runs) if subclient in (None, run.subclient)), None)


@dataclass(frozen=True)
class History:
    """Finished jobs, the newest last, records that cannot be used, and the clients by name."""

    jobs: tuple[dict[str, Any], ...]
    damaged: tuple[DamagedJob, ...]
    clients: tuple[ClientHistory, ...]

    @property
    def newest_jobs(self) -> dict[str, dict[str, Any]]:
        """Return the newest job of each subclient."""
        return dict(sorted({job["subclient"]: job for job in self.jobs}.items()))


def read_history(vault: Vault, *, subclient: str | None = None, limit: int = LOOK_BACK) -> History:
    """Return the history of a vault; of one subclient only its jobs, and the clients that are or were in it.

    Reads records of jobs and manifests and looks at file sizes, not at the data of disks.
    """
    found = JobStore(vault).finished(subclient=subclient, limit=limit)
    history = History(found.jobs, found.damaged, ())
    runs: dict[str, list[VmRun]] = {}
    for job in history.jobs:
        for vm in job["vms"]:
            runs.setdefault(vm["client"], []).append(VmRun(job["id"], job["subclient"], vm))
    selected: dict[str, list[str]] = {}
    for name, job in history.newest_jobs.items():
        for client in {vm["client"] for vm in job["vms"]}:
            selected.setdefault(client, []).append(name)
    clients = {client.client: client for client in map(read_client, vault.clients())}
    for name, seen in runs.items():
        newest = seen[-1].vm
        known = clients.get(name) or ClientHistory(name, "", str(newest["vm_id"]))
        clients[name] = replace(
            known, vm_name=str(newest["vm_name"]), runs=tuple(seen), selected=tuple(selected.get(name, ()))
        )
    kept = [clients[name] for name in sorted(clients) if subclient is None or subclient in clients[name].subclients]
    return replace(history, clients=tuple(kept))


def read_client(client: Client) -> ClientHistory:
    """Return what a client's folder tells, without the jobs."""
    problems: list[str] = []
    document: dict[str, Any] = {}
    try:
        document = client.document
    except VaultError as error:
        problems.append(error.message)
    points, damaged = client.scan()
    problems += [f"recovery point {bad.id}: {bad.error}" for bad in damaged]
    health = Health(client)
    verified = tuple((point.id, found) for point in points if (found := health.told_verification(point)) is not None)
    thorough = health.is_unsure or not all(found.ok for _point_id, found in verified)
    good, why = _newest_good(health, points, thorough=thorough)
    return ClientHistory(
        client=client.name,
        vm_name=str(document.get("vm_name") or client.name),
        vm_id=str(document.get("vm_id", "")),
        points=len(points),
        stored=sum(point.stored for point in points),
        good=good,
        problems=(*problems, *why),
        verified=verified,
        booted=_newest_boot_test(client, points),
    )


def _newest_boot_test(client: Client, points: Sequence[Point]) -> Booted | None:
    directories = {point.id: os.path.join(client.directory, point.id) for point in points}
    results = {name: read_boot_test(directory) for name, directory in directories.items()}
    found = [(result.tested_at, name, result) for name, result in results.items() if result is not None]
    if not found:
        return None
    _time, point_id, result = max(found, key=lambda item: item[:2])
    return Booted(point_id, result, read_screenshot(directories[point_id], result))


def _newest_good(health: Health, points: Sequence[Point], *, thorough: bool) -> tuple[Point | None, list[str]]:
    """Return the newest point that can be restored as far as is known, and what is wrong with newer ones.

    With C(thorough), what is wrong with older ones, too.
    """
    good, problems = None, []
    for point in reversed(points):
        if good is not None and not thorough:
            break
        problem = health.told_problem_of(point)
        if problem is not None:
            subject = f"recovery point {point.id}"
            problems.append(problem if problem.startswith(subject) else f"{subject}: {problem}")
        elif good is None:
            good = point
    return good, problems[::-1]
