# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Encrypted files: what is stored tells nothing, and whatever happened to it is noticed by whoever reads it."""

from __future__ import annotations

import errno
import os
import random
from typing import Any

import pytest
from unit.vault.storage.memory import FixedKeys, MemoryStorage

from ansible_collections.ovm.backup.plugins.module_utils.vault.storage import cipher as form
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.encrypted import EncryptedStorage

CHUNK, SEALED, HEADER = 64 * 1024, 64 * 1024 + 16, 72
SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 5, 200 * CHUNK + 7]
PATH = "/vault/clients/db01/p/0-system.img.zst"


@pytest.fixture
def inner() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def storage(inner: MemoryStorage) -> EncryptedStorage:
    return EncryptedStorage(inner, "/vault", FixedKeys(bytes(range(32))))


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def put(storage: EncryptedStorage, data: bytes, path: str = PATH, piece: int = 100_000) -> None:
    writer = storage.new(path, len(data))
    for start in range(0, len(data), piece):
        writer.write(data[start : start + piece])
    writer.finish()


def read_error(storage: EncryptedStorage, path: str = PATH) -> str:
    with pytest.raises(OSError) as error:
        storage.read(path)
    assert error.value.errno == errno.EIO
    return str(error.value.strerror)


# --- it gives back what it got ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_content_comes_back_and_sizes_are_those_of_the_content(
    storage: EncryptedStorage, inner: MemoryStorage, size: int
) -> None:
    data = content(size)
    put(storage, data)
    assert storage.read(PATH) == data
    assert len(inner.files[PATH]) == form.encrypted_size(size)
    assert storage.entry(PATH).size == size
    assert [(entry.name, entry.size) for entry in storage.entries("/vault/clients/db01/p")] == [
        ("0-system.img.zst", size)
    ]
    reader = storage.open(PATH)
    assert reader.size == size
    for offset in sorted({0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 64 * CHUNK + 3, max(size - 1, 0), size, size + 9}):
        for length in (0, 1, 10, CHUNK, 2 * CHUNK + 1, size):
            assert reader.pread(length, offset) == data[offset : offset + length]
    storage.write("/vault/small", data)
    assert storage.read("/vault/small") == data
    assert storage.read("/vault/small", 10) == data[:10]


def test_size_of_the_content_follows_from_that_of_the_file() -> None:
    sizes = [*range(40), *range(CHUNK - 20, CHUNK + 40), *range(2 * CHUNK - 20, 2 * CHUNK + 40)]
    assert [form.content_size(form.encrypted_size(size)) for size in sizes] == sizes
    possible = {form.encrypted_size(size) for size in range(2 * CHUNK + 40)}
    others = [size for size in range(form.encrypted_size(2 * CHUNK + 39)) if size not in possible]
    assert {form.content_size(size) < 0 for size in others} == {True}


def test_reading_takes_the_chunks_that_it_needs_and_the_last_one_once(
    storage: EncryptedStorage, inner: MemoryStorage
) -> None:
    put(storage, content(10 * CHUNK + 5))
    reader = storage.open(PATH)
    reader.pread(10, 3 * CHUNK + 1)
    reader.pread(10, 4 * CHUNK - 5)
    assert inner.preads == [
        (0, HEADER),
        (HEADER + 10 * SEALED, 5 + 16),
        (HEADER + 3 * SEALED, SEALED),
        (HEADER + 3 * SEALED, 2 * SEALED),
    ]


def test_writer_holds_little_of_a_large_file(storage: EncryptedStorage, inner: MemoryStorage) -> None:
    put(storage, content(200 * CHUNK), piece=200 * CHUNK)
    assert inner.largest_write <= HEADER + 65 * SEALED
    assert storage.read(PATH) == content(200 * CHUNK)


def test_aborted_file_is_not_there(storage: EncryptedStorage, inner: MemoryStorage) -> None:
    writer = storage.new(PATH)
    writer.write(b"x" * CHUNK * 2)
    writer.abort()
    assert inner.files == {}


# --- what is stored tells nothing ------------------------------------------------------------------------------------


def test_nothing_readable_is_stored_but_what_says_how_to_read(storage: EncryptedStorage, inner: MemoryStorage) -> None:
    told = b'{"vm_name": "payroll database"}'
    names = ["clients/db01/client.json", "clients/db01/p/point.json", "jobs/j.json", "clients/vault.json", "other"]
    for name in names:
        storage.write(f"/vault/{name}", told)
    storage.create("/vault/clients/db01/p/pin.json", told)
    assert storage.swap("/vault/clients/db01/p/pin.json", told, told)
    put(storage, told)
    assert [name for name, data in inner.files.items() if b"payroll" in data or b"vm_name" in data] == []
    for name in ("vault.json", "keys.json", "restore.py", "decrypt.py", "turns/clone-a"):
        storage.write(f"/vault/{name}", told)
        assert inner.files[f"/vault/{name}"] == told == storage.read(f"/vault/{name}")
        assert storage.entry(f"/vault/{name}").size == len(told)


def test_same_content_is_never_stored_twice_alike(storage: EncryptedStorage, inner: MemoryStorage) -> None:
    for number in range(3):
        storage.write(f"/vault/{number}", b"the same")
    assert len(set(inner.files.values())) == 3


# --- one after the other ---------------------------------------------------------------------------------------------


def test_files_are_swapped_and_discarded_by_their_content(storage: EncryptedStorage, inner: MemoryStorage) -> None:
    path = "/vault/clients/db01/lock.json"
    assert not storage.swap(path, b"old", b"new")
    storage.create(path, b"old")
    with pytest.raises(FileExistsError):
        storage.create(path, b"other")
    assert not storage.swap(path, b"other", b"new")
    assert storage.swap(path, b"old", b"new")
    assert not storage.discard(path, b"old")
    assert storage.discard(path, b"new")
    assert not storage.discard(path, b"new")
    assert inner.files == {}


def test_swap_looks_again_when_the_same_content_was_written_meanwhile(
    storage: EncryptedStorage, inner: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write(PATH, b"old")
    swap, others = inner.swap, [b"old", b"other"]

    def late(path: str, expected: bytes, data: bytes) -> bool:
        storage.write(path, others.pop(0))
        return swap(path, expected, data)

    monkeypatch.setattr(inner, "swap", late)
    assert not storage.swap(PATH, b"old", b"new")
    assert (others, storage.read(PATH)) == ([], b"other")


def test_encrypted_file_does_not_become_a_plain_one(storage: EncryptedStorage) -> None:
    storage.write("/vault/a", b"secret")
    storage.rename("/vault/a", "/vault/b")
    assert storage.read("/vault/b") == b"secret"
    with pytest.raises(OSError, match="only one of the two is encrypted"):
        storage.rename("/vault/b", "/vault/vault.json")


# --- damage ----------------------------------------------------------------------------------------------------------


def changed_by_a_bit(data: bytes, offset: int) -> bytes:
    return data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]


@pytest.mark.parametrize("size", [0, 10, CHUNK, 2 * CHUNK + 9])
def test_every_changed_bit_is_noticed(storage: EncryptedStorage, inner: MemoryStorage, size: int) -> None:
    put(storage, content(size))
    good = inner.files[PATH]
    places = {*range(HEADER), HEADER, len(good) - 1, len(good) // 2, *random.Random(1).choices(range(len(good)), k=20)}
    for offset in places:
        inner.files[PATH] = changed_by_a_bit(good, offset)
        assert f"{PATH} is damaged at offset " in read_error(storage)


def test_error_names_the_chunk(storage: EncryptedStorage, inner: MemoryStorage) -> None:
    put(storage, content(4 * CHUNK))
    inner.files[PATH] = changed_by_a_bit(inner.files[PATH], HEADER + 2 * SEALED + 77)
    assert f"{PATH} is damaged at offset {HEADER + 2 * SEALED}: what is stored there" in read_error(storage)
    reader = storage.open(PATH)
    assert reader.pread(CHUNK, CHUNK) == content(4 * CHUNK)[CHUNK : 2 * CHUNK]  # the others can be read
    with pytest.raises(OSError, match="is damaged at offset"):
        reader.pread(1, 2 * CHUNK)


@pytest.mark.parametrize(
    "kept", [0, 3, 8, 71, 72, 80, 88, HEADER + SEALED, HEADER + 2 * SEALED, HEADER + 3 * SEALED + 7]
)
def test_file_that_was_cut_off_is_noticed_wherever_one_reads(
    storage: EncryptedStorage, inner: MemoryStorage, kept: int
) -> None:
    put(storage, content(3 * CHUNK + 99))
    inner.files[PATH] = inner.files[PATH][:kept]
    assert "is damaged at offset" in read_error(storage)
    with pytest.raises(OSError, match="is damaged at offset"):
        storage.open(PATH).pread(1, 0)


def moved_chunks(data: bytes, *order: int) -> bytes:
    chunks = [data[start : start + SEALED] for start in range(HEADER, len(data), SEALED)]
    return data[:HEADER] + b"".join(chunks[number] for number in order)


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 0, 2), (0, 2), (0, 1, 1, 2), (0, 1, 2, 2), (2, 1, 0)])
def test_chunks_that_were_exchanged_dropped_or_repeated_are_noticed(
    storage: EncryptedStorage, inner: MemoryStorage, order: tuple[int, ...]
) -> None:
    put(storage, content(3 * CHUNK))
    inner.files[PATH] = moved_chunks(inner.files[PATH], *order)
    assert "is damaged at offset" in read_error(storage)


def test_chunk_of_another_file_is_noticed(storage: EncryptedStorage, inner: MemoryStorage) -> None:
    put(storage, content(2 * CHUNK))
    put(storage, content(2 * CHUNK), "/vault/other")
    inner.files[PATH] = inner.files[PATH][: HEADER + SEALED] + inner.files["/vault/other"][HEADER + SEALED :]
    assert f"is damaged at offset {HEADER + SEALED}" in read_error(storage)


def test_file_that_is_not_encrypted_is_not_believed(storage: EncryptedStorage, inner: MemoryStorage) -> None:
    inner.files[PATH] = b'{"vm_name": "planted"}' * 10
    assert "is damaged at offset 0: it is no encrypted file" in read_error(storage)
    assert not storage.entries("/vault/clients/db01/p")[0].is_folder  # a listing does not fail on it


def test_file_of_another_vault_or_version_is_told(storage: EncryptedStorage, inner: MemoryStorage) -> None:
    EncryptedStorage(inner, "/vault", FixedKeys(b"k" * 32)).write(PATH, b"x")
    other = form.data_key_id(b"k" * 32).hex()
    assert f"it is encrypted with data key {other}, which is none of this vault" in read_error(storage)
    inner.files[PATH] = inner.files[PATH][:8] + b"\2" + inner.files[PATH][9:]
    assert "it has version 2 and chunks of 65536 bytes; known is 1, 65536" in read_error(storage)


def test_file_that_shrinks_while_it_is_read_is_told(storage: EncryptedStorage, inner: MemoryStorage) -> None:
    put(storage, content(4 * CHUNK))
    reader: Any = storage.open(PATH)
    reader.pread(1, 0)
    reader._inner._data = inner.files[PATH][: HEADER + SEALED + 5]
    with pytest.raises(OSError, match=f"is damaged at offset {HEADER + SEALED + 5}: the file ends there"):
        reader.pread(1, CHUNK)


# --- the form stays --------------------------------------------------------------------------------------------------


def test_files_are_read_that_were_written_down_when_the_form_was_made(
    storage: EncryptedStorage, inner: MemoryStorage
) -> None:
    for known, data in KNOWN:
        inner.files[PATH] = bytes.fromhex(known)
        assert storage.read(PATH) == data


def test_known_content_becomes_the_known_file(
    storage: EncryptedStorage, inner: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "urandom", lambda size: bytes(range(100, 100 + size)))
    for known, data in KNOWN:
        storage.write(PATH, data)
        assert inner.files[PATH].hex() == known
    assert form.nonce(1, last=False).hex() == "000000000000000000000100"
    assert form.nonce(258, last=True).hex() == "000000000000000000010201"


# Made by another program: HKDF from hmac and hashlib, data key 00 01 .. 1f, salt 64 65 .. 83.
KNOWN = [
    (
        "4f564d43525950540100000000000100749f02d55f8cef886465666768696a6b6c6d6e6f707172737475767778797a7b"
        "7c7d7e7f808182837d5f292ca6998702e1145d456e62d073807905c4ad5c62416bcf6718c648d3b2",
        b"",
    ),
    (
        "4f564d43525950540100000000000100749f02d55f8cef886465666768696a6b6c6d6e6f707172737475767778797a7b"
        "7c7d7e7f808182837d5f292ca6998702e1145d456e62d0731a3c34362887aaaaa232df023f52019cf8fe11f8b7c84f83"
        "048539833e",
        b"known content",
    ),
]
