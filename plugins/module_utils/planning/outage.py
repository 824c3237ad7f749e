# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Whether a VM may be shut down for its backup now, and for how long."""

from __future__ import annotations

import dataclasses
import math
import statistics
from dataclasses import dataclass

from .durations import format_duration
from .method import MethodDecision
from .state import ClientState
from .subclient import Subclient
from .windows import local_time, window_state

# Of the time that an outage may last, what is kept for starting the VM again.
START_SHARE = 0.1
START_SECONDS = 60.0
# So many of the last outages are looked at: enough that a slow one or two are outvoted, few enough to follow a change.
LAST_OUTAGES = 5
# An older measurement says nothing any more. A VM whose backups are refused gets no new ones, so that it is tried again
# after this time; the hard limit protects it then.
MEASURED_WITHIN = 14 * 86400.0


@dataclass(frozen=True)
class OutagePlan:
    """What is done with the VM, how long it will be down (seconds) if that is known, and until when it may be."""

    decision: MethodDecision
    expected: float | None = None
    until: float | None = None


@dataclass(frozen=True)
class OutageBudget:
    """How many seconds shutdown and transfer may take, nothing for no limit; or why the VM is not shut down."""

    seconds: float | None
    problem: str = ""


def plan_outage(
    decision: MethodDecision, subclient: Subclient, state: ClientState | None, backup_type: str, now: float
) -> OutagePlan:
    """Return the decision as it stands once window and limit of the subclient are looked at."""
    if (decision.action, decision.method) != ("backup", "shutdown"):
        return OutagePlan(decision)
    expected = expected_outage(state, subclient.two_pass, backup_type, now)
    found = window_state(subclient.outage_window, subclient.timezone, now)
    until = found.until if found.open else None
    if subclient.max_outage and expected is not None and expected > subclient.max_outage:
        allowed = format_duration(subclient.max_outage)
        text = f"an outage of {_rounded(expected)} is expected, allowed are {allowed} (max_outage)"
        return OutagePlan(MethodDecision("fail", "skip", text, decision.warnings), expected, until)
    if not found.open:
        text = f"it may not be shut down now: the outage window is closed, it {_opens(subclient, found.until)}"
        return OutagePlan(_skip(text, decision), expected)
    if until is not None and expected is not None and now + expected > until:
        text = (
            f"it may not be shut down now: an outage of {_rounded(expected)} is expected, and the outage window closes "
            f"in {format_duration(until - now)}; it {_opens(subclient, _next(subclient, until))}"
        )
        return OutagePlan(_skip(text, decision), expected, until)
    return OutagePlan(decision, expected, until)


def expected_outage(state: ClientState | None, two_pass: bool, backup_type: str, now: float) -> float | None:
    """Return the median (seconds) of the last comparable outages, nothing if there was none lately.

    With two passes all data is compared in any case, with one it matters how much is compressed and stored.
    """
    comparable = [
        outage.seconds
        for outage in (state.outages if state is not None else ())
        # A wrong clock may have put one into the future, where it would never become old.
        if abs(now - outage.ended) <= MEASURED_WITHIN
        and outage.two_pass == two_pass
        and (two_pass or outage.type == backup_type)
    ]
    return statistics.median(comparable[-LAST_OUTAGES:]) if comparable else None


def outage_budget(*, max_outage: float, until: float | None, expected: float | None, now: float) -> OutageBudget:
    """Return what a VM that is about to be shut down may get, by the plan's C(until) and C(expected) and the time now.

    A part of what is allowed is left for starting the VM again.
    """
    limits = [max_outage] if max_outage > 0 else []
    if until is not None:
        left = until - now
        if left <= 0:
            return OutageBudget(None, f"the outage window closed {format_duration(-left)} ago")
        if expected is not None and expected > left:
            text = f"an outage of {_rounded(expected)} is expected, and the outage window closes in"
            return OutageBudget(None, f"{text} {format_duration(left)}")
        limits.append(left)
    if not limits:
        return OutageBudget(None)
    limit = min(limits)
    return OutageBudget(limit - min(limit * START_SHARE, START_SECONDS))


def _next(subclient: Subclient, closed: float) -> float | None:
    return window_state(subclient.outage_window, subclient.timezone, closed).until


def _opens(subclient: Subclient, moment: float | None) -> str:
    return f"opens {local_time(moment, subclient.timezone)}" if moment is not None else "never opens"


def _rounded(seconds: float) -> str:
    return format_duration(math.ceil(seconds))


def _skip(reason: str, decision: MethodDecision) -> MethodDecision:
    return dataclasses.replace(
        decision, action="skip", method="skip", reason=reason, warnings=(f"not backed up: {reason}", *decision.warnings)
    )
