# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module backup. What a recovery point holds and how a transfer fails is tested in the transfer room."""

from __future__ import annotations

import functools
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from unit.transfer.builders import (
    MOMENT,
    NEXT_RUN,
    RUN,
    Estate,
    clone_of,
    disk,
    fill_up,
    incremental,
    ticking,
    vm_plan,
)
from unit.vault.builders import MIB, noise

from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.vault.point_writer import PointWriter
from ansible_collections.ovm.backup.plugins.modules import backup

POINT = "20261123T010203Z-0001"
KEYS = ["changed", "duration", "keep_clone", "keep_reason", "notes", "recovery_point", "reference_obsolete", "type"]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "backup_vm", functools.partial(backup_vm, clock=ticking()))


@pytest.fixture
def args(estate: Estate) -> dict[str, Any]:
    return {
        "vault": estate.vault.path,
        "plan": vm_plan(),
        "run_id": RUN,
        "subclient": "nightly",
        "repositories_path": str(estate.repositories),
    }


def test_full(succeed: Any, args: dict[str, Any], estate: Estate) -> None:
    result = succeed("backup", args, diff=True)
    stored = estate.client.point()
    assert result == {
        "changed": True,
        "recovery_point": stored.as_dict(),
        "type": "full",
        "duration": 0.25,
        "notes": [],
        "keep_clone": False,
        "keep_reason": "the VM was read itself",
        "reference_obsolete": True,
        "diff": {"before": {}, "after": {"recovery_point": POINT, "type": "full"}},
    }
    assert (stored.id, stored.run_id, stored.job_id, stored.subclient, stored.created) == (
        POINT, RUN, RUN, "nightly", MOMENT + 0.5,
    )  # fmt: skip


def test_the_same_run_again(succeed: Any, args: dict[str, Any], estate: Estate) -> None:
    first = succeed("backup", args)
    tree = estate.tree
    after = {"recovery_point": POINT, "type": "full"}
    unchanged = {**first, "changed": False, "duration": 0.0, "diff": {"before": after, "after": after}}
    assert succeed("backup", args, diff=True) == unchanged
    assert succeed("backup", args, check_mode=True, diff=True) == unchanged
    assert estate.tree == tree


def test_incremental(succeed: Any, args: dict[str, Any], estate: Estate) -> None:
    succeed("backup", args)
    estate.change(0, MIB, b"changed")
    result = succeed("backup", {**args, "plan": incremental(vm_plan()), "run_id": NEXT_RUN})
    assert (result["changed"], result["type"]) == (True, "incremental")
    assert result["recovery_point"]["parent"] == POINT
    assert result["recovery_point"]["disks"][0]["statistics"]["changed"] == 64 * 1024


def test_type_falls_back_to_full(succeed: Any, args: dict[str, Any]) -> None:
    result = succeed("backup", {**args, "plan": incremental(vm_plan())})
    reason = "the recovery point that the plan builds on is gone"
    assert (result["type"], result["recovery_point"]["reason"]) == ("full", reason)


def test_check_mode(succeed: Any, args: dict[str, Any], estate: Estate) -> None:
    estate.image(0).unlink()  # images are not looked at
    tree = estate.tree
    plan = incremental(vm_plan())
    assert succeed("backup", {**args, "plan": plan}, check_mode=True, diff=True) == {
        "changed": True,
        "recovery_point": None,
        "type": "incremental",
        "duration": 0.0,
        "notes": [],
        "keep_clone": False,
        "keep_reason": "",
        "reference_obsolete": False,
        "diff": {"before": {}, "after": {"recovery_point": "new", "type": "incremental"}},
    }
    hot = vm_plan(method="hot_clone")  # vm_clone returns no clone in check mode
    assert sorted(succeed("backup", {**args, "plan": hot, "clone": None}, check_mode=True)) == KEYS
    assert estate.tree == tree


def test_hot_clone(succeed: Any, args: dict[str, Any], estate: Estate) -> None:
    estate.write("clone0.img", noise(MIB))
    plan = vm_plan(method="hot_clone")
    result = succeed("backup", {**args, "plan": plan, "clone": clone_of(*plan["disks"])})
    point = result["recovery_point"]
    assert (point["method"], point["consistency"], point["disks"][0]["size"]) == ("hot_clone", "crash_consistent", MIB)


@pytest.mark.parametrize(("killed", "consistency"), [(False, "clean_shutdown"), (True, "crash_consistent")])
def test_shut_down(succeed: Any, args: dict[str, Any], killed: bool, consistency: str) -> None:
    result = succeed("backup", {**args, "plan": vm_plan(method="shutdown"), "killed": killed})
    assert result["recovery_point"]["consistency"] == consistency


def test_notes(succeed: Any, args: dict[str, Any], estate: Estate) -> None:
    estate.vm_cfg.unlink()
    note = f"vm.cfg is not in the recovery point: Cannot read {estate.vm_cfg}: No such file or directory"
    result = succeed("backup", args)
    assert (result["notes"], result["recovery_point"]["warnings"]) == ([note], [note])


def test_unknown_place_of_vm_cfg(succeed: Any, args: dict[str, Any]) -> None:
    plan = vm_plan()
    plan["configuration"]["vm_cfg"]["path"] = None
    note = "the manager does not say where vm.cfg lies: it is not in the recovery point"
    assert succeed("backup", {**args, "plan": plan})["notes"] == [note]


def test_environment(succeed: Any, args: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVM_VAULT", args.pop("vault"))
    monkeypatch.setenv("OVM_REPOSITORIES_PATH", args.pop("repositories_path"))
    assert succeed("backup", args)["changed"] is True


def test_compression_level(succeed: Any, args: dict[str, Any], estate: Estate) -> None:
    estate.write(0, b"compressible " * (MIB // 13 + 1))
    sizes = {}
    for run, level in ((RUN, 1), (NEXT_RUN, 19)):
        result = succeed("backup", {**args, "run_id": run, "compression_level": level})
        sizes[level] = result["recovery_point"]["disks"][0]["file_size"]
    assert sizes[19] < sizes[1]


# --- failures --------------------------------------------------------------------------------------------------------

NOT_A_VM = "plan (one of the VMs that plan_info returns in plan.vms)"
NOT_A_CLONE = "clone (the clone that vm_clone returns)"


def without(plan: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in plan.items() if name != key}


CONFIGURATION = vm_plan()["configuration"]
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"run_id": "../x"}, "'../x' is not the id of a run: those look like 20261123T010203Z-0a1b2c3d-4e5f60"),
    ({"compression_level": 0}, "compression_level must be from 1 to 19, not 0"),
    ({"compression_level": 20}, "compression_level must be from 1 to 19, not 20"),
    ({"plan": vm_plan(action="skip")},
        "VM 'web 01' is not planned for a backup: action 'skip', method 'cold'"),
    ({"plan": without(vm_plan(), "client")}, f"{NOT_A_VM}: client: is missing"),
    ({"plan": vm_plan(client=None)}, f"{NOT_A_VM}: client: must be a string, not empty"),
    ({"plan": vm_plan(order="1")}, f"{NOT_A_VM}: order: must be a whole number, not the string '1'"),
    ({"plan": vm_plan(order=True)}, f"{NOT_A_VM}: order: must be a whole number, not the boolean true"),
    ({"plan": {**vm_plan(), "disks": "all"}}, f"{NOT_A_VM}: disks: must be a list, not the string 'all'"),
    ({"plan": {**vm_plan(), "disks": ["all"]}}, f"{NOT_A_VM}: disks[0]: must be a mapping, not the string 'all'"),
    ({"plan": vm_plan(disk(0), without(disk(1), "type"))}, f"{NOT_A_VM}: disks[1].type: is missing"),
    ({"plan": vm_plan(disk(path=7))}, f"{NOT_A_VM}: disks[0].path: must be a string or null, not the number 7"),
    ({"plan": without(vm_plan(), "configuration")}, f"{NOT_A_VM}: configuration: is missing"),
    ({"plan": vm_plan(configuration={**CONFIGURATION, "document": "x"})},
        f"{NOT_A_VM}: configuration.document: must be a mapping, not the string 'x'"),
    ({"plan": vm_plan(configuration={**CONFIGURATION, "vm_cfg": {}, "manager": []})},
        f"{NOT_A_VM} has 5 problems:\n- configuration.vm_cfg.repository_id: is missing\n"
        "- configuration.vm_cfg.path: is missing\n- configuration.vm_cfg.source: is missing\n"
        "- configuration.vm_cfg.server: is missing\n- configuration.manager: must be a mapping, not a list"),
    ({"plan": vm_plan(method="hot_clone"), "clone": {"id": "x"}}, f"{NOT_A_CLONE}: disks: is missing"),
    ({"plan": vm_plan(method="hot_clone"), "clone": {"id": "x", "disks": [{}]}},
        f"{NOT_A_CLONE} has 5 problems:\n- disks[0].slot: is missing\n- disks[0].source_disk_id: is missing\n"
        "- disks[0].size: is missing\n- disks[0].repository_id: is missing\n- disks[0].path: is missing"),
    ({"clone": clone_of()},
        "VM 'web 01' is planned with method cold: a clone is given only, and always, for a hot_clone"),
]  # fmt: skip


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize(("change", "message"), WRONG)
def test_wrong_values(
    fail: Any, args: dict[str, Any], estate: Estate, change: dict[str, Any], message: str, check_mode: bool
) -> None:
    tree = estate.tree
    failed = fail("backup", {**args, **change}, check_mode=check_mode)
    assert failed["msg"] == message
    assert failed["failure"]["kind"] == "InvalidInputError"
    assert estate.tree == tree


def test_hot_clone_without_clone(fail: Any, args: dict[str, Any]) -> None:
    assert fail("backup", {**args, "plan": vm_plan(method="hot_clone")})["msg"] == (
        "VM 'web 01' is planned with method hot_clone: a clone is given only, and always, for a hot_clone"
    )


def test_missing_arguments(fail: Any) -> None:
    assert "failure" not in fail("backup", {})


def test_missing_image(fail: Any, args: dict[str, Any], estate: Estate) -> None:
    estate.image(0).unlink()
    path = str(estate.image(0))
    assert fail("backup", args) == {
        "msg": f"Cannot open the image {path}: No such file or directory",
        "failure": {"kind": "SourceError", "retryable": True, "path": path, "errno": 2},
    }
    assert estate.client.scan() == ([], [])


def test_full_vault(fail: Any, args: dict[str, Any], estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_up(monkeypatch, ".img.zst")
    path = f"{estate.vault.path}/clients/web_01/{POINT}/0-system.img.zst"
    assert fail("backup", args) == {
        "msg": f"Cannot write {path}: the vault is full: free space there or let recovery points expire",
        "failure": {"kind": "VaultWriteError", "path": path, "errno": 28},
    }
    assert os.listdir(estate.client.directory) == ["client.json"]


def test_not_a_vault(fail: Any, args: dict[str, Any], tmp_path: Path) -> None:
    for check_mode in (False, True):
        failed = fail("backup", {**args, "vault": str(tmp_path)}, check_mode=check_mode)
        assert failed["failure"] == {"kind": "NotAVaultError", "path": str(tmp_path)}


def test_client_of_another_vm(succeed: Any, fail: Any, args: dict[str, Any]) -> None:
    succeed("backup", args)
    failed = fail("backup", {**args, "plan": vm_plan(vm_id="other"), "run_id": NEXT_RUN})
    assert failed["failure"]["kind"] == "VaultError"
    assert failed["msg"].startswith("Client web_01 belongs to VM ")


def test_locked_by_another_run(succeed: Any, fail: Any, args: dict[str, Any], estate: Estate) -> None:
    lock = estate.vault.prepare_client("web_01").lock(owner="another", run_id=NEXT_RUN)
    lock.hold(3600.0)
    tree = estate.tree
    failed = fail("backup", args)
    assert (failed["failure"]["kind"], failed["failure"]["holder"]["run_id"]) == ("VaultLockedError", NEXT_RUN)
    assert estate.tree == tree
    assert succeed("backup", {**args, "break_lock": True})["notes"] == [
        f"took over the lock that run {NEXT_RUN} left behind"
    ]


def test_termination_cleans_up(
    run_module: Any, args: dict[str, Any], estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal in the middle of the transfer is an interruption, and the second one does not stop the clean-up."""

    def terminate(*_seen: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def discard(writer: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        original(writer)

    original = PointWriter.discard
    monkeypatch.setattr(PointWriter, "discard", discard)
    monkeypatch.setattr(
        backup, "backup_vm", lambda vault, request, **_options: backup_vm(vault, request, progress=terminate)
    )
    with pytest.raises(KeyboardInterrupt, match="terminated"):
        run_module("backup", args)
    assert os.listdir(estate.client.directory) == ["client.json"]


def test_progress_is_written_while_the_module_runs(
    succeed: Any, args: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def look(vault: Any, request: Any, *, progress: Any, **_options: Any) -> Any:
        def report(*numbers: Any) -> None:
            progress(*numbers)
            seen.append(json.loads(file.read_text(encoding="ascii")))

        return backup_vm(vault, request, progress=report)

    file = tmp_path / "progress" / "progress.json"
    monkeypatch.setattr(backup, "backup_vm", look)
    expected = {"vm": "web 01", "run_id": args["run_id"], "phase": "transfer system", "total": 2 * MIB}
    assert succeed("backup", {**args, "progress_file": str(file)})["changed"] is True
    assert {name: seen[0][name] for name in expected} == expected
    assert not file.parent.exists()
