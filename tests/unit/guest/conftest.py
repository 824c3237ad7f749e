# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures for the tests of the guest room."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from unit.transfer.builders import NEXT_RUN, Estate, disk, incremental, ticking, vm_plan
from unit.vault.builders import KIB, MIB, noise
from unit.vault.kinds import KINDS, PLAIN, make_vault

from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from s3.fixtures import s3_server
from tools.nbdkit import why_not

# One block of data at the start of slot 2, one in its second segment, holes between and behind; the end is no block.
DATA = noise(64 * KIB, seed=1) + bytes(MIB) + noise(64 * KIB, seed=2) + bytes(2 * MIB + 512)

_WHY_NOT = why_not(".".join(map(str, sys.version_info[:2])))
needs_nbdkit = pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT)


__all__ = ["s3_server"]
on_all_kinds = pytest.mark.parametrize("estate", KINDS, indirect=True)


@pytest.fixture
def estate(tmp_path: Path, request: pytest.FixtureRequest) -> Estate:
    """An estate with a plain vault, or with one of the kind that the test is parametrized with."""
    return Estate(tmp_path, make_vault(getattr(request, "param", PLAIN), tmp_path, request))


@pytest.fixture
def point(estate: Estate) -> Point:
    """An incremental recovery point on a full, with two disks, in the slots 0 and 2."""
    estate.write(2, DATA)
    plan = vm_plan(disk(0), disk(2, "data"))
    backup_vm(estate.vault, estate.request(plan), clock=ticking())
    estate.change(0, 300 * KIB, b"changed")
    return backup_vm(estate.vault, estate.request(incremental(plan), run_id=NEXT_RUN), clock=ticking()).point
