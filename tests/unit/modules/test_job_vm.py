# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module job_vm. How a status comes about is tested in the vault room."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from unit.transfer.builders import MOMENT, NEXT_RUN, RUN, VM_ID, Estate, vm_plan

from ansible_collections.ovm.backup.plugins.module_utils.vault.jobs import JobStore, new_job
from ansible_collections.ovm.backup.plugins.module_utils.vault.outages import Outage, read_outages
from ansible_collections.ovm.backup.plugins.modules import job_vm

NOT_A_VM = "plan (one of the VMs that plan_info returns in plan.vms)"
NOT_A_POINT = "recovery_point (the recovery point that backup returns)"
POINT = {
    "id": "20261123T010203Z-0001",
    "type": "full",
    "reason": "first backup of this VM",
    "method": "cold",
    "consistency": "powered_off",
    "warnings": [],
    "durations": {"transfer": 3.5},
    "disks": [{"statistics": {"read": 100, "changed": 90, "stored": 40}}],
}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_vm, "time", SimpleNamespace(time=lambda: MOMENT + 60.0))


@pytest.fixture
def args(estate: Estate) -> dict[str, Any]:
    """The arguments for a VM of a job that runs."""
    plan = {"subclient": "nightly", "requested_type": "incremental", "warnings": [], "vms": [vm_plan()]}
    JobStore(estate.vault).start(new_job(RUN, plan, now=MOMENT))
    return {"vault": estate.vault.path, "job_id": RUN, "plan": vm_plan(), "started": MOMENT + 1.5}


@pytest.fixture
def record(estate: Estate) -> Path:
    return Path(estate.vault.path) / "jobs" / RUN / f"{VM_ID}.json"


def test_success(succeed: Any, args: dict[str, Any], record: Path) -> None:
    args = {**args, "recovery_point": POINT}
    vm = {
        "order": 1,
        "vm_id": VM_ID,
        "vm_name": "web 01",
        "client": "web_01",
        "status": "Completed",
        "reason": "first backup of this VM",
        "method": "cold",
        "requested_type": "incremental",
        "type": "full",
        "point": "20261123T010203Z-0001",
        "bytes_read": 100,
        "bytes_stored": 40,
        "started": MOMENT + 1.5,
        "finished": MOMENT + 60.0,
        "duration": 58.5,
        "outage": None,
        "proxy": "localhost",
        "skipped_disks": [],
        "warnings": [],
    }
    assert succeed("job_vm", args, check_mode=True) == {"changed": True, "vm": vm, "problems": []}
    assert not record.exists()
    assert succeed("job_vm", args) == {"changed": True, "vm": vm, "problems": []}
    assert json.loads(record.read_bytes()) == vm


@pytest.mark.parametrize(
    ("options", "status", "reason"),
    [
        ({"failure": "no space"}, "Failed", "no space"),
        ({"failure": "not running", "recovery_point": POINT}, "Failed", "not running"),
        ({}, "Failed", "the run ended before this VM was finished"),
        ({"recovery_point": POINT, "warnings": ["w"]}, "Completed with warnings", "first backup of this VM"),
        ({"recovery_point": POINT, "killed": True}, "Completed with warnings", "first backup of this VM"),
        ({"plan": vm_plan(action="current", reason="young")}, "Skipped", "young"),
    ],
)
def test_status(succeed: Any, args: dict[str, Any], options: dict[str, Any], status: str, reason: str) -> None:
    vm = succeed("job_vm", {**args, **options})["vm"]
    assert (vm["status"], vm["reason"]) == (status, reason)


@pytest.mark.parametrize(
    ("times", "outage"),
    [({"stopped_at": MOMENT + 2, "running_at": MOMENT + 9.25}, 7.25), ({"stopped_at": MOMENT}, 60.0)],
)
def test_outage(succeed: Any, args: dict[str, Any], times: dict[str, float], outage: float) -> None:
    assert succeed("job_vm", {**args, **times, "recovery_point": POINT})["vm"]["outage"] == outage


def test_outage_is_noted_for_later_plans(succeed: Any, args: dict[str, Any], estate: Estate) -> None:
    folder = estate.vault.prepare_client("web_01").directory
    times = {"stopped_at": MOMENT + 2, "running_at": MOMENT + 9.25}
    succeed("job_vm", {**args, **times, "failure": "gone wrong"})
    succeed("job_vm", {**args, "stopped_at": MOMENT, "recovery_point": POINT})  # it does not run again
    succeed("job_vm", {**args, **times, "recovery_point": POINT}, check_mode=True)
    assert read_outages(folder) == ()
    succeed("job_vm", {**args, **times, "recovery_point": POINT})
    assert read_outages(folder) == (Outage(7.25, MOMENT + 9.25, False, "full"),)


def test_a_later_record_replaces_the_earlier(succeed: Any, args: dict[str, Any], record: Path) -> None:
    succeed("job_vm", {**args, "failure": "first"})
    succeed("job_vm", {**args, "failure": "second"})
    assert json.loads(record.read_bytes())["reason"] == "second"


# --- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"plan": {}}, f"{NOT_A_VM} has 16 problems:\n- vm_id: is missing\n- vm_name: is missing"),
        ({"plan": vm_plan(proxy=["a"])}, f"{NOT_A_VM}: proxy: must be a string, not a list"),
        ({"recovery_point": {**POINT, "disks": [{}]}}, f"{NOT_A_POINT}: disks[0].statistics: is missing"),
        ({"recovery_point": {**POINT, "warnings": 1}}, f"{NOT_A_POINT}: warnings: must be a list, not the number 1"),
        ({"job_id": "x"}, "'x' is not the id of a run: those look like 20261123T010203Z-0a1b2c3d-4e5f60"),
    ],
)  # fmt: skip
def test_wrong_values(
    fail: Any, args: dict[str, Any], record: Path, change: dict[str, Any], message: str, check_mode: bool
) -> None:
    failed = fail("job_vm", {**args, **change}, check_mode=check_mode)
    assert failed["msg"].startswith(message)
    assert failed["failure"]["kind"] == "InvalidInputError"
    assert not record.exists()


@pytest.mark.parametrize("what", ["keep", "give_back", "leave"])
def test_lock_of_the_client(succeed: Any, args: dict[str, Any], estate: Estate, what: str) -> None:
    lock = estate.vault.prepare_client("web_01").lock(owner="the run", run_id=RUN)
    lock.hold(600.0, {"vm_stopped": True})
    before = lock.status()
    succeed("job_vm", {**args, "lock": what}, check_mode=True)
    assert lock.status() == before
    result = succeed("job_vm", {**args, "lock": what, "recovery_point": POINT})
    assert (result["vm"]["status"], result["problems"]) == ("Completed", [])
    after = lock.status()
    if what == "give_back":
        assert after is None
        return
    assert after is not None and after["debts"] == {"vm_stopped": True}
    assert after["lease"] == {"keep": 600.0, "leave": 0.001}[what]


def test_lock_that_cannot_be_given_back(succeed: Any, args: dict[str, Any], estate: Estate, record: Path) -> None:
    estate.vault.prepare_client("web_01").lock(owner="another run", run_id=NEXT_RUN).hold(600.0)
    result = succeed("job_vm", {**args, "lock": "leave", "recovery_point": POINT, "failure": "it broke"})
    (problem,) = result["problems"]
    assert problem.startswith(f"the lock is not given back: Client web_01 is locked by run {NEXT_RUN} (another run)")
    assert (result["vm"]["status"], result["vm"]["reason"]) == ("Failed", f"it broke; {problem}")
    assert json.loads(record.read_bytes()) == result["vm"]


def test_unknown_job(fail: Any, succeed: Any, args: dict[str, Any], estate: Estate) -> None:
    assert fail("job_vm", {**args, "job_id": NEXT_RUN}) == {
        "msg": f"There is no job {NEXT_RUN} in {estate.vault.path}/jobs",
        "failure": {"kind": "PointNotFoundError", "job_id": NEXT_RUN},
    }
    # In check mode the job module has opened none.
    assert succeed("job_vm", {**args, "job_id": NEXT_RUN}, check_mode=True)["changed"] is True


def test_a_vm_that_is_not_in_the_plan(fail: Any, args: dict[str, Any]) -> None:
    assert fail("job_vm", {**args, "plan": vm_plan(vm_id="other")}) == {
        "msg": f"VM 'web 01' (other) is not in the plan of job {RUN}",
        "failure": {"kind": "InvalidInputError", "job_id": RUN, "vm_id": "other"},
    }


@pytest.mark.parametrize("check_mode", [False, True])
def test_finished_job(fail: Any, args: dict[str, Any], estate: Estate, check_mode: bool) -> None:
    JobStore(estate.vault).finish(RUN, now=MOMENT)
    assert fail("job_vm", args, check_mode=check_mode) == {
        "msg": f"Job {RUN} is finished: its record is not changed any more",
        "failure": {"kind": "InvalidInputError", "job_id": RUN},
    }


def test_arguments_that_need_each_other(fail: Any, args: dict[str, Any]) -> None:
    assert "failure" not in fail("job_vm", {})
    assert "failure" not in fail("job_vm", {**args, "running_at": MOMENT})
