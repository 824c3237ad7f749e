# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copying recovery points to another vault: whole or not at all, and after an interruption from there on."""

from __future__ import annotations

import base64
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unit.transfer.builders import MOMENT, RUN, Estate, disk, incremental, ticking, vm_plan
from unit.vault.builders import RECORD_OFFSET, fail_to_read, records, stored_tree
from unit.vault.chains import flip
from unit.vault.pair import LAST_RUN, NAME, Pair

from ansible_collections.ovm.backup.plugins.module_utils.errors import InvalidInputError, VaultWriteError
from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.vault import copy_files, copy_plan, copying
from ansible_collections.ovm.backup.plugins.module_utils.vault.access import VaultAccess
from ansible_collections.ovm.backup.plugins.module_utils.vault.copy_plan import FULLS, Wishes
from ansible_collections.ovm.backup.plugins.module_utils.vault.copying import FULL, HEADER
from ansible_collections.ovm.backup.plugins.module_utils.vault.expiry import Expiration
from ansible_collections.ovm.backup.plugins.module_utils.vault.health import Health
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from ansible_collections.ovm.backup.plugins.module_utils.vault.pins import Pin, write_pin
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client, Vault
from ansible_collections.ovm.backup.plugins.module_utils.vault.removal import expire_point
from ansible_collections.ovm.backup.plugins.module_utils.vault.retention import PointFacts, RetentionPolicy
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.directory import (
    DirectoryReader,
    DirectoryStorage,
)
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.mounts import unmount
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.s3 import S3Storage
from ansible_collections.ovm.backup.plugins.module_utils.vault.verification import Verifier
from ansible_collections.ovm.backup.plugins.module_utils.vault.verification_run import survey, verify_targets


@pytest.fixture
def pair(tmp_path: Path, no_sync: None) -> Pair:
    return Pair(tmp_path)


def file_of(client: Client, point: Point, number: int) -> Path:
    return Path(client.directory, point.id, point.disks[number].file)


def size(*points: Point) -> int:
    return sum(point.stored for point in points)


def test_number_of_a_damaged_point_that_was_copied_is_not_given_again(pair: Pair) -> None:
    assert pair.statuses(pair.copy()) == ["copied"] * 3
    flip(file_of(pair.client, pair.points[2], 0), 2000)
    [bad] = verify_targets(pair.source, survey(pair.source, clients=[NAME], point=pair.points[2].id).targets)
    assert bad.status == "bad"
    Expiration(RetentionPolicy(keep_days=1), MOMENT + 9e5, Wishes().zone, "a test", RUN).run(pair.client)
    request = pair.estate.request(vm_plan(disk(0), disk(1, "data")), run_id=LAST_RUN[:-1] + "0")
    made = backup_vm(pair.source, request, clock=ticking(MOMENT + 9e5)).point
    done = pair.copy()
    assert (done.errors, [one.due.point.id for one in done.copied]) == ([], [made.id])


def test_point_that_expires_while_it_is_looked_at_is_no_damage(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pair.statuses(pair.copy()) == ["copied"] * 3
    request = pair.estate.request(incremental(vm_plan(disk(0), disk(1, "data"))), run_id=LAST_RUN[:-1] + "0")
    made = backup_vm(pair.source, request, clock=ticking(MOMENT + 180)).point
    facts_of = copy_plan.facts_of

    def late(client: Client, point: Point, health: Health) -> PointFacts:
        if client.directory == pair.twin.directory and point.id == pair.points[2].id:
            monkeypatch.setattr(copy_plan, "facts_of", facts_of)
            expire_point(os.path.join(client.directory, point.id))
        return facts_of(client, point, health)

    monkeypatch.setattr(copy_plan, "facts_of", late)
    done = pair.copy()
    # It builds on what has gone, which comes along once more.
    assert ([one.due.point.id for one in done.copied], done.errors) == ([pair.points[2].id, made.id], [])


# --- what a copy is --------------------------------------------------------------------------------------------------


def test_copy_and_again(pair: Pair) -> None:
    first, second, third = pair.points
    foreseen = pair.copy(check=True).as_dict()
    assert stored_tree(pair.target.path) == ["clients", "jobs", "restore.py", "vault.json"]
    assert [(one["point"], one["status"], one["sent"]) for one in foreseen["points"]] == [
        (point.id, "due", point.stored) for point in pair.points
    ]
    assert foreseen["lag"] == {"points": 3, "bytes": size(*pair.points), "seconds": None}

    done = pair.copy().as_dict()
    assert done == {
        "client": NAME,
        "vm_name": "web 01",
        "points": [
            {
                "point": point.id,
                "type": kind,
                "created": point.created,
                "why": why,
                "status": "copied",
                "bytes": point.stored,
                "sent": point.stored,
                "reused": 0,
                "error": None,
            }
            for point, kind, why in zip(pair.points, ("full", "incremental", "full"), ["it is chosen"] * 3, strict=True)
        ],
        "left_out": [],
        "present": 3,
        "sent": size(*pair.points),
        "lag": {"points": 0, "bytes": 0, "seconds": 0.0},
        "notes": [],
        "failed": None,
    }
    assert pair.seen[-1] == (f"{NAME}/{third.id}/1-data.img.zst", size(*pair.points), size(*pair.points))
    pair.assert_whole()
    before = [os.stat(file_of(pair.twin, point, 0)).st_mtime_ns for point in pair.points]
    again = pair.copy().as_dict()
    assert (again["points"], again["present"], again["sent"]) == ([], 3, 0)
    assert [os.stat(file_of(pair.twin, point, 0)).st_mtime_ns for point in pair.points] == before
    assert first.id < second.id


def test_manifest_is_copied_word_for_word(pair: Pair) -> None:
    pair.copy()
    for point in pair.points:
        ours, theirs = (Path(client.directory, point.id, "point.json") for client in (pair.client, pair.twin))
        assert theirs.read_bytes() == ours.read_bytes()


def test_a_copy_is_verified_and_expires_on_its_own(pair: Pair) -> None:
    write_pin(os.path.join(pair.client.directory, pair.points[0].id), Pin("for the auditors", 1.0, None))
    verify_targets(pair.source, survey(pair.source).due(now=MOMENT, max_age=None, share=None), workers=1)
    pair.copy()
    assert not [name for name in stored_tree(pair.twin.directory) if name.endswith(("pin.json", "verification.json"))]
    results = verify_targets(pair.target, survey(pair.target).due(now=MOMENT, max_age=None, share=None), workers=1)
    assert [result.status for result in results] == ["good"] * 3
    kept = stored_tree(pair.source.path)
    expiration = Expiration(RetentionPolicy(keep_last=1), MOMENT + 9e5, Wishes().zone, "a test", RUN)
    assert len(expiration.run(pair.twin).expired) == 2
    assert stored_tree(pair.source.path) == kept
    # What the copy would not keep does not come back.
    policy = Wishes(policy=RetentionPolicy(keep_last=1))
    assert pair.copy(policy).points == []
    assert pair.statuses(pair.copy(check=True)) == ["due", "due"]
    # The newest point of the source, and what it builds on, stays in the copy whatever becomes of it in the source.
    expire_point(os.path.join(pair.client.directory, pair.points[2].id))
    assert pair.copy(policy).as_dict()["points"] == []
    assert [point.id for point in pair.twin.scan()[0]] == [pair.points[2].id]


class Elsewhere(DirectoryStorage):
    """Stands in for a storage that is no directory: whoever passes it by finds nothing at C(s3://)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.written: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        if name.startswith("_") or not callable(found):
            return found

        def call(*values: Any, **options: Any) -> Any:
            here = [
                str(self._directory / value.removeprefix("s3://")) if str(value).startswith("s3://") else value
                for value in values
            ]
            if name in ("new", "create"):
                self.written.append(os.path.basename(values[0]))
            return found(*here, **options)

        return call


def test_everything_goes_through_the_storage(pair: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    far = Elsewhere(tmp_path / "far")
    monkeypatch.setattr(S3Storage, "connect", lambda _path, _settings: far)
    try:
        pair.target = Vault.create("s3://far/vault", clock=lambda: 2.0)
        interrupt_second_file(pair, monkeypatch)
        far.written.clear()
        done = pair.copy()
        assert (done.points[0].reused, done.errors) == (pair.points[0].disks[0].file_size, [])
        assert far.written == [
            "lock.json", "1-data.img.zst", "point.json", *["0-system.img.zst", "1-data.img.zst", "point.json"] * 2,
        ]  # fmt: skip
        result = Verifier(RUN).verify(pair.twin, pair.points[1])
        assert result is not None
        assert result.ok
    finally:
        unmount("s3://far/vault")
    assert stored_tree(tmp_path / "far" / "far" / "vault" / "clients" / NAME) == stored_tree(pair.client.directory)


def test_encrypted_copy(pair: Pair, tmp_path: Path) -> None:
    key = base64.b64encode(bytes(range(32))).decode()
    pair.target = Vault.create(str(tmp_path / "secret"), VaultAccess(encryption_key=key), encrypted=True)
    size_there = pair.points[0].disks[0].file_size
    assert (pair.copy().errors, pair.copy().points) == ([], [])
    assert file_of(pair.twin, pair.points[0], 0).stat().st_size > size_there
    pair.assert_whole()
    # And back.
    pair.source, pair.client = pair.target, pair.twin
    pair.target = Vault.create(str(tmp_path / "plain"))
    assert pair.copy().errors == []
    pair.assert_whole()


def test_renamed_vm(pair: Pair) -> None:
    pair.copy(Wishes(points=FULLS, count=1))
    pair.source.register(pair.client, vm_id=pair.points[0].vm_id, vm_name="web 02", now=5.0)
    pair.copy()
    assert [entry["name"] for entry in pair.twin.document["names"]] == ["web 01", "web 02"]
    assert pair.twin.document["names"][0] == pair.client.document["names"][0]


# --- interruptions ---------------------------------------------------------------------------------------------------


class Stop(BaseException):
    """The process is killed: nothing but its own clean-up runs."""


def stop_at(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, number: int, error: BaseException) -> None:
    function, calls = getattr(module, name), []

    def call(*args: Any, **options: Any) -> Any:
        calls.append(args)
        if len(calls) == number:
            raise error
        return function(*args, **options)

    monkeypatch.setattr(module, name, call)


@pytest.mark.parametrize("error", [Stop(), VaultWriteError("no connection", errno=errno.EIO)], ids=["killed", "lost"])
@pytest.mark.parametrize(
    ("name", "number", "published", "reused"),
    [
        ("send", 1, 0, 0),
        ("send", 2, 0, 1),
        ("problem_of_file", 2, 0, 1),
        ("write_file", 1, 0, 2),
        ("publish_copy", 1, 0, 2),
        ("send", 3, 1, 0),
        ("send", 4, 1, 1),
        ("publish_copy", 2, 1, 2),
        ("remove_note", 2, 2, 0),
    ],
)
def test_interrupted(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, name: str, number: int, published: int, reused: int, error: Any
) -> None:
    with monkeypatch.context() as patch:
        stop_at(patch, copying, name, number, error)
        if isinstance(error, Stop):
            with pytest.raises(Stop):
                pair.copy()
        else:
            assert pair.copy().failed == "no connection"
    assert pair.there == [point.id for point in pair.points[:published]]
    assert pair.twin.lock(owner="x", run_id="y").status() is None
    half = pair.points[published]
    kept = sum(disk.file_size for disk in half.disks[:reused])
    assert pair.copy(check=True).points[0].reused == kept
    done = pair.copy()
    assert (done.points[0].reused, done.points[0].sent) == (kept, half.stored - kept)
    pair.assert_whole()


def interrupt_second_file(pair: Pair, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Path:
    """Leave the first file of the first point behind."""
    with monkeypatch.context() as patch:
        stop_at(patch, copying, "send", 2, Stop())
        with pytest.raises(Stop):
            pair.copy(**changes)
    return file_of(pair.twin, pair.points[0], 0)


@pytest.mark.parametrize("damage", ["cut", "gone", "other note", "no note", "frame"])
def test_what_is_left_is_not_trusted(pair: Pair, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    # Only tables are checked of what the first run sends, so that the second has to look at the data.
    left = interrupt_second_file(pair, monkeypatch, verify=HEADER)
    note = Path(pair.twin.directory, "copying.json")
    if damage == "cut":
        os.truncate(left, 100)
    elif damage == "gone":
        left.unlink()
    elif damage == "frame":
        flip(left, records(left)[0][RECORD_OFFSET] + 20)  # type: ignore[call-overload]
    elif damage == "other note":
        note.write_text(json.dumps({**json.loads(note.read_text()), "manifest": "another"}))
    else:
        note.unlink()
    done = pair.copy()
    assert done.points[0].reused == 0
    notes = [f"removed what interrupted runs left in the other vault: {pair.points[0].id}"]
    assert done.notes == (notes if "note" in damage else [])
    pair.assert_whole()


def test_what_is_left_stays_while_its_note_cannot_be_read(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    left = interrupt_second_file(pair, monkeypatch)
    note = os.path.join(pair.twin.directory, "copying.json")
    with monkeypatch.context() as patch:
        fail_to_read(patch, "copying.json")
        for check in (True, False):
            assert pair.copy(check=check).failed == f"Cannot read {note}: Connection timed out"
    assert pair.copy().points[0].reused == left.stat().st_size
    pair.assert_whole()


def test_what_was_left_of_a_point_that_is_not_wanted_any_more(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_second_file(pair, monkeypatch)
    done = pair.copy(Wishes(points=FULLS, count=1))
    assert done.notes == [f"removed what interrupted runs left in the other vault: {pair.points[0].id}"]
    assert pair.there == [pair.points[2].id]
    assert pair.twin.unpublished() == []


# --- sources that are not in order -----------------------------------------------------------------------------------


@pytest.mark.parametrize("verify", [FULL, HEADER])
def test_damaged_source_file(pair: Pair, verify: str) -> None:
    path = file_of(pair.client, pair.points[0], 1)
    offset = records(path)[0][RECORD_OFFSET] + 20 if verify == FULL else path.stat().st_size - 200
    flip(path, offset)  # type: ignore[arg-type]
    done = pair.copy(verify=verify)
    assert pair.statuses(done) == ["failed", "failed", "copied"]
    assert str(done.points[0].error).startswith(f"{path} is damaged at offset ")
    assert done.points[1].error == f"it builds on {pair.points[0].id}, which could not be copied"
    assert done.errors == [f"{one.due.point.id}: {one.error}" for one in done.points[:2]]
    assert (done.lag()["points"], pair.there) == (2, [pair.points[2].id])
    assert pair.twin.unpublished() == []
    assert not Path(pair.twin.directory, "copying.json").exists()


def test_damage_on_the_way(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    send = copy_files.send

    def garble(source: str, target: str, size: int, **options: Any) -> None:
        send(source, target, size, **options)
        flip(Path(target), 20)

    monkeypatch.setattr(copying, "send", garble)
    done = pair.copy()
    target = file_of(pair.twin, pair.points[0], 0)
    assert str(done.failed).startswith(f"{target} is not what was written: {target} is damaged at offset 0: ")
    assert (pair.there, pair.statuses(done)) == ([], ["due"] * 3)


@pytest.mark.parametrize("moment", ["send", "publish_copy"])
def test_removed_from_the_source_meanwhile(pair: Pair, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    function: Callable[..., None] = getattr(copying, moment)

    def call(*args: Any, **options: Any) -> None:
        for point in reversed(pair.points[:2]):
            if os.path.isdir(os.path.join(pair.client.directory, point.id)):
                expire_point(os.path.join(pair.client.directory, point.id))
        function(*args, **options)

    monkeypatch.setattr(copying, moment, call)
    done = pair.copy()
    assert (pair.statuses(done), done.errors) == (["gone", "gone", "copied"], [])
    assert pair.there == [pair.points[2].id]
    assert pair.twin.unpublished() == []


def test_source_that_cannot_be_read_now(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any) -> bytes:
        raise OSError(errno.ETIMEDOUT, "Connection timed out")

    with monkeypatch.context() as patch:
        patch.setattr(DirectoryReader, "pread", refuse)
        done = pair.copy()
    path = file_of(pair.client, pair.points[0], 0)
    assert done.failed == f"Cannot read {path}: Connection timed out"
    assert pair.copy().errors == []
    pair.assert_whole()


# --- targets that refuse ---------------------------------------------------------------------------------------------


def test_full_target(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    free = pair.points[0].stored - 1
    with monkeypatch.context() as patch:
        patch.setattr("ansible_collections.ovm.backup.plugins.module_utils.vault.files.free_space", lambda _path: free)
        refused = pair.copy()
    assert refused.failed == (
        f"Recovery point {pair.points[0].id} of client {NAME} cannot be copied: up to {free + 1} bytes are needed, "
        f"{free} are free in {pair.twin.directory}. Free space there or let recovery points expire"
    )
    with monkeypatch.context() as patch:
        stop_at(patch, copying, "send", 2, VaultWriteError("the vault is full", errno=errno.ENOSPC))
        assert pair.copy().failed == "the vault is full"
    # What cannot be finished takes no room.
    assert (pair.there, pair.twin.unpublished()) == ([], [])
    assert pair.copy().errors == []
    pair.assert_whole()


def test_locked_target(pair: Pair) -> None:
    other = pair.target.prepare_client(NAME).lock(owner="another", run_id=RUN)
    other.hold(3600.0)
    tree = stored_tree(pair.target.path)
    for check in (True, False):
        done = pair.copy(check=check)
        assert str(done.failed).startswith(f"Client {NAME} is locked by run {RUN} (another)")
        assert done.errors == [done.failed]
        assert done.lag()["points"] == 3
    assert stored_tree(pair.target.path) == tree
    other.release()
    assert pair.copy().errors == []


def test_lock_that_is_broken_meanwhile(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    function = copying.send

    def call(*args: Any, **options: Any) -> None:
        function(*args, **options)
        Path(pair.twin.directory, "lock.json").unlink(missing_ok=True)

    monkeypatch.setattr(copying, "send", call)
    done = pair.copy()
    assert "was removed by somebody else: nothing more is written" in str(done.failed)
    assert pair.there == []


def test_what_is_there_is_never_overwritten(pair: Pair) -> None:
    other = vm_plan(client=NAME)
    estate = Estate(Path(pair.target.path).parent / "foreign")
    estate.vault = pair.target
    made = backup_vm(pair.target, estate.request(other), clock=ticking(MOMENT)).point
    assert made.id == pair.points[0].id
    tree = Path(pair.twin.directory, made.id, "point.json").read_bytes()
    done = pair.copy()
    below = f"it builds on {made.id}, which is not copied: "
    assert done.errors == [
        f"{made.id}: the other vault holds another recovery point with this id",
        f"{pair.points[1].id}: {below}the other vault holds another recovery point with this id",
    ]
    assert pair.statuses(done) == ["copied"]
    assert Path(pair.twin.directory, made.id, "point.json").read_bytes() == tree


def test_client_of_another_vm(pair: Pair) -> None:
    pair.target.register(pair.target.prepare_client(NAME), vm_id="0004fb00000600ff", vm_name="old", now=1.0)
    done = pair.copy(check=True)
    assert done.failed == (
        f"Client {NAME} of the vault {pair.target.path} belongs to VM 0004fb00000600ff (old), that of "
        f"{pair.source.path} to {pair.points[0].vm_id} (web 01): a vault takes copies from one vault only"
    )


def test_same_vault(pair: Pair) -> None:
    pair.target = Vault.open(pair.source.path)
    with pytest.raises(InvalidInputError, match="are the same vault"):
        pair.copy()


def test_damage_in_the_copy(pair: Pair) -> None:
    pair.copy(Wishes(points=FULLS, count=2))
    first = pair.points[0]
    os.truncate(file_of(pair.twin, first, 0), 10)
    assert Verifier(RUN).verify(pair.twin, first) is not None
    done = pair.copy()
    assert done.points == []
    assert len(done.errors) == 1
    assert done.errors[0].startswith(
        f"{pair.points[1].id}: it builds on {first.id}, which is not in order in the other vault: "
    )
