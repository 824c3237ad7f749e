# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two passes whose end fails or is killed: the same run repeats the step over what is there. And the room they need."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from unit.transfer.builders import MOMENT, RUN, Estate, disk, ticking, vm_plan
from unit.vault.builders import MIB, content_hash, noise, unpacked

from ansible_collections.ovm.backup.plugins.module_utils.errors import CorruptVaultError, VaultWriteError
from ansible_collections.ovm.backup.plugins.module_utils.transfer import merge
from ansible_collections.ovm.backup.plugins.module_utils.transfer.passes import discard, first_pass, publish
from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.vault.disk_writer import FrameCompressor
from ansible_collections.ovm.backup.plugins.module_utils.vault.drafts import find_draft
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point

BLOCK = 64 * 1024
PLAN = vm_plan(disk(0), disk(1, "data"), disk(2, "still"), method="shutdown")
POINT = ["0-system.img.zst", "1-data.img.zst", "2-still.img.zst", "point.json", "vm.cfg", "vm.json"]


@pytest.fixture
def estate(estate: Estate) -> Estate:
    """A VM with three disks, the last of which nobody writes to."""
    estate.write(1, noise(3 * MIB, seed=1))
    estate.write(2, noise(MIB, seed=2))
    return estate


def transferred(estate: Estate) -> None:
    """Have both passes in the vault, not merged."""
    first_pass(estate.vault, estate.request(PLAN), clock=ticking())
    for slot in (0, 1):
        estate.change(slot, MIB, noise(BLOCK, seed=9 + slot))
    backup_vm(estate.vault, estate.request(PLAN), publish=False, clock=ticking(MOMENT + 10))


def folder(estate: Estate) -> Path:
    [found] = Path(estate.client.directory).glob("*-0001")
    return found


def is_whole(estate: Estate, point: Point) -> None:
    """Check the recovery point: its disks are the images, and nothing else lies in its folder."""
    assert estate.client.scan() == ([point], [])
    assert sorted(os.listdir(folder(estate))) == POINT
    for slot, item in enumerate(point.disks):
        image = estate.image(slot).read_bytes()
        assert item.content_hash == content_hash(image, BLOCK)
        assert unpacked(folder(estate) / item.file) == image
        assert item.file_size == (folder(estate) / item.file).stat().st_size


# --- the merge -------------------------------------------------------------------------------------------------------


def test_merge_that_fails_can_be_repeated(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    transferred(estate)
    real, calls = merge.merge_disk_files, []

    def fail_once(*arguments: Any, **options: Any) -> Any:
        calls.append(sorted(str(path.relative_to(folder(estate))) for path in folder(estate).glob("*/*")))
        if len(calls) == 2:
            raise VaultWriteError("the vault is full", errno=28)
        return real(*arguments, **options)

    monkeypatch.setattr(merge, "merge_disk_files", fail_once)
    with pytest.raises(VaultWriteError, match="the vault is full"):
        publish(estate.vault, estate.request(PLAN), clock=ticking(MOMENT + 20))
    assert estate.client.scan() == ([], [])
    outcome = publish(estate.vault, estate.request(PLAN), clock=ticking(MOMENT + 30))
    assert outcome.created
    is_whole(estate, outcome.point)
    # The disk that was done is not done again, and what it was made of is gone before the next disk needs room.
    every = [f"{part}/{name}" for part in ("first", "second") for name in POINT[:3]]
    assert calls == [every, [name for name in every if "system" not in name]] + [calls[1]]
    # Three merges of one disk each.
    durations = outcome.point.durations
    assert (durations["merge"], durations["transfer"]) == (0.75, 0.75 + durations["first_pass"] + 0.25)
    assert outcome.point.completed == MOMENT + 30.75


class PowerCut(BaseException):
    """The machine is off: nothing that would clean up works either."""


def test_merge_that_is_killed_at_any_step_can_be_repeated(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    transferred(estate)
    directory = estate.client.directory
    kept = Path(estate.vault.path).parent / "kept"
    shutil.copytree(directory, kept)
    for last in itertools.count():
        calls = itertools.count()

        def failing(function: Callable[..., Any], last: int = last, calls: Any = calls) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                if next(calls) >= last:
                    raise PowerCut
                return function(*arguments, **options)

            return call

        draft = find_draft(estate.client, RUN)
        assert draft is not None
        with monkeypatch.context() as patch:
            for name in ("rename", "replace", "unlink", "fsync"):
                patch.setattr(os, name, failing(getattr(os, name)))
            try:
                merge.merge_passes(estate.client, draft)
                cut = False
            except PowerCut:
                cut = True
        is_whole(estate, publish(estate.vault, estate.request(PLAN)).point)
        if not cut:
            break
        shutil.rmtree(directory)
        shutil.copytree(kept, directory)
    assert last > 15


def test_renamed_file_that_is_another_is_not_taken(estate: Estate) -> None:
    transferred(estate)
    (folder(estate) / "first" / POINT[2]).unlink()
    shutil.copy(folder(estate) / "first" / POINT[1], folder(estate) / POINT[2])
    with pytest.raises(CorruptVaultError, match="2-still.img.zst"):
        publish(estate.vault, estate.request(PLAN))
    assert os.listdir(estate.client.directory) == ["client.json"]


# --- the second pass -------------------------------------------------------------------------------------------------


def test_second_pass_that_was_killed_can_be_repeated(estate: Estate) -> None:
    first_pass(estate.vault, estate.request(PLAN))
    estate.change(0, MIB, noise(BLOCK, seed=9))
    estate.write(1, noise(4 * MIB, seed=5))  # resized, so it has no file of a second pass
    (folder(estate) / "second").mkdir()
    for path in (folder(estate) / "second" / POINT[0], folder(estate) / POINT[1]):
        path.write_bytes(b"half a file")
    backup_vm(estate.vault, estate.request(PLAN), publish=False)
    is_whole(estate, publish(estate.vault, estate.request(PLAN)).point)


# --- room ------------------------------------------------------------------------------------------------------------


def test_merge_needs_room_that_is_there_before_the_outage(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    first_pass(estate.vault, estate.request(PLAN))
    needed = max(path.stat().st_size for path in folder(estate).glob("first/*"))
    assert discard(estate.vault, estate.request(PLAN))
    free = needed - 1
    monkeypatch.setattr("os.statvfs", lambda _path: mock.Mock(f_bavail=free, f_frsize=1))
    with pytest.raises(VaultWriteError) as caught:
        first_pass(estate.vault, estate.request(PLAN), clock=ticking())
    directory = f"{estate.client.directory}/20261123T010203Z-0001"
    assert caught.value.message == (
        f"The passes over client web_01 could not be merged: up to {needed} bytes are needed, {free} are free in "
        f"{directory}. Free space there or let recovery points expire"
    )
    assert caught.value.details == {"path": directory, "errno": 28}
    assert os.listdir(estate.client.directory) == ["client.json"]
    free = needed
    assert first_pass(estate.vault, estate.request(PLAN)).created


# --- compression -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("publishes", [publish, backup_vm])
def test_merge_compresses_as_it_is_told(
    estate: Estate, monkeypatch: pytest.MonkeyPatch, publishes: Callable[..., Any]
) -> None:
    levels: list[int] = []

    def compressor(level: int) -> FrameCompressor:
        levels.append(level)
        return FrameCompressor(level)

    monkeypatch.setattr(merge, "FrameCompressor", compressor)
    request = estate.request(PLAN, compression_level=7)
    first_pass(estate.vault, request)
    if publishes is publish:
        backup_vm(estate.vault, request, publish=False)
    is_whole(estate, publishes(estate.vault, request).point)
    assert levels == [7]
