# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What a clone attempt has left on the manager, where no id leads to it.

A failed clone job can leave a VM or disks behind without naming them (ovm-rest-api 4.4), and an answer can get lost
together with the job's id. In the very run that made the attempt more is known than ids: what existed before, that
the source was locked against other clones while our job ran (11.5), and that whatever another job made is named in
that job's result. An object is taken for ours only if it is new, looks exactly like a clone of our disks, and no other
job claims it; with any doubt it is left alone and reported.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ManagerError, NotFoundError
from .clone_records import read_mark
from .clone_survey import Survey, WantedDisk
from .inventory import disk_kind
from .jobs import is_job, is_over, succeeded
from .objects import flag, number, object_id, object_name, reference, references, text

if TYPE_CHECKING:
    from .client import Job, ManagerClient

_PAUSE = 2.0  # seconds between two looks


@dataclass(frozen=True)
class Attempt:
    """What is known about an attempt to clone a VM. C(after_job) is the id of our last job before the clone."""

    before: Survey
    vm_id: str
    vm_name: str
    wanted: tuple[WantedDisk, ...]
    after_job: int

    def looks_like_ours(self, survey: Survey, vm_id: str, *, whole: bool) -> bool:
        """Whether a VM is new and looks like a fresh clone of the wanted disks, all of them or some."""
        vm = survey.vms.get(vm_id)
        if vm is None or vm_id in self.before.vms or text(vm, "vmRunState") != "STOPPED":
            return False
        name = object_name(vm)
        if not re.fullmatch(re.escape(self.vm_name) + r"\.[0-9]+", name):  # how clones are named (ovm-rest-api 11.2)
            return False
        if read_mark(text(vm, "description"), "clone") is not None:
            return False
        sizes = {disk.slot: disk.size for disk in self.wanted}
        found: dict[int, int] = {}
        for mapping in survey.mappings_of(vm_id):
            slot, disk_id = number(mapping, "diskTarget"), reference(mapping, "virtualDiskId") or ""
            size = number(survey.disks.get(disk_id, {}), "size")
            if disk_id in self.before.disks or slot is None or size is None or sizes.get(slot) != size:
                return False
            found[slot] = size
        return found == sizes if whole else True

    def looks_like_our_disk(self, survey: Survey, disk_id: str) -> bool:
        """Whether a virtual disk is new, mapped nowhere, and looks like a copy of a wanted disk."""
        item = survey.disks[disk_id]
        if disk_id in self.before.disks or references(item, "vmDiskMappingIds"):
            return False
        return disk_kind(disk_id, item) == "virtual" and any(
            reference(item, "repositoryId") == disk.repository_id
            and number(item, "size") == disk.size
            and re.fullmatch(re.escape(disk.name) + r" \([0-9]+\)", object_name(item))  # ovm-rest-api 11.2
            for disk in self.wanted
        )


def find_lost_job(client: ManagerClient, attempt: Attempt, *, limit: float) -> Job | None:
    """Look for the clone job whose submission was not answered, for up to ``limit`` seconds.

    A candidate that is still running is waited for. Only a job that ended with a whole clone, and only if it is the
    single one, is returned.
    """
    deadline = client.clock() + limit
    end = client.clock() + max(limit, client.job_timeout if limit else 60.0)
    while True:
        try:
            candidates = [job for job in client.list("Job") if _may_be_ours(client, attempt, job)]
        except ManagerError:
            candidates = []  # the connection may still be down: that is how the answer got lost
        running = [job for job in candidates if not is_over(job)]
        ended = [job for job in candidates if is_over(job) and succeeded(job)]
        if ended and not running:
            survey = Survey(client)
            whole = [
                job for job in ended if attempt.looks_like_ours(survey, reference(job, "resultId") or "", whole=True)
            ]
            if whole:
                return whole[0] if len(whole) == 1 else None
        if client.clock() >= (end if running else deadline):
            return None
        client.sleep(_PAUSE)


def _may_be_ours(client: ManagerClient, attempt: Attempt, job: Mapping[str, object]) -> bool:
    if not is_job(job) or job_time(job) <= attempt.after_job:
        return False
    if text(job, "user") not in ("", client.session.settings.user):
        return False
    words = f"{object_name(job)} {text(job, 'description')}"
    return attempt.vm_name in words or attempt.vm_id in words


@dataclass(frozen=True)
class Remains:
    """Objects that were found to be left by an attempt; C(doubt) says why nothing could be told."""

    vm_ids: tuple[str, ...] = ()
    disk_ids: tuple[str, ...] = ()
    doubt: str | None = None


def find_remains(client: ManagerClient, attempt: Attempt, own_jobs: Collection[str], *, limit: float) -> Remains:
    """Look for a VM and for loose disks that the attempt left behind without their being named in its job.

    While the source is locked nothing is judged: somebody else may be cloning it at this moment. It is waited for up to
    ``limit`` seconds.
    """
    deadline = client.clock() + limit
    while True:
        survey = Survey(client)
        vm_ids = {vm_id for vm_id in survey.vms if attempt.looks_like_ours(survey, vm_id, whole=False)}
        disk_ids = {disk_id for disk_id in survey.disks if attempt.looks_like_our_disk(survey, disk_id)}
        if not vm_ids and not disk_ids:
            return Remains()
        # Read after the objects: a job that made one of them has ended and names it, or still holds the lock.
        if not _locked(client, attempt.vm_id):
            break
        if client.clock() >= deadline:
            left = ", ".join(sorted(vm_ids | disk_ids))
            return Remains(doubt=f'VM "{attempt.vm_name}" is locked, so these may be another\'s and were left: {left}.')
        client.sleep(_PAUSE)
    claimed = {reference(job, "resultId") for job in client.list("Job") if object_id(job) not in own_jobs}
    return Remains(tuple(sorted(vm_ids - claimed)), tuple(sorted(disk_ids - claimed)))


def _locked(client: ManagerClient, vm_id: str) -> bool:
    try:
        return flag(client.get("Vm", vm_id), "locked")
    except NotFoundError:
        return False


def job_time(job: Mapping[str, object]) -> int:
    """Return the time of submission in epoch milliseconds, which is the job's id (ovm-rest-api 3.3); 0 if it is not."""
    value = object_id(job)
    return int(value) if value.isascii() and value.isdigit() else 0
