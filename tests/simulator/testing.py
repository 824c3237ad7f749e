# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""For tests of others: start a simulator as a process of its own and steer it.

with running("minimal", job_seconds=0.02) as simulator:
    session = simulator.session()
    session.get(simulator.url + "/Vm")
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests


class SimulatorError(RuntimeError):
    """The simulator did not start, or refused a control request."""


class Simulator:
    """A running simulator. ``url``: base URI; ``ca``: path of the CA file; ``repositories``: directory that holds
    the storage repositories, one folder per id."""

    def __init__(self, ready: dict[str, str], process: subprocess.Popen[str]) -> None:
        self.url = ready["url"]
        self.user = ready["user"]
        self.password = ready["password"]
        self.ca = ready["ca"]
        self.repositories = Path(ready["repositories"])
        self.control = ready["control"]
        self.state_dir = Path(ready["state_dir"])
        self.ready = ready
        self.process = process
        self._control_session = requests.Session()
        self._control_session.verify = self.ca
        self._control_session.trust_env = False

    # -- for clients of the API ------------------------------------------------------------------------------

    def session(self, *, basic: bool = True) -> requests.Session:
        """A plain ``requests`` session with JSON headers, the CA and, if asked for, Basic authentication."""
        session = requests.Session()
        session.trust_env = False
        session.verify = self.ca
        session.headers.update({"Accept": "application/json", "Content-Type": "application/json"})
        if basic:
            session.auth = (self.user, self.password)
        return session

    def find(self, type_: str, name: str) -> dict[str, Any]:
        """The one object of a type with that name, as the API shows it (not in the call log afterwards)."""
        found = [item for item in self._get(f"/{type_}") if item["name"] == name]
        if len(found) != 1:
            raise SimulatorError(f"there are {len(found)} objects of type {type_} named {name!r}")
        return dict(found[0])

    def _get(self, path: str) -> Any:
        # HEAD-like peeking of tests must not show up in the log of what the client under test did.
        return self._request("GET", f"peek{path}")

    def finish(self, session: requests.Session, job: dict[str, Any], step: float = 1.0) -> dict[str, Any]:
        """The finished job. Pushes simulated time forward instead of waiting; for simulators with ``speed=0``."""
        for _unused in range(1000):
            if job["summaryDone"]:
                return job
            self.advance(step)
            job = session.get(f"{self.url}/Job/{job['id']['value']}").json()
        raise SimulatorError(f"job {job['name']} does not end")

    # -- control ---------------------------------------------------------------------------------------------

    def _request(self, method: str, path: str, body: Any = None) -> Any:
        response = self._control_session.request(method, f"{self.control}/{path}", json=body, timeout=60)
        document = response.json()
        if response.status_code != 200:
            raise SimulatorError(document.get("error", str(document)))
        return document

    def state(self) -> dict[str, Any]:
        """Time, VM states, unfinished jobs, counts."""
        return dict(self._request("GET", "state"))

    def calls(self, *, writing: bool | None = None) -> list[dict[str, Any]]:
        """The call log; ``writing`` keeps only requests that meant to write, or only the others."""
        entries: list[dict[str, Any]] = self._request("GET", "calls")["calls"]
        return [entry for entry in entries if writing is None or entry["writing"] == writing]

    def clear_calls(self) -> None:
        """Empty the call log."""
        self._request("DELETE", "calls")

    def read_only(self, enabled: bool = True) -> None:
        """Refuse every writing request (403), or stop doing so."""
        self._request("PUT", "read-only", {"enabled": enabled})

    def set_switch(self, name: str, value: Any) -> None:
        """Change a switch."""
        self._request("PUT", "switches", {name: value})

    def fault(self, action: str | None = None, **definition: Any) -> int:
        """A fault in answers: ``fault("locked", method="PUT", path="/Vm/*/clone", times=2)``; see README.md."""
        return int(self._request("POST", "faults", {**({"action": action} if action else {}), **definition})["id"])

    def job_fault(self, job: str, **definition: Any) -> int:
        """A fault in jobs: ``job_fault("vm.clone", error_type="SERVER", message="...", leftovers=True)``."""
        return self.fault(job=job, **definition)

    def clear_faults(self) -> None:
        """No faults any more."""
        self._request("DELETE", "faults")

    def expire_sessions(self) -> None:
        """Every cookie given out is dead."""
        self._request("DELETE", "sessions")

    def advance(self, seconds: float) -> None:
        """Push simulated time forward."""
        self._request("POST", "clock", {"advance": seconds})

    def wait_for_jobs(self) -> None:
        """Let the time pass that the jobs need which nobody waits for; one that never ends stays."""
        for _step in range(100):
            if not self.state()["jobs"]:
                return
            self.advance(0.1)

    def set_state(self, vm: str, state: str) -> None:
        """Run state of a VM, by id or unique name."""
        self._request("PUT", f"vms/{quote(vm, safe='')}", {"state": state})

    def ignore_shutdown(self, vm: str, enabled: bool = True) -> None:
        """The guest ignores orderly shutdown: its stop job does not end."""
        self._request("PUT", f"vms/{quote(vm, safe='')}", {"ignore_shutdown": enabled})

    def rename_vm(self, vm: str, name: str | None) -> None:
        """Rename a VM behind the client's back."""
        self._request("PUT", f"vms/{quote(vm, safe='')}", {"name": name})

    def delete_vm(self, vm: str, *, disks: bool = False) -> None:
        """Delete a VM behind the client's back, with its disks if asked for."""
        self._request("DELETE", f"vms/{quote(vm, safe='')}", {"disks": disks})

    def set_server(self, server: str, *, state: str) -> None:
        """Run state of a server, e.g. STOPPED."""
        self._request("PUT", f"servers/{quote(server, safe='')}", {"state": state})

    def set_full(self, repository: str, full: bool = True) -> None:
        """No space is left in a repository."""
        self._request("PUT", f"repositories/{quote(repository, safe='')}", {"full": full})

    def touch(self, type_: str, which: str) -> None:
        """Count a change of an object, so that what a client fetched is stale."""
        self._request("PUT", f"objects/{type_}/{quote(which, safe='')}", {"touch": 1})

    def running_vms(self) -> set[str]:
        """Names of the VMs that run."""
        return {vm["name"] for vm in self.state()["vms"].values() if vm["state"] == "RUNNING"}


@contextmanager
def running(estate: str = "minimal", **options: Any) -> Iterator[Simulator]:
    """A simulator on a free port for the time of a ``with`` block.

    Options are those of the command line, e.g. ``job_seconds=0.02, images_cache=path, read_only=True,
    switch=["version=3.3"]``. Jobs take 0.02 s unless told otherwise.
    """
    options = {"port": 0, "estate": estate, "job_seconds": 0.02, **options}
    command = [sys.executable, "-m", "simulator"]
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            command.append(flag)
        elif isinstance(value, (list, tuple)):
            command += [word for item in value for word in (flag, str(item))]
        elif value is not None and value is not False:
            command += [flag, str(value)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise SimulatorError(f"the simulator did not start, exit code {process.wait(10)}")
        yield Simulator(json.loads(line), process)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        process.stdout.close()
