# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module job_info."""

from __future__ import annotations

from typing import Any

from unit.transfer.builders import MOMENT, RUN, Estate, vm_plan

from ansible_collections.ovm.backup.plugins.module_utils.vault.jobs import JobStore, new_job, vm_record


def test_a_job_that_runs_and_one_that_is_finished(succeed: Any, estate: Estate) -> None:
    vms = [vm_plan(vm_id="a", vm_name="one"), vm_plan(vm_id="b", vm_name="two", order=2)]
    plan = {"subclient": "nightly", "requested_type": "incremental", "warnings": [], "vms": vms}
    store = JobStore(estate.vault)
    store.start(new_job(RUN, plan, now=MOMENT))
    store.put_vm(RUN, vm_record(vms[1], started=MOMENT, finished=MOMENT + 1, failure="full"))
    args = {"vault": estate.vault.path, "job_id": RUN}
    tree = estate.tree
    running = succeed("job_info", args)
    assert sorted(running) == ["changed", "failed_percent", "job"]
    assert (running["changed"], running["failed_percent"]) == (False, 50.0)
    assert [(vm["vm_name"], vm["status"]) for vm in running["job"]["vms"]] == [("one", "Failed"), ("two", "Failed")]
    assert estate.tree == tree
    finished = store.finish(RUN, now=MOMENT + 2)  # the first was never finished, so it failed, too
    assert succeed("job_info", args, check_mode=True) == {"changed": False, "failed_percent": 100.0, "job": finished}


def test_unknown_jobs(fail: Any, estate: Estate) -> None:
    failed = fail("job_info", {"vault": estate.vault.path, "job_id": RUN})
    assert failed["failure"] == {"kind": "PointNotFoundError", "job_id": RUN}
    failed = fail("job_info", {"vault": estate.vault.path, "job_id": "../x"})
    assert failed["failure"]["kind"] == "InvalidInputError"
