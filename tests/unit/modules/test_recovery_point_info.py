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
    known = {"problem": problem, "verification": None, "pinned": False, "pin_note": None, "held": None}
    return {**point.as_dict(), **known}


def listed(found: dict[str, Any]) -> list[str]:
    """Return the ids of the recovery points in the summary of a result, or what stands in their place."""
    return [line.split("  ")[1] for line in found["summary"] if line.startswith("  ") and line[2:4] not in ("id", "--")]


@pytest.mark.parametrize("check_mode", [False, True])
def test_everything(succeed: Any, estate: Estate, points: list[Point], check_mode: bool) -> None:
    tree = estate.tree
    full, second, other = points
    found = succeed("recovery_point_info", {"vault": estate.vault.path}, check_mode=check_mode)
    assert listed(found) == [other.id, second.id, full.id]
    assert found == {
        "changed": False,
        "summary": found["summary"],
        "clients": [DB, WEB],
        "recovery_points": [described(other), described(full), described(second)],
        "damaged": [],
    }
    assert estate.tree == tree


def test_a_client(succeed: Any, estate: Estate, points: list[Point]) -> None:
    found = succeed("recovery_point_info", {"vault": estate.vault.path, "client": "web_01"})
    assert found["summary"][0] == "Client web_01, VM web 01:"
    assert found["summary"][-1].startswith("2 recovery points of 1 client, ")
    assert found == {
        "changed": False,
        "summary": found["summary"],
        "clients": [WEB],
        "recovery_points": [described(points[0]), described(points[1])],
        "damaged": [],
    }


@pytest.mark.parametrize(("which", "index"), [("latest", 1), ("20261123T010203Z-0001", 0)])
def test_a_point(succeed: Any, estate: Estate, points: list[Point], which: str, index: int) -> None:
    found = succeed("recovery_point_info", {"vault": estate.vault.path, "client": "web_01", "point": which})
    assert (found["clients"], found["recovery_points"]) == ([WEB], [described(points[index])])


@pytest.mark.parametrize(
    ("client", "names"),
    [
        (["web_01"], ["web_01"]),
        (["WEB_*"], ["web_01"]),
        (["web_01", "db_01", "db*"], ["db_01", "web_01"]),
        (["[a-d]?_[0-9]1"], ["db_01"]),
        ("web_01,db_01", ["db_01", "web_01"]),
        (["w*", "x[1]"], ["web_01", "x[1]"]),
    ],
)
def test_clients(succeed: Any, estate: Estate, points: list[Point], client: Any, names: list[str]) -> None:
    # A name is a name, whatever brackets it holds.
    estate.vault.register(estate.vault.prepare_client("x[1]"), vm_id="vm-x", vm_name="x[1]", now=MOMENT)
    found = succeed("recovery_point_info", {"vault": estate.vault.path, "client": client})
    assert [one["client"] for one in found["clients"]] == names
    assert [one["id"] for one in found["recovery_points"]] == [
        point.id for name in names for point in (points[2], *points[:2]) if point.client == name
    ]


@pytest.mark.parametrize(
    ("wanted", "indexes"),
    [
        ({"before": "2026-11-23T01:02:03Z"}, [0]),
        ({"before": "2026-11-23T02:02:08+01:00"}, [0, 1]),
        ({"after": "20261123T010208Z"}, [1, 2]),
        ({"after": "2026-11-23 01:02:04", "before": "2026-11-23 01:02:11"}, [1]),
        ({"after": "2026-11-24"}, []),
        ({"types": ["incremental", "differential"]}, [1]),
        ({"types": ["full"], "pinned": False}, [0]),
        ({"pinned": True}, [2]),
        ({"verification": ["bad"]}, [0]),
        ({"verification": ["never", "good"]}, [1, 2]),
        ({"complete": True}, [2]),
        ({"complete": False, "types": ["full"]}, [0]),
    ],
)
def test_points_by_time_and_state(
    succeed: Any, estate: Estate, points: list[Point], wanted: dict[str, Any], indexes: list[int]
) -> None:
    vault = {"vault": estate.vault.path}
    succeed("recovery_point", {**vault, "client": "db_01", "pinned": True})
    base = Path(estate.client.directory) / points[0].id
    image = base / points[0].disks[0].file
    image.write_bytes(image.read_bytes()[:-1])
    succeed("verify", {**vault, "clients": ["web_01"], "point": points[0].id, "fail_on_bad": False})
    (Path(estate.client.directory) / points[1].id / "verification.json").unlink()
    found = succeed("recovery_point_info", {**vault, **wanted})
    assert {one["id"] + one["client"] for one in found["recovery_points"]} == {
        points[index].id + points[index].client for index in indexes
    }
    assert found["clients"] == [DB, WEB]
    nothing = "no recovery points of the kind that is asked for"
    shown = [points[index].id for index in sorted(indexes, reverse=True)]
    assert sorted(listed(found)) == sorted(shown + [nothing] * (2 - len({points[index].client for index in indexes})))


def test_the_point_of_a_moment(succeed: Any, estate: Estate, points: list[Point]) -> None:
    args = {"vault": estate.vault.path, "client": "web_*", "point": "latest", "before": "2026-11-23T01:02:07Z"}
    assert succeed("recovery_point_info", args)["recovery_points"] == [described(points[0])]


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"client": []}, "InvalidInputError", "client must not be an empty list: leave it out for all clients"),
        ({"client": ["web_[01"]}, "InvalidInputError",
            "client: 'web_[01' is no pattern: the '[' at character 5 is never closed; write [[] for a bracket itself"),
        ({"client": ["x*"]}, "PointNotFoundError", "The vault {vault} has no client that 'x*' matches"),
        ({"client": ["web-01"]}, "PointNotFoundError",
            "The vault {vault} has no client 'web-01' (did you mean 'web_01'?)"),
        ({"client": ["*"], "point": "latest"}, "InvalidInputError",
            "point is for one client: name that one in client"),
        ({"after": "2026-11-24", "before": "2026-11-23"}, "InvalidInputError",
            "before: must not be earlier than after, which is 2026-11-24"),
        ({"types": []}, "InvalidInputError",
            "types: must not be an empty list: leave it out for all recovery points"),
        ({"after": "now"}, "InvalidInputError",
            "after: must be a time in ISO 8601 form, such as 2026-11-23T01:02:03Z, 2026-11-23T02:02+01:00 or "
            "2026-11-23 (UTC unless it says otherwise), not the string 'now'"),
        ({"client": ["web_01"], "point": "20261123T010203Z-0001", "before": "2026-11-24"}, "InvalidInputError",
            "before is for the newest recovery point up to a time: leave it out with point '20261123T010203Z-0001'"),
    ],
)  # fmt: skip
def test_what_cannot_be_wanted(
    fail: Any, estate: Estate, points: list[Point], change: dict[str, Any], kind: str, message: str
) -> None:
    failed = fail("recovery_point_info", {"vault": estate.vault.path, **change})
    assert (failed["msg"], failed["failure"]["kind"]) == (message.format(vault=estate.vault.path), kind)


def test_empty_vault(succeed: Any, estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVM_VAULT", estate.vault.path)
    nothing: dict[str, Any] = {"changed": False, "clients": [], "recovery_points": [], "damaged": []}
    nothing["summary"] = ["0 recovery points of 0 clients, 0 B stored"]
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
    assert listed(found) == [second.id, full.id]
    assert found["summary"][3].endswith(f"  cannot be read: {damaged}")
    assert fail("recovery_point_info", {**args, "point": "latest"}) == {
        "msg": f"Client web_01 has no recovery point that is in order. The newest is {second.id}: {damaged}. Name a "
        "recovery point by its id to try it all the same",
        "failure": {"kind": "CorruptVaultError", "client": "web_01", "point": second.id},
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
