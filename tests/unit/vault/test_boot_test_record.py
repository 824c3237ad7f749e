# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The result of a boot test, kept beside its recovery point."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit.vault.builders import add_point, make_client, noise, write_image

from ansible_collections.ovm.backup.plugins.module_utils.errors import PointNotFoundError
from ansible_collections.ovm.backup.plugins.module_utils.vault.boot_test_record import (
    BootTest,
    read_boot_test,
    read_screenshot,
    write_boot_test,
)
from ansible_collections.ovm.backup.plugins.module_utils.vault.format import digest

MACHINE: dict[str, Any] = {"accelerator": "tcg", "chipset": "pc", "firmware": "bios", "disk_bus": "ide"}
MACHINE.update(nic_model="e1000", memory=256, cpus=1)
RESULT = BootTest(1795395723.0, True, "up after 3 s", 3.5, MACHINE, {"qemu": "7.2.0"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    client = make_client(tmp_path / "client", "db01")
    write_image(tmp_path / "image", noise(65536))
    return Path(client.directory) / add_point(client, tmp_path / "image").id


def test_round_trip(folder: Path) -> None:
    assert read_boot_test(str(folder)) is None
    stored = write_boot_test(str(folder), RESULT, screenshot=b"png", log=b"log")
    assert stored == replace(RESULT, screenshot=digest(b"png"), log=digest(b"log"))
    assert read_boot_test(str(folder)) == stored
    assert read_screenshot(str(folder), stored) == b"png"
    assert (folder / "boot_test.log").read_bytes() == b"log"


def test_a_later_result_takes_its_place(folder: Path) -> None:
    write_boot_test(str(folder), RESULT, screenshot=b"png", log=b"log")
    later = write_boot_test(str(folder), replace(RESULT, ok=False, verdict="not up"), screenshot=None, log=b"other")
    assert read_boot_test(str(folder)) == later
    assert later.screenshot is None and read_screenshot(str(folder), later) is None
    assert not (folder / "boot_test.png").exists()


def test_another_screenshot_is_not_shown(folder: Path) -> None:
    stored = write_boot_test(str(folder), RESULT, screenshot=b"png", log=None)
    (folder / "boot_test.png").write_bytes(b"other")
    assert read_screenshot(str(folder), stored) is None
    (folder / "boot_test.png").unlink()
    assert read_screenshot(str(folder), stored) is None


def test_point_that_was_removed_gets_none(folder: Path) -> None:
    (folder / "point.json").unlink()
    with pytest.raises(PointNotFoundError, match="has just been removed"):
        write_boot_test(str(folder), RESULT, screenshot=b"png", log=b"log")
    assert not (folder / "boot_test.png").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tested_at", "now"), ("ok", 1), ("verdict", None), ("duration", True), ("machine", {}), ("machine", 3),
        ("machine", {**MACHINE, "memory": "much"}), ("versions", 7), ("screenshot", 3), ("log", []),
    ],
)  # fmt: skip
def test_what_cannot_be_read_proves_nothing(folder: Path, key: str, value: Any) -> None:
    write_boot_test(str(folder), RESULT, screenshot=b"png", log=b"log")
    path = folder / "boot_test.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    assert read_boot_test(str(folder)) is None
