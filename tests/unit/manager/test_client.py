# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lists, objects, and writes with their conflicts."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from ansible_collections.ovm.backup.plugins.module_utils import errors
from ansible_collections.ovm.backup.plugins.module_utils.manager.client import connect
from ansible_collections.ovm.backup.plugins.module_utils.manager.session import ConnectionSettings


def test_reading(client: Any, transport: Any) -> None:
    transport.on("GET", "/Vm", [{"id": {"value": "1"}}])
    transport.on("GET", "/Vm/1", {"id": {"value": "1"}})
    transport.on("GET", "/Vm/1/VmDiskMapping", [])
    assert client.list("Vm") == [{"id": {"value": "1"}}]
    assert client.get("Vm", "1") == {"id": {"value": "1"}}
    assert client.children("Vm", "1", "VmDiskMapping") == []


@pytest.mark.parametrize("answer", [{"server": []}, ["x"], "text", 5])
def test_lists_must_be_lists_of_objects(client: Any, transport: Any, answer: Any) -> None:
    transport.on("GET", "/Server", answer if not isinstance(answer, str) else [answer])
    with pytest.raises(errors.ManagerResponseError, match="a list of objects to GET /Server"):
        client.list("Server")


def test_object_must_be_an_object(client: Any, transport: Any) -> None:
    transport.on("GET", "/Vm/1", [])
    with pytest.raises(errors.ManagerResponseError, match="with an object to GET /Vm/1"):
        client.get("Vm", "1")


def test_manager_is_waited_for_until_it_runs(client: Any, transport: Any, clock: Any, fakes: Any) -> None:
    starting = [{**fakes.manager, "managerRunState": "STARTING"}]
    transport.on("GET", "/Manager", starting, starting, [fakes.manager])
    assert client.info()["managerVersion"] == "3.4.2.1384"
    assert clock.slept == [1.0, 1.0]
    assert client.manager_id == "0004fb000001000078b1f88e034c8105"
    assert len(transport.calls) == 3


def test_manager_that_never_runs(client: Any, transport: Any, clock: Any, fakes: Any) -> None:
    transport.on("GET", "/Manager", [{**fakes.manager, "managerRunState": "STOPPING"}])
    with pytest.raises(errors.ManagerUnreachableError, match="is STOPPING, not RUNNING, since 180 s"):
        client.info()
    assert sum(clock.slept) == 180.0


@pytest.mark.parametrize(("answer", "says"), [([], "gave 0 objects"), ([{"managerRunState": "DOZING"}], "'DOZING'")])
def test_strange_managers(client: Any, transport: Any, answer: Any, says: str) -> None:
    transport.on("GET", "/Manager", answer)
    with pytest.raises(errors.ManagerResponseError, match=says):
        client.info()


def test_run_submits_and_waits(client: Any, transport: Any, fakes: Any) -> None:
    done = fakes.job(resultId=fakes.reference("Vm", "v2"))
    transport.on("POST", "/Vm", fakes.job(state="CREATED"))
    transport.on("GET", "/Job/1448899976258", fakes.job(state="RUNNING"), done)
    assert client.run("POST", "Vm", body={"name": "x"}) == done
    assert transport.log == ["POST /Vm", "GET /Job/1448899976258", "GET /Job/1448899976258"]


def test_conflict_at_submission_is_repeated(client: Any, transport: Any, clock: Any, fakes: Any) -> None:
    locked = fakes.refused("GEN_000029", 409)
    transport.on("PUT", "/Vm/1/start", locked, locked, fakes.job())
    client.run("PUT", "Vm", "1", "start")
    assert clock.slept == [1.0, 1.5]


def test_conflict_is_given_up_at_the_limit(client: Any, transport: Any, clock: Any, fakes: Any) -> None:
    transport.on("PUT", "/Vm/1/start", fakes.refused("GEN_000029", 409))
    with pytest.raises(errors.ConflictError, match="GEN_000029"):
        client.run("PUT", "Vm", "1", "start")
    assert sum(clock.slept) == pytest.approx(120.0)


@pytest.mark.parametrize("answer", [None, [], {"id": {"value": "1"}}, {"jobRunState": "RUNNING"}])
def test_write_must_be_answered_by_a_job(client: Any, transport: Any, fakes: Any, answer: Any) -> None:
    transport.on("PUT", "/Vm/1/start", fakes.Answer(200, answer))
    with pytest.raises(errors.ManagerResponseError, match="Whether it was carried out is unknown") as caught:
        client.run("PUT", "Vm", "1", "start")
    assert caught.value.details["outcome"] == "unknown"


@pytest.mark.parametrize("kind", ["LOCK", "OBJECT_OUT_OF_DATE", "OBJECT_DIRTY"])
def test_only_repeatable_writes_are_repeated_after_a_failed_job(
    client: Any, transport: Any, fakes: Any, kind: str
) -> None:
    transport.on("DELETE", "/Vm/1", fakes.failed("busy", kind), fakes.job())
    transport.on("PUT", "/Vm/1/clone", fakes.failed("busy", kind), fakes.job())
    client.run("DELETE", "Vm", "1", repeatable=True)
    with pytest.raises(errors.JobFailedError):
        client.run("PUT", "Vm", "1", "clone")
    assert transport.log == ["DELETE /Vm/1", "DELETE /Vm/1", "PUT /Vm/1/clone"]


def test_other_failures_of_repeatable_writes_are_final(client: Any, transport: Any, fakes: Any) -> None:
    transport.on("DELETE", "/Vm/1", fakes.failed("no", "RULE"))
    with pytest.raises(errors.JobFailedError):
        client.run("DELETE", "Vm", "1", repeatable=True)
    assert len(transport.calls) == 1


def test_modify_sends_the_whole_object(client: Any, transport: Any, fakes: Any) -> None:
    vm = {"id": {"value": "1"}, "name": "app01.0", "generation": 4, "somethingNew": {"a": [1]}, "description": ""}
    transport.on("GET", "/Vm/1", vm)
    transport.on("PUT", "/Vm/1", fakes.job())
    client.modify("Vm", "1", {"name": "new", "description": "ours"})
    assert transport.calls[-1].body == {**vm, "name": "new", "description": "ours"}


def test_modify_reads_again_after_every_conflict(client: Any, transport: Any, fakes: Any) -> None:
    versions = [{"id": {"value": "1"}, "name": "a", "generation": number} for number in range(1, 5)]
    transport.on("GET", "/Vm/1", *versions)
    transport.on(
        "PUT",
        "/Vm/1",
        fakes.refused("GEN_000011", 409),
        fakes.refused("GEN_000029", 409),
        fakes.failed("changed", "OBJECT_OUT_OF_DATE"),
        fakes.job(),
    )
    client.modify("Vm", "1", {"name": "b"})
    assert [call.body["generation"] for call in transport.calls if call.method == "PUT"] == [1, 2, 3, 4]


def test_modify_gives_up(client: Any, transport: Any, clock: Any, fakes: Any) -> None:
    transport.on("GET", "/Vm/1", {"id": {"value": "1"}})
    transport.on("PUT", "/Vm/1", fakes.refused("GEN_000011", 409))
    with pytest.raises(errors.ConflictError):
        client.modify("Vm", "1", {}, conflict_timeout=5.0)
    assert sum(clock.slept) == pytest.approx(5.0)


def test_abort_returns_the_job_however_it_ended(client: Any, transport: Any, fakes: Any) -> None:
    aborted = fakes.failed("Job aborted by user", "ABORT", abortedByUser="admin")
    transport.on("PUT", "/Job/1448899976258/abort", fakes.Answer(200, None))
    transport.on("GET", "/Job/1448899976258", fakes.job(state="RUNNING"), aborted)
    assert client.abort(fakes.job(state="RUNNING")) == aborted
    assert transport.log[0] == "PUT /Job/1448899976258/abort"


def test_abort_of_a_job_that_has_just_ended(client: Any, transport: Any, fakes: Any) -> None:
    transport.on("PUT", "/Job/1448899976258/abort", fakes.refused("GEN_000012", 400))
    transport.on("GET", "/Job/1448899976258", fakes.job())
    assert client.abort(fakes.job(state="RUNNING"))["jobRunState"] == "SUCCESS"


def test_abort_that_does_not_help(client: Any, transport: Any, fakes: Any) -> None:
    transport.on("PUT", "/Job/1448899976258/abort", fakes.Answer(200, None))
    transport.on("GET", "/Job/1448899976258", fakes.job(state="RUNNING"))
    with pytest.raises(errors.JobTimeoutError):
        client.abort(fakes.job(state="RUNNING"), timeout=10.0)


def test_connect_logs_in_and_checks(transport: Any, clock: Any, fakes: Any) -> None:
    transport.on("GET", "/Manager", [fakes.manager])
    settings = ConnectionSettings(**fakes.settings)
    with connect(settings, clock=clock, sleep=clock.sleep, adapter=transport) as client:
        assert client.manager_id == "0004fb000001000078b1f88e034c8105"
    assert transport.log == ["GET /Manager"]


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({}, 0),
        ({"time": 940.0}, 1),
        ({"time": 1001.0}, 1),
        ({"time": None}, 1),
        ({"host": "elsewhere"}, 1),
        ({"url": "https://other.example.com:7002"}, 1),
        ({"id": None}, 1),
    ],
)
def test_a_manager_seen_a_moment_ago_is_not_asked_again(
    transport: Any, clock: Any, fakes: Any, changes: dict[str, Any], asked: int
) -> None:
    transport.on("GET", "/Manager", [fakes.manager])
    options = {"clock": clock, "sleep": clock.sleep, "adapter": transport, "now": lambda: 1000.0}
    settings = ConnectionSettings(**fakes.settings)
    with connect(settings, **options) as client:
        seen = client.seen(now=941.0)
    transport.calls.clear()
    with connect(settings, seen={**seen, **changes}, **options) as client:
        assert len(transport.log) == asked
        assert client.manager_id == "0004fb000001000078b1f88e034c8105"


def test_connect_to_nobody(transport: Any, clock: Any, fakes: Any) -> None:
    transport.on("GET", "/Manager", requests.ConnectTimeout())
    settings = ConnectionSettings(**fakes.settings)
    with (
        pytest.raises(errors.ManagerUnreachableError, match="Cannot reach .*: it did not answer in time"),
        connect(settings, clock=clock, sleep=clock.sleep, adapter=transport),
    ):
        pass
