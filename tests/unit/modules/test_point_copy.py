# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module point_copy. What a copy is and how it is interrupted is tested in the vault room."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from unit.transfer.builders import MOMENT, NEXT_RUN, Estate, incremental, ticking, vm_plan
from unit.vault.builders import stored_tree
from unit.vault.chains import flip

from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.vault import copying
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault


@pytest.fixture
def points(estate: Estate) -> list[Point]:
    """A full and an incremental of one client, by two subclients."""
    first = backup_vm(estate.vault, estate.request(), clock=ticking(MOMENT)).point
    estate.change(0, 5000, b"another")
    request = estate.request(incremental(vm_plan()), run_id=NEXT_RUN, subclient="weekly")
    return [first, backup_vm(estate.vault, request, clock=ticking(MOMENT + 60)).point]


@pytest.fixture
def copy(tmp_path: Path) -> Vault:
    return Vault.create(str(tmp_path / "copy"))


@pytest.fixture
def args(estate: Estate, copy: Vault) -> dict[str, Any]:
    return {"vault": estate.vault.path, "target_vault": copy.path}


def tree(copy: Vault) -> list[str]:
    return stored_tree(os.path.join(copy.path, "clients"))


def chosen(result: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["point"], one["status"]) for client in result["clients"] for one in client["points"]]


def test_copy_and_again(succeed: Any, args: dict[str, Any], points: list[Point], copy: Vault, estate: Estate) -> None:
    size = sum(point.stored for point in points)
    foreseen = succeed("point_copy", args, check_mode=True)
    assert (foreseen["changed"], foreseen["sent"], tree(copy)) == (True, size, [])
    assert foreseen["lag"] == {"points": 2, "bytes": size, "seconds": None}
    assert foreseen["summary"][0].startswith("Copy: 1 client; 2 missing, ")
    assert foreseen["summary"][3].startswith(f"  to copy  {points[0].id}  full         ")
    done = succeed("point_copy", args)
    assert (done["changed"], done["sent"]) == (True, size)
    assert chosen(done) == [(point.id, "copied") for point in points]
    assert done["lag"] == {"points": 0, "bytes": 0, "seconds": 0.0}
    assert tree(copy) == stored_tree(os.path.join(estate.vault.path, "clients"))
    for check_mode in (True, False):
        again = succeed("point_copy", args, check_mode=check_mode)
        assert (again["changed"], chosen(again)) == (False, [])
        assert again["summary"] == ["Copy: 1 client; nothing missing", "", "web_01 (VM web 01): 2 there"]


def test_options(succeed: Any, args: dict[str, Any], points: list[Point]) -> None:
    first, second = points

    def run(**options: Any) -> list[str]:
        return [one for one, _status in chosen(succeed("point_copy", {**args, **options}, check_mode=True))]

    assert run(subclient="nightly") == [first.id]
    assert run(subclient="weekly") == [first.id, second.id]
    assert run(points="fulls") == run(points="fulls", count=3) == [first.id]
    assert run(points="newest", clients=["web_01"]) == [first.id, second.id]
    assert run(policy={"keep_last": 1}, timezone="Europe/Vienna", verify="header") == [first.id, second.id]
    assert run(newer_than="1m") == []


def test_environment(
    succeed: Any, fail: Any, args: dict[str, Any], points: list[Point], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options = {"target_vault": args["target_vault"]}
    monkeypatch.setenv("OVM_VAULT", args["vault"])
    monkeypatch.setenv("OVM_TARGET_VAULT", args["target_vault"])
    assert chosen(succeed("point_copy", {}, check_mode=True)) == [(point.id, "due") for point in points]
    # The keys of the two vaults do not come from the same variables.
    for prefix in ("OVM_VAULT", "OVM_TARGET_VAULT"):
        with monkeypatch.context() as patch:
            patch.setenv(f"{prefix}_ENCRYPTION_KEY_FILE", str(tmp_path / "missing"))
            failed = fail("point_copy", options)
        assert (failed["failure"]["kind"], str(tmp_path / "missing") in failed["msg"]) == ("VaultKeyError", True)


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"clients": ["web_02"]}, "PointNotFoundError", "has no client 'web_02'"),
        ({"clients": []}, "InvalidInputError", "clients must not be an empty list"),
        ({"subclient": "x"}, "PointNotFoundError", "has no recovery point that a run of subclient 'x' made"),
        ({"count": 1}, "InvalidInputError", "count is for points: newest and points: fulls"),
        ({"newer_than": "soon"}, "InvalidInputError", "newer_than: "),
        ({"policy": {}}, "InvalidInputError", "keeps nothing"),
        ({"timezone": "Mars"}, "InvalidInputError", "timezone: 'Mars' is not a time zone"),
        ({"target_vault": "/"}, "NotAVaultError", "/ is not a vault"),
    ],
)
def test_wrong_values(
    fail: Any,
    args: dict[str, Any],
    points: list[Point],
    copy: Vault,
    options: dict[str, Any],
    kind: str,
    message: str,
    check_mode: bool,
) -> None:
    failed = fail("point_copy", {**args, **options}, check_mode=check_mode)
    assert (failed["failure"]["kind"], message in failed["msg"], tree(copy)) == (kind, True, [])


def test_missing_arguments(fail: Any) -> None:
    assert "failure" not in fail("point_copy", {"vault": "/"})


def test_one_client_does_not_stop_another(
    run_module: Any, args: dict[str, Any], points: list[Point], estate: Estate, copy: Vault
) -> None:
    plan = vm_plan(client="other", vm_id="0004fb00000600ff", vm_name="other vm")
    backup_vm(estate.vault, estate.request(plan), clock=ticking(MOMENT))
    path = Path(estate.client.directory, points[0].id, points[0].disks[0].file)
    flip(path, 20)
    copy.prepare_client("other").lock(owner="another", run_id=NEXT_RUN).hold(3600.0)
    plan = vm_plan(client="third", vm_id="0004fb00000600fe", vm_name="third vm")
    third = backup_vm(estate.vault, estate.request(plan), clock=ticking(MOMENT)).point
    result, failed = run_module("point_copy", args)
    assert failed
    assert chosen(result)[-3:] == [(third.id, "copied"), (points[0].id, "failed"), (points[1].id, "failed")]
    assert result["msg"].startswith("Not everything was copied: other: Client other is locked by run ")
    assert f"; web_01: {points[0].id}: {path} is damaged at offset 0" in result["msg"]
    assert [client["failed"] is None for client in result["clients"]] == [False, True, True]
    assert result["failure"] == {"kind": "VaultError"}
    assert (result["changed"], result["lag"]["points"]) == (True, 3)


def test_known_damage_is_a_warning(
    succeed: Any, args: dict[str, Any], points: list[Point], estate: Estate, warned: list[str]
) -> None:
    path = Path(estate.client.directory, points[1].id, points[1].disks[0].file)
    os.truncate(path, 10)
    done = succeed("point_copy", args)
    assert chosen(done) == [(points[0].id, "copied")]
    said = f"{path} has 10 bytes instead of {points[1].disks[0].file_size}"
    assert warned == [f"Client web_01: recovery point {points[1].id} is not copied: {said}"]
    assert done["lag"]["points"] == 1
    assert f"  Left out: {points[1].id}: {said}" in done["summary"]


def test_termination_keeps_what_is_whole(
    run_module: Any, succeed: Any, args: dict[str, Any], points: list[Point], copy: Vault, monkeypatch: Any
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(copying, "publish_copy", lambda *_seen: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(KeyboardInterrupt, match="terminated"):
            run_module("point_copy", args)
    assert copy.client("web_01").scan() == ([], [])
    assert not Path(copy.path, "clients", "web_01", "lock.json").exists()
    done = succeed("point_copy", args)
    assert [one["reused"] for one in done["clients"][0]["points"]] == [points[0].stored, 0]
    assert done["summary"][3].split("  ")[-2].endswith("of it by an interrupted copy)")
