# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a run counts as dead."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.errors import VaultError
from ansible_collections.ovm.backup.plugins.module_utils.vault.jobs import JobStore, is_run_of, new_job, new_job_id
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault
from ansible_collections.ovm.backup.plugins.module_utils.vault.runs import Held, Verdict, judge, lived_on, read_locks

NOW, HOUR, LIMIT = 1_700_000_000.0, 3600.0, 86400.0
PLAN: dict[str, Any] = {"subclient": "all", "requested_type": "full", "warnings": [], "vms": []}


def run_of(vault: Vault, age: float = 2 * HOUR, *, job: bool = True) -> str:
    """Return the id of a run that began so many seconds ago, by default with an open job."""
    run_id = new_job_id(vault.id, NOW - age)
    if job:
        JobStore(vault).start(new_job(run_id, PLAN, now=NOW - age))
        touch(vault, run_id, age)
    return run_id


def touch(vault: Vault, run_id: str, age: float) -> None:
    for entry in os.scandir(os.path.join(vault.path, "jobs", run_id)):
        os.utime(entry.path, (NOW - age, NOW - age))


def lock(vault: Vault, client: str, run_id: str, *, age: float = 60.0, lease: float | None = 1800.0) -> None:
    """Let a run have the lock of a client, renewed so many seconds ago."""
    folder = vault.prepare_client(client).directory
    document = {"owner": "a run", "run_id": run_id, "host": "elsewhere", "heartbeat": NOW - age, "pid": 1}
    if lease is not None:
        document["lease"] = lease
    Path(folder, "lock.json").write_text(json.dumps(document))


def verdict(vault: Vault, run_id: str, limit: float = LIMIT) -> Verdict:
    """Judge a run, the leases of locks by the time of the test."""
    return judge(vault, run_id, [_at_now(held) for held in read_locks(vault)], now=NOW, limit=limit)


def _at_now(held: Held) -> Held:
    if "lease" not in held.status:
        return held
    alive = held.status["heartbeat"] + held.status["lease"] >= NOW
    return Held(held.client, held.run_id, alive, held.status)


def test_it_has_a_lock(vault: Vault) -> None:
    run_id = run_of(vault, 500 * HOUR)
    lock(vault, "web01", run_id)
    lock(vault, "db01", run_id, age=7200.0)  # another of its locks ran out
    expected = Verdict(False, "the run may be at work: it has the lock of client web01")
    assert verdict(vault, run_id) == expected
    JobStore(vault).finish(run_id, now=NOW)
    assert verdict(vault, run_id) == expected


def test_the_process_that_has_a_lock_may_be_anywhere(vault: Vault) -> None:
    run_id = run_of(vault, 500 * HOUR)
    lock(vault, "web01", run_id, age=500 * HOUR, lease=None)
    assert not verdict(vault, run_id).dead


def test_its_job_is_finished(vault: Vault) -> None:
    run_id = run_of(vault, 60.0)
    JobStore(vault).finish(run_id, now=NOW)
    assert verdict(vault, run_id) == Verdict(True, "the job of the run is finished")


@pytest.mark.parametrize(("lease", "dead"), [(1800.0, True), (1.0, True), (0.001, False)])
def test_its_lock_ran_out(vault: Vault, lease: float, dead: bool) -> None:
    """A lease of next to nothing is given to a lock by a run that goes on with other VMs."""
    run_id = run_of(vault, 60.0)
    lock(vault, "web01", run_id, age=7200.0, lease=lease)
    found = verdict(vault, run_id)
    assert found.dead is dead
    if dead:
        assert found.reason == "the lock of the run on client web01 ran out"


@pytest.mark.parametrize(
    ("record", "other", "dead"),
    [
        (None, None, True),
        (7202.0, None, True),  # the clocks of hosts differ a bit
        (600.0, None, False),  # the record of a VM after the interruption
        (None, 600.0, False),  # and of one that was given up, with a debt
        (7300.0, 7300.0, True),
    ],
)
def test_a_module_of_it_was_interrupted(vault: Vault, record: float | None, other: float | None, dead: bool) -> None:
    """That ends the lease of one lock. The run may go on with other VMs, or wait and try again."""
    run_id = run_of(vault, 3 * HOUR)
    lock(vault, "web01", run_id, age=7200.0, lease=1.0)
    if record is not None:
        Path(vault.path, "jobs", run_id, "vm.json").write_text("{}")
        touch(vault, run_id, record)
    if other is not None:
        lock(vault, "db01", run_id, age=other, lease=0.001)
    found = verdict(vault, run_id)
    assert (found.dead, lived_on(vault, run_id, read_locks(vault))) == (dead, not dead)
    if not dead:
        assert found.reason == (
            "the run went on after its lock on client web01 had run out, its job is open, and the last sign of it is "
            "10 min 00 s old; it counts as dead after 24 h 00 min"
        )
        assert verdict(vault, run_id, limit=500.0).dead


def test_the_last_lock_that_ran_out_counts(vault: Vault) -> None:
    run_id = run_of(vault, 3 * HOUR)
    lock(vault, "a", run_id, age=7200.0, lease=1.0)
    lock(vault, "b", run_id, age=3600.0)
    assert verdict(vault, run_id) == Verdict(True, "the lock of the run on client a ran out")


def test_nobody_lives_on_whose_lock_cannot_be_read(vault: Vault) -> None:
    Path(vault.prepare_client("web01").directory, "lock.json").write_text("damaged")
    assert not lived_on(vault, None, read_locks(vault))


@pytest.mark.parametrize(
    ("age", "record", "job", "dead", "text"),
    [
        (2 * HOUR, None, True, False, "its job is open, and the last sign of it is 2 h 00 min old; it counts as dead "
         "after 24 h 00 min"),
        (25 * HOUR, None, True, True, "its job is open, and the last sign of it is 25 h 00 min old"),
        # A run that is between two VMs has just recorded the one before.
        (90 * HOUR, 60.0, True, False, "its job is open, and the last sign of it is 1 min 00 s old; it counts as dead "
         "after 24 h 00 min"),
        (90 * HOUR, 30 * HOUR, True, True, "its job is open, and the last sign of it is 30 h 00 min old"),
        (2 * HOUR, None, False, False, "it has no readable job, and the last sign of it is 2 h 00 min old; it counts "
         "as dead after 24 h 00 min"),
        (25 * HOUR, None, False, True, "it has no readable job, and the last sign of it is 25 h 00 min old"),
    ],
)  # fmt: skip
def test_it_has_no_lock(vault: Vault, age: float, record: float | None, job: bool, dead: bool, text: str) -> None:
    run_id = run_of(vault, age, job=job)
    if record is not None:
        Path(vault.path, "jobs", run_id, "vm.json").write_text("{}")
        touch(vault, run_id, record)
    lock(vault, "other", run_of(vault, job=False), age=7200.0)  # of somebody else
    assert verdict(vault, run_id) == Verdict(dead, f"the run has no lock, {text}")


def test_records_that_cannot_be_listed_prove_nothing(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lock ran out when a module was interrupted, and it went on with other VMs: only their records tell."""
    run_id = run_of(vault)
    lock(vault, "web01", run_id, age=HOUR, lease=60.0)
    Path(vault.path, "jobs", run_id, "1.json").write_text("{}")
    touch(vault, run_id, 60.0)
    assert not verdict(vault, run_id).dead
    listed = os.listdir

    def late(path: str) -> list[str]:
        if str(path).endswith(run_id):
            raise TimeoutError(errno.ETIMEDOUT, "the storage did not answer within the time limit", path)
        return listed(path)

    monkeypatch.setattr(os, "listdir", late)
    with pytest.raises(VaultError, match="^Cannot list .*: the storage did not answer within the time limit"):
        verdict(vault, run_id)


def test_a_damaged_job_is_no_proof(vault: Vault) -> None:
    run_id = run_of(vault)
    Path(vault.path, "jobs", f"{run_id}.json").write_text("{")
    assert not verdict(vault, run_id).dead
    assert verdict(vault, run_id, limit=HOUR).dead


def test_a_lock_that_cannot_be_read_may_be_anybodys(vault: Vault) -> None:
    run_id = run_of(vault, 500 * HOUR)
    JobStore(vault).finish(run_id, now=NOW)
    Path(vault.prepare_client("web01").directory, "lock.json").write_text("damaged")
    assert verdict(vault, run_id) == Verdict(
        False, "the lock of client web01 cannot be read: it may be that of this run"
    )


def test_runs_of_a_vault(vault: Vault) -> None:
    assert is_run_of(new_job_id(vault.id, NOW), vault)
    assert not is_run_of(new_job_id("00000000-0000", NOW), vault)
    assert not is_run_of("run-1", vault)
