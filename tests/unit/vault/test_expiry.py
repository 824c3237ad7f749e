# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Points that expire: under the lock, from new to old, and never against a pin, a backup or another run."""

from __future__ import annotations

import builtins
import errno
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from unit.vault.builders import add_point, make_client, noise, stored_tree, write_image

from ansible_collections.ovm.backup.plugins.module_utils.vault import expiry, manifest
from ansible_collections.ovm.backup.plugins.module_utils.vault.description import describe_points
from ansible_collections.ovm.backup.plugins.module_utils.vault.expiry import Expiration, Expiry, belongs_to
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point, write_manifest
from ansible_collections.ovm.backup.plugins.module_utils.vault.pins import Pin, remove_pin, write_pin
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client
from ansible_collections.ovm.backup.plugins.module_utils.vault.reserve import RESERVE_NAME, keep_reserve
from ansible_collections.ovm.backup.plugins.module_utils.vault.retention import RetentionPolicy
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.directory import DirectoryStorage
from ansible_collections.ovm.backup.plugins.module_utils.vault.verification_record import (
    Problem,
    Verification,
    write_verification,
)

DAY = 86400.0
RUN, OTHER = "20261123T010203Z-0a1b2c3d-4e5f60", "20261124T010203Z-0a1b2c3d-4e5f61"
PIN = Pin("keep it", 1.0, None)


@pytest.fixture
def points(client: Client, tmp_path: Path) -> list[Point]:
    """Two chains: a full with two incrementals, a full with one; a day between all."""
    made: list[Point] = []
    for number, base in enumerate((None, 0, 1, None, 3)):
        image = write_image(tmp_path / "raw", noise(5000, number))
        moment = (number + 1) * DAY
        made.append(add_point(client, image, base=None if base is None else made[base], now=moment, created=moment))
    return made


def keep_last(count: int, **changes: Any) -> Expiration:
    policy = RetentionPolicy(keep_last=count)
    return replace(Expiration(policy, 6 * DAY, ZoneInfo("UTC"), "a test", RUN), **changes)


def ids(decisions: Any) -> list[str]:
    return [decision.point.id for decision in decisions]


def left(client: Client) -> list[str]:
    """The points that can be read, all of them good."""
    found, damaged = client.scan()
    assert damaged == []
    assert [client.problem_of(point) for point in found] == [None] * len(found)
    return [point.id for point in found]


def folder(client: Client, point: Point) -> str:
    return os.path.join(client.directory, point.id)


def before_removal(monkeypatch: pytest.MonkeyPatch, number: int, what: Callable[[], Any]) -> list[str]:
    """Let something happen right before the removal of a certain point; return the removals that were tried."""
    function, tried = expiry.expire_point, []

    def call(directory: str) -> bool:
        tried.append(os.path.basename(directory))
        if len(tried) == number:
            what()
        return function(directory)

    monkeypatch.setattr(expiry, "expire_point", call)
    return tried


def test_removed_from_new_to_old(client: Client, points: list[Point], monkeypatch: pytest.MonkeyPatch) -> None:
    tried = before_removal(monkeypatch, 0, lambda: None)
    found = keep_last(1).run(client)
    assert tried == [points[2].id, points[1].id, points[0].id]
    assert left(client) == [points[3].id, points[4].id]
    assert stored_tree(client.directory)[0].startswith(points[3].id)
    assert not (Path(client.directory) / "lock.json").exists()
    assert (ids(found.kept), ids(found.expired)) == ([points[3].id, points[4].id], [p.id for p in points[:3]])
    assert (found.freed, found.skipped, found.failed) == (sum(point.stored for point in points[:3]), None, None)
    assert found.as_dict()["expired"][0] == {
        "id": points[0].id,
        "type": "full",
        "created": DAY,
        "stored": points[0].stored,
        "pinned": False,
        "problem": None,
        "reasons": ["expired: not among the last 1"],
    }
    again = keep_last(1).run(client)
    assert again == Expiry("web01", "web01", found.kept, (), ())


def test_what_object_lock_holds_stays_with_what_it_needs(
    client: Client, points: list[Point], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = {f"{folder(client, points[1])}/point.json": 6 * DAY + 3600, f"{folder(client, points[3])}/point.json": 0.0}
    monkeypatch.setattr(manifest, "held_until", lambda path: held.get(path) or None)
    found = keep_last(1).run(client)
    assert left(client) == [points[number].id for number in (0, 1, 3, 4)]
    assert [decision.reasons[0] for decision in found.kept] == [
        f"kept only as a base: needed by {points[1].id}",
        "under object lock until 1970-01-07 01:00:00 UTC",
        f"kept only as a base: needed by {points[4].id}",
        "newest point",
    ]
    assert (ids(found.expired), found.failed) == ([points[2].id], None)
    held[f"{folder(client, points[1])}/point.json"] = float("inf")
    assert keep_last(1).run(client).kept[1].reasons == ("under a legal hold of object lock",)
    shown = {point["id"]: point["held"] for point in describe_points(client, client.scan()[0])}
    assert shown.pop(points[1].id) == "under a legal hold of object lock"
    assert set(shown.values()) == {None}


def test_dry_run_says_the_same_and_writes_nothing(client: Client, points: list[Point]) -> None:
    before = stored_tree(client.directory)
    foreseen = keep_last(1).run(client, dry_run=True)
    assert stored_tree(client.directory) == before
    assert foreseen == keep_last(1).run(client)


def test_nothing_to_remove_needs_no_lock(client: Client, points: list[Point]) -> None:
    with client.lock(owner="another", run_id=OTHER):
        assert keep_last(5).run(client).skipped is None


@pytest.mark.parametrize("dry_run", [True, False])
def test_locked_by_another_run(client: Client, points: list[Point], dry_run: bool) -> None:
    with client.lock(owner="another", run_id=OTHER):
        before = stored_tree(client.directory)
        found = keep_last(1).run(client, dry_run=dry_run)
        assert stored_tree(client.directory) == before
    assert found.skipped is not None
    assert found.skipped.startswith(f"Client web01 is locked by run {OTHER} (another) on ")
    assert (found.failed, found.expired, found.freed) == (None, (), 0)
    assert ids(found.kept) == left(client) == [point.id for point in points]
    assert found.kept[0].reasons == ("not removed, the client is locked", "expired: not among the last 1")


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("debts", [{"vm_stopped": True}, {}])
def test_lock_of_a_dead_run_is_left_to_the_next_backup(
    client: Client, points: list[Point], debts: dict[str, bool], dry_run: bool
) -> None:
    lock = client.lock(owner="another", run_id=OTHER, vm_id=None if debts else "vm")
    lock.hold(-1.0, debts)
    content = (Path(client.directory) / "lock.json").read_bytes()
    found = keep_last(1).run(client, dry_run=dry_run)
    assert found.skipped == (
        f"Client web01 has the lock of run {OTHER}, which has died: the next backup with this vault settles what that "
        "run left"
    )
    assert left(client) == [point.id for point in points]
    assert (Path(client.directory) / "lock.json").read_bytes() == content


def test_lock_of_a_dead_retention_is_taken_over(client: Client, points: list[Point]) -> None:
    client.lock(owner="another", run_id=OTHER).hold(-1.0)
    os.rename(os.path.join(folder(client, points[2]), "point.json"), os.path.join(folder(client, points[2]), ".hidden"))
    found = keep_last(1).run(client)
    assert (found.skipped, ids(found.expired)) == (None, [points[0].id, points[1].id])
    assert sorted(os.listdir(client.directory)) == [points[3].id, points[4].id, "client.json"]


@pytest.mark.parametrize(
    "owed", [{"vm_id": "vm", "debts": {"vm_stopped": True}}, {"vm_id": "vm"}, {"debts": {"vm_stopped": True}}]
)
def test_a_run_that_dies_in_this_very_moment(
    client: Client, points: list[Point], monkeypatch: pytest.MonkeyPatch, owed: dict[str, Any]
) -> None:
    def die(_client: Client, **_who: str) -> None:
        client.lock(owner="another", run_id=OTHER, vm_id=owed.get("vm_id")).hold(-1.0, owed.get("debts"))

    monkeypatch.setattr(expiry, "check_free", die)
    found = keep_last(1).run(client)
    assert found.skipped == "Client web01 has the lock of a run that has just died"
    assert left(client) == [point.id for point in points]
    lock = json.loads((Path(client.directory) / "lock.json").read_text())
    assert {"run_id": OTHER, "vm_id": None, "debts": {}, "lease": -1.0, **owed}.items() <= lock.items()


def test_lock_that_is_broken_stops_the_removal(
    client: Client, points: list[Point], monkeypatch: pytest.MonkeyPatch
) -> None:
    before_removal(monkeypatch, 1, lambda: client.lock(owner="another", run_id=OTHER, break_lock=True).hold(60.0))
    found = keep_last(1).run(client)
    assert found.skipped is not None
    assert found.skipped.startswith(f"Client web01 is locked by run {OTHER} (another)")
    assert (ids(found.expired), found.freed) == ([points[2].id], points[2].stored)
    assert ids(found.kept) == left(client) == [points[number].id for number in (0, 1, 3, 4)]
    assert client.lock(owner="x", run_id=OTHER).held


# --- what comes in the meantime --------------------------------------------------------------------------------------


def test_pinned_before_its_turn(client: Client, points: list[Point], monkeypatch: pytest.MonkeyPatch) -> None:
    tried = before_removal(monkeypatch, 1, lambda: write_pin(folder(client, points[1]), PIN))
    found = keep_last(1).run(client)
    assert tried == [points[2].id, points[1].id]
    assert left(client) == ids(found.kept) == [points[number].id for number in (0, 1, 3, 4)]
    assert found.kept[0].reasons == (f"kept only as a base: needed by {points[1].id}",)
    assert found.kept[1].reasons == ("pinned: keep it",)
    remove_pin(folder(client, points[1]))
    assert ids(keep_last(1).run(client).expired) == [points[0].id, points[1].id]


def test_backup_between_decision_and_lock(
    client: Client, points: list[Point], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[Point] = []

    def backup(_client: Client, **_who: str) -> None:
        image = write_image(tmp_path / "raw", noise(5000, 9))
        made.append(add_point(client, image, base=points[2], now=6 * DAY, created=6 * DAY))

    monkeypatch.setattr(expiry, "check_free", backup)
    found = keep_last(1).run(client)
    # It needs the first chain, and stands for the newest point of the second.
    assert left(client) == [*(point.id for point in points[:3]), made[0].id]
    assert ids(found.expired) == [points[3].id, points[4].id]


def test_interrupted_in_a_removal(client: Client, points: list[Point], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        before_removal(patch, 2, lambda: patch.setattr(DirectoryStorage, "remove_folder", interrupt))
        with pytest.raises(KeyboardInterrupt):
            keep_last(1).run(client)
    assert left(client) == [points[number].id for number in (0, 3, 4)]
    assert (Path(client.directory) / points[1].id).exists()
    assert not (Path(client.directory) / "lock.json").exists()
    assert ids(keep_last(1).run(client).expired) == [points[0].id]
    assert sorted(os.listdir(client.directory)) == sorted([points[3].id, points[4].id, "client.json"])


def interrupt(_storage: DirectoryStorage, _path: str) -> None:
    raise KeyboardInterrupt


def test_error_in_a_removal(client: Client, points: list[Point], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        def rename(old: str, new: str) -> None:
            if old.endswith("point.json"):
                raise OSError(30, "Read-only file system")
            renamed(old, new)

        monkeypatch.setattr("os.rename", rename)

    renamed = os.rename
    before_removal(monkeypatch, 2, fail)
    found = keep_last(1).run(client)
    assert found.failed == (f"Cannot rename {folder(client, points[1])}/point.json: the vault is mounted read-only")
    assert (found.skipped, ids(found.expired)) == (None, [points[2].id])
    assert ids(found.kept) == left(client) == [points[number].id for number in (0, 1, 3, 4)]
    assert found.kept[0].reasons == ("not removed, an error came first", "expired: not among the last 1")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_vault_without_a_free_block_gives_up_what_it_keeps_for_the_lock(
    client: Client, points: list[Point], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    keep_reserve(client.vault_path)
    reserve = Path(client.vault_path, RESERVE_NAME)
    create = DirectoryStorage.create

    def full(self: DirectoryStorage, path: str, data: bytes) -> None:
        if reserve.exists():
            raise OSError(number, os.strerror(number))
        create(self, path, data)

    monkeypatch.setattr(DirectoryStorage, "create", full)
    done = keep_last(2).run(client)
    assert (ids(done.expired), done.failed) == ([points[0].id, points[1].id, points[2].id], None)
    assert left(client) == [points[3].id, points[4].id]
    assert reserve.exists()  # for the next time


def test_a_full_vault_that_keeps_nothing_says_so(
    client: Client, points: list[Point], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(DirectoryStorage, "create", full)
    done = keep_last(2).run(client)
    assert done.failed is not None and "the vault is full" in done.failed
    assert left(client) == [point.id for point in points]


def test_a_clock_that_is_ahead_of_the_vaults_removes_nothing(client: Client, points: list[Point]) -> None:
    fast = keep_last(1, clock=lambda: time.time() + 30 * 3600.0)
    found = fast.run(client)
    assert found.failed == (
        "The clock of this host is 30 h 00 min ahead of that of the vault, so nothing is removed: set it, by NTP"
    )
    assert (ids(found.expired), left(client)) == ([], [point.id for point in points])
    assert sorted(os.listdir(client.directory)) == sorted(["client.json", *left(client)])
    almost = keep_last(1, clock=lambda: time.time() + 23 * 3600.0)
    assert ids(almost.run(client).expired) == [point.id for point in points[:3]]


# --- what is read ----------------------------------------------------------------------------------------------------


def test_facts(client: Client, points: list[Point]) -> None:
    write_pin(folder(client, points[1]), PIN)
    (Path(folder(client, points[3])) / points[3].disks[0].file).unlink()
    (Path(folder(client, points[4])) / "point.json").write_text("{}")
    facts = {fact.id: fact for fact in expiry._facts(client)}
    assert [facts[point.id].created for point in points] == [DAY, 2 * DAY, 3 * DAY, 4 * DAY, None]
    assert [facts[point.id].bases for point in points] == [
        frozenset(), {points[0].id}, {points[1].id}, frozenset(), frozenset(),
    ]  # fmt: skip
    assert [facts[point.id].pin for point in points] == [None, "keep it", None, None, None]
    assert [facts[point.id].problem is None for point in points] == [True, True, True, False, False]
    assert [facts[point.id].stored for point in points] == [*(point.stored for point in points[:4]), 0]
    assert facts[points[0].id].content == {(points[0].disks[0].disk_id, points[0].disks[0].content_hash)}


@pytest.mark.parametrize("what", ["verification", "file"])
def test_nothing_expires_while_it_cannot_be_told_what_is_good(
    client: Client, points: list[Point], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A result that says that the second chain is bad, or a file of it that is good, cannot be had at this moment."""
    file = points[3].disks[0].file
    path = os.path.join(folder(client, points[3]), {"verification": "verification.json", "file": file}[what])
    if what == "verification":
        problem = Problem(points[3].id, file, 7, "it is bad")
        write_verification(folder(client, points[3]), Verification(DAY, False, (problem,), 1, 1.0, {}, RUN))

    def late(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(name: Any, *arguments: Any, **options: Any) -> Any:
            if str(name) == path:
                raise OSError(errno.ETIMEDOUT, "Connection timed out", name)
            return function(name, *arguments, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", late(open))
        patch.setattr(os, "lstat", late(os.lstat))
        found = keep_last(1).run(client)
    verb = {"verification": "read", "file": "look at"}[what]
    assert found.failed == f"Cannot {verb} {path}: Connection timed out"
    assert [point.id for point in client.scan()[0]] == [point.id for point in points]
    # When it answers again, the first chain stays for the second, which is bad.
    expired = [] if what == "verification" else points[:3]
    assert ids(keep_last(1).run(client, dry_run=True).expired) == [point.id for point in expired]


def test_a_client_that_cannot_be_read(client: Client, points: list[Point]) -> None:
    path = Path(client.directory) / "client.json"
    path.write_text("{}")
    found = keep_last(1).run(client)
    assert found == Expiry("web01", None, (), (), (), failed=f"{path} is damaged: it does not name a VM")
    assert left(client) == [point.id for point in points]


def test_subclient_of_a_client(client: Client, points: list[Point], tmp_path: Path) -> None:
    assert (belongs_to(client, "all"), belongs_to(client, "other")) == (True, False)
    newest = replace(points[4], subclient="other")
    write_manifest(folder(client, newest), newest)
    assert (belongs_to(client, "all"), belongs_to(client, "other")) == (False, True)
    assert not belongs_to(make_client(tmp_path / "vault", name="new", vm_id="new"), "all")
