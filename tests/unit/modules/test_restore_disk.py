# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module restore_disk. How images are written is tested with the targets, in tests/unit/images."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from unit.transfer.builders import Estate, disk, ticking, vm_plan
from unit.vault.builders import KIB, MIB, content_hash, noise, write_sparse

from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm

DATA = noise(64 * KIB, seed=1) + bytes(MIB)


@pytest.fixture
def args(estate: Estate, tmp_path: Path) -> dict[str, Any]:
    estate.write(2, DATA)
    backup_vm(estate.vault, estate.request(vm_plan(disk(0), disk(2, "data"))), clock=ticking())
    target = {"path": str(tmp_path / "disk.img")}
    return {"vault": estate.vault.path, "client": "web_01", "slot": 2, "target": target}


def expected(path: Path, **changes: Any) -> dict[str, Any]:
    known = {"size": len(DATA), "content_hash": content_hash(DATA, 64 * KIB)}
    values = {
        "changed": True,
        "disk": {"slot": 2, "name": "data", "path": str(path), **known},
        "bytes_needed": 64 * KIB,
        "bytes_written": 64 * KIB,
        "bytes_kept": 0,
        "verified": False,
    }
    return {**values, **changes}


def test_a_new_image_is_written_once(succeed: Any, fail: Any, args: dict[str, Any], tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    assert succeed("restore_disk", args, check_mode=True) == expected(image, bytes_written=0)
    assert not image.exists()
    assert succeed("restore_disk", {**args, "verify": True}) == expected(image, verified=True)
    assert image.read_bytes() == DATA
    for options in ({}, {"check_mode": True}):
        assert f"{image} exists" in fail("restore_disk", args, **options)["msg"]


@pytest.mark.parametrize("existing", [False, True])
def test_a_file_system_that_is_too_small_is_refused(
    fail: Any, args: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existing: bool
) -> None:
    small = SimpleNamespace(f_bavail=1, f_frsize=4096)
    monkeypatch.setattr(os, "fstatvfs", lambda _descriptor: small)
    image = tmp_path / "disk.img"
    if existing:
        write_sparse(image, len(DATA), {MIB: noise(4096)})
    free = 8192 if existing else 4096
    assert fail("restore_disk", {**args, "existing": existing})["msg"] == (
        f"Cannot restore to {image}: {64 * KIB} bytes of data are needed, {free} are free in its file system, "
        "with what the image has already"
    )
    assert image.exists() == existing


def test_an_existing_image_is_written_only_where_it_differs(succeed: Any, args: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "0004fb00aa" / "VirtualDisks"
    folder.mkdir(parents=True)
    image = write_sparse(folder / "a.img", len(DATA), {MIB: b"old"})
    target = {"repository_id": "0004fb00aa", "path": "/VirtualDisks/a.img"}
    options = {**args, "target": target, "existing": True, "repositories_path": str(tmp_path)}
    assert succeed("restore_disk", options) == expected(image)
    assert image.read_bytes() == DATA
    kept = expected(image, changed=False, bytes_written=0, bytes_kept=64 * KIB)
    assert succeed("restore_disk", options) == kept


def test_check_mode_looks_at_an_image_that_exists(
    fail: Any, foresee: Any, args: dict[str, Any], tmp_path: Path
) -> None:
    image = tmp_path / "disk.img"
    options = {**args, "existing": True}
    # The task before this one may make it.
    assert foresee("restore_disk", options) == expected(image, bytes_written=0)
    image.mkdir()
    assert "it is not a regular file" in fail("restore_disk", options, check_mode=True)["msg"]
    image.rmdir()
    image.write_bytes(bytes(512))
    assert f"it has 512 bytes, the disk {len(DATA)}" in fail("restore_disk", options, check_mode=True)["msg"]
    assert image.stat().st_size == 512


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"path": "disk.img"}, "target.path 'disk.img' is not absolute"),
        ({"kind": "ssh", "path": "/a"}, "target.repository_id is missing"),
        ({"path": "../a", "repository_id": "0004"}, "is not a path inside a storage repository"),
        ({"kind": "ssh", "path": "/a", "repository_id": "0004"}, "target.server or ssh is missing"),
    ],
)
def test_what_is_no_place_is_refused(fail: Any, args: dict[str, Any], target: dict[str, Any], message: str) -> None:
    assert message in fail("restore_disk", {**args, "target": target})["msg"]
