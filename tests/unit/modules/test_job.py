# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module job. How a status comes about is tested in the vault room."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from unit.transfer.builders import MOMENT, RUN, VM_ID, Estate, vm_plan

from ansible_collections.ovm.backup.plugins.module_utils.vault.jobs import JobStore, vm_record
from ansible_collections.ovm.backup.plugins.modules import job

NOT_A_PLAN = "plan (the plan that plan_info returns as plan)"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The module's time; it is MOMENT until a test moves it."""
    clock = SimpleNamespace(now=MOMENT, time=lambda: clock.now)
    monkeypatch.setattr(job, "time", clock)
    return clock


def run_plan(*vms: dict[str, Any]) -> dict[str, Any]:
    return {"subclient": "nightly", "requested_type": "incremental", "warnings": ["w"], "vms": list(vms) or [vm_plan()]}


@pytest.fixture
def args(estate: Estate) -> dict[str, Any]:
    return {"vault": estate.vault.path, "state": "running", "plan": run_plan()}


@pytest.fixture
def closing(estate: Estate, succeed: Any, args: dict[str, Any]) -> dict[str, Any]:
    """The arguments that close a job which has been opened."""
    job_id = succeed("job", args)["job"]["id"]
    return {"vault": estate.vault.path, "state": "finished", "job_id": job_id}


@pytest.mark.parametrize("check_mode", [False, True])
def test_open(succeed: Any, args: dict[str, Any], estate: Estate, check_mode: bool) -> None:
    tree = estate.tree
    result = succeed("job", args, check_mode=check_mode)
    job_id = result["job"]["id"]
    assert re.fullmatch(rf"20261123T010203Z-{estate.vault.id[:8]}-[0-9a-f]{{6}}", job_id)
    planned = {key: value for key, value in vm_plan().items() if key != "configuration"}
    opened = {
        "id": job_id,
        "subclient": "nightly",
        "requested_type": "incremental",
        "state": "running",
        "started": MOMENT,
        "warnings": ["w"],
        "plan": [planned],
    }
    assert result == {"changed": True, "job": opened}
    if check_mode:
        assert estate.tree == tree
    else:
        assert JobStore(estate.vault).read(job_id) == opened


def test_every_call_opens_another(succeed: Any, args: dict[str, Any]) -> None:
    assert succeed("job", args)["job"]["id"] != succeed("job", args)["job"]["id"]


def test_close(succeed: Any, closing: dict[str, Any], estate: Estate, clock: SimpleNamespace) -> None:
    tree = estate.tree
    clock.now = MOMENT + 90.5
    foreseen = succeed("job", closing, check_mode=True)
    assert estate.tree == tree
    result = succeed("job", closing)
    assert foreseen == result
    stored = JobStore(estate.vault).read(closing["job_id"])
    assert result["changed"] is True
    assert result["job"] == stored
    assert (stored["state"], stored["status"], stored["duration"]) == ("finished", "Failed", 90.5)
    assert [(vm["vm_id"], vm["reason"]) for vm in stored["vms"]] == [
        (VM_ID, "the run ended before this VM was finished")
    ]
    assert result["summary"][:4] == [
        f"Job {closing['job_id']} of subclient nightly: Failed",
        "  2026-11-23 01:02:03 UTC to 2026-11-23 01:03:33 UTC (1 min 30 s), incremental asked for",
        "  1 VM: 1 failed; 0 B read, 0 B stored",
        "  Warning: w",
    ]
    clock.now = MOMENT + 99
    for check_mode in (False, True):
        assert succeed("job", closing, check_mode=check_mode) == {**result, "changed": False}


def test_close_with_a_record(succeed: Any, closing: dict[str, Any], estate: Estate) -> None:
    record = vm_record(vm_plan(), started=MOMENT, finished=MOMENT + 1, failure="no space")
    JobStore(estate.vault).put_vm(closing["job_id"], record)
    assert succeed("job", closing)["job"]["vms"] == [record]


# --- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({}, f"{NOT_A_PLAN} has 4 problems:\n- subclient: is missing\n- requested_type: is missing\n"
             "- warnings: is missing\n- vms: is missing"),
        ({**run_plan(), "vms": vm_plan()}, f"{NOT_A_PLAN}: vms: must be a list, not a mapping"),
        ({**run_plan(), "vms": [vm_plan(), 7]}, f"{NOT_A_PLAN}: vms[1]: must be a mapping, not the number 7"),
        (run_plan(vm_plan(warnings=None)), f"{NOT_A_PLAN}: vms[0].warnings: must be a list, not empty"),
        (run_plan(vm_plan(skipped_disks=[{"slot": 1}])), f"{NOT_A_PLAN}: vms[0].skipped_disks[0].reason: is missing"),
    ],
)  # fmt: skip
def test_malformed_plan(
    fail: Any, args: dict[str, Any], estate: Estate, plan: dict[str, Any], message: str, check_mode: bool
) -> None:
    tree = estate.tree
    failed = fail("job", {**args, "plan": plan}, check_mode=check_mode)
    assert failed["msg"] == message
    assert (failed["failure"]["kind"], failed["failure"]["option"]) == ("InvalidInputError", "plan")
    assert estate.tree == tree


@pytest.mark.parametrize("check_mode", [False, True])
def test_unknown_job(fail: Any, closing: dict[str, Any], estate: Estate, check_mode: bool) -> None:
    assert fail("job", {**closing, "job_id": RUN}, check_mode=check_mode) == {
        "msg": f"There is no job {RUN} in {estate.vault.path}/jobs",
        "failure": {"kind": "PointNotFoundError", "job_id": RUN},
    }
    assert fail("job", {**closing, "job_id": "../vault"}, check_mode=check_mode) == {
        "msg": "'../vault' is not the id of a run: those look like 20261123T010203Z-0a1b2c3d-4e5f60",
        "failure": {"kind": "InvalidInputError", "run_id": "../vault"},
    }


def test_missing_arguments(fail: Any, estate: Estate) -> None:
    for state in ("running", "finished"):
        assert "failure" not in fail("job", {"vault": estate.vault.path, "state": state})


def test_no_vault(fail: Any, args: dict[str, Any]) -> None:
    failed = fail("job", {**args, "vault": "/nowhere"})
    assert failed["failure"] == {"kind": "NotAVaultError", "path": "/nowhere"}
