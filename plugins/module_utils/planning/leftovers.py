# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Which of our clones on the manager are leftovers of dead runs: what the manager shows, judged by the vault.

That a clone is ours is proved by ids in the manager room. Here it is decided whether its run is done with it, and
whether the next backup of its VM reads against it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..manager.clones import Trace
from ..vault.jobs import is_run_of
from ..vault.points import Vault
from ..vault.runs import Held, Verdict, judge, read_locks
from ..vault.text import one_line
from .kept_clones import KnownReferences, read_references


def judge_traces(traces: Sequence[Trace], vault: Vault, *, now: float, limit: float) -> list[tuple[Trace, Verdict]]:
    """Return what runs have on the manager, each with whether it is a leftover and why.

    The traces must have been read before this is called: a living run takes the lock of a client before it clones, so
    a clone that was seen and has no lock now is left, or gone already. C(limit) as for C(judge).
    """
    locks = read_locks(vault)
    # Read after the locks: a run that has none any more has published what it could.
    known = read_references(vault, {trace.vm_id for trace in traces if trace.clones})
    return [(trace, _judge(trace, vault, locks, known, now, limit)) for trace in traces]


def _judge(
    trace: Trace, vault: Vault, locks: Sequence[Held], known: KnownReferences, now: float, limit: float
) -> Verdict:
    if not is_run_of(trace.run_id, vault):
        return Verdict(False, "its run used another vault, whose locks are not known here")
    used = next(((clone, state) for clone, state in trace.clones if state != "STOPPED"), None)
    if used is not None:
        return Verdict(False, f"the clone {used[0].name} is {used[1]}: somebody uses it")
    verdict = judge(vault, trace.run_id, locks, now=now, limit=limit)
    if not verdict.dead or not trace.clones:
        return verdict
    if trace.vm_name is None:
        return Verdict(True, f"{verdict.reason}, and with its VM gone no backup needs the clone")
    points = [known.point_of(trace.vm_id, clone.id) for clone, _state in trace.clones]
    point = next((point for point in points if point is not None), None)
    if point is not None:
        return Verdict(False, f"kept as the reference clone of recovery point {point.id} of client {point.client}")
    if known.unreadable is not None and trace.vm_id not in known.by_vm:
        return Verdict(False, f"client {known.unreadable} cannot be read: a recovery point of it may need the clone")
    return verdict


def trace_lines(traces: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return lines of text for traces in the form of the module vm_clone_info."""
    lines = []
    for trace in traces:
        name = trace["vm_name"] or f"{trace['vm_id']} (gone)"
        what = ", ".join(clone["name"] for clone in trace["clones"]) or "a clone definition without a clone"
        verb = {True: "leftover", False: "kept", None: "found"}[trace["leftover"]]
        reason = f": {trace['reason']}" if trace["reason"] else ""
        lines.append(one_line(f"{verb}: {what} of VM {name}, made by run {trace['run_id']}{reason}"))
    return lines
