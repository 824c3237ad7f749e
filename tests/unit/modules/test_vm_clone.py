# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module vm_clone. How a clone is made, proved to be ours and removed is tested in the manager room."""

from __future__ import annotations

import functools
import itertools
import json
import platform
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit.transfer.builders import NEXT_RUN, RUN
from unit.vault.builders import MIB, add_disk, describe, noise, write_image

from ansible_collections.ovm.backup.plugins.module_utils.manager.clone_making import CloneMaking
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client, Vault
from ansible_collections.ovm.backup.plugins.module_utils.vault.turns import turns
from ansible_collections.ovm.backup.plugins.modules import vm_clone
from simulator.testing import Simulator

OTHER_VAULT = RUN.replace("0a1b2c3d", "99999999")
OLD_RUN = RUN.replace("4e5f60", "000000")
NAME = f"db01.ovm-backup.{RUN}"
# What a removal returns that finds nothing to do.
GONE: dict[str, Any] = {"changed": False, "removed": [], "kept": [], "notes": []}


@pytest.fixture
def db01(simulator: Simulator) -> str:
    return str(simulator.find("Vm", "db01")["id"]["value"])


@pytest.fixture
def args(manager: dict[str, Any], db01: str) -> dict[str, Any]:
    return {**manager, "vm_id": db01, "run_id": RUN}


def removing(args: dict[str, Any], run_id: str = RUN) -> dict[str, Any]:
    return {**args, "state": "absent", "run_id": run_id}


def names(simulator: Simulator) -> list[str]:
    """Return the names of the VMs that are not of the estate."""
    found = {vm["name"] for vm in simulator.state()["vms"].values()}
    return sorted(found - {"db01", "app 01", "files01"})


def diff(before: list[str], after: list[str]) -> dict[str, Any]:
    return {"before": {"clones": before}, "after": {"clones": after}}


def test_life_of_a_clone(succeed: Any, foresee: Any, args: dict[str, Any], simulator: Simulator, db01: str) -> None:
    foreseen = foresee("vm_clone", args, diff=True)
    assert foreseen == {**GONE, "changed": True, "clone": None, "diff": diff([], [f"clone of run {RUN}"])}
    assert names(simulator) == []

    made = succeed("vm_clone", args, diff=True)
    clone, seen = made["clone"], made.pop("manager_seen")
    assert (seen["url"], seen["host"]) == (args["url"], platform.node())
    assert names(simulator) == [NAME]
    vm = simulator.find("Vm", NAME)
    repository = simulator.find("Repository", "repo-iscsi-1")["id"]["value"]
    sources = [simulator.find("VirtualDisk", name)["id"]["value"] for name in ("db01-sys", "db01-data")]
    for disk in clone["disks"]:
        image = simulator.repositories / f"{repository}{disk['path']}"
        assert (disk.pop("path"), image.stat().st_size) == (f"/VirtualDisks/{disk['id']}", disk["size"])
        assert disk.pop("id") not in sources
    assert made == {
        **GONE,
        "changed": True,
        "clone": {
            "id": vm["id"]["value"],
            "name": NAME,
            "vm_id": db01,
            "run_id": RUN,
            "disks": [
                {"slot": 0, "source_disk_id": sources[0], "repository_id": repository, "size": 8 * MIB},
                {"slot": 1, "source_disk_id": sources[1], "repository_id": repository, "size": 4 * MIB},
            ],
        },
        "diff": diff([], [NAME]),
    }

    adopted = foresee("vm_clone", args, diff=True)
    assert (adopted["changed"], adopted["clone"]["id"]) == (False, clone["id"])
    assert adopted["diff"] == diff([NAME], [NAME])
    found = succeed("vm_clone", args, diff=True)
    assert found.pop("manager_seen") and found == adopted
    assert names(simulator) == [NAME]

    removed = {**GONE, "changed": True, "removed": [clone["id"]], "diff": diff([NAME], [])}
    assert foresee("vm_clone", removing(args), diff=True) == removed
    assert names(simulator) == [NAME]
    assert succeed("vm_clone", removing(args), diff=True) == removed
    assert names(simulator) == []
    unchanged = {**GONE, "diff": diff([], [])}
    assert foresee("vm_clone", removing(args), diff=True) == unchanged
    assert succeed("vm_clone", removing(args), diff=True) == unchanged


def test_one_slot(succeed: Any, args: dict[str, Any]) -> None:
    made = succeed("vm_clone", {**args, "slots": [1]})
    assert [disk["slot"] for disk in made["clone"]["disks"]] == [1]
    succeed("vm_clone", removing(args))


def test_clones_of_other_runs(succeed: Any, args: dict[str, Any], simulator: Simulator) -> None:
    """Those of the same vault are taken away, those of another are its own business."""
    mine = succeed("vm_clone", args)["clone"]
    theirs = succeed("vm_clone", {**args, "run_id": OTHER_VAULT})["clone"]
    result = succeed("vm_clone", removing(args, NEXT_RUN), diff=True)
    assert (result["changed"], result["removed"]) == (True, [mine["id"]])
    assert result["diff"] == diff(sorted([mine["name"], theirs["name"]]), [theirs["name"]])
    assert names(simulator) == [theirs["name"]]
    assert succeed("vm_clone", removing(args, OTHER_VAULT))["removed"] == [theirs["id"]]


def test_clones_of_other_vms_stay(succeed: Any, args: dict[str, Any], simulator: Simulator) -> None:
    app01 = {**args, "vm_id": simulator.find("Vm", "app 01")["id"]["value"]}
    made = succeed("vm_clone", app01)["clone"]
    assert succeed("vm_clone", removing(args)) == GONE
    assert succeed("vm_clone", removing(app01))["removed"] == [made["id"]]


def test_definition_without_a_clone(
    succeed: Any, foresee: Any, args: dict[str, Any], simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run was killed before it could ask for its clone. Only a run with the same vault cleans up after it."""

    def killed(*_args: Any) -> Any:
        raise SystemExit(137)

    with monkeypatch.context() as patch:
        patch.setattr(CloneMaking, "_submit", killed)
        patch.setattr(CloneMaking, "_clean_up", lambda _self, _error: [])
        for run_id in (RUN, OTHER_VAULT):
            with pytest.raises(BaseException):  # noqa: B017 - the process ends without an answer
                succeed("vm_clone", {**args, "run_id": run_id})
    assert len(simulator._get("/VmCloneDefinition")) == 2
    gone = {**GONE, "changed": True, "diff": diff([], [])}
    assert foresee("vm_clone", removing(args, NEXT_RUN), diff=True) == gone
    assert succeed("vm_clone", removing(args, NEXT_RUN), diff=True) == gone
    (theirs,) = simulator._get("/VmCloneDefinition")
    assert OTHER_VAULT in theirs["name"]
    unchanged = {**gone, "changed": False}
    assert foresee("vm_clone", removing(args, NEXT_RUN), diff=True) == unchanged
    assert succeed("vm_clone", removing(args, NEXT_RUN), diff=True) == unchanged
    assert succeed("vm_clone", removing(args, OTHER_VAULT), diff=True) == gone
    assert simulator._get("/VmCloneDefinition") == []


# --- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_vm_that_does_not_run(fail: Any, args: dict[str, Any], simulator: Simulator, check_mode: bool) -> None:
    vm_id = simulator.find("Vm", "files01")["id"]["value"]
    assert fail("vm_clone", {**args, "vm_id": vm_id}, check_mode=check_mode) == {
        "msg": 'VM "files01" is STOPPED: only a RUNNING VM is hot cloned; one that is STOPPED is backed up without.',
        "failure": {"kind": "PowerStateError", "vm_id": vm_id, "vm_name": "files01", "state": "STOPPED"},
    }


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize(
    ("change", "message", "failure"),
    [
        ({"vm_id": "0004fb0000"}, "There is no VM with the id 0004fb0000 on Oracle VM Manager (any more).",
            {"kind": "NotFoundError", "vm_id": "0004fb0000"}),
        ({"slots": [1, 2, 7]}, 'VM "db01" has no virtual disk in slot 2, 7.',
            {"kind": "InvalidInputError", "vm_name": "db01", "slots": [2, 7]}),
        ({"slots": []}, 'VM "db01" has no virtual disk to clone.', {"kind": "InvalidInputError", "vm_name": "db01"}),
        ({"run_id": "my run"}, "'my run' is not the id of a run: those look like 20261123T010203Z-0a1b2c3d-4e5f60",
            {"kind": "InvalidInputError", "run_id": "my run"}),
    ],
)  # fmt: skip
def test_wrong_values(
    fail: Any, args: dict[str, Any], simulator: Simulator, db01: str, change: dict[str, Any], message: str,
    failure: dict[str, Any], check_mode: bool,
) -> None:  # fmt: skip
    simulator.clear_calls()
    expected = {**failure, "vm_id": db01} if "vm_name" in failure else failure
    assert fail("vm_clone", {**args, **change}, check_mode=check_mode) == {"msg": message, "failure": expected}
    assert simulator.calls(writing=True) == []


def test_nothing_is_left_when_the_manager_refuses(fail: Any, args: dict[str, Any], simulator: Simulator) -> None:
    simulator.job_fault("vm.clone", error_type="SERVER", message="OVMAPI_B000E no way", leftovers=True, times=0)
    failed = fail("vm_clone", args)
    assert (failed["failure"]["kind"], failed["failure"]["error_type"]) == ("JobFailedError", "SERVER")
    assert "OVMAPI_B000E no way" in failed["msg"]
    assert simulator._get("/VmCloneDefinition") == []


def test_no_removal_of_an_unknown_vm(succeed: Any, args: dict[str, Any]) -> None:
    """A VM that is gone and has no clones left needs no clean-up."""
    assert succeed("vm_clone", removing({**args, "vm_id": "0004fb0000"})) == GONE


def test_missing_arguments(fail: Any, manager: dict[str, Any]) -> None:
    assert "failure" not in fail("vm_clone", manager)


# --- turns -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def with_vault(args: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    return {**args, "vault": Vault.create(str(tmp_path / "vault")).path}


def test_clones_take_turns(succeed: Any, with_vault: dict[str, Any], simulator: Simulator) -> None:
    assert succeed("vm_clone", with_vault, check_mode=True)["changed"] is True
    assert not (Path(with_vault["vault"]) / "turns").exists()
    assert succeed("vm_clone", with_vault)["changed"] is True
    repository = simulator.find("Repository", "repo-iscsi-1")["id"]["value"]
    assert [path.name for path in (Path(with_vault["vault"]) / "turns").iterdir()] == [f"clone-{repository}"]
    assert succeed("vm_clone", removing(with_vault))["changed"] is True


def test_the_turn_of_another_run(
    fail: Any, with_vault: dict[str, Any], simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process of another run is at it: after the time limit of a job nothing was made."""
    looks = iter(range(0, 100_000, 100))
    patient = functools.partial(turns, clock=lambda: float(next(looks)), sleep=lambda _seconds: None)
    monkeypatch.setattr(vm_clone, "turns", patient)
    repository = simulator.find("Repository", "repo-iscsi-1")["id"]["value"]
    path = Path(with_vault["vault"]) / "turns" / f"clone-{repository}"
    path.parent.mkdir()
    lock = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX)"
    hold = f"{lock}; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert fail("vm_clone", {**with_vault, "job_timeout": 900}) == {
            "msg": f"Other runs did not leave clone-{repository} to this one in 900 s: {path} is locked",
            "failure": {"kind": "VaultLockedError", "path": str(path)},
        }
        assert names(simulator) == []
        assert simulator._get("/VmCloneDefinition") == []
        other.communicate()


@pytest.mark.parametrize("check_mode", [False, True])
def test_not_a_vault(fail: Any, args: dict[str, Any], tmp_path: Path, check_mode: bool) -> None:
    failed = fail("vm_clone", {**args, "vault": str(tmp_path)}, check_mode=check_mode)
    assert failed["failure"] == {"kind": "NotAVaultError", "path": str(tmp_path)}


# --- the lock of the client ------------------------------------------------------------------------------------------


@pytest.fixture
def folder(with_vault: dict[str, Any]) -> Client:
    return Vault.open(with_vault["vault"]).prepare_client("db01")


@pytest.fixture
def with_client(with_vault: dict[str, Any], folder: Client) -> dict[str, Any]:
    return {**with_vault, "client": "db01"}


def lock_file(folder: Client) -> Path:
    return Path(folder.directory) / "lock.json"


def read_lock(folder: Client) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lock_file(folder).read_bytes())
    return found


def test_the_lock_of_the_run_is_joined(
    succeed: Any, with_client: dict[str, Any], folder: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.lock(owner="the run", run_id=RUN, vm_id="v1", vm_name="db01").hold(1800.0, {"vm_stopped": True})
    before = {**read_lock(folder), "heartbeat": 1.0e9}
    old = {**before, "lease": 1.0e10}
    lock_file(folder).write_text(json.dumps(old, sort_keys=True))
    seen: list[dict[str, Any]] = []
    submit = CloneMaking._submit

    def look(self: Any, definition_id: str) -> Any:
        seen.append(read_lock(folder))
        return submit(self, definition_id)

    monkeypatch.setattr(CloneMaking, "_submit", look)
    assert succeed("vm_clone", with_client, check_mode=True)["changed"] is True
    assert read_lock(folder) == old
    assert succeed("vm_clone", with_client)["changed"] is True
    (during,) = seen
    assert (during["run_id"], during["lease"], "pid" in during) == (RUN, 1.0e10, True)
    after = read_lock(folder)
    assert after["heartbeat"] >= during["heartbeat"] > 1.0e9
    assert {**after, "heartbeat": 1.0e9} == old
    assert succeed("vm_clone", removing(with_client))["changed"] is True
    assert read_lock(folder) == after


def test_a_run_without_the_lock_holds_it_meanwhile(
    succeed: Any, with_client: dict[str, Any], folder: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []
    submit = CloneMaking._submit

    def look(self: Any, definition_id: str) -> Any:
        seen.append(read_lock(folder))
        return submit(self, definition_id)

    monkeypatch.setattr(CloneMaking, "_submit", look)
    assert succeed("vm_clone", with_client)["changed"] is True
    assert [(one["run_id"], one["owner"]) for one in seen] == [(RUN, f"ovm.backup.vm_clone on {platform.node()}")]
    assert not lock_file(folder).exists()
    assert succeed("vm_clone", removing(with_client))["changed"] is True


@pytest.mark.parametrize("check_mode", [False, True])
def test_the_lock_of_another_run(
    fail: Any, with_client: dict[str, Any], folder: Client, simulator: Simulator, check_mode: bool
) -> None:
    folder.lock(owner="the other run", run_id=NEXT_RUN).hold(1800.0)
    before = read_lock(folder)
    simulator.clear_calls()
    failed = fail("vm_clone", with_client, check_mode=check_mode)
    assert failed["msg"].startswith(f"Client db01 is locked by run {NEXT_RUN} (the other run) on ")
    assert failed["failure"]["kind"] == "VaultLockedError"
    assert simulator.calls(writing=True) == []
    assert read_lock(folder) == before


def test_the_clone_of_the_run_that_has_taken_the_lock_stays(
    succeed: Any, with_client: dict[str, Any], folder: Client, simulator: Simulator
) -> None:
    """A run whose lock was broken, or has run out, cleans up while the other one reads its clone."""
    assert succeed("vm_clone", with_client)["changed"] is True
    folder.lock(owner="the other run", run_id=NEXT_RUN).hold(1800.0)
    other = succeed("vm_clone", {**with_client, "run_id": NEXT_RUN})["clone"]
    done = succeed("vm_clone", removing(with_client))
    assert names(simulator) == [other["name"]]
    note = f"run {NEXT_RUN} has taken the lock of the client: clones of other runs are left to it"
    assert (len(done["removed"]), done["notes"]) == (1, [note])
    assert succeed("vm_clone", removing(with_client, NEXT_RUN))["removed"] == [other["id"]]


def test_a_client_needs_its_vault(fail: Any, args: dict[str, Any], simulator: Simulator) -> None:
    failed = fail("vm_clone", {**args, "client": "db01"})
    assert "failure" not in failed and "vault" in failed["msg"]
    assert simulator.calls(writing=True) == []


# --- reference clones ------------------------------------------------------------------------------------------------


def publish(folder: Client, tmp_path: Path, clone_id: str, **changes: Any) -> Point:
    """Publish a point that was read from a clone."""
    writer = folder.new_point(now=1000.0)
    disk = add_disk(folder, writer, write_image(tmp_path / "image", noise(4096)))
    image = {"clone_id": clone_id, "repository_id": "r1", "path": "/VirtualDisks/1.img", "identity": None}
    point = describe(writer, folder, (replace(disk, image=image),), **changes)
    writer.publish(point)
    return point


def test_life_of_a_reference_clone(
    succeed: Any, foresee: Any, with_client: dict[str, Any], folder: Client, simulator: Simulator, tmp_path: Path
) -> None:
    """A run with a good backup, one that fails, and one that is not to keep its clone."""
    first = succeed("vm_clone", with_client)["clone"]["id"]
    publish(folder, tmp_path, first)
    simulator.wait_for_jobs()
    kept = {**GONE, "kept": [first]}
    assert foresee("vm_clone", {**removing(with_client), "keep_clone": True}) == kept
    assert succeed("vm_clone", {**removing(with_client), "keep_clone": True}) == kept
    # Nor does it go when the result of the backup got lost: the recovery point is there.
    assert succeed("vm_clone", removing(with_client)) == kept
    assert simulator._get("/VmCloneDefinition") == []

    begin = removing(with_client, NEXT_RUN)
    assert foresee("vm_clone", begin) == succeed("vm_clone", begin) == kept
    failed = succeed("vm_clone", {**with_client, "run_id": NEXT_RUN})["clone"]["id"]
    assert succeed("vm_clone", begin) == {**kept, "changed": True, "removed": [failed]}

    last = succeed("vm_clone", {**with_client, "run_id": NEXT_RUN})["clone"]["id"]
    publish(folder, tmp_path, last)
    assert foresee("vm_clone", {**begin, "keep_clone": True})["removed"] == [first]
    done = succeed("vm_clone", {**begin, "reference_obsolete": True})
    assert (done["removed"], done["kept"]) == ([first, last], [])
    assert names(simulator) == []


def test_others_are_removed_before_the_clone_is_made(
    succeed: Any, foresee: Any, with_client: dict[str, Any], folder: Client, simulator: Simulator, tmp_path: Path
) -> None:
    old, reference = (succeed("vm_clone", {**with_client, "run_id": run})["clone"] for run in (OLD_RUN, RUN))
    publish(folder, tmp_path, reference["id"])
    begin = {**with_client, "run_id": NEXT_RUN, "remove_others": True}
    before = sorted([old["name"], reference["name"]])
    foreseen = foresee("vm_clone", begin, diff=True)
    assert (foreseen["removed"], foreseen["kept"], foreseen["clone"]) == ([old["id"]], [reference["id"]], None)
    assert foreseen["diff"] == diff(before, sorted([reference["name"], f"clone of run {NEXT_RUN}"]))
    made = succeed("vm_clone", begin, diff=True)
    assert (made["changed"], made["removed"], made["kept"]) == (True, [old["id"]], [reference["id"]])
    assert made["diff"] == diff(before, sorted([reference["name"], made["clone"]["name"]]))
    simulator.clear_calls()
    again = succeed("vm_clone", begin)
    assert (again["changed"], again["clone"], again["kept"]) == (False, made["clone"], [reference["id"]])
    assert simulator.calls(writing=True) == []
    assert len(succeed("vm_clone", {**removing(with_client), "reference_obsolete": True})["removed"]) == 2


def test_reference_clone_makes_room(
    succeed: Any, fail: Any, with_client: dict[str, Any], folder: Client, simulator: Simulator, tmp_path: Path
) -> None:
    """The space that the clone of the last backup takes is given to this one, but only where others may be removed."""
    reference = succeed("vm_clone", with_client)["clone"]["id"]
    publish(folder, tmp_path, reference)
    simulator.job_fault("vm.clone", message="OVMAPI_4010E clone failed: No space left on device", times=2)
    begin = {**with_client, "run_id": NEXT_RUN}
    assert "No space left on device" in fail("vm_clone", begin)["msg"]
    made = succeed("vm_clone", {**begin, "remove_others": True})
    assert (made["changed"], made["removed"], made["kept"]) == (True, [reference], [])
    assert made["notes"][0].startswith(
        f"there was no space for another clone, so reference clone {reference} was removed"
    )
    assert succeed("vm_clone", removing(begin, NEXT_RUN))["removed"] == [made["clone"]["id"]]


def test_calls_of_a_run(succeed: Any, with_client: dict[str, Any], simulator: Simulator) -> None:
    """What a VM costs the manager: two disks here. Polls of jobs do not count, for their number depends on time."""

    def calls() -> list[str]:
        found = [
            f"{call['method']} {re.sub(r'/(0004fb|[0-9]{13})[^/?]*', '/*', call['path'])}" for call in simulator.calls()
        ]
        simulator.clear_calls()
        return [call for call in found if call != "GET /Job/*"]

    simulator.clear_calls()
    made = succeed("vm_clone", {**with_client, "remove_others": True})
    assert calls() == [
        "GET /Manager", "GET /Vm", "GET /Vm/*/VmDiskMapping", "GET /VirtualDisk",
        "POST /Vm/*/VmCloneDefinition",
        *["POST /VmCloneDefinition/*/VmCloneStorageMapping"] * 2,
        "PUT /Vm/*/clone", "PUT /VmCloneStorageMapping/*",
        "GET /Vm/*/VmDiskMapping", "GET /Vm/*", "PUT /Vm/*",
        "DELETE /Vm/*/VmCloneDefinition/*",
    ]  # fmt: skip
    simulator.wait_for_jobs()
    succeed("vm_clone", {**removing(with_client), "manager_seen": made["manager_seen"]})
    # The look at a disk takes the place of the one at the job that unmaps it, so there may be more than one.
    disk = ["DELETE /Vm/*/VmDiskMapping/*", "GET /VirtualDisk/*", "DELETE /Repository/*/VirtualDisk/*"]
    found = [call for call, _same in itertools.groupby(calls())]
    assert found == ["GET /Vm", *disk * 2, "DELETE /Vm/*"]


def test_the_clone_of_a_full_stays_after_a_differential(
    succeed: Any, with_client: dict[str, Any], folder: Client, tmp_path: Path
) -> None:
    first = succeed("vm_clone", with_client)["clone"]["id"]
    full = publish(folder, tmp_path, first)
    second = succeed("vm_clone", {**with_client, "run_id": NEXT_RUN})["clone"]["id"]
    writer = folder.new_point(now=2000.0)
    disk = add_disk(folder, writer, tmp_path / "image", base=full)
    writer.publish(describe(writer, folder, (replace(disk, image={"clone_id": second}),), type="differential"))
    done = succeed("vm_clone", {**removing(with_client, NEXT_RUN), "keep_clone": False})
    assert (done["removed"], done["kept"]) == ([second], [first])
    own = {**removing(with_client), "keep": [first]}
    assert succeed("vm_clone", own)["kept"] == [first]
    # If the backup has said so, what the recovery points say of its own clone does not count.
    assert succeed("vm_clone", {**own, "keep_clone": False})["removed"] == [first]


def test_a_clone_that_is_named_stays(succeed: Any, args: dict[str, Any]) -> None:
    first = succeed("vm_clone", args)["clone"]["id"]
    done = succeed("vm_clone", {**removing(args, NEXT_RUN), "keep": [first]})
    assert (done["removed"], done["kept"]) == ([], [first])
    assert succeed("vm_clone", removing(args, NEXT_RUN))["removed"] == [first]


def test_a_started_clone_is_told_of(succeed: Any, args: dict[str, Any], simulator: Simulator) -> None:
    first = succeed("vm_clone", args)["clone"]
    simulator.set_state(first["id"], "RUNNING")
    what = f'the clone "{first["name"]}" ({first["id"]}) of run {RUN} is RUNNING'
    done = succeed("vm_clone", removing(args, NEXT_RUN))
    assert (done["removed"], done["notes"]) == ([], [f"{what}: somebody uses it, so it was not removed"])
    simulator.set_state(first["id"], "STOPPED")
    assert succeed("vm_clone", removing(args, NEXT_RUN))["removed"] == [first["id"]]
