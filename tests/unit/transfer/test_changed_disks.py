# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disks that change between two recovery points: each is decided on its own, and each point restores what there was."""

from __future__ import annotations

from typing import Any

import pytest
from unit.transfer.builders import CHANGES, NEXT_RUN, Estate, disk, vm_plan
from unit.vault.builders import MIB, noise, restored

from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.vault.synthetic_full import (
    SyntheticRequest,
    make_synthetic_full,
)

SYSTEM, DATA = noise(2 * MIB), noise(3 * MIB, seed=2)
CHANGED = b"changed by the guest" * 100
OTHER_REPOSITORY = "0004fb0000030000other"


def of(slot: int, image: int, **changes: Any) -> dict[str, Any]:
    """Return a disk of a plan in a slot, whose image is that of another slot."""
    values = {"name": ("system", "data", "new")[image], "disk_id": f"disk{image}.img", **changes}
    return disk(slot, path=f"/VirtualDisks/disk{image}.img", **values)


CASES: dict[str, tuple[list[dict[str, Any]], dict[int, int], dict[str, str]]] = {
    # name: disks of the second plan, sizes of images that change, and type by name of the disk
    "nothing": ([of(0, 0), of(1, 1)], {}, {"system": "incremental", "data": "incremental"}),
    "added": (
        [of(0, 0), of(1, 1), of(2, 2)],
        {2: MIB},
        {"system": "incremental", "data": "incremental", "new": "full"},
    ),
    "removed": ([of(0, 0)], {}, {"system": "incremental"}),
    "grown": ([of(0, 0), of(1, 1)], {1: 4 * MIB}, {"system": "incremental", "data": "full"}),
    "shrunk": ([of(0, 0), of(1, 1)], {1: 2 * MIB}, {"system": "incremental", "data": "full"}),
    "renamed": ([of(0, 0, name="root"), of(1, 1)], {}, {"root": "incremental", "data": "incremental"}),
    "moved to another slot": ([of(0, 0), of(5, 1)], {}, {"system": "incremental", "data": "incremental"}),
    "slots swapped": ([of(0, 1), of(1, 0)], {}, {"data": "incremental", "system": "incremental"}),
    "replaced": ([of(0, 2), of(1, 1)], {2: MIB}, {"new": "full", "data": "incremental"}),
    "in another repository": (
        [of(0, 0), of(1, 1, repository_id=OTHER_REPOSITORY, repository="repo two")],
        {},
        {"system": "incremental", "data": "incremental"},
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["incremental", "differential"])
def test_disks_that_change(estate: Estate, case: str, kind: str) -> None:
    estate.write(0, SYSTEM)
    estate.write(1, DATA)
    first = backup_vm(estate.vault, estate.request(vm_plan(of(0, 0), of(1, 1)))).point

    disks, sizes, types = CASES[case]
    estate.change(0, MIB, CHANGED)
    for image, size in sizes.items():
        estate.write(image, noise(size, seed=image + 7))
    (estate.repositories / OTHER_REPOSITORY).symlink_to(estate.folder)
    # What the plan knows: the disks of the first point by their ids. A size that shrank is seen only in the image.
    known = {"disk0.img", "disk1.img"}
    planned = [
        {**item, "type": kind, "type_reason": CHANGES} if item["disk_id"] in known else {**item, "type": "full"}
        for item in disks
    ]
    request = estate.request(vm_plan(*planned, type=kind, type_reason=CHANGES), run_id=NEXT_RUN)
    second = backup_vm(estate.vault, request).point

    assert {item.name: item.type.replace(kind, "incremental") for item in second.disks} == types
    assert {item.base for item in second.disks} <= {None, first.id}
    for number, (item, wanted) in enumerate(zip(second.disks, disks, strict=True)):
        image = int(wanted["disk_id"][4])
        assert (item.slot, item.disk_id, item.repository) == (wanted["slot"], wanted["disk_id"], wanted["repository"])
        assert restored(estate.client, second, number) == estate.image(image).read_bytes()
    assert [restored(estate.client, first, number) for number in (0, 1)] == [SYSTEM, DATA]

    # And a synthetic full of it restores the same without them.
    third = make_synthetic_full(estate.vault, SyntheticRequest(second.client, owner="a test")).point
    assert third.is_full
    for number, wanted in enumerate(disks):
        assert restored(estate.client, third, number) == estate.image(int(wanted["disk_id"][4])).read_bytes()
