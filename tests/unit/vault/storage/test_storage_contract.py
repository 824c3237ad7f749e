# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every storage of a vault promises, whichever it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from unit.vault.storage.memory import FixedKeys

from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.directory import DirectoryStorage
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.encrypted import EncryptedStorage
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.s3 import S3Storage
from s3.fixtures import s3_server, s3_storage

__all__ = ["s3_server", "s3_storage"]

MIB = 1 << 20
# A storage and the path of a vault in it that holds nothing yet.
Place = tuple[Any, str]


def _s3(request: pytest.FixtureRequest) -> Place:
    storage: S3Storage = request.getfixturevalue("s3_storage")
    return storage, storage.root


def _directory(request: pytest.FixtureRequest) -> Place:
    return DirectoryStorage(), str(request.getfixturevalue("tmp_path") / "vault")


def _encrypted(inner: Callable[[pytest.FixtureRequest], Place]) -> Callable[[pytest.FixtureRequest], Place]:
    def place(request: pytest.FixtureRequest) -> Place:
        storage, root = inner(request)
        return EncryptedStorage(storage, root, FixedKeys(b"k" * 32)), root

    return place


KINDS: dict[str, Callable[[pytest.FixtureRequest], Place]] = {
    "directory": _directory,
    "encrypted": _encrypted(_directory),
    "s3": _s3,
    "encrypted s3": _encrypted(_s3),
}


@pytest.fixture(params=list(KINDS))
def storage_root(request: pytest.FixtureRequest) -> Place:
    """Return a storage and the root of an empty vault in it."""
    storage, root = KINDS[request.param](request)
    storage.make_folder(root)
    return storage, root


def _store(storage: Any, path: str, *parts: bytes) -> None:
    writer = storage.new(path, sum(map(len, parts)))
    for part in parts:
        writer.write(part)
    writer.finish()


# --- small files -----------------------------------------------------------------------------------------------------


def test_small_files_are_read_as_written(storage_root: Place) -> None:
    storage, root = storage_root
    path = f"{root}/vault.json"
    with pytest.raises(FileNotFoundError):
        storage.read(path)
    storage.write(path, b"one, which is longer than the next one by some bytes")
    storage.write(path, b"two, too")
    assert storage.read(path) == b"two, too"
    assert storage.read(path, 3) == b"two"
    assert storage.read(path, 100) == b"two, too"


def test_an_empty_file_is_a_file(storage_root: Place) -> None:
    storage, root = storage_root
    storage.write(f"{root}/empty", b"")
    assert (storage.read(f"{root}/empty"), storage.read(f"{root}/empty", 10)) == (b"", b"")
    assert [entry.size for entry in storage.entries(root)] == [0]
    reader = storage.open(f"{root}/empty")
    assert (reader.size, reader.pread(10, 0)) == (0, b"")
    reader.close()


def test_names_may_hold_what_clients_hold(storage_root: Place) -> None:
    storage, root = storage_root
    names = ["Bücher [1]", "a b+c", "100%25", ".hidden", "~x", "é.json"]
    for name in names:
        storage.make_folder(f"{root}/{name}")
        storage.write(f"{root}/{name}/{name}", name.encode())
    assert [entry.name for entry in storage.entries(root)] == sorted(names)
    assert [storage.read(f"{root}/{name}/{name}").decode() for name in names] == names


def test_only_one_creates_a_file(storage_root: Place) -> None:
    storage, root = storage_root
    path = f"{root}/lock.json"
    together = threading.Barrier(6)

    def create(number: int) -> bool:
        together.wait()
        try:
            storage.create(path, b"%d" % number)
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(create, range(6)))
    assert made.count(True) == 1
    assert storage.read(path) == b"%d" % made.index(True)


def test_only_one_swaps_a_content(storage_root: Place) -> None:
    storage, root = storage_root
    path = f"{root}/lock.json"
    storage.create(path, b"old")
    together = threading.Barrier(6)

    def swap(number: int) -> bool:
        together.wait()
        return bool(storage.swap(path, b"old", b"%d" % number))

    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(swap, range(6)))
    assert done.count(True) == 1
    assert storage.read(path) == b"%d" % done.index(True)


def test_a_swap_wants_exactly_what_is_there(storage_root: Place) -> None:
    storage, root = storage_root
    path = f"{root}/lock.json"
    assert storage.swap(path, b"old", b"new") is False
    storage.create(path, b"old")
    assert storage.swap(path, b"ol", b"new") is False
    assert storage.read(path) == b"old"
    assert storage.swap(path, b"old", b"new") is True
    assert storage.swap(path, b"old", b"newer") is False
    assert storage.read(path) == b"new"


def test_what_was_discarded_is_gone_and_can_be_made_anew(storage_root: Place) -> None:
    storage, root = storage_root
    path = f"{root}/locks/lock.json"
    storage.make_folder(f"{root}/locks")
    assert storage.discard(path, b"one") is False
    storage.create(path, b"one")
    assert storage.discard(path, b"two") is False
    assert storage.discard(path, b"one") is True
    with pytest.raises(FileNotFoundError):
        storage.read(path)
    with pytest.raises(FileNotFoundError):
        storage.entry(path)
    with pytest.raises(FileNotFoundError):
        storage.open(path)
    assert (storage.entries(f"{root}/locks"), storage.names(f"{root}/locks")) == ([], [])
    assert storage.discard(path, b"one") is False
    assert storage.swap(path, b"one", b"two") is False
    storage.create(path, b"three")
    assert storage.read(path) == b"three"
    with pytest.raises(FileExistsError):
        storage.create(path, b"four")
    assert storage.discard(path, b"three") is True
    storage.write(path, b"five")
    assert storage.read(path) == b"five"


# --- folders ---------------------------------------------------------------------------------------------------------


def test_a_folder_lists_files_and_folders_by_name(storage_root: Place) -> None:
    storage, root = storage_root
    for folder in ("clients/b", "clients/a/1", "jobs"):
        storage.make_folder(f"{root}/{folder}")
    storage.write(f"{root}/clients/b/client.json", b"four")
    storage.write(f"{root}/clients/a/1/point.json", b"seven..")
    storage.write(f"{root}/clients/note", b"x")
    found = storage.entries(f"{root}/clients")
    assert [(one.name, one.is_folder) for one in found] == [("a", True), ("b", True), ("note", False)]
    assert found[2].size == 1
    assert storage.names(f"{root}/clients") == ["a", "b", "note"]
    assert storage.entry(f"{root}/clients").is_folder
    assert storage.entry(root).is_folder
    entry = storage.entry(f"{root}/clients/b/client.json")
    assert (entry.name, entry.is_folder, entry.size) == ("client.json", False, 4)
    assert entry.modified == pytest.approx(found[2].modified, abs=60)
    with pytest.raises(FileNotFoundError):
        storage.entry(f"{root}/client")


def test_a_removed_folder_takes_all_with_it_and_nothing_else(storage_root: Place) -> None:
    storage, root = storage_root
    for path in ("point/disk", "point/first/disk", "point2/disk"):
        storage.make_folder(f"{root}/{path}".rpartition("/")[0])
        storage.write(f"{root}/{path}", b"x")
    with pytest.raises(OSError, match="not empty"):
        storage.remove_empty_folder(f"{root}/point2")
    assert storage.remove_folder(f"{root}/point")
    assert storage.remove_folder(f"{root}/point")
    assert not storage.awaits_readers(f"{root}/point2")
    assert storage.names(root) == ["point2"]
    assert storage.names(f"{root}/point2") == ["disk"]


def test_a_file_can_be_removed_and_renamed(storage_root: Place) -> None:
    storage, root = storage_root
    storage.write(f"{root}/point.json", b"manifest")
    storage.write(f"{root}/.point.json.expired", b"old")
    storage.rename(f"{root}/point.json", f"{root}/.point.json.expired")
    assert storage.names(root) == [".point.json.expired"]
    assert storage.read(f"{root}/.point.json.expired") == b"manifest"
    with pytest.raises(FileNotFoundError):
        storage.rename(f"{root}/point.json", f"{root}/x")
    storage.remove(f"{root}/.point.json.expired")
    assert storage.names(root) == []


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_file_is_read_anywhere(storage_root: Place) -> None:
    storage, root = storage_root
    data = bytes(range(256)) * 8192 + b"the end"  # 2 MiB and some
    _store(storage, f"{root}/disk", data[: MIB + 3], data[MIB + 3 :])
    reader = storage.open(f"{root}/disk")
    assert reader.size == len(data) == storage.entry(f"{root}/disk").size
    for length, offset in ((10, 0), (10, 256 * 1024 - 5), (MIB, 3), (7, len(data) - 7), (100, len(data) - 7)):
        assert reader.pread(length, offset) == data[offset : offset + length]
    assert reader.pread(10, len(data)) == b""
    assert reader.pread(0, 5) == b""
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda number: reader.pread(65536, number * 65536), range(33)))
    assert b"".join(parts) == data
    reader.close()
    with pytest.raises(FileNotFoundError):
        storage.open(f"{root}/other")


def test_a_file_is_not_begun_over_another(storage_root: Place) -> None:
    storage, root = storage_root
    _store(storage, f"{root}/disk", b"first")
    with pytest.raises(FileExistsError):
        _store(storage, f"{root}/disk", b"second")
    assert storage.read(f"{root}/disk") == b"first"


def test_what_was_aborted_is_gone(storage_root: Place) -> None:
    storage, root = storage_root
    writer = storage.new(f"{root}/disk")
    writer.write(b"x" * MIB)
    writer.abort()
    writer.abort()
    assert storage.names(root) == []
    writer = storage.new(f"{root}/disk", 10)
    writer.write(b"whole")
    writer.finish()
    writer.abort()
    assert storage.read(f"{root}/disk") == b"whole"


def test_there_is_room_or_no_limit_and_a_place_for_scratch(storage_root: Place, tmp_path: Any) -> None:
    storage, root = storage_root
    free = storage.free_space(root)
    assert free is None or free > 0
    assert storage.scratch(f"{root}/disk").startswith("/")


# --- turns -----------------------------------------------------------------------------------------------------------


def test_a_turn_is_given_to_the_next(storage_root: Place) -> None:
    storage, root = storage_root
    storage.make_folder(f"{root}/turns")
    turn = storage.turn(f"{root}/turns/repository")
    assert turn is not None
    other = storage.turn(f"{root}/turns/server")
    assert other is not None
    turn.release()
    again = storage.turn(f"{root}/turns/repository")
    assert again is not None
    again.release()
    other.release()
