# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Manifests: what was written or an error, also when they were damaged, moved or made up."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from unit.vault.builders import add_point, make_client, noise, write_image

from ansible_collections.ovm.backup.plugins.module_utils.errors import CorruptVaultError, PointNotFoundError
from ansible_collections.ovm.backup.plugins.module_utils.vault import format as fmt
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point, read_manifest, write_manifest
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client


@pytest.fixture
def point(tmp_path: Path, client: Client) -> Point:
    return add_point(client, write_image(tmp_path / "raw", noise(3000)), vm_name="web \u00e4 \"\x1f' \ud800 \U0001f600")


@pytest.fixture
def path(client: Client, point: Point) -> Path:
    return Path(client.directory, point.id, "point.json")


def rewrite(path: Path, **changes: Any) -> None:
    """Write a manifest as a forger would: with the right hash. An ellipsis takes a key out."""
    document = json.loads(path.read_text())
    document.update(changes)
    document = {key: value for key, value in document.items() if value is not ... and key != "blake3"}
    document["blake3"] = fmt.digest(fmt.canonical(document))
    path.write_bytes(json.dumps(document).encode())


def test_a_manifest_can_be_read_by_people(path: Path, point: Point) -> None:
    text = path.read_text(encoding="utf-8")
    assert "web \u00e4" in text
    assert "\\ud800 \U0001f600" in text
    document = json.loads(text)
    claimed = document.pop("blake3")
    assert claimed == fmt.digest(fmt.canonical(document))
    assert document == {"format": "ovm.backup recovery point", "version": 1, **point.as_dict()}


def test_no_flipped_byte_gives_another_point(client: Client, point: Point, path: Path) -> None:
    original = path.read_bytes()
    good = 0
    with path.open("r+b", buffering=0) as file:
        places = [(position, value, flip) for position, value in enumerate(original) for flip in (0xFF, 0x01, 0x20)]
        for position, value, flip in places:
            os.pwrite(file.fileno(), bytes([value ^ flip]), position)
            try:
                assert client.point(point.id) == point
                good += 1
            except CorruptVaultError as error:
                assert error.details["path"] == str(path)
                assert str(path) in error.message
                assert 0 <= error.details["offset"] <= len(original)
            os.pwrite(file.fileno(), bytes([value]), position)
    # White space may turn into other white space.
    assert good < len(places) / 10


@pytest.mark.parametrize("length", [0, 1, 100, -2, -40])
def test_a_truncated_manifest(client: Client, path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])
    points, damaged = client.scan()
    assert points == []
    assert [bad.sequence for bad in damaged] == [1]


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"7", b"null", b'"x"', b"{}", b"[" * 100_000, b"\xff"], ids=lambda text: text[:4]
)
def test_files_that_are_no_manifests(client: Client, path: Path, point: Point, text: bytes) -> None:
    path.write_bytes(text)
    with pytest.raises(CorruptVaultError) as caught:
        client.point(point.id)
    assert caught.value.details["path"] == str(path)


def test_the_manifest_of_another_point_is_noticed(tmp_path: Path, client: Client, point: Point, path: Path) -> None:
    other = add_point(client, write_image(tmp_path / "other", noise(2000)))
    shutil.copy(path, Path(client.directory, other.id, "point.json"))
    points, (bad,) = client.scan()
    assert points == [point]
    assert bad.id == other.id
    assert bad.error.endswith(f"point.json is damaged: it belongs to recovery point {point.id}")
    with pytest.raises(CorruptVaultError, match="The newest recovery point of client web01 is damaged"):
        client.point()


def test_the_manifest_of_another_client_does_not_give_its_disk(tmp_path: Path, client: Client, path: Path) -> None:
    strange = make_client(tmp_path / "vault", "web02", "other")
    there = add_point(strange, write_image(tmp_path / "other", noise(2000)))
    shutil.copy(Path(strange.directory, there.id, "point.json"), path)
    found = client.point()
    with pytest.raises(CorruptVaultError, match="the header does not have the hash that the manifest gives"):
        client.open_disk(found, found.disks[0])


FORGERIES: list[dict[str, Any]] = [
    {"disks": ...},
    {"disks": None},
    {"disks": [None]},
    {"disks": ["text"]},
    {"disks": [{}]},
    {"disks": 7},
    {"id": ...},
    {"id": 7},
    {"id": "20200101T000000Z-0001"},
    {"sequence": 2},
    {"sequence": "0001"},
    {"sequence": None},
    {"skipped_disks": 7},
    {"warnings": None},
    {"configuration": None},
    {"configuration": {"vm_cfg": {}}},
    {"configuration": {"vm_cfg": {"file": "../../../vault.json"}}},
    {"configuration": {"vm_cfg": {"file": "/etc/passwd"}}},
    {"configuration": {"vm_cfg": {"file": ".."}}},
    {"configuration": {"vm_cfg": {"file": 7}}},
    {"vm_id": ...},
    {"version": 2},
    {"version": ...},
]


@pytest.mark.parametrize("changes", FORGERIES, ids=repr)
def test_made_up_manifests(client: Client, path: Path, changes: dict[str, Any]) -> None:
    rewrite(path, **changes)
    points, damaged = client.scan()
    assert (points, len(damaged)) == ([], 1)
    assert str(path) in damaged[0].error


@pytest.mark.parametrize("file", ["../x.img.zst", "/etc/passwd", "", "..", "a\0b", None, 7])
def test_disk_files_outside_the_point(client: Client, path: Path, file: Any) -> None:
    disk = json.loads(path.read_text())["disks"][0]
    rewrite(path, disks=[{**disk, "file": file}])
    with pytest.raises(CorruptVaultError):
        client.point()


def test_what_a_later_version_adds_is_passed_over(client: Client, point: Point, path: Path) -> None:
    disk = json.loads(path.read_text())["disks"][0]
    rewrite(path, disks=[{**disk, "new": 1}], also_new={"a": 2}, warnings=...)
    assert client.point() == Point(**{**point.__dict__, "warnings": ()})


def test_what_an_earlier_version_did_not_know_is_nothing(client: Client, point: Point, path: Path) -> None:
    rewrite(path, consolidates=...)
    assert (client.point(), point.consolidates) == (point, None)


def test_a_manifest_that_cannot_be_read(client: Client, path: Path) -> None:
    path.unlink()
    path.mkdir()
    points, (bad,) = client.scan()
    assert points == []
    assert bad.error == f"Cannot read {path}: Is a directory"
    assert client.remove_unpublished() == []


def test_there_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("missing", "file", "."):
        with pytest.raises(PointNotFoundError):
            read_manifest(str(tmp_path / name))


def test_a_manifest_is_replaced_in_one_step(
    client: Client, point: Point, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def fail(_descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(KeyboardInterrupt):
        write_manifest(str(path.parent), Point(**{**point.__dict__, "warnings": ("new",)}))
    assert path.read_bytes() == before
    assert sorted(item.name for item in path.parent.iterdir()) == ["0-system.img.zst", "point.json", "vm.cfg"]
