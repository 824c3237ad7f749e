# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hot clones of a disk that its guest writes to, backed up and restored: the guest finds what it was promised.

The guest is a stand-in: a program in the bed that writes to an ext4 file system on a loop device over the image, which
is also how the servers of Oracle VM give images to guests. Clones, backup, restore and the checks are real.
"""

from __future__ import annotations

import filecmp
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from unit.transfer.builders import Estate, clone_of, disk, incremental, vm_plan

from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_restore import plan_images, restore_images
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from bed.bed import Bed
from bed.guest_content import Promised, check_content, check_file_system, read_content

MIB = 1 << 20
SIZE = 32 * MIB
ROUNDS = 20
RECORDS_BETWEEN = 25  # acknowledged from one clone to the next, at least
ACK = "/run/bed/files.ack"


@dataclass
class Guest:
    """A guest that writes all the time."""

    bed: Bed
    image: str
    pid: int
    clones: int = 0

    def clone(self) -> tuple[str, Promised, Promised]:
        """Let it write for a while, take a hot clone; what it had been promised before, and after."""
        seen = self.bed.acknowledged(ACK)[1] if self.clones else 0
        self.bed.wait_for(ACK, seen + RECORDS_BETWEEN, self.pid, index=1)
        self.clones += 1
        clone = f"{self.image}.clone{self.clones}"
        (done,) = self.bed.reflink_all([(self.image, clone)], ACK)
        return clone, Promised.of(done["before"]), Promised.of(done["after"])


@pytest.fixture
def guest(bed: Bed, folder: str) -> Iterator[Guest]:
    image, mounted = f"{folder}/guest.img", "/mnt/guest"
    bed.create(image, SIZE)
    bed.run(f"mkfs.ext4 -q -b 4096 -J size=4 {image} && mkdir -p {mounted} && mount -o loop {image} {mounted}")
    # The guest has one processor: reading the clone beside the writing takes long enough as it is.
    pid = bed.start(["nice", "-n", "19", "bed-writer", "files", mounted, ACK])
    try:
        yield Guest(bed, image, pid)
        assert bed.stop(pid) == 0
        pid = 0
    finally:
        if pid:
            bed.stop(pid)
        bed.run(f"umount {mounted}; rm -f {ACK}")


def transfer(bed: Bed, clone: str, estate: Estate, number: int) -> Point:
    """Back the clone up: in full the first time, then what changed."""
    image = estate.image("clone0.img")
    bed.fetch(clone, image)
    disks = [disk(size=SIZE)]
    plan = vm_plan(*disks, method="hot_clone", reason="its disks can be cloned")
    if number:
        plan = incremental(plan)
    run_id = f"20261123T01{number:02}03Z-0a1b2c3d-4e5f60"
    request = estate.request(plan, clone=clone_of(*disks, run_id=run_id), run_id=run_id)
    return backup_vm(estate.vault, request).point


def restore(estate: Estate, point: Point, target: Path) -> Path:
    """Restore the disk of a recovery point."""
    plans = plan_images(estate.client, point, str(target))
    restore_images(estate.client, point, plans)
    return Path(plans[0].path)


def test_everything_that_was_promised_is_restored(guest: Guest, bed: Bed, tmp_path: Path) -> None:
    estate = Estate(tmp_path)
    types = []
    for number in range(ROUNDS):
        clone, before, after = guest.clone()
        point = transfer(bed, clone, estate, number)
        types.append(point.type)
        image = restore(estate, point, tmp_path / f"restored{number}")
        assert filecmp.cmp(image, estate.image("clone0.img"), shallow=False)
        assert "recovering journal" in check_file_system(image)
        found = read_content(image, tmp_path / f"content{number}")
        check_content(found, before, after)
        image.unlink()
        bed.remove(clone)
    assert types == ["full"] + ["incremental"] * (ROUNDS - 1)
    # The check can fail: what was promised only after the last clone is not in it.
    later = Promised.of(bed.wait_for(ACK, after.newest + 2, guest.pid, index=1))
    with pytest.raises(AssertionError):
        check_content(found, later, later)
