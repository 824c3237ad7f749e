# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Numbers for Prometheus, as its node exporter reads them from text files.

There are moments but no ages in it, so that the text only changes when the vault does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..vault.jobs import COMPLETED, FAILED, SKIPPED, WITH_ERRORS, WITH_WARNINGS
from ..vault.text import one_line
from .history import ClientHistory, History

FILE_NAME = "ovm_backup.prom"
# Everything from 2 on is bad, and so is a status that this version does not know.
STATUSES = {SKIPPED: -1, COMPLETED: 0, WITH_WARNINGS: 1, WITH_ERRORS: 2, FAILED: 3}
_UNKNOWN = 3
_CODES = "0 completed, 1 with warnings, 2 with errors, 3 failed"

METRICS = {
    "ovm_backup_job_last_status": f"Status of the newest job of a subclient: {_CODES}.",
    "ovm_backup_job_last_end_timestamp_seconds": "When the newest job of a subclient ended.",
    "ovm_backup_job_last_success_timestamp_seconds": "When the newest job of a subclient ended in which no VM failed.",
    "ovm_backup_job_duration_seconds": "How long the newest job of a subclient took.",
    "ovm_backup_job_bytes_read": "Bytes of disks that the newest job of a subclient read.",
    "ovm_backup_job_bytes_stored": "Bytes that the newest job of a subclient stored in the vault.",
    "ovm_backup_job_vms": "VMs of the newest job of a subclient by their status.",
    "ovm_backup_vm_selected": "1 if the newest job of the subclient has the VM, 0 if only earlier ones had it.",
    "ovm_backup_vm_last_status": f"What the newest job of the subclient did to the VM: -1 skipped, {_CODES}.",
    "ovm_backup_vm_last_success_timestamp_seconds": (
        "From when the newest good recovery point of the VM is, whichever subclient made it; 0 if there is none."
    ),
    "ovm_backup_vm_outage_seconds": "How long the newest job of the subclient kept the VM stopped.",
    "ovm_backup_vm_stored_bytes": "Bytes that all recovery points of the VM take in the vault.",
    "ovm_backup_vm_verification_ok": "0 if a verification found a recovery point of the VM damaged, else 1.",
    "ovm_backup_vm_verification_timestamp_seconds": "When a recovery point of the VM was verified last.",
    "ovm_backup_damaged_job_records": "Records of jobs in the vault that cannot be read.",
}

Sample = tuple[str, dict[str, str], float]


def prometheus_text(history: History) -> str:
    """Return the metrics of a vault in the text format of Prometheus, in a fixed order."""
    samples = [*_of_jobs(history), *(sample for client in history.clients for sample in _of_client(client))]
    samples.append(("ovm_backup_damaged_job_records", {}, len(history.damaged)))
    lines = []
    for name, text in METRICS.items():
        found = [f"{name}{_labels(labels)} {_number(value)}" for kind, labels, value in samples if kind == name]
        if found:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge", *sorted(found)]
    return "\n".join(lines) + "\n"


def _of_jobs(history: History) -> Iterator[Sample]:
    for subclient, job in history.newest_jobs.items():
        labels = {"subclient": subclient}
        good = [other["finished"] for other in history.jobs if other["subclient"] == subclient and _went_well(other)]
        yield "ovm_backup_job_last_status", labels, _code(job["status"])
        yield "ovm_backup_job_last_end_timestamp_seconds", labels, job["finished"]
        yield "ovm_backup_job_last_success_timestamp_seconds", labels, good[-1] if good else 0
        yield "ovm_backup_job_duration_seconds", labels, job["duration"]
        yield "ovm_backup_job_bytes_read", labels, job["bytes_read"]
        yield "ovm_backup_job_bytes_stored", labels, job["bytes_stored"]
        for status, number in job["counts"].items():
            yield "ovm_backup_job_vms", {**labels, "status": str(status)}, number


def _of_client(client: ClientHistory) -> Iterator[Sample]:
    # A VM whose point was made outside of any job of a subclient is shown all the same.
    for subclient in client.subclients or [""]:
        labels = {"vm": client.vm_name, "client": client.client, "subclient": subclient}
        run = client.newest_run(subclient)
        yield "ovm_backup_vm_selected", labels, int(subclient in client.selected)
        if run is not None:
            yield "ovm_backup_vm_last_status", labels, _code(str(run.vm["status"]))
        if client.good is not None:
            yield "ovm_backup_vm_last_success_timestamp_seconds", labels, client.good.created
        elif client.unprotected:
            yield "ovm_backup_vm_last_success_timestamp_seconds", labels, 0
        if run is not None and run.vm["outage"] is not None:
            yield "ovm_backup_vm_outage_seconds", labels, run.vm["outage"]
        if client.points:
            yield "ovm_backup_vm_stored_bytes", labels, client.stored
        if client.verified_at is not None:
            yield "ovm_backup_vm_verification_ok", labels, int(not client.bad)
            yield "ovm_backup_vm_verification_timestamp_seconds", labels, client.verified_at


def _went_well(job: Mapping[str, Any]) -> bool:
    return STATUSES.get(job["status"], _UNKNOWN) < STATUSES[WITH_ERRORS]


def _code(status: str) -> int:
    return STATUSES.get(status, _UNKNOWN)


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    # What cannot stand in a line of text is replaced first: some parsers split lines at more than line feeds.
    return one_line(value).replace("\\", "\\\\").replace('"', '\\"')


def _number(value: float) -> str:
    return repr(int(value) if value == int(value) else round(float(value), 3))
