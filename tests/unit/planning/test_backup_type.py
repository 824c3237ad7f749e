# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The type that a disk and a VM really get."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.planning.estate import GIB, client, disk, vm

from ansible_collections.ovm.backup.plugins.module_utils.manager.inventory import Disk
from ansible_collections.ovm.backup.plugins.module_utils.planning.backup_type import (
    TypeDecision,
    combine_types,
    decide_disk_type,
)
from ansible_collections.ovm.backup.plugins.module_utils.planning.state import ClientState

GUEST = vm("guest", disk(0), disk(1))
STATE = client(GUEST)
EMPTY = client(GUEST, age=None)
CHANGES = TypeDecision("incremental", "changes since recovery point P1")


@pytest.mark.parametrize(
    ("item", "requested", "state", "expected"),
    [
        pytest.param(disk(0), "incremental", STATE, CHANGES, id="unchanged"),
        pytest.param(disk(0, name="new name"), "incremental", STATE, CHANGES, id="renamed"),
        pytest.param(disk(7, id="disk-0.img"), "incremental", STATE, CHANGES, id="moved to another slot"),
        pytest.param(disk(0, "nfs1"), "incremental", STATE, CHANGES, id="in another repository"),
        pytest.param(disk(0), "full", STATE, TypeDecision("full", "full backup was asked for"), id="asked for"),
        pytest.param(disk(0), "incremental", None, TypeDecision("full", "first backup of this VM"), id="no client"),
        pytest.param(disk(0), "incremental", EMPTY, TypeDecision("full", "first backup of this VM"), id="no point"),
        pytest.param(disk(0), "full", EMPTY, TypeDecision("full", "first backup of this VM"), id="first, asked for"),
        pytest.param(
            disk(0),
            "incremental",
            replace(STATE, newest_healthy=False),
            TypeDecision("full", "newest recovery point is damaged"),
            id="damaged",
        ),
        pytest.param(
            disk(0),
            "incremental",
            replace(STATE, newest_healthy=False, newest_problem="recovery point P1 was found bad"),
            TypeDecision("full", "newest recovery point is damaged: recovery point P1 was found bad"),
            id="found bad",
        ),
        pytest.param(
            disk(0, id="other.img"),
            "incremental",
            STATE,
            TypeDecision("full", "disk was not in the newest recovery point"),
            id="another disk in the same slot",
        ),
        pytest.param(
            disk(0, size=GIB + 4096),
            "incremental",
            STATE,
            TypeDecision("full", "disk resized from 1073741824 to 1073745920 bytes"),
            id="grown",
        ),
        pytest.param(
            disk(0, size=4096),
            "incremental",
            STATE,
            CHANGES,
            id="smaller by the manager's word",
        ),
        pytest.param(
            disk(0, size=None),
            "incremental",
            STATE,
            TypeDecision("full", "the manager does not tell the size of the disk"),
            id="size unknown",
        ),
    ],
)
def test_type_of_a_disk(item: Disk, requested: str, state: ClientState | None, expected: TypeDecision) -> None:
    assert decide_disk_type(item, requested, state) == expected


ADDED = TypeDecision("full", "disk was not in the newest recovery point")
RESIZED = TypeDecision("full", "disk resized from 1 to 2 bytes")


@pytest.mark.parametrize(
    ("decisions", "expected"),
    [
        ([CHANGES, CHANGES], CHANGES),
        ([ADDED, ADDED], ADDED),
        (
            [ADDED, CHANGES],
            TypeDecision(
                "incremental",
                "changes since recovery point P1; "
                "disk 'disk0' (slot 0) in full: disk was not in the newest recovery point",
            ),
        ),
        (
            [ADDED, RESIZED],
            TypeDecision(
                "full",
                "disk 'disk0' (slot 0) in full: disk was not in the newest recovery point; "
                "disk 'disk1' (slot 1) in full: disk resized from 1 to 2 bytes",
            ),
        ),
    ],
)
def test_type_of_a_vm(decisions: list[TypeDecision], expected: TypeDecision) -> None:
    assert combine_types(list(zip(GUEST.disks, decisions, strict=True))) == expected
