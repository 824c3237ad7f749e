# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module client_lock. What locks are in all cases is tested in the vault room."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import pytest
from unit.transfer.builders import MOMENT, NEXT_RUN, RUN, VM_ID, Estate, vm_plan

from ansible_collections.ovm.backup.plugins.module_utils.vault.jobs import JobStore, new_job, vm_record

TAKEN = {"changed": True, "vm_stopped": False, "waited": 0.0, "taken_over": None}
RENEWED = {**TAKEN, "changed": False}


@pytest.fixture
def lock(estate: Estate) -> Path:
    return Path(estate.vault.path) / "clients" / "web_01" / "lock.json"


@pytest.fixture
def args(estate: Estate) -> dict[str, Any]:
    return {"vault": estate.vault.path, "client": "web_01", "run_id": RUN}


def read(lock: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lock.read_bytes())
    return found


def test_taken_renewed_and_given_back(succeed: Any, args: dict[str, Any], lock: Path) -> None:
    assert succeed("client_lock", {**args, "vm_id": VM_ID, "vm_name": "web 01", "lease": 60}) == TAKEN
    first = read(lock)
    assert {key: value for key, value in first.items() if key not in ("heartbeat", "since")} == {
        "owner": f"ovm.backup.client_lock on {platform.node()}",
        "run_id": RUN,
        "vm_id": VM_ID,
        "vm_name": "web 01",
        "manager_id": None,
        "host": platform.node(),
        "debts": {},
        "lease": 60.0,
    }
    assert succeed("client_lock", args) == RENEWED
    assert (read(lock)["lease"], read(lock)["since"]) == (1800.0, first["since"])
    assert succeed("client_lock", {**args, "state": "absent"}) == {"changed": True}
    assert not lock.exists()
    assert succeed("client_lock", {**args, "state": "absent"}) == {"changed": False}


@pytest.mark.parametrize("check_mode", [False, True])
def test_job_that_fails_too_much(
    succeed: Any, fail: Any, args: dict[str, Any], lock: Path, estate: Estate, check_mode: bool
) -> None:
    plan = {"subclient": "s", "requested_type": "full", "warnings": [], "vms": [vm_plan(), vm_plan(vm_id="other")]}
    store = JobStore(estate.vault)
    store.start(new_job(RUN, plan, now=MOMENT))
    store.put_vm(RUN, vm_record(vm_plan(), started=MOMENT, finished=MOMENT, failure="it broke"))
    assert fail("client_lock", {**args, "max_failed_percent": 49.5}, check_mode=check_mode) == {
        "msg": "The job was stopped before this VM: 50.0 % of its VMs have failed, 49.5 % may (max_failed_percent)",
        "failure": {"kind": "JobStoppedError", "job_id": RUN},
    }
    assert not lock.exists()
    assert succeed("client_lock", {**args, "max_failed_percent": 50}, check_mode=check_mode) == TAKEN


def test_check_mode(succeed: Any, args: dict[str, Any], lock: Path, estate: Estate) -> None:
    tree = estate.tree
    assert succeed("client_lock", {**args, "vm_stopped": True}, check_mode=True) == {**TAKEN, "vm_stopped": True}
    assert succeed("client_lock", {**args, "state": "absent"}, check_mode=True) == {"changed": False}
    assert estate.tree == tree
    succeed("client_lock", args)
    before = read(lock)
    assert succeed("client_lock", args, check_mode=True) == RENEWED
    assert succeed("client_lock", {**args, "state": "absent"}, check_mode=True) == {"changed": True}
    assert read(lock) == before


def test_debt_to_the_vm(succeed: Any, args: dict[str, Any], lock: Path) -> None:
    assert succeed("client_lock", {**args, "vm_stopped": True})["vm_stopped"] is True
    assert read(lock)["debts"] == {"vm_stopped": True}
    assert succeed("client_lock", args) == {**RENEWED, "vm_stopped": True}  # stays as it is
    assert succeed("client_lock", {**args, "vm_stopped": False}) == RENEWED


@pytest.mark.parametrize("check_mode", [False, True])
def test_lock_of_a_dead_run(succeed: Any, args: dict[str, Any], lock: Path, check_mode: bool) -> None:
    succeed("client_lock", {**args, "run_id": NEXT_RUN, "vm_stopped": True, "lease": 1})
    document = read(lock)
    lock.write_text(json.dumps({**document, "heartbeat": document["heartbeat"] - 2}, sort_keys=True))
    taken = {"changed": True, "vm_stopped": True, "waited": 0.0, "taken_over": NEXT_RUN}
    assert succeed("client_lock", args, check_mode=check_mode) == taken
    assert read(lock)["run_id"] == (NEXT_RUN if check_mode else RUN)


@pytest.mark.parametrize("check_mode", [False, True])
def test_lock_of_a_run_at_work(succeed: Any, fail: Any, args: dict[str, Any], lock: Path, check_mode: bool) -> None:
    succeed("client_lock", {**args, "run_id": NEXT_RUN})
    holder = read(lock)
    failed = fail("client_lock", args, check_mode=check_mode)
    host = platform.node()
    who = f"Client web_01 is locked by run {NEXT_RUN} (ovm.backup.client_lock on {host}) on {host}, last heard of "
    assert failed["msg"].startswith(who)
    assert failed["msg"].endswith(" s or by break_lock: true")
    assert {**failed["failure"], "holder": None} == {"kind": "VaultLockedError", "path": str(lock), "holder": None}
    assert failed["failure"]["holder"]["run_id"] == NEXT_RUN
    assert succeed("client_lock", {**args, "state": "absent"}, check_mode=check_mode) == {"changed": False}
    assert read(lock) == holder
    broken = succeed("client_lock", {**args, "break_lock": True}, check_mode=check_mode)
    assert broken == {"changed": True, "vm_stopped": False, "waited": 0.0, "taken_over": NEXT_RUN}
    assert read(lock)["run_id"] == (NEXT_RUN if check_mode else RUN)


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize(
    ("change", "message", "failure"),
    [
        ({"run_id": "x"}, "'x' is not the id of a run: those look like 20261123T010203Z-0a1b2c3d-4e5f60",
            {"kind": "InvalidInputError", "run_id": "x"}),
        ({"lease": 0}, "lease must be more than 0 seconds, not 0.0", {"kind": "InvalidInputError", "option": "lease"}),
        ({"client": "../x"}, "'../x' is not the name of a client", {"kind": "PointNotFoundError", "client": "../x"}),
        ({"client": "../x", "state": "absent"}, "'../x' is not the name of a client",
            {"kind": "PointNotFoundError", "client": "../x"}),
    ],
)  # fmt: skip
def test_wrong_values(
    fail: Any, args: dict[str, Any], change: dict[str, Any], message: str, failure: dict[str, Any], check_mode: bool
) -> None:
    assert fail("client_lock", {**args, **change}, check_mode=check_mode) == {"msg": message, "failure": failure}


def test_no_vault(fail: Any, args: dict[str, Any], tmp_path: Path) -> None:
    assert fail("client_lock", {**args, "vault": str(tmp_path)})["failure"] == {
        "kind": "NotAVaultError", "path": str(tmp_path),
    }  # fmt: skip


# --- places ----------------------------------------------------------------------------------------------------------


def test_places_are_taken_and_given_back(
    succeed: Any, fail: Any, args: dict[str, Any], estate: Estate, lock: Path
) -> None:
    place = {"slots": [{"name": "server-1", "limit": 1}], "slot_timeout": 0.0}
    assert succeed("client_lock", {**args, **place}) == TAKEN
    assert succeed("client_lock", {**args, **place}) == RENEWED
    other = {**args, "client": "db_01", "run_id": NEXT_RUN, **place}
    failed = fail("client_lock", other)
    folder = f"{estate.vault.path}/slots/server-1"
    assert failed["msg"] == (
        "There was no place for client db_01 in 0 s: 1 may be at work at once for server-1, and these are: web_01"
    )
    assert failed["failure"] == {"kind": "VaultLockedError", "path": folder}
    assert not lock.with_name("lock.json").parent.parent.joinpath("db_01", "lock.json").exists()
    assert succeed("client_lock", {**args, "state": "absent"}) == {"changed": True}
    assert list(Path(folder).iterdir()) == []
    assert succeed("client_lock", other) == TAKEN


def test_what_a_dead_run_left_outlasts_the_wait_for_a_place(
    succeed: Any, fail: Any, args: dict[str, Any], estate: Estate, lock: Path
) -> None:
    """It may have a clone, which whoever settles finds by the lock only."""
    place = {"slots": [{"name": "server-1", "limit": 1}], "slot_timeout": 0.0}
    succeed("client_lock", {**args, **place})
    dead = estate.vault.prepare_client("db_01").lock(owner="a run", run_id=RUN, vm_id="v1", vm_name="db01")
    dead.hold(-1.0)
    path = lock.parent.parent / "db_01" / "lock.json"
    before = path.read_bytes()
    fail("client_lock", {**args, "client": "db_01", "run_id": NEXT_RUN, **place})
    assert json.loads(path.read_bytes()) == json.loads(before)


def test_wrong_limit_of_a_place(fail: Any, args: dict[str, Any], lock: Path) -> None:
    failed = fail("client_lock", {**args, "slots": [{"name": "server-1", "limit": 0}]})
    assert failed["msg"] == "slots: the limit of server-1 must be at least 1, not 0"
    assert not lock.exists()
