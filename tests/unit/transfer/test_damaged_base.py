# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an increment builds on is damaged: the same run makes a full of that disk, whenever the damage is met."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from unit.transfer.builders import MOMENT, NEXT_RUN, Estate, disk, fill_up, incremental, ticking, vm_plan
from unit.vault.builders import KIB, MIB, header, noise
from unit.vault.chains import DAMAGES, flip

from ansible_collections.ovm.backup.plugins.module_utils.errors import CorruptVaultError, VaultError, VaultWriteError
from ansible_collections.ovm.backup.plugins.module_utils.images.local import LocalImage
from ansible_collections.ovm.backup.plugins.module_utils.images.types import Identity, Pieces, Span
from ansible_collections.ovm.backup.plugins.module_utils.transfer import base, point_transfer
from ansible_collections.ovm.backup.plugins.module_utils.transfer.changes import Changes
from ansible_collections.ovm.backup.plugins.module_utils.transfer.detection import EXTENT_MAPS, Detection
from ansible_collections.ovm.backup.plugins.module_utils.transfer.disk_backup import Comparison
from ansible_collections.ovm.backup.plugins.module_utils.transfer.disk_restore import restore_disk
from ansible_collections.ovm.backup.plugins.module_utils.transfer.passes import first_pass, publish
from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.transfer.sampling import Sample
from ansible_collections.ovm.backup.plugins.module_utils.vault import format as fmt
from ansible_collections.ovm.backup.plugins.module_utils.vault.disk_reader import DiskFile
from ansible_collections.ovm.backup.plugins.module_utils.vault.distrust import read_distrust
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point

SIZE = 8 * MIB
BLOCK = 64 * KIB
NEXT = incremental(vm_plan())


@pytest.fixture
def estate(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> Estate:
    """A disk of eight segments, the hashes of each of which are looked at for themselves."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr(fmt, "HASHES_PER_DIGEST", 16)
    estate.write(0, noise(SIZE))
    return estate


def path_of(estate: Estate, point: Point, slot: int = 0) -> Path:
    return Path(estate.client.directory) / point.id / point.disks[slot].file


def full(estate: Estate, plan: dict[str, Any] | None = None) -> Point:
    return backup_vm(estate.vault, estate.request(plan), clock=ticking()).point


def again(estate: Estate, plan: dict[str, Any] | None = None, number: int = 1) -> Point:
    """Back up what has changed since."""
    run = f"{NEXT_RUN[:-6]}{number:06x}"
    request = estate.request(NEXT if plan is None else plan, run_id=run)
    return backup_vm(estate.vault, request, clock=ticking(MOMENT + number)).point


def damage_hashes(estate: Estate, point: Point, segment: int, slot: int = 0) -> str:
    """Damage the hashes of a segment of a full, or of the only segment of an increment; return what is said of it."""
    path = path_of(estate, point, slot)
    flip(path, header(path)["hashes_offset"] + segment * 16 * 32 + 5)
    return said_of(path)


def said_of(path: Path) -> str:
    with pytest.raises(CorruptVaultError) as damage:
        DiskFile(str(path), whole=True).close()
    return damage.value.message


def restored(estate: Estate, point: Point, slot: int = 0) -> bytes:
    target = estate.repositories.parent / f"{point.id}-{slot}.img"
    with estate.client.open_disk(point, point.disks[slot]) as chain:
        restore_disk(chain, str(target), content_hash=point.disks[slot].content_hash)
    return target.read_bytes()


def check_full(estate: Estate, first: Point, point: Point, damage: str) -> None:
    """Check that a point holds a full in place of an increment on another one, and says so."""
    reason = f"the newest recovery point {first.id} is damaged"
    assert (point.type, point.reason, point.disks[0].base) == ("full", reason, None)
    assert point.warnings == (f"disk system was backed up in full: {damage}",)
    assert restored(estate, point) == estate.image(0).read_bytes()
    names = sorted(os.listdir(Path(estate.client.directory) / point.id))
    assert names == ["0-system.img.zst", "point.json", "vm.cfg", "vm.json"]


@pytest.mark.parametrize("damage_of", ["last byte", "records", "digests", "hashes"])
def test_damage_of_each_kind(estate: Estate, damage_of: str) -> None:
    first = full(estate)
    path = path_of(estate, first)
    flip(path, DAMAGES[damage_of](path)[0])
    check_full(estate, first, again(estate), said_of(path))


@pytest.mark.parametrize("segment", [0, 3, 7])
def test_damage_that_is_met_after_a_part_was_stored(
    estate: Estate, monkeypatch: pytest.MonkeyPatch, segment: int
) -> None:
    first = full(estate)
    damage = damage_hashes(estate, first, segment)
    estate.change(0, 0, noise(BLOCK, 3))
    reading: list[str] = []
    read = LocalImage.read

    def watched(image: LocalImage, spans: Any, *, step: int) -> Pieces:
        assert not reading, "what was read before is over"
        reading.append(image.name)
        try:
            yield from read(image, spans, step=step)
        finally:
            reading.remove(image.name)

    monkeypatch.setattr(LocalImage, "read", watched)
    open_files = os.listdir("/proc/self/fd")
    point = again(estate)
    assert len(os.listdir("/proc/self/fd")) == len(open_files)
    check_full(estate, first, point, damage)
    # All of it, and once more what was read before the damage was met; some is read ahead.
    assert SIZE + (segment + 1) * MIB <= point.disks[0].statistics["read"] <= 2 * SIZE


def test_only_the_disk_whose_base_is_damaged(estate: Estate) -> None:
    estate.write(1, noise(SIZE, 4))
    plan = vm_plan(disk(0), disk(1, "data"))
    first = full(estate, plan)
    damage = damage_hashes(estate, first, 5, slot=1)
    point = again(estate, incremental(plan))
    assert [(item.type, item.base) for item in point.disks] == [("incremental", first.id), ("full", None)]
    assert point.warnings == (f"disk data was backed up in full: {damage}",)
    assert restored(estate, point, 1) == estate.image(1).read_bytes()


def test_a_differential_says_which_point_is_damaged(estate: Estate) -> None:
    first = full(estate)
    estate.change(0, 0, noise(BLOCK, 3))
    again(estate)
    damage_hashes(estate, first, 5)
    disks = [{**item, "type": "differential"} for item in NEXT["disks"]]
    point = again(estate, {**NEXT, "type": "differential", "disks": disks}, number=2)
    assert (point.type, point.reason) == ("full", f"the full recovery point {first.id} is damaged")


def test_damage_that_newer_points_cover_is_in_nobodys_way(estate: Estate) -> None:
    """Neither of an increment, nor of one in two passes, nor of a restore."""
    full(estate)
    for number in (1, 2):
        estate.change(0, 5 * MIB, noise(BLOCK, number))
        point = again(estate, number=number)
        if number == 1:
            damaged = point
    damage_hashes(estate, damaged, 0)
    third = again(estate, number=3)
    assert (third.type, third.warnings) == ("incremental", ())
    estate.change(0, MIB, noise(BLOCK, 9))
    request = estate.request({**NEXT, "method": "shutdown"}, run_id=f"{NEXT_RUN[:-6]}{4:06x}")
    first_pass(estate.vault, request, clock=ticking(MOMENT + 4))
    estate.change(0, 2 * MIB, noise(BLOCK, 10))
    backup_vm(estate.vault, request, publish=False, clock=ticking(MOMENT + 14))
    point = publish(estate.vault, request, clock=ticking(MOMENT + 24)).point
    assert (point.type, point.warnings) == ("incremental", ())
    assert restored(estate, point) == estate.image(0).read_bytes()


def test_the_first_of_two_passes_is_a_full(estate: Estate) -> None:
    first = full(estate)
    damage = damage_hashes(estate, first, 5)
    request = estate.request({**NEXT, "method": "shutdown"}, run_id=NEXT_RUN)
    first_pass(estate.vault, request, clock=ticking(MOMENT + 1))
    estate.change(0, 2 * MIB, noise(BLOCK, 10))
    backup_vm(estate.vault, request, publish=False, clock=ticking(MOMENT + 11))
    check_full(estate, first, publish(estate.vault, request, clock=ticking(MOMENT + 21)).point, damage)


def by_maps(monkeypatch: pytest.MonkeyPatch, changed: Span, sample: tuple[Span, ...] = ()) -> None:
    """Let extent maps say that a part has changed: the images of these tests lie where there are none."""

    def detect(
        _images: object, _plan: object, _planned: object, image: LocalImage, *_more: object, **_: Any
    ) -> Detection:
        return Detection(
            EXTENT_MAPS, "a test", Comparison(image, Changes((changed,), ())), image.identity(), Sample(sample)
        )

    monkeypatch.setattr(LocalImage, "identity", lambda _image: Identity("xfs", "f5", 1, SIZE, 0, 0))
    monkeypatch.setattr(point_transfer, "detect_changes", detect)


@pytest.mark.parametrize(
    ("place", "sample"), [("frame", ()), ("hashes", ()), ("hashes", (Span(5 * MIB, 5 * MIB + BLOCK),))]
)
def test_damage_to_what_an_increment_by_extent_maps_needs(
    estate: Estate, monkeypatch: pytest.MonkeyPatch, place: str, sample: tuple[Span, ...]
) -> None:
    """The rest of a block of which a part has changed, the hashes of a segment, those of a part of the sample."""
    first = full(estate)
    path = path_of(estate, first)
    if place == "frame":
        flip(path, 200)
    else:
        damage_hashes(estate, first, 5 if sample else 0)
    estate.change(0, 4 * KIB, noise(4 * KIB, 3))
    by_maps(monkeypatch, Span(4 * KIB, 8 * KIB), sample)
    point = again(estate)
    assert (point.type, point.disks[0].changes and point.disks[0].changes["method"]) == ("full", "all")
    assert f"{path} is damaged" in point.warnings[0]
    assert restored(estate, point) == estate.image(0).read_bytes()


def test_damage_to_what_it_does_not_need_is_left_to_a_verification(
    estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = full(estate)
    damage_hashes(estate, first, 5)
    estate.change(0, 4 * KIB, noise(4 * KIB, 3))
    by_maps(monkeypatch, Span(4 * KIB, 8 * KIB), (Span(2 * MIB, 2 * MIB + BLOCK),))
    point = again(estate)
    assert (point.type, point.warnings) == ("incremental", ())


def test_the_full_fails_too(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    first = full(estate)
    damage = damage_hashes(estate, first, 5)
    before = estate.tree
    with monkeypatch.context() as patch, pytest.raises(VaultError, match="the vault is full") as failure:
        fill_up(patch, ".img.zst")
        again(estate)
    reason = f"the newest recovery point {first.id} is damaged"
    assert failure.value.message.endswith(f". The next backup of this VM is a full, because {reason}: {damage}")
    assert str(failure.value) == failure.value.message
    assert estate.tree == sorted([*before, "clients/web_01/distrust.json"])
    point = again(estate, number=2)
    assert (point.type, point.reason) == ("full", f"change detection failed before: {damage}")
    assert restored(estate, point) == estate.image(0).read_bytes()
    assert read_distrust(estate.client.directory) is None


def test_the_full_fails_too_and_the_vault_takes_no_mark(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    damage_hashes(estate, full(estate), 5)
    fill_up(monkeypatch, ".img.zst")

    def refuse(_directory: str, _reason: str, *, now: float) -> None:
        raise VaultWriteError(f"Cannot write it at {now}")

    monkeypatch.setattr(base, "mark_distrusted", refuse)
    with pytest.raises(VaultError) as failure:
        again(estate)
    assert ". Ask for it, because the vault does not take the mark: Cannot write it at " in failure.value.message
