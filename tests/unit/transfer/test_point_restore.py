# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A recovery point back into images: which there will be, and that they are the disks or do not exist."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from unit.transfer.builders import MOMENT, NEXT_RUN, Estate, disk, incremental, ticking, vm_plan
from unit.vault.builders import KIB, MIB, content_hash, noise, write_image

from ansible_collections.ovm.backup.plugins.module_utils.errors import (
    CorruptVaultError,
    InvalidInputError,
    TargetError,
)
from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_restore import (
    ImagePlan,
    plan_images,
    restore_images,
)
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point

SYSTEM = noise(2 * MIB)
DATA = noise(64 * KIB, seed=1) + bytes(MIB) + noise(64 * KIB, seed=2)


@pytest.fixture
def point(estate: Estate) -> Point:
    """A recovery point with two disks, in the slots 0 and 2."""
    estate.write(2, DATA)
    plan = vm_plan(disk(0), disk(2, "data"))
    return backup_vm(estate.vault, estate.request(plan), clock=ticking()).point


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "restored"


def states(plans: list[ImagePlan]) -> dict[str, str]:
    return {os.path.basename(plan.path): plan.state for plan in plans}


def test_all_disks(estate: Estate, point: Point, target: Path) -> None:
    plans = plan_images(estate.client, point, str(target))
    assert states(plans) == {"0-system.img": "missing", "2-data.img": "missing"}
    assert [plan.as_dict() for plan in plans] == [
        {
            "slot": 0,
            "disk_id": "disk0.img",
            "name": "system",
            "size": 2 * MIB,
            "content_hash": content_hash(SYSTEM, 64 * KIB),
            "path": str(target / "0-system.img"),
        },
        {
            "slot": 2,
            "disk_id": "disk2.img",
            "name": "data",
            "size": len(DATA),
            "content_hash": content_hash(DATA, 64 * KIB),
            "path": str(target / "2-data.img"),
        },
    ]
    assert not target.exists()  # to plan touches nothing
    progress: list[tuple[str, int, int]] = []
    written = restore_images(estate.client, point, plans, progress=lambda *seen: progress.append(seen))
    assert written == 2 * MIB + 128 * KIB  # without the hole
    assert (target / "0-system.img").read_bytes() == SYSTEM
    assert (target / "2-data.img").read_bytes() == DATA
    assert sorted(os.listdir(target)) == ["0-system.img", "2-data.img"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in target.iterdir()} == {0o600}
    assert [seen for seen in progress if seen[1] == seen[2]] == [
        ("system", 2 * MIB, 2 * MIB), ("data", len(DATA), len(DATA)),
    ]  # fmt: skip


def test_what_is_there_is_not_written_again(estate: Estate, point: Point, target: Path) -> None:
    restore_images(estate.client, point, plan_images(estate.client, point, str(target)))
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in target.iterdir()}
    plans = plan_images(estate.client, point, str(target))
    assert states(plans) == {"0-system.img": "current", "2-data.img": "current"}
    assert restore_images(estate.client, point, plans) == 0
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in target.iterdir()} == before


def test_one_slot(estate: Estate, point: Point, target: Path) -> None:
    plans = plan_images(estate.client, point, str(target), slots=[2])
    assert restore_images(estate.client, point, plans) == 128 * KIB
    assert os.listdir(target) == ["2-data.img"]


@pytest.mark.parametrize("content", [SYSTEM[:-1], SYSTEM + b"x", b"A" + SYSTEM[1:], b""])
def test_another_image_is_replaced_only_if_allowed(estate: Estate, point: Point, target: Path, content: bytes) -> None:
    target.mkdir()
    image = target / "0-system.img"
    image.write_bytes(content)
    with pytest.raises(InvalidInputError) as refusal:
        plan_images(estate.client, point, str(target))
    assert refusal.value.message == (
        f"{image} exists and is not disk 'system' of {point.id}: allow it to be overwritten, or name another directory"
    )
    assert image.read_bytes() == content
    plans = plan_images(estate.client, point, str(target), overwrite=True)
    assert states(plans) == {"0-system.img": "different", "2-data.img": "missing"}
    restore_images(estate.client, point, plans)
    assert image.read_bytes() == SYSTEM


def test_an_image_that_appears_after_the_plan(estate: Estate, point: Point, target: Path) -> None:
    plans = plan_images(estate.client, point, str(target))
    target.mkdir()
    write_image(target / "0-system.img", b"something else")
    with pytest.raises(InvalidInputError, match="0-system.img exists"):
        restore_images(estate.client, point, plans)
    assert (target / "0-system.img").read_bytes() == b"something else"


def test_each_point_gives_its_own_state(estate: Estate, point: Point, tmp_path: Path) -> None:
    newer = estate.change(0, MIB, b"changed")
    plan = incremental(vm_plan(disk(0), disk(2, "data")))
    second = backup_vm(estate.vault, estate.request(plan, run_id=NEXT_RUN), clock=ticking(MOMENT + 1)).point
    assert second.type == "incremental"
    for which, wanted in ((point, SYSTEM), (second, newer)):
        restore_images(estate.client, which, plan_images(estate.client, which, str(tmp_path / which.id)))
        assert (tmp_path / which.id / "0-system.img").read_bytes() == wanted


# --- what cannot work ------------------------------------------------------------------------------------------------


def test_unknown_slots(estate: Estate, point: Point, target: Path) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        plan_images(estate.client, point, str(target), slots=[2, 7, 1])
    assert refusal.value.message == f"Recovery point {point.id} of client web_01 has no disk in slot 1; it has 0, 2"
    with pytest.raises(InvalidInputError) as refusal:
        plan_images(estate.client, point, str(target), slots=[])
    assert refusal.value.message == "slots must not be an empty list: leave it out for all disks"


@pytest.mark.parametrize("kind", ["file", "dangling link", "no parent"])
def test_no_directory(estate: Estate, point: Point, target: Path, kind: str) -> None:
    if kind == "file":
        target.write_bytes(b"")
    elif kind == "dangling link":
        target.symlink_to("nowhere")
    else:
        target = target / "below"
    with pytest.raises(InvalidInputError) as refusal:
        plan_images(estate.client, point, str(target))
    assert refusal.value.message == (
        f"{target} is not a directory and cannot be made: name a directory in one that exists"
    )


@pytest.mark.parametrize("kind", ["directory", "link"])
def test_no_regular_file_in_the_way(estate: Estate, point: Point, target: Path, kind: str) -> None:
    target.mkdir()
    image = target / "0-system.img"
    if kind == "directory":
        image.mkdir()
    else:
        image.symlink_to("elsewhere.img")
    with pytest.raises(TargetError) as refusal:
        plan_images(estate.client, point, str(target), overwrite=True)
    assert refusal.value.message == f"Cannot restore to {image}: it exists and is not a regular file"


def test_too_little_space(estate: Estate, point: Point, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = os.statvfs(target.parent)
    blocks = (2 * MIB - 1) // found.f_frsize  # one block less than the data of the first disk
    scarce = os.statvfs_result((found.f_bsize, found.f_frsize, found.f_blocks, blocks, blocks, *tuple(found)[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _path: scarce)
    with pytest.raises(TargetError) as refusal:
        plan_images(estate.client, point, str(target))
    free = blocks * found.f_frsize
    assert refusal.value.message == (
        f"Cannot restore to {target / '0-system.img'}: {2 * MIB} bytes of data are needed, {free} are free in "
        f"{target.parent}"
    )
    plan_images(estate.client, point, str(target), slots=[2])  # its hole needs no space


def test_space_for_all_images_together(
    estate: Estate, point: Point, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = os.statvfs(target.parent)
    blocks = 2 * MIB // found.f_frsize  # room for the data of the first disk, and nothing more
    scarce = os.statvfs_result((found.f_bsize, found.f_frsize, found.f_blocks, blocks, blocks, *tuple(found)[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _path: scarce)
    plan_images(estate.client, point, str(target), slots=[0])
    with pytest.raises(TargetError) as refusal:
        plan_images(estate.client, point, str(target))
    assert f"bytes of data are needed, {2 * MIB} more for other images, {2 * MIB} are free" in refusal.value.message


def test_damaged_data_gives_no_image(estate: Estate, point: Point, target: Path) -> None:
    path = Path(estate.client.directory) / point.id / "0-system.img.zst"
    content = bytearray(path.read_bytes())
    content[MIB + 100 : MIB + 110] = b"0123456789"
    path.write_bytes(content)
    plans = plan_images(estate.client, point, str(target))
    with pytest.raises(CorruptVaultError) as damage:
        restore_images(estate.client, point, plans)
    assert damage.value.details["path"] == str(path)
    assert 0 < damage.value.details["offset"] <= MIB + 100
    assert os.listdir(target) == []


def test_interruption_leaves_no_image(estate: Estate, point: Point, target: Path) -> None:
    def interrupt(*_seen: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_images(estate.client, point, plan_images(estate.client, point, str(target)), progress=interrupt)
    assert os.listdir(target) == []


def test_directory_that_cannot_be_made(estate: Estate, point: Point, target: Path) -> None:
    plans = plan_images(estate.client, point, str(target))
    target.write_bytes(b"in the way")
    with pytest.raises(TargetError) as failure:
        restore_images(estate.client, point, plans)
    assert failure.value.message == f"Cannot create {target}: File exists"
