# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs that meet each other, lose the manager, or are killed: the next run finds out and puts it right."""

from __future__ import annotations

import signal

import pytest

from playbooks.bench import Bench, Playbook, only, reasons, wait_until

# That Ansible is gone is looked for all the time, and noticed before a transfer that goes on has ended.
SLOW = {"ovm_backup_compression_level": 19, "ovm_backup_progress_interval": 0.2}
BOTH = ("big01", "bigfiles01")


def at_work(bench: Bench) -> bool:
    """Tell whether both VMs are being read: one as a clone, the other one shut down."""
    halves = [path.parent for path in (bench.vault / "clients").glob("*/*/*.img.zst*")]
    return {path.parent.name for path in halves} == set(BOTH) and not any(
        (path / "point.json").exists() for path in halves
    )


def begun(playbook: Playbook) -> bool:
    """Stop each transfer where it is as soon as it writes, so that one waits for the other; tell whether both do."""
    return playbook.freeze_transfers() == set(BOTH)


def caught(bench: Bench, **variables: object) -> Playbook:
    """Start a backup of two VMs and return with both of them stopped in the middle of their transfers."""
    bench.subclients = {"both": only(*BOTH, two_pass=False), "none": only("nobody", allow_empty=True)}
    playbook = bench.start("backup", subclient="both", **SLOW, **variables)
    wait_until(lambda: begun(playbook) or playbook.process.poll() is not None, "both VMs are being read")
    assert playbook.process.poll() is None
    assert at_work(bench)
    assert bench.state_of("bigfiles01") == "STOPPED"
    assert len(bench.clones()) == 1
    return playbook


def halves(bench: Bench) -> set[str]:
    """Return the clients with a recovery point that was not published."""
    folders = [path for path in (bench.vault / "clients").glob("*/*") if path.is_dir()]
    return {path.parent.name for path in folders if not (path / "point.json").exists()}


def check_next_run(bench: Bench, subclient: str, **variables: object) -> None:
    """Run again and assert that it puts right what the dead run has left, and says so."""
    [dead] = {lock["run_id"] for lock in bench.locks().values()}
    outcome = bench.backup(subclient, **variables)
    for vm in BOTH:
        assert f"Run {dead} left work undone on VM {vm}: " in outcome.output
    assert "the VM was started, 0 clones were removed" in outcome.output
    assert "the VM needed no start, 1 clones were removed" in outcome.output
    [record] = [job for job in bench.jobs() if job["id"] == dead]
    assert record["status"] == "Failed"
    assert {vm["reason"] for vm in record["vms"]} == {"the run ended before this VM was finished"}


def test_two_runs_at_once(bench: Bench) -> None:
    first = caught(bench)
    first.freeze()
    holder = bench.locks()["big01"]["run_id"]
    bench.backup("both", code=2)
    for vm, why in reasons(bench.job()).items():
        assert why.startswith(f"Client {vm} is locked by run {holder} ")
    assert at_work(bench)
    assert (bench.state_of("bigfiles01"), len(bench.clones())) == ("STOPPED", 1)
    first.freeze(False)
    assert first.wait().code == 0
    jobs = {job["id"]: job["status"] for job in bench.jobs()}
    assert jobs.pop(holder) == "Completed"
    assert list(jobs.values()) == ["Failed"]


def test_killed(bench: Bench) -> None:
    playbook = caught(bench)
    playbook.kill()
    assert halves(bench) == set(BOTH)
    assert len(bench.clones()) == 1
    assert bench.state_of("bigfiles01") == "STOPPED"
    # As long as the lease lasts nobody can know that the run is dead, unless somebody says so.
    check_next_run(bench, "both", ovm_backup_break_lock=True)
    for vm in BOTH:
        assert bench.job()["vms"][vm]["status"] == "Completed with warnings"
        assert "removed what interrupted runs left in the vault" in " ".join(bench.job()["vms"][vm]["warnings"])
        assert len(bench.points(vm)) == 1


def test_ansible_is_killed(bench: Bench) -> None:
    playbook = caught(bench)
    playbook.process.kill()
    playbook.wait()
    # Its worker processes and the modules are still there. They notice, and clean up.
    playbook.abandon()
    assert halves(bench) == set()
    assert list(bench.temporary.iterdir()) == []
    check_next_run(bench, "none")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_interrupted(bench: Bench, number: signal.Signals) -> None:
    playbook = caught(bench)
    outcome = playbook.interrupt(number)
    assert outcome.code != 0
    assert halves(bench) == set()
    assert list(bench.temporary.iterdir()) == []
    # The leases have ended with the run: the next one settles what is left, whatever it backs up, here nothing at all.
    check_next_run(bench, "none")


def test_manager_is_lost(bench: Bench) -> None:
    playbook = caught(bench, backup_vm_start_timeout=2)
    bench.simulator.fault("reset", times=0)
    playbook.freeze_transfers(False)
    outcome = playbook.wait()
    assert outcome.code == 2
    bench.simulator.clear_faults()
    assert bench.statuses() == dict.fromkeys(BOTH, "Failed")
    why = reasons(bench.job())
    assert why["big01"].startswith("the clone is not removed: Lost Oracle VM Manager at ")
    assert why["bigfiles01"].startswith("the VM is not running again: Lost Oracle VM Manager at ")
    assert set(bench.locks()) == set(BOTH)
    bench.backup("none")
