# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hot clones against the simulator of the manager; its fixture proves after each test that nothing of ours is left."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils import errors
from ansible_collections.ovm.backup.plugins.module_utils.manager import clone_making
from ansible_collections.ovm.backup.plugins.module_utils.manager.clones import (
    ensure_clone,
    find_leftovers,
    remove_clone,
)
from ansible_collections.ovm.backup.plugins.module_utils.manager.inventory import read_inventory

MIB = 1 << 20


def id_of(simulator: Any, name: str) -> str:
    return str(simulator.find("Vm", name)["id"]["value"])


def writes(simulator: Any) -> list[str]:
    return [f"{call['method']} {call['path']}" for call in simulator.calls(writing=True)]


def clone_requests(simulator: Any) -> int:
    return sum(call["path"].endswith("/clone") for call in simulator.calls(writing=True))


# --- making ----------------------------------------------------------------------------------------------------------


def test_clone_is_made_adopted_and_removed(simulator: Any, connected: Any, db01: str) -> None:
    clone, created = ensure_clone(connected, db01, run_id="run-1")
    assert created
    assert (clone.name, clone.vm_id, clone.run_id) == ("db01.ovm-backup.run-1", db01, "run-1")
    assert [(disk.slot, disk.size) for disk in clone.disks] == [(0, 4 * MIB), (1, 2 * MIB)]
    source = {disk.slot: disk for disk in read_inventory(connected).vms[db01].disks}
    for disk in clone.disks:
        assert disk.source_disk_id == source[disk.slot].id != disk.id
        assert (simulator.repositories / f"{disk.repository_id}{disk.path}").stat().st_size == disk.size
    shown = simulator.find("Vm", "db01.ovm-backup.run-1")
    assert shown["virtualNicIds"] == []
    assert len(shown["vmDiskMappingIds"]) == 2
    assert "ovm.backup/1 {" in shown["description"]
    assert clone_requests(simulator) == 1

    simulator.clear_calls()
    again = ensure_clone(connected, db01, run_id="run-1")
    assert again == (clone, False)
    assert simulator.calls(writing=True) == []

    assert remove_clone(connected, clone.id, vm_id=db01) is True
    for disk in clone.disks:
        assert not (simulator.repositories / f"{disk.repository_id}{disk.path}").exists()
    assert remove_clone(connected, clone.id) is False
    assert simulator.running_vms() >= {"db01"}


def test_clone_as_plain_json(simulator: Any, connected: Any, db01: str) -> None:
    clone, _created = ensure_clone(connected, db01, run_id="run-1", slots=[1])
    document = json.loads(json.dumps(clone.as_dict()))
    assert document["id"] == clone.id and document["vm_id"] == db01
    assert [sorted(disk) for disk in document["disks"]] == [
        ["id", "path", "repository_id", "size", "slot", "source_disk_id"]
    ]
    assert document["disks"][0]["slot"] == 1
    remove_clone(connected, clone.id)


def test_physical_and_shared_disks(simulator: Any, connected: Any) -> None:
    rac01 = id_of(simulator, "rac01")
    clone, _created = ensure_clone(connected, rac01, run_id="run-1")
    assert [disk.slot for disk in clone.disks] == [0, 2]  # the physical disk in slot 1 stays out
    remove_clone(connected, clone.id)


@pytest.mark.parametrize("slots", [[0, 7], [2], []])
def test_slots_that_cannot_be_cloned(simulator: Any, connected: Any, db01: str, slots: list[int]) -> None:
    with pytest.raises(errors.InvalidInputError, match='VM "db01" has no virtual disk'):
        ensure_clone(connected, db01, run_id="run-1", slots=slots)
    assert writes(simulator) == []


@pytest.mark.parametrize("run_id", ["", "a b", "ü", "x" * 65, "-x", 'a"b'])
def test_run_ids_must_survive_a_description(connected: Any, db01: str, run_id: str) -> None:
    with pytest.raises(errors.InvalidInputError, match="cannot be a run id"):
        ensure_clone(connected, db01, run_id=run_id)


def test_only_running_vms_are_cloned(simulator: Any, connected: Any) -> None:
    for name, state in (("rac02", "STOPPED"), ("template1", "TEMPLATE")):
        with pytest.raises(errors.PowerStateError, match=f'VM "{name}" is {state}'):
            ensure_clone(connected, id_of(simulator, name), run_id="run-1")
    assert writes(simulator) == []


def test_vm_that_is_gone(simulator: Any, connected: Any) -> None:
    with pytest.raises(errors.NotFoundError, match="There is no VM with the id 0004fb00000600000000000000000000"):
        ensure_clone(connected, "0004fb00000600000000000000000000", run_id="run-1")


def test_second_run_makes_its_own_clone(simulator: Any, connected: Any, db01: str) -> None:
    first, _unused = ensure_clone(connected, db01, run_id="run-1")
    second, created = ensure_clone(connected, db01, run_id="run-2")
    assert created and second.id != first.id
    assert [clone.id for clone in find_leftovers(connected)] == [first.id, second.id]
    remove_clone(connected, first.id)
    assert find_leftovers(connected, db01) == [second]
    assert find_leftovers(connected, id_of(simulator, "rac01")) == []
    assert simulator._get("/VmCloneDefinition") == []  # a clone that has its mark needs none
    remove_clone(connected, second.id)


# --- failure ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rules", ["job", "http"])
def test_refused_hot_clone(simulator: Any, connected: Any, rules: str) -> None:
    simulator.set_switch("rule_violations", rules)
    with pytest.raises(errors.JobFailedError) as caught:
        ensure_clone(connected, id_of(simulator, "files01"), run_id="run-1")
    assert caught.value.message.startswith('VM "files01" was not cloned. ')
    assert caught.value.message.endswith("on OCFS2 storage repositories only.")
    assert "clean_up_errors" not in caught.value.details
    assert caught.value.details["vm_name"] == "files01"


def test_refusal_names_the_rule(simulator: Any, connected: Any, db01: str) -> None:
    text = "OVMRU_005002E Operation not allowed- Virtual Machine: db01, is not STOPPED. It is RUNNING."
    simulator.job_fault("vm.clone", error_type="RULE", message=text)
    with pytest.raises(errors.JobFailedError) as caught:
        ensure_clone(connected, db01, run_id="run-1")
    assert text in caught.value.message
    assert caught.value.message.endswith("all cloned disks are on OCFS2 storage repositories.")
    assert (caught.value.details["error_type"], caught.value.details["error_code"]) == ("RULE", "OVMRU_005002E")


@pytest.mark.parametrize("children", [True, False])
@pytest.mark.parametrize("leftovers", [False, True, "disks"])
def test_failed_job_leaves_nothing(
    simulator: Any, connected: Any, db01: str, leftovers: bool | str, children: bool
) -> None:
    simulator.set_switch("clone_child_jobs", children)
    simulator.job_fault("vm.clone", error_type="SERVER", message="OVMAPI_4010E failed", leftovers=leftovers)
    with pytest.raises(errors.JobFailedError, match='VM "db01" was not cloned') as caught:
        ensure_clone(connected, db01, run_id="run-1")
    assert "clean_up_errors" not in caught.value.details
    assert clone_requests(simulator) == 1  # never repeated


def test_clones_of_others_survive_our_failure(simulator: Any, connected: Any, db01: str) -> None:
    others = connected.run("PUT", "Vm", db01, "clone", query={"serverPoolId": pool(simulator)})["resultId"]["value"]
    simulator.job_fault("vm.clone", error_type="SERVER", message="OVMAPI_4010E failed", leftovers=True)
    with pytest.raises(errors.JobFailedError):
        ensure_clone(connected, db01, run_id="run-1")
    assert simulator.find("Vm", "db01.0")["id"]["value"] == others
    simulator.delete_vm(others, disks=True)


def test_clone_of_others_in_progress_is_not_mistaken_for_ours(
    simulator: Any, connected: Any, db01: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody clones the VM just when our clone has failed: a new disk of it looks like a leftover of ours."""
    simulator.set_switch("disk_cut_gap", 60.0)
    simulator.job_fault("vm.clone", error_type="SERVER", message="OVMAPI_4010E failed")
    end_job = clone_making.CloneMaking._end_job

    def others_begin(self: Any) -> None:
        end_job(self)
        connected.submit("PUT", "Vm", db01, "clone", query={"serverPoolId": pool(simulator)})
        while len(simulator._get("/VirtualDisk")) == 10:
            connected.sleep(0.1)

    with monkeypatch.context() as patch:
        patch.setattr(clone_making.CloneMaking, "_end_job", others_begin)
        with pytest.raises(errors.JobFailedError) as caught:
            ensure_clone(connected, db01, run_id="run-1")
    doubt, definition = caught.value.details["clean_up_errors"]
    assert 'VM "db01" is locked' in doubt and "VmCloneDefinition" in definition
    simulator.advance(200.0)
    others = simulator.find("Vm", "db01.0")
    assert len(others["vmDiskMappingIds"]) == 2
    simulator.delete_vm(others["id"]["value"], disks=True)
    simulator.set_switch("disk_cut_gap", 0.0)
    clone, _created = ensure_clone(connected, db01, run_id="run-1")  # takes the left definition away, too
    remove_clone(connected, clone.id)


def pool(simulator: Any) -> str:
    return str(simulator._get("/ServerPool")[0]["id"]["value"])


def test_full_repository(simulator: Any, connected: Any, db01: str) -> None:
    simulator.set_full("repo-iscsi")
    with pytest.raises(errors.JobFailedError, match="its storage repository may be full"):
        ensure_clone(connected, db01, run_id="run-1")
    simulator.set_full("repo-iscsi", False)


def test_job_that_never_ends_is_aborted(simulator: Any, connected: Any, db01: str) -> None:
    connected.job_timeout = 20.0
    simulator.job_fault("vm.clone", never_ends=True)
    with pytest.raises(errors.JobTimeoutError) as caught:
        ensure_clone(connected, db01, run_id="run-1")
    assert caught.value.details["state"] == "RUNNING"
    assert "clean_up_errors" not in caught.value.details
    assert simulator.state()["jobs"] == []


@pytest.mark.parametrize("fault", ["locked", "stale_generation"])
def test_conflicts_are_outlasted(simulator: Any, connected: Any, db01: str, fault: str) -> None:
    simulator.fault(fault, method="PUT", path="/Vm/*", times=3)
    simulator.fault(fault, method="POST", path="/Vm*", times=3)
    clone, _created = ensure_clone(connected, db01, run_id="run-1")
    assert sum(call["wrote"] for call in simulator.calls() if call["path"].endswith("/clone")) == 1
    simulator.fault("locked", method="DELETE", path="*", times=3)
    assert remove_clone(connected, clone.id)


@pytest.mark.parametrize("action", ["reset", "html_500", "truncate", "not_json"])
def test_lost_answer_to_the_clone_is_followed_up(simulator: Any, connected: Any, db01: str, action: str) -> None:
    simulator.fault(action, method="PUT", path="/Vm/*/clone", when="after")
    clone, created = ensure_clone(connected, db01, run_id="run-1")
    assert created and clone_requests(simulator) == 1
    assert remove_clone(connected, clone.id)


def test_clone_request_that_never_arrived(simulator: Any, connected: Any, db01: str) -> None:
    simulator.fault("reset", method="PUT", path="/Vm/*/clone")
    with pytest.raises(errors.ManagerUnreachableError, match="Whether the clone was begun is unknown") as caught:
        ensure_clone(connected, db01, run_id="run-1")
    assert caught.value.details["outcome"] == "unknown"
    assert clone_requests(simulator) == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/Vm/*/VmCloneDefinition"),
        ("POST", "/VmCloneDefinition/*/VmCloneStorageMapping"),
        ("GET", "/Vm/*/VmDiskMapping"),
    ],
)
def test_failure_at_any_step_leaves_nothing(simulator: Any, connected: Any, db01: str, method: str, path: str) -> None:
    simulator.fault("error", method=method, path=path, code="GEN_000000", message="injected")
    with pytest.raises(errors.ManagerResponseError) as caught:
        ensure_clone(connected, db01, run_id="run-1")
    assert "clean_up_errors" not in caught.value.details


@pytest.mark.parametrize("job", ["definition.create", "definition.map", "vm.modify"])
def test_failed_job_at_any_step_leaves_nothing(simulator: Any, connected: Any, db01: str, job: str) -> None:
    simulator.job_fault(job, leftovers=True)
    with pytest.raises(errors.JobFailedError, match='VM "db01" was not cloned'):
        ensure_clone(connected, db01, run_id="run-1")


@pytest.mark.parametrize("trouble", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("after", [1, 3, 5, 7])
def test_interruption_cleans_up(
    simulator: Any, connected: Any, db01: str, trouble: type[BaseException], after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep, pauses = connected.sleep, iter([None] * after + [trouble])

    def interrupted(seconds: float) -> None:
        now = next(pauses, None)
        if now is not None:
            raise now
        sleep(seconds)

    monkeypatch.setattr(connected, "sleep", interrupted)
    simulator.job_fault("vm.clone", never_ends=True)
    with pytest.raises(trouble) as caught:
        ensure_clone(connected, db01, run_id="run-1")
    assert caught.value.args == ()
    assert simulator.state()["jobs"] == []


def test_clean_up_that_fails_is_told(
    simulator: Any, connected: Any, db01: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clone_making, "missing_from", lambda _clone, _wanted: "it lacks something")
    simulator.job_fault("disk.delete", message="OVMAPI_4010E cannot delete")
    with pytest.raises(errors.ManagerResponseError, match="it lacks something") as caught:
        ensure_clone(connected, db01, run_id="run-1")
    (problem,) = caught.value.details["clean_up_errors"]
    assert "OVMAPI_4010E cannot delete" in problem and problem in caught.value.message
    (left,) = find_leftovers(connected)  # the proof is still there, so the rest can be removed
    assert remove_clone(connected, left.id)
