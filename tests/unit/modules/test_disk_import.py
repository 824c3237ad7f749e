# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module disk_import: the simulated manager fetches a disk from the vault, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.transfer.builders import Estate, disk, vm_plan
from unit.vault.builders import MIB, noise

from ansible_collections.ovm.backup.plugins.module_utils.transfer.http_serving import ServedDisk
from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from simulator.testing import Simulator

DATA = noise(2 * MIB + 8192)


@pytest.fixture
def args(manager: dict[str, Any], simulator: Simulator, estate: Estate) -> Iterator[dict[str, Any]]:
    estate.write(0, DATA)
    backup_vm(estate.vault, estate.request(vm_plan(disk(0))))
    before = {found["id"]["value"] for found in simulator._get("/VirtualDisk")}
    yield {
        **manager,
        "vault": estate.vault.path,
        "client": "web_01",
        "slot": 0,
        "run_id": "restore-1",
        "name": "again",
        "repository_id": simulator.find("Repository", "repo-iscsi-1")["id"]["value"],
        "address": "127.0.0.1",
    }
    assert {found["id"]["value"] for found in simulator._get("/VirtualDisk")} == before


def absent(args: dict[str, Any]) -> dict[str, Any]:
    return {key: args[key] for key in ("url", "user", "password", "ca_path", "run_id")} | {"state": "absent"}


def test_a_disk_is_imported_once(succeed: Any, foresee: Any, args: dict[str, Any], simulator: Simulator) -> None:
    assert foresee("disk_import", args) == {"changed": True, "virtual_disk": None, "bytes_served": 0}
    made = succeed("disk_import", args)
    found = made["virtual_disk"]
    assert (made["changed"], made["bytes_served"]) == (True, len(DATA))
    assert (found["name"], found["size"], found["run_id"]) == ("again", len(DATA), "restore-1")
    image = simulator.repositories / args["repository_id"] / "VirtualDisks" / found["id"]
    assert image.read_bytes() == DATA
    assert succeed("disk_import", args) == {"changed": False, "virtual_disk": found, "bytes_served": 0}
    assert succeed("virtual_disk", absent(args))["changed"]


def test_a_damaged_disk_is_not_imported(fail: Any, args: dict[str, Any], estate: Estate) -> None:
    [path] = Path(estate.vault.path).glob("clients/*/*/*.img.zst")
    content = bytearray(path.read_bytes())
    content[MIB + MIB // 2] ^= 1
    path.write_bytes(content)
    found = fail("disk_import", args)
    assert found["failure"]["kind"] == "CorruptVaultError"
    assert f"{path} is damaged at offset" in found["msg"]


def test_an_address_of_another_host_is_refused(fail: Any, args: dict[str, Any], simulator: Simulator) -> None:
    found = fail("disk_import", {**args, "address": "192.0.2.1"})
    assert found["msg"].startswith("Cannot serve a disk at 192.0.2.1:0: ")
    assert simulator.calls(writing=True) == []


def test_an_import_that_took_a_part_is_removed(
    fail: Any, args: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The fixture asserts that no virtual disk is left.
    monkeypatch.setattr(ServedDisk, "add", lambda *_arguments: None)
    assert fail("disk_import", args)["msg"] == (
        f"The import took 0 of {len(DATA)} bytes and was called complete: the virtual disk was removed"
    )
