# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which disks of a VM are backed up."""

from __future__ import annotations

from typing import Any

import pytest
from unit.planning.estate import disk, inventory, subclient, vm

from ansible_collections.ovm.backup.plugins.module_utils.planning.disks import SkippedDisk, choose_disks

MIXED = vm(
    "mixed",
    disk(0, "iscsi1", name="root"),
    disk(1, None, kind="cdrom", name="Empty CDROM"),
    disk(2, "iscsi2", name="SWAP"),
    disk(3, None, kind="physical", name="LUN 7"),
    disk(4, "nfs1", name="data"),
)


@pytest.mark.parametrize(
    ("filters", "wanted", "taken_out"),
    [
        ([], [0, 2, 4], {}),
        ([{"field": "name", "value": "swap*"}], [0, 4], {2: "exclude.disks[0]: name equals 'swap*'"}),
        ([{"field": "slot", "value": 0}], [2, 4], {0: "exclude.disks[0]: slot equals 0"}),
        (
            [{"field": "repository", "value": ["NFS1", "id-iscsi2"]}],
            [0],
            {
                2: "exclude.disks[0]: repository equals 'NFS1' or 'id-iscsi2'",
                4: "exclude.disks[0]: repository equals 'NFS1' or 'id-iscsi2'",
            },
        ),
        (
            [{"field": "slot", "value": [9, 4]}, {"field": "name", "value": "[ds]*"}],
            [0],
            {2: "exclude.disks[1]: name equals '[ds]*'", 4: "exclude.disks[0]: slot equals 9, 4"},
        ),
        (
            [{"field": "name", "value": "[rsd]*"}],
            [],
            dict.fromkeys((0, 2, 4), "exclude.disks[0]: name equals '[rsd]*'"),
        ),
    ],
)
def test_filters_take_disks_out(filters: list[dict[str, Any]], wanted: list[int], taken_out: dict[int, str]) -> None:
    choice = choose_disks(MIXED, subclient(exclude={"disks": filters}).exclude_disks, inventory())
    assert [item.slot for item in choice.wanted] == wanted
    physical = {3: "physical disks are not backed up"}
    reasons = {slot: f"taken out by {reason}" for slot, reason in taken_out.items()} | physical
    assert {item.slot: item.reason for item in choice.skipped} == reasons
    assert choice.warnings == ("disk 'LUN 7' (slot 3) is not backed up: physical disks are not backed up",)


def test_physical_disk_that_a_filter_takes_out_is_no_surprise() -> None:
    filters = subclient(exclude={"disks": [{"field": "name", "value": "lun*"}]}).exclude_disks
    choice = choose_disks(MIXED, filters, inventory())
    assert choice.skipped == (SkippedDisk(3, "LUN 7", "physical", "taken out by exclude.disks[0]: name equals 'lun*'"),)
    assert choice.warnings == ()


def test_disk_of_an_unknown_kind_is_reported() -> None:
    choice = choose_disks(vm("new", disk(5, kind="quantum")), (), inventory())
    assert choice.wanted == ()
    assert choice.skipped == (SkippedDisk(5, "disk5", "quantum", "disks of kind quantum are not known"),)
    assert choice.warnings == ("disk 'disk5' (slot 5) is not backed up: disks of kind quantum are not known",)
