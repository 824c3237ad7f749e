# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""A job as text that an administrator reads at the end of a run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from .text import number_of, one_line, table

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_RIGHT = {"read", "stored", "duration", "outage"}


def format_bytes(count: float) -> str:
    """Return a number of bytes in the largest binary unit that leaves one digit before the point."""
    if count < 1024:
        return f"{count:.0f} {_UNITS[0]}"
    for unit in _UNITS[1:-1]:
        count /= 1024
        if round(count, 1) < 1024:
            return f"{count:.1f} {unit}"
    return f"{count / 1024:.1f} {_UNITS[-1]}"


def format_seconds(seconds: float | None) -> str:
    """Return a duration as a person writes it: C(4.2 s), C(3 min 05 s), C(2 h 10 min)."""
    if seconds is None:
        return "-"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def left_out(vm: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the skipped disks of a VM of a plan or job that no warning tells of: those that a filter takes out."""

    def told(disk: Mapping[str, Any]) -> bool:
        return any(f"(slot {disk['slot']})" in warning and disk["reason"] in warning for warning in vm["warnings"])

    return [disk for disk in vm["skipped_disks"] if not told(disk)]


def utc_time(moment: float) -> str:
    """Return a moment for people."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment))


def job_summary(job: Mapping[str, Any]) -> list[str]:
    """Return the lines of the summary of a finished job, with the real names of the VMs."""
    rows = [_row(vm) for vm in job["vms"]]
    counts = ", ".join(f"{number} {status.lower()}" for status, number in job["counts"].items() if number)
    lines = [
        f"Job {job['id']} of subclient {job['subclient']}: {job['status']}",
        f"  {utc_time(job['started'])} to {utc_time(job['finished'])} ({format_seconds(job['duration'])}), "
        f"{job['requested_type']} asked for",
        f"  {number_of(len(rows), 'VM')}: {counts or 'none'}; {format_bytes(job['bytes_read'])} read, "
        f"{format_bytes(job['bytes_stored'])} stored",
        *(f"  Warning: {warning}" for warning in job["warnings"]),
        *(["", *table(rows, _RIGHT)] if rows else []),
    ]
    for vm in job["vms"]:
        notes = [f"reason: {vm['reason']}"] if vm["reason"] else []
        notes += [f"disk in slot {disk['slot']} not backed up: {disk['reason']}" for disk in left_out(vm)]
        notes += [f"warning: {warning}" for warning in vm["warnings"]]
        lines += ["", f"{vm['vm_name']} ({vm['status']})", *(f"  {note}" for note in notes)]
    return [one_line(text) for text in lines]


def _row(vm: Mapping[str, Any]) -> dict[str, str]:
    return {
        "VM": one_line(vm["vm_name"]),
        "client": one_line(vm["client"]),
        "status": str(vm["status"]),
        "method": str(vm["method"]).replace("_", " "),
        "asked": str(vm["requested_type"]),
        "done": str(vm["type"] or "-"),
        "read": format_bytes(vm["bytes_read"]),
        "stored": format_bytes(vm["bytes_stored"]),
        "duration": format_seconds(vm["duration"]),
        "outage": format_seconds(vm["outage"]),
    }
