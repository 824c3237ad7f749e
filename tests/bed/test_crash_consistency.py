# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hot clones of a disk that its guest writes to, backed up and restored: the guest finds what it was promised.

The guest is a stand-in: a program in the bed that writes to an ext4 file system on a loop device over the image.
Clones, backup, restore and the checks are real.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from unit.transfer.builders import Estate

from bed.bed import Bed
from bed.guest_content import Promised, check_content, check_file_system, read_content
from bed.hot_clones import HotClones, digest

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
        name = f"clone{self.clones}"
        (done,) = self.bed.reflink_all([(self.image, f"{self.image}.{name}")], ACK)
        return name, Promised.of(done["before"]), Promised.of(done["after"])


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


def test_everything_that_was_promised_is_restored(guest: Guest, bed: Bed, tmp_path: Path) -> None:
    vm = HotClones(bed, Estate(tmp_path), {0: guest.image}, SIZE)
    types = []
    for number in range(ROUNDS):
        name, before, after = guest.clone()
        vm.adopt(name)
        point = vm.back_up(name, sample=1.0)
        types.append((point.type, (point.disks[0].changes or {})["method"]))
        (image,) = vm.restored(point, tmp_path / f"restored{number}")
        # The clone stays as the reference of the next round.
        assert digest(image) == bed.digest(vm.clones[name][0])
        assert "recovering journal" in check_file_system(image)
        found = read_content(image, tmp_path / f"content{number}")
        check_content(found, before, after)
        image.unlink()
    assert types == [("full", "all")] + [("incremental", "extent_maps")] * (ROUNDS - 1)
    # The check can fail: what was promised only after the last clone is not in it.
    later = Promised.of(bed.wait_for(ACK, after.newest + 2, guest.pid, index=1))
    with pytest.raises(AssertionError):
        check_content(found, later, later)
