# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a start or a stop waits for a manager that is out of order or busy, against a scripted manager and by an
injected clock."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils import errors
from ansible_collections.ovm.backup.plugins.module_utils.manager.power import start_vm, stop_vm

PAGE = "<html><head><title>Error 500--Internal Server Error</title></head></html>"


@pytest.fixture
def vm(fakes: Any) -> Any:
    def make(state: str) -> dict[str, Any]:
        return {"id": fakes.reference("Vm", "v1", "web"), "name": "web", "vmRunState": state, "locked": False}

    return make


@pytest.fixture
def page(fakes: Any) -> Any:
    return fakes.Answer(500, PAGE, {"Content-Type": "text/html"})


@pytest.fixture
def busy(fakes: Any) -> Any:
    return fakes.refused("GEN_000011", 500)


@pytest.fixture
def crowded(fakes: Any) -> Any:
    return fakes.refused("GEN_000027", 403)


@pytest.fixture
def shut_out(fakes: Any) -> Any:
    return fakes.refused("GEN_000027", 401)


@pytest.fixture
def deaf(transport: Any, clock: Any, fakes: Any, vm: Any) -> Any:
    """STAND-IN for a VM whose guest does not listen. Its state is up to the test until it is killed."""

    class Deaf:
        def __init__(self) -> None:
            self.state: Any = lambda _since: "RUNNING"  # by the seconds since the beginning
            self.answer: Any = lambda _since: fakes.job(state="RUNNING")  # to the request to stop
            self.times: dict[str, list[int]] = {"stop": [], "abort": [], "kill": []}  # whole seconds
            begun = clock.now

            def write(action: str, answer: Any) -> Any:
                def done(_call: Any) -> Any:
                    self.times[action].append(round(clock.now - begun))
                    return answer(clock.now - begun)

                return done

            transport.on("GET", "/Vm/v1", lambda _call: vm("STOPPED" if self.killed else self.state(clock.now - begun)))
            transport.on("GET", "/Job/.*", lambda _call: self.job())
            transport.on("PUT", "/Vm/v1/stop", write("stop", self.stop))
            transport.on("PUT", "/Job/.*/abort", write("abort", lambda _since: self.job()))
            transport.on("PUT", "/Vm/v1/kill", write("kill", lambda _since: fakes.job()))

        @property
        def killed(self) -> bool:
            return bool(self.times["kill"])

        def stop(self, since: float) -> Any:
            return self.answer(since)

        def job(self) -> Any:
            return fakes.failed("", "ABORT") if self.times["abort"] else fakes.job(state="RUNNING")

    return Deaf()


def starts(transport: Any) -> int:
    return transport.log.count("PUT /Vm/v1/start")


@pytest.mark.parametrize("trouble", ["page", "busy", "crowded", "shut_out"])
def test_a_refused_start_is_repeated(
    client: Any, transport: Any, clock: Any, fakes: Any, vm: Any, trouble: str, request: pytest.FixtureRequest
) -> None:
    """Longer than an ordinary write would wait for a busy object, and more often than a failed start is repeated."""
    refusal = request.getfixturevalue(trouble)
    transport.on("GET", "/Vm/v1", *[vm("STOPPED")] * 101, vm("RUNNING"))
    transport.on("PUT", "/Vm/v1/start", *[refusal] * 100, fakes.job())
    change = start_vm(client, "v1", timeout=600.0)
    assert (change.before, change.after, change.changed, change.duration) == ("STOPPED", "RUNNING", True, 200.0)
    assert starts(transport) == 101


@pytest.mark.parametrize("trouble", ["page", "busy"])
def test_a_start_is_refused_until_the_deadline(
    client: Any, transport: Any, clock: Any, vm: Any, trouble: str, request: pytest.FixtureRequest
) -> None:
    begun = clock.now
    transport.on("GET", "/Vm/v1", vm("STOPPED"))
    transport.on("PUT", "/Vm/v1/start", request.getfixturevalue(trouble))
    kind = {"page": errors.ManagerResponseError, "busy": errors.ConflictError}[trouble]
    with pytest.raises(kind) as caught:
        start_vm(client, "v1", timeout=300.0)
    assert (caught.value.details["status"], clock.now - begun) == (500, 300.0)


def test_error_pages_instead_of_the_state(client: Any, transport: Any, fakes: Any, vm: Any, page: Any) -> None:
    transport.on("GET", "/Vm/v1", page, vm("STOPPED"), page, page, vm("STARTING"), vm("RUNNING"))
    transport.on("GET", "/Job/.*", page)  # a wait for a job survives a few of them
    transport.on("PUT", "/Vm/v1/start", fakes.job(state="RUNNING"))
    change = start_vm(client, "v1", timeout=600.0)
    assert (change.before, change.after, starts(transport)) == ("STOPPED", "RUNNING", 1)


def test_failed_starts_are_still_counted(
    client: Any, transport: Any, fakes: Any, vm: Any, page: Any, busy: Any
) -> None:
    transport.on("GET", "/Vm/v1", vm("STOPPED"))
    broken = fakes.failed("OVMAPI_4010E no contact", "SERVER")
    transport.on("PUT", "/Vm/v1/start", page, broken, busy, broken, page, broken)
    with pytest.raises(errors.PowerStateError, match="could not be started and is STOPPED: .*OVMAPI_4010E"):
        start_vm(client, "v1", timeout=600.0)
    assert starts(transport) == 6


def test_a_refusal_for_good_is_told_at_once(client: Any, transport: Any, clock: Any, fakes: Any, vm: Any) -> None:
    transport.on("GET", "/Vm/v1", vm("STOPPED"))
    transport.on("PUT", "/Vm/v1/start", fakes.refused("GEN_000015", 400))
    with pytest.raises(errors.ManagerResponseError):
        start_vm(client, "v1", timeout=600.0)
    assert clock.slept == []


def test_guest_has_its_whole_time_from_when_it_is_asked(client: Any, deaf: Any, fakes: Any, busy: Any) -> None:
    """Another job holds the VM for almost as long as the guest has: that is not the guest's fault."""
    deaf.answer = lambda since: busy if since < 50.0 else fakes.job(state="RUNNING")
    assert stop_vm(client, "v1", timeout=60.0, kill=True).killed
    assert deaf.times["kill"][0] - deaf.times["stop"][-1] >= 60.0


def test_guest_that_is_asked_too_late_is_not_killed(client: Any, deaf: Any, fakes: Any, busy: Any) -> None:
    """Its whole time would end when nothing may be powered off any more: then the request is withdrawn."""
    deaf.answer = lambda since: busy if since < 50.0 else fakes.job(state="RUNNING")
    with pytest.raises(errors.PowerStateError, match="withdrawn; it was not powered off by force, for which"):
        stop_vm(client, "v1", timeout=60.0, kill=True, kill_within=100.0)
    assert (deaf.times["abort"], deaf.killed) == ([100], False)


def test_guest_that_was_asked_in_time_is_killed_in_time(client: Any, deaf: Any) -> None:
    assert stop_vm(client, "v1", timeout=60.0, kill=True, kill_within=61.0).killed
    assert deaf.times == {"stop": [0], "abort": [60], "kill": [60]}


def test_kill_is_not_waited_for_longer_than_it_is_allowed(client: Any, transport: Any, deaf: Any, busy: Any) -> None:
    transport.on("PUT", "/Vm/v1/kill", busy)
    with pytest.raises(errors.ConflictError):
        stop_vm(client, "v1", timeout=60.0, kill=True, kill_within=70.0)
    assert client.clock() == 1070.0


@pytest.mark.parametrize("kill", [False, True])
def test_vm_that_is_too_busy_to_be_asked_was_not_asked(client: Any, deaf: Any, busy: Any, kill: bool) -> None:
    deaf.answer = lambda _since: busy
    with pytest.raises(errors.PowerStateError, match="was not shut down and is RUNNING: .* is busy") as caught:
        stop_vm(client, "v1", timeout=60.0, kill=kill)
    assert (caught.value.details["asked"], deaf.killed) == (False, False)


def test_guest_is_asked_when_somebody_else_has_withdrawn_his_request(client: Any, deaf: Any) -> None:
    deaf.state = lambda since: "STOPPING" if since < 20.0 else "RUNNING"
    change = stop_vm(client, "v1", timeout=60.0, kill=True)
    assert (change.before, change.after, change.killed) == ("STOPPING", "STOPPED", True)
    assert deaf.times == {"stop": [20], "abort": [80], "kill": [80]}


def test_withdrawn_request_of_somebody_else_is_followed_by_an_orderly_stop(client: Any, deaf: Any, fakes: Any) -> None:
    deaf.state = lambda since: "STOPPED" if deaf.times["stop"] else "STOPPING" if since < 20.0 else "RUNNING"
    deaf.answer = lambda _since: fakes.job()
    change = stop_vm(client, "v1", timeout=60.0, kill=True)
    assert (change.after, change.changed, change.killed, change.duration) == ("STOPPED", True, False, 20.0)


@pytest.mark.parametrize("before", ["STARTING", "STOPPING"])
def test_guest_that_there_was_no_time_to_ask_is_not_killed(client: Any, deaf: Any, before: str) -> None:
    deaf.state = lambda since: before if since < 60.0 else "RUNNING"
    with pytest.raises(errors.PowerStateError, match=f"is RUNNING. It was {before} all that time and") as caught:
        stop_vm(client, "v1", timeout=60.0, kill=True)
    assert (caught.value.details["asked"], deaf.times) == (False, {"stop": [], "abort": [], "kill": []})


def test_guest_that_does_not_obey_somebody_else_is_killed(client: Any, deaf: Any) -> None:
    deaf.state = lambda _since: "STOPPING"
    assert stop_vm(client, "v1", timeout=60.0, kill=True).killed
    assert deaf.times == {"stop": [], "abort": [], "kill": [60]}


def test_refused_request_is_no_reason_to_kill(client: Any, deaf: Any, fakes: Any) -> None:
    deaf.answer = lambda _since: fakes.refused("OVMRU_005002E", 500)
    with pytest.raises(errors.PowerStateError, match="was not shut down and is RUNNING: .*OVMRU_005002E") as caught:
        stop_vm(client, "v1", timeout=60.0, kill=True)
    assert (caught.value.details["asked"], deaf.killed, deaf.times["stop"]) == (False, False, [0])


@pytest.mark.parametrize(("timeout", "asked"), [(600.0, [0, 15, 45]), (8.0, [0, 4, 6])])
def test_guest_is_asked_again_until_its_server_answers(
    client: Any, deaf: Any, fakes: Any, timeout: float, asked: list[int]
) -> None:
    told = asked[-1]
    deaf.state = lambda since: "STOPPED" if since >= told and len(deaf.times["stop"]) == 3 else "RUNNING"
    deaf.answer = lambda since: fakes.job() if since >= told else fakes.failed("OVMAPI_4010E no contact", "SERVER")
    change = stop_vm(client, "v1", timeout=timeout, kill=False)
    assert (change.after, change.killed, deaf.times["stop"]) == ("STOPPED", False, asked)


def test_guest_whose_server_never_answers_is_killed_at_last(client: Any, deaf: Any, fakes: Any) -> None:
    deaf.answer = lambda _since: fakes.failed("OVMAPI_4010E no contact", "SERVER")
    assert stop_vm(client, "v1", timeout=60.0, kill=True).killed
    assert deaf.times == {"stop": [0, 15, 45], "abort": [], "kill": [105]}
