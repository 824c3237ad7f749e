# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stopping and starting VMs against the simulator of the manager."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils import errors
from ansible_collections.ovm.backup.plugins.module_utils.manager.power import start_vm, stop_vm


@pytest.fixture
def vm_id(simulator: Any) -> str:
    return str(simulator.find("Vm", "files01")["id"]["value"])


def state(simulator: Any, vm_id: str) -> str:
    return str(simulator.state()["vms"][vm_id]["state"])


def writes(simulator: Any) -> list[str]:
    return [f"{call['method']} {call['path'].rsplit('/', 1)[1]}" for call in simulator.calls(writing=True)]


def test_stop_and_start(simulator: Any, connected: Any, vm_id: str) -> None:
    stopped = stop_vm(connected, vm_id, timeout=60.0)
    assert (stopped.vm_name, stopped.before, stopped.after) == ("files01", "RUNNING", "STOPPED")
    assert (stopped.changed, stopped.killed) == (True, False)
    assert state(simulator, vm_id) == "STOPPED"
    again = stop_vm(connected, vm_id, timeout=60.0)
    assert (again.before, again.changed, again.duration) == ("STOPPED", False, 0.0)
    started = start_vm(connected, vm_id, timeout=60.0)
    assert (started.before, started.after, started.changed) == ("STOPPED", "RUNNING", True)
    assert not start_vm(connected, vm_id, timeout=60.0).changed
    assert writes(simulator) == ["PUT stop", "PUT start"]


def test_guest_that_ignores_shutdown_goes_on_running(simulator: Any, connected: Any, vm_id: str) -> None:
    simulator.ignore_shutdown(vm_id)
    with pytest.raises(
        errors.PowerStateError, match="did not shut down in 5 s and is RUNNING. The request was"
    ) as caught:
        stop_vm(connected, vm_id, timeout=5.0)
    assert (caught.value.details["state"], caught.value.details["asked"]) == ("RUNNING", True)
    assert caught.value.details["vm_id"] == vm_id
    assert state(simulator, vm_id) == "RUNNING"
    assert writes(simulator) == ["PUT stop", "PUT abort"]
    assert simulator.state()["jobs"] == []


def test_guest_that_ignores_shutdown_is_killed_if_allowed(simulator: Any, connected: Any, vm_id: str) -> None:
    simulator.ignore_shutdown(vm_id)
    change = stop_vm(connected, vm_id, timeout=5.0, kill=True)
    assert (change.after, change.changed, change.killed) == ("STOPPED", True, True)
    assert writes(simulator) == ["PUT stop", "PUT abort", "PUT kill"]


def test_kill_is_not_used_on_a_guest_that_shuts_down(simulator: Any, connected: Any, vm_id: str) -> None:
    assert not stop_vm(connected, vm_id, timeout=60.0, kill=True).killed


def test_stop_that_others_are_in_the_way_of_is_asked_for_again(simulator: Any, connected: Any, vm_id: str) -> None:
    simulator.job_fault("vm.stop", error_type="LOCK", message="Another job holds the VM", times=2)
    change = stop_vm(connected, vm_id, timeout=60.0, kill=True)
    assert (change.after, change.killed) == ("STOPPED", False)
    assert writes(simulator) == ["PUT stop"] * 3


@pytest.mark.parametrize("fault", ["lock", "abort", "lost"])
def test_guest_that_nobody_asked_is_not_killed(simulator: Any, connected: Any, vm_id: str, fault: str) -> None:
    if fault == "lost":
        simulator.fault("reset", method="PUT", path="/Vm/*/stop")
    else:
        simulator.job_fault("vm.stop", error_type=fault.upper(), message="not now", times=1000)
    with pytest.raises(errors.PowerStateError, match="was not shut down and is RUNNING"):
        stop_vm(connected, vm_id, timeout=5.0, kill=True)
    assert state(simulator, vm_id) == "RUNNING"
    assert set(writes(simulator)) == {"PUT stop"}


def test_guest_that_knows_no_shutdown_is_killed_when_its_time_is_over(
    simulator: Any, connected: Any, vm_id: str
) -> None:
    simulator.job_fault("vm.stop", error_type="SERVER", message="OVMAPI_4010E no such request", times=3)
    change = stop_vm(connected, vm_id, timeout=60.0, kill=True)
    assert (change.after, change.killed, writes(simulator)) == ("STOPPED", True, ["PUT stop"] * 3 + ["PUT kill"])
    assert change.duration >= 60.0


def test_stop_tries_again_after_a_server_failure(simulator: Any, connected: Any, vm_id: str) -> None:
    simulator.job_fault("vm.stop", error_type="SERVER", message="OVMAPI_4010E no contact", times=2)
    change = stop_vm(connected, vm_id, timeout=60.0, kill=True)
    assert (change.after, change.killed, writes(simulator)) == ("STOPPED", False, ["PUT stop"] * 3)


def test_failed_stop_leaves_the_vm_running(simulator: Any, connected: Any, vm_id: str) -> None:
    simulator.job_fault("vm.stop", error_type="SERVER", message="OVMAPI_4010E no contact", times=3)
    with pytest.raises(errors.PowerStateError, match="is RUNNING: .*OVMAPI_4010E no contact") as caught:
        stop_vm(connected, vm_id, timeout=60.0)
    assert caught.value.details["error_code"] == "OVMAPI_4010E"
    assert state(simulator, vm_id) == "RUNNING"


@pytest.mark.parametrize("action", ["reset", "truncate"])
def test_lost_answer_to_the_stop_is_followed_up(simulator: Any, connected: Any, vm_id: str, action: str) -> None:
    simulator.fault(action, method="PUT", path="/Vm/*/stop", when="after")
    assert stop_vm(connected, vm_id, timeout=60.0).after == "STOPPED"
    assert writes(simulator) == ["PUT stop"]


def test_stop_that_never_arrived(simulator: Any, connected: Any, vm_id: str) -> None:
    simulator.fault("reset", method="PUT", path="/Vm/*/stop")
    with pytest.raises(errors.PowerStateError, match="was not shut down and is RUNNING: Lost Oracle VM Manager"):
        stop_vm(connected, vm_id, timeout=60.0)
    assert state(simulator, vm_id) == "RUNNING"


def test_connection_loss_while_waiting(simulator: Any, connected: Any, vm_id: str) -> None:
    simulator.fault("reset", method="GET", path="/Job/*", times=4)
    assert stop_vm(connected, vm_id, timeout=60.0).after == "STOPPED"
    simulator.fault("reset", method="GET", path="/Job/*", times=4)
    assert start_vm(connected, vm_id, timeout=60.0).after == "RUNNING"


def test_interrupted_stop_is_withdrawn(
    simulator: Any, connected: Any, vm_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator.ignore_shutdown(vm_id)
    sleep = connected.sleep
    pauses = iter([None, None, KeyboardInterrupt])

    def interrupted(seconds: float) -> None:
        trouble = next(pauses, None)
        if trouble is not None:
            raise trouble
        sleep(seconds)

    monkeypatch.setattr(connected, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stop_vm(connected, vm_id, timeout=60.0)
    assert writes(simulator) == ["PUT stop", "PUT abort"]
    assert state(simulator, vm_id) == "RUNNING"


@pytest.mark.parametrize("name", ["template1"])
def test_templates_have_no_power(simulator: Any, connected: Any, name: str) -> None:
    vm_id = simulator.find("Vm", name)["id"]["value"]
    for change in (stop_vm, start_vm):
        with pytest.raises(errors.PowerStateError, match="is TEMPLATE"):
            change(connected, vm_id, timeout=5.0)
    assert writes(simulator) == []


def test_suspended_vm_is_not_stopped_but_resumed(simulator: Any, connected: Any, vm_id: str) -> None:
    simulator.set_state(vm_id, "SUSPENDED")
    with pytest.raises(errors.PowerStateError, match="is SUSPENDED") as caught:
        stop_vm(connected, vm_id, timeout=5.0, kill=True)
    assert caught.value.details["asked"] is False
    change = start_vm(connected, vm_id, timeout=60.0)
    assert (change.before, change.after, change.changed) == ("SUSPENDED", "RUNNING", True)
    assert writes(simulator) == ["PUT resume"]


def test_start_waits_for_a_vm_that_is_stopping(simulator: Any, connected: Any, vm_id: str) -> None:
    connected.submit("PUT", "Vm", vm_id, "stop")
    change = start_vm(connected, vm_id, timeout=600.0)
    assert (change.after, change.changed) == ("RUNNING", True)
    assert state(simulator, vm_id) == "RUNNING"
    assert writes(simulator)[0] == "PUT stop" and writes(simulator)[-1] == "PUT start"


@pytest.mark.parametrize("stuck", ["STOPPING", "STARTING"])
def test_start_gives_up_on_a_vm_that_is_stuck(simulator: Any, connected: Any, vm_id: str, stuck: str) -> None:
    simulator.set_state(vm_id, stuck)
    with pytest.raises(errors.PowerStateError, match=f"is {stuck} and did not come to RUNNING in 30 s") as caught:
        start_vm(connected, vm_id, timeout=30.0)
    assert caught.value.details["state"] == stuck


def test_start_tries_again_after_a_server_failure(simulator: Any, connected: Any, vm_id: str) -> None:
    simulator.set_state(vm_id, "STOPPED")
    simulator.job_fault("vm.start", error_type="SERVER", message="OVMAPI_4010E no contact", times=2)
    assert start_vm(connected, vm_id, timeout=60.0).after == "RUNNING"
    assert writes(simulator) == ["PUT start"] * 3


def test_start_that_is_refused_says_why(simulator: Any, connected: Any, vm_id: str) -> None:
    simulator.set_state(vm_id, "STOPPED")
    simulator.job_fault("vm.start", error_type="RULE", message="OVMRU_005010E no server")
    with pytest.raises(errors.PowerStateError, match="could not be started and is STOPPED: .*OVMRU_005010E") as caught:
        start_vm(connected, vm_id, timeout=60.0)
    assert caught.value.details["error_code"] == "OVMRU_005010E"
    assert writes(simulator) == ["PUT start"]


def test_start_outlasts_a_lost_manager(simulator: Any, connected: Any, vm_id: str) -> None:
    simulator.set_state(vm_id, "STOPPED")
    simulator.fault("reset", path="*", times=12)
    assert start_vm(connected, vm_id, timeout=600.0).after == "RUNNING"


def test_lost_answer_to_the_start_is_followed_up(simulator: Any, connected: Any, vm_id: str) -> None:
    simulator.set_state(vm_id, "STOPPED")
    simulator.fault("reset", method="PUT", path="/Vm/*/start", when="after")
    assert start_vm(connected, vm_id, timeout=60.0).after == "RUNNING"
    assert writes(simulator) == ["PUT start"]


def test_missing_vm(simulator: Any, connected: Any) -> None:
    for change in (stop_vm, start_vm):
        with pytest.raises(errors.NotFoundError):
            change(connected, "0004fb00000600000000000000000000", timeout=5.0)
