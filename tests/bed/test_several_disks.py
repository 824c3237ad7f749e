# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Several disks of one VM: each clone is of one moment, but not all of the same; what can be relied on, and what not.

docs/docsite/rst/guide_consistency.rst says the same in words.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bed.bed import Bed
from bed.skew import Clone, Disks, disk_of, disks, missing_before

DISKS = 3
ROUNDS = 4


@pytest.fixture(scope="module")
def guest(bed: Bed) -> Iterator[Disks]:
    folder = bed.image("several")
    bed.mkdir(folder)
    with disks(bed, folder, DISKS) as started:
        yield started
    bed.remove(folder)


def newest_of(disk: int, limit: int) -> int:
    """The last number up to a limit that is written to a disk."""
    return max(number for number in range(max(1, limit - DISKS), limit + 1) if disk_of(number, DISKS) == disk)


def check_each(clones: list[Clone]) -> None:
    """A clone is its disk at one moment: all that was safe when it began, nothing that was begun later, no gap."""
    for disk, clone in enumerate(clones):
        assert {disk_of(number, DISKS) for number in clone.numbers} == {disk}
        assert newest_of(disk, clone.before) <= clone.newest <= clone.after + 1
        assert sorted(clone.numbers) == list(range(min(clone.numbers), clone.newest + 1, DISKS))


@pytest.mark.parametrize("way", ["together", "request each"])
def test_earlier_clone_is_never_ahead_of_a_later_one(guest: Disks, way: str) -> None:
    for _round in range(ROUNDS):
        clones = guest.clones(way)
        check_each(clones)
        for earlier in range(DISKS):
            for later in range(earlier + 1, DISKS):
                # Whatever had to be safe before the newest write of the earlier clone is in the later clone.
                assert clones[later].newest >= newest_of(later, clones[earlier].newest)


def test_paused_guest_gives_one_moment(guest: Disks) -> None:
    for _round in range(ROUNDS):
        clones = guest.clones("paused")
        check_each(clones)
        newest = max(clone.newest for clone in clones)
        assert missing_before(clones, newest) == []
        assert clones[0].before == clones[-1].after
