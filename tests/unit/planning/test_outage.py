# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""VMs that have to be shut down: whether the plan does it, and how long they may be down when it comes to that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from unit.planning.estate import HOUR, NOW, client, disk, inventory, subclient, vault, vm

from ansible_collections.ovm.backup.plugins.module_utils.planning.outage import OutageBudget, outage_budget
from ansible_collections.ovm.backup.plugins.module_utils.planning.plan import VmPlan, make_plan
from ansible_collections.ovm.backup.plugins.module_utils.vault.outages import Outage

DAY = 24 * HOUR
FILES = vm("files", disk(0, "nfs1"))
# NOW is a Tuesday, 22:13:20 UTC.
OPEN = [{"from": "22:00", "to": "23:00"}]
CLOSES = NOW + 2800
CLOSED = [{"days": ["wed"], "from": "01:00", "to": "02:00"}]


def outage(seconds: float, *, two_pass: bool = True, type: str = "incremental", age: float = HOUR) -> Outage:
    return Outage(seconds, NOW - age, two_pass, type)


def planned(*outages: Outage, of: Any = FILES, force: bool = False, **settings: Any) -> VmPlan:
    """Return the plan of a VM on NFS that has been backed up already."""
    definition = subclient(nfs_policy="shutdown", shutdown_timeout=30, **settings)
    state = client(of, outages=outages)
    return make_plan(definition, inventory(of), vault(state), now=NOW, force=force).vms[0]


@pytest.mark.parametrize(
    ("outages", "two_pass", "backup_type", "expected"),
    [
        ((), True, "incremental", None),
        ((outage(5), outage(7.5)), True, "incremental", 6.25),
        ((outage(5, two_pass=False),), True, "incremental", None),
        ((outage(5), outage(60, two_pass=False)), True, "full", 5),
        ((outage(60, two_pass=False), outage(5)), False, "incremental", 60),
        # With one pass a full takes longer than an incremental.
        ((outage(60, two_pass=False, type="full"),), False, "incremental", None),
        ((outage(60, two_pass=False, type="full"), outage(20, two_pass=False)), False, "full", 60),
        # Of the last five, whatever was before them.
        ((*[outage(900)] * 5, outage(1), outage(2), outage(3)), True, "incremental", 3),
        ((*[outage(900)] * 5, outage(1), outage(9), outage(4), outage(800), outage(2)), True, "incremental", 4),
        # What is older than 14 days, or lies as far in the future, does not count.
        ((outage(900, age=15 * DAY), outage(20, age=14 * DAY)), True, "incremental", 20),
        ((outage(900, age=15 * DAY), outage(900, age=-15 * DAY)), True, "incremental", None),
    ],
)
def test_expected_outage(outages: tuple[Outage, ...], two_pass: bool, backup_type: str, expected: float | None) -> None:
    found = planned(*outages, two_pass=two_pass, backup_type=backup_type)
    assert (found.action, found.method, found.expected_outage, found.outage_until) == (
        "backup", "shutdown", expected, None,
    )  # fmt: skip


def test_open_window() -> None:
    found = planned(outage(30), outage_window=OPEN, max_outage=60)
    assert (found.action, found.expected_outage, found.outage_until) == ("backup", 30, CLOSES)
    assert found.warnings == ()


def test_more_than_is_allowed_fails() -> None:
    found = planned(outage(61.2), max_outage="1m")
    assert (found.action, found.method) == ("fail", "skip")
    assert found.reason == "an outage of 1 min 2 s is expected, allowed are 1 min (max_outage)"
    assert planned(outage(60), max_outage="1m").action == "backup"
    assert planned(max_outage="1m").action == "backup"  # nothing is known yet


def test_a_slow_outage_locks_no_vm_out() -> None:
    slow = outage(3600)
    assert planned(outage(30), outage(40), slow, max_outage="1m").action == "backup"
    assert planned(slow, max_outage="1m").action == "fail"
    assert planned(replace(slow, ended=NOW - 15 * DAY), max_outage="1m").action == "backup"


@pytest.mark.parametrize("force", [False, True])
def test_closed_window_skips(force: bool) -> None:
    found = planned(outage_window=CLOSED, timezone="America/New_York", force=force)
    reason = "it may not be shut down now: the outage window is closed, it opens Wed 2023-11-15 01:00 EST"
    assert (found.action, found.method, found.reason) == ("skip", "skip", reason)
    assert found.warnings == (f"not backed up: {reason}",)


def test_window_that_closes_too_early_skips() -> None:
    found = planned(outage(2801), outage_window=OPEN)
    reason = (
        "it may not be shut down now: an outage of 46 min 41 s is expected, and the outage window closes in "
        "46 min 40 s; it opens Wed 2023-11-15 22:00 UTC"
    )
    assert (found.action, found.reason, found.outage_until) == ("skip", reason, CLOSES)
    assert planned(outage(2800), outage_window=OPEN).action == "backup"


def test_window_that_the_clock_jumps_over_for_ever() -> None:
    found = planned(outage_window=[{"from": "00:00", "to": "24:00"}])
    assert (found.action, found.outage_until) == ("backup", None)


@pytest.mark.parametrize("of", [vm("db"), vm("files", disk(0, "nfs1"), state="STOPPED")])
def test_vms_that_are_not_shut_down_know_no_window(of: Any) -> None:
    found = planned(outage(3600), of=of, outage_window=CLOSED, max_outage=60)
    assert (found.action, found.expected_outage, found.outage_until) == ("backup", None, None)


def test_vm_that_is_current_stays_so() -> None:
    found = planned(outage(3600), outage_window=CLOSED, max_age="1d")
    assert (found.action, found.warnings) == ("current", ())


@pytest.mark.parametrize(
    ("values", "budget"),
    [
        ({}, OutageBudget(None)),
        ({"max_outage": 100}, OutageBudget(90.0)),
        ({"max_outage": 3600}, OutageBudget(3540.0)),
        ({"until": NOW + 50}, OutageBudget(45.0)),
        ({"until": NOW + 50, "max_outage": 10}, OutageBudget(9.0)),
        ({"until": NOW + 50, "max_outage": 100, "expected": 50.0}, OutageBudget(45.0)),
        ({"until": NOW}, OutageBudget(None, "the outage window closed 0 s ago")),
        ({"until": NOW - 300}, OutageBudget(None, "the outage window closed 5 min ago")),
        ({"until": NOW + 50, "expected": 50.5},
         OutageBudget(None, "an outage of 51 s is expected, and the outage window closes in 50 s")),
    ],
)  # fmt: skip
def test_budget(values: dict[str, float], budget: OutageBudget) -> None:
    found = outage_budget(**{"max_outage": 0, "until": None, "expected": None, "now": NOW, **values})
    assert found == budget
