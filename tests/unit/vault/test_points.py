# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The vault, its clients and their recovery points."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unit.vault.builders import add_disk, add_point, describe, make_client, noise, stored_tree, write_image

from ansible_collections.ovm.backup.plugins.module_utils.errors import (
    CorruptVaultError,
    NotAVaultError,
    PointNotFoundError,
    VaultError,
    VaultWriteError,
)
from ansible_collections.ovm.backup.plugins.module_utils.transfer.disk_restore import restore_disk
from ansible_collections.ovm.backup.plugins.module_utils.vault import distrust
from ansible_collections.ovm.backup.plugins.module_utils.vault import points as points_module
from ansible_collections.ovm.backup.plugins.module_utils.vault.format import Geometry
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point, is_published
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client, Vault
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.directory import DirectoryStorage


def restored(client: Client, point: Point, target: Path) -> bytes:
    disk = point.disks[0]
    with client.open_disk(point, disk) as chain:
        restore_disk(chain, str(target), content_hash=disk.content_hash, overwrite=True)
    return target.read_bytes()


def test_a_vault_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "vault"
    made = Vault.create(str(path), clock=lambda: 12.5)
    assert stored_tree(path) == ["clients", "jobs", "restore.py", "vault.json"]
    settings = json.loads((path / "vault.json").read_text())
    assert settings == {"format": "ovm.backup vault", "version": 1, "id": made.id, "created": 12.5}
    assert Vault.open(str(path)).id == made.id
    with pytest.raises(NotAVaultError) as caught:
        Vault.create(str(path))
    assert caught.value.message == f"Cannot make a vault at {path}: the directory holds other things (vault.json)"


def test_a_vault_at_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Vault.create("vault")
    assert Vault.open("vault").clients() == []
    monkeypatch.chdir(tmp_path / "vault" / "jobs")
    assert Vault.open("..").clients() == []


def test_an_interrupted_creation_is_picked_up(tmp_path: Path) -> None:
    for name in ("clients", "jobs", "lost+found"):
        (tmp_path / name).mkdir()
    (tmp_path / ".vault.json.new").write_text("{")
    Vault.create(str(tmp_path))
    assert Vault.open(str(tmp_path)).clients() == []


@pytest.mark.parametrize("name", ["clients/web01/client.json", "jobs/x.json", "a", ".hidden"])
def test_no_vault_is_made_among_other_things(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(NotAVaultError) as caught:
        Vault.create(str(tmp_path))
    assert caught.value.message.endswith(f"the directory holds other things ({name.split('/')[0]})")
    with pytest.raises(NotAVaultError, match="Is the file system mounted"):
        Vault.open(str(tmp_path))


def test_no_vault_is_made_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for use in (Vault.create, Vault.open):
        with pytest.raises(NotAVaultError):
            use(str(tmp_path / "file"))
    with pytest.raises(NotAVaultError, match="Not a directory"):
        Vault.create(str(tmp_path / "file" / "below"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"format": "other", "version": 1, "id": "x"}, "does not say so"),
        ({"format": "ovm.backup vault", "version": 1}, "does not say so"),
        ({"version": 1}, "does not say so"),
        ([], "does not say so"),
        ({"format": "ovm.backup vault", "version": 2, "id": "x"}, "has vault version 2, this version of the"),
        ({"format": "ovm.backup vault", "id": "x"}, "has vault version None"),
    ],
)
def test_what_is_not_a_vault_is_not_opened(tmp_path: Path, settings: Any, message: str) -> None:
    (tmp_path / "vault.json").write_text(json.dumps(settings))
    with pytest.raises(NotAVaultError, match=message):
        Vault.open(str(tmp_path))


def test_a_damaged_vault_json_says_where(tmp_path: Path) -> None:
    (tmp_path / "vault.json").write_text('{"format": oops}')
    with pytest.raises(CorruptVaultError) as caught:
        Vault.open(str(tmp_path))
    assert caught.value.details == {"path": str(tmp_path / "vault.json"), "offset": 11}


def test_clients_are_listed_by_name(tmp_path: Path) -> None:
    for name in ("web02", "web01", "a b"):
        make_client(tmp_path, name)
    vault = Vault.open(str(tmp_path))
    vault.prepare_client("unregistered")
    (tmp_path / "clients" / "stray").write_text("")
    assert [client.name for client in vault.clients()] == ["a b", "web01", "web02"]
    assert vault.client("web01").document["vm_id"] == "0004fb0000060000aa"
    for name in ("unregistered", "missing"):
        with pytest.raises(PointNotFoundError, match=f"has no client '{name}'"):
            vault.client(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "../x", "a\0b"])
def test_names_that_lead_elsewhere_are_no_clients(tmp_path: Path, name: str) -> None:
    vault = Vault.create(str(tmp_path))
    for use in (vault.client, vault.prepare_client):
        with pytest.raises(PointNotFoundError, match="is not the name of a client"):
            use(name)
    assert stored_tree(tmp_path) == ["clients", "jobs", "restore.py", "vault.json"]


def test_a_renamed_vm_keeps_its_client_and_its_history(tmp_path: Path) -> None:
    client = make_client(tmp_path)
    vault = Vault.open(str(tmp_path))
    vm_id = client.document["vm_id"]
    vault.register(client, vm_id=vm_id, vm_name="web01", now=2.0)
    vault.register(client, vm_id=vm_id, vm_name="n\u00e9w \ud800", now=3.0)
    assert client.document == {
        "vm_id": vm_id,
        "vm_name": "n\u00e9w \ud800",
        "registered": 1.0,
        "names": [{"name": "web01", "since": 1.0}, {"name": "n\u00e9w \ud800", "since": 3.0}],
    }
    with pytest.raises(VaultError, match="belongs to VM 0004fb0000060000aa .* not to other"):
        vault.register(client, vm_id="other", vm_name="web01", now=4.0)


def test_a_point_holds_what_was_published(tmp_path: Path) -> None:
    client = make_client(tmp_path / "vault")
    data = noise(5000)
    point = add_point(client, write_image(tmp_path / "raw", data), now=1.5)
    assert point.id == "19700101T000001Z-0001"
    assert stored_tree(client.directory) == [
        point.id,
        f"{point.id}/0-system.img.zst",
        f"{point.id}/point.json",
        f"{point.id}/vm.cfg",
        "client.json",
    ]
    assert client.scan() == ([point], [])
    assert client.point() == client.point(point.id) == point
    assert client.read_file(point, "vm_cfg") == b"vcpus = 2\n"
    assert client.problem_of(point) is None
    assert point.stored == os.path.getsize(os.path.join(client.directory, point.id, "0-system.img.zst"))
    assert restored(client, point, tmp_path / "target") == data
    with pytest.raises(PointNotFoundError, match="holds no vm_json"):
        client.read_file(point, "vm_json")


def test_each_point_of_a_chain_is_restored(tmp_path: Path) -> None:
    client = make_client(tmp_path / "vault")
    states, points = [], []
    for number in range(4):
        states.append(noise(6000, number // 2) + bytes([number]) * 100)
        image = write_image(tmp_path / "raw", states[-1])
        points.append(add_point(client, image, base=points[-1] if number % 3 else None, now=1000.0 + number))
    assert [point.disks[0].base for point in points] == [None, points[0].id, points[1].id, None]
    for point, state in zip(points, states, strict=True):
        assert restored(client, point, tmp_path / "target") == state


def test_points_are_in_order_whatever_the_clock_says(tmp_path: Path) -> None:
    client = make_client(tmp_path / "vault")
    image = write_image(tmp_path / "raw", noise(100))
    ids = [add_point(client, image, now=now).id for now in (3_000.0, 2_000.0, 1_000.0, 2_500.0)]
    assert [point.id for point in client.scan()[0]] == ids
    assert [point.sequence for point in client.scan()[0]] == [1, 2, 3, 4]
    assert client.point().id == ids[-1]
    with pytest.raises(PointNotFoundError) as caught:
        client.point("20200101T000000Z-0009")
    assert caught.value.message.endswith(f"has no recovery point '20200101T000000Z-0009'; the newest is {ids[-1]}")


def test_a_long_history_keeps_its_order(tmp_path: Path) -> None:
    client = make_client(tmp_path / "vault")
    image = write_image(tmp_path / "raw", noise(100))
    os.mkdir(os.path.join(client.directory, "20200101T000000Z-9999"))
    point = add_point(client, image)
    assert (point.sequence, point.id[-6:]) == (10000, "-10000")
    assert client.point() == point
    assert add_point(client, image).sequence == 10001


@pytest.mark.parametrize(
    "name", ["", "x", "../other", "20200101T000000Z-0001\n", "\u0662020010\u0661T000000Z-0001", "latest "]
)
def test_strange_ids_are_unknown_points(tmp_path: Path, name: str) -> None:
    client = make_client(tmp_path / "vault")
    with pytest.raises(PointNotFoundError, match="it has none"):
        client.point(name)


def test_unpublished_points_are_invisible_and_removed(tmp_path: Path) -> None:
    client = make_client(tmp_path / "vault")
    image = write_image(tmp_path / "raw", noise(3000))
    first = add_point(client, image)
    writer = client.new_point(now=1500.0)
    add_disk(client, writer, image)
    Path(writer.directory, ".point.json.new").write_text("{}")
    empty = client.new_point(now=1600.0)
    assert (writer.sequence, empty.sequence) == (2, 3)
    assert client.scan() == ([first], [])
    assert client.point() == first
    with pytest.raises(PointNotFoundError, match=f"the newest is {first.id}"):
        client.point(writer.id)
    stray = Path(client.directory, "20200101T000000Z-0007")
    stray.write_text("not a folder")
    assert client.remove_unpublished() == sorted([writer.id, empty.id])
    assert sorted(os.listdir(client.directory)) == [first.id, stray.name, "client.json"]
    assert client.scan() == ([first], [])
    assert client.remove_unpublished() == []


@pytest.mark.parametrize("number", [5, 13, 116])
def test_an_io_error_never_removes_a_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    client = make_client(tmp_path / "vault")
    point = add_point(client, write_image(tmp_path / "raw", noise(3000)))

    def fail(*_arguments: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        for name in ("lstat", "stat"):
            patch.setattr(os, name, fail)
        with pytest.raises(VaultWriteError):
            client.remove_unpublished()
    assert client.scan() == ([point], [])


def test_a_point_that_nfs_remembers_as_absent_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another host has published it since this one looked: an absence is remembered until its folder is opened."""
    client = make_client(tmp_path / "vault")
    point = add_point(client, write_image(tmp_path / "raw", noise(3000)))
    folder = os.path.join(client.directory, point.id)
    absent = {os.path.join(folder, "point.json")}

    def remembered(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *arguments: Any, **options: Any) -> Any:
            if str(path) in absent:
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
            return function(path, *arguments, **options)

        return call

    def listdir(path: str) -> list[str]:
        if path == folder:
            absent.clear()
        return listed(path)

    def again() -> None:
        absent.add(os.path.join(folder, "point.json"))

    listed = os.listdir
    monkeypatch.setattr(os, "listdir", listdir)
    for name, function in (("os.lstat", os.lstat), ("os.open", os.open), ("builtins.open", open)):
        monkeypatch.setattr(name, remembered(function))
    assert client.unpublished() == []
    again()
    assert client.scan() == ([point], [])
    again()
    assert is_published(folder)
    again()
    assert client.remove_unpublished() == []
    assert client.point() == point


def test_discard_leaves_nothing(tmp_path: Path) -> None:
    client = make_client(tmp_path / "vault")
    writer = client.new_point(now=1000.0)
    disk = add_disk(client, writer, write_image(tmp_path / "raw", noise(3000)))
    writer.publish(describe(writer, client, (disk,)))
    writer.discard()
    assert os.listdir(client.directory) == ["client.json"]
    writer.discard()


def test_an_interrupted_removal_leaves_no_broken_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make_client(tmp_path / "vault")
    writer = client.new_point(now=1000.0)
    disk = add_disk(client, writer, write_image(tmp_path / "raw", noise(3000)))
    writer.publish(describe(writer, client, (disk,)))

    def fail(_storage: DirectoryStorage, _path: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(DirectoryStorage, "remove_folder", fail)
        writer.discard()
    assert client.scan() == ([], [])
    assert client.remove_unpublished() == [writer.id]


def test_a_damaged_newest_point_is_reported_and_refused(tmp_path: Path) -> None:
    client = make_client(tmp_path / "vault")
    image = write_image(tmp_path / "raw", noise(3000))
    first, second, third = (add_point(client, image) for _number in range(3))
    path = Path(client.directory, third.id, "point.json")
    path.write_text(path.read_text().replace('"sequence": 3', '"sequence": 4'))
    points, (bad,) = client.scan()
    assert points == [first, second]
    assert (bad.id, bad.sequence) == (third.id, 3)
    assert bad.error == f"{path} is damaged: its content does not have the hash that it gives"
    with pytest.raises(CorruptVaultError) as caught:
        client.point()
    assert caught.value.message == (
        f"The newest recovery point of client web01 is damaged: {bad.error}. Name an older point"
    )
    assert caught.value.details == {"path": str(path), "offset": 0}
    assert client.point(second.id) == second
    with pytest.raises(CorruptVaultError):
        client.point(third.id)
    fourth = add_point(client, image)
    assert fourth.sequence == 4
    assert client.point() == fourth


def test_a_point_whose_base_is_missing_or_damaged(tmp_path: Path) -> None:
    client = make_client(tmp_path / "vault")
    image = write_image(tmp_path / "raw", noise(3000))
    full = add_point(client, image)
    incremental = add_point(client, image, base=full)
    file = Path(client.directory, full.id, "0-system.img.zst")
    data = file.read_bytes()
    file.write_bytes(data[:-1])
    assert client.problem_of(incremental) == f"{file} has {len(data) - 1} bytes instead of {len(data)}"
    with pytest.raises(CorruptVaultError):
        client.open_disk(incremental, incremental.disks[0])
    file.unlink()
    assert client.problem_of(incremental) == f"{file}: No such file or directory"
    with pytest.raises(PointNotFoundError, match="is missing from the vault"):
        client.open_disk(incremental, incremental.disks[0])
    Path(client.directory, full.id, "point.json").unlink()
    wanted = f"Client web01 has no recovery point '{full.id}'; the newest is {incremental.id}"
    assert client.problem_of(incremental) == wanted
    with pytest.raises(PointNotFoundError) as caught:
        client.disk_files(incremental, incremental.disks[0])
    assert caught.value.message == wanted


def test_a_base_that_does_not_come_before_or_has_another_disk(tmp_path: Path) -> None:
    client = make_client(tmp_path / "vault")
    image = write_image(tmp_path / "raw", noise(3000))
    full = add_point(client, image)
    writer = client.new_point(now=1000.0)
    disk = add_disk(client, writer, image, full)
    for changed in (
        describe(writer, client, (disk.__class__(**{**disk.__dict__, "base": writer.id}),)),
        describe(writer, client, (disk.__class__(**{**disk.__dict__, "disk_id": "another"}),)),
    ):
        writer.publish(changed)
        with pytest.raises(CorruptVaultError, match=r"is damaged: it is the base of .* but does not hold disk"):
            client.disk_files(changed, changed.disks[0])
        assert "but does not hold disk" in str(client.problem_of(changed))


def test_a_client_that_cannot_be_read_is_not_taken_for_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(tmp_path)
    path = Path(client.directory, "client.json")
    before = path.read_bytes()

    def fail(*_arguments: object, **_options: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        for name in ("lstat", "stat"):
            patch.setattr(os, name, fail)
        with pytest.raises(VaultWriteError, match="Cannot look at .*client.json: Input/output error"):
            Vault.open(str(tmp_path)).register(client, vm_id="another", vm_name="another", now=2.0)
    assert path.read_bytes() == before
    for content, message in ((b"{}", "does not name a VM"), (b"[1]", "does not name a VM"), (b"{", "it is not JSON")):
        path.write_bytes(content)
        with pytest.raises(CorruptVaultError, match=message):
            Vault.open(str(tmp_path)).register(client, vm_id="another", vm_name="another", now=2.0)
    path.unlink()
    with pytest.raises(CorruptVaultError, match="Cannot read .*client.json: No such file"):
        assert client.document


def test_a_vault_that_lost_its_folders(tmp_path: Path) -> None:
    client = make_client(tmp_path)
    vault = Vault.open(str(tmp_path))
    vault.prepare_client("empty")
    assert [one.name for one in vault.client_folders()] == ["empty", "web01"]
    shutil.rmtree(client.directory)
    with pytest.raises(PointNotFoundError, match=f"Cannot list {client.directory}: No such file"):
        client.scan()
    shutil.rmtree(tmp_path / "clients")
    for use in (vault.clients, vault.client_folders):
        with pytest.raises(NotAVaultError, match="Cannot list .*clients: No such file"):
            use()


def test_a_vault_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Vault.create(str(tmp_path))

    def fail(*_arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", fail)
    with pytest.raises(NotAVaultError, match="Cannot read .*vault.json: Permission denied"):
        Vault.open(str(tmp_path))


@pytest.mark.parametrize("reading", ["listing", "read_json"])
def test_a_client_that_cannot_be_read_now_is_neither_empty_nor_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reading: str
) -> None:
    client = make_client(tmp_path)

    def fail(_path: str) -> None:
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    monkeypatch.setattr(points_module if reading == "listing" else distrust, reading, fail)
    with pytest.raises(VaultError, match="^Cannot (list|read) .*: Connection timed out$") as caught:
        client.scan() if reading == "listing" else distrust.read_distrust(client.directory)
    assert not isinstance(caught.value, (CorruptVaultError, PointNotFoundError))


def test_a_damaged_configuration_file(tmp_path: Path) -> None:
    client = make_client(tmp_path / "vault")
    point = add_point(client, write_image(tmp_path / "raw", noise(100)))
    path = Path(client.directory, point.id, "vm.cfg")
    path.write_bytes(b"vcpus = 3\n")
    with pytest.raises(CorruptVaultError, match="its content has another hash"):
        client.read_file(point, "vm_cfg")
    path.unlink()
    with pytest.raises(CorruptVaultError, match="No such file"):
        client.read_file(point, "vm_cfg")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("system", "3-system.img.zst"),
        ("../../etc/passwd", "3-_.._etc_passwd.img.zst"),
        ("a b$c'd\"e\n", "3-a_b_c_d_e_.img.zst"),
        ("[boot]-1.img", "3-[boot]-1.img.img.zst"),
        ("\u00e4" * 100, "3-" + "\u00e4" * 50 + ".img.zst"),
        ("...", "3-disk.img.zst"),
        ("", "3-disk.img.zst"),
        ("\ud800", "3-_.img.zst"),
    ],
)
def test_names_of_disk_files(tmp_path: Path, name: str, file: str) -> None:
    client = make_client(tmp_path / "vault")
    point = client.new_point(now=1000.0)
    found, writer = point.disk_writer(3, name, Geometry(10), "full")
    assert found == file
    assert os.listdir(point.directory) == [file]
    writer.abort()
    assert os.listdir(point.directory) == []


def test_a_vault_that_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make_client(tmp_path / "vault")

    def fail(*_arguments: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "mkdir", fail)
    with pytest.raises(VaultWriteError) as caught:
        client.new_point(now=1000.0)
    assert caught.value.message.endswith("Z-0001: the vault is mounted read-only")
    assert caught.value.details["errno"] == 30
