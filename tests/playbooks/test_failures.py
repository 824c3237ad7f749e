# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes wrong while VMs are backed up: it stays with its VM, is told, and leaves nothing behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playbooks.bench import Bench, only, reasons, wait_until


def id_of(bench: Bench, vm: str) -> str:
    """Return the id of a VM."""
    return str(bench.simulator.find("Vm", vm)["id"]["value"])


@contextmanager
def broken_images(bench: Bench) -> Iterator[None]:
    """Take the image of old01 away and cut that of old02 short, for a while."""
    missing, short = bench.images("old01")[0], bench.images("old02")[0]
    kept = {path: path.with_name(f".kept-{path.name}") for path in (missing, short)}
    for path, aside in kept.items():
        shutil.copyfile(path, aside)
    missing.unlink()
    with short.open("r+b") as file:
        file.truncate(1_000_000)
    try:
        yield
    finally:
        for path, aside in kept.items():
            aside.replace(path)


def test_each_failure_stays_with_its_vm(bench: Bench) -> None:
    names = ["db 01", "app/01", "web01", "mail01", "gone01", "files01", "files02", "old01", "old02"]
    bench.subclients = {"mixed": only(*names, shutdown_timeout=1)}
    simulator = bench.simulator
    refused = "OVMRU_002030E Cannot clone: the rule says no"
    simulator.fault("error", method="PUT", path=f"/Vm/{id_of(bench, 'app/01')}/clone", code="X", message=refused)
    simulator.job_fault("vm.clone", name="Clone Vm: web01", leftovers=True, message="OVMAPI_4010E agent is ill")
    simulator.job_fault("vm.clone", name="Clone Vm: mail01", leftovers="disks", message="OVMAPI_4010E no space")
    simulator.ignore_shutdown("files01")
    gone = id_of(bench, "gone01")
    mappings = {item["id"]["value"] for item in bench.peek("/VmDiskMapping") if item["vmId"]["value"] == gone}
    with broken_images(bench):
        playbook = bench.start("backup", subclient="mixed")
        # The run has planned and locks its first clients: now somebody deletes a VM that it is about to clone.
        wait_until(lambda: "gone01" in bench.locks(), "the client of gone01 is locked")
        assert not bench.clones()
        simulator.delete_vm("gone01")
        outcome = playbook.wait()
    simulator.ignore_shutdown("files01", False)
    bench.running.discard("gone01")
    bench.objects["Vm"].discard(gone)
    bench.objects["VmDiskMapping"] -= mappings

    assert outcome.code == 2
    assert "Traceback" not in outcome.output
    job = bench.job()
    assert bench.statuses() == {
        **dict.fromkeys(names, "Failed"),
        "db 01": "Completed",
        "files02": "Completed",
    }
    assert job["status"] == "Completed with errors"
    why = reasons(job)
    assert refused in why["app/01"]
    for vm, cause in (("web01", "OVMAPI_4010E agent is ill"), ("mail01", "OVMAPI_4010E no space")):
        assert why[vm].startswith(f'VM "{vm}" was not cloned. ') and cause in why[vm]
    assert "gone01" in why["gone01"] or gone in why["gone01"]
    assert why["files01"] == (
        'VM "files01" did not shut down in 1 s and is RUNNING. The request was withdrawn; '
        "it was not powered off by force."
    )
    assert why["old01"] == f"Cannot open the image {bench.images('old01')[0]}: No such file or directory"
    assert str(bench.images("old02")[0]) in why["old02"] and "1000000 bytes" in why["old02"]
    # The recap shows the same VMs, and every reason stands in the summary.
    clients = {vm: facts["client"] for vm, facts in job["vms"].items()}
    assert outcome.failed == {
        f"{clients[vm]} (VM)" for vm, status in bench.statuses().items() if status == "Failed"
    } | {"localhost"}
    summary = "\n".join(outcome.shown[-1])
    for vm in names:
        assert f"\n{vm} ({job['vms'][vm]['status']})\n  reason: {why[vm]}" in summary
        assert len(bench.points(clients[vm])) == (job["vms"][vm]["status"] == "Completed")


def test_all_fail(bench: Bench) -> None:
    bench.subclients = {"bad": only("app/01", "files01", nfs_policy="fail")}
    bench.simulator.job_fault("vm.clone", message="OVMAPI_4010E agent is ill")
    outcome = bench.backup("bad", code=2)
    job = bench.job()
    assert (job["status"], job["counts"]["Failed"]) == ("Failed", 2)
    assert "nfs_policy" in job["vms"]["files01"]["reason"]
    assert job["vms"]["files01"]["outage"] is None
    assert outcome.shown[-1][0] == f"Job {job['id']} of subclient bad: Failed"
    assert outcome.failed == {"app_01 (VM)", "files01 (VM)"}


def test_guest_that_stays_up_and_connection_that_breaks(bench: Bench) -> None:
    bench.subclients = {"two": only("web01", "files01", shutdown_timeout=1, kill=True)}
    bench.simulator.ignore_shutdown("files01")
    # In the middle of the waits for jobs, and just when the clone has begun.
    bench.simulator.fault("reset", method="GET", path="/Job/*", times=4)
    bench.simulator.fault("html_500", method="GET", path="/Job/*", times=1)
    bench.simulator.fault("reset", method="PUT", path="/Vm/*/clone", when="after")
    bench.backup("two")
    bench.simulator.ignore_shutdown("files01", False)
    assert bench.statuses() == {"web01": "Completed", "files01": "Completed with warnings"}
    files01 = bench.job()["vms"]["files01"]
    assert files01["method"] == "shutdown"
    assert "switched off" in files01["warnings"][0]
    assert files01["outage"] > 0
    assert bench.points("files01")[0]["consistency"] == "crash_consistent"
    clones = [call for call in bench.simulator.calls(writing=True) if call["path"].endswith("/clone")]
    assert len(clones) == 1


def test_debts_are_settled_by_the_next_run(bench: Bench) -> None:
    bench.subclients = {
        "two": only("web01", "files01"),
        "other": only("old01"),
        "files": only("files01"),
    }
    bench.simulator.job_fault("vm.start", name="Start Vm: files01", times=0, message="OVMAPI_4010E no memory")
    bench.simulator.fault("error", method="DELETE", path="/Vm/*", times=0, message="not now")
    bench.backup("two", code=2, backup_vm_start_timeout=1)
    assert bench.state_of("files01") == "STOPPED"
    assert len(bench.clones()) == 1
    why = reasons(bench.job())
    assert bench.statuses() == {"web01": "Failed", "files01": "Failed"}
    assert why["files01"].startswith("the VM is not running again: ") and "OVMAPI_4010E no memory" in why["files01"]
    assert why["web01"].startswith("the clone is not removed: ") and "not now" in why["web01"]
    locks = bench.locks()
    assert {client: lock["debts"].get("vm_stopped", False) for client, lock in locks.items()} == {
        "files01": True,
        "web01": False,
    }
    # The data is safe all the same, and nobody has to wait for the end of a lease, or to name these VMs.
    assert [len(bench.points(client)) for client in ("files01", "web01")] == [1, 1]
    bench.simulator.clear_faults()
    bench.simulator.job_fault("vm.start", name="Start Vm: files01", times=0, message="OVMAPI_4010E no memory")
    outcome = bench.backup("other", code=2, plan_start_timeout=1)
    assert bench.statuses() == {"old01": "Completed"}
    assert outcome.failed == {"localhost"}
    assert outcome.messages["localhost"].startswith("files01: ")
    assert "OVMAPI_4010E no memory" in outcome.messages["localhost"]
    assert (bench.clones(), set(bench.locks())) == ([], {"files01"})
    # Once more the VM cannot be started at first, so the run that backs it up takes the debt over, and pays it.
    bench.simulator.clear_faults()
    bench.simulator.job_fault("vm.start", name="Start Vm: files01", times=3, message="OVMAPI_4010E no memory")
    outcome = bench.backup("files", code=2)
    assert outcome.messages["localhost"].startswith("files01: ")
    files01 = bench.job()["vms"]["files01"]
    assert (files01["status"], files01["method"], files01["outage"]) == ("Completed with warnings", "cold", None)
    took, started = (warning.rsplit(" run ", 1) for warning in files01["warnings"][-2:])
    assert (took[0], started) == ("took over the lock of", ["started the VM that", f"{took[1]} had stopped"])


def test_what_was_started_once_is_not_started_again(bench: Bench) -> None:
    """A dead run's VM is started, its clone cannot be removed, and then somebody switches the VM off for good."""
    bench.subclients = {"one": only("web01"), "none": only("nobody", allow_empty=True)}
    bench.simulator.fault("error", method="DELETE", path="/Vm/*", times=0, message="not now")
    bench.backup("one", code=2)
    lock = bench.vault / "clients" / "web01" / "lock.json"
    lock.write_text(json.dumps({**bench.locks()["web01"], "debts": {"vm_stopped": True}}), encoding="utf-8")
    bench.simulator.set_state("web01", "STOPPED")
    assert "not now" in bench.backup("none", code=2).messages["localhost"]
    assert bench.state_of("web01") == "RUNNING"
    assert bench.locks()["web01"]["debts"] == {"vm_stopped": False}
    bench.simulator.clear_faults()
    bench.simulator.set_state("web01", "STOPPED")
    done = "left work undone on VM web01: the VM needed no start, 1 clones were removed"
    assert done in bench.backup("none").output
    assert bench.state_of("web01") == "STOPPED"
    bench.simulator.set_state("web01", "RUNNING")
