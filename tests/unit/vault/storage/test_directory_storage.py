# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What only a directory does: a content is followed by exactly one other, whoever dies in between."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from unit.vault.builders import NFS, stored_tree, unlink_on_nfs

from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.directory import DirectoryStorage

OLD, NEW, OTHER = b"old", b"new", b"other"


class PowerCut(BaseException):
    """The process is gone."""


@pytest.fixture
def storage() -> DirectoryStorage:
    return DirectoryStorage()


@pytest.fixture
def path(tmp_path: Path, storage: DirectoryStorage) -> str:
    found = str(tmp_path / "lock.json")
    storage.create(found, OLD)
    return found


def test_one_of_many_wins(tmp_path: Path, storage: DirectoryStorage, path: str) -> None:
    content = OLD
    for step in range(20):
        wanted = [f"{step}-{number}".encode() for number in range(8)]
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda data, before=content: storage.swap(path, before, data), wanted))
        content = storage.read(path)
        assert [data for data, mine in zip(wanted, won, strict=True) if mine] == [content]
    assert os.listdir(tmp_path) == ["lock.json"]


def test_one_of_many_removes(tmp_path: Path, storage: DirectoryStorage, path: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda _number: storage.discard(path, OLD), range(8)))
    assert sum(won) == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["replace", "unlink"])
def test_a_process_that_dies_keeps_nobody_away(
    storage: DirectoryStorage, path: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def die(*_arguments: object) -> None:
        raise PowerCut

    with monkeypatch.context() as patch, pytest.raises(PowerCut):
        patch.setattr(os, name, die)
        if name == "replace":
            storage.swap(path, OLD, NEW)
        else:
            storage.discard(path, OLD)
    assert storage.read(path) == OLD
    assert storage.swap(path, OLD, NEW)


PROGRAM = """
import sys
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.directory import DirectoryStorage
storage, path, own = DirectoryStorage(), sys.argv[1], sys.argv[2]
won = 0
while won < 50:
    found = storage.read(path)
    counter = int(found.split()[0])
    won += storage.swap(path, found, b"%d %s" % (counter + 1, own.encode()))
"""


def test_processes_lose_no_step(tmp_path: Path, storage: DirectoryStorage) -> None:
    path = str(tmp_path / "counter")
    storage.create(path, b"0 nobody")
    running = [subprocess.Popen([sys.executable, "-c", PROGRAM, path, str(number)]) for number in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert storage.read(path).split()[0] == b"150"


def test_another_content_is_left_alone(tmp_path: Path, storage: DirectoryStorage, path: str) -> None:
    assert not storage.swap(path, OTHER, NEW)
    assert not storage.discard(path, OTHER)
    assert not storage.swap(str(tmp_path / "missing"), OLD, NEW)
    assert storage.read(path) == OLD
    assert os.listdir(tmp_path) == ["lock.json"]


def test_a_file_system_without_links(
    tmp_path: Path, storage: DirectoryStorage, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_source: str, _target: str) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(FileExistsError):
        storage.create(path, NEW)
    assert storage.swap(path, OLD, NEW)
    assert storage.discard(path, NEW)
    storage.create(path, OLD)
    assert storage.read(path) == OLD
    assert os.listdir(tmp_path) == ["lock.json"]


def test_a_file_system_without_locks(storage: DirectoryStorage, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_descriptor: int, _what: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert not storage.swap(path, OTHER, NEW)
    assert storage.swap(path, OLD, NEW)


def test_a_file_that_is_not_made_for_certain_is_not_there(
    tmp_path: Path, storage: DirectoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_path: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(storage, "sync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        storage.create(str(tmp_path / "x"), NEW)
    assert os.listdir(tmp_path) == []


def test_a_file_that_is_read_keeps_no_folder_on_nfs(
    tmp_path: Path, storage: DirectoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "20261123T010203Z-0001"
    (folder / "first").mkdir(parents=True)
    for name in ("0-system.img.zst", "vm.json", "first/0-system.img.zst"):
        (folder / name).write_bytes(OLD)
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", unlink_on_nfs)
        assert not storage.awaits_readers(str(folder))
        for _number in range(2):  # the next run finds what is left
            assert not storage.remove_folder(str(folder))
            assert stored_tree(folder) == [NFS, "first", f"first/{NFS}"]
            assert storage.awaits_readers(str(folder))
    assert storage.remove_folder(str(folder))
    assert os.listdir(tmp_path) == []


def test_what_cannot_be_removed_keeps_nothing_else(
    tmp_path: Path, storage: DirectoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "20261123T010203Z-0001"
    (folder / "first").mkdir(parents=True)
    for name in ("0-system.img.zst", "first/kept", "vm.json"):
        (folder / name).write_bytes(OLD)
    (folder / "elsewhere").symlink_to(tmp_path)
    monkeypatch.setattr(os, "unlink", unlink_on_nfs)
    with pytest.raises(PermissionError) as failure:
        storage.remove_folder(str(folder))
    assert failure.value.filename == str(folder / "first" / "kept")
    assert stored_tree(folder) == [NFS, "first", "first/kept"]


def test_link_to_a_folder_is_not_followed(tmp_path: Path, storage: DirectoryStorage, path: str) -> None:
    link = tmp_path.parent / f"{tmp_path.name} link"
    link.symlink_to(tmp_path)
    storage.write(path, OLD)
    with pytest.raises(NotADirectoryError):
        storage.remove_folder(str(link))
    assert storage.read(path) == OLD
