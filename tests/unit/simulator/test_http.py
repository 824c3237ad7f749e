# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Transport, authentication, faults, the control interface."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import requests

from simulator.testing import Simulator, SimulatorError, running


def test_wrong_or_no_credentials(simulator: Simulator) -> None:
    session = simulator.session(basic=False)
    response = session.get(simulator.url + "/Vm")
    assert (response.status_code, response.json()["errorCode"]) == (401, "AUTH_000003")
    response = session.get(simulator.url + "/Vm", auth=(simulator.user, "wrong"))
    assert (response.status_code, response.json()["errorCode"]) == (401, "AUTH_000005")
    assert session.get(simulator.url + "/Vm", auth=(simulator.user, simulator.password)).status_code == 200
    assert session.get(simulator.url + "/Vm").status_code == 200  # the cookie is enough now


def test_sessions_expire_and_are_capped(simulator: Simulator) -> None:
    session = simulator.session()
    assert session.get(simulator.url + "/Manager").status_code == 200
    simulator.advance(1799)
    assert session.get(simulator.url + "/Manager").status_code == 200
    simulator.advance(1801)
    assert session.get(simulator.url + "/Manager").status_code == 401
    simulator.set_switch("basic_beats_expired_cookie", True)
    assert session.get(simulator.url + "/Manager").status_code == 200
    simulator.set_switch("session_cap", 1)
    response = simulator.session().get(simulator.url + "/Manager")
    assert (response.status_code, response.json()["errorCode"]) == (500, "GEN_000025")


def test_the_certificate_is_checkable(simulator: Simulator) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(simulator.url + "/Vm", timeout=5)


def test_without_json_in_accept_the_answer_is_xml(simulator: Simulator) -> None:
    session = simulator.session()
    response = session.get(simulator.url + "/Manager", headers={"Accept": "*/*"})
    assert response.headers["Content-Type"] == "application/xml"
    assert "<managerRunState>RUNNING</managerRunState>" in response.text
    path = f"{simulator.url}/Vm/{simulator.find('Vm', 'db01')['id']['value']}"
    response = session.put(path, data="<vm/>", headers={"Content-Type": "application/xml"})
    assert response.status_code == 415


def test_a_read_only_manager_refuses_and_counts_writes(simulator: Simulator) -> None:
    session = simulator.session()
    vm = simulator.find("Vm", "db01")
    simulator.read_only()
    path = f"{simulator.url}/Vm/{vm['id']['value']}"
    refused = [session.put(path + "/stop"), session.delete(path), session.post(simulator.url + "/Vm", json={})]
    assert [(item.status_code, item.json()["errorCode"]) for item in refused] == [(403, "AUTH_000006")] * 3
    assert session.get(path).json() == vm
    assert session.post(simulator.url + "/login").status_code == 200
    assert simulator.state()["calls"] == {"requests": 5, "writing": 3, "wrote": 0, "refused": 3}
    simulator.read_only(False)
    assert session.put(path + "/stop").status_code == 201
    assert simulator.state()["calls"]["wrote"] == 1


def test_the_call_log(simulator: Simulator) -> None:
    session = simulator.session()
    simulator.clear_calls()
    session.get(simulator.url + "/Vm/0004fb0000060000deadbeefdeadbeef?x=1")
    session.put(simulator.url + f"/Vm/{simulator.find('Vm', 'db01')['id']['value']}/stop")
    first, second = simulator.calls()
    assert (first["method"], first["path"], first["query"], first["status"], first["writing"], first["error_code"]) == (
        "GET",
        "/Vm/0004fb0000060000deadbeefdeadbeef",
        "x=1",
        404,
        False,
        "GEN_000002",
    )
    assert (second["method"], second["status"], second["writing"], second["wrote"]) == ("PUT", 201, True, True)
    assert simulator.calls(writing=True) == [second]
    simulator.clear_calls()
    assert simulator.calls() == []


def test_faults_in_answers(simulator: Simulator) -> None:
    session = simulator.session()
    path = f"/Vm/{simulator.find('Vm', 'db01')['id']['value']}"

    def get() -> requests.Response:
        return session.get(simulator.url + path)

    simulator.fault("html_500", path="/Vm/*", times=2)
    assert [get().status_code for _unused in range(3)] == [500, 500, 200]
    simulator.fault("html_500", method="PUT")
    assert get().status_code == 200
    response = session.put(simulator.url + path + "/stop")
    assert (response.status_code, response.headers["Content-Type"]) == (500, "text/html; charset=utf-8")
    simulator.fault("reset", skip=1)
    assert get().status_code == 200
    with pytest.raises(requests.exceptions.ConnectionError):
        get()
    simulator.fault("truncate")
    with pytest.raises(requests.exceptions.RequestException):
        get()
    simulator.fault("not_json")
    with pytest.raises(requests.exceptions.JSONDecodeError):
        get().json()
    simulator.fault("error", status=418, code="GEN_000015", message="teapot")
    assert (get().status_code, simulator.calls()[-1]["error_code"]) == (418, "GEN_000015")
    simulator.fault("delay", seconds=0.01)
    assert get().status_code == 200
    simulator.fault("unauthorized")
    assert [get().status_code for _unused in range(2)] == [401, 401]  # the session is dead, Basic does not help
    session.cookies.clear()
    assert get().status_code == 200


def test_faults_of_locks_and_generations(simulator: Simulator) -> None:
    session = simulator.session()
    path = f"/Vm/{simulator.find('Vm', 'db01')['id']['value']}"
    simulator.fault("locked", method="PUT", path="/Vm/*/stop")
    response = session.put(simulator.url + path + "/stop")
    assert (response.status_code, response.json()["message"]) == (
        409,
        "GEN_000029:Object db01 of type Vm could not be modified as it was locked when it was fetched.",
    )
    simulator.fault("stale_generation", method="PUT")
    assert session.put(simulator.url + path + "/stop").json()["errorCode"] == "GEN_000011"
    assert simulator.state()["calls"]["wrote"] == 0


def test_an_answer_can_be_lost_after_the_write(simulator: Simulator) -> None:
    session = simulator.session()
    vm = simulator.find("Vm", "db01")
    pool = simulator.find("ServerPool", "pool1")["id"]["value"]
    simulator.fault("reset", method="PUT", path="/Vm/*/clone", when="after")
    with pytest.raises(requests.exceptions.ConnectionError):
        session.put(f"{simulator.url}/Vm/{vm['id']['value']}/clone?serverPoolId={pool}")
    simulator.advance(10)
    assert [item["name"] for item in session.get(simulator.url + "/Vm").json()] == [
        "db01",
        "app 01",
        "files01",
        "db01.0",
    ]


def test_faults_in_jobs(client: Any) -> None:
    simulator = client.simulator
    pool = client.id("ServerPool", "pool1")
    path = f"/Vm/{client.id('Vm', 'db01')}/clone?serverPoolId={pool}"
    simulator.job_fault("vm.clone", error_type="INTERNAL", message="boom")
    assert client.failed("PUT", path) == ("INTERNAL", "boom")
    assert len(client.get("/Vm")) == 3
    simulator.job_fault("vm.clone", message="boom", leftovers="disks")
    assert client.failed("PUT", path) == ("SERVER", "boom")
    assert (len(client.get("/Vm")), len(client.get("/VirtualDisk"))) == (3, 7)
    simulator.job_fault("vm.*", leftovers=True)
    client.failed("PUT", path)
    assert (len(client.get("/Vm")), len(client.get("/VirtualDisk"))) == (4, 9)
    simulator.job_fault("*", name="* app 01", message="boom")
    assert client.run("PUT", path)["jobRunState"] == "SUCCESS"
    assert client.failed("PUT", f"/Vm/{client.id('Vm', 'app 01')}/stop") == ("SERVER", "boom")
    simulator.job_fault("vm.stop", never_ends=True)
    job = client.submit("PUT", f"/Vm/{client.id('Vm', 'db01')}/stop")
    simulator.advance(1000)
    assert client.get(f"/Job/{job['id']['value']}")["summaryDone"] is False


def test_the_control_interface_says_what_is_wrong(simulator: Simulator) -> None:
    with pytest.raises(SimulatorError, match="no fault 'magic'"):
        simulator.fault("magic")
    with pytest.raises(SimulatorError, match="unexpected keyword argument 'colour'"):
        simulator.fault("reset", colour="red")
    with pytest.raises(SimulatorError, match="no switch named 'magic'"):
        simulator.set_switch("magic", 1)
    with pytest.raises(SimulatorError, match="'maybe' is not one of job, http"):
        simulator.set_switch("rule_violations", "maybe")
    with pytest.raises(SimulatorError, match="0 objects of type Vm with id or name 'nobody'"):
        simulator.set_state("nobody", "RUNNING")
    with pytest.raises(SimulatorError, match="there is no GET /nothing"):
        simulator._request("GET", "nothing")


def test_things_that_happen_behind_the_clients_back(simulator: Simulator) -> None:
    session = simulator.session()
    simulator.delete_vm("app 01", disks=True)
    assert [vm["name"] for vm in session.get(simulator.url + "/Vm").json()] == ["db01", "files01"]
    assert not any(disk["name"] == "app01-sys" for disk in session.get(simulator.url + "/VirtualDisk").json())
    simulator.rename_vm("files01", None)
    nameless = session.get(simulator.url + "/Vm").json()[1]
    assert (nameless["name"], nameless["id"]["name"]) == ("", None)
    assert simulator.running_vms() == {"db01"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_leaves_nothing_behind(images_cache: Path, number: signal.Signals) -> None:
    with running("minimal", images_cache=images_cache) as simulator:
        assert set(simulator.ready) == {"url", "user", "password", "ca", "repositories", "control", "state_dir"}
        assert simulator.url.startswith("https://127.0.0.1:")
        simulator.process.send_signal(number)
        assert simulator.process.wait(10) == 0
        assert simulator.process.stdout is not None
        assert simulator.process.stdout.read() == ""
        assert not simulator.state_dir.exists()


def test_a_given_state_directory_is_kept(images_cache: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with running("minimal", images_cache=images_cache, state_dir=state) as simulator:
        assert simulator.repositories == state / "OVS" / "Repositories"
    assert len(list(state.glob("OVS/Repositories/*/VirtualDisks/*.img"))) == 4
    with pytest.raises(SimulatorError, match="exit code 2"), running("minimal", state_dir=state):
        pass


@pytest.mark.parametrize(
    "options", [{"estate": "nonesuch"}, {"switch": ["magic=1"]}, {"switch": ["version"]}, {"port": "http"}]
)
def test_wrong_arguments(options: dict[str, Any]) -> None:
    with pytest.raises(SimulatorError, match="exit code 2"), running(**options):
        pass
