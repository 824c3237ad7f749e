# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disks whose tables are large: they are never in memory as a whole, and a piece is checked whenever it is read."""

from __future__ import annotations

import errno
import os
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from unit.vault.builders import EMPTY_STATE, MIB, header, noise, open_files, records, skippables, store_chain

from ansible_collections.ovm.backup.plugins.module_utils.errors import CorruptVaultError, VaultWriteError
from ansible_collections.ovm.backup.plugins.module_utils.vault import disk_reader, spool
from ansible_collections.ovm.backup.plugins.module_utils.vault import format as fmt
from ansible_collections.ovm.backup.plugins.module_utils.vault.chain import open_overlay
from ansible_collections.ovm.backup.plugins.module_utils.vault.disk_check import check_disk_file
from ansible_collections.ovm.backup.plugins.module_utils.vault.disk_reader import DiskFile
from ansible_collections.ovm.backup.plugins.module_utils.vault.disk_writer import DiskWriter, Frame, FrameCompressor
from ansible_collections.ovm.backup.plugins.module_utils.vault.format import Geometry, digest
from ansible_collections.ovm.backup.plugins.module_utils.vault.spool import Spool

DISK = 1 << 40
STEP = 50  # every so many segments there is one with data
COUNT = DISK // MIB // STEP
HASHES = b"".join(number.to_bytes(32, "little") for number in range(1, 17))


@contextmanager
def memory_below(limit: int) -> Iterator[None]:
    """Fail if more than so many bytes were in use at once."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit, f"{peak} bytes"


def write(path: Path) -> str:
    """Write an incremental of a disk of a tebibyte and return the hash of its header."""
    frame = FrameCompressor().compress(noise(100))
    writer = DiskWriter(str(path), Geometry(DISK), "incremental", FrameCompressor())
    for segment in range(0, COUNT * STEP, STEP):
        writer.add_frame(segment, 0xFFFF, 0, HASHES, frame)
    return writer.finish(EMPTY_STATE).header_hash


def test_tables_of_a_large_disk_are_not_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "x"
    tables = COUNT * (80 + 16 * 32 + 8)
    assert tables > 11 * MIB
    with memory_below(2 * MIB):
        header_hash = write(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]
    assert path.stat().st_size > tables
    with memory_below(MIB):
        with DiskFile(str(path), header_hash) as file:
            assert len(file.records) == sum(1 for _record in file.records) == COUNT
            (last,) = file.records.since((COUNT - 1) * STEP)
            assert file.hashes(last) == HASHES
        with open_overlay([(str(path), header_hash)]) as overlay:
            assert sum(1 for found in overlay.segments() if found.pieces) == COUNT
            assert len(overlay.block_hashes(overlay.at(STEP))) == 16


def test_a_large_file_is_checked_without_its_tables_in_memory(tmp_path: Path) -> None:
    path, geometry, content = tmp_path / "x", Geometry(64 * 17_000, 64, 64), noise(64)
    writer = DiskWriter(str(path), geometry, "full", FrameCompressor())
    frame, value = FrameCompressor().compress(content), bytes.fromhex(digest(content))
    for segment in range(geometry.segments):
        writer.add_frame(segment, 1, 0, value, frame)
    summary = writer.finish(EMPTY_STATE)
    tables = geometry.segments * (80 + 32 + 8)
    with memory_below(tables // 3):
        assert check_disk_file(str(path), summary.header_hash, summary.size, workers=1).problems == ()


def fail_with(number: int) -> Callable[..., object]:
    def fail(*_arguments: object, **_options: object) -> object:
        raise OSError(number, os.strerror(number))

    return fail


class FullDisk:
    """A file that takes nothing."""

    write = staticmethod(fail_with(errno.ENOSPC))

    def close(self) -> None:
        pass


@pytest.mark.parametrize("when", ["created", "written"])
def test_a_vault_that_has_no_room_for_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    monkeypatch.setattr(spool, "_IN_MEMORY", 1000)
    make = fail_with(errno.ENOSPC) if when == "created" else lambda **_options: FullDisk()
    monkeypatch.setattr(spool.tempfile, "TemporaryFile", make)
    writer = DiskWriter(str(tmp_path / "x"), Geometry(100 * MIB), "incremental", FrameCompressor())
    with pytest.raises(VaultWriteError) as caught:
        for segment in range(100):
            writer.add_frame(segment, 0xFFFF, 0, HASHES, Frame(b"frame", bytes(32)))
    writer.abort()
    assert caught.value.details == {"path": str(tmp_path / "x"), "errno": errno.ENOSPC}
    assert "the vault is full" in caught.value.message


@pytest.mark.parametrize("limit", [1, 10, 64, 1000])
def test_a_spool_gives_back_what_it_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(spool, "_IN_MEMORY", limit)
    parts = [noise(length, length) for length in (0, 1, 7, 64, 300, 3)]
    table = Spool(str(tmp_path / "x"))
    for part in parts:
        table.append(part)
    whole = b"".join(parts)
    assert (table.size, table.hexdigest()) == (len(whole), digest(whole))
    with table.reader() as reader:
        assert reader.read(5) + reader.read() == whole
    table.close()
    table.close()


def test_files_do_not_depend_on_what_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = []
    for limit in (10, 10**6):
        monkeypatch.setattr(spool, "_IN_MEMORY", limit)
        directory = tmp_path / str(limit)
        directory.mkdir()
        contents.append([file.path.read_bytes() for file in store_chain(directory, [noise(5000), noise(5000, 1)])])
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ("records", "the segment records do not have the hash that was recorded"),
        ("hashes", "the block hashes are not what was recorded"),
    ],
)
def test_a_table_that_is_damaged_after_the_file_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, what: str
) -> None:
    """What is read once more is checked once more."""
    monkeypatch.setattr(disk_reader, "RECORDS_PER_PIECE", 2)
    monkeypatch.setattr(fmt, "HASHES_PER_DIGEST", 4)
    (full,) = files = store_chain(tmp_path, [noise(5 * 2048)])
    assert len(records(full.path)) == 5
    assert len(skippables(full.path.read_bytes())[0x184D2A51][0]) == 20 * 32
    offset = header(full.path)[f"{table}_offset"]
    with open_files(files) as chain:
        before = chain.block_hashes(chain.at(0))
        assert len(before) == 4
        chain.block_hashes(chain.at(4))  # other pieces are in memory now
        with full.path.open("r+b") as file:
            file.seek(offset + 3)
            file.write(b"\xff")
        with pytest.raises(CorruptVaultError) as caught:
            chain.block_hashes(chain.at(0))
    assert caught.value.details == {"path": str(full.path), "offset": offset}
    assert caught.value.message.endswith(what)


def test_damage_to_hashes_is_found_where_they_are_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fmt, "HASHES_PER_DIGEST", 8)
    data = noise(16 * 2048)
    (full,) = files = store_chain(tmp_path, [data])
    offset = header(full.path)["hashes_offset"]
    with full.path.open("r+b") as file:  # the hashes of the segments 6 and 7
        file.seek(offset + 30 * 32)
        file.write(bytes(32))
    with pytest.raises(CorruptVaultError, match="the block hashes are not what was recorded"):
        DiskFile(*full.link, whole=True)
    with open_files(files) as chain:
        for segment in (*range(6), *range(8, 16)):
            found = chain.read_blocks(chain.at(segment))
            assert b"".join(found[block] for block in sorted(found)) == data[segment * 2048 :][:2048]
        for segment in (6, 7):
            with pytest.raises(CorruptVaultError) as caught:
                chain.block_hashes(chain.at(segment))
            assert caught.value.details == {"path": str(full.path), "offset": offset}
            assert caught.value.message.endswith("the block hashes are not what was recorded")
