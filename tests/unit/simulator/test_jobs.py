# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs, locks, generations, errors (ovm-rest-api 4, 5)."""

from __future__ import annotations

from typing import Any


def clone_path(client: Any, name: str) -> str:
    return f"/Vm/{client.id('Vm', name)}/clone?serverPoolId={client.id('ServerPool', 'pool1')}"


def test_a_job_goes_through_its_states_with_children(client: Any) -> None:
    job = client.submit("PUT", clone_path(client, "db01"))
    path = f"/Job/{job['id']['value']}"
    assert (job["jobRunState"], job["done"], job["summaryDone"], job["resultId"]) == ("CREATED", False, False, None)
    assert job["error"] == {"message": None, "type": None}
    assert job["id"]["value"] == str(job["startTime"])
    client.simulator.advance(0.2)
    assert client.get(path)["jobRunState"] == "RUNNING"
    client.simulator.advance(0.401)
    running = client.get(path)
    assert (running["jobRunState"], running["done"], len(running["childJobIds"])) == ("CHILD_RUNNING", False, 1)
    child = client.get(f"/Job/{running['childJobIds'][0]['value']}")
    assert (child["name"], child["jobRunState"]) == ("Clone virtual disk: db01-sys", "RUNNING")
    assert child["parentJobId"]["value"] == job["id"]["value"]
    assert [item["id"]["value"] for item in client.get("/Job/active")] == [job["id"]["value"]]
    client.simulator.advance(5)
    ended = client.get(path)
    assert (ended["jobRunState"], ended["done"], ended["summaryDone"]) == ("SUCCESS", True, True)
    assert (ended["userData"], ended["resourceGroupIds"], ended["user"]) == (None, None, "admin")
    assert ended["endTime"] - ended["startTime"] == 1110  # created 100, two halves of a second, two gaps of 5
    assert client.get("/Job/active") == []
    text = client.session.get(client.simulator.url + path + "/transcript").text
    assert text.splitlines()[0] == f"Job {job['id']['value']}: Clone Vm: db01"


def test_jobs_by_time(client: Any) -> None:
    first = client.run("PUT", f"/Vm/{client.id('Vm', 'db01')}/stop")
    second = client.run("PUT", f"/Vm/{client.id('Vm', 'db01')}/start")
    identifiers = [item["value"] for item in client.get(f"/Job/id?startTime={first['endTime']}")]
    assert identifiers == [second["id"]["value"]]
    assert [i["value"] for i in client.get(f"/Job/id?endTime={first['endTime']}")] == [first["id"]["value"]]
    assert len(client.get("/Job/id?maxJobs=1")) == 1
    assert client.refused("GET", "/Job/id?maxJobs=x") == (400, "JOB_000001")
    assert client.refused("DELETE", f"/Job/{first['id']['value']}") == (400, "JOB_000002")
    assert client.refused("PUT", f"/Job/{first['id']['value']}", {"name": "x"}) == (400, "JOB_000002")


def test_a_locked_object_refuses_writes(client: Any) -> None:
    client.submit("PUT", clone_path(client, "db01"))
    vm = client.simulator.find("Vm", "db01")
    assert vm["locked"] is True
    response = client.send("PUT", f"/Vm/{vm['id']['value']}", {**vm, "name": "x"})
    assert response.status_code == 409
    text = "GEN_000029:Object db01 of type Vm could not be modified as it was locked when it was fetched."
    assert response.json()["message"] == text
    assert response.json()["wsErrorCode"] == "GENERAL_OBJECT_LOCKED"
    assert client.refused("POST", f"/Vm/{vm['id']['value']}/VmCloneDefinition", {"name": "d"}) == (409, "GEN_000029")
    client.simulator.advance(10)
    assert client.simulator.find("Vm", "db01")["locked"] is False
    assert client.simulator.find("VirtualDisk", "db01-sys")["locked"] is False


def test_clones_in_one_repository_run_one_after_another(client: Any) -> None:
    first = client.submit("PUT", clone_path(client, "db01"))
    second = client.submit("PUT", clone_path(client, "app 01"))
    other = client.submit("PUT", clone_path(client, "files01"))  # in another repository
    client.simulator.advance(0.5)
    states = [client.get(f"/Job/{job['id']['value']}")["jobRunState"] for job in (first, second, other)]
    assert states == ["RUNNING", "CREATED", "RUNNING"]
    client.simulator.advance(0.8)
    states = [client.get(f"/Job/{job['id']['value']}")["jobRunState"] for job in (first, second, other)]
    assert states == ["SUCCESS", "RUNNING", "SUCCESS"]
    client.simulator.advance(2)
    assert client.get(f"/Job/{second['id']['value']}")["jobRunState"] == "SUCCESS"


def test_parallel_clones_by_a_switch(client: Any) -> None:
    client.simulator.set_switch("serial_repositories", False)
    jobs = [client.submit("PUT", clone_path(client, name)) for name in ("db01", "app 01")]
    client.simulator.advance(0.5)
    assert [client.get(f"/Job/{job['id']['value']}")["jobRunState"] for job in jobs] == ["RUNNING", "RUNNING"]


def test_waiting_too_long_for_a_lock(client: Any) -> None:
    client.simulator.set_switch("queue_lock_seconds", 60)
    client.simulator.job_fault("vm.clone", never_ends=True)
    client.submit("PUT", clone_path(client, "db01"))
    second = client.submit("PUT", clone_path(client, "app 01"))
    client.simulator.advance(59)
    assert client.get(f"/Job/{second['id']['value']}")["jobRunState"] == "CREATED"
    client.simulator.advance(2)
    ended = client.get(f"/Job/{second['id']['value']}")
    assert (ended["jobRunState"], ended["error"]["type"]) == ("FAILURE", "LOCK")


def test_modify_checks_ids_and_generation(client: Any) -> None:
    vm = client.simulator.find("Vm", "files01")
    path = f"/Vm/{vm['id']['value']}"
    client.done("PUT", path, {**vm, "name": "files02", "description": "neu: Größe"})
    changed = client.get(path)
    assert (changed["name"], changed["description"], changed["id"]["name"]) == ("files02", "neu: Größe", "files02")
    assert changed["generation"] == vm["generation"] + 1
    assert client.refused("PUT", path, vm) == (409, "GEN_000011")
    other = client.simulator.find("Vm", "db01")
    assert client.refused("PUT", path, {**changed, "id": other["id"]}) == (400, "GEN_000006")
    assert client.refused("PUT", path, {**changed, "osType": "BeOS"}) == (400, "VM_000004")
    assert client.refused("PUT", path, {**changed, "name": 5}) == (400, "GEN_000023")
    assert client.refused("PUT", path) == (400, "GEN_000001")
    client.simulator.touch("Vm", vm["id"]["value"])
    assert client.refused("PUT", path, changed) == (409, "GEN_000011")


def test_some_changes_need_a_stopped_vm(client: Any) -> None:
    vm = client.simulator.find("Vm", "db01")
    kind, message = client.failed("PUT", f"/Vm/{vm['id']['value']}", {**vm, "cpuCountLimit": 8})
    assert kind == "RULE"
    assert "OVMRU_005002E" in message
    client.simulator.set_state("db01", "STOPPED")
    fresh = client.get(f"/Vm/{vm['id']['value']}")
    client.done("PUT", f"/Vm/{vm['id']['value']}", {**fresh, "cpuCountLimit": 8})
    assert client.simulator.find("Vm", "db01")["cpuCountLimit"] == 8


def test_uris_that_do_not_exist(client: Any) -> None:
    assert client.refused("GET", "/Nonesuch") == (404, "GEN_000003")
    assert client.refused("GET", "") == (404, "GEN_000003")
    assert client.refused("GET", "/Vm/0004fb0000060000deadbeefdeadbeef") == (404, "GEN_000002")
    assert client.refused("PUT", f"/Vm/{client.id('Vm', 'db01')}/fly") == (404, "GEN_000003")
    assert client.refused("GET", f"/Vm/{client.id('Vm', 'db01')}/Network") == (404, "GEN_000003")
    assert client.refused("POST", "/Server", {}) == (404, "GEN_000003")
    assert client.refused("POST", "/Vm", {"id": {"type": "Vm", "value": "x"}, "name": "y"}) == (400, "GEN_000004")


def test_a_failed_job_makes_an_event(client: Any) -> None:
    client.failed("DELETE", f"/Vm/{client.id('Vm', 'db01')}")
    event = client.get("/Event")[0]
    assert (event["eventSeverity"], event["summary"]) == ("WARNING", "Delete Vm: db01 failed")
    assert event["associatedObjectId"]["name"] == "db01"


def test_finished_jobs_are_forgotten_in_time(client: Any) -> None:
    client.simulator.set_switch("job_retention", 2)
    for _unused in range(2):
        client.done("PUT", f"/Vm/{client.id('Vm', 'db01')}/stop")
        client.done("PUT", f"/Vm/{client.id('Vm', 'db01')}/start")
    assert len(client.get("/Job")) == 2
