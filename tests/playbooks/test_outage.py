# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""VMs on NFS: two passes with an outage in between, its limits, and runs that die before, in and after it."""

from __future__ import annotations

import filecmp
import json
import subprocess
import time
from typing import Any

from playbooks.bench import Bench, Playbook, only, reasons, wait_until
from simulator import guest

VM = "bigfiles01"
SLOW = {"ovm_backup_compression_level": 19}
MIB = 1 << 20


def begun(bench: Bench, **variables: Any) -> Playbook:
    """Start a backup of the VM, whose guest takes its time to shut down, and return in between the passes."""
    bench.simulator.ignore_shutdown(VM)
    playbook = bench.start("backup", subclient="one", **variables)
    reached(bench, playbook, lambda: bench.state_of(VM) == "STOPPING", "the guest is asked to shut down")
    return playbook


def reached(bench: Bench, playbook: Playbook, condition: Any, what: str) -> None:
    wait_until(lambda: condition() or playbook.process.poll() is not None, what)
    assert playbook.process.poll() is None, playbook.log.read_text(encoding="utf-8")


def change(bench: Bench, size: int) -> None:
    """Write a file in the guest, before it shuts down at last."""
    guest.write_file(bench.images(VM)[0], "/srv/between.bin", guest.noise(size, f"{bench.runs}"))
    bench.simulator.ignore_shutdown(VM, False)


def stored(bench: Bench, pattern: str) -> list[Any]:
    return list((bench.vault / "clients" / VM).glob(pattern))


def test_outage_covers_what_was_changed_since_the_first_pass(bench: Bench) -> None:
    bench.subclients = {"one": only(VM)}
    playbook = begun(bench)
    [first] = stored(bench, "*/first/*.img.zst")
    size = first.stat().st_size
    change(bench, MIB)
    assert playbook.wait().code == 0
    found = bench.job()["vms"][VM]
    [point] = bench.points(VM)
    [disk] = point["disks"]
    assert (found["status"], found["type"], point["consistency"]) == ("Completed", "full", "clean_shutdown")
    assert set(point["durations"]) == {"transfer", "first_pass", "second_pass", "merge"}
    # Both passes have read all that there is, but the second has added little more than the new file.
    assert found["bytes_read"] == disk["statistics"]["read"] > 10 * MIB
    assert size < disk["file_size"] < size + 2 * MIB
    assert found["outage"] > point["durations"]["second_pass"]
    [full] = stored(bench, "*/*.img.zst")
    image = bench.directory / "restored.img"
    with image.open("wb") as target:
        subprocess.run(["zstd", "-dcq", str(full)], check=True, stdout=target)
    assert filecmp.cmp(image, bench.images(VM)[0], shallow=False)
    # The next plan knows how long it took, and refuses what would take longer than it may.
    [noted] = json.loads(stored(bench, "outages.json")[0].read_text())["outages"]
    assert noted == {"seconds": found["outage"], "ended": noted["ended"], "two_pass": True, "type": "full"}
    path = stored(bench, "outages.json")[0]
    path.write_text(json.dumps({"outages": [{**noted, "seconds": 90.0}]}))
    bench.subclients = {"one": only(VM, max_outage="1m", shutdown_timeout=30)}
    outcome = bench.backup("one", "--check")
    assert "  why: an outage of 1 min 30 s is expected, allowed are 1 min (max_outage)" in outcome.shown[0]
    path.write_text(json.dumps({"outages": [noted]}))


def test_vm_that_somebody_else_switches_off_stays_off(bench: Bench) -> None:
    bench.subclients = {"one": only(VM)}
    playbook = bench.start("backup", subclient="one", **SLOW)
    reached(bench, playbook, playbook.freeze_transfers, "the first pass")
    bench.simulator.set_state(VM, "STOPPED")
    playbook.freeze_transfers(False)
    assert playbook.wait().code == 0
    assert bench.job()["vms"][VM]["status"] == "Completed"
    assert bench.job()["vms"][VM]["outage"] is None
    assert bench.simulator.calls(writing=True) == []
    bench.simulator.set_state(VM, "RUNNING")


def test_vm_that_is_switched_off_right_before_it_is_asked_has_no_outage(bench: Bench) -> None:
    bench.subclients = {"one": only(VM, two_pass=False)}
    playbook = bench.start("backup", subclient="one")
    owed = {"vm_stopped": True}
    reached(bench, playbook, lambda: bench.locks().get(VM, {}).get("debts") == owed, "the VM is about to be shut down")
    bench.simulator.set_state(VM, "STOPPED")
    assert playbook.wait().code == 0
    assert bench.simulator.calls(writing=True) == []
    assert (bench.job()["vms"][VM]["status"], bench.job()["vms"][VM]["outage"]) == ("Completed", None)
    bench.simulator.set_state(VM, "RUNNING")


def test_transfer_is_given_up_in_time(bench: Bench) -> None:
    limit = 6
    bench.subclients = {"one": only(VM, max_outage=limit, shutdown_timeout=5, two_pass=False)}
    playbook = bench.start("backup", subclient="one", **SLOW)
    reached(bench, playbook, lambda: stored(bench, "*/*.img.zst"), "the transfer")
    # It is stopped where it is until its time is over.
    playbook.freeze_transfers()
    over = time.monotonic() + limit
    wait_until(lambda: time.monotonic() > over, "the time is over")
    playbook.freeze_transfers(False)
    assert playbook.wait().code == 2
    assert bench.state_of(VM) == "RUNNING"
    assert bench.points(VM) == []
    assert reasons(bench.job())[VM].startswith("The transfer was given up after ")
    assert bench.job()["vms"][VM]["outage"] > 0
    assert stored(bench, "outages.json") == []


def test_runs_that_are_killed(bench: Bench) -> None:
    bench.subclients = {"one": only(VM)}
    # In the first pass: nobody owes anything.
    playbook = bench.start("backup", subclient="one", **SLOW)
    reached(bench, playbook, lambda: stored(bench, "*/first/*.img.zst"), "the first pass")
    playbook.kill()
    assert (bench.state_of(VM), bench.locks()[VM]["debts"]) == ("RUNNING", {})

    # In the second pass: the VM is down.
    playbook = begun(bench, ovm_backup_break_lock=True, **SLOW)
    change(bench, 6 * MIB)
    reached(bench, playbook, lambda: stored(bench, "*/second/*.img.zst"), "the second pass")
    assert bench.state_of(VM) == "STOPPED"
    playbook.kill()
    assert f"left work undone on VM {VM}: the VM needed no start" in playbook.log.read_text(encoding="utf-8")
    assert (bench.state_of(VM), bench.locks()[VM]["debts"]) == ("STOPPED", {"vm_stopped": True})

    # After the VM was started, before its recovery point is published.
    playbook = bench.start("backup", subclient="one", ovm_backup_break_lock=True)
    reached(bench, playbook, lambda: complete(bench) and bench.state_of(VM) == "RUNNING", "the VM runs again")
    playbook.kill()
    assert f"left work undone on VM {VM}: the VM was started" in playbook.log.read_text(encoding="utf-8")
    assert (bench.state_of(VM), bench.points(VM)) == ("RUNNING", [])

    outcome = bench.backup("one", ovm_backup_break_lock=True)
    assert f"left work undone on VM {VM}: the VM needed no start" in outcome.output
    assert "removed what interrupted runs left in the vault" in bench.job()["vms"][VM]["warnings"][0]
    assert len(bench.points(VM)) == 1


def test_note_in_a_new_lock_says_whose_vm_it_is(bench: Bench) -> None:
    """The lock had run out while the run stood still, and another one has settled it."""
    bench.subclients = {"one": only(VM, two_pass=False), "none": only("nobody", allow_empty=True)}
    bench.simulator.ignore_shutdown(VM)
    playbook = bench.start("backup", subclient="one")
    [lock] = wait_until(lambda: stored(bench, "lock.json"), "the lock is taken")
    time.sleep(0.2)  # until it is written to the end
    lock.unlink()
    reached(bench, playbook, lambda: bench.state_of(VM) == "STOPPING", "the guest is asked to shut down")
    playbook.kill()
    bench.simulator.ignore_shutdown(VM, False)
    wait_until(lambda: bench.state_of(VM) == "STOPPED", "the guest is down")
    bench.end_leases()
    outcome = bench.backup("none")
    assert f"left work undone on VM {VM}: the VM was started" in outcome.output
    assert bench.state_of(VM) == "RUNNING"


def test_merge_that_fails_is_tried_again_and_leaves_nothing(bench: Bench) -> None:
    bench.subclients = {"one": only(VM)}
    playbook = begun(bench)
    [first] = stored(bench, "*/first/*.img.zst")
    # What no merge can write over.
    (first.parent.parent / first.name).mkdir()
    change(bench, MIB)
    assert playbook.wait().code == 2
    assert "FAILED - RETRYING: " in playbook.log.read_text(encoding="utf-8")
    assert (bench.state_of(VM), bench.points(VM), stored(bench, "*-*/")) == ("RUNNING", [], [])
    reason = reasons(bench.job())[VM]
    assert reason.startswith("the recovery point is not published: Cannot remove ")
    assert reason.endswith(f"{first.name}: Is a directory")


def complete(bench: Bench) -> bool:
    """Tell whether a draft waits for its publication."""
    return any(json.loads(path.read_text())["point"] for path in stored(bench, "*/draft.json"))
