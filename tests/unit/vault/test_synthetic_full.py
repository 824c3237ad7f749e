# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Synthetic fulls: the same disk without its predecessors, out of the vault alone, or nothing at all."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from unit.transfer.builders import (
    MOMENT,
    NEXT_RUN,
    RUN,
    VM_CFG,
    Estate,
    disk,
    fill_up,
    incremental,
    ticking,
    vm_plan,
)
from unit.vault.builders import (
    MIB,
    RECORD_LENGTH,
    RECORD_OFFSET,
    RECORD_SEGMENT,
    add_point,
    frames,
    make_client,
    noise,
    records,
    restored,
    unpacked,
    write_image,
)
from unit.vault.histories import SEGMENT

from ansible_collections.ovm.backup.plugins.module_utils.errors import (
    CorruptVaultError,
    InvalidInputError,
    PointNotFoundError,
    VaultLockedError,
    VaultWriteError,
)
from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point, write_manifest
from ansible_collections.ovm.backup.plugins.module_utils.vault.point_making import PointOutcome, versions
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client, Vault
from ansible_collections.ovm.backup.plugins.module_utils.vault.synthetic_full import (
    SyntheticRequest,
    foresee_synthetic_full,
    make_synthetic_full,
)

BLOCK = 64 * 1024
FIRST, SECOND, THIRD = "20261123T010203Z-0001", "20261123T010303Z-0002", "20261124T010203Z-0003"
LATER = MOMENT + 86400.0


def request(client: str = "web_01", **changes: Any) -> SyntheticRequest:
    return SyntheticRequest(client=client, owner="a test", **changes)


def file_of(client: Client, point: Point, number: int = 0) -> Path:
    return Path(client.directory) / point.id / point.disks[number].file


@pytest.fixture
def estate(tmp_path: Path) -> Estate:
    return Estate(tmp_path)


# --- the recovery point ----------------------------------------------------------------------------------------------


@pytest.fixture
def chained(estate: Estate) -> tuple[Point, Point]:
    """Two points of a VM with two disks: a full, and one whose second disk is stored in full again."""
    estate.write(1, noise(MIB + 4096, seed=1))
    plan = vm_plan(disk(0), disk(1, "data"), skipped_disks=[{"slot": 3, "name": "asm", "kind": "x", "reason": "y"}])
    first = backup_vm(estate.vault, estate.request(plan), clock=ticking()).point
    estate.change(0, MIB, noise(BLOCK, seed=7))
    estate.change(1, 0, bytes(BLOCK))
    mixed = incremental(plan)
    mixed["disks"][1] = {**mixed["disks"][1], "type": "full", "type_reason": "asked for"}
    second = backup_vm(estate.vault, estate.request(mixed, run_id=NEXT_RUN), clock=ticking(MOMENT + 60)).point
    assert (first.id, second.id, second.type) == (FIRST, SECOND, "incremental")
    return first, second


def test_every_field_of_the_manifest(estate: Estate, chained: tuple[Point, Point]) -> None:
    _first, second = chained
    seen: list[tuple[str, int, int]] = []
    outcome = make_synthetic_full(
        estate.vault, request(run_id=RUN), clock=ticking(LATER), progress=lambda *done: seen.append(done), workers=1
    )
    made = outcome.point
    stored = [file_of(estate.client, made, number).stat().st_size for number in (0, 1)]
    reason = f"consolidates recovery point {SECOND}"
    same: dict[str, Any] = {"type": "synthetic_full", "base": None, "changes": None}
    assert outcome == PointOutcome(made, True, ())
    assert made == replace(
        second,
        id=THIRD,
        sequence=3,
        parent=SECOND,
        type="synthetic_full",
        requested_type="synthetic_full",
        reason=f"{reason} and the recovery point that it builds on",
        completed=LATER + 0.5,
        run_id=RUN,
        job_id=RUN,
        disks=(
            replace(
                second.disks[0],
                reason=f"{reason} and the recovery point that it builds on",
                header_hash=made.disks[0].header_hash,
                statistics={"read": 0, "changed": 0, "stored": stored[0], "frames_copied": 1, "frames_repacked": 1},
                **same,
                file_size=stored[0],
            ),
            replace(
                second.disks[1],
                reason=reason,
                header_hash=made.disks[1].header_hash,
                statistics={"read": 0, "changed": 0, "stored": stored[1], "frames_copied": 2, "frames_repacked": 0},
                **same,
                file_size=stored[1],
            ),
        ),
        durations={"transfer": 0.5},
        versions=versions(),
        consolidates=SECOND,
    )
    assert estate.client.point() == made
    assert estate.client.problem_of(made) is None
    assert estate.client.read_file(made, "vm_cfg") == VM_CFG
    assert estate.client.read_file(made, "vm_json") == estate.client.read_file(second, "vm_json")
    assert seen == [
        ("system", MIB, 2 * MIB), ("system", 2 * MIB, 2 * MIB), ("data", MIB, MIB + 4096),
        ("data", MIB + 4096, MIB + 4096),
    ]  # fmt: skip
    names = ["0-system.img.zst", "1-data.img.zst", "point.json", "vm.cfg", "vm.json"]
    assert sorted(os.listdir(Path(estate.client.directory) / THIRD)) == names
    assert "lock.json" not in os.listdir(estate.client.directory)


def test_it_restores_alone_also_without_this_software(estate: Estate, chained: tuple[Point, Point]) -> None:
    made = make_synthetic_full(estate.vault, request(), clock=ticking(LATER)).point
    for point in chained:
        shutil.rmtree(Path(estate.client.directory) / point.id)
    for number in (0, 1):
        assert restored(estate.client, made, number) == estate.image(number).read_bytes()
        assert unpacked(file_of(estate.client, made, number)) == estate.image(number).read_bytes()


def test_the_next_incremental_builds_on_it(estate: Estate, chained: tuple[Point, Point]) -> None:
    made = make_synthetic_full(estate.vault, request(), clock=ticking(LATER)).point
    for point in chained:
        shutil.rmtree(Path(estate.client.directory) / point.id)
    now = estate.change(0, 0, noise(BLOCK, seed=9))
    plan = incremental(vm_plan(disk(0), disk(1, "data")))
    following = backup_vm(estate.vault, estate.request(plan, run_id=RUN), clock=ticking(LATER + 60)).point
    assert (following.type, following.parent, following.consolidates) == ("incremental", made.id, None)
    assert [item.base for item in following.disks] == [made.id, made.id]
    assert [item.statistics["changed"] for item in following.disks] == [BLOCK, 0]
    assert restored(estate.client, following) == now
    again = make_synthetic_full(estate.vault, request(), clock=ticking(LATER + 120)).point
    assert (again.consolidates, again.created) == (following.id, following.created)
    assert restored(estate.client, again) == now


def test_many_points_become_one(tmp_path: Path) -> None:
    client = make_client(tmp_path / "vault")
    image = write_image(tmp_path / "image", noise(5 * SEGMENT))
    points = [add_point(client, image)]
    for number in range(4):
        with image.open("r+b") as file:
            file.seek(number * SEGMENT)
            file.write(noise(100, number))
        points.append(add_point(client, image, base=points[-1]))
    made = make_synthetic_full(Vault.open(str(tmp_path / "vault")), request("web01"), clock=ticking()).point
    assert made.reason == f"consolidates recovery point {points[-1].id} and the 4 that it builds on"
    assert restored(client, made) == image.read_bytes()


def test_the_subclient_of_the_caller_counts(estate: Estate, chained: tuple[Point, Point]) -> None:
    made = make_synthetic_full(estate.vault, request(subclient="weekly"), clock=ticking(LATER)).point
    assert (chained[1].subclient, made.subclient, made.job_id) == ("nightly", "weekly", None)
    assert made.run_id.startswith(f"20261124T010203Z-{estate.vault.id[:8]}-")


def test_the_level_is_used_for_what_is_repacked(estate: Estate) -> None:
    """What is copied stays as it was compressed."""
    estate.write(0, b"compressible " * (2 * MIB // 13 + 1))
    backup_vm(estate.vault, estate.request(), clock=ticking())
    estate.change(0, 0, b"x")
    newest = backup_vm(estate.vault, estate.request(incremental(vm_plan()), run_id=NEXT_RUN)).point
    old = frames(Path(estate.client.directory) / FIRST / newest.disks[0].file)
    made = make_synthetic_full(estate.vault, request(compression_level=19)).point
    new = frames(file_of(estate.client, made))
    assert len(new[0]) < len(old[0])
    assert {number: new[number] for number in new if number} == {number: old[number] for number in old if number}


# --- nothing to do ---------------------------------------------------------------------------------------------------


def test_a_full_is_left_as_it_is(estate: Estate) -> None:
    full = backup_vm(estate.vault, estate.request(), clock=ticking()).point
    tree = estate.tree
    assert foresee_synthetic_full(estate.vault, request()) == full
    assert make_synthetic_full(estate.vault, request()) == PointOutcome(full, False, ())
    assert estate.tree == tree


def test_once_is_enough(estate: Estate, chained: tuple[Point, Point]) -> None:
    made = make_synthetic_full(estate.vault, request(run_id=RUN), clock=ticking(LATER)).point
    for run_id in (RUN, NEXT_RUN, None):
        assert make_synthetic_full(estate.vault, request(run_id=run_id)) == PointOutcome(made, False, ())
    assert [point.id for point in estate.client.scan()[0]] == [*(point.id for point in chained), made.id]


def test_foreseen(estate: Estate, chained: tuple[Point, Point]) -> None:
    tree = estate.tree
    assert foresee_synthetic_full(estate.vault, request()) == chained[1]
    assert estate.tree == tree


# --- refused ---------------------------------------------------------------------------------------------------------


def refused(estate: Estate, kind: type[Exception], **changes: Any) -> Any:
    """Return why no synthetic full is made, foreseen or not; nothing is written."""
    tree, messages = estate.tree, []
    for attempt in (foresee_synthetic_full, make_synthetic_full):
        with pytest.raises(kind) as caught:
            attempt(estate.vault, request(**changes))
        assert estate.tree == tree
        messages.append(caught.value)
    assert messages[0].args == messages[1].args
    return messages[1]


def test_no_such_client(estate: Estate) -> None:
    error = refused(estate, PointNotFoundError, client="db02")
    assert error.message == f"The vault {estate.vault.path} has no client 'db02'"


def test_a_client_without_a_point(estate: Estate) -> None:
    client = estate.vault.prepare_client("web_01")
    estate.vault.register(client, vm_id="x", vm_name="web 01", now=1.0)
    error = refused(estate, PointNotFoundError)
    assert error.message == ("Client web_01 has no recovery point to make a synthetic full of: back the VM up first")


def test_a_run_id_that_is_none(estate: Estate, chained: tuple[Point, Point]) -> None:
    assert "is not the id of a run" in refused(estate, InvalidInputError, run_id="x").message


def test_a_client_that_another_run_works_on(estate: Estate, chained: tuple[Point, Point]) -> None:
    lock = estate.client.lock(owner="another", run_id=NEXT_RUN)
    lock.hold(3600.0)
    with pytest.raises(VaultLockedError):
        foresee_synthetic_full(estate.vault, request(run_id=RUN))
    with pytest.raises(VaultLockedError):
        make_synthetic_full(estate.vault, request(run_id=RUN))
    assert make_synthetic_full(estate.vault, request(run_id=NEXT_RUN)).created  # the run that holds it
    assert lock.held


def test_the_lock_of_a_dead_run_is_broken_knowingly(estate: Estate, chained: tuple[Point, Point]) -> None:
    estate.client.lock(owner="another", run_id=NEXT_RUN).hold(3600.0)
    os.mkdir(Path(estate.client.directory) / "20261123T020203Z-0003")
    outcome = make_synthetic_full(estate.vault, request(break_lock=True), clock=ticking(LATER))
    notes = (
        f"took over the lock that run {NEXT_RUN} left behind",
        "removed what interrupted runs left in the vault: 20261123T020203Z-0003",
    )
    assert (outcome.notes, outcome.point.warnings) == (notes, notes)


def test_what_a_dead_run_owes_is_not_forgotten(estate: Estate, chained: tuple[Point, Point]) -> None:
    dead = estate.client.lock(owner="another", run_id=NEXT_RUN, vm_id="vm", vm_name="web 01", manager_id="m")
    dead.hold(-1.0, {"vm_stopped": True})
    path = Path(estate.client.directory) / "lock.json"
    before = path.read_bytes()
    assert make_synthetic_full(estate.vault, request()).created
    assert json.loads(path.read_bytes()) == json.loads(before)


@pytest.mark.parametrize("which", [0, 1])
def test_a_manifest_of_the_chain_that_is_damaged(estate: Estate, chained: tuple[Point, Point], which: int) -> None:
    """There is no falling back to an older point, and no leaving out of what is in between."""
    path = Path(estate.client.directory) / chained[which].id / "point.json"
    path.write_text(path.read_text(encoding="utf-8").replace("web 01", "web 02"), encoding="utf-8")
    error = refused(estate, CorruptVaultError)
    assert error.message == (
        f"No synthetic full of client web_01 can be made, because its newest recovery point {SECOND} is damaged: "
        f"{path} is damaged: its content does not have the hash that it gives. Back the VM up in full"
    )
    assert error.details == {"path": str(path.parent.parent / SECOND), "point": SECOND}


def test_a_disk_file_that_is_cut_off_or_gone(estate: Estate, chained: tuple[Point, Point]) -> None:
    path = file_of(estate.client, chained[0])
    size = path.stat().st_size
    os.truncate(path, 1000)
    assert f"is damaged: {path} has 1000 bytes instead of {size}. " in refused(estate, CorruptVaultError).message
    path.unlink()
    assert f"is damaged: {path}: No such file or directory. " in refused(estate, CorruptVaultError).message


def test_a_vault_without_room(estate: Estate, chained: tuple[Point, Point], monkeypatch: pytest.MonkeyPatch) -> None:
    files = [size for item in chained[1].disks for _path, _hash, size in estate.client.disk_files(chained[1], item)]
    free = [0]

    def statvfs(path: str) -> Any:
        assert path == estate.client.directory
        return mock.Mock(f_bavail=free[0], f_frsize=1)

    monkeypatch.setattr("os.statvfs", statvfs)
    error = refused(estate, VaultWriteError)
    needed = int(error.message.split("up to ")[1].split()[0])
    assert 3 * MIB < needed < sum(files)
    assert error.message == (
        f"No synthetic full of client web_01 can be made: up to {needed} bytes are needed, 0 are free in "
        f"{estate.client.directory}. Free space there or let recovery points expire"
    )
    assert error.details == {"path": estate.client.directory, "errno": 28}
    free[0] = needed - 1
    assert f"{needed - 1} are free" in refused(estate, VaultWriteError).message
    free[0] = needed
    assert make_synthetic_full(estate.vault, request()).point.stored < needed + 4096


# --- damage, interruption: nothing is left ---------------------------------------------------------------------------


def fails(estate: Estate, kind: type[BaseException], **options: Any) -> Any:
    """Return why no synthetic full is made; nothing of it is left."""
    tree = estate.tree
    with pytest.raises(kind) as caught:
        make_synthetic_full(estate.vault, request(), clock=ticking(LATER), **options)
    assert estate.tree == tree
    return caught.value


@pytest.mark.parametrize(("which", "number", "segment"), [(0, 0, 0), (0, 0, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1)])
def test_a_damaged_frame(estate: Estate, chained: tuple[Point, Point], which: int, number: int, segment: int) -> None:
    """In what is copied, in what is repacked, in a disk that is a full already."""
    path = file_of(estate.client, chained[which], number)
    row = next(row for row in records(path) if row[RECORD_SEGMENT] == segment)
    data = bytearray(path.read_bytes())
    data[row[RECORD_OFFSET] + row[RECORD_LENGTH] // 2] ^= 1
    path.write_bytes(data)
    error = fails(estate, CorruptVaultError)
    assert error.message.startswith(f"{path} is damaged at offset {row[RECORD_OFFSET]}: ")
    assert error.details == {"path": str(path), "offset": row[RECORD_OFFSET]}
    assert estate.client.point() == chained[1]


def test_a_disk_that_is_another_than_the_manifest_says(estate: Estate, chained: tuple[Point, Point]) -> None:
    """Each file is whole, but together they are not what was backed up."""
    other = replace(chained[1].disks[0], content_hash=chained[0].disks[0].content_hash)
    folder = Path(estate.client.directory) / SECOND
    write_manifest(str(folder), replace(chained[1], disks=(other, chained[1].disks[1])))
    error = fails(estate, CorruptVaultError)
    path = str(folder / "0-system.img.zst")
    assert error.message == (
        f"{path} and its bases give another disk than the manifest of {SECOND} says of disk 'system' (slot 0)"
    )
    assert error.details == {"path": path, "offset": 0}


def test_a_damaged_configuration(estate: Estate, chained: tuple[Point, Point]) -> None:
    path = Path(estate.client.directory) / SECOND / "vm.cfg"
    path.write_bytes(b"another")
    assert fails(estate, CorruptVaultError).message == f"{path} is damaged: its content has another hash"


@pytest.mark.parametrize("call", [0, 1, 2, 3])
def test_an_interruption(estate: Estate, chained: tuple[Point, Point], call: int) -> None:
    seen = []

    def interrupt(*done: object) -> None:
        seen.append(done)
        if len(seen) == call + 1:
            raise KeyboardInterrupt

    fails(estate, KeyboardInterrupt, progress=interrupt)
    assert len(seen) == call + 1


def test_a_vault_that_fills_up(estate: Estate, chained: tuple[Point, Point], monkeypatch: pytest.MonkeyPatch) -> None:
    fill_up(monkeypatch, ".img.zst")
    assert "the vault is full" in fails(estate, VaultWriteError).message


def test_a_lock_that_is_lost_on_the_way(estate: Estate, chained: tuple[Point, Point]) -> None:
    def break_in(*_done: object) -> None:
        (Path(estate.client.directory) / "lock.json").unlink(missing_ok=True)

    fails(estate, VaultLockedError, progress=break_in)


def test_a_pinned_point_whose_removal_was_interrupted_is_the_newest_again(
    estate: Estate, chained: tuple[Point, Point]
) -> None:
    """What is consolidated is chosen after interrupted work is settled, or the synthetic full would hold older data."""
    folder = Path(estate.client.directory) / SECOND
    (folder / "point.json").rename(folder / ".point.json.expired")
    (folder / "pin.json").write_text('{"note": ""}')
    assert estate.client.scan()[0] == [chained[0]]
    outcome = make_synthetic_full(estate.vault, request(), clock=ticking(LATER))
    assert (outcome.created, outcome.point.consolidates, outcome.point.parent) == (True, SECOND, SECOND)
    assert [one.content_hash for one in outcome.point.disks] == [one.content_hash for one in chained[1].disks]


def test_what_an_interrupted_run_left_is_removed_before_a_full_is_left_as_it_is(
    estate: Estate, chained: tuple[Point, Point]
) -> None:
    made = make_synthetic_full(estate.vault, request(), clock=ticking(LATER)).point
    left = estate.client.new_point(now=LATER)
    outcome = make_synthetic_full(estate.vault, request(), clock=ticking(LATER))
    assert outcome == PointOutcome(made, False, (f"removed what interrupted runs left in the vault: {left.id}",))
    assert not Path(left.directory).exists()
