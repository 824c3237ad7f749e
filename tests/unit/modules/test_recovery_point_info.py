# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module recovery_point_info."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from unit.transfer.builders import MOMENT, NEXT_RUN, VM_ID, Estate, incremental, ticking, vm_plan

from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point

WEB = {
    "client": "web_01",
    "vm_id": VM_ID,
    "vm_name": "web 01",
    "registered": MOMENT,
    "names": [{"name": "web 01", "since": MOMENT}],
}
DB = {
    "client": "db_01",
    "vm_id": "vm-db",
    "vm_name": "db/01",
    "registered": MOMENT + 9,
    "names": [{"name": "db/01", "since": MOMENT + 9}],
}


@pytest.fixture
def points(estate: Estate) -> list[Point]:
    """A full and an incremental of one client, then a full of another."""
    plans = [
        (vm_plan(), "20261123T010203Z-0a1b2c3d-000001"),
        (incremental(vm_plan()), NEXT_RUN),
        (vm_plan(client="db_01", vm_id="vm-db", vm_name="db/01"), NEXT_RUN),
    ]
    made = []
    for start, (plan, run_id) in zip((0, 5, 9), plans, strict=True):
        request = estate.request(plan, run_id=run_id)
        made.append(backup_vm(estate.vault, request, clock=ticking(MOMENT + start)).point)
    return made


def described(point: Point, problem: str | None = None) -> dict[str, Any]:
    return {**point.as_dict(), "problem": problem, "verification": None, "pinned": False, "pin_note": None}


@pytest.mark.parametrize("check_mode", [False, True])
def test_everything(succeed: Any, estate: Estate, points: list[Point], check_mode: bool) -> None:
    tree = estate.tree
    full, second, other = points
    assert succeed("recovery_point_info", {"vault": estate.vault.path}, check_mode=check_mode) == {
        "changed": False,
        "clients": [DB, WEB],
        "recovery_points": [described(other), described(full), described(second)],
        "damaged": [],
    }
    assert estate.tree == tree


def test_a_client(succeed: Any, estate: Estate, points: list[Point]) -> None:
    assert succeed("recovery_point_info", {"vault": estate.vault.path, "client": "web_01"}) == {
        "changed": False,
        "clients": [WEB],
        "recovery_points": [described(points[0]), described(points[1])],
        "damaged": [],
    }


@pytest.mark.parametrize(("which", "index"), [("latest", 1), ("20261123T010203Z-0001", 0)])
def test_a_point(succeed: Any, estate: Estate, points: list[Point], which: str, index: int) -> None:
    found = succeed("recovery_point_info", {"vault": estate.vault.path, "client": "web_01", "point": which})
    assert (found["clients"], found["recovery_points"]) == ([WEB], [described(points[index])])


def test_empty_vault(succeed: Any, estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVM_VAULT", estate.vault.path)
    nothing: dict[str, Any] = {"changed": False, "clients": [], "recovery_points": [], "damaged": []}
    assert succeed("recovery_point_info", {}) == nothing


def test_damage(succeed: Any, fail: Any, estate: Estate, points: list[Point]) -> None:
    full, second, _other = points
    base = Path(estate.client.directory) / full.id / full.disks[0].file
    base.write_bytes(b"short")
    args = {"vault": estate.vault.path, "client": "web_01"}
    problem = f"{base} has 5 bytes instead of {full.disks[0].file_size}"
    found = succeed("recovery_point_info", args)["recovery_points"]
    assert found == [described(full, problem), described(second, problem)]
    base.unlink()
    problem = f"{base}: No such file or directory"
    assert [point["problem"] for point in succeed("recovery_point_info", args)["recovery_points"]] == [problem] * 2

    manifest = Path(estate.client.directory) / second.id / "point.json"
    manifest.write_text("{}")
    damaged = f"{manifest} is damaged: its content does not have the hash that it gives"
    found = succeed("recovery_point_info", args)
    assert found["recovery_points"] == [described(full, problem)]
    assert found["damaged"] == [{"client": "web_01", "id": second.id, "problem": damaged}]
    assert fail("recovery_point_info", {**args, "point": "latest"}) == {
        "msg": f"The newest recovery point of client web_01 is damaged: {damaged}. Name an older point",
        "failure": {"kind": "CorruptVaultError", "path": str(manifest), "offset": 0},
    }
    assert fail("recovery_point_info", {**args, "point": second.id})["msg"] == damaged


@pytest.mark.parametrize(
    ("change", "message", "failure"),
    [
        ({"client": "nobody"}, "The vault {vault} has no client 'nobody'", {"client": "nobody"}),
        ({"client": ".."}, "'..' is not the name of a client", {"client": ".."}),
        ({"point": "x"}, "Client web_01 has no recovery point 'x'; the newest is 20261123T010208Z-0002",
            {"client": "web_01", "point": "x"}),
        ({"point": "20261123T010203Z-0009"},
            "Client web_01 has no recovery point '20261123T010203Z-0009'; the newest is 20261123T010208Z-0002",
            {"client": "web_01", "point": "20261123T010203Z-0009"}),
    ],
)  # fmt: skip
def test_unknown(
    fail: Any, estate: Estate, points: list[Point], change: dict[str, Any], message: str, failure: dict[str, Any]
) -> None:
    assert fail("recovery_point_info", {"vault": estate.vault.path, "client": "web_01", **change}) == {
        "msg": message.format(vault=estate.vault.path),
        "failure": {"kind": "PointNotFoundError", **failure},
    }


def test_a_point_needs_its_client(fail: Any, estate: Estate) -> None:
    assert "failure" not in fail("recovery_point_info", {"vault": estate.vault.path, "point": "latest"})


def test_no_vault(fail: Any, tmp_path: Path) -> None:
    assert fail("recovery_point_info", {"vault": str(tmp_path)})["failure"] == {
        "kind": "NotAVaultError", "path": str(tmp_path),
    }  # fmt: skip
