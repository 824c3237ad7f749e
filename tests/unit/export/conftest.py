# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A recovery point of a small Linux that boots."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from unit.export.machines import document
from unit.transfer.builders import Estate, disk, vm_plan
from unit.vault.builders import MIB
from unit.vault.kinds import PLAIN, make_vault

from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from bootable.guest import SIZE, GuestUnavailable, build
from s3.fixtures import s3_server

__all__ = ["s3_server"]
HOST = "guest01"


@pytest.fixture(scope="session")
def bootable_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image of a disk. Skips with the reason where it cannot be built or started."""
    kept = os.environ.get("OVM_TEST_IMAGES")
    cache = Path(kept) if kept else tmp_path_factory.mktemp("images")
    image = tmp_path_factory.mktemp("bootable") / "disk.img"
    try:
        build(cache, image, host=HOST)
    except GuestUnavailable as problem:
        pytest.skip(f"no guest that boots: {problem}")
    return image


@pytest.fixture
def bootable(bootable_image: Path, tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Estate, Point]:
    """A recovery point with that disk in slot 0 and a blank one in slot 1. The test may name the kind of vault."""
    estate = Estate(tmp_path / "estate", make_vault(getattr(request, "param", PLAIN), tmp_path, request))
    bootable_image_copy = estate.image(0)
    bootable_image_copy.unlink()
    os.link(bootable_image, bootable_image_copy)
    estate.write(1, bytes(MIB))
    plan = vm_plan(disk(0, size=SIZE), disk(1, "blank"))
    saved = json.loads(json.dumps(document((0, 1), memory=256, memoryLimit=256, cpuCount=1, cpuCountLimit=1)))
    return estate, backup_vm(estate.vault, estate.request(plan, document=saved)).point
