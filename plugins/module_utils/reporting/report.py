# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Which report is asked for, and what is in it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import CorruptVaultError, InvalidInputError, PointNotFoundError, VaultError
from ..vault.boot_test_record import BootTest, read_boot_test
from ..vault.health import not_known
from ..vault.job_shape import check_finished
from ..vault.jobs import JobStore
from ..vault.points import Vault
from ..vault.verification_record import Verification, read_verification
from .document import job_document, vault_document
from .history import History, read_history
from .job_page import job_page
from .prometheus import prometheus_text
from .vault_page import vault_page

FORMATS = ("json", "html", "prometheus")
LATEST = "latest"
_MOST_JOBS = 200  # of which a picture can be drawn
_PAGE = re.compile(r"([0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}-[0-9a-f]{6})\.html")


@dataclass(frozen=True)
class ReportRequest:
    """What somebody wants to read: about a job, or about the whole vault if there is no C(job_id)."""

    format: str
    job_id: str | None = None
    subclient: str | None = None
    jobs: int = 30
    dest: str | None = None

    def check(self) -> None:
        """Raise C(InvalidInputError) for what does not go together."""
        if self.format == "prometheus" and (self.job_id is not None or self.subclient is not None):
            given = "job_id" if self.job_id is not None else "subclient"
            raise InvalidInputError(
                f"{given} does not go with format prometheus: that report is always about the vault", key=given
            )
        if self.format != "json" and not self.dest:
            raise InvalidInputError(f"dest is needed for format {self.format}: the file to write", key="dest")
        if not 1 <= self.jobs <= _MOST_JOBS:
            raise InvalidInputError(
                f"jobs must be a number from 1 to {_MOST_JOBS}, not {self.jobs}", key="jobs", value=self.jobs
            )


@dataclass(frozen=True)
class Report:
    """A report as text, for JSON also as a document, and the job that it is about."""

    text: str
    document: dict[str, Any] | None = None
    job_id: str | None = None


def make_report(vault: Vault, request: ReportRequest) -> Report:
    """Return a report. The same vault gives the same report, whenever it is made: its age is that of the newest job."""
    request.check()
    if request.format == "prometheus":
        return Report(prometheus_text(read_history(vault)))
    return _on_vault(vault, request) if request.job_id is None else _on_job(vault, request)


def _on_job(vault: Vault, request: ReportRequest) -> Report:
    job = _wanted_job(JobStore(vault), request)
    if request.format == "json":
        document = job_document(job, vault_id=vault.id, generated_at=job["finished"])
        return Report(_json_text(document), document, job["id"])
    before = JobStore(vault).finished(subclient=job["subclient"], limit=request.jobs, until=job["id"])
    verified, booted = _found(vault, job)
    html = job_page(job, before.jobs, verified, booted, generated_at=job["finished"])
    return Report(html, job_id=job["id"])


def _on_vault(vault: Vault, request: ReportRequest) -> Report:
    history = read_history(vault, subclient=request.subclient)
    if request.subclient is not None and not history.jobs:
        raise _no_job(vault, request.subclient)
    as_of = _as_of(vault, history)
    if request.format == "json":
        document = vault_document(history, vault_id=vault.id, generated_at=as_of)
        return Report(_json_text(document), document)
    html = vault_page(
        history, subclient=request.subclient, shown=request.jobs, pages=_pages(request.dest), generated_at=as_of
    )
    return Report(html)


def _wanted_job(store: JobStore, request: ReportRequest) -> dict[str, Any]:
    wanted = request.job_id or LATEST
    if wanted == LATEST:
        found = store.finished(subclient=request.subclient, limit=1)
        if found.damaged and (not found.jobs or found.damaged[-1].id > found.jobs[-1]["id"]):
            bad = found.damaged[-1]
            if bad.may_be_whole:
                raise bad.failure
            raise CorruptVaultError(
                f"The record of the newest job {bad.id} is damaged: {bad.error}. Name an older job", job_id=bad.id
            )
        if not found.jobs:
            raise _no_job(store, request.subclient)
        return found.jobs[-1]
    job = store.read(wanted)
    if job["state"] != "finished":
        raise InvalidInputError(f"Job {wanted} is not finished: there is no report on it yet", job_id=wanted)
    check_finished(job, store.path(wanted), wanted)
    if request.subclient not in (None, job["subclient"]):
        raise InvalidInputError(
            f"Job {wanted} is one of subclient {job['subclient']!r}, not of {request.subclient!r}", job_id=wanted
        )
    return job


def _no_job(where: Vault | JobStore, subclient: str | None) -> PointNotFoundError:
    directory = where.directory if isinstance(where, JobStore) else os.path.join(where.path, "jobs")
    of_it = "" if subclient is None else f" of subclient {subclient!r}"
    return PointNotFoundError(f"There is no finished job{of_it} in {directory}", subclient=subclient)


def _found(vault: Vault, job: Mapping[str, Any]) -> tuple[dict[str, Verification | str], dict[str, BootTest]]:
    """Return what verifications, or why not, and boot tests found of the points that a job made, by client."""
    verified: dict[str, Verification | str] = {}
    booted: dict[str, BootTest] = {}
    for vm in job["vms"]:
        if vm["point"]:
            try:
                directory = vault.client_folder(vm["client"]).directory
            except PointNotFoundError:
                continue
            folder = os.path.join(directory, os.path.basename(vm["point"]))
            try:
                verification = read_verification(folder)
                if verification is not None:
                    verified[vm["client"]] = verification
            except VaultError as error:
                verified[vm["client"]] = not_known(error)
            boot_test = read_boot_test(folder)
            if boot_test is not None:
                booted[vm["client"]] = boot_test
    return verified, booted


def _pages(dest: str | None) -> frozenset[str]:
    """Return the ids of the jobs whose pages lie beside a page: only those are linked."""
    try:
        names = os.listdir(os.path.dirname(dest or "") or ".")
    except OSError:
        return frozenset()
    return frozenset(match.group(1) for match in map(_PAGE.fullmatch, names) if match)


def _as_of(vault: Vault, history: History) -> float:
    """Return the moment that a report on a vault is about: not now, so that it only changes when the vault does."""
    jobs = [job["finished"] for job in history.jobs]
    points = [client.good.completed for client in history.clients if client.good is not None]
    return float(max([*jobs, *points], default=vault.settings.get("created", 0.0)))


def _json_text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=True) + "\n"
