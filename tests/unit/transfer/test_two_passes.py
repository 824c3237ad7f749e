# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A recovery point in steps: a first pass, a second one that stores only what changed, and one file of both."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit.transfer.builders import MOMENT, NEXT_RUN, RUN, Estate, disk, incremental, ticking, vm_plan
from unit.vault.builders import KIB, MIB, content_hash, fail_to_read, noise

from ansible_collections.ovm.backup.plugins.module_utils.errors import (
    CorruptVaultError,
    InvalidInputError,
    OutageLimitError,
    SourceError,
    VaultError,
    VaultLockedError,
)
from ansible_collections.ovm.backup.plugins.module_utils.transfer import merge, passes, point_transfer
from ansible_collections.ovm.backup.plugins.module_utils.transfer.deadline import Deadline
from ansible_collections.ovm.backup.plugins.module_utils.transfer.passes import discard, find, first_pass, publish
from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.transfer.request import BackupRequest
from ansible_collections.ovm.backup.plugins.module_utils.vault.disk_writer import FrameCompressor
from ansible_collections.ovm.backup.plugins.module_utils.vault.drafts import find_draft
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from ansible_collections.ovm.backup.plugins.module_utils.vault.point_making import PointOutcome
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.directory import DirectoryStorage

BLOCK = 64 * KIB
SHUT = vm_plan(method="shutdown")
FIRST_POINT = "20261123T010203Z-0001"


def in_steps(estate: Estate, request: BackupRequest, between: Callable[[], Any] = lambda: None) -> PointOutcome:
    """Back up in two passes, with something happening between them."""
    first_pass(estate.vault, request, clock=ticking())
    between()
    backup_vm(estate.vault, request, publish=False, clock=ticking(MOMENT + 10))
    return publish(estate.vault, request, clock=ticking(MOMENT + 20))


def files(estate: Estate, point: str = FIRST_POINT) -> list[str]:
    return sorted(os.listdir(Path(estate.client.directory) / point))


def unpacked(estate: Estate, point: Point, slot: int = 0) -> bytes:
    """Return what any Zstandard program makes of a disk file."""
    path = Path(estate.client.directory) / point.id / point.disks[slot].file
    return subprocess.run(["zstd", "-dcq", str(path)], check=True, capture_output=True).stdout


def read_back(estate: Estate, point: Point, slot: int = 0) -> bytes:
    """Return the disk as of a point through its chain, each block checked."""
    with estate.client.open_disk(point, point.disks[slot]) as chain:
        data = bytearray(chain.geometry.size)
        for resolved in chain.segments():
            for block, content in chain.read_blocks(resolved).items():
                start = resolved.segment * MIB + block * BLOCK
                data[start : start + len(content)] = content
        assert chain.content_hash() == point.disks[slot].content_hash
    return bytes(data)


class Compressed:
    """Counts what is compressed, which is what costs time in an outage."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes = 0
        real = FrameCompressor.compress

        def compress(compressor: FrameCompressor, raw: bytes) -> bytes:
            self.bytes += len(raw)
            return real(compressor, raw)

        monkeypatch.setattr(FrameCompressor, "compress", compress)


# --- what becomes of it ----------------------------------------------------------------------------------------------


def test_full(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    request = estate.request(SHUT)
    first = first_pass(estate.vault, request, clock=ticking())
    assert (first.created, first.read, first.notes) == (True, 2 * MIB, ())
    assert estate.client.scan() == ([], [])  # nobody sees it
    data = estate.change(0, MIB + 3 * BLOCK, noise(BLOCK, seed=7))
    compressed = Compressed(monkeypatch)
    second = backup_vm(estate.vault, request, publish=False, clock=ticking(MOMENT + 10))
    # That is what makes the outage short: of two MiB only the changed block was compressed and stored.
    assert compressed.bytes == BLOCK
    assert (second.created, second.published, second.point.disks[0].statistics["changed"]) == (True, False, BLOCK)
    assert second.point.disks[0].statistics["stored"] < 2 * BLOCK
    assert files(estate) == ["draft.json", "first", "second", "vm.cfg", "vm.json"]
    assert estate.client.scan() == ([], [])
    outcome = publish(estate.vault, request, clock=ticking(MOMENT + 20))
    point = outcome.point
    assert (outcome.created, estate.client.scan()) == (True, ([point], []))
    assert files(estate) == ["0-system.img.zst", "point.json", "vm.cfg", "vm.json"]
    assert (point.id, point.type, point.consistency, point.created) == (
        FIRST_POINT, "full", "clean_shutdown", MOMENT + 10.25,
    )  # fmt: skip
    stored = os.path.getsize(Path(estate.client.directory) / point.id / "0-system.img.zst")
    assert point.disks[0].content_hash == content_hash(data, BLOCK)
    assert point.disks[0].file_size == stored
    assert point.disks[0].statistics == {"read": 4 * MIB, "changed": 2 * MIB, "stored": stored}
    assert point.durations == {"transfer": 0.75, "first_pass": 0.25, "second_pass": 0.25, "merge": 0.25}
    assert unpacked(estate, point) == read_back(estate, point) == data


def test_nothing_changed_between_the_passes(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    first_pass(estate.vault, estate.request(SHUT), clock=ticking())
    compressed = Compressed(monkeypatch)
    backup_vm(estate.vault, estate.request(SHUT), publish=False, clock=ticking())
    point = publish(estate.vault, estate.request(SHUT), clock=ticking()).point
    assert compressed.bytes == 0
    assert unpacked(estate, point) == noise(2 * MIB)


def test_incremental(estate: Estate) -> None:
    backup_vm(estate.vault, estate.request(SHUT), clock=ticking())
    estate.change(0, 0, noise(BLOCK, seed=1))
    request = estate.request(incremental(SHUT), run_id=NEXT_RUN)
    point = in_steps(estate, request, lambda: estate.change(0, MIB, noise(BLOCK, seed=2))).point
    found = point.disks[0]
    assert (point.type, found.type, found.base) == ("incremental", "incremental", FIRST_POINT)
    assert (found.statistics["read"], found.statistics["changed"]) == (4 * MIB, 2 * BLOCK)
    assert found.file_size < 3 * BLOCK
    assert read_back(estate, point) == estate.image(0).read_bytes()
    # What changed to and fro is stored, and right all the same.
    third = in_steps(estate, estate.request(incremental(SHUT), run_id="20261125T010203Z-0a1b2c3d-4e5f62"))
    assert third.point.disks[0].statistics["changed"] == 0
    assert read_back(estate, third.point) == estate.image(0).read_bytes()


def test_base_that_is_gone_gives_a_full(estate: Estate) -> None:
    point = in_steps(estate, estate.request(incremental(SHUT))).point
    assert (point.type, point.reason) == ("full", "the recovery point that the plan builds on is gone")


def test_disk_is_resized_between_the_passes(estate: Estate) -> None:
    plan = vm_plan(disk(0), disk(1, "data"), method="shutdown")
    estate.write(1, noise(MIB, seed=5))
    point = in_steps(estate, estate.request(plan), lambda: estate.write(1, noise(3 * MIB, seed=6))).point
    assert [found.size for found in point.disks] == [2 * MIB, 3 * MIB]
    assert [found.statistics["read"] for found in point.disks] == [4 * MIB, 3 * MIB]
    assert unpacked(estate, point, 1) == noise(3 * MIB, seed=6)
    assert files(estate) == ["0-system.img.zst", "1-data.img.zst", "point.json", "vm.cfg", "vm.json"]


def test_disk_that_is_written_to_during_the_first_pass(estate: Estate) -> None:
    changes = iter(range(100))

    def write(_name: str, _done: int, _size: int) -> None:
        estate.change(0, MIB, noise(BLOCK, seed=next(changes)))

    first_pass(estate.vault, estate.request(SHUT), progress=write)
    with pytest.raises(SourceError, match="something writes to it"):
        backup_vm(estate.vault, estate.request(SHUT), publish=False, progress=write)
    assert find_draft(estate.client, RUN) is None
    point = in_steps(estate, estate.request(SHUT)).point
    assert unpacked(estate, point) == estate.image(0).read_bytes()


def test_holes_and_zeros(estate: Estate) -> None:
    estate.write(0, bytes(MIB) + noise(MIB) + bytes(2 * MIB) + noise(100))

    def between() -> None:
        estate.write(0, noise(MIB, seed=3) + bytes(2 * MIB) + noise(MIB, seed=4) + noise(100))

    point = in_steps(estate, estate.request(SHUT), between).point
    assert unpacked(estate, point) == read_back(estate, point) == estate.image(0).read_bytes()


def test_one_call_uses_the_first_pass_and_publishes(estate: Estate) -> None:
    first_pass(estate.vault, estate.request(SHUT))
    data = estate.change(0, 0, b"changed")
    outcome = backup_vm(estate.vault, estate.request(SHUT))
    assert (outcome.created, outcome.published) == (True, True)
    assert unpacked(estate, outcome.point) == data
    assert "first_pass" in outcome.point.durations


def test_later_publication_without_a_first_pass(estate: Estate) -> None:
    backup_vm(estate.vault, estate.request(SHUT), publish=False, clock=ticking())
    assert estate.client.scan() == ([], [])
    point = publish(estate.vault, estate.request(SHUT)).point
    assert (unpacked(estate, point), point.durations) == (noise(2 * MIB), {"transfer": 0.25})


def test_each_step_again(estate: Estate) -> None:
    request = estate.request(SHUT)
    first_pass(estate.vault, request)
    assert first_pass(estate.vault, request).created is False
    backup_vm(estate.vault, request, publish=False)
    assert backup_vm(estate.vault, request, publish=False).created is False
    point = publish(estate.vault, request).point
    tree = estate.tree
    assert publish(estate.vault, request) == PointOutcome(point, False, ())
    assert first_pass(estate.vault, request).created is False
    assert discard(estate.vault, request) is False
    assert estate.tree == tree


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_between_the_passes(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    estate = Estate(tmp_path_factory.mktemp("estate"))
    # Blocks of noise, of zeros, or one that is often repeated; the last one is short.
    content = st.lists(st.sampled_from([b"", b"a", b"b", b"c"]), min_size=20, max_size=20)
    size = 19 * BLOCK + 100

    def image(kinds: list[bytes]) -> bytes:
        return b"".join(noise(BLOCK, seed=kind[0]) if kind else bytes(BLOCK) for kind in kinds)[:size]

    base, first, second = (image(data.draw(content)) for _number in range(3))
    estate.write(0, base)
    plan = SHUT
    if data.draw(st.booleans()):
        backup_vm(estate.vault, estate.request(SHUT), clock=ticking())
        plan = incremental(SHUT)
    estate.write(0, first)
    point = in_steps(estate, estate.request(plan, run_id=NEXT_RUN), lambda: estate.write(0, second)).point
    assert read_back(estate, point) == second
    if plan is SHUT:
        assert unpacked(estate, point) == second


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_only_vms_that_are_shut_down(estate: Estate) -> None:
    with pytest.raises(InvalidInputError, match="planned with method cold: a first pass is for VMs that are shut down"):
        first_pass(estate.vault, estate.request(vm_plan()))
    assert estate.vault.clients() == []


def test_first_pass_fails(estate: Estate) -> None:
    plan = vm_plan(disk(0), disk(1), method="shutdown")
    with pytest.raises(SourceError, match="disk1.img"):
        first_pass(estate.vault, estate.request(plan))
    assert [name for name in estate.tree if FIRST_POINT[:8] in name] == []


def test_deadline(estate: Estate) -> None:
    now = iter(float(second) for second in range(100))
    request = estate.request(SHUT)
    first_pass(estate.vault, request)
    deadline = Deadline(2.0, clock=lambda: next(now))  # the second of two reads is too late
    with pytest.raises(OutageLimitError, match=r"given up after 2 s, so that the VM can run again") as caught:
        backup_vm(estate.vault, request, publish=False, deadline=deadline)
    assert caught.value.as_failure() == {"kind": "OutageLimitError", "seconds": 2.0}
    assert find(estate.vault, request) == passes.Found(False, None)
    assert [name for name in estate.tree if ".img.zst" in name] == []


@pytest.mark.parametrize("seconds", [0.0, -5.0])
def test_deadline_that_is_over_at_once(estate: Estate, seconds: float) -> None:
    with pytest.raises(OutageLimitError, match="given up after 0 s"):
        backup_vm(estate.vault, estate.request(SHUT), deadline=Deadline(seconds))


def test_publication_without_a_transfer(estate: Estate) -> None:
    first_pass(estate.vault, estate.request(SHUT))
    with pytest.raises(VaultError, match=f"Run {RUN} has not transferred the disks of client web_01"):
        publish(estate.vault, estate.request(SHUT))
    assert discard(estate.vault, estate.request(SHUT)) is True
    assert find_draft(estate.client, RUN) is None


def killed_while(estate: Estate, step: str, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let something happen in the middle of a step."""

    def strike(*_arguments: Any, **_options: Any) -> Any:
        raise error

    request = estate.request(SHUT)
    if step != "first":
        first_pass(estate.vault, request)
        estate.change(0, 0, b"changed")
    if step == "merge":
        backup_vm(estate.vault, request, publish=False)
    with monkeypatch.context() as patch, pytest.raises(type(error)):
        if step == "merge":
            patch.setattr(merge, "merge_disk_files", strike)
            publish(estate.vault, request)
        elif step == "second":
            patch.setattr(point_transfer, "backup_disk", strike)
            backup_vm(estate.vault, request, publish=False)
        else:
            patch.setattr(point_transfer, "backup_disk", strike)
            first_pass(estate.vault, request)


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("first", KeyboardInterrupt()),
        ("first", VaultError("full")),
        ("second", KeyboardInterrupt()),
        ("second", VaultError("full")),
        ("merge", KeyboardInterrupt()),
        ("merge", CorruptVaultError("bad")),
    ],
)
def test_step_that_is_interrupted_leaves_nothing(
    estate: Estate, step: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_while(estate, step, monkeypatch, error)
    assert sorted(os.listdir(estate.client.directory)) == ["client.json"]


@pytest.mark.parametrize("step", ["first", "second", "merge"])
def test_step_that_is_killed_leaves_what_the_next_run_removes(
    estate: Estate, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(DirectoryStorage, "remove_folder", lambda *_arguments: False)  # nobody cleans up after a kill
        killed_while(estate, step, monkeypatch, KeyboardInterrupt())
    assert len(os.listdir(estate.client.directory)) == 2
    assert estate.client.scan() == ([], [])
    request = estate.request(SHUT, run_id=NEXT_RUN)
    note = first_pass(estate.vault, request).notes[0]
    assert note.startswith("removed what interrupted runs left in the vault: ")
    backup_vm(estate.vault, request, publish=False)
    point = publish(estate.vault, request).point
    assert note in point.warnings
    assert (estate.client.scan(), unpacked(estate, point)) == (([point], []), estate.image(0).read_bytes())


def test_draft_that_is_damaged_is_none(estate: Estate) -> None:
    request = estate.request(SHUT)
    first_pass(estate.vault, request)
    [path] = Path(estate.client.directory).glob("*/draft.json")
    path.write_text('{"run_id": 1')
    outcome = backup_vm(estate.vault, request)
    assert outcome.notes[0].startswith("removed what interrupted runs left in the vault: ")
    assert "first_pass" not in outcome.point.durations


def test_draft_that_cannot_be_read_now_is_kept(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of an outage the first pass cannot be made again."""
    request = estate.request(SHUT)
    first_pass(estate.vault, request)
    before = estate.tree
    with monkeypatch.context() as patch:
        fail_to_read(patch, "draft.json")
        for step in (backup_vm, first_pass, publish, discard):
            with pytest.raises(VaultError, match=r"^Cannot read .*/draft\.json: Connection timed out$"):
                step(estate.vault, request)
    assert estate.tree == before
    outcome = backup_vm(estate.vault, request)
    assert (outcome.notes, "first_pass" in outcome.point.durations) == ((), True)


def test_first_pass_that_is_damaged(estate: Estate) -> None:
    request = estate.request(SHUT)
    first_pass(estate.vault, request)
    [path] = Path(estate.client.directory).glob("*/first/0-system.img.zst")
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    estate.change(0, MIB, b"x")
    backup_vm(estate.vault, request, publish=False)
    # One that is only renamed is a disk file like any other; one that is merged is read, and checked.
    with pytest.raises(CorruptVaultError, match="segment 0"):
        publish(estate.vault, request)
    assert sorted(os.listdir(estate.client.directory)) == ["client.json"]


def test_lock_of_another_run(estate: Estate) -> None:
    other = estate.vault.prepare_client("web_01").lock(owner="another", run_id=NEXT_RUN)
    other.hold(60.0)
    for step in (first_pass, publish):
        with pytest.raises((VaultLockedError, VaultError)):
            step(estate.vault, estate.request(SHUT))
    assert discard(estate.vault, estate.request(SHUT)) is False
