# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""A verification run as text that an administrator reads."""

from __future__ import annotations

from collections.abc import Sequence

from .summary import format_bytes, format_seconds
from .text import one_line
from .verification_run import BAD, DUE, GONE, GOOD, Outcome, Survey

_COUNTED = {
    DUE: "due",
    GOOD: "good",
    BAD: "bad",
    GONE: "removed meanwhile",
    "unknown": "that could not be verified",
}


def verification_summary(found: Survey, outcomes: Sequence[Outcome], duration: float) -> list[str]:
    """Return the lines: what was done, then everything that is bad, with the real names of the VMs."""
    clients = {target.client.name for target in found.targets}
    counts = {status: sum(outcome.status == status for outcome in outcomes) for status in _COUNTED}
    counted = ", ".join(f"{number} {_COUNTED[status]}" for status, number in counts.items() if number)
    done = [outcome.verification for outcome in outcomes if outcome.verification is not None]
    head = f"{_number(len(found.targets), 'recovery point')} of {_number(len(clients), 'client')}"
    read = f"; {format_bytes(sum(one.bytes_read for one in done))} read in {format_seconds(duration)}" if done else ""
    lines = [f"{head}: {counted or 'none due'}{read}", *bad_lines(found, outcomes)]
    for outcome in outcomes:
        name = _name(outcome.target.point.vm_name, outcome.target.client.name, outcome.target.point.id)
        if outcome.status == DUE:
            lines.append(f"Due: {name}: {outcome.target.why}")
        elif outcome.status == GONE:
            lines.append(f"Note: {name} was removed while it was verified")
    return [one_line(line) for line in lines]


def bad_lines(found: Survey, outcomes: Sequence[Outcome]) -> list[str]:
    """Return a line for each problem: VM, client, recovery point, and a message that names file and offset."""
    lines = []
    for bad in found.unreadable:
        lines.append(f"Bad: {_name(bad.vm_name, bad.client, bad.point)}: {bad.problem}")
    for outcome in outcomes:
        point = outcome.target.point
        name = _name(point.vm_name, outcome.target.client.name, point.id)
        problems = outcome.verification.problems if outcome.verification is not None else ()
        lines += [f"Bad: {name}: {problem.message}" for problem in problems]
        if outcome.error is not None:
            verb = "could not be verified" if outcome.verification is None else "the result could not be stored"
            lines.append(f"Error: {name}: {verb}: {outcome.error}")
    return lines


def _name(vm_name: str, client: str, point: str | None) -> str:
    return f"VM {vm_name!r} (client {client})" + (f", recovery point {point}" if point is not None else "")


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
