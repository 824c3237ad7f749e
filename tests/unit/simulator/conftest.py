# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Simulators of the tests: their time moves only when a test pushes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from simulator.testing import Simulator, running


@pytest.fixture(scope="session")
def images_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


@pytest.fixture
def simulator(images_cache: Path) -> Iterator[Simulator]:
    """A fresh one with the minimal estate; jobs take 1 s of its own time."""
    with running("minimal", speed=0, job_seconds=1, images_cache=images_cache) as started:
        yield started


@pytest.fixture(scope="module")
def sample(images_cache: Path) -> Iterator[Simulator]:
    """One with the sample estate, shared by the tests of a module."""
    with running("sample", speed=0, job_seconds=1, images_cache=images_cache) as started:
        yield started


class Client:
    """A bare client: paths below the base URI, whole job waits."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.session: requests.Session = simulator.session()

    def get(self, path: str) -> Any:
        response = self.session.get(self.simulator.url + path)
        assert response.status_code == 200, response.text
        return response.json()

    def send(self, method: str, path: str, body: Any = None) -> requests.Response:
        return self.session.request(method, self.simulator.url + path, json=body)

    def submit(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """A write that must be accepted: its job, not waited for."""
        response = self.send(method, path, body)
        assert response.status_code == 201, response.text
        return dict(response.json())

    def run(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """A write with its finished job, which may have failed."""
        return self.simulator.finish(self.session, self.submit(method, path, body))

    def done(self, method: str, path: str, body: Any = None) -> str | None:
        """A write that must succeed: the id of what it made."""
        job = self.run(method, path, body)
        assert (job["jobRunState"], job["error"]) == ("SUCCESS", {"message": None, "type": None})
        return job["resultId"]["value"] if job["resultId"] else None

    def failed(self, method: str, path: str, body: Any = None) -> tuple[str, str]:
        """A write whose job must fail: its error's type and message."""
        job = self.run(method, path, body)
        assert (job["jobRunState"], job["resultId"]) == ("FAILURE", None)
        return job["error"]["type"], job["error"]["message"]

    def refused(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """A request that must be refused: status and error code."""
        response = self.send(method, path, body)
        error = response.json()
        assert list(error) == ["cause", "errorCode", "message", "wsErrorCode"], error
        return response.status_code, error["errorCode"]

    def id(self, type_: str, name: str) -> str:
        return str(self.simulator.find(type_, name)["id"]["value"])

    def ref(self, type_: str, name: str) -> dict[str, str]:
        return {"type": f"com.oracle.ovm.mgr.ws.model.{type_}", "value": self.id(type_, name)}


@pytest.fixture
def client(simulator: Simulator) -> Client:
    return Client(simulator)


@pytest.fixture(scope="module")
def sample_client(sample: Simulator) -> Client:
    return Client(sample)


@pytest.fixture
def clone(client: Client) -> Callable[..., dict[str, Any]]:
    """Clone a VM by name: the finished job."""

    def run(name: str, **query: str) -> dict[str, Any]:
        parameters = {"serverPoolId": client.id("ServerPool", "pool1"), **query}
        text = "&".join(f"{key}={value}" for key, value in parameters.items())
        return client.run("PUT", f"/Vm/{client.id('Vm', name)}/clone?{text}")

    return run
