# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A whole export: there or not there, found again, replaced only where it is one of ours."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from unit.export.machines import document
from unit.transfer.builders import Estate, disk, vm_plan
from unit.vault.builders import MIB, noise
from unit.vault.kinds import KINDS, PLAIN, make_vault

from ansible_collections.ovm.backup.plugins.module_utils.errors import CorruptVaultError, InvalidInputError, TargetError
from ansible_collections.ovm.backup.plugins.module_utils.export import directory
from ansible_collections.ovm.backup.plugins.module_utils.export.mapping import Wishes
from ansible_collections.ovm.backup.plugins.module_utils.export.point_export import (
    ExportRequest,
    plan_export,
    write_export,
)
from ansible_collections.ovm.backup.plugins.module_utils.export.qcow2 import Qcow2Target
from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point

FILES = ["0-system.qcow2", "1-data.qcow2", "export.json", "report.txt", "web_01.ovf", "web_01.xml"]


@pytest.fixture
def estate(tmp_path: Path, request: pytest.FixtureRequest) -> Estate:
    made = Estate(tmp_path / "estate", make_vault(getattr(request, "param", PLAIN), tmp_path, request))
    made.write(1, noise(100_000) + bytes(2 * MIB) + b"end.")
    return made


@pytest.fixture
def point(estate: Estate) -> Point:
    plan = vm_plan(disk(0), disk(1, "data"))
    return backup_vm(estate.vault, estate.request(plan, document=document((0, 1)))).point


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "exports" / "web"


@pytest.fixture(autouse=True)
def parent(target: Path) -> None:
    target.parent.mkdir()


def export(estate: Estate, point: Point, target: Path, **options: Any) -> str:
    request = ExportRequest(str(target), **options)
    plan = plan_export(estate.client, point, request)
    if plan.state != "current":
        write_export(estate.client, plan, request)
    return plan.state


@pytest.mark.parametrize("compression", ["none", "zlib", "zstd"])
def test_found_again(estate: Estate, point: Point, target: Path, compression: str) -> None:
    assert export(estate, point, target, compression=compression) == "missing"
    assert sorted(os.listdir(target)) == FILES
    assert os.listdir(target.parent) == ["web"]
    assert target.stat().st_mode & 0o777 == 0o700
    before = {name: (target / name).stat().st_mtime_ns for name in FILES}
    assert export(estate, point, target, compression=compression) == "current"
    assert before == {name: (target / name).stat().st_mtime_ns for name in FILES}
    listed = json.loads((target / "export.json").read_text())
    assert [entry["name"] for entry in listed["files"]] == [name for name in FILES if name != "export.json"]
    assert {item["key"] for item in listed["attention"]} >= {"boot_loader", "device_names"}


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs the package qemu-utils")
@pytest.mark.parametrize("estate", KINDS, indirect=True)
def test_out_of_every_kind_of_vault(estate: Estate, point: Point, target: Path) -> None:
    assert export(estate, point, target) == "missing"
    for slot, name in ((0, "system"), (1, "data")):
        disks = [str(target / f"{slot}-{name}.qcow2"), str(estate.image(slot))]
        said = subprocess.run(["qemu-img", "compare", *disks], check=True, capture_output=True, text=True).stdout
        assert "Images are identical." in said
    assert export(estate, point, target) == "current"


def test_replaced_when_allowed(estate: Estate, point: Point, target: Path) -> None:
    export(estate, point, target)
    for change in (Wishes(disk_bus="virtio"), Wishes(disk_bus="sata")):
        with pytest.raises(InvalidInputError, match="holds another export, or one that was changed"):
            export(estate, point, target, wishes=change)
        assert export(estate, point, target, wishes=change, overwrite=True) == "different"
        assert os.listdir(target.parent) == ["web"]
    (target / "report.txt").write_text("changed")
    assert export(estate, point, target, wishes=Wishes(disk_bus="sata"), overwrite=True) == "different"
    assert export(estate, point, target, wishes=Wishes(disk_bus="sata")) == "current"


def test_one_disk(estate: Estate, point: Point, target: Path) -> None:
    export(estate, point, target, slots=[1])
    assert sorted(os.listdir(target)) == [name for name in FILES if not name.startswith("0-")]
    assert "Disk 'system' (virtual) is not in the recovery point: it was not asked for." in (
        " ".join((target / "report.txt").read_text().split())
    )


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_directory_of_somebody_else_is_left_alone(
    estate: Estate, point: Point, target: Path, overwrite: bool
) -> None:
    target.mkdir()
    (target / "mine").write_text("mine")
    with pytest.raises(InvalidInputError, match="holds mine, which no export has put there"):
        export(estate, point, target, overwrite=overwrite)
    (target / "mine").unlink()
    assert export(estate, point, target) == "missing"  # an empty one is taken
    (target / "mine").write_text("mine")
    with pytest.raises(InvalidInputError, match="holds mine, which no export has put there"):
        export(estate, point, target, overwrite=overwrite, compression="zlib")
    assert (target / "mine").read_text() == "mine"


def test_other_exports_with_like_names_stay(estate: Estate, point: Point, target: Path) -> None:
    beside = [target.with_name("web.exporting"), target.with_name("web.replaced")]
    for other in beside:
        export(estate, point, other)
    for other in beside:
        with pytest.raises(TargetError, match=f"{other} is in the way. It is not left from an export: move it"):
            export(estate, point, target)
        assert sorted(os.listdir(other)) == FILES
        other.rename(target.with_name(f"kept-{other.name}"))
    assert export(estate, point, target) == "missing"


def test_left_overs_of_a_killed_export_are_used_again(estate: Estate, point: Point, target: Path) -> None:
    left = target.with_name("web.exporting")
    left.mkdir()
    (left / "export.json").write_text(
        json.dumps({"format": directory._BEGUN, "path": str(target), "identity": {}, "files": []})
    )
    (left / "0-system.qcow2").write_text("half")
    assert export(estate, point, target) == "missing"
    assert os.listdir(target.parent) == ["web"]


def full(self: Qcow2Target, offset: int, data: bytes) -> None:
    raise TargetError("Cannot write: no space is left there", errno=errno.ENOSPC)


def test_nothing_is_left_of_a_failure(
    estate: Estate, point: Point, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Qcow2Target, "write", full)
        with pytest.raises(TargetError):
            export(estate, point, target)
    with monkeypatch.context() as patch:
        patch.setattr(Qcow2Target, "read", lambda _self, _offset, length: bytes(length))
        with pytest.raises(TargetError, match="does not hold at offset 0 what was written there"):
            export(estate, point, target)
    path = Path(estate.client.directory) / point.id / point.disks[1].file
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptVaultError):
        export(estate, point, target)
    assert os.listdir(target.parent) == []


def test_too_little_space(estate: Estate, point: Point, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        f_bavail, f_frsize = 1, 4096

    monkeypatch.setattr(directory.os, "statvfs", lambda _path: Full)
    with pytest.raises(TargetError, match=r"Cannot export to .*: \d+ bytes are needed, 4096 are free in"):
        export(estate, point, target)


def test_what_a_killed_export_left_is_no_lack_of_space(
    estate: Estate, point: Point, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        f_bavail, f_frsize = 0, 4096

    left = target.with_name("web.exporting")
    left.mkdir()
    (left / "export.json").write_text(
        json.dumps({"format": directory._BEGUN, "path": str(target), "identity": {}, "files": []})
    )
    (left / "0-system.qcow2").write_bytes(b"!" * 16 * MIB)
    monkeypatch.setattr(directory.os, "statvfs", lambda _path: Full)
    assert export(estate, point, target) == "missing"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compression": "lzo"}, "compression must be one of none, zlib, zstd, not 'lzo'"),
        ({"image_directory": "images"}, "image_directory must be an absolute path, not 'images'"),
        ({"slots": [7]}, "has no disk in slot 7; it has 0, 1"),
        ({"wishes": Wishes(mac="other")}, "mac must be one of keep, new, not 'other'"),
    ],
)
def test_wrong_values(estate: Estate, point: Point, target: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        export(estate, point, target, **options)


def test_no_directory_above(estate: Estate, point: Point, target: Path) -> None:
    for wrong, message in ((target / "x" / "y", "there is no directory"), (target.parent / "file", "not a directory")):
        (target.parent / "file").write_text("")
        with pytest.raises(InvalidInputError, match=message):
            export(estate, point, wrong)
