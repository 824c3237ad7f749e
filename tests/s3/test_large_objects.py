# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writing and reading large objects, with all that can happen on the way."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.s3 import S3Storage
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.s3_reader import BLOCK
from s3.faults import Fault, FaultProxy
from s3.fixtures import new_root, settings_for, storage_at
from s3.server import Server

MIB = 1 << 20
PART = 5 * MIB  # the smallest that S3 takes
DATA = random.Random(1).randbytes(2 * PART + 12_345)


@pytest.fixture
def storage(s3_faults: FaultProxy) -> S3Storage:
    """Return a storage behind the proxy, with small parts."""
    made = storage_at(new_root(), s3_faults.endpoint, smallest_part=PART)
    made.create(f"{made.root}/vault.json", b"{}")  # what the storage can is known from here on
    s3_faults.reset()
    return made


def store(storage: S3Storage, path: str, data: bytes = DATA, step: int = MIB) -> None:
    writer = storage.new(path, len(data))
    for start in range(0, len(data), step):
        writer.write(data[start : start + step])
    writer.finish()


def content(storage: S3Storage, path: str) -> bytes:
    reader = storage.open(path)
    data = reader.pread(reader.size, 0)
    reader.close()
    return data


def test_an_object_in_parts_is_whole_when_it_is_seen(storage: S3Storage, s3_faults: FaultProxy) -> None:
    path = f"{storage.root}/disk"
    writer = storage.new(path, len(DATA))
    writer.write(DATA)
    assert storage.names(storage.root) == ["vault.json"]
    assert [upload.key for upload in storage.uploads(storage.root)] == [storage._key(path)]
    writer.finish()
    assert content(storage, path) == DATA
    assert storage.uploads(storage.root) == []
    with pytest.raises(ValueError, match="finished"):
        writer.write(b"more")


def test_a_small_object_is_one_request(storage: S3Storage, s3_faults: FaultProxy) -> None:
    store(storage, f"{storage.root}/disk", b"x" * 100)
    # Two to see that nothing is there yet: no file, no folder.
    assert [(method, path.partition("?")[0].rpartition("/")[2]) for method, path in s3_faults.requests] == [
        ("HEAD", "disk"),
        ("HEAD", "vaults"),
        ("GET", "vaults"),
        ("PUT", "disk"),
    ]


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        (Fault("answer", "PUT", "partNumber", status=503, code="SlowDown"), "a part is throttled"),
        (Fault("answer", "POST", "uploads", status=500, code="InternalError"), "the begin fails once"),
        (Fault("break", "PUT", "partNumber", times=2), "the connection breaks before a part arrives"),
        (Fault("lose", "PUT", "partNumber"), "the answer to a part is lost"),
        (Fault("lose", "POST", "uploadId"), "the answer to the end is lost"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_fault_that_passes_changes_nothing(
    storage: S3Storage, s3_faults: FaultProxy, pauses: list[float], fault: Fault, what: str
) -> None:
    s3_faults.add(fault)
    store(storage, f"{storage.root}/disk")
    assert (content(storage, f"{storage.root}/disk") == DATA, len(pauses) > 0) == (True, True)
    assert storage.uploads(storage.root) == []
    assert not fault.times


def test_a_lost_answer_to_a_small_object_is_not_taken_for_that_of_another(
    storage: S3Storage, s3_faults: FaultProxy
) -> None:
    s3_faults.add(Fault("lose", "PUT", times=3))
    storage.create(f"{storage.root}/lock.json", b"mine")
    s3_faults.add(Fault("lose", "PUT", times=1))
    assert storage.swap(f"{storage.root}/lock.json", b"mine", b"still mine") is True
    assert storage.read(f"{storage.root}/lock.json") == b"still mine"
    s3_faults.add(Fault("lose", "PUT", times=1))
    assert storage.discard(f"{storage.root}/lock.json", b"still mine") is True
    assert storage.names(storage.root) == ["vault.json"]


def test_throttling_that_does_not_end_is_said_and_nothing_stays(
    storage: S3Storage, s3_faults: FaultProxy, pauses: list[float]
) -> None:
    writer = storage.new(f"{storage.root}/disk", len(DATA))
    s3_faults.add(Fault("answer", "PUT", "partNumber", times=1000))
    writer.write(DATA)
    with pytest.raises(OSError, match="the storage is overloaded or limits requests, also after several tries"):
        writer.finish()
    writer.abort()
    assert storage.uploads(storage.root) == []
    assert storage.names(storage.root) == ["vault.json"]
    assert max(pauses) > 1


def test_credentials_that_expire_in_the_middle_are_said_at_once(storage: S3Storage, s3_faults: FaultProxy) -> None:
    writer = storage.new(f"{storage.root}/disk", len(DATA))
    writer.write(DATA[:PART])
    s3_faults.add(Fault("answer", "PUT", "partNumber", times=1000, status=400, code="ExpiredToken"))
    with pytest.raises(PermissionError, match="the credentials have expired: get new ones"):
        store_rest(writer)
    writer.abort()
    assert s3_faults.count("PUT") <= 4


def store_rest(writer: Any) -> None:
    writer.write(DATA[PART:])
    writer.finish()


def test_a_server_that_is_killed_in_the_middle_ends_the_upload(s3_server: Server) -> None:
    storage = storage_at(new_root(), s3_server.endpoint, smallest_part=PART)
    storage.write(f"{storage.root}/vault.json", b"{}")
    writer = storage.new(f"{storage.root}/disk", len(DATA))
    writer.write(DATA[:PART])
    s3_server.kill_gateway()
    try:
        with pytest.raises(ConnectionError, match="no connection to the storage|connection to the storage broke"):
            store_rest(writer)
        writer.abort()
    finally:
        s3_server.start_gateway()
    assert storage.names(storage.root) == ["vault.json"]
    # What the dead server could not be told stays, until the janitor comes.
    begun = storage.uploads(storage.root)[0].active(storage._bucket)
    old = storage_at(storage.root, s3_server.endpoint, clock=lambda: begun + 3600)
    assert old.drop_unfinished(storage.root, 3601, check=False) == []
    assert old.drop_unfinished(storage.root, 3600, check=True) == [f"{storage.root}/disk"]
    assert old.drop_unfinished(storage.root, 3600, [f"{storage.root}/dis"], check=True) == [f"{storage.root}/disk"]
    assert old.drop_unfinished(storage.root, 3600, check=False) == [f"{storage.root}/disk"]
    assert storage.uploads(storage.root) == []
    store(storage, f"{storage.root}/disk")
    assert content(storage, f"{storage.root}/disk") == DATA


def test_a_folder_goes_with_its_unfinished_uploads(storage: S3Storage) -> None:
    writer = storage.new(f"{storage.root}/clients/db/disk", len(DATA))
    writer.write(DATA)
    store(storage, f"{storage.root}/clients/db2/disk", b"other")
    storage.remove_folder(f"{storage.root}/clients/db")
    with pytest.raises(OSError, match="somebody gave this upload up"):
        writer.finish()
    writer.abort()
    assert storage.names(f"{storage.root}/clients") == ["db2"]


def test_an_upload_that_waits_for_a_living_run_is_spared(storage: S3Storage) -> None:
    path = f"{storage.root}/clients/db/point/disk"
    writer = storage.new(path, len(DATA))
    writer.write(DATA[: 2 * PART])
    assert storage.drop_unfinished(storage.root, 0, [f"{storage.root}/clients/db"], check=False) == []
    writer.write(DATA[2 * PART :])
    writer.finish()
    assert content(storage, path) == DATA


def test_an_object_that_came_meanwhile_is_not_replaced(storage: S3Storage) -> None:
    path = f"{storage.root}/disk"
    small, large = storage.new(path), storage.new(path)
    large.write(DATA)
    small.write(b"small")
    small.finish()
    with pytest.raises(FileExistsError):
        large.finish()
    large.abort()
    assert (storage.read(path), storage.uploads(storage.root)) == (b"small", [])


def test_sending_goes_on_beside_the_writer_with_few_parts_in_memory(
    storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = storage._bucket.client
    real, arrived, go = client.upload_part, threading.Semaphore(0), threading.Event()
    running: list[int] = []

    def slow(**options: Any) -> Any:
        running.append(options["PartNumber"])
        arrived.release()
        assert go.wait(60)
        return real(**options)

    monkeypatch.setattr(client, "upload_part", slow)
    writer: Any = storage.new(f"{storage.root}/disk")
    for _part in range(4):
        writer.write(DATA[:PART])
    # All four are on their way, nothing has been answered, and the writer did not wait.
    for _part in range(4):
        assert arrived.acquire(timeout=60)
    assert (sorted(running), len(writer._sent)) == ([1, 2, 3, 4], 4)
    writer.write(DATA[: PART - 1])
    threading.Timer(0, go.set).start()
    writer.write(b"x")  # has to wait for one of them
    assert len(writer._sent) <= 4
    writer.finish()
    assert storage.entry(f"{storage.root}/disk").size == 5 * PART


# --- reading ---------------------------------------------------------------------------------------------------------


def test_small_reads_share_requests_and_large_ones_are_exact(storage: S3Storage, s3_faults: FaultProxy) -> None:
    store(storage, f"{storage.root}/disk")
    s3_faults.reset()
    reader = storage.open(f"{storage.root}/disk")
    assert reader.size == len(DATA)
    assert reader.pread(100, len(DATA) - 100) == DATA[-100:]  # came with the opening
    assert s3_faults.count() == 1
    for start in range(0, BLOCK, 4096):
        assert reader.pread(4096, start) == DATA[start : start + 4096]
    assert s3_faults.count() == 2
    assert reader.pread(MIB, 1000) == DATA[1000 : 1000 + MIB]
    assert reader.pread(4, BLOCK - 2) == DATA[BLOCK - 2 : BLOCK + 2]
    assert s3_faults.count() == 4


def test_an_answer_that_breaks_off_is_asked_for_again(storage: S3Storage, s3_faults: FaultProxy) -> None:
    store(storage, f"{storage.root}/disk")
    reader = storage.open(f"{storage.root}/disk")
    s3_faults.add(Fault("cut", "GET", after=1000, times=3))
    assert reader.pread(MIB, 5) == DATA[5 : 5 + MIB]
    s3_faults.add(Fault("cut", "GET", after=1000, times=100))
    with pytest.raises(OSError, match="the connection to the storage broke, also after several tries"):
        reader.pread(MIB, 5)


def test_an_object_that_became_shorter_is_noticed(storage: S3Storage) -> None:
    store(storage, f"{storage.root}/disk")
    reader = storage.open(f"{storage.root}/disk")
    storage.write(f"{storage.root}/disk", DATA[:MIB])
    with pytest.raises(OSError, match="the object was replaced"):
        reader.pread(MIB, MIB - 5)


# --- copying ---------------------------------------------------------------------------------------------------------


def test_what_is_too_large_for_one_copy_is_copied_in_parts(s3_server: Server) -> None:
    storage = storage_at(new_root(), s3_server.endpoint, single_copy=PART)
    store(storage, f"{storage.root}/first/disk")
    storage.rename(f"{storage.root}/first/disk", f"{storage.root}/disk")
    assert storage.names(storage.root) == ["disk"]
    assert content(storage, f"{storage.root}/disk") == DATA
    assert storage.uploads(storage.root) == []


def test_settings_reach_the_server_by_tls(s3_server: Server) -> None:
    ca = str(s3_server.directory / "ca.pem")
    storage = S3Storage.connect(new_root(), settings_for(s3_server.secure_endpoint, ca_path=ca))
    store(storage, f"{storage.root}/disk")
    assert content(storage, f"{storage.root}/disk") == DATA
