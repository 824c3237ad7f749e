# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The job record: how a VM's status comes about, and that nothing is lost on the way to the record of the whole job."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from unit.transfer.builders import MOMENT, NEXT_RUN, RUN, VM_ID, vm_plan
from unit.vault.builders import fail_to_read, stored_tree

from ansible_collections.ovm.backup.plugins.module_utils.errors import (
    CorruptVaultError,
    InvalidInputError,
    OvmBackupError,
    PointNotFoundError,
    VaultError,
)
from ansible_collections.ovm.backup.plugins.module_utils.vault import jobs as jobs_module
from ansible_collections.ovm.backup.plugins.module_utils.vault.jobs import (
    JobStore,
    new_job,
    new_job_id,
    share_vault,
    vault_of_run,
    vm_record,
)
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault

POINT = {
    "id": "20261123T010210Z-0001",
    "type": "full",
    "reason": "first backup of this VM",
    "method": "cold",
    "consistency": "powered_off",
    "warnings": [],
    "disks": [{"statistics": {"read": 100, "stored": 40}}, {"statistics": {"read": 10, "stored": 4}}],
}
WAS_KILLED = "the VM did not shut down in time and was switched off: its disks are crash consistent only"
NEVER_FINISHED = "the run ended before this VM was finished"


# --- ids -------------------------------------------------------------------------------------------------------------


def test_new_ids() -> None:
    first, second = (new_job_id("0a1b2c3d-4e5f-4b3e-a4b5-0f3c2a4b1d9e", MOMENT) for _unused in range(2))
    assert re.fullmatch(r"20261123T010203Z-0a1b2c3d-[0-9a-f]{6}", first)
    assert first != second
    assert vault_of_run(first) == "0a1b2c3d"


ODD = [
    "", "x", "latest", f"{RUN}\n", f" {RUN}", RUN.upper(), RUN[:-1], f"{RUN}0", RUN.replace("T", " "), f"../{RUN}",
    RUN.replace("20261123", "２０２６1123"), "../../vault", "20261123T010203Z-0a1b2c3d-4e5f6/",
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
def test_odd_ids(odd: str) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        vault_of_run(odd)
    assert refusal.value.message == (
        f"{odd!r} is not the id of a run: those look like 20261123T010203Z-0a1b2c3d-4e5f60"
    )
    assert refusal.value.as_failure() == {"kind": "InvalidInputError", "run_id": odd}
    assert not share_vault(odd, odd)


def test_runs_that_share_a_vault() -> None:
    assert share_vault(RUN, NEXT_RUN)
    assert not share_vault(RUN, RUN.replace("0a1b2c3d", "0a1b2c3e"))


# --- the status of a VM ----------------------------------------------------------------------------------------------


def record(plan: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    return vm_record(plan or vm_plan(), started=MOMENT, finished=MOMENT + 12.3456, **options)


def test_every_key_of_a_record() -> None:
    skipped = [{"slot": 3, "name": "asm", "kind": "physical", "reason": "physical disks are not backed up"}]
    plan = vm_plan(skipped_disks=skipped, order=4, proxy="proxy2", method="shutdown")
    assert record(plan, point=POINT, stopped_at=MOMENT + 1, running_at=MOMENT + 9.5) == {
        "order": 4,
        "vm_id": VM_ID,
        "vm_name": "web 01",
        "client": "web_01",
        "status": "Completed",
        "reason": "first backup of this VM",
        "method": "shutdown",
        "requested_type": "incremental",
        "type": "full",
        "point": "20261123T010210Z-0001",
        "bytes_read": 110,
        "bytes_stored": 44,
        "started": MOMENT,
        "finished": MOMENT + 12.3456,
        "duration": 12.346,
        "outage": 8.5,
        "proxy": "proxy2",
        "skipped_disks": skipped,
        "warnings": [],
    }


BACKUP, SKIP, FAIL = vm_plan(), vm_plan(action="skip", reason="templates"), vm_plan(action="fail", reason="on NFS")
CURRENT = vm_plan(action="current", reason="it is 1 h old")
WARNED = vm_plan(warnings=["a disk is shared"])
STATUSES: list[tuple[dict[str, Any], dict[str, Any], str, str, list[str]]] = [
    (BACKUP, {"point": POINT}, "Completed", "first backup of this VM", []),
    (WARNED, {"point": POINT}, "Completed with warnings", "first backup of this VM", ["a disk is shared"]),
    (BACKUP, {"point": POINT, "warnings": ["took over"]}, "Completed with warnings", "first backup of this VM",
        ["took over"]),
    (BACKUP, {"point": {**POINT, "warnings": ["no vm.cfg"]}}, "Completed with warnings", "first backup of this VM",
        ["no vm.cfg"]),
    (WARNED, {"point": {**POINT, "warnings": ["a disk is shared", "b"]}, "warnings": ["c"]}, "Completed with warnings",
        "first backup of this VM", ["a disk is shared", "c", "b"]),
    (BACKUP, {"point": POINT, "killed": True}, "Completed with warnings", "first backup of this VM", [WAS_KILLED]),
    (BACKUP, {"failure": "no space", "killed": True}, "Failed", "no space", [WAS_KILLED]),
    (BACKUP, {"failure": "full"}, "Failed", "full", []),
    (BACKUP, {"failure": "not running again", "point": POINT}, "Failed", "not running again", []),
    (WARNED, {"failure": "full", "warnings": ["took over"]}, "Failed", "full", ["a disk is shared", "took over"]),
    (BACKUP, {}, "Failed", NEVER_FINISHED, []),
    (FAIL, {}, "Failed", "on NFS", []),
    (FAIL, {"failure": "also this"}, "Failed", "also this", []),
    (SKIP, {}, "Skipped", "templates", []),
    (CURRENT, {}, "Skipped", "it is 1 h old", []),
    (vm_plan(action="current", reason="r", warnings=["clock"]), {}, "Skipped", "r", ["clock"]),
]  # fmt: skip


@pytest.mark.parametrize(("plan", "options", "status", "reason", "warnings"), STATUSES)
def test_status(plan: dict[str, Any], options: dict[str, Any], status: str, reason: str, warnings: list[str]) -> None:
    found = record(plan, **options)
    assert (found["status"], found["reason"], found["warnings"]) == (status, reason, warnings)


@pytest.mark.parametrize(
    ("times", "outage"),
    [
        ({}, None),
        ({"stopped_at": MOMENT + 2, "running_at": MOMENT + 4.5}, 2.5),
        ({"stopped_at": MOMENT + 2}, 10.346),  # it lasts still
    ],
)
def test_outage(times: dict[str, float], outage: float | None) -> None:
    assert record(point=POINT, **times)["outage"] == outage


def test_what_a_synthetic_full_lacks_is_told_as_before() -> None:
    skipped = [
        {"slot": 1, "name": "asm", "kind": "physical", "reason": "physical disks are not backed up"},
        {"slot": 2, "name": "scratch", "kind": "virtual", "reason": "taken out by exclude.disks[0]"},
    ]
    found = record(vm_plan(method="consolidate"), point={**POINT, "skipped_disks": skipped})
    assert found["skipped_disks"] == skipped
    assert found["warnings"] == ["disk 'asm' (slot 1) is not backed up: physical disks are not backed up"]
    assert found["status"] == "Completed with warnings"


def test_a_failed_vm_without_point_has_no_type() -> None:
    found = record(failure="full")
    assert (found["type"], found["point"], found["bytes_read"], found["bytes_stored"]) == (None, None, 0, 0)


# --- the job ---------------------------------------------------------------------------------------------------------


def run_plan(*vms: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"subclient": "nightly", "requested_type": "incremental", "warnings": [], "vms": list(vms), **changes}


VMS = (
    vm_plan(vm_id="a", vm_name="one", order=1),
    vm_plan(vm_id="b", vm_name="two", order=2),
    vm_plan(vm_id="c", vm_name="three", order=3, action="current", reason="it is 1 h old"),
    vm_plan(vm_id="d", vm_name="four", order=4, action="fail", method="skip", reason="on NFS"),
)


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(Vault.create(str(tmp_path / "vault"), clock=lambda: 1.0))


@pytest.fixture
def jobs(store: JobStore, tmp_path: Path) -> Path:
    return tmp_path / "vault" / "jobs"


def started(store: JobStore, *vms: dict[str, Any], **changes: Any) -> dict[str, Any]:
    job = new_job(RUN, run_plan(*(vms or VMS), **changes), now=MOMENT)
    store.start(job)
    return job


def test_open_job(store: JobStore, jobs: Path) -> None:
    job = started(store, VMS[0], warnings=["a warning"])
    planned = {key: value for key, value in VMS[0].items() if key != "configuration"}
    assert job == {
        "id": RUN,
        "subclient": "nightly",
        "requested_type": "incremental",
        "state": "running",
        "started": MOMENT,
        "warnings": ["a warning"],
        "plan": [planned],
    }
    assert store.read(RUN) == job
    assert stored_tree(jobs) == [RUN, f"{RUN}.json"]


def test_life_of_a_job(store: JobStore, jobs: Path) -> None:
    started(store)
    done = vm_record(VMS[0], started=MOMENT + 1, finished=MOMENT + 5, point=POINT)
    store.put_vm(RUN, done)
    preview = store.preview(RUN, now=MOMENT + 20.5)
    assert stored_tree(jobs) == [RUN, f"{RUN}.json", f"{RUN}/a.json"]
    job = store.finish(RUN, now=MOMENT + 20.5)
    assert job == preview == store.read(RUN)
    assert stored_tree(jobs) == [f"{RUN}.json"]
    assert {key: value for key, value in job.items() if key != "vms"} == {
        "id": RUN,
        "subclient": "nightly",
        "requested_type": "incremental",
        "state": "finished",
        "status": "Completed with errors",
        "started": MOMENT,
        "finished": MOMENT + 20.5,
        "duration": 20.5,
        "warnings": [],
        "counts": {"Completed": 1, "Completed with warnings": 0, "Failed": 2, "Skipped": 1},
        "bytes_read": 110,
        "bytes_stored": 44,
    }
    assert job["vms"][0] == done
    # Without a record: what was to be backed up lasted until now, everything else took no time.
    assert [(vm["vm_name"], vm["status"], vm["reason"], vm["duration"]) for vm in job["vms"]] == [
        ("one", "Completed", "first backup of this VM", 4.0),
        ("two", "Failed", NEVER_FINISHED, 20.5),
        ("three", "Skipped", "it is 1 h old", 0.0),
        ("four", "Failed", "on NFS", 0.0),
    ]


def test_closing_it_again_changes_nothing(store: JobStore, jobs: Path) -> None:
    started(store)
    job = store.finish(RUN, now=MOMENT + 1)
    before = (jobs / f"{RUN}.json").stat()  # written anew, it would be another file
    assert store.finish(RUN, now=MOMENT + 99) == store.preview(RUN, now=MOMENT + 99) == job
    assert (jobs / f"{RUN}.json").stat().st_ino == before.st_ino
    (jobs / RUN).mkdir()  # the run died between the two steps of closing
    assert store.finish(RUN, now=MOMENT + 99) == job
    assert stored_tree(jobs) == [f"{RUN}.json"]


def test_a_later_record_replaces_the_earlier(store: JobStore) -> None:
    started(store, VMS[0])
    for failure in ("first", "second"):
        store.put_vm(RUN, vm_record(VMS[0], started=MOMENT, finished=MOMENT, failure=failure))
    assert [vm["reason"] for vm in store.finish(RUN, now=MOMENT)["vms"]] == ["second"]


OK, NOTED, BAD = {"point": POINT}, {"point": POINT, "warnings": ["w"]}, {"failure": "f"}


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([OK, OK], "Completed"),
        ([OK, NOTED], "Completed with warnings"),
        ([OK, BAD], "Completed with errors"),
        ([NOTED, BAD], "Completed with errors"),
        ([BAD, BAD], "Failed"),
    ],
)
def test_status_of_the_job(store: JobStore, outcomes: list[dict[str, Any]], status: str) -> None:
    started(store, *VMS[:3])
    for vm, outcome in zip(VMS, outcomes, strict=False):
        store.put_vm(RUN, vm_record(vm, started=MOMENT, finished=MOMENT, **outcome))
    assert store.finish(RUN, now=MOMENT)["status"] == status


def test_a_job_that_skips_everything_is_completed(store: JobStore) -> None:
    started(store, VMS[2])
    assert store.finish(RUN, now=MOMENT)["status"] == "Completed"


def test_a_warning_of_a_skipped_vm_is_one_of_the_job(store: JobStore) -> None:
    reason = "the data of the VM cannot be found: disk 'system' (slot 0) is in no storage repository"
    lost = vm_plan(action="skip", method="skip", reason=reason, warnings=[f"not backed up: {reason}"], vm_id="lost")
    started(store, VMS[0], lost)
    store.put_vm(RUN, vm_record(VMS[0], started=MOMENT, finished=MOMENT, point=POINT))
    job = store.finish(RUN, now=MOMENT)
    assert [vm["status"] for vm in job["vms"]] == ["Completed", "Skipped"]
    assert job["status"] == "Completed with warnings"


def test_a_warning_of_a_vm_that_is_recent_enough_is_none_of_the_job(store: JobStore) -> None:
    recent = vm_plan(action="current", reason="it is 1 h old", warnings=["a disk is shared"], vm_id="recent")
    started(store, VMS[0], recent)
    store.put_vm(RUN, vm_record(VMS[0], started=MOMENT, finished=MOMENT, point=POINT))
    job = store.finish(RUN, now=MOMENT)
    assert [vm["warnings"] for vm in job["vms"]] == [[], ["a disk is shared"]]
    assert job["status"] == "Completed"


def test_a_failure_beside_skipped_ones_is_a_failure(store: JobStore) -> None:
    started(store, VMS[2], VMS[3])
    assert store.finish(RUN, now=MOMENT)["status"] == "Failed"


# --- what cannot work ------------------------------------------------------------------------------------------------


def refusal(call: Any, *arguments: Any, **options: Any) -> OvmBackupError:
    with pytest.raises(OvmBackupError) as failure:
        call(*arguments, **options)
    return failure.value


def test_unknown_job(store: JobStore, jobs: Path) -> None:
    for call in (
        lambda: store.read(RUN),
        lambda: store.finish(RUN, now=MOMENT),
        lambda: store.preview(RUN, now=MOMENT),
        lambda: store.put_vm(RUN, record()),
    ):
        failure = refusal(call)
        assert isinstance(failure, PointNotFoundError)
        assert failure.message == f"There is no job {RUN} in {jobs}"
    assert isinstance(refusal(store.read, "../vault"), InvalidInputError)
    assert isinstance(refusal(new_job, "../x", run_plan(), now=MOMENT), InvalidInputError)
    assert stored_tree(jobs) == []


def test_a_finished_job_takes_no_records(store: JobStore) -> None:
    started(store)
    job = store.finish(RUN, now=MOMENT)
    failure = refusal(store.put_vm, RUN, record(VMS[0], point=POINT))
    assert isinstance(failure, InvalidInputError)
    assert failure.message == f"Job {RUN} is finished: its record is not changed any more"
    assert store.read(RUN) == job


def test_a_vm_that_is_not_in_the_plan(store: JobStore, jobs: Path) -> None:
    started(store)
    failure = refusal(store.put_vm, RUN, record())
    assert isinstance(failure, InvalidInputError)
    assert failure.message == f"VM 'web 01' ({VM_ID}) is not in the plan of job {RUN}"
    assert stored_tree(jobs) == [RUN, f"{RUN}.json"]


def test_ids_of_vms_do_not_lead_elsewhere(store: JobStore, jobs: Path) -> None:
    plan = vm_plan(vm_id="../../x")
    started(store, plan)
    store.put_vm(RUN, record(plan, point=POINT))
    assert stored_tree(jobs) == [RUN, f"{RUN}.json", f"{RUN}/.._.._x.json"]
    assert [vm["status"] for vm in store.finish(RUN, now=MOMENT)["vms"]] == ["Completed"]


@pytest.mark.parametrize("content", ["[]", '"x"', "{}", json.dumps({"state": "odd"})])
def test_not_the_record_of_a_job(store: JobStore, jobs: Path, content: str) -> None:
    path = jobs / f"{RUN}.json"
    path.write_text(content)
    failure = refusal(store.read, RUN)
    assert isinstance(failure, CorruptVaultError)
    assert failure.message == f"{path} is damaged: it is not the record of a job"


def test_damaged_and_unreadable_records(store: JobStore, jobs: Path) -> None:
    path = jobs / f"{RUN}.json"
    path.write_text('{"state": ')
    assert refusal(store.read, RUN).message.startswith(f"{path} is damaged at offset 10: it is not JSON")
    path.unlink()
    path.mkdir()
    assert refusal(store.read, RUN).message == f"Cannot read {path}: Is a directory"


@pytest.fixture
def silent(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the storage not answer for the record of a job that began later than others, of whatever subclient."""
    store.start(new_job(NEXT_RUN, run_plan(*VMS, subclient="weekly"), now=MOMENT))
    fail_to_read(monkeypatch, f"{NEXT_RUN}.json")
    return f"Cannot read {store.path(NEXT_RUN)}: Connection timed out"


def test_a_record_that_cannot_be_had_now_keeps_no_other_from_being_seen(store: JobStore, silent: str) -> None:
    started(store)
    assert store.open_after("", "nightly") == (RUN,)
    job = store.finish(RUN, now=MOMENT)
    found = store.finished()
    assert found.jobs == (job,)
    assert [(bad.id, bad.error, bad.may_be_whole) for bad in found.damaged] == [(NEXT_RUN, silent, True)]
    assert store.last_of("nightly") == job


def test_a_record_that_cannot_be_had_now_is_not_taken_for_damage(store: JobStore, jobs: Path, silent: str) -> None:
    """Where it is asked for, or for the last job for certain, which it may be."""
    started(store)
    job = store.finish(RUN, now=MOMENT)
    for use in (lambda: store.read(NEXT_RUN), lambda: store.last_of("nightly", certain=True)):
        failure = refusal(use)
        assert isinstance(failure, VaultError) and not isinstance(failure, CorruptVaultError)
        assert failure.message == silent
    (jobs / f"{NEXT_RUN}.json").rename(jobs / "old")
    (jobs / "20261125T010203Z-0a1b2c3d-4e5f62.json").write_text("{")
    assert store.last_of("nightly", certain=True) == job


def test_a_job_whose_records_vanished(store: JobStore, jobs: Path) -> None:
    started(store, VMS[0])
    os.rmdir(jobs / RUN)
    assert [vm["reason"] for vm in store.finish(RUN, now=MOMENT)["vms"]] == [NEVER_FINISHED]


# --- looking at jobs -------------------------------------------------------------------------------------------------


def test_share_of_failed_vms(store: JobStore) -> None:
    """Only what was to be backed up counts, and only what is known so far."""
    started(store)
    assert store.failed_percent(RUN) == 0.0
    store.put_vm(RUN, record(VMS[3]))  # was never to be backed up
    assert store.failed_percent(RUN) == 0.0
    store.put_vm(RUN, record(VMS[0], failure="full"))
    assert store.failed_percent(RUN) == 50.0
    store.put_vm(RUN, record(VMS[1], point=POINT))
    assert store.failed_percent(RUN) == 50.0
    store.finish(RUN, now=MOMENT)
    assert store.failed_percent(RUN) == 50.0


def test_nothing_to_back_up_is_no_failure(store: JobStore) -> None:
    started(store, VMS[2])
    assert store.failed_percent(RUN) == 0.0


def test_last_job_of_a_subclient(store: JobStore, jobs: Path) -> None:
    assert store.last_of("nightly") is None
    started(store)
    assert store.last_of("nightly") is None  # it still runs
    finished = store.finish(RUN, now=MOMENT)
    other = new_job(NEXT_RUN, run_plan(*VMS, subclient="weekly"), now=MOMENT)
    store.start(other)
    store.finish(NEXT_RUN, now=MOMENT)
    (jobs / "20261125T010203Z-0a1b2c3d-4e5f62.json").write_text("{")
    (jobs / "notes.json").write_text("{}")
    assert store.last_of("nightly") == finished
    assert (store.last_of("weekly") or {})["id"] == NEXT_RUN
    assert store.last_of("never") is None


def test_jobs_that_nobody_has_closed(store: JobStore, jobs: Path) -> None:
    """As after a loss of the host that closes them, when all VMs are finished and no lock tells of the run."""
    ids = [f"20261125T01020{number}Z-0a1b2c3d-4e5f62" for number in range(4)]
    for job_id, subclient in zip(ids, ("nightly", "nightly", "weekly", "nightly"), strict=True):
        store.start(new_job(job_id, run_plan(*VMS, subclient=subclient), now=MOMENT))
    store.finish(ids[1], now=MOMENT)
    (jobs / "20261126T010203Z-0a1b2c3d-4e5f62.json").write_text("{")
    assert store.open_after(ids[1], "nightly") == (ids[3],)
    assert store.open_after("", "nightly") == (ids[0], ids[3])
    assert store.open_after(ids[3], "nightly") == ()


def test_only_the_newest_records_are_read(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    started(store)
    finished = store.finish(RUN, now=MOMENT)
    for number in range(4):
        later = f"20261125T01020{number}Z-0a1b2c3d-4e5f62"
        store.start(new_job(later, run_plan(*VMS, subclient="weekly"), now=MOMENT))
        store.finish(later, now=MOMENT)
    read: list[str] = []
    original = JobStore.read
    monkeypatch.setattr(JobStore, "read", lambda self, job_id: (read.append(job_id), original(self, job_id))[1])
    monkeypatch.setattr(jobs_module, "LOOK_BACK", 5)
    assert store.last_of("nightly") == finished
    assert len(read) == 5
    monkeypatch.setattr(jobs_module, "LOOK_BACK", 4)
    assert store.last_of("nightly") is None
    assert len(read) == 9
    assert store.finished(subclient="nightly").jobs == (finished,)


def test_no_jobs_at_all(store: JobStore, jobs: Path) -> None:
    jobs.rmdir()
    assert store.last_of("nightly") is None
