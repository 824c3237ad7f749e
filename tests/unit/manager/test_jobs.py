# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waiting for jobs: every end, every loss on the way."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from ansible_collections.ovm.backup.plugins.module_utils import errors
from ansible_collections.ovm.backup.plugins.module_utils.manager.jobs import wait_for_job

RULE = (
    "com.oracle.ovm.mgr.api.exception.RuleException: OVMRU_005002E Operation not allowed- Virtual Machine: app01, "
    "is not STOPPED. It is RUNNING. [Sun Jun 03 15:24:03 GST 2018]"
)


@pytest.fixture
def wait(session: Any, clock: Any) -> Any:
    def call(job: Any, timeout: float = 100.0, **options: Any) -> Any:
        return wait_for_job(session, job, timeout=timeout, clock=clock, sleep=clock.sleep, **options)

    return call


def test_finished_job_is_not_asked_for(wait: Any, transport: Any, fakes: Any) -> None:
    assert wait(fakes.job())["jobRunState"] == "SUCCESS"
    assert transport.calls == []


def test_pauses_grow_from_quick_to_ten_seconds(wait: Any, transport: Any, clock: Any, fakes: Any) -> None:
    running = [fakes.job(state=state) for state in ("NONE", "CREATED", "CHILD_QUEUED", "CHILD_RUNNING")]
    transport.on("GET", "/Job/1448899976258", *running, *[fakes.job(state="RUNNING")] * 8, fakes.job())
    seen: list[str] = []
    wait(fakes.job(state="CREATED"), progress=lambda job: seen.append(job["jobRunState"]))
    assert clock.slept == pytest.approx([0.2, 0.4, 0.8, 1.0, 1.5, 2.25, 3.375, 5.0625, 7.59375, 10.0, 10.0, 10.0, 10.0])
    assert seen == ["CREATED", "NONE", "CREATED", "CHILD_QUEUED", "CHILD_RUNNING", *["RUNNING"] * 8, "SUCCESS"]


def test_own_success_is_not_the_end_while_children_run(wait: Any, transport: Any, fakes: Any) -> None:
    parent = fakes.job(summaryDone=False, jobSummaryState="CHILD_RUNNING")
    transport.on("GET", "/Job/1448899976258", parent, fakes.job())
    wait(parent)
    assert len(transport.calls) == 2


def test_failure(wait: Any, fakes: Any) -> None:
    with pytest.raises(errors.JobFailedError) as caught:
        wait(fakes.failed(RULE))
    assert caught.value.message == f'Oracle VM Manager could not finish job 1448899976258 "Clone Vm: app01": {RULE}'
    assert caught.value.as_failure() == {
        "kind": "JobFailedError",
        "retryable": True,
        "job_id": "1448899976258",
        "job_name": "Clone Vm: app01",
        "error_type": "RULE",
        "error_code": "OVMRU_005002E",
        "reason": RULE,
    }


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("ovm.mgr.ws.model.WsException: NETWORK_000008: Cannot perform operation", "NETWORK_000008"),
        ("OVMAPI_4010E Attempt to send command: x failed. OVMAPI_4004E Sync command failed", "OVMAPI_4010E"),
        ("GEN_000029:Object x of type Server could not be modified", "GEN_000029"),
        ("VM_CLONE_STORAGE_MAPPING_000000: illegal target", "VM_CLONE_STORAGE_MAPPING_000000"),
        ("no code at all, not even 0004fb0000060000", None),
    ],
)
def test_codes_in_messages(wait: Any, fakes: Any, message: str, code: str | None) -> None:
    with pytest.raises(errors.JobFailedError) as caught:
        wait(fakes.failed(message))
    assert caught.value.details["error_code"] == code


def test_abort_is_a_failure(wait: Any, fakes: Any) -> None:
    with pytest.raises(errors.JobFailedError, match=r"\(aborted by admin\): Job aborted by user"):
        wait(fakes.failed("Job aborted by user", "ABORT", abortedByUser="admin"))


def test_failed_child_fails_the_parent_and_explains_it(wait: Any, transport: Any, fakes: Any) -> None:
    transport.on("GET", "/Job/7", fakes.job(7))
    transport.on("GET", "/Job/8", fakes.failed(RULE, number=8))
    children = [fakes.reference("Job", "7"), fakes.reference("Job", "8")]
    with pytest.raises(errors.JobFailedError) as caught:
        wait(fakes.job(jobSummaryState="FAILURE", childJobIds=children))
    assert caught.value.details["error_code"] == "OVMRU_005002E"
    assert caught.value.details["error_type"] == "RULE"


def test_failure_without_any_reason(wait: Any, fakes: Any) -> None:
    with pytest.raises(errors.JobFailedError, match="it gives no reason"):
        wait(fakes.job(state="FAILURE", error=None))


@pytest.mark.parametrize("state", ["ABORTED", "", None])
def test_unknown_state_is_an_error_at_once(wait: Any, transport: Any, fakes: Any, state: Any) -> None:
    job = fakes.job(state="RUNNING")
    transport.on("GET", "/Job/1448899976258", {**job, "jobRunState": state or ""})
    with pytest.raises(errors.ManagerResponseError, match="not a known state"):
        wait(job)
    assert len(transport.calls) == 1


def test_time_limit(wait: Any, transport: Any, clock: Any, fakes: Any) -> None:
    transport.on("GET", "/Job/1448899976258", fakes.job(state="CHILD_QUEUED"))
    with pytest.raises(errors.JobTimeoutError, match="in 30 s. Its last known state is CHILD_QUEUED. It may") as caught:
        wait(fakes.job(state="CREATED"), timeout=30.0)
    assert caught.value.details == {
        "job_id": "1448899976258",
        "job_name": "Clone Vm: app01",
        "state": "CHILD_QUEUED",
        "timeout": 30.0,
    }
    assert clock.now == 1030.0


def test_connection_loss_is_waited_out(wait: Any, transport: Any, fakes: Any) -> None:
    lost = requests.ConnectionError("Connection aborted")
    gone = fakes.Answer(503, "<html/>")
    restarting = fakes.Answer(500, "<html>starting</html>")
    transport.on("GET", "/Job/1448899976258", lost, gone, restarting, restarting, lost, fakes.job())
    assert wait(fakes.job(state="RUNNING"))["jobRunState"] == "SUCCESS"
    assert len(transport.calls) == 6


def test_connection_loss_ends_with_the_time_limit(wait: Any, transport: Any, fakes: Any) -> None:
    transport.on(
        "GET", "/Job/1448899976258", fakes.job(state="RUNNING"), requests.ConnectionError("Connection aborted")
    )
    with pytest.raises(errors.JobTimeoutError, match="RUNNING; since then the manager could not be asked") as caught:
        wait(fakes.job(state="CREATED"), timeout=50.0)
    assert caught.value.details["state"] == "RUNNING"


def test_error_pages_are_not_waited_out_for_ever(wait: Any, transport: Any, fakes: Any) -> None:
    transport.on("GET", "/Job/1448899976258", fakes.Answer(500, "<html>broken</html>"))
    with pytest.raises(errors.ManagerResponseError, match="HTTP status 500"):
        wait(fakes.job(state="RUNNING"), timeout=3600.0)
    assert len(transport.calls) == 5


def test_vanished_job_is_an_error(wait: Any, transport: Any, fakes: Any) -> None:
    transport.on("GET", "/Job/1448899976258", fakes.refused("GEN_000002", 404))
    with pytest.raises(errors.ManagerResponseError, match="no longer knows job 1448899976258") as caught:
        wait(fakes.job(state="RUNNING"))
    assert caught.value.details["outcome"] == "unknown"


def test_something_else_than_a_job(wait: Any, transport: Any, fakes: Any) -> None:
    transport.on("GET", "/Job/1448899976258", {"strings": []})
    with pytest.raises(errors.ManagerResponseError, match="something else than a job"):
        wait(fakes.job(state="RUNNING"))
