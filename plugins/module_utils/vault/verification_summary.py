# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The results of a verification run: for people who read them, and as the failure that they may be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import CorruptVaultError, VaultError
from .summary import format_bytes, format_seconds
from .text import number_of, one_line
from .verification_run import BAD, DUE, GONE, GOOD, UNKNOWN, Outcome, Survey

_COUNTED = {DUE: "due", GOOD: "good", BAD: "bad", GONE: "removed meanwhile", UNKNOWN: "not verified"}


def verification_summary(found: Survey, outcomes: Sequence[Outcome], duration: float) -> list[str]:
    """Return the lines: what was done, then everything that is bad, with the real names of the VMs."""
    clients = {target.client.name for target in found.targets}
    counts = {status: sum(outcome.status == status for outcome in outcomes) for status in _COUNTED}
    counted = [f"{number} {_COUNTED[status]}" for status, number in counts.items() if number]
    counted += [f"{len(found.unreadable)} not readable"] if found.unreadable else []
    results = [outcome.verification for outcome in outcomes if outcome.verification is not None]
    read = format_bytes(sum(one.bytes_read for one in results))
    lines = [
        f"{number_of(len(found.targets), 'recovery point')} of {number_of(len(clients), 'client')}: "
        + (", ".join(counted) or "none due")
        + (f"; {read} read in {format_seconds(duration)}" if results else ""),
        *_bad_lines(found, outcomes),
        *_error_lines(outcomes),
    ]
    for outcome in outcomes:
        if outcome.status == DUE:
            lines.append(f"Due: {_name(outcome)}: {outcome.target.why}")
        elif outcome.status == GONE:
            lines.append(f"Note: {_name(outcome)} was removed meanwhile")
    return [one_line(line) for line in lines]


def bad_list(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return the bad points and their problems in plain JSON types."""
    described = [outcome.as_dict() for outcome in outcomes if outcome.status == BAD]
    return [
        {
            **{key: item[key] for key in ("client", "vm_name", "point")},
            "problems": item["verification"]["problems"],
        }
        for item in described
    ]


def complaint(found: Survey, outcomes: Sequence[Outcome], *, bad_too: bool) -> VaultError | None:
    """Return the failure that a run comes to, which names everything that is wrong; nothing if all is well.

    Bad points count C(bad_too) only; what could not be verified or stored counts always.
    """
    bad, errors = _bad_lines(found, outcomes), _error_lines(outcomes)
    if bad and bad_too:
        count = len(bad_list(outcomes)) + len(found.unreadable)
        head = "1 recovery point is bad" if count == 1 else f"{count} recovery points are bad"
        places = [item.as_dict() for item in found.unreadable]
        return CorruptVaultError(
            one_line("; ".join([head, *bad, *errors])), bad=bad_list(outcomes), unreadable=places or None
        )
    if errors:
        return VaultError(one_line("; ".join(errors)))
    return None


def _bad_lines(found: Survey, outcomes: Sequence[Outcome]) -> list[str]:
    """Return a line for each problem: VM, client, recovery point, and a message that names file and offset."""
    lines = [f"Bad: {_label(bad.vm_name, bad.client, bad.point)}: {bad.problem}" for bad in found.unreadable]
    for outcome in outcomes:
        problems = outcome.verification.problems if outcome.verification is not None else ()
        lines += [f"Bad: {_name(outcome)}: {problem.message}" for problem in problems]
    return lines


def _error_lines(outcomes: Sequence[Outcome]) -> list[str]:
    lines = []
    for outcome in outcomes:
        if outcome.error is not None:
            verb = "could not be verified" if outcome.verification is None else "its result could not be stored"
            lines.append(f"Error: {_name(outcome)}: {verb}: {outcome.error}")
    return lines


def _name(outcome: Outcome) -> str:
    return _label(outcome.target.point.vm_name, outcome.target.client.name, outcome.target.point.id)


def _label(vm_name: str, client: str, point: str | None) -> str:
    return f"VM {vm_name!r} (client {client})" + (f", recovery point {point}" if point is not None else "")
