# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""A plan as text that an administrator reads before a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..vault.summary import format_seconds, left_out, utc_time
from ..vault.text import one_line
from .synthetic import selected_by_jobs

_FROM_VAULT = "made from the vault: the content is not evaluated, new VMs come with the next ordinary backup"
_TITLES = {"backup": "back up", "current": "nothing to do", "fail": "cannot be backed up", "skip": "skip"}


def plan_summary(plan: Mapping[str, Any]) -> list[str]:
    """Return the lines of a plan in the form of C(Plan.as_dict), one paragraph for each VM in run order."""
    counts = {action: sum(vm["action"] == action for vm in plan["vms"]) for action in _TITLES}
    total = ", ".join(f"{number} {_TITLES[action]}" for action, number in counts.items() if number)
    lines = [f"Plan for subclient {plan['subclient']}, {plan['requested_type']} asked for: {total or 'no VMs'}"]
    if any(vm["selected_by"] == selected_by_jobs(plan["subclient"]) for vm in plan["vms"]):
        lines += [f"  {_FROM_VAULT}"]
    lines += [f"  Warning: {warning}" for warning in plan["warnings"]]
    if plan["last_job"] is not None:
        lines += [f"  compared with the last job, {plan['last_job']}: {_changes(plan)}"]
    new = {item["vm_id"] for item in plan["new"]}
    for vm in plan["vms"]:
        lines += ["", *_vm_lines(vm, is_new=vm["vm_id"] in new)]
    excluded = [f"Left out: {item['vm_name']}, by {item['excluded_by']}" for item in plan["excluded"]]
    lines += ["", *excluded] if excluded else []
    return [one_line(text) for text in lines]


def plan_diff(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return what differs between the last job and this plan, in the form of Ansible's diff mode: VMs by name."""
    new = {item["vm_id"] for item in plan["new"]}
    after = {vm["vm_name"]: {"action": vm["action"], "method": vm["method"], "type": vm["type"]} for vm in plan["vms"]}
    before = {vm["vm_name"]: after[vm["vm_name"]] for vm in plan["vms"] if vm["vm_id"] not in new}
    if plan["last_job"] is None:
        before = {}
    return {
        "before": {**before, **{item["vm_name"]: "in the last job" for item in plan["gone"]}},
        "after": after,
        "before_header": plan["last_job"] or "no job before",
        "after_header": "this plan",
    }


def _changes(plan: Mapping[str, Any]) -> str:
    parts = [f"{kind}: {', '.join(item['vm_name'] for item in plan[kind])}" for kind in ("new", "gone") if plan[kind]]
    return "; ".join(parts) or "the same VMs"


def _vm_lines(vm: Mapping[str, Any], *, is_new: bool) -> list[str]:
    client = vm["client"] + (" (new)" if vm["new_client"] else "")
    since = ", new since the last job" if is_new else ""
    lines = [f"{vm['order']}. {vm['vm_name']}: {_TITLES[vm['action']]}{since}", f"  client: {client}"]
    if vm["action"] == "backup":
        method = vm["method"].replace("_", " ")
        lines += [f"  how: {method} on proxy {vm['proxy']}", f"  type: {vm['type']}, {vm['type_reason']}"]
        lines += [
            f"  disk {disk['slot']}: {disk['name']} in {disk['repository']}, {disk['type']}" for disk in vm["disks"]
        ]
        lines += _reading_lines(vm)
        lines += _outage_lines(vm)
    lines += [f"  disk {disk['slot']} left out: {disk['name']}, {disk['reason']}" for disk in left_out(vm)]
    lines += [f"  why: {vm['reason']}", f"  selected by: {vm['selected_by']}"]
    return lines + [f"  warning: {warning}" for warning in vm["warnings"]]


def _reading_lines(vm: Mapping[str, Any]) -> list[str]:
    """Return from where the disks are read and how their changes are found, and why: what is the same is said once."""
    sources, changes = [], []
    for disk in vm["disks"]:
        server = disk["server"]
        where = f"over ssh from {server['name']} ({server['address']})" if server is not None else "by path"
        sources.append(f"  read: {where}, {disk['source_reason']}")
        if disk["changes"] != "all":
            how = disk["changes"].replace("_", " ")
            changes.append(f"  changes of disk {disk['slot']}: by {how}, {disk['changes_reason']}")
    alike = {line.partition(": ")[2] for line in changes}
    if len(alike) == 1:
        changes = [f"  changes: {alike.pop()}"]
    return [*dict.fromkeys(sources), *changes]


def _outage_lines(vm: Mapping[str, Any]) -> list[str]:
    if vm["method"] != "shutdown":
        return []
    expected, until = vm["expected_outage"], vm["outage_until"]
    text = (
        f"{format_seconds(expected)}, as the last ones"
        if expected is not None
        else "not known, none was measured lately"
    )
    return [f"  outage: {text}" + (f"; it has to end before {utc_time(until)}" if until is not None else "")]
