# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module vm_power. What may go wrong on the way is tested in the manager room."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.modules import vm_power
from simulator.testing import Simulator

FINISHED = 1795395723.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The module's own time; nobody waits for it."""
    clock = SimpleNamespace(now=0.0, time=lambda: FINISHED, monotonic=lambda: clock.now, sleep=lambda _seconds: None)

    def sleep(seconds: float) -> None:
        clock.now += seconds

    clock.sleep = sleep
    monkeypatch.setattr(vm_power, "time", clock)
    return clock


@pytest.fixture
def db01(simulator: Simulator) -> str:
    return str(simulator.find("Vm", "db01")["id"]["value"])


@pytest.fixture
def args(manager: dict[str, Any], db01: str) -> dict[str, Any]:
    return {**manager, "vm_id": db01, "state": "stopped"}


def expected(vm_id: str, before: str, after: str, *, changed: bool, killed: bool = False) -> dict[str, Any]:
    """Return what the module returns, but for the duration."""
    power = {"vm_id": vm_id, "vm_name": "db01", "before": before, "after": after, "killed": killed}
    return {
        "changed": changed,
        "power": {**power, "finished": FINISHED},
        "diff": {"before": {"state": before}, "after": {"state": after}},
    }


def without_duration(result: dict[str, Any]) -> dict[str, Any]:
    assert result["power"].pop("duration") >= 0.0
    return result


def state(simulator: Simulator) -> str:
    return str(simulator.find("Vm", "db01")["vmRunState"])


def test_stop_and_start(succeed: Any, foresee: Any, args: dict[str, Any], simulator: Simulator, db01: str) -> None:
    stopped = expected(db01, "RUNNING", "STOPPED", changed=True)
    assert without_duration(foresee("vm_power", args, diff=True)) == stopped
    assert state(simulator) == "RUNNING"
    assert without_duration(succeed("vm_power", args, diff=True)) == stopped
    assert state(simulator) == "STOPPED"
    unchanged = expected(db01, "STOPPED", "STOPPED", changed=False)
    assert without_duration(foresee("vm_power", args, diff=True)) == unchanged
    assert without_duration(succeed("vm_power", args, diff=True)) == unchanged

    args = {**args, "state": "running"}
    started = expected(db01, "STOPPED", "RUNNING", changed=True)
    assert without_duration(foresee("vm_power", args, diff=True)) == started
    assert state(simulator) == "STOPPED"
    assert without_duration(succeed("vm_power", args, diff=True)) == started
    assert state(simulator) == "RUNNING"
    simulator.clear_calls()
    unchanged = expected(db01, "RUNNING", "RUNNING", changed=False)
    assert without_duration(succeed("vm_power", args, diff=True)) == unchanged
    assert simulator.calls(writing=True) == []


def test_a_guest_that_does_not_react(fail: Any, args: dict[str, Any], simulator: Simulator, db01: str) -> None:
    simulator.ignore_shutdown("db01")
    failed = fail("vm_power", {**args, "timeout": 30})
    assert failed["msg"] == (
        'VM "db01" did not shut down in 30 s and is RUNNING. '
        "The request was withdrawn; it was not powered off by force."
    )
    assert {key: failed["failure"][key] for key in ("kind", "vm_id", "vm_name", "state")} == {
        "kind": "PowerStateError", "vm_id": db01, "vm_name": "db01", "state": "RUNNING",
    }  # fmt: skip
    assert state(simulator) == "RUNNING"


def test_switched_off(succeed: Any, args: dict[str, Any], simulator: Simulator, db01: str) -> None:
    simulator.ignore_shutdown("db01")
    result = succeed("vm_power", {**args, "timeout": 30, "kill": True}, diff=True)
    assert without_duration(result) == expected(db01, "RUNNING", "STOPPED", changed=True, killed=True)


def test_too_late_to_be_switched_off(fail: Any, args: dict[str, Any], simulator: Simulator) -> None:
    simulator.ignore_shutdown("db01")
    failed = fail("vm_power", {**args, "timeout": 30, "kill": True, "kill_within": 30})
    assert failed["msg"] == (
        'VM "db01" did not shut down in 30 s and is RUNNING. '
        "The request was withdrawn; it was not powered off by force, for which it was too late."
    )
    assert state(simulator) == "RUNNING"


@pytest.mark.parametrize(
    ("before", "wanted", "after", "changed"),
    [
        ("STOPPED", "running", "RUNNING", True),
        ("STOPPING", "running", "RUNNING", True),
        ("SUSPENDED", "running", "RUNNING", True),
        ("STARTING", "running", "RUNNING", False),
        ("RUNNING", "running", "RUNNING", False),
        ("RUNNING", "stopped", "STOPPED", True),
        ("STARTING", "stopped", "STOPPED", True),
        ("STOPPING", "stopped", "STOPPED", False),  # somebody else has asked it
        ("STOPPED", "stopped", "STOPPED", False),
    ],
)
def test_check_mode_knows_every_state(
    foresee: Any, args: dict[str, Any], simulator: Simulator, db01: str,
    before: str, wanted: str, after: str, changed: bool,
) -> None:  # fmt: skip
    simulator.set_state("db01", before)
    result = without_duration(foresee("vm_power", {**args, "state": wanted}, diff=True))
    assert result == expected(db01, before, after, changed=changed)


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_suspended_vm_is_not_shut_down(
    fail: Any, args: dict[str, Any], simulator: Simulator, db01: str, check_mode: bool
) -> None:
    simulator.set_state("db01", "SUSPENDED")
    assert fail("vm_power", args, check_mode=check_mode) == {
        "msg": 'VM "db01" is SUSPENDED: it can be shut down only while it is RUNNING.',
        "failure": {"kind": "PowerStateError", "vm_id": db01, "vm_name": "db01", "state": "SUSPENDED", "asked": False},
    }


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("wanted", ["running", "stopped"])
def test_unknown_vm(fail: Any, args: dict[str, Any], wanted: str, check_mode: bool) -> None:
    failed = fail("vm_power", {**args, "vm_id": "0004fb00000600", "state": wanted}, check_mode=check_mode)
    assert failed["failure"]["kind"] == "NotFoundError"
    assert "0004fb00000600" in failed["msg"]


@pytest.mark.parametrize("option", ["timeout", "kill_within"])
@pytest.mark.parametrize("seconds", [0, -1, "nan"])
def test_wrong_seconds(fail: Any, args: dict[str, Any], simulator: Simulator, option: str, seconds: Any) -> None:
    assert fail("vm_power", {**args, option: seconds}) == {
        "msg": f"{option} must be more than 0 seconds, not {float(seconds)}",
        "failure": {"kind": "InvalidInputError", "option": option},
    }
    assert simulator.calls() == []


def test_wrong_password(fail: Any, args: dict[str, Any]) -> None:
    assert fail("vm_power", {**args, "password": "wrong-Passw0rd"})["failure"]["kind"] == "AuthenticationError"


@pytest.mark.parametrize(
    ("fault", "kind"), [("reset", "ManagerUnreachableError"), ("html_500", "ManagerResponseError")]
)
def test_a_manager_that_is_lost_for_a_while(
    succeed: Any, fail: Any, args: dict[str, Any], simulator: Simulator, clock: SimpleNamespace, fault: str, kind: str
) -> None:
    """To start a VM it is waited for, up to the time limit; nothing else is so urgent."""
    simulator.set_state("db01", "STOPPED")
    simulator.fault(fault, method="GET", times=30)
    assert succeed("vm_power", {**args, "state": "running"})["changed"] is True
    assert clock.now > 0
    for wanted, check_mode in (("running", True), ("stopped", False)):
        simulator.fault(fault, method="GET", times=0)
        failed = fail("vm_power", {**args, "state": wanted}, check_mode=check_mode)
        assert failed["failure"]["kind"] == kind
        simulator.clear_faults()
    simulator.fault(fault, method="GET", times=0)
    clock.now = 0.0
    failed = fail("vm_power", {**args, "state": "running", "timeout": 12})
    assert (failed["failure"]["kind"], clock.now) == (kind, 15.0)


def test_missing_arguments(fail: Any, manager: dict[str, Any]) -> None:
    assert "failure" not in fail("vm_power", manager)
    assert "failure" not in fail("vm_power", {**manager, "vm_id": "x", "state": "off"})
