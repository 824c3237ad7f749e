# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stand-ins for the tests of the manager room: a scripted transport for a manager, a clock that nobody waits for."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPMessage
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter

from ansible_collections.ovm.backup.plugins.module_utils.manager.client import ManagerClient, connect
from ansible_collections.ovm.backup.plugins.module_utils.manager.session import ConnectionSettings, ManagerSession
from simulator.testing import Simulator, running

BASE = "/ovm/core/wsapi/rest"
SETTINGS = {"url": "https://ovmm.example.com:7002", "user": "admin", "password": "geheim-Passw0rd"}


@dataclass(frozen=True)
class Answer:
    """What the stand-in answers; C(body) that is no text is sent as JSON."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """A request as it arrived."""

    method: str
    path: str  # below the base, with the query
    headers: dict[str, str]
    body: Any

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


Step = Answer | Exception | type[BaseException] | Callable[[Call], Any]


class Transport(HTTPAdapter):
    """STAND-IN for the network and the manager: answers as scripted, in order; the last answer of a route stays."""

    def __init__(self) -> None:
        super().__init__()
        self.routes: list[tuple[str, re.Pattern[str], list[Step]]] = []
        self.calls: list[Call] = []
        self.options: list[dict[str, Any]] = []

    def on(self, method: str, path: str, *steps: Any) -> None:
        """Answer a method on a path (a regular expression over the whole path and query); later routes come first."""
        made = [
            step
            if isinstance(step, (Answer, BaseException)) or callable(step) or isinstance(step, type)
            else Answer(200 if method == "GET" else 201, step)
            for step in steps
        ]
        self.routes.insert(0, (method, re.compile(path), made))

    @property
    def log(self) -> list[str]:
        return [str(call) for call in self.calls]

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
        assert request.url is not None and request.method is not None
        path = request.url.split(BASE, 1)[1]
        body = json.loads(request.body) if request.body else None
        call = Call(request.method, path, dict(request.headers), body)
        self.calls.append(call)
        self.options.append(options)
        for method, pattern, steps in self.routes:
            if method == request.method and pattern.fullmatch(path):
                step = steps.pop(0) if len(steps) > 1 else steps[0]
                break
        else:
            raise AssertionError(f"nothing scripted for {call}")
        if callable(step) and not isinstance(step, type):
            step = step(call)
        if isinstance(step, (BaseException, type)):
            raise step
        answer = step if isinstance(step, Answer) else Answer(200 if request.method == "GET" else 201, step)
        return self._response(request, answer)

    def _response(self, request: requests.PreparedRequest, answer: Answer) -> requests.Response:
        headers = {"Content-Type": "application/json", **answer.headers}
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        if answer.body is None:
            text = ""
        message = HTTPMessage()
        for key, value in headers.items():
            message[key] = value
        raw = urllib3.HTTPResponse(
            body=io.BytesIO(text.encode()),
            headers=headers,
            status=answer.status,
            preload_content=False,
            original_response=SimpleNamespace(msg=message, isclosed=lambda: True, close=lambda: None),
        )
        return self.build_response(request, raw)


class Clock:
    """STAND-IN for time: sleeping only moves the hands."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.slept.append(seconds)
        self.now += seconds


def reference(kind: str, value: str, name: str | None = None) -> dict[str, Any]:
    uri = f"https://elsewhere.example.net:7002{BASE}/{kind}/{value}"
    return {"type": f"com.oracle.ovm.mgr.ws.model.{kind}", "value": value, "uri": uri, "name": name}


def job(number: int = 1448899976258, state: str = "SUCCESS", **fields: Any) -> dict[str, Any]:
    """A Job as the manager sends it by id (ovm-rest-api 4.1)."""
    over = state in ("SUCCESS", "FAILURE")
    made = {
        "id": reference("Job", str(number), "Clone Vm: app01"),
        "name": "Clone Vm: app01",
        "description": "",
        "locked": False,
        "generation": 0,
        "userData": None,
        "resourceGroupIds": None,
        "resultId": None,
        "jobRunState": state,
        "jobSummaryState": state,
        "done": over,
        "summaryDone": over,
        "jobGroup": False,
        "error": {"message": None, "type": None},
        "parentJobId": None,
        "childJobIds": [],
        "user": "admin",
        "abortedByUser": None,
    }
    return {**made, **fields}


def failed(message: str, kind: str = "RULE", number: int = 1448899976258, **fields: Any) -> dict[str, Any]:
    return job(number, "FAILURE", error={"message": message, "type": kind}, **fields)


def refused(code: str, status: int = 400, message: str | None = None) -> Answer:
    body = {"cause": None, "errorCode": code, "message": message or f"{code}:said so", "wsErrorCode": "NAME"}
    return Answer(status, body)


MANAGER = {
    "id": reference("Manager", "0004fb000001000078b1f88e034c8105", "OVM Manager"),
    "name": "OVM Manager",
    "managerUuid": "0004fb000001000078b1f88e034c8105",
    "managerVersion": "3.4.2.1384",
    "managerRunState": "RUNNING",
    "managerTime": 1448909471527,
}


@pytest.fixture
def transport() -> Transport:
    return Transport()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def session(transport: Transport, clock: Clock) -> Iterator[ManagerSession]:
    settings = ConnectionSettings(**SETTINGS)
    with ManagerSession(settings, adapter=transport, sleep=clock.sleep, rng=lambda: 0.5) as made:
        yield made


@pytest.fixture
def client(session: ManagerSession, transport: Transport, clock: Clock) -> ManagerClient:
    transport.on("GET", "/Manager", [MANAGER])
    return ManagerClient(session, clock=clock, sleep=clock.sleep, job_timeout=600.0)


@pytest.fixture
def fakes() -> SimpleNamespace:
    """The builders of this file, for the tests (which cannot import it)."""
    return SimpleNamespace(
        Answer=Answer, job=job, failed=failed, refused=refused, reference=reference, manager=MANAGER, settings=SETTINGS
    )


# --- the simulator ---------------------------------------------------------------------------------------------------


class FastClock:
    """Time that runs ahead of the simulator's: a pause of any length takes 20 ms, the hands move by all of it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.02))
        self.now += seconds


@pytest.fixture(scope="session")
def running_simulator() -> Iterator[Simulator]:
    with running(str(Path(__file__).with_name("estate.yml")), job_seconds=0.02) as made:
        yield made


@pytest.fixture
def simulator(running_simulator: Simulator) -> Iterator[Simulator]:
    """The simulator in its first state, and afterwards proof that a test has left nothing of ours."""
    made = running_simulator
    vms = {name: made.find("Vm", name) for name in ("db01", "rac01", "rac02", "files01", "edge $(x)/1", "template1")}
    made.clear_calls()
    yield made
    made.clear_faults()
    made.wait_for_jobs()
    made.read_only(False)
    made._request("DELETE", "switches")
    left = sorted(vm["name"] for vm in made.state()["vms"].values())
    kept = {entry["id"]["value"] for entry in made._get("/VirtualDisk")}
    definitions = [entry["name"] for entry in made._get("/VmCloneDefinition")]
    for vm in vms.values():
        made.ignore_shutdown(vm["id"]["value"], False)
        made.set_state(vm["id"]["value"], vm["vmRunState"])
    assert left == sorted(vms), "VMs left behind"
    assert len(kept) == 10, f"disks left behind: {sorted(kept)}"  # 8 disks, an ISO, the empty drive
    assert definitions == []


@pytest.fixture
def connected(simulator: Simulator) -> Iterator[ManagerClient]:
    clock = FastClock()
    settings = ConnectionSettings(simulator.url, simulator.user, simulator.password, ca_path=simulator.ca)
    with connect(settings, clock=clock, sleep=clock.sleep, job_timeout=600.0) as made:
        simulator.clear_calls()
        yield made


@pytest.fixture
def db01(simulator: Simulator) -> str:
    return str(simulator.find("Vm", "db01")["id"]["value"])
