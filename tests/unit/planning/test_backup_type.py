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
from ansible_collections.ovm.backup.plugins.module_utils.planning.state import ClientState, VaultDisk

GUEST = vm("guest", disk(0), disk(1))
STATE = client(GUEST)
EMPTY = client(GUEST, age=None)
CHANGES = TypeDecision("incremental", "changes since recovery point P1", "P1")
SINCE_FULL = TypeDecision("differential", "changes since full recovery point P0", "P0")


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
        *(
            pytest.param(
                disk(0),
                requested,
                replace(STATE, distrust="disk 0 at offset 5"),
                TypeDecision("full", "change detection failed before: disk 0 at offset 5"),
                id=f"{requested} of a client that is distrusted",
            )
            for requested in ("incremental", "differential", "synthetic_full")
        ),
        pytest.param(
            disk(0),
            "full",
            replace(STATE, distrust="disk 0 at offset 5"),
            TypeDecision("full", "full backup was asked for"),
            id="distrusted, asked for",
        ),
        pytest.param(
            disk(0),
            "incremental",
            replace(EMPTY, distrust="disk 0 at offset 5"),
            TypeDecision("full", "first backup of this VM"),
            id="distrusted, no point",
        ),
        pytest.param(
            disk(0),
            "incremental",
            client(GUEST, newest_healthy=False),
            TypeDecision("full", "newest recovery point is damaged"),
            id="damaged",
        ),
        pytest.param(
            disk(0),
            "incremental",
            replace(
                STATE,
                newest_healthy=False,
                disks=tuple(
                    replace(one, healthy=False, problem="recovery point P1 was found bad") for one in STATE.disks
                ),
            ),
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
        pytest.param(disk(0), "differential", STATE, SINCE_FULL, id="since the full"),
        pytest.param(disk(0), "differential", None, TypeDecision("full", "first backup of this VM"), id="no full"),
        pytest.param(
            disk(0),
            "differential",
            client(GUEST, disks=(VaultDisk("disk-0.img", 0, GIB, False, "P0", True, 1),)),
            SINCE_FULL,
            id="newest damaged, full is not",
        ),
        pytest.param(
            disk(0),
            "differential",
            client(GUEST, newest_healthy=False),
            TypeDecision("full", "full recovery point P0 is damaged"),
            id="full damaged",
        ),
        pytest.param(
            disk(1),
            "incremental",
            client(GUEST, disks=(VaultDisk("disk-0.img", 0, GIB, False), VaultDisk("disk-1.img", 1, GIB))),
            CHANGES,
            id="another disk is damaged",
        ),
        pytest.param(
            disk(0),
            "incremental",
            client(GUEST, newest_point="P9", disks=(), newest_healthy=False),
            TypeDecision("full", "newest recovery point is damaged"),
            id="manifest damaged",
        ),
        pytest.param(
            disk(0),
            "synthetic_full",
            EMPTY,
            TypeDecision("full", "first backup of this VM"),
            id="nothing to consolidate",
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


@pytest.mark.parametrize(
    ("limit", "increments", "expected"),
    [
        (0, 99, "incremental"),
        (7, 6, "incremental"),
        (7, 7, "full"),
        (7, 8, "full"),
    ],
)
@pytest.mark.parametrize("requested", ["incremental", "differential"])
def test_so_many_increments_may_follow_a_full(limit: int, increments: int, expected: str, requested: str) -> None:
    state = client(GUEST, disks=(VaultDisk("disk-0.img", 0, GIB, True, "P0", True, increments),))
    found = decide_disk_type(disk(0), requested, state, limit)
    if expected == "full":
        reason = f"{increments} recovery points follow its last full, {limit} may"
        assert found == TypeDecision("full", reason)
    else:
        assert found.type == requested


@pytest.mark.parametrize(("limit", "increments", "full"), [(0, 499, False), (0, 500, True), (2000, 501, True)])
def test_no_chain_gets_longer_than_can_be_opened(limit: int, increments: int, full: bool) -> None:
    state = client(GUEST, disks=(VaultDisk("disk-0.img", 0, GIB, True, "P0", True, increments),))
    reason = f"{increments} recovery points follow its last full, and a chain ends after 500"
    expected = TypeDecision("full", reason) if full else CHANGES
    assert decide_disk_type(disk(0), "incremental", state, limit) == expected
    # A differential builds on the full alone.
    assert decide_disk_type(disk(0), "differential", state, limit) == SINCE_FULL


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
                "P1",
            ),
        ),
        (
            [SINCE_FULL, ADDED],
            TypeDecision(
                "differential",
                "changes since full recovery point P0; "
                "disk 'disk1' (slot 1) in full: disk was not in the newest recovery point",
                "P0",
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
