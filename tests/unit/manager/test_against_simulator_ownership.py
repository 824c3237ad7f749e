# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clones of ours after crashes, and clones that are not ours; the fixture proves that each test leaves nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils import errors
from ansible_collections.ovm.backup.plugins.module_utils.manager import clone_making
from ansible_collections.ovm.backup.plugins.module_utils.manager.clone_records import read_mark
from ansible_collections.ovm.backup.plugins.module_utils.manager.clones import (
    Clone,
    Removal,
    ensure_clone,
    find_leftovers,
    is_ours,
    remove_clone,
    remove_leftovers,
)
from ansible_collections.ovm.backup.plugins.module_utils.manager.inventory import read_inventory


def id_of(simulator: Any, name: str) -> str:
    return str(simulator.find("Vm", name)["id"]["value"])


def pool(simulator: Any) -> str:
    return str(simulator._get("/ServerPool")[0]["id"]["value"])


def writes(simulator: Any) -> list[str]:
    return [f"{call['method']} {call['path']}" for call in simulator.calls(writing=True)]


def clone_requests(simulator: Any) -> int:
    return sum(call["path"].endswith("/clone") for call in simulator.calls(writing=True))


@pytest.fixture
def die(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let the process "die" in the named method of the clone making: no clean-up happens."""

    class Death(BaseException):
        pass

    def arrange(method: str) -> None:
        def dead(*_args: Any, **_kwargs: Any) -> Any:
            raise Death

        with monkeypatch.context() as patch:
            patch.setattr(clone_making.CloneMaking, "_clean_up", lambda _self, _error: [])
            patch.setattr(clone_making.CloneMaking, method, dead)
            with pytest.raises(Death):
                arrange.act()  # type: ignore[attr-defined]

    return arrange


# --- after a crash ---------------------------------------------------------------------------------------------------


def test_unrenamed_clone_is_adopted_after_a_crash(simulator: Any, connected: Any, db01: str, die: Any) -> None:
    die.act = lambda: ensure_clone(connected, db01, run_id="run-1")
    die("_finish")
    clone, created = ensure_clone(connected, db01, run_id="run-1")
    assert not created and clone.name == "db01.ovm-backup.run-1"
    assert clone_requests(simulator) == 1
    assert find_leftovers(connected) == [clone]
    remove_clone(connected, clone.id)


def test_clone_without_proof_is_left_alone(simulator: Any, connected: Any, db01: str, die: Any) -> None:
    """Death in the instant between the submission and the note of its job: no id leads to the clone."""
    die.act = lambda: ensure_clone(connected, db01, run_id="run-1")
    die("_record")
    clone, created = ensure_clone(connected, db01, run_id="run-1")
    assert created and find_leftovers(connected) == [clone]
    remove_clone(connected, clone.id)
    simulator.delete_vm("db01.0", disks=True)


def test_unrenamed_clone_of_a_dead_run_is_found_and_removed(
    simulator: Any, connected: Any, db01: str, die: Any
) -> None:
    die.act = lambda: ensure_clone(connected, db01, run_id="run-1")
    die("_finish")
    (left,) = find_leftovers(connected)
    assert (left.name, left.run_id, left.vm_id) == ("db01.0", "run-1", db01)
    assert remove_clone(connected, left.id, vm_id=db01)


@pytest.mark.parametrize("trouble", ["refused", "failed"])
def test_note_that_is_not_taken_goes_elsewhere(
    simulator: Any, connected: Any, db01: str, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a clone takes its time, it is made sure that the id of its job is written down."""
    simulator.job_fault("vm.clone", never_ends=True)
    if trouble == "refused":
        simulator.fault("error", method="PUT", path="/VmCloneStorageMapping/*", code="GEN_000011")
    else:
        simulator.job_fault("vmclonestoragemapping.modify")
    connected.job_timeout = 5.0
    marks: list[int] = []
    end_job = clone_making.CloneMaking._end_job

    def look(self: Any) -> None:
        noted = [read_mark(entry["description"], "definition") for entry in simulator._get("/VmCloneStorageMapping")]
        marks.append(sum(mark is not None and mark.job_id is not None for mark in noted))
        end_job(self)

    monkeypatch.setattr(clone_making.CloneMaking, "_end_job", look)
    with pytest.raises(errors.JobTimeoutError):
        ensure_clone(connected, db01, run_id="run-1")
    assert marks == [1]


def test_clone_job_of_a_crashed_attempt_is_waited_for(
    simulator: Any, connected: Any, db01: str, die: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = clone_making.CloneMaking._record

    def record(self: Any, job: Any) -> None:
        noted(self, job)
        connected.wait(self.noted)
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(clone_making.CloneMaking, "_clean_up", lambda _self, _error: [])
        patch.setattr(clone_making.CloneMaking, "_record", record)
        with pytest.raises(SystemExit):
            ensure_clone(connected, db01, run_id="run-1")
    clone, created = ensure_clone(connected, db01, run_id="run-1")
    assert not created and clone_requests(simulator) == 1
    remove_clone(connected, clone.id)


def test_part_of_a_clone_is_replaced(simulator: Any, connected: Any, db01: str) -> None:
    first, _created = ensure_clone(connected, db01, run_id="run-1", slots=[0])
    second, created = ensure_clone(connected, db01, run_id="run-1")
    assert created and second.id != first.id
    assert find_leftovers(connected) == [second]
    remove_clone(connected, second.id)


def test_interrupted_removal_is_taken_up_again(simulator: Any, connected: Any, db01: str) -> None:
    clone, _created = ensure_clone(connected, db01, run_id="run-1")
    simulator.job_fault("disk.delete", message="OVMAPI_4010E cannot delete", times=2)
    with pytest.raises(errors.JobFailedError, match="could not be removed whole") as caught:
        remove_clone(connected, clone.id)
    assert len(caught.value.details["errors"]) == 2
    assert remove_clone(connected, clone.id)


def test_traces_of_a_removed_clone_go_too(simulator: Any, connected: Any, db01: str, die: Any) -> None:
    die.act = lambda: ensure_clone(connected, db01, run_id="run-1")
    die("_finish")
    (left,) = find_leftovers(connected)
    simulator.delete_vm(left.id, disks=True)
    assert remove_clone(connected, left.id) is True
    assert remove_clone(connected, left.id) is False


# --- what dead runs left ---------------------------------------------------------------------------------------------


def any_run(_run_id: str) -> bool:
    return True


def definitions(simulator: Any) -> int:
    return len(simulator._get("/VmCloneDefinition"))


@pytest.fixture
def die_after_record(connected: Any, db01: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process of run-1 "die" while its clone is being made."""
    noted = clone_making.CloneMaking._record

    def record(self: Any, job: Any) -> None:
        noted(self, job)
        connected.wait(self.noted)
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(clone_making.CloneMaking, "_clean_up", lambda _self, _error: [])
        patch.setattr(clone_making.CloneMaking, "_record", record)
        with pytest.raises(SystemExit):
            ensure_clone(connected, db01, run_id="run-1")


def test_definition_without_clone(simulator: Any, connected: Any, db01: str, die: Any) -> None:
    die.act = lambda: ensure_clone(connected, db01, run_id="run-1")
    die("_submit")
    simulator.clear_calls()
    assert remove_leftovers(connected, db01, of_run=any_run, check=True) == Removal(True)
    assert remove_leftovers(connected, id_of(simulator, "rac02"), of_run=any_run) == Removal()
    assert remove_leftovers(connected, db01, of_run=lambda run_id: run_id != "run-1") == Removal()
    assert (writes(simulator), definitions(simulator)) == ([], 1)
    assert remove_leftovers(connected, db01, of_run=any_run) == Removal(True)
    assert (len(writes(simulator)), definitions(simulator)) == (1, 0)
    assert remove_leftovers(connected, db01, of_run=any_run) == Removal()


def test_clones_and_definitions_of_many_runs(simulator: Any, connected: Any, db01: str, die: Any) -> None:
    first, _created = ensure_clone(connected, db01, run_id="run-0")
    die.act = lambda: ensure_clone(connected, db01, run_id="run-1")
    die("_finish")
    third, _created = ensure_clone(connected, db01, run_id="run-2")
    second = next(clone for clone in find_leftovers(connected) if clone.run_id == "run-1")
    foreseen = remove_leftovers(connected, db01, of_run=lambda run_id: run_id != "run-2", check=True)
    assert foreseen == Removal(True, (first.id, second.id))
    assert remove_leftovers(connected, db01, of_run=lambda run_id: run_id != "run-2") == foreseen
    assert find_leftovers(connected) == [third]
    assert remove_leftovers(connected, db01, of_run=any_run) == Removal(True, (third.id,))


def test_clone_that_is_still_being_made(simulator: Any, connected: Any, db01: str, request: Any) -> None:
    simulator.set_switch("disk_cut_gap", 0.3)
    request.getfixturevalue("die_after_record")
    assert find_leftovers(connected) == []
    assert remove_leftovers(connected, db01, of_run=any_run, check=True) == Removal(True)
    done = remove_leftovers(connected, db01, of_run=any_run)
    assert (len(done.removed), done.changed, definitions(simulator)) == (1, True, 0)


def test_clone_that_never_gets_made(simulator: Any, connected: Any, db01: str, request: Any) -> None:
    simulator.job_fault("vm.clone", never_ends=True)
    request.getfixturevalue("die_after_record")
    connected.job_timeout = 5.0
    simulator.clear_calls()
    assert remove_leftovers(connected, db01, of_run=any_run) == Removal(True)
    assert writes(simulator)[0].endswith("/abort") and definitions(simulator) == 0


# --- ownership -------------------------------------------------------------------------------------------------------


@pytest.fixture
def made(connected: Any, db01: str, simulator: Any) -> Clone:
    clone, _created = ensure_clone(connected, db01, run_id="run-1")
    simulator.wait_for_jobs()
    simulator.clear_calls()
    return clone


def test_strangers_are_never_touched(simulator: Any, connected: Any, made: Clone, db01: str) -> None:
    for vm_id in (db01, id_of(simulator, "rac02")):
        with pytest.raises(errors.OwnershipError, match="cannot be proved to be a clone of ours"):
            remove_clone(connected, vm_id)
    with pytest.raises(errors.OwnershipError, match="clone of VM"):
        remove_clone(connected, made.id, vm_id=id_of(simulator, "rac02"))
    assert writes(simulator) == []
    remove_clone(connected, made.id)


def test_copy_of_our_clone_is_not_ours(simulator: Any, connected: Any, made: Clone) -> None:
    """A clone inherits the description, mark included."""
    job = connected.run("PUT", "Vm", made.id, "clone", query={"serverPoolId": pool(simulator)})
    copy_id = job["resultId"]["value"]
    inventory = read_inventory(connected)
    assert inventory.vms[copy_id].description == inventory.vms[made.id].description
    assert is_ours(inventory.vms[made.id]) and not is_ours(inventory.vms[copy_id])
    assert [clone.id for clone in find_leftovers(connected)] == [made.id]
    with pytest.raises(errors.OwnershipError):
        remove_clone(connected, copy_id)
    simulator.delete_vm(copy_id, disks=True)
    remove_clone(connected, made.id)


def test_mark_of_another_manager_is_not_ours(simulator: Any, connected: Any, made: Clone) -> None:
    marked = [("Vm", made.id)]  # and where the job is noted: either, as the definition may have been locked
    for kind in ("VmCloneDefinition", "VmCloneStorageMapping"):
        marked += [(kind, entry["id"]["value"]) for entry in simulator._get(f"/{kind}")]
    texts = {target: connected.get(*target)["description"] for target in marked}
    for target, words in texts.items():
        connected.modify(*target, {"description": words.replace(connected.manager_id, "f" * 32)})
    assert find_leftovers(connected) == []
    with pytest.raises(errors.OwnershipError):
        remove_clone(connected, made.id)
    for target, words in texts.items():
        connected.modify(*target, {"description": words})
    remove_clone(connected, made.id)


def test_renamed_clone_is_still_ours(simulator: Any, connected: Any, made: Clone) -> None:
    simulator.rename_vm(made.id, "something else")
    assert [clone.id for clone in find_leftovers(connected)] == [made.id]
    remove_clone(connected, made.id)


def test_clone_in_use_is_not_removed(simulator: Any, connected: Any, made: Clone) -> None:
    simulator.set_state(made.id, "RUNNING")
    with pytest.raises(errors.PowerStateError, match="is RUNNING: somebody uses it"):
        remove_clone(connected, made.id)
    assert writes(simulator) == []
    simulator.set_state(made.id, "STOPPED")
    remove_clone(connected, made.id)


def test_disks_of_others_survive_the_removal(simulator: Any, connected: Any, made: Clone, db01: str) -> None:
    """A disk that somebody attached to our clone, a copy of ours mapped elsewhere, and the source's own disk."""
    rac02 = id_of(simulator, "rac02")
    rac02_disk = next(
        entry["virtualDiskId"]["value"]
        for entry in simulator._get("/VmDiskMapping")
        if entry["vmId"]["value"] == rac02 and entry["diskTarget"] == 0
    )
    source_disk = made.disks[1].source_disk_id
    for disk_id in (rac02_disk, source_disk, made.disks[0].id):
        connected.modify("VirtualDisk", disk_id, {"shareable": True})
    for vm_id, slot, disk_id in ((made.id, 5, rac02_disk), (made.id, 6, source_disk), (rac02, 5, made.disks[0].id)):
        body = {
            "diskTarget": slot,
            "virtualDiskId": {"type": "com.oracle.ovm.mgr.ws.model.VirtualDisk", "value": disk_id},
            "diskWriteMode": "READ_WRITE",
        }
        mapped = connected.run("POST", "Vm", vm_id, "VmDiskMapping", body=body)
    remove_clone(connected, made.id)
    left = {entry["id"]["value"] for entry in simulator._get("/VirtualDisk")}
    assert {rac02_disk, source_disk, made.disks[0].id} <= left
    connected.run("DELETE", "Vm", rac02, "VmDiskMapping", mapped["resultId"]["value"])
    connected.run("DELETE", "Repository", made.disks[0].repository_id, "VirtualDisk", made.disks[0].id)
    for disk_id in (rac02_disk, source_disk):
        connected.modify("VirtualDisk", disk_id, {"shareable": False})


def test_source_deleted_in_between(simulator: Any, connected: Any, made: Clone) -> None:
    """The clone can be found and removed without its source."""
    assert find_leftovers(connected)[0].disks == made.disks
    simulator.rename_vm(made.vm_id, "db01 renamed")
    assert find_leftovers(connected)[0].disks == made.disks
    simulator.rename_vm(made.vm_id, "db01")
    remove_clone(connected, made.id)


def test_looking_for_leftovers_is_cheap_and_only_reads(simulator: Any, connected: Any, made: Clone) -> None:
    assert find_leftovers(connected) == [made]
    assert [call["path"] for call in simulator.calls()] == [
        "/Vm",
        "/VmCloneDefinition",
        "/VmDiskMapping",
        "/VirtualDisk",
    ]
    assert simulator.calls(writing=True) == []
    remove_clone(connected, made.id)
