# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The janitor: shows what a killed run has left, changes nothing until it is told to, then leaves nothing."""

from __future__ import annotations

from pathlib import Path

from playbooks.bench import Bench
from playbooks.test_interrupted import BOTH, caught, halves


def look(bench: Bench, *options: str, **variables: object) -> list[str]:
    """Run the janitor where it must change nothing; return what it shows."""
    before = (bench.tree(), bench.listed(), bench.simulator.running_vms())
    bench.simulator.clear_calls()
    bench.simulator.read_only()
    outcome = bench.run("janitor", *options, **variables)
    bench.simulator.read_only(False)
    assert bench.simulator.calls(writing=True) == []
    assert (bench.tree(), bench.listed(), bench.simulator.running_vms()) == before
    [shown] = outcome.shown
    # As in check mode, the recap counts what would be changed.
    assert (outcome.changed["localhost"] > 0) == any(line.startswith(("leftover: clients", "owed")) for line in shown)
    return shown


def test_killed_run(bench: Bench) -> None:
    playbook = caught(bench)
    playbook.kill()
    [run] = {lock["run_id"] for lock in bench.locks().values()}
    # As long as the leases last the run may be alive.
    shown = look(bench)
    assert not [line for line in shown if line.startswith(("leftover", "owed"))]
    assert len([line for line in shown if line.startswith("kept: ")]) == 4  # a clone, two recovery points, a job
    bench.run("janitor", apply=True)
    assert (halves(bench), len(bench.clones()), bench.state_of("bigfiles01")) == (set(BOTH), 1, "STOPPED")

    bench.end_leases()
    shown = look(bench)
    assert shown[:2] == [f"owed to VM {vm}" for vm in BOTH]
    [clone] = bench.clones()
    assert f"leftover: {clone} of VM big01, made by run {run}: the lock of the run on client big01 ran out" in shown
    assert len([line for line in shown if line.startswith("leftover: clients/")]) == 2
    assert f"leftover: jobs/{run}.json, an open job: the lock of the run on client big01 ran out" in shown
    assert shown[-1] == "Nothing was changed. Run it with -e apply=true to clean up."
    assert look(bench, "--check", apply=True)[:-1] == shown[:-2]

    outcome = bench.run("janitor", apply=True)
    first, done = outcome.shown
    assert first == shown[:-1]
    assert done[0].startswith("Settled on 2 VMs, removed clones or clone definitions of 0 dead runs that had no lock, ")
    assert f"Run {run} left work undone on VM bigfiles01: the VM was started, 0 clones were removed" in outcome.output
    assert f"Run {run} left work undone on VM big01: the VM needed no start, 1 clones were removed" in outcome.output
    bench.check_settled()
    assert look(bench) == ["Nothing is left."]


def test_clone_of_a_run_without_lock(bench: Bench) -> None:
    """Somebody removed the locks and the client's folder by hand: the job is all that tells of the run."""
    caught(bench).kill()
    for vm in BOTH:
        Path(bench.vault / "clients" / vm / "lock.json").unlink()
    bench.simulator.set_state("bigfiles01", "RUNNING")  # nothing tells that it was stopped by us
    shown = look(bench)
    assert [line for line in shown if line.startswith("leftover: clients/")] == shown[1:3]
    assert "it counts as dead after 24 h 00 min" in shown[0]
    outcome = bench.run("janitor", apply=True, janitor_limit="0")
    assert "removed clones or clone definitions of 1 dead runs that had no lock" in outcome.output
