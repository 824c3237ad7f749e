# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""A job as text that an administrator reads at the end of a run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_RIGHT = {"read", "stored", "duration", "outage"}


def format_bytes(count: float) -> str:
    """Return a number of bytes in the largest binary unit that leaves one digit before the point."""
    for unit in _UNITS[:-1]:
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} {_UNITS[-1]}"


def format_seconds(seconds: float | None) -> str:
    """Return a duration as a person writes it: C(4.2 s), C(3 min 05 s), C(2 h 10 min)."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _utc(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment))


def job_summary(job: Mapping[str, Any]) -> list[str]:
    """Return the lines of the summary of a finished job, with the real names of the VMs."""
    rows = [_row(vm) for vm in job["vms"]]
    counts = ", ".join(f"{number} {status.lower()}" for status, number in job["counts"].items() if number)
    lines = [
        f"Job {job['id']} of subclient {job['subclient']}: {job['status']}",
        f"  {_utc(job['started'])} to {_utc(job['finished'])} ({format_seconds(job['duration'])}), "
        f"{job['requested_type']} asked for",
        f"  {len(rows)} VMs: {counts or 'none'}; {format_bytes(job['bytes_read'])} read, "
        f"{format_bytes(job['bytes_stored'])} stored",
        *(f"  Warning: {warning}" for warning in job["warnings"]),
        "",
        *_table(rows),
    ]
    for vm in job["vms"]:
        notes = [f"reason: {vm['reason']}"] if vm["reason"] else []
        # A physical disk always comes with a warning; what a filter leaves out does not.
        left_out = [disk for disk in vm["skipped_disks"] if disk["kind"] != "physical"]
        notes += [f"disk in slot {disk['slot']} not backed up: {disk['reason']}" for disk in left_out]
        notes += [f"warning: {warning}" for warning in vm["warnings"]]
        lines += ["", f"{vm['vm_name']} ({vm['status']})", *(f"  {note}" for note in notes)]
    return lines


def _row(vm: Mapping[str, Any]) -> dict[str, str]:
    return {
        "VM": str(vm["vm_name"]),
        "client": str(vm["client"]),
        "status": str(vm["status"]),
        "method": str(vm["method"]).replace("_", " "),
        "asked": str(vm["requested_type"]),
        "done": str(vm["type"] or "-"),
        "read": format_bytes(vm["bytes_read"]),
        "stored": format_bytes(vm["bytes_stored"]),
        "duration": format_seconds(vm["duration"]),
        "outage": format_seconds(vm["outage"]),
    }


def _table(rows: Sequence[Mapping[str, str]]) -> list[str]:
    if not rows:
        return []
    titles = list(rows[0])
    widths = {title: max(len(title), *(len(row[title]) for row in rows)) for title in titles}

    def line(cells: Mapping[str, str]) -> str:
        parts = [
            cells[title].rjust(widths[title]) if title in _RIGHT else cells[title].ljust(widths[title])
            for title in titles
        ]
        return "  ".join(parts).rstrip()

    rule = line({title: "-" * widths[title] for title in titles})
    return [line({title: title for title in titles}), rule, *(line(row) for row in rows)]
