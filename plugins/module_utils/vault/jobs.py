# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The job record: what a run was asked to do, and what became of every VM.

While the job runs each VM has a small file of its own, so that any number of proxies can write at once and nothing is
lost when the run dies. Closing the job puts them together in one record.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import CorruptVaultError, InvalidInputError, JobStoppedError, PointNotFoundError, VaultError
from .files import listing, make_directory, read_json, remove_tree, unreadable, write_json
from .job_shape import check_finished
from .points import Vault
from .text import safe_name

COMPLETED = "Completed"
WITH_WARNINGS = "Completed with warnings"
WITH_ERRORS = "Completed with errors"
FAILED = "Failed"
SKIPPED = "Skipped"
# Among so many of the newest records of a vault the last job of a subclient is looked for. Records are never removed,
# and a subclient that has no job among them would have all of them read for each of its plans.
LOOK_BACK = 1000

_JOB_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-([0-9a-f]{8})-[0-9a-f]{6}")


def new_job_id(vault_id: str, now: float) -> str:
    """Return the id of a new job, which is also the run id: its UTC time, the vault's short id and a random part."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    return f"{stamp}-{_short(vault_id)}-{secrets.token_hex(3)}"


def _short(vault_id: str) -> str:
    return vault_id.replace("-", "")[:8]


def vault_of_run(run_id: str) -> str:
    """Return the vault's short id in a run id.

    Two vaults know nothing of each other's locks, so what a run left on the manager may only be cleaned up by runs of
    the same vault.
    """
    found = _JOB_ID.fullmatch(run_id)
    if found is None:
        raise InvalidInputError(
            f"{run_id!r} is not the id of a run: those look like 20261123T010203Z-0a1b2c3d-4e5f60", run_id=run_id
        )
    return found.group(1)


def share_vault(run_id: str, other: str) -> bool:
    """Return whether two runs used the same vault; a run id that is not ours shares nothing."""
    found, wanted = _JOB_ID.fullmatch(run_id), _JOB_ID.fullmatch(other)
    return bool(found and wanted and found.group(1) == wanted.group(1))


def is_run_of(run_id: str, vault: Vault) -> bool:
    """Return whether a run used this vault."""
    found = _JOB_ID.fullmatch(run_id)
    return found is not None and found.group(1) == _short(vault.id)


def vm_record(
    planned: Mapping[str, Any],
    *,
    started: float,
    finished: float,
    point: Mapping[str, Any] | None = None,
    failure: str | None = None,
    stopped_at: float | None = None,
    running_at: float | None = None,
    killed: bool = False,
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """Return what the job says of one VM: the only place where its status is decided.

    C(planned) is its entry in the plan, C(point) the recovery point that was made, C(failure) why there is none or what
    went wrong after it. The outage is the time from C(stopped_at) to C(running_at), or to now while it still lasts.
    C(killed): the VM was switched off because it did not shut down in time. Times are epoch seconds, sizes bytes.
    """
    notes = [*planned["warnings"], *warnings]
    skipped = list(planned["skipped_disks"])
    if point is not None and planned["method"] == "consolidate":
        # Its plan knows no disks, but what the recovery point lacks is as much missing as before.
        skipped = list(point.get("skipped_disks", ()))
        physical = (disk for disk in skipped if disk["kind"] != "virtual")
        notes.extend(
            f"disk {disk['name']!r} (slot {disk['slot']}) is not backed up: {disk['reason']}" for disk in physical
        )
    if point is not None:
        notes.extend(note for note in point["warnings"] if note not in notes)
    if killed:
        notes.append("the VM did not shut down in time and was switched off: its disks are crash consistent only")
    if failure is not None:
        status, reason = FAILED, failure
    elif planned["action"] == "fail":
        status, reason = FAILED, planned["reason"]
    elif planned["action"] != "backup":
        status, reason = SKIPPED, planned["reason"]
    elif point is None:
        status, reason = FAILED, "the run ended before this VM was finished"
    else:
        status, reason = (WITH_WARNINGS if notes else COMPLETED), point["reason"]
    disks = point["disks"] if point is not None else []
    outage = None
    if stopped_at is not None:
        outage = round((finished if running_at is None else running_at) - stopped_at, 3)
    return {
        "order": planned["order"],
        "vm_id": planned["vm_id"],
        "vm_name": planned["vm_name"],
        "client": planned["client"],
        "status": status,
        "reason": reason,
        "method": planned["method"],
        "requested_type": planned["requested_type"],
        "type": point["type"] if point is not None else None,
        "point": point["id"] if point is not None else None,
        "bytes_read": sum(disk["statistics"]["read"] for disk in disks),
        "bytes_stored": sum(disk["statistics"]["stored"] for disk in disks),
        "started": started,
        "finished": finished,
        "duration": round(finished - started, 3),
        "outage": outage,
        "proxy": planned["proxy"],
        "skipped_disks": skipped,
        "warnings": notes,
    }


def new_job(job_id: str, plan: Mapping[str, Any], *, now: float) -> dict[str, Any]:
    """Return the record of a job for a plan. VMs that are not to be backed up have their status from the start."""
    vault_of_run(job_id)
    return {
        "id": job_id,
        "subclient": plan["subclient"],
        "requested_type": plan["requested_type"],
        "state": "running",
        "started": now,
        "warnings": list(plan["warnings"]),
        "plan": [_kept(planned) for planned in plan["vms"]],
    }


@dataclass(frozen=True)
class DamagedJob:
    """The record of a job that cannot be used: it is damaged, or cannot be read at this moment."""

    id: str
    failure: VaultError

    @property
    def error(self) -> str:
        """Return why it cannot be used."""
        return self.failure.message

    @property
    def may_be_whole(self) -> bool:
        """Return whether it is only not to be had now."""
        return not isinstance(self.failure, CorruptVaultError)


@dataclass(frozen=True)
class FinishedJobs:
    """Records of finished jobs, the newest last, and the records that were met among them and cannot be used."""

    jobs: tuple[dict[str, Any], ...]
    damaged: tuple[DamagedJob, ...]


class JobStore:
    """The jobs of a vault."""

    def __init__(self, vault: Vault) -> None:
        self.directory = os.path.join(vault.path, "jobs")

    def start(self, job: Mapping[str, Any]) -> None:
        """Open a job that C(new_job) made."""
        make_directory(self.directory)
        make_directory(self._folder(job["id"]))
        write_json(self.path(job["id"]), job)

    def put_vm(self, job_id: str, record: Mapping[str, Any]) -> None:
        """Record what became of a VM of the job's plan; a later record of the same VM replaces it."""
        self.check_vm(job_id, record)
        name = safe_name(str(record["vm_id"]))
        write_json(os.path.join(self._folder(job_id), f"{name}.json"), record)

    def check_vm(self, job_id: str, record: Mapping[str, Any]) -> None:
        """Raise what C(put_vm) would raise for a job that does not take this record."""
        job = self.read(job_id)
        if job["state"] != "running":
            raise InvalidInputError(f"Job {job_id} is finished: its record is not changed any more", job_id=job_id)
        if all(planned["vm_id"] != record["vm_id"] for planned in job["plan"]):
            raise InvalidInputError(
                f"VM {record['vm_name']!r} ({record['vm_id']}) is not in the plan of job {job_id}",
                job_id=job_id,
                vm_id=record["vm_id"],
            )

    def finish(self, job_id: str, *, now: float) -> dict[str, Any]:
        """Put the record of a job together and close it; a finished one is returned as it is."""
        running = self.read(job_id)["state"] == "running"
        job = self.preview(job_id, now=now)
        if running:
            write_json(self.path(job_id), job)
        remove_tree(self._folder(job_id))
        return job

    def preview(self, job_id: str, *, now: float) -> dict[str, Any]:
        """Return the record that closing the job now would give, or the finished one."""
        job = self.read(job_id)
        if job["state"] == "finished":
            return job
        records, damage = self._records(job_id)
        found = {record["vm_id"]: record for record in records}
        job["warnings"] = [*job["warnings"], *damage]
        vms, warned = [], False
        for planned in job.pop("plan"):
            record = found.get(planned["vm_id"])
            # Without a record nothing was done for the VM; only one that was to be backed up kept us waiting until now.
            end = now if planned["action"] == "backup" else job["started"]
            vms.append(record or vm_record(planned, started=job["started"], finished=end))
            # What is recent enough has had its warnings with the job that backed it up.
            warned |= bool(vms[-1]["warnings"]) and planned["action"] != "current"
        counts = {status: sum(vm["status"] == status for vm in vms) for status in _VM_STATUSES}
        job.update(
            state="finished",
            status=_job_status(counts, warned=warned),
            finished=now,
            duration=round(now - job["started"], 3),
            counts=counts,
            bytes_read=sum(vm["bytes_read"] for vm in vms),
            bytes_stored=sum(vm["bytes_stored"] for vm in vms),
            vms=vms,
        )
        return job

    def read(self, job_id: str) -> dict[str, Any]:
        """Return a job as it stands; raise C(PointNotFoundError) for an unknown one, C(CorruptVaultError)."""
        vault_of_run(job_id)
        path = self.path(job_id)
        try:
            document = read_json(path)
        except FileNotFoundError as error:
            raise PointNotFoundError(f"There is no job {job_id} in {self.directory}", job_id=job_id) from error
        except OSError as error:
            raise unreadable(path, error) from error
        if not isinstance(document, dict) or document.get("state") not in ("running", "finished"):
            raise CorruptVaultError(f"{path} is damaged: it is not the record of a job", path=path, offset=0)
        return document

    def finished(
        self,
        *,
        subclient: str | None = None,
        limit: int | None = None,
        until: str | None = None,
        look_back: int | None = None,
    ) -> FinishedJobs:
        """Return finished jobs, the newest last, and with them what is wrong with records that cannot be used.

        C(subclient) leaves out other jobs, C(until) those that began after this job, C(limit) all but the newest ones.
        No more than the newest C(look_back) records are read.
        """
        jobs: list[dict[str, Any]] = []
        damage: list[DamagedJob] = []
        # The id begins with the time at which the job began.
        for job_id in sorted(self._ids(), reverse=True)[:look_back]:
            if limit is not None and len(jobs) == limit:
                break
            if until is not None and job_id > until:
                continue
            try:
                job = self.read(job_id)
                if job["state"] == "finished":
                    check_finished(job, self.path(job_id), job_id)
                    if subclient is None or job["subclient"] == subclient:
                        jobs.append(job)
            except PointNotFoundError:
                continue
            except VaultError as error:
                # One record, be it of another subclient, must not keep all others from being seen.
                damage.append(DamagedJob(job_id, error))
        return FinishedJobs(tuple(reversed(jobs)), tuple(reversed(damage)))

    def last_of(self, subclient: str, *, certain: bool = False) -> dict[str, Any] | None:
        """Return the last finished job of a subclient; records that cannot be read are passed over.

        It is only looked for among the newest C(LOOK_BACK) records of the vault. With C(certain) a later record that
        cannot be read at this moment, and may be the one, raises C(VaultError).
        """
        found = self.finished(subclient=subclient, limit=1, look_back=LOOK_BACK)
        for later in found.damaged:
            if certain and later.may_be_whole:
                raise later.failure
        return found.jobs[-1] if found.jobs else None

    def open_after(self, job_id: str, subclient: str) -> tuple[str, ...]:
        """Return the jobs of a subclient, of those that can be read, that began after this one and are not closed."""
        found = []
        for other in sorted(self._ids())[-LOOK_BACK:]:
            with contextlib.suppress(VaultError):
                job = self.read(other) if other > job_id else {}
                if job.get("state") == "running" and job.get("subclient") == subclient:
                    found.append(other)
        return tuple(found)

    def failed_percent(self, job_id: str) -> float:
        """Return the share of the VMs to be backed up that have failed so far, from 0 to 100."""
        job = self.read(job_id)
        if job["state"] == "finished":
            records = [vm for vm in job["vms"] if vm["method"] != "skip" and vm["status"] != SKIPPED]
            total = len(records)
        else:
            planned = {vm["vm_id"] for vm in job["plan"] if vm["action"] == "backup"}
            records = [vm for vm in self._records(job_id)[0] if vm["vm_id"] in planned]
            total = len(planned)
        return 100.0 * sum(vm["status"] == FAILED for vm in records) / total if total else 0.0

    def check_goes_on(self, job_id: str, max_failed_percent: float) -> None:
        """Raise C(JobStoppedError) when more of the VMs of a job have failed than may."""
        failed = self.failed_percent(job_id) if max_failed_percent < 100 else 0.0
        if failed > max_failed_percent:
            raise JobStoppedError(
                f"The job was stopped before this VM: {failed:.1f} % of its VMs have failed, {max_failed_percent:g} % "
                "may (max_failed_percent)",
                job_id=job_id,
            )

    def _ids(self) -> list[str]:
        try:
            names = listing(self.directory)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise unreadable(self.directory, error, "list") from error
        stems = [name[: -len(".json")] for name in names if name.endswith(".json")]
        return [stem for stem in stems if _JOB_ID.fullmatch(stem)]

    def _records(self, job_id: str) -> tuple[list[dict[str, Any]], list[str]]:
        """Return the records of the VMs, and what is wrong with those that cannot be read."""
        folder = self._folder(job_id)
        try:
            found = listing(folder)
        except FileNotFoundError:
            return [], []
        except OSError as error:
            raise unreadable(folder, error, "list") from error
        names = sorted(name for name in found if name.endswith(".json"))
        records, damage = [], []
        for name in names:
            path = os.path.join(folder, name)
            try:
                records.append(read_json(path))
            except FileNotFoundError:
                continue  # the job was closed in this moment
            except OSError as error:
                raise unreadable(path, error) from error
            except CorruptVaultError as error:
                damage.append(error.message)
        return records, damage

    def path(self, job_id: str) -> str:
        """Return where the record of a job is."""
        return os.path.join(self.directory, f"{job_id}.json")

    def _folder(self, job_id: str) -> str:
        return os.path.join(self.directory, job_id)


_VM_STATUSES = (COMPLETED, WITH_WARNINGS, FAILED, SKIPPED)


def _job_status(counts: Mapping[str, int], *, warned: bool) -> str:
    """Return the status of a job. C(warned): a VM has a warning, be it one that cannot be backed up and was skipped."""
    done = counts[COMPLETED] + counts[WITH_WARNINGS]
    if counts[FAILED]:
        return WITH_ERRORS if done else FAILED
    return WITH_WARNINGS if warned else COMPLETED


def _kept(planned: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in planned.items() if key not in ("configuration", "stand_ins")}
