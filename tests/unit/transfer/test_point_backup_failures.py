# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A backup that fails or is interrupted leaves no recovery point and no lock; one that is locked out does nothing."""

from __future__ import annotations

import errno
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unit.transfer.builders import (
    MOMENT,
    NEXT_RUN,
    RUN,
    VM_ID,
    Estate,
    clone_of,
    disk,
    fill_up,
    incremental,
    ticking,
    vm_plan,
)
from unit.vault.builders import KIB, MIB, NFS, content_hash, noise, unlink_on_nfs

from ansible_collections.ovm.backup.plugins.module_utils.errors import (
    OvmBackupError,
    SourceError,
    VaultError,
    VaultLockedError,
    VaultWriteError,
)
from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import BackupRequest, backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.vault.point_writer import PointWriter
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client

FIRST = "20261123T010203Z-0001"
EMPTY = ["clients", "clients/web_01", "clients/web_01/client.json", "jobs", "restore.py", "vault.json"]


@pytest.fixture(autouse=True)
def one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few segments are read ahead, so that a failure in the middle is one in the middle."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)


@pytest.fixture
def estate(estate: Estate) -> Estate:
    estate.write(0, noise(8 * MIB))
    return estate


def failing(estate: Estate, request: BackupRequest | None = None, **options: Any) -> OvmBackupError:
    """Back up, expect a failure of ours, and prove that what was in the vault is there and nothing else."""
    before = set(estate.tree)
    with pytest.raises(OvmBackupError) as failure:
        backup_vm(estate.vault, request or estate.request(), clock=ticking(MOMENT + 60), **options)
    assert set(estate.tree) == before | set(EMPTY)
    return failure.value


# --- in the middle of the transfer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("with_base", [False, True])
def test_interruption_leaves_no_point(estate: Estate, with_base: bool) -> None:
    request = estate.request()
    if with_base:
        backup_vm(estate.vault, request, clock=ticking())
        request = estate.request(incremental(vm_plan()), run_id=NEXT_RUN)
    before = estate.tree if with_base else EMPTY

    def interrupt(_disk: str, done: int, _size: int) -> None:
        if done == 2 * MIB:
            raise KeyboardInterrupt("terminated")

    with pytest.raises(KeyboardInterrupt, match="terminated"):
        backup_vm(estate.vault, request, progress=interrupt, clock=ticking(MOMENT + 60))
    assert estate.tree == before
    again = backup_vm(estate.vault, request, clock=ticking(MOMENT + 120))
    assert (again.created, again.notes, again.point.sequence) == (True, (), 2 if with_base else 1)


def test_interruption_that_cannot_clean_up(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left is no recovery point, and the next run removes it."""

    def interrupt(*_seen: object) -> None:
        raise KeyboardInterrupt

    def fail(_writer: PointWriter) -> None:
        raise VaultWriteError("cannot remove anything")

    with monkeypatch.context() as patch:
        patch.setattr(PointWriter, "discard", fail)
        with pytest.raises(KeyboardInterrupt):
            backup_vm(estate.vault, estate.request(), progress=interrupt, clock=ticking())
    assert FIRST in os.listdir(estate.client.directory)
    assert estate.client.scan() == ([], [])
    again = backup_vm(estate.vault, estate.request(), clock=ticking(MOMENT + 60))
    note = f"removed what interrupted runs left in the vault: {FIRST}"
    assert (again.notes, again.point.warnings) == ((note,), (note,))
    assert FIRST not in os.listdir(estate.client.directory)


def test_truncated_source(estate: Estate) -> None:
    path = str(estate.image(0))
    failure = failing(estate, progress=lambda *_seen: os.truncate(path, 3 * MIB))
    assert isinstance(failure, SourceError)
    offset = failure.details["offset"]
    assert offset % MIB == 0 and 3 * MIB <= offset < 8 * MIB
    assert failure.message == (
        f"The image {path} ends at offset {offset}, but had {8 * MIB} bytes when it was opened: it was truncated while "
        "it was read"
    )


@pytest.mark.parametrize("hot", [False, True])
def test_source_that_is_smaller_than_the_manager_says(estate: Estate, hot: bool) -> None:
    disks = [disk(size=8 * MIB + 1)]
    plan = vm_plan(*disks, method="hot_clone") if hot else vm_plan(*disks)
    name = "clone0.img" if hot else 0
    estate.write(name, noise(8 * MIB))
    failure = failing(estate, estate.request(plan, clone=clone_of(*disks) if hot else None))
    path = str(estate.image(name))
    assert failure.as_failure() == {"kind": "SourceError", "retryable": True, "path": path, "offset": 8 * MIB}
    assert failure.message == f"The image {path} has {8 * MIB} bytes, but the disk has {8 * MIB + 1}: it was truncated"


def test_source_that_is_written_to(estate: Estate) -> None:
    path = estate.image(0)
    failure = failing(estate, progress=lambda *_seen: os.truncate(path, 9 * MIB))
    assert failure.as_failure() == {"kind": "SourceError", "retryable": True, "path": str(path)}
    assert failure.message == (
        f"The image {path} changed while it was read ({8 * MIB} bytes, then {9 * MIB}): something writes to it, so the "
        "copy would not be consistent"
    )


def test_missing_image_of_the_second_disk(estate: Estate) -> None:
    path = estate.image(1)
    failure = failing(estate, estate.request(vm_plan(disk(0), disk(1, "data"))))
    assert failure.message == f"Cannot open the image {path}: No such file or directory"
    assert failure.as_failure() == {"kind": "SourceError", "retryable": True, "path": str(path), "errno": errno.ENOENT}


@pytest.mark.parametrize("name", ["0-system.img.zst", "vm.cfg", "point.json"])
def test_full_vault(estate: Estate, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    fill_up(monkeypatch, name)
    failure = failing(estate)
    path = Path(estate.client.directory) / "20261123T010303Z-0001" / name
    assert failure.message == f"Cannot write {path}: the vault is full: free space there or let recovery points expire"
    assert failure.as_failure() == {"kind": "VaultWriteError", "path": str(path), "errno": errno.ENOSPC}


def test_publishing_fails_after_the_manifest_is_there(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    def publish(writer: PointWriter, point: Any) -> None:
        original(writer, point)
        raise VaultWriteError("the directory cannot be synced")

    original = PointWriter.publish
    monkeypatch.setattr(PointWriter, "publish", publish)
    assert failing(estate).message == "the directory cannot be synced"


# --- locks -----------------------------------------------------------------------------------------------------------


def lock_path(estate: Estate) -> Path:
    return Path(estate.vault.path) / "clients" / "web_01" / "lock.json"


def held(estate: Estate, run_id: str, **options: Any) -> dict[str, Any]:
    """Let a run hold the lock for an hour; return what stands in it."""
    client = estate.vault.prepare_client("web_01")
    client.lock(owner="ovm.backup.client_lock on proxy1", run_id=run_id, **options).hold(3600.0)
    document: dict[str, Any] = json.loads(lock_path(estate).read_bytes())
    return document


def test_lock_of_another_run(estate: Estate) -> None:
    holder = held(estate, NEXT_RUN)
    tree = estate.tree
    with pytest.raises(VaultLockedError) as refusal:
        backup_vm(estate.vault, estate.request(), clock=ticking())
    assert refusal.value.message.startswith(
        f"Client web_01 is locked by run {NEXT_RUN} (ovm.backup.client_lock on proxy1) on {holder['host']}, last heard "
        "of 0 s ago. Wait until it has ended; if it is dead, its lock ends in "
    )
    assert refusal.value.message.endswith(" s or by break_lock: true")
    assert refusal.value.as_failure() == {"kind": "VaultLockedError", "path": str(lock_path(estate)), "holder": holder}
    assert estate.tree == tree


def test_lock_of_this_run_is_joined_and_kept(estate: Estate) -> None:
    before = held(estate, RUN, vm_id=VM_ID, vm_name="web 01")
    owner = "ovm.backup.backup on proxy1"
    outcome = backup_vm(estate.vault, estate.request(owner=owner), clock=ticking())
    assert (outcome.created, outcome.notes) == (True, ())
    after = json.loads(lock_path(estate).read_bytes())
    assert {**after, "heartbeat": before["heartbeat"]} == before
    assert after["heartbeat"] >= before["heartbeat"]


def test_lock_of_this_run_is_kept_after_a_failure(estate: Estate) -> None:
    before = held(estate, RUN)
    estate.image(0).unlink()
    with pytest.raises(SourceError):
        backup_vm(estate.vault, estate.request(), clock=ticking())
    assert json.loads(lock_path(estate).read_bytes())["run_id"] == before["run_id"]


def test_lock_that_is_broken_knowingly(estate: Estate) -> None:
    held(estate, NEXT_RUN)
    outcome = backup_vm(estate.vault, estate.request(break_lock=True), clock=ticking())
    note = f"took over the lock that run {NEXT_RUN} left behind"
    assert (outcome.notes, outcome.point.warnings) == ((note,), (note,))
    assert not lock_path(estate).exists()


def test_lock_that_is_lost_in_the_middle(estate: Estate) -> None:
    """Another run breaks the lock: ours publishes nothing and leaves the other's lock alone."""

    def steal(_disk: str, done: int, _size: int) -> None:
        if done == MIB:
            held(estate, NEXT_RUN, break_lock=True)

    with pytest.raises(VaultLockedError) as refusal:
        backup_vm(estate.vault, estate.request(), progress=steal, clock=ticking())
    assert refusal.value.details["holder"]["run_id"] == NEXT_RUN
    assert estate.tree == sorted([*EMPTY, "clients/web_01/lock.json"])
    assert json.loads(lock_path(estate).read_bytes())["run_id"] == NEXT_RUN


def test_lock_that_is_removed_in_the_middle(estate: Estate) -> None:
    def remove(_disk: str, _done: int, _size: int) -> None:
        lock_path(estate).unlink(missing_ok=True)

    assert isinstance(failing(estate, progress=remove), VaultLockedError)


# --- clients ---------------------------------------------------------------------------------------------------------


def test_client_of_another_vm(estate: Estate) -> None:
    backup_vm(estate.vault, estate.request(), clock=ticking())
    other = estate.request(vm_plan(vm_id="0004fb0000060000beef", vm_name="web/01"), run_id=NEXT_RUN)
    failure = failing(estate, other)
    assert failure.__class__ is VaultError
    assert failure.message == (
        f"Client web_01 belongs to VM {VM_ID} (web 01), not to 0004fb0000060000beef (web/01): plan again to get "
        "another client name"
    )


def test_what_is_still_read_on_nfs_is_no_news_for_each_backup(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = Path(estate.vault.path, "clients", "web_01", "20261123T050000Z-0001")
    dead.mkdir(parents=True)
    (dead / NFS).write_bytes(b"a disk that is served")
    monkeypatch.setattr(os, "unlink", unlink_on_nfs)
    made = backup_vm(estate.vault, estate.request())
    assert (made.notes, made.point.warnings, made.point.sequence) == ((), (), 2)
    assert os.listdir(dead) == [NFS]


LEFT: list[Callable[[Path], object]] = [
    lambda folder: None,
    lambda folder: (folder / "0-system.img.zst").write_bytes(b"half a disk"),
    lambda folder: (folder / ".point.json.new").write_bytes(b"half a manifest"),
]


@pytest.mark.parametrize("leave", LEFT, ids=["folder", "disk", "manifest"])
def test_leftovers_of_dead_runs(estate: Estate, leave: Callable[[Path], object]) -> None:
    first = backup_vm(estate.vault, estate.request(), clock=ticking()).point
    dead = Path(estate.client.directory) / "20261123T050000Z-0002"
    dead.mkdir()
    leave(dead)
    other = Path(estate.client.directory) / "notes of the administrator"
    other.mkdir()
    again = backup_vm(estate.vault, estate.request(run_id=NEXT_RUN), clock=ticking(MOMENT + 86400))
    assert again.notes == (f"removed what interrupted runs left in the vault: {dead.name}",)
    assert not dead.exists() and other.exists()
    assert [point.id for point in Client(estate.client.directory).scan()[0]] == [first.id, again.point.id]


# --- a chain that is too long ----------------------------------------------------------------------------------------


def test_more_files_than_can_be_opened_give_a_full(estate: Estate) -> None:
    """Or no backup would ever succeed again."""
    data = estate.write(0, noise(MIB))
    backup_vm(estate.vault, estate.request(), clock=ticking())
    for number in range(1, 31):
        run = f"20261124T010203Z-0a1b2c3d-{number:06x}"
        backup_vm(estate.vault, estate.request(incremental(vm_plan()), run_id=run), clock=ticking(MOMENT + number))
    newest = estate.client.point()
    used = {int(name) for name in os.listdir("/proc/self/fd")}
    free = [number for number in range(1000) if number not in used]
    kept = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[20], kept[1]))
    try:
        with pytest.raises(VaultError, match="Too many open files"):
            estate.client.open_disk(newest, newest.disks[0])
        request = estate.request(incremental(vm_plan()), run_id=NEXT_RUN)
        point = backup_vm(estate.vault, request, clock=ticking(MOMENT + 60)).point
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, kept)
    assert (point.type, point.disks[0].base) == ("full", None)
    assert point.reason == f"recovery point {newest.id} builds on more files than can be opened at once"
    assert point.disks[0].content_hash == content_hash(data, 64 * KIB)


def test_other_problems_to_open_the_chain_are_failures(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    backup_vm(estate.vault, estate.request(), clock=ticking())

    def refuse(*_arguments: object) -> None:
        raise VaultError("Cannot open it: Permission denied", errno=errno.EACCES)

    monkeypatch.setattr(Client, "open_disk", refuse)
    assert "Permission denied" in failing(estate, estate.request(incremental(vm_plan()), run_id=NEXT_RUN)).message
