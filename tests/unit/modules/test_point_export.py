# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module point_export. How images and documents are made is tested in the export room."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from unit.export.machines import document
from unit.transfer.builders import Estate, disk, vm_plan
from unit.vault.builders import MIB, noise

from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point


@pytest.fixture
def point(estate: Estate) -> Point:
    estate.write(1, noise(2 * MIB))
    request = estate.request(vm_plan(disk(0), disk(1, "data")), document=document((0, 1)))
    return backup_vm(estate.vault, request).point


@pytest.fixture
def args(estate: Estate, point: Point, tmp_path: Path) -> dict[str, Any]:
    return {"vault": estate.vault.path, "client": "web_01", "directory": str(tmp_path / "exported")}


def test_exported_once(succeed: Any, args: dict[str, Any], point: Point) -> None:
    directory = args["directory"]
    foreseen = succeed("point_export", args, check_mode=True, diff=True)
    assert not os.path.exists(directory)
    done = succeed("point_export", args, diff=True)
    assert done == {**foreseen, "bytes_written": 4 * MIB}
    assert (done["changed"], done["needed"], done["recovery_point"]["id"]) == (True, 4 * MIB, point.id)
    assert done["diff"] == {"before": {directory: "missing"}, "after": {directory: "current"}}
    export = done["export"]
    assert [one["path"] for one in export["disks"]] == [
        f"{directory}/0-system.qcow2", f"{directory}/1-data.qcow2",
    ]  # fmt: skip
    assert [one["content_hash"] for one in export["disks"]] == [one.content_hash for one in point.disks]
    assert [(one["bus"], one["old_device"], one["new_device"]) for one in export["disks"]] == [
        ("ide", "xvda", "sda"), ("ide", "xvdb", "sdb"),
    ]  # fmt: skip
    nic = {"mac": "00:21:f6:5b:b5:f7", "model": "e1000", "network": "default", "old_network": "vm-net"}
    assert export["nics"] == [nic]
    assert all(os.path.exists(export[key]) for key in ("libvirt_xml", "ovf", "report"))
    assert export["attention"][0] == {
        "level": "must",
        "key": "boot_loader",
        "subject": "disk system",
        "text": "No disk has a boot loader in its first sector. Start a rescue system with the disks and install a "
        "boot loader.",
    }
    unchanged = {**done, "changed": False, "bytes_written": 0, "diff": {"before": done["diff"]["after"]}}
    unchanged["diff"]["after"] = done["diff"]["after"]
    for check_mode in (False, True):
        assert succeed("point_export", args, check_mode=check_mode, diff=True) == unchanged


def test_as_a_copy(succeed: Any, args: dict[str, Any]) -> None:
    wishes = {"name": "copy", "mac": "new", "disk_bus": "virtio", "nic_model": "virtio", "compression": "zlib"}
    found = succeed("point_export", {**args, **wishes, "networks": {"vm-net": "blue"}, "image_directory": "/images"})
    assert (found["export"]["name"], found["export"]["nics"][0]["network"]) == ("copy", "blue")
    text = Path(found["export"]["libvirt_xml"]).read_text()
    for part in ("<name>copy</name>", '<source file="/images/0-system.qcow2" />', 'network="blue"', 'bus="virtio"'):
        assert part in text
    assert "<uuid>" not in text


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"client": "nobody"}, "PointNotFoundError", "The vault {vault} has no client 'nobody'"),
        ({"slots": [2]}, "InvalidInputError",
            "Recovery point {point} of client web_01 has no disk in slot 2; it has 0, 1"),
        ({"name": "a/b"}, "InvalidInputError",
            "name must be the name of a VM, without slash and line break, not 'a/b'"),
        ({"image_directory": "x"}, "InvalidInputError", "image_directory must be an absolute path, not 'x'"),
        ({"directory": "/nowhere/at/all"}, "InvalidInputError",
            "/nowhere/at/all cannot be made: there is no directory /nowhere/at"),
        ({"directory": "/etc"}, "InvalidInputError", None),
    ],
)  # fmt: skip
def test_wrong_values(
    fail: Any,
    args: dict[str, Any],
    point: Point,
    change: dict[str, Any],
    kind: str,
    message: str | None,
    check_mode: bool,
) -> None:
    failed = fail("point_export", {**args, **change}, check_mode=check_mode)
    assert failed["failure"]["kind"] == kind
    if message is not None:
        assert failed["msg"] == message.format(vault=args["vault"], point=point.id)
    else:
        assert failed["msg"].endswith("which no export has put there: name another directory")
    assert not os.path.exists(args["directory"])
