# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module retention. Decisions and removals in all cases are tested in the vault room."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from unit.transfer.builders import MOMENT, NEXT_RUN, Estate, incremental, ticking, vm_plan

from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from ansible_collections.ovm.backup.plugins.module_utils.vault.pins import Pin, write_pin

DAY = 86400.0
POLICY = {"keep_last": 1}
NOTHING = {
    "changed": False,
    "clients": [],
    "freed": 0,
    "summary": ["Retention: 0 clients, 0 recovery points removed, 0 B"],
}


@pytest.fixture
def points(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> list[Point]:
    """Of one client a full, an incremental and a full again; of another a full. It is the day after the last one."""
    plans = [vm_plan(), incremental(vm_plan()), vm_plan(), vm_plan(client="db_01", vm_id="vm-db", vm_name="db/01")]
    made = []
    for number, plan in enumerate(plans):
        run_id = f"20261123T010203Z-0a1b2c3d-00000{number}"
        subclient = "databases" if number == 3 else "web"
        request = estate.request(plan, run_id=run_id, subclient=subclient)
        made.append(backup_vm(estate.vault, request, clock=ticking(MOMENT + number * DAY)).point)
    monkeypatch.setattr(time, "time", lambda: MOMENT + 4 * DAY)
    return made


@pytest.fixture
def args(estate: Estate) -> dict[str, Any]:
    return {"vault": estate.vault.path, "policy": POLICY}


def told(result: dict[str, Any]) -> list[str]:
    """Return the warnings of a module, in whatever form this ansible-core gives them."""
    return [item if isinstance(item, str) else item["event"]["msg"] for item in result["warnings"]]


def entry(point: Point, *reasons: str) -> dict[str, Any]:
    return {
        "id": point.id, "type": point.type, "created": point.created, "stored": point.stored, "pinned": False,
        "problem": None, "reasons": list(reasons),
    }  # fmt: skip


def client_of(point: Point, kept: list[dict[str, Any]], expired: list[dict[str, Any]], freed: int) -> dict[str, Any]:
    return {
        "client": point.client, "vm_name": point.vm_name, "kept": kept, "expired": expired, "freed": freed,
        "warnings": [], "skipped": None, "failed": None,
    }  # fmt: skip


def test_removed(succeed: Any, args: dict[str, Any], estate: Estate, points: list[Point]) -> None:
    full, second, third, other = points
    freed, stays, gone = (
        full.stored + second.stored,
        ("newest point", "among the last 1"),
        "expired: not among the last 1",
    )
    web = client_of(full, [entry(third, *stays)], [entry(full, gone), entry(second, gone)], freed)
    tree = estate.tree
    foreseen = succeed("retention", {**args, "timezone": "Europe/Vienna"}, check_mode=True, diff=True)
    assert estate.tree == tree
    size = f"{freed / 1024 / 1024:.1f} MiB"
    assert foreseen == {
        "changed": True,
        "clients": [client_of(other, [entry(other, *stays)], [], 0), web],
        "freed": freed,
        "summary": [
            f"Retention: 2 clients, 2 recovery points would be removed, {size}",
            "",
            "db_01 (VM db/01): 1 kept, 0 would be removed, 0 B",
            f"  keep    {other.id}  full  2026-11-26 02:02 CET  newest point, among the last 1",
            "",
            f"web_01 (VM web 01): 1 kept, 2 would be removed, {size}",
            f"  remove  {full.id}  full         2026-11-23 02:02 CET  expired: not among the last 1",
            f"  remove  {second.id}  incremental  2026-11-24 02:02 CET  expired: not among the last 1",
            f"  keep    {third.id}  full         2026-11-25 02:02 CET  newest point, among the last 1",
        ],
        "diff": {"before": {"web_01": [full.id, second.id, third.id]}, "after": {"web_01": [third.id]}},
    }
    done = succeed("retention", {**args, "timezone": "Europe/Vienna"}, diff=True)
    assert done == {**foreseen, "summary": [line.replace("would be ", "") for line in foreseen["summary"]]}
    assert sorted(os.listdir(estate.client.directory)) == [third.id, "client.json"]
    again = succeed("retention", args, diff=True)
    assert (again["changed"], again["freed"], again["diff"]) == (False, 0, {"before": {}, "after": {}})
    assert [len(one["kept"]) for one in again["clients"]] == [1, 1]


def test_choice_of_clients(succeed: Any, fail: Any, args: dict[str, Any], points: list[Point], estate: Estate) -> None:
    def names(**options: Any) -> list[str]:
        found = succeed("retention", {**args, **options}, check_mode=True)
        return [one["client"] for one in found["clients"]]

    assert names() == ["db_01", "web_01"]
    assert names(subclient="web") == names(clients=["web_01", "web_01"]) == ["web_01"]
    assert names(subclient="databases", clients=["db_01"]) == ["db_01"]
    assert succeed("retention", {**args, "subclient": "other"}) == NOTHING
    assert succeed("retention", {**args, "clients": []}) == NOTHING
    assert fail("retention", {**args, "subclient": "web", "clients": ["db_01"]}) == {
        "msg": "The newest recovery point of client db_01 was not made by subclient 'web'",
        "failure": {"kind": "InvalidInputError", "client": "db_01"},
    }
    assert fail("retention", {**args, "clients": ["db_01", "nobody"]}) == {
        "msg": f"The vault {estate.vault.path} has no client 'nobody'",
        "failure": {"kind": "PointNotFoundError", "client": "nobody"},
    }


def test_pinned(succeed: Any, args: dict[str, Any], estate: Estate, points: list[Point]) -> None:
    write_pin(os.path.join(estate.client.directory, points[1].id), Pin("keep", 1.0, None))
    found = succeed("retention", {**args, "clients": ["web_01"]})
    assert found["changed"] is False
    assert [point["reasons"] for point in found["clients"][0]["kept"]] == [
        [f"kept only as a base: needed by {points[1].id}"], ["pinned: keep"], ["newest point", "among the last 1"],
    ]  # fmt: skip


@pytest.mark.parametrize("check_mode", [False, True])
def test_client_of_another_run(
    run_module: Any, args: dict[str, Any], estate: Estate, points: list[Point], check_mode: bool
) -> None:
    with estate.client.lock(owner="a backup", run_id=NEXT_RUN):
        result, failed = run_module("retention", args, check_mode=check_mode)
    assert (failed, result["changed"], result["freed"]) == (False, False, 0)
    db, web = result["clients"]
    assert web["skipped"].startswith(f"Client web_01 is locked by run {NEXT_RUN} (a backup) on ")
    assert told(result) == [f"Client web_01: not all that expires was removed: {web['skipped']}"]
    assert (len(web["kept"]), web["expired"], db["skipped"]) == (3, [], None)
    assert f"  Skipped: {web['skipped']}" in result["summary"]


def test_damage(run_module: Any, args: dict[str, Any], estate: Estate, points: list[Point]) -> None:
    manifest = Path(estate.client.directory) / points[1].id / "point.json"
    manifest.write_text("{}")
    Path(estate.vault.path, "clients", "db_01", "client.json").write_text("{}")
    result, failed = run_module("retention", args)
    assert failed
    path = f"{estate.vault.path}/clients/db_01/client.json"
    wrong = f"{path} is damaged: it does not name a VM"
    assert result["msg"] == f"Retention failed for clients: db_01: {wrong}"
    assert result["failure"] == {"kind": "VaultError"}
    db, web = result["clients"]
    assert (db["failed"], db["kept"], db["vm_name"]) == (wrong, [], None)
    # The other client is looked after all the same.
    assert [point["created"] is None for point in web["kept"]] == [False, True, False]
    [warning] = web["warnings"]
    assert told(result) == [f"Client web_01: {warning}"]
    assert f"  Failed: {wrong}" in result["summary"]
    assert any(
        line.startswith(f"  keep    {points[1].id}  -     -                 its manifest") for line in result["summary"]
    )


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policy": {}}, "retention: policy: keeps nothing: set at least one of keep_last, keep_days, keep_daily, "
            "keep_weekly, keep_monthly, keep_yearly, or leave it out to keep everything"),
        ({"policy": {"keep_last": 0}}, "retention: policy.keep_last: must be between 1 and 100000, not 0"),
        ({"timezone": "Europe/Wien"}, "timezone: 'Europe/Wien' is not a time zone that is known here: it must be a "
            "name of the IANA data base, such as Europe/Berlin (did you mean 'Europe/Vienna'?)"),
    ],
)  # fmt: skip
def test_wrong_values(
    fail: Any, args: dict[str, Any], estate: Estate, points: list[Point], change: dict[str, Any], message: str,
    check_mode: bool,
) -> None:  # fmt: skip
    tree = estate.tree
    failed = fail("retention", {**args, **change}, check_mode=check_mode)
    assert (failed["msg"], failed["failure"]["kind"]) == (message, "InvalidInputError")
    assert estate.tree == tree


def test_unknown_rule_and_no_vault(fail: Any, args: dict[str, Any], tmp_path: Path) -> None:
    assert "keep_week" in fail("retention", {**args, "policy": {"keep_week": 1}})["msg"]
    assert fail("retention", {**args, "vault": str(tmp_path)})["failure"] == {
        "kind": "NotAVaultError", "path": str(tmp_path),
    }  # fmt: skip
