# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module verify."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from unit.transfer.builders import MOMENT, NEXT_RUN, VM_ID, Estate, incremental, ticking, vm_plan
from unit.vault.chains import break_manifest, flip

from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from ansible_collections.ovm.backup.plugins.module_utils.vault.verification_record import read_verification

DEFINITION = {"content": [{"rules": [{"field": "name", "value": "*"}]}], "verify": {"max_age": "1h", "share": 50}}
NEVER = "it was never verified"


@pytest.fixture
def points(estate: Estate) -> list[Point]:
    """A full and an incremental of one client."""
    first = backup_vm(estate.vault, estate.request(), clock=ticking(MOMENT)).point
    estate.change(0, 5000, b"another")
    request = estate.request(incremental(vm_plan()), run_id=NEXT_RUN, subclient="weekly")
    return [first, backup_vm(estate.vault, request, clock=ticking(MOMENT + 5)).point]


@pytest.fixture
def args(estate: Estate) -> dict[str, Any]:
    return {"vault": estate.vault.path}


def folder(estate: Estate, point: Point) -> str:
    return os.path.join(estate.client.directory, point.id)


def test_a_script_that_is_not_as_it_was_written(
    succeed: Any, args: dict[str, Any], points: list[Point], warned: list[str]
) -> None:
    script = Path(args["vault"], "restore.py")
    script.write_text("")
    succeed("verify", args)
    assert warned == [
        f"{script} is missing, old or not as it was written: the ovm.backup.vault module or playbook writes it anew"
    ]


def described(estate: Estate, point: Point, status: str = "good", why: str = NEVER) -> dict[str, Any]:
    """Return what the module says of a point, with the result that is stored."""
    found = None if status == "due" else read_verification(folder(estate, point))
    assert status == "due" or found is not None
    return {
        "client": "web_01",
        "vm_id": VM_ID,
        "vm_name": "web 01",
        "point": point.id,
        "type": point.type,
        "created": point.created,
        "why": why,
        "status": status,
        "verification": found.as_dict() if found is not None else None,
        "error": None,
    }


def test_everything(succeed: Any, estate: Estate, points: list[Point], args: dict[str, Any]) -> None:
    found = succeed("verify", args)
    read = sum(point.stored for point in points)
    summary = found.pop("summary")
    assert found == {
        "changed": True,
        "points": [described(estate, point) for point in points],
        "bad": [],
        "unreadable": [],
        "total": 2,
        "bytes_read": read,
    }
    assert [one["verification"]["ok"] for one in found["points"]] == [True, True]
    assert len(summary) == 1
    assert summary[0].startswith("2 recovery points of 1 client: 2 good; ")


def test_check_mode(succeed: Any, estate: Estate, points: list[Point], args: dict[str, Any]) -> None:
    tree = estate.tree
    found = succeed("verify", args, check_mode=True)
    assert found == {
        "changed": True,
        "points": [described(estate, point, "due") for point in points],
        "bad": [],
        "unreadable": [],
        "total": 2,
        "bytes_read": 0,
        "summary": [
            "2 recovery points of 1 client: 2 due",
            *(f"Due: VM 'web 01' (client web_01), recovery point {point.id}: {NEVER}" for point in points),
        ],
    }
    assert estate.tree == tree


def test_max_age_makes_it_idempotent(succeed: Any, points: list[Point], args: dict[str, Any]) -> None:
    assert [succeed("verify", {**args, "max_age": "1h"})["changed"] for _time in range(2)] == [True, False]
    again = succeed("verify", {**args, "max_age": "1h"}, check_mode=True)
    assert (again["changed"], again["points"], again["total"]) == (False, [], 2)
    assert again["summary"] == ["2 recovery points of 1 client: none due"]
    assert len(succeed("verify", args)["points"]) == 2


def test_definition_and_options(succeed: Any, points: list[Point], args: dict[str, Any]) -> None:
    first, second = points

    def run(**options: Any) -> list[str]:
        return [one["point"] for one in succeed("verify", {**args, **options})["points"]]

    assert run(share="50") == [first.id]
    assert run(subclient="nightly") == [first.id]
    assert run(subclient="nightly", definition=DEFINITION) == []
    assert run(subclient="nightly", definition=DEFINITION, max_age=0) == [first.id]
    assert run(subclient="weekly", definition=DEFINITION, share=1) == [second.id]
    assert run(clients=["web_01"], point="latest") == [second.id]
    assert run(clients=["web_01"], point=first.id) == [first.id]
    assert run(clients=["web_01"], max_age="1h") == []


def test_bad_points(succeed: Any, fail: Any, run_module: Any, estate: Estate, points: list[Point], args: Any) -> None:
    full, second = points
    path = Path(folder(estate, full), full.disks[0].file)
    flip(path, 20)
    result, failed = run_module("verify", args)
    assert failed
    names = [f"VM 'web 01' (client web_01), recovery point {point.id}" for point in points]
    problem = result["bad"][0]["problems"][0]
    assert {key: problem[key] for key in ("point", "file", "offset")} == {
        "point": full.id,
        "file": full.disks[0].file,
        "offset": 0,
    }
    assert problem["message"].startswith(f"{path} is damaged at offset 0: ")
    bad = [{"client": "web_01", "vm_name": "web 01", "point": point.id, "problems": [problem]} for point in points]
    lines = [f"Bad: {name}: {problem['message']}" for name in names]
    assert result["bad"] == bad
    assert result["msg"] == "; ".join(["2 recovery points are bad", *lines])
    assert result["failure"] == {"kind": "CorruptVaultError", "bad": bad}
    assert result["points"] == [described(estate, point, "bad") for point in points]
    assert result["changed"] is True
    assert result["summary"][1:] == lines
    # They stay due, and are told without a failure where that is wanted.
    again = succeed("verify", {**args, "max_age": "1w", "fail_on_bad": False})
    assert (again["bad"], [one["status"] for one in again["points"]]) == (bad, ["bad", "bad"])
    assert {one["why"] for one in again["points"]} == {"it was found bad by the latest verification"}
    info = succeed("recovery_point_info", args)["recovery_points"]
    assert [point["problem"] for point in info] == [
        f"recovery point {point.id} was found bad by a verification: {problem['message']}" for point in points
    ]
    assert [point["verification"] for point in info] == [one["verification"] for one in again["points"]]
    # A good result clears it.
    flip(path, 20)
    assert succeed("verify", {**args, "max_age": "1w"})["bad"] == []
    assert [point["problem"] for point in succeed("recovery_point_info", args)["recovery_points"]] == [None, None]


@pytest.mark.parametrize("check_mode", [False, True])
def test_an_unreadable_manifest_fails_too(
    run_module: Any, succeed: Any, estate: Estate, points: list[Point], args: dict[str, Any], check_mode: bool
) -> None:
    path = break_manifest(estate.client, points[1])
    problem = f"{path} is damaged: its content does not have the hash that it gives"
    unreadable = [{"client": "web_01", "vm_name": "web 01", "point": points[1].id, "problem": problem}]
    result, failed = run_module("verify", args, check_mode=check_mode)
    assert failed
    assert result["failure"] == {"kind": "CorruptVaultError", "bad": [], "unreadable": unreadable}
    assert [one["status"] for one in result["points"]] == ["due" if check_mode else "good"]
    found = succeed("verify", {**args, "fail_on_bad": False}, check_mode=check_mode)
    assert (found["unreadable"], found["bad"]) == (unreadable, [])


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"clients": ["nobody"]}, "PointNotFoundError", "The vault {vault} has no client 'nobody'"),
        ({"subclient": "typo"}, "PointNotFoundError",
            "The vault {vault} has no recovery point that a run of subclient 'typo' made"),
        ({"clients": ["web_01"], "point": "x"}, "PointNotFoundError", "Client web_01 has no recovery point 'x'"),
        ({"clients": []}, "InvalidInputError", "clients must not be an empty list"),
        ({"clients": ["web_01", "db"], "point": "latest"}, "InvalidInputError", "named together with its client"),
        ({"max_age": "soon"}, "InvalidInputError", "verification: max_age: the string 'soon' is not a duration"),
        ({"share": 0}, "InvalidInputError", "verification: share: must be a whole number from 1 to 100"),
        ({"subclient": "weekly", "definition": {"verify": 7}}, "SubclientError", "subclient 'weekly' has 2 problems"),
    ],
)  # fmt: skip
def test_what_cannot_be(
    fail: Any,
    estate: Estate,
    points: list[Point],
    args: dict[str, Any],
    options: dict[str, Any],
    kind: str,
    message: str,
) -> None:
    tree = estate.tree
    failure = fail("verify", {**args, **options})
    assert failure["failure"]["kind"] == kind
    assert failure["msg"].startswith(message.format(vault=estate.vault.path)) or message in failure["msg"]
    assert estate.tree == tree


@pytest.mark.parametrize(
    "options",
    [
        {"point": "latest"},
        {"definition": DEFINITION},
        {"clients": ["web_01"], "point": "latest", "subclient": "weekly"},
        {"clients": ["web_01"], "point": "latest", "max_age": 1},
        {"clients": ["web_01"], "point": "latest", "share": 1},
    ],
)
def test_options_that_do_not_go_together(fail: Any, args: dict[str, Any], options: dict[str, Any]) -> None:
    assert "failure" not in fail("verify", {**args, **options})


def test_no_vault(fail: Any, tmp_path: Path) -> None:
    assert fail("verify", {"vault": str(tmp_path)})["failure"] == {"kind": "NotAVaultError", "path": str(tmp_path)}


def test_an_empty_vault(succeed: Any, args: dict[str, Any]) -> None:
    found = succeed("verify", args)
    assert (found["changed"], found["total"], found["points"]) == (False, 0, [])
    assert found["summary"] == ["0 recovery points of 0 clients: none due"]
