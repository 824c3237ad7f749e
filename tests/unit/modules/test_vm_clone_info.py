# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module vm_clone_info, and that nothing is taken for a leftover that is not proved to be one."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit.vault.builders import add_disk, describe, make_client, noise, write_image

from ansible_collections.ovm.backup.plugins.module_utils.manager.client import ManagerClient, connect
from ansible_collections.ovm.backup.plugins.module_utils.manager.settings import ConnectionSettings
from ansible_collections.ovm.backup.plugins.module_utils.vault.jobs import JobStore, new_job, new_job_id
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault
from simulator.testing import Simulator

PLAN: dict[str, Any] = {"subclient": "all", "requested_type": "full", "warnings": [], "vms": []}
Clone = Callable[..., dict[str, Any]]


@pytest.fixture
def vault(tmp_path: Any) -> Vault:
    return Vault.create(str(tmp_path / "vault"))


@pytest.fixture
def db01(simulator: Simulator) -> str:
    return str(simulator.find("Vm", "db01")["id"]["value"])


@pytest.fixture
def args(manager: dict[str, Any], vault: Vault) -> dict[str, Any]:
    return {**manager, "vault": vault.path}


@pytest.fixture
def clone(succeed: Any, manager: dict[str, Any], db01: str, simulator: Simulator) -> Iterator[Clone]:
    """Clone db01 for a run; all is removed in the end, as far as it is ours and at rest."""
    runs = []

    def make(run_id: str, **options: Any) -> dict[str, Any]:
        runs.append(run_id)
        made: dict[str, Any] = succeed("vm_clone", {**manager, "vm_id": db01, "run_id": run_id, **options})["clone"]
        simulator.wait_for_jobs()  # its definition goes, and nobody waits for that
        return made

    yield make
    for run_id in runs:
        succeed("vm_clone", {**manager, "vm_id": db01, "run_id": run_id, "state": "absent"})


@pytest.fixture
def copy(manager: dict[str, Any], simulator: Simulator) -> Iterator[Callable[[str, str], str]]:
    """Clone a VM as an administrator does, under a name of his own; the clone inherits the description."""
    made = []

    def by_hand(vm_id: str, name: str) -> str:
        pool = simulator._get("/ServerPool")[0]["id"]["value"]
        settings = {"url": simulator.url, "user": simulator.user, "password": simulator.password}
        with connect(ConnectionSettings(**settings, ca_path=simulator.ca)) as client:
            job = client.run("PUT", "Vm", vm_id, "clone", query={"serverPoolId": pool})
        simulator.rename_vm(job["resultId"]["value"], name)
        made.append(job["resultId"]["value"])
        return made[-1]

    yield by_hand
    for vm_id in made:
        simulator.delete_vm(vm_id, disks=True)


def open_job(vault: Vault, age: float = 60.0) -> str:
    run_id = new_job_id(vault.id, time.time() - age)
    JobStore(vault).start(new_job(run_id, PLAN, now=time.time() - age))
    return run_id


def verdicts(result: dict[str, Any]) -> dict[str, tuple[Any, str]]:
    return {trace["run_id"]: (trace["leftover"], trace["reason"]) for trace in result["traces"]}


def test_nothing(foresee: Any, args: dict[str, Any], manager: dict[str, Any], simulator: Simulator) -> None:
    manager_id = simulator.find("Manager", "OVM Manager")["managerUuid"]
    empty = {"changed": False, "manager_id": manager_id, "traces": [], "restores": [], "summary": []}
    assert foresee("vm_clone_info", args) == empty
    assert foresee("vm_clone_info", manager) == empty


def test_finished_run(foresee: Any, args: dict[str, Any], vault: Vault, clone: Clone, db01: str) -> None:
    run_id = open_job(vault)
    made = clone(run_id)
    assert verdicts(foresee("vm_clone_info", args))[run_id][0] is False
    JobStore(vault).finish(run_id, now=time.time())
    found = foresee("vm_clone_info", args)
    [trace] = found["traces"]
    assert trace == {
        "vm_id": db01,
        "vm_name": "db01",
        "run_id": run_id,
        "clones": [{**made, "state": "STOPPED"}],
        "definitions": [],
        "leftover": True,
        "reason": "the job of the run is finished",
    }
    assert found["summary"] == [
        f"leftover: db01.ovm-backup.{run_id} of VM db01, made by run {run_id}: the job of the run is finished"
    ]


def test_without_a_vault_nothing_is_judged(foresee: Any, manager: dict[str, Any], vault: Vault, clone: Clone) -> None:
    run_id = open_job(vault)
    clone(run_id)
    found = foresee("vm_clone_info", manager)
    assert verdicts(found) == {run_id: (None, None)}
    assert found["summary"] == [f"found: db01.ovm-backup.{run_id} of VM db01, made by run {run_id}"]


def test_living_run(foresee: Any, args: dict[str, Any], vault: Vault, clone: Clone) -> None:
    run_id = open_job(vault)
    clone(run_id)
    vault.prepare_client("db01").lock(owner="a run", run_id=run_id).hold(600.0)
    assert verdicts(foresee("vm_clone_info", args)) == {
        run_id: (False, "the run may be at work: it has the lock of client db01")
    }


def test_run_without_lock_or_job(foresee: Any, args: dict[str, Any], vault: Vault, clone: Clone) -> None:
    young, aged = new_job_id(vault.id, time.time()), new_job_id(vault.id, time.time() - 2 * 86400)
    clone(young)
    clone(aged, slots=[0])
    found = verdicts(foresee("vm_clone_info", args))
    assert (found[young][0], found[aged][0]) == (False, True)
    found = verdicts(foresee("vm_clone_info", {**args, "limit": "3d"}))
    assert (found[young][0], found[aged][0]) == (False, False)


def test_run_of_another_vault(foresee: Any, args: dict[str, Any], clone: Clone) -> None:
    run_id = "20200101T010203Z-0a1b2c3d-4e5f60"
    clone(run_id)
    assert verdicts(foresee("vm_clone_info", args)) == {
        run_id: (False, "its run used another vault, whose locks are not known here")
    }


def test_started_clone(foresee: Any, args: dict[str, Any], vault: Vault, clone: Clone, simulator: Simulator) -> None:
    run_id = open_job(vault)
    made = clone(run_id)
    JobStore(vault).finish(run_id, now=time.time())
    simulator.set_state(made["id"], "RUNNING")
    reason = f"the clone {made['name']} is RUNNING: somebody uses it"
    assert verdicts(foresee("vm_clone_info", args)) == {run_id: (False, reason)}
    simulator.set_state(made["id"], "STOPPED")


def publish(vault: Vault, tmp_path: Path, vm_id: str, clone_id: str, client: str = "db01") -> Point:
    """Publish a point of a client that was read from a clone."""
    folder = make_client(Path(vault.path), client, vm_id)
    writer = folder.new_point(now=1000.0)
    disk = add_disk(folder, writer, write_image(tmp_path / "image", noise(4096)))
    point = describe(writer, folder, (replace(disk, image={"clone_id": clone_id}),))
    writer.publish(point)
    return point


def test_reference_clone(
    foresee: Any, args: dict[str, Any], vault: Vault, clone: Clone, db01: str, tmp_path: Path, simulator: Simulator
) -> None:
    run_id, next_run = open_job(vault), open_job(vault)
    made = clone(run_id)
    point = publish(vault, tmp_path, db01, made["id"])
    assert "run may be at work" in verdicts_while_locked(foresee, args, vault, run_id)
    JobStore(vault).finish(run_id, now=time.time())
    found = foresee("vm_clone_info", args)
    reason = f"kept as the reference clone of recovery point {point.id} of client db01"
    assert verdicts(found) == {run_id: (False, reason)}
    assert found["summary"] == [f"kept: {made['name']} of VM db01, made by run {run_id}: {reason}"]

    simulator.set_state(made["id"], "RUNNING")
    assert verdicts(foresee("vm_clone_info", args))[run_id][1].endswith("is RUNNING: somebody uses it")
    simulator.set_state(made["id"], "STOPPED")

    newer = clone(next_run)
    JobStore(vault).finish(next_run, now=time.time())
    newest = publish(vault, tmp_path, db01, newer["id"])
    replaced = (True, "the job of the run is finished")
    kept = (False, reason.replace(point.id, newest.id))
    assert verdicts(foresee("vm_clone_info", args)) == {run_id: replaced, next_run: kept}
    shutil.rmtree(Path(vault.path) / "clients" / "db01" / newest.id)
    assert verdicts(foresee("vm_clone_info", args)) == {run_id: (False, reason), next_run: replaced}


def verdicts_while_locked(foresee: Any, args: dict[str, Any], vault: Vault, run_id: str) -> str:
    lock = vault.client_folder("db01").lock(owner="a run", run_id=run_id)
    lock.hold(600.0)
    reason = verdicts(foresee("vm_clone_info", args))[run_id][1]
    lock.release()
    return reason


def test_reference_clone_of_a_vm_that_is_gone(
    foresee: Any, args: dict[str, Any], vault: Vault, clone: Clone, db01: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    run_id = open_job(vault)
    made = clone(run_id)
    publish(vault, tmp_path, db01, made["id"])
    JobStore(vault).finish(run_id, now=time.time())
    listed = ManagerClient.list

    def without_the_vm(self: ManagerClient, kind: str) -> Any:
        return [item for item in listed(self, kind) if item["id"]["value"] != db01]

    with monkeypatch.context() as patch:
        patch.setattr(ManagerClient, "list", without_the_vm)
        assert verdicts(foresee("vm_clone_info", args)) == {
            run_id: (True, "the job of the run is finished, and with its VM gone no backup needs the clone")
        }


def test_client_that_cannot_be_read(
    foresee: Any, args: dict[str, Any], vault: Vault, clone: Clone, db01: str, tmp_path: Path
) -> None:
    run_id = open_job(vault)
    made = clone(run_id)
    publish(vault, tmp_path, db01, made["id"])
    JobStore(vault).finish(run_id, now=time.time())
    (Path(vault.path) / "clients" / "db01" / "client.json").write_text("no JSON")
    reason = "client db01 cannot be read: a recovery point of it may need the clone"
    assert verdicts(foresee("vm_clone_info", args)) == {run_id: (False, reason)}


def test_copies_and_similar_names(
    foresee: Any, args: dict[str, Any], vault: Vault, clone: Clone, copy: Callable[[str, str], str], db01: str
) -> None:
    run_id = open_job(vault)
    made = clone(run_id)
    JobStore(vault).finish(run_id, now=time.time())
    copy(db01, f"db01.ovm-backup.{new_job_id(vault.id, 1.0)}")  # somebody likes our names
    copy(made["id"], "copy of the clone")  # its description has our mark, with another id
    [trace] = foresee("vm_clone_info", args)["traces"]
    assert [entry["id"] for entry in trace["clones"]] == [made["id"]]


def test_only_the_runs_that_are_named_are_removed(
    succeed: Any, foresee: Any, args: dict[str, Any], vault: Vault, clone: Clone, db01: str, simulator: Simulator
) -> None:
    dead, alive = open_job(vault), open_job(vault)
    first, second = clone(dead), clone(alive)
    removal = {**args, "vm_id": db01, "run_id": dead, "only_runs": [dead], "state": "absent"}
    assert foresee("vm_clone", removal)["removed"] == [first["id"]]
    done: dict[str, Any] = {"changed": True, "removed": [first["id"]], "kept": [], "notes": []}
    assert succeed("vm_clone", removal) == done
    assert succeed("vm_clone", removal) == {**done, "changed": False, "removed": []}
    assert simulator.find("Vm", second["name"])["id"]["value"] == second["id"]
    other = "20200101T010203Z-0a1b2c3d-4e5f60"
    theirs = clone(other)
    assert succeed("vm_clone", {**removal, "only_runs": [other]})["removed"] == []
    assert simulator.find("Vm", theirs["name"])


def test_bad_limit(fail: Any, args: dict[str, Any], simulator: Simulator) -> None:
    assert fail("vm_clone_info", {**args, "limit": "soon"})["msg"].startswith(
        "limit: the string 'soon' is not a duration"
    )
    assert simulator.calls() == []
