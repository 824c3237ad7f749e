# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Damage and forgery: a disk file gives back what was backed up or says where it is damaged, never anything else."""

from __future__ import annotations

import os
import struct
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import blake3
import pytest
import zstandard
from unit.vault.builders import (
    EMPTY_STATE,
    RECORD_FRAME_HASH,
    RECORD_HASH,
    RECORD_LENGTH,
    RECORD_OFFSET,
    RECORD_SEGMENT,
    RECORD_SEGMENTS,
    RECORD_STORED,
    RECORD_ZERO,
    Stored,
    header,
    noise,
    open_files,
    records,
    replace_header,
    replace_records,
    seek_table,
    store,
    store_chain,
    with_header,
    write_image,
)

from ansible_collections.ovm.backup.plugins.module_utils.errors import CorruptVaultError
from ansible_collections.ovm.backup.plugins.module_utils.transfer.disk_restore import restore_disk
from ansible_collections.ovm.backup.plugins.module_utils.vault.chain import open_chain
from ansible_collections.ovm.backup.plugins.module_utils.vault.disk_reader import DiskFile
from ansible_collections.ovm.backup.plugins.module_utils.vault.disk_writer import DiskWriter, Frame, FrameCompressor
from ansible_collections.ovm.backup.plugins.module_utils.vault.format import Geometry, digest

BLOCK, SEGMENT = 64, 256
pytestmark = pytest.mark.usefixtures("no_sync")
LINE = b"All work and no play makes Jack a dull boy. "


def first_state() -> bytes:
    """Text, a block of zeros inside data, segments of zeros, noise, a short end."""
    data = bytearray((LINE * 30)[: 4 * SEGMENT + 70])
    data[BLOCK : 2 * BLOCK] = bytes(BLOCK)
    data[SEGMENT : 3 * SEGMENT] = bytes(2 * SEGMENT)
    data[3 * SEGMENT : 4 * SEGMENT] = noise(SEGMENT)
    return bytes(data)


def second_state() -> bytes:
    data = bytearray(first_state())
    data[10] ^= 0xFF
    data[SEGMENT + BLOCK : SEGMENT + 2 * BLOCK] = noise(BLOCK, 1)
    data[3 * SEGMENT : 4 * SEGMENT] = bytes(SEGMENT)
    data[-1] ^= 0xFF
    return bytes(data)


@pytest.fixture
def files(tmp_path: Path) -> list[Stored]:
    return store_chain(tmp_path, [first_state(), second_state()], block_size=BLOCK, segment_size=SEGMENT)


def outcome(files: list[Stored], wanted: bytes, *, with_hashes: bool = True) -> CorruptVaultError | None:
    """Restore a chain, oldest first; return nothing when it gave back what it should, or the error that it named."""
    target = files[0].path.parent / "target"
    links = [(str(item.path), item.summary.header_hash if with_hashes else None) for item in reversed(files)]
    try:
        with open_chain(links) as chain:  # type: ignore[arg-type]
            restore_disk(chain, str(target), content_hash=files[-1].result.content_hash, workers=1)
    except CorruptVaultError as error:
        assert not list(target.parent.glob("target*")), "no image and no temporary file"
        assert error.details["path"] in {path for path, _hash in links}
        assert str(error.details["path"]) in error.message
        assert 0 <= error.details["offset"] <= Path(error.details["path"]).stat().st_size
        return error
    assert target.read_bytes() == wanted
    target.unlink()
    return None


def unread(path: Path) -> set[int]:
    """Return the positions that a restore need not read: frames of zeros, frame headers, most of the seek table."""
    data = path.read_bytes()
    frames = seek_table(data)
    found: set[int] = set()
    zeros = [row for row in records(path) if not row[RECORD_STORED]]
    for row in zeros:
        found |= set(range(row[RECORD_OFFSET], row[RECORD_OFFSET] + row[RECORD_LENGTH]))
    for frame in frames[-4:-1]:
        found |= set(range(frame.offset, frame.offset + 8))
    table = frames[-1].offset + frames[-1].size + 8
    return found | set(range(table, table + 8 * len(frames) - 8)) | set(range(len(data) - 13, len(data) - 9))


@pytest.mark.parametrize("which", [0, 1], ids=["full", "incremental"])
@pytest.mark.parametrize("flip", [0xFF, 0x01])
def test_no_flipped_byte_gives_another_disk(files: list[Stored], which: int, flip: int) -> None:
    path = files[which].path
    original, harmless, wanted = path.read_bytes(), unread(path), (first_state(), second_state())[which]
    with path.open("r+b", buffering=0) as file:
        for position, value in enumerate(original):
            os.pwrite(file.fileno(), bytes([value ^ flip]), position)
            error = outcome(files[: which + 1], wanted)
            assert (error is None) == (position in harmless), f"position {position}: {error}"
            assert error is None or error.details["path"] == str(path)
            os.pwrite(file.fileno(), bytes([value]), position)


def test_no_flipped_byte_of_the_header_gives_another_disk_without_its_hash(files: list[Stored]) -> None:
    path = files[0].path
    original = path.read_bytes()
    at = seek_table(original)[-1]
    with path.open("r+b", buffering=0) as file:
        for flip in (0xFF, 0x01, 0x02, 0x10):
            for position in range(at.offset, at.offset + at.size):
                os.pwrite(file.fileno(), bytes([original[position] ^ flip]), position)
                outcome(files[:1], first_state(), with_hashes=False)
                os.pwrite(file.fileno(), original[position : position + 1], position)


@pytest.mark.parametrize("which", [0, 1], ids=["full", "incremental"])
def test_truncated_files(files: list[Stored], which: int) -> None:
    path = files[which].path
    for length in reversed(range(path.stat().st_size)):
        os.truncate(path, length)
        assert outcome(files, second_state()) is not None, length


@pytest.mark.parametrize("garbage", [b"\0", b"x" * 9, bytes(4096), struct.pack("<IBI", 1, 0, 0x8F92EAB1) * 5])
def test_appended_garbage(files: list[Stored], garbage: bytes) -> None:
    path = files[1].path
    path.write_bytes(path.read_bytes() + garbage)
    assert outcome(files, second_state()) is not None


def test_a_file_in_the_place_of_another(files: list[Stored]) -> None:
    full, incremental = (item.path.read_bytes() for item in files)
    files[0].path.write_bytes(incremental)
    files[1].path.write_bytes(full)
    error = outcome(files, second_state())
    assert error is not None
    assert "does not have the hash that the manifest gives" in error.message
    at = seek_table(full)[-1]
    assert error.details == {"path": str(files[1].path), "offset": at.offset}
    # Without hashes from manifests the order still tells.
    error = outcome(files, second_state(), with_hashes=False)
    assert error is not None
    assert error.message == f"{files[0].path} is the start of a chain but not a full"


def test_the_content_of_another_point(files: list[Stored], tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (strange,) = store_chain(other, [bytes(first_state()[::-1])], block_size=BLOCK, segment_size=SEGMENT)
    files[0].path.write_bytes(strange.path.read_bytes())
    error = outcome(files[:1], first_state(), with_hashes=False)
    assert error is not None
    assert error.message == f"{files[0].path} and its bases give another disk than the manifest says"


HEADER_VALUES: list[Any] = [None, -1, 0, 1, "x", "1024", 1.5, True, [], {}, 2**40, 2**70, ...]


@pytest.mark.parametrize("value", HEADER_VALUES, ids=repr)
def test_forged_headers(files: list[Stored], value: Any) -> None:
    path = files[0].path
    original = path.read_bytes()
    for key, right in header(path).items():
        if value == right:
            continue
        path.write_bytes(replace_header(original, **{key: value}))
        tracemalloc.start()
        try:
            error = outcome(files[:1], first_state(), with_hashes=False)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        if key == "hashes_hash":  # who reads a part of a disk has no use for it
            with pytest.raises(CorruptVaultError, match="the block hashes are not what was recorded"):
                DiskFile(str(path), whole=True)
        else:
            assert error is not None, key
        assert peak < 3 * 1024 * 1024, f"{key}: {peak} bytes"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[]",
        b'"text"',
        b"7",
        b"null",
        b"\xff",
        b"[" * 200_000,
        b'{"format":"ovm.backup disk"}',
        b'[["a",1]]',
    ],
    ids=lambda text: repr(text[:10]),
)
def test_headers_that_are_none(files: list[Stored], text: bytes) -> None:
    path = files[0].path
    path.write_bytes(with_header(path.read_bytes(), text))
    assert outcome(files[:1], first_state(), with_hashes=False) is not None


Row = list[Any]


def forgeries(rows: list[Row]) -> Iterable[tuple[str, list[Row]]]:
    """Yield records that do not describe the disk, the file or the order."""

    def change(row: int, **values: int | bytes) -> list[Row]:
        names = ("segment", "segments", "offset", "length", "stored", "zero", "hash", "frame_hash")
        changed = [list(one) for one in rows]
        for name, value in values.items():
            changed[row][names.index(name)] = value
        return changed

    yield "nothing", change(0, segments=0)
    yield "behind the end", change(len(rows) - 1, segment=5)
    yield "far behind the end", change(len(rows) - 1, segment=2**32 - 1)
    yield "too many segments", change(1, segments=2**32 - 1)
    yield "several segments with data", change(0, segments=2)
    yield "blocks that are not there", change(0, stored=2**64 - 1)
    yield "a last segment with too many blocks", change(len(rows) - 1, stored=0b1111)
    yield "zeros that are not there", change(0, zero=0b10010)
    yield "not all blocks of a full", change(0, stored=0b0111, zero=0b0010)
    yield "zeros with holes", change(1, zero=0b0111)
    yield "a frame behind the data", change(0, offset=10**6)
    yield "a frame without end", change(0, length=2**63)
    yield "no frame", change(0, length=0)
    yield "the hash of a frame that is not there", change(1, frame_hash=b"x" * 32)
    yield "hashes of others", change(0, hash=1)
    yield "hashes behind the table", change(len(rows) - 1, hash=2**62)
    yield "twice", [rows[0], rows[0], *rows[2:]]
    yield "backwards", rows[::-1]


def test_forged_records(files: list[Stored]) -> None:
    path = files[0].path
    original = path.read_bytes()
    rows = [list(row) for row in records(path)]
    assert [(row[RECORD_SEGMENT], row[RECORD_SEGMENTS]) for row in rows] == [(0, 1), (1, 2), (3, 1), (4, 1)]
    path.write_bytes(replace_records(original, [tuple(row) for row in rows]))
    assert outcome(files[:1], first_state(), with_hashes=False) is None, "the forger's tools are good"
    table = header(path)["records_offset"]
    for name, forged in forgeries(rows):
        path.write_bytes(replace_records(original, [tuple(row) for row in forged]))
        error = outcome(files[:1], first_state(), with_hashes=False)
        assert error is not None, name
        assert "does not fit the disk or the file" in error.message, name
        number = next(index for index, row in enumerate(forged) if row != rows[index])
        assert table <= error.details["offset"] <= table + 80 * (number + 1), name


def test_records_that_do_not_match_the_header(files: list[Stored]) -> None:
    path = files[1].path
    rows = [list(row) for row in records(path)]
    # One block less with data: every record is possible, but a hash is left over.
    assert rows[-1][RECORD_STORED] == 0b10
    rows[-1][RECORD_STORED], rows[-1][RECORD_ZERO], rows[-1][RECORD_FRAME_HASH] = 0, 0b10, bytes(32)
    path.write_bytes(replace_records(path.read_bytes(), [tuple(row) for row in rows]))
    error = outcome(files, second_state(), with_hashes=False)
    assert error is not None
    assert "the segment records do not match the header" in error.message


def test_a_frame_that_lies_elsewhere_is_found_by_the_hash_of_the_block(files: list[Stored]) -> None:
    path = files[0].path
    rows = [list(row) for row in records(path)]
    rows[0][RECORD_OFFSET], rows[2][RECORD_OFFSET] = rows[2][RECORD_OFFSET], rows[0][RECORD_OFFSET]
    rows[0][RECORD_LENGTH], rows[2][RECORD_LENGTH] = rows[2][RECORD_LENGTH], rows[0][RECORD_LENGTH]
    path.write_bytes(replace_records(path.read_bytes(), [tuple(row) for row in rows]))
    error = outcome(files[:1], first_state(), with_hashes=False)
    assert error is not None
    assert error.details["offset"] == rows[0][RECORD_OFFSET]
    assert error.message.endswith("block 0 of segment 0 does not have the hash that was recorded")


def frame_without_size(raw: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=False).compress(raw)


FRAMES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "too short": (lambda raw: zstandard.compress(raw[:-1]), "the frame of segment 0 has a wrong size"),
    "too long": (lambda raw: zstandard.compress(raw * 9999), "the frame of segment 0 has a wrong size"),
    "of unknown size": (frame_without_size, "the frame of segment 0 has a wrong size"),
    "of other content": (lambda raw: zstandard.compress(raw[::-1]), "block 0 of segment 0 does not have the hash"),
    "skippable": (lambda raw: struct.pack("<II", 0x184D2A50, 8) + raw[:8], "the frame of segment 0 has a wrong size"),
    "garbage": (lambda _raw: b"garbage", "the frame of segment 0 is not readable"),
    "cut off": (lambda raw: zstandard.compress(raw)[:-7], "the frame of segment 0 is not readable"),
}


@pytest.mark.parametrize(("make", "message"), FRAMES.values(), ids=FRAMES.keys())
def test_frames_that_are_not_what_they_should_be(tmp_path: Path, make: Callable[[bytes], bytes], message: str) -> None:
    raw = noise(SEGMENT)
    hashes = [blake3.blake3(raw[start : start + BLOCK]).digest() for start in range(0, SEGMENT, BLOCK)]
    writer = DiskWriter(str(tmp_path / "x"), Geometry(SEGMENT, BLOCK, SEGMENT), "full", FrameCompressor())
    frame = make(raw)
    writer.add_frame(0, 0b1111, 0, b"".join(hashes), Frame(frame, bytes.fromhex(digest(frame))))
    writer.finish(EMPTY_STATE)
    with DiskFile(str(tmp_path / "x")) as file, pytest.raises(CorruptVaultError) as caught:
        file.read(next(iter(file.records)), 0b1111)
    assert message in caught.value.message
    assert caught.value.details == {"path": str(tmp_path / "x"), "offset": 0}


def test_a_block_that_was_recorded_as_zeros_but_is_not(tmp_path: Path) -> None:
    raw = noise(2 * BLOCK)
    writer = DiskWriter(str(tmp_path / "x"), Geometry(2 * BLOCK, BLOCK, SEGMENT), "full", FrameCompressor())
    writer.add_frame(0, 0b11, 0b10, bytes.fromhex(digest(raw[:BLOCK])), FrameCompressor().compress(raw))
    writer.finish(EMPTY_STATE)
    with DiskFile(str(tmp_path / "x")) as file:
        (record,) = file.records
        assert file.read(record, 0b01) == {0: raw[:BLOCK]}
        with pytest.raises(CorruptVaultError, match="block 1 of segment 0 does not have the hash"):
            file.read(record, 0b11)


def test_a_file_that_is_damaged_after_it_was_opened(files: list[Stored]) -> None:
    path = files[0].path
    row = records(path)[2]
    with open_files(files[:1]) as chain:
        with path.open("r+b") as file:
            file.seek(row[RECORD_OFFSET] + 20)
            file.write(b"\xff\x00\xff")
        with pytest.raises(CorruptVaultError) as caught:
            chain.read_blocks(chain.at(3))
        assert caught.value.details == {"path": str(path), "offset": row[RECORD_OFFSET]}
        path.write_bytes(b"")
        with pytest.raises(CorruptVaultError, match="the file ends too early"):
            chain.read_blocks(chain.at(0))


def test_a_read_error_of_the_vault_names_the_place(files: list[Stored], monkeypatch: pytest.MonkeyPatch) -> None:
    with open_files(files[:1]) as chain:

        def fail(*_arguments: object) -> bytes:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr("os.pread", fail)
        with pytest.raises(CorruptVaultError) as caught:
            chain.read_blocks(chain.at(0))
    assert caught.value.message == f"{files[0].path} is damaged at offset 0: cannot be read (Input/output error)"


def test_damage_that_an_incremental_covers_does_not_matter(tmp_path: Path) -> None:
    first, second = noise(SEGMENT), noise(SEGMENT, 1)
    files = store_chain(tmp_path, [first, second], block_size=BLOCK, segment_size=SEGMENT)
    damaged = bytearray(files[0].path.read_bytes())
    damaged[30] ^= 1
    files[0].path.write_bytes(damaged)
    assert outcome(files[:1], first) is not None
    assert outcome(files, second) is None


def test_an_incremental_on_a_damaged_base_is_refused_where_the_tables_tell(tmp_path: Path) -> None:
    files = store_chain(tmp_path, [first_state()], block_size=BLOCK, segment_size=SEGMENT)
    damaged = bytearray(files[0].path.read_bytes())
    damaged[header(files[0].path)["hashes_offset"] + 40] ^= 1
    files[0].path.write_bytes(damaged)
    image = write_image(tmp_path / "raw", second_state())
    with (
        pytest.raises(CorruptVaultError, match="the block hashes are not what was recorded"),
        open_files(files) as base,
    ):
        store(image, tmp_path / "x", base=base, block_size=BLOCK, segment_size=SEGMENT)
    assert records(files[0].path)[0][RECORD_HASH] == 0
    assert not (tmp_path / "x").exists()
