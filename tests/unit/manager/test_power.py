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


def test_guest_has_its_whole_time_from_when_it_is_asked(
    client: Any, transport: Any, clock: Any, fakes: Any, vm: Any, busy: Any
) -> None:
    """Another job holds the VM for almost as long as the guest has: that is not the guest's fault."""
    asked: list[float] = []

    def stop(_call: Any) -> Any:
        asked.append(clock.now)
        return busy if clock.now < begun + 50.0 else fakes.job(state="RUNNING")

    aborted: list[float] = []

    def abort(_call: Any) -> Any:
        aborted.append(clock.now)
        return fakes.job(state="RUNNING")

    killed: list[float] = []

    def kill(_call: Any) -> Any:
        killed.append(clock.now)
        return fakes.job()

    begun = clock.now
    transport.on("GET", "/Vm/v1", lambda _call: vm("STOPPED" if killed else "RUNNING"))
    transport.on("GET", "/Job/.*", lambda _call: fakes.failed("", "ABORT") if aborted else fakes.job(state="RUNNING"))
    transport.on("PUT", "/Job/.*/abort", abort)
    transport.on("PUT", "/Vm/v1/stop", stop)
    transport.on("PUT", "/Vm/v1/kill", kill)
    assert stop_vm(client, "v1", timeout=60.0, kill=True).killed
    assert killed[0] - asked[-1] >= 60.0
