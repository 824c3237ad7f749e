# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The coverage of a manager as text: what needs attention first, one line for each VM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..vault.text import number_of, one_line
from .coverage import CANNOT, EXCLUDED, LATE, NEVER, PROTECTED, STATES, TEMPLATE, UNPROTECTED
from .durations import format_duration

_TITLES = {
    UNPROTECTED: "Not protected by any subclient",
    NEVER: "Selected, but without a good recovery point",
    LATE: "Later than promised",
    CANNOT: "Cannot be protected",
    EXCLUDED: "Taken out by filters",
    PROTECTED: "Protected",
    TEMPLATE: "Not backed up by design",
}


def coverage_summary(report: Mapping[str, Any]) -> list[str]:
    """Return the lines of a report in the form of C(Coverage.as_dict)."""
    vms, counts = report["vms"], report["counts"]
    found = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    lines = [f"Coverage of {number_of(len(vms), 'VM')}: {found or 'none'}"]
    if report["our_clones"]:
        lines.append(f"  {report['our_clones']} hot clones of backup runs are left out")
    if report["clients_of_other_managers"]:
        lines.append(f"  {report['clients_of_other_managers']} clients of the vault belong to VMs of other managers")
    lines += [f"  Warning: {warning}" for warning in report["subclient_warnings"]]
    for state in STATES:
        those = [vm for vm in vms if vm["state"] == state]
        if those:
            lines += ["", f"{_TITLES[state]}:", *(line for vm in those for line in _vm_lines(vm))]
    if report["orphaned_clients"]:
        lines += ["", "Clients whose VM is gone from the manager:"]
        lines += [_orphan_line(orphan) for orphan in report["orphaned_clients"]]
    return [one_line(text) for text in lines]


def _vm_lines(vm: Mapping[str, Any]) -> list[str]:
    by = ", ".join(member["subclient"] for member in vm["selected_by"])
    lines = [f"  {vm['vm_name']}: {vm['reason']}" + (f" (subclients: {by})" if by else "")]
    if vm["state"] in (UNPROTECTED, EXCLUDED, CANNOT) and vm["newest_good"] is not None:
        lines.append(f"    its newest good recovery point {_point(vm)}")
    lines += [f"    excluded by {member['subclient']}, {member['excluded_by']}" for member in vm["excluded_by"]]
    lines += [
        f"    disk {disk['slot']} is not backed up: {disk['name']}, {disk['reason']}" for disk in vm["skipped_disks"]
    ]
    return lines + [f"    warning: {warning}" for warning in vm["warnings"]]


def _orphan_line(orphan: Mapping[str, Any]) -> str:
    newest = f"newest good recovery point {_point(orphan)}" if orphan["newest_good"] else "no good recovery point"
    return f"  {orphan['client']} ({orphan['vm_name']}): {newest}"


def _point(item: Mapping[str, Any]) -> str:
    return f"{item['newest_good']['id']} is {format_duration(item['age'])} old"
