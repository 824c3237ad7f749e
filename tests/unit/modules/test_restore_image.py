# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module restore_image. How an image is written, and what may be in its way, is tested in the transfer room."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from unit.transfer.builders import NEXT_RUN, Estate, disk, incremental, ticking, vm_plan
from unit.vault.builders import KIB, MIB, content_hash, noise

from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point

SYSTEM, DATA = noise(2 * MIB), noise(64 * KIB, seed=1) + bytes(MIB)


@pytest.fixture
def point(estate: Estate) -> Point:
    """A recovery point with two disks, in the slots 0 and 2."""
    estate.write(2, DATA)
    return backup_vm(estate.vault, estate.request(vm_plan(disk(0), disk(2, "data"))), clock=ticking()).point


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "restored"


@pytest.fixture
def args(estate: Estate, point: Point, target: Path) -> dict[str, Any]:
    return {"vault": estate.vault.path, "client": "web_01", "directory": str(target)}


def expected(point: Point, target: Path, **changes: Any) -> dict[str, Any]:
    disks = ((0, "system", SYSTEM), (2, "data", DATA))
    values = {
        "changed": True,
        "recovery_point": {
            **point.as_dict(),
            "problem": None,
            "verification": None,
            "pinned": False,
            "pin_note": None,
            "held": None,
        },
        "images": [
            {
                "slot": slot,
                "disk_id": f"disk{slot}.img",
                "name": name,
                "size": len(content),
                "content_hash": content_hash(content, 64 * KIB),
                "path": str(target / f"{slot}-{name}.img"),
            }
            for slot, name, content in disks
        ],
        "bytes_written": 2 * MIB + 64 * KIB,
    }
    return {**values, **changes}


def test_restored_once(succeed: Any, args: dict[str, Any], point: Point, target: Path) -> None:
    paths = [str(target / name) for name in ("0-system.img", "2-data.img")]
    missing, current = dict.fromkeys(paths, "missing"), dict.fromkeys(paths, "current")
    foreseen = expected(point, target, bytes_written=0, diff={"before": missing, "after": current})
    assert succeed("restore_image", args, check_mode=True, diff=True) == foreseen
    assert not target.exists()
    done = expected(point, target, diff={"before": missing, "after": current})
    assert succeed("restore_image", args, diff=True) == done
    assert [(target / name).read_bytes() for name in ("0-system.img", "2-data.img")] == [SYSTEM, DATA]
    unchanged = expected(point, target, changed=False, bytes_written=0, diff={"before": current, "after": current})
    for check_mode in (False, True):
        assert succeed("restore_image", args, check_mode=check_mode, diff=True) == unchanged


def test_one_slot_of_an_older_point(succeed: Any, args: dict[str, Any], estate: Estate, point: Point) -> None:
    estate.change(0, 0, b"changed")
    plan = incremental(vm_plan(disk(0), disk(2, "data")))
    newer = backup_vm(estate.vault, estate.request(plan, run_id=NEXT_RUN)).point
    result = succeed("restore_image", {**args, "point": point.id, "slots": [0]})
    (image,) = result["images"]
    assert (result["recovery_point"]["id"], image["content_hash"]) == (point.id, content_hash(SYSTEM, 64 * KIB))
    assert os.listdir(args["directory"]) == ["0-system.img"]
    assert succeed("restore_image", {**args, "overwrite": True})["recovery_point"]["id"] == newer.id
    assert Path(image["path"]).read_bytes() == estate.image(0).read_bytes()


@pytest.mark.parametrize("check_mode", [False, True])
def test_overwriting(
    succeed: Any, fail: Any, args: dict[str, Any], point: Point, target: Path, check_mode: bool
) -> None:
    target.mkdir()
    image = target / "0-system.img"
    image.write_bytes(b"something else")
    assert fail("restore_image", args, check_mode=check_mode) == {
        "msg": f"{image} exists and is not disk 'system' of {point.id}: allow it to be overwritten, or name another "
        "directory",
        "failure": {"kind": "InvalidInputError", "path": str(image)},
    }
    result = succeed("restore_image", {**args, "overwrite": True}, check_mode=check_mode, diff=True)
    assert result["changed"] is True
    assert result["diff"]["before"] == {str(image): "different", str(target / "2-data.img"): "missing"}
    assert image.read_bytes() == (b"something else" if check_mode else SYSTEM)


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"client": "nobody"}, "PointNotFoundError", "The vault {vault} has no client 'nobody'"),
        ({"point": "x"}, "PointNotFoundError",
            "Client web_01 has no recovery point 'x'; the newest is 20261123T010203Z-0001"),
        ({"slots": [1]}, "InvalidInputError",
            "Recovery point 20261123T010203Z-0001 of client web_01 has no disk in slot 1; it has 0, 2"),
        ({"slots": []}, "InvalidInputError", "slots must not be an empty list: leave it out for all disks"),
        ({"directory": "/nowhere/at/all"}, "InvalidInputError",
            "/nowhere/at/all is not a directory and cannot be made: name a directory in one that exists"),
        ({"vault": "/nowhere"}, "NotAVaultError", "/nowhere is not a vault: there is no /nowhere/vault.json. Is the "
            "file system mounted? A new vault is made by the ovm.backup.vault module or playbook"),
    ],
)  # fmt: skip
def test_wrong_values(
    fail: Any, args: dict[str, Any], target: Path, change: dict[str, Any], kind: str, message: str, check_mode: bool
) -> None:
    failed = fail("restore_image", {**args, **change}, check_mode=check_mode)
    assert failed["msg"] == message.format(vault=args["vault"])
    assert failed["failure"]["kind"] == kind
    assert not target.exists()


def test_damaged_data(fail: Any, args: dict[str, Any], estate: Estate, point: Point, target: Path) -> None:
    path = Path(estate.client.directory) / point.id / "0-system.img.zst"
    content = path.read_bytes()
    path.write_bytes(content[: MIB + 500] + b"12345678" + content[MIB + 508 :])
    failed = fail("restore_image", args)
    assert (failed["failure"]["kind"], failed["failure"]["path"]) == ("CorruptVaultError", str(path))
    assert failed["msg"].startswith(f"{path} is damaged at offset {failed['failure']['offset']}")
    assert os.listdir(target) == []


def test_missing_base(fail: Any, args: dict[str, Any], estate: Estate, point: Point) -> None:
    path = Path(estate.client.directory) / point.id / "2-data.img.zst"
    path.unlink()
    failed = fail("restore_image", {**args, "point": point.id}, check_mode=True)
    assert failed["failure"]["path"] == str(path)
    failed = fail("restore_image", args, check_mode=True)
    assert failed["failure"] == {"kind": "CorruptVaultError", "client": "web_01", "point": point.id}
    assert f"The newest is {point.id}: {path}: No such file or directory. Name" in failed["msg"]


def test_a_newer_point_that_is_bad_is_passed_over(
    succeed: Any, args: dict[str, Any], estate: Estate, point: Point, warned: list[str]
) -> None:
    plan = incremental(vm_plan(disk(0), disk(2, "data")))
    newer = backup_vm(estate.vault, estate.request(plan, run_id=NEXT_RUN)).point
    path = Path(estate.client.directory) / newer.id / "2-data.img.zst"
    path.unlink()
    assert succeed("restore_image", args, check_mode=True)["recovery_point"]["id"] == point.id
    problem = f"{path}: No such file or directory"
    passed_over = f"Recovery point {newer.id} of client web_01 is passed over for the older {point.id}: {problem}"
    assert warned == [passed_over]
    before = {**args, "before": "2026-11-23T01:02:03Z"}
    assert succeed("restore_image", before, check_mode=True)["recovery_point"]["id"] == point.id
    assert warned == [passed_over]
