# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Which proxies of a group take part in a run: those that answer, see the same vault and go by the same time.

One that does not is left out, with a warning: the others do its work. Only without any proxy there is no run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ProxyError
from .access import Access
from .dealing import Proxies
from .durations import format_duration
from .plan_types import Plan
from .reading import quoted

# Dead runs are told from live ones by times that several machines wrote; that allows for a few seconds (vault/runs.py).
CLOCK_WARNING = 5.0
# A lease is renewed every half minute. Beyond this, a proxy could take the lock of a live run for one that has ended.
CLOCK_LIMIT = 60.0


@dataclass(frozen=True)
class ProxyCheck:
    """What a look at one proxy has found; with a C(problem) that is all that is known.

    C(ahead) are the seconds by which its clock is ahead of the vault's, give or take C(error); nothing if not measured.
    """

    name: str
    problem: str = ""
    vault_id: str = ""
    repositories: frozenset[str] = frozenset()
    ahead: float | None = None
    error: float = 0.0


# All that ansible-core before 2.18 says of it.
_TIME_IS_OVER = "failed to execute in the expected time frame"


@dataclass(frozen=True)
class Fit:
    """The proxies that take part, the storage repositories that each of them sees, and what to tell of the others."""

    names: tuple[str, ...]
    repositories: Mapping[str, frozenset[str]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def proxies(self, access: Access) -> Proxies:
        """Return them with what they reach: what the host that plans does, but what each was seen to have mounted."""
        single = {name: dataclasses.replace(access, mounted=seen) for name, seen in self.repositories.items()}
        return Proxies.alike(self.names, access, single)


def read_check(result: Mapping[str, Any]) -> ProxyCheck:
    """Read what a loop has registered of one proxy: the answer of the module, or why there is none."""
    name = str(result.get(result.get("ansible_loop_var", "item")))
    if result.get("timedout") or _TIME_IS_OVER in str(result.get("msg")):
        return ProxyCheck(name, "it gave no answer in time: perhaps a mount hangs there")
    if result.get("unreachable"):
        return ProxyCheck(name, f"it cannot be reached: {_first_line(result.get('msg'))}")
    found = result.get("proxy")
    if not isinstance(found, Mapping):
        return ProxyCheck(name, _first_line(result.get("msg")))
    clock = found.get("clock") or {}
    return ProxyCheck(
        name,
        vault_id=str(found["vault"]["id"]),
        repositories=frozenset(map(str, found["repositories"])),
        ahead=clock.get("ahead"),
        error=float(clock.get("error") or 0.0),
    )


def fit_proxies(names: Sequence[str], results: Sequence[Mapping[str, Any]]) -> Fit:
    """Return which of the proxies take part. The first of the results is that of the host that plans.

    Raises C(ProxyError) if there is none, or if the host that plans has a problem itself.
    """
    if not results:
        return Fit(tuple(names))
    planner, *_others = checks = [read_check(result) for result in results]
    if planner.problem:
        raise ProxyError(f"The host that plans, {quoted(planner.name)}: {planner.problem}", proxies=[planner.name])
    by_name = {check.name: check for check in checks}
    warnings, problems, fit = [], [], []
    for name in dict.fromkeys(names):
        check = by_name.get(name) or ProxyCheck(name, "nobody has looked at it")
        problem = check.problem or _other_vault(check, planner) or _clock_problem(check, planner, CLOCK_LIMIT)
        if problem:
            problems.append(f"proxy {quoted(name)}: {problem}")
            continue
        fit.append(name)
        off = _clock_problem(check, planner, CLOCK_WARNING)
        if off:
            warnings.append(f"proxy {quoted(name)}: {off}")
    if not fit:
        text = "; ".join(problems)
        raise ProxyError(f"No proxy can take part in the run: {text}", proxies=list(names))
    return Fit(
        tuple(name for name in names if name in fit),
        {name: by_name[name].repositories for name in fit},
        (*(f"{problem}; it is left out of this run, the others do its work" for problem in problems), *warnings),
    )


def with_warnings(plan: Plan, warnings: Sequence[str]) -> Plan:
    """Return a plan that tells of the proxies first."""
    return dataclasses.replace(plan, warnings=(*warnings, *plan.warnings))


def _other_vault(check: ProxyCheck, planner: ProxyCheck) -> str:
    if check.vault_id == planner.vault_id:
        return ""
    return (
        f"its vault has the id {check.vault_id}, that of {quoted(planner.name)} {planner.vault_id}: "
        "all proxies need one vault, on storage that they share"
    )


def _clock_problem(check: ProxyCheck, planner: ProxyCheck, limit: float) -> str:
    """Return what is wrong with a clock by more than the limit, however the measurement erred."""
    if check.ahead is None or planner.ahead is None:
        return ""
    difference = check.ahead - planner.ahead
    if abs(difference) - check.error - planner.error <= limit:
        return ""
    which = "ahead of" if difference > 0 else "behind"
    off = format_duration(round(abs(difference)))
    return f"its clock is {off} {which} that of {quoted(planner.name)}: set it, by NTP"


def _first_line(text: Any) -> str:
    return str(text or "no reason given").strip().splitlines()[0]
