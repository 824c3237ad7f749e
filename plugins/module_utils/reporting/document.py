# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Reports as documents for programs. Their keys are promised: a change needs another C(version)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..vault.verification_record import Verification
from .history import Booted, ClientHistory, History

JOB_FORMAT = "ovm.backup job report"
VAULT_FORMAT = "ovm.backup vault report"
VERSION = 1

_JOB_KEYS = (
    "id",
    "subclient",
    "requested_type",
    "status",
    "started",
    "finished",
    "duration",
    "counts",
    "bytes_read",
    "bytes_stored",
    "warnings",
)


def job_document(job: Mapping[str, Any], *, vault_id: str, generated_at: float) -> dict[str, Any]:
    """Return the report on one job: its summary, and what became of each VM."""
    return {
        "format": JOB_FORMAT,
        "version": VERSION,
        "generated_at": moment(generated_at),
        "vault_id": vault_id,
        "job": _job(job),
        # The records of the VMs are documented with the module job.
        "vms": [dict(vm) for vm in job["vms"]],
    }


def vault_document(history: History, *, vault_id: str, generated_at: float) -> dict[str, Any]:
    """Return the report on a vault: its jobs, and how well each client is protected."""
    return {
        "format": VAULT_FORMAT,
        "version": VERSION,
        "generated_at": moment(generated_at),
        "vault_id": vault_id,
        "jobs": [_job(job) for job in history.jobs],
        "damaged_jobs": [{"id": bad.id, "problem": bad.error} for bad in history.damaged],
        "clients": [_client(client, generated_at) for client in history.clients],
    }


def moment(seconds: float) -> str:
    """Return a moment as RFC 3339 writes it, in UTC and whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _job(job: Mapping[str, Any]) -> dict[str, Any]:
    return {key: job[key] for key in _JOB_KEYS}


def _client(client: ClientHistory, now: float) -> dict[str, Any]:
    newest = client.newest_run()
    good = client.good
    return {
        "client": client.client,
        "vm_id": client.vm_id,
        "vm_name": client.vm_name,
        "subclients": client.subclients,
        "selected_by": list(client.selected),
        "status": newest.vm["status"] if newest is not None else None,
        "points": client.points,
        "bytes_stored": client.stored,
        "good_point": None
        if good is None
        else {"id": good.id, "type": good.type, "created": good.created, "age": round(now - good.created, 3)},
        "problems": list(client.problems),
        "verified_at": client.verified_at,
        "verifications": [_verification(*found) for found in client.verified],
        "boot_test": _boot_test(client.booted),
    }


def _boot_test(found: Booted | None) -> dict[str, Any] | None:
    if found is None:
        return None
    result = found.result
    return {"point": found.point, "tested_at": result.tested_at, "ok": result.ok, "verdict": result.verdict}


def _verification(point_id: str, found: Verification) -> dict[str, Any]:
    return {
        "point": point_id,
        "verified_at": found.verified_at,
        "ok": found.ok,
        "problems": [str(problem) for problem in found.problems],
    }
