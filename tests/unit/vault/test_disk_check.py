# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checking whole disk files: no byte may be another than what was written, also where only plain decoders look."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from unit.vault.builders import (
    RECORD_LENGTH,
    RECORD_OFFSET,
    Stored,
    content_state,
    header,
    noise,
    records,
    replace_header,
    seek_table,
    store_chain,
)

from ansible_collections.ovm.backup.plugins.module_utils.errors import VaultError
from ansible_collections.ovm.backup.plugins.module_utils.vault import disk_check
from ansible_collections.ovm.backup.plugins.module_utils.vault.disk_check import FileCheck, check_disk_file
from ansible_collections.ovm.backup.plugins.module_utils.vault.disk_writer import DiskWriter, Frame, FrameCompressor
from ansible_collections.ovm.backup.plugins.module_utils.vault.format import Geometry, digest

BLOCK, SEGMENT = 64, 256
pytestmark = pytest.mark.usefixtures("no_sync")
RUN = 70  # segments of zeros, which take two frames


def first_state() -> bytes:
    """Noise, a block of zeros inside of it, a long run of zeros, a short end."""
    data = bytearray(noise(2 * SEGMENT) + bytes(RUN * SEGMENT) + noise(SEGMENT + 70, 1))
    data[BLOCK : 2 * BLOCK] = bytes(BLOCK)
    return bytes(data)


def second_state() -> bytes:
    data = bytearray(first_state())
    data[10] ^= 0xFF
    data[9 * SEGMENT : 9 * SEGMENT + 5] = b"hello"
    data[-SEGMENT - 70 : -70] = bytes(SEGMENT)
    return bytes(data)


@pytest.fixture
def files(tmp_path: Path) -> list[Stored]:
    return store_chain(tmp_path, [first_state(), second_state()], block_size=BLOCK, segment_size=SEGMENT)


def check(file: Stored, **options: object) -> FileCheck:
    return check_disk_file(str(file.path), file.summary.header_hash, file.summary.size, workers=1, **options)  # type: ignore[arg-type]


def only_problem(file: Stored) -> tuple[int | None, str]:
    """Return the one problem of a file, its message without the path."""
    found = check(file)
    assert len(found.problems) == 1, found.problems
    offset, message = found.problems[0]
    start = f"{file.path} is damaged at offset {offset}: "
    assert message.startswith((start, str(file.path)))
    return offset, message.removeprefix(start)


def decompressed(path: Path) -> bytes | None:
    """Return what a plain decoder makes of a file."""
    try:
        with path.open("rb") as file:
            return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read()
    except zstandard.ZstdError:
        return None


@pytest.mark.parametrize("which", [0, 1])
def test_a_good_file(files: list[Stored], which: int) -> None:
    steps: list[int] = []
    found = check(files[which], progress=steps.append)
    assert found == FileCheck((), files[which].summary.size, True)
    assert sum(steps) == files[which].summary.size
    assert min(steps) > 0
    assert which or decompressed(files[0].path) == first_state()


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_every_byte_counts(files: list[Stored], which: int, bit: int) -> None:
    file = files[which]
    data = bytearray(file.path.read_bytes())
    for position in range(len(data)):
        data[position] ^= bit
        file.path.write_bytes(data)
        found = check(file)
        assert found.problems, f"nobody sees that byte {position} is another"
        for offset, message in found.problems:
            assert offset is not None and 0 <= offset <= len(data)
            assert str(file.path) in message
        data[position] ^= bit


def test_any_other_length(files: list[Stored]) -> None:
    file = files[1]
    data = file.path.read_bytes()
    for length in (0, 1, 20, len(data) // 2, len(data) - 1):
        file.path.write_bytes(data[:length])
        assert check(file) == FileCheck(((length, f"{file.path} has {length} bytes instead of {len(data)}"),), 0, False)
    file.path.write_bytes(data + b"\0")
    assert only_problem(file)[1] == f"{file.path} has {len(data) + 1} bytes instead of {len(data)}"
    file.path.unlink()
    assert check(file) == FileCheck(((None, f"{file.path} is missing from the vault"),), 0, False)


def overwrite(file: Stored, offset: int, data: bytes) -> None:
    with file.path.open("r+b") as opened:
        opened.seek(offset)
        opened.write(data)


def test_frames_of_zeros_that_hold_something_else(files: list[Stored]) -> None:
    """Readers of the vault pass over them: only zstd -dc would give the wrong disk."""
    row = records(files[0].path)[2]
    frames = [frame for frame in seek_table(files[0].path.read_bytes()) if frame.length == 64 * SEGMENT]
    assert [frame.offset for frame in frames] == [row[RECORD_OFFSET]]
    forged = zstandard.ZstdCompressor(level=1, write_checksum=True).compress(b"\1" * 64 * SEGMENT)
    assert len(forged) == frames[0].size
    overwrite(files[0], frames[0].offset, forged)
    assert decompressed(files[0].path) not in (None, first_state())
    assert only_problem(files[0]) == (row[RECORD_OFFSET], "the zeros of segment 2 are not readable as such")


def test_a_second_frame_of_zeros_is_named_by_its_own_place(files: list[Stored]) -> None:
    row = records(files[0].path)[2]
    second = next(frame for frame in seek_table(files[0].path.read_bytes()) if frame.length == (RUN - 64) * SEGMENT)
    assert row[RECORD_OFFSET] < second.offset < row[RECORD_OFFSET] + row[RECORD_LENGTH]
    overwrite(files[0], second.offset, b"garbage")
    assert only_problem(files[0]) == (second.offset, "the zeros of segment 2 are not readable as such")


def test_a_seek_table_that_is_not_that_of_the_frames(files: list[Stored]) -> None:
    data = files[0].path.read_bytes()
    table = data.rindex(struct.pack("<I", 0x184D2A5E)) + 8
    overwrite(files[0], table + 8, struct.pack("<II", 1, 1))
    assert only_problem(files[0]) == (table + 8, "the seek table is not that of the frames")


@pytest.mark.parametrize("magic", [0x184D2A50, 0x184D2A51])
def test_tables_that_a_plain_decoder_would_not_pass_over(files: list[Stored], magic: int) -> None:
    data = files[0].path.read_bytes()
    at = data.index(struct.pack("<I", magic))
    overwrite(files[0], at, b"gone")
    assert decompressed(files[0].path) != first_state()
    offset, message = only_problem(files[0])
    assert (offset, message.split(" of ")[0]) == (at, f"there is no skippable frame {magic:#x}")


def test_all_damaged_frames_are_named(files: list[Stored]) -> None:
    rows = records(files[0].path)
    damaged = [rows[0], rows[1], rows[2]]
    for row in damaged:
        overwrite(files[0], row[RECORD_OFFSET] + 8, b"\xff\x00\xff")
    found = check(files[0])
    assert [offset for offset, _message in found.problems] == [row[RECORD_OFFSET] for row in damaged]
    assert found.readable


def test_a_file_with_much_damage_is_not_read_to_its_end(tmp_path: Path) -> None:
    count = 200
    data = b"".join(noise(SEGMENT, seed) for seed in range(count))
    (file,) = store_chain(tmp_path, [data], block_size=BLOCK, segment_size=SEGMENT)
    for row in records(file.path):
        overwrite(file, row[RECORD_OFFSET] + 20, b"\0\0\0")
    found = check(file)
    assert len(found.problems) == disk_check.PROBLEM_LIMIT
    assert found.problems[-1][1].endswith(". The rest of the file was not read")
    assert found.bytes_read < file.summary.size // 4
    assert found.readable


def written(path: Path, frame: bytes, raw: bytes, *, stored: int = 0b1111) -> Stored:
    """Write a full of one segment with this frame; a writer with an error could make such a file."""
    hashes = b"".join(bytes.fromhex(digest(raw[start : start + BLOCK])) for start in range(0, SEGMENT, BLOCK))
    writer = DiskWriter(str(path), Geometry(SEGMENT, BLOCK, SEGMENT), "full", FrameCompressor())
    writer.add_frame(0, stored, 0, hashes, Frame(frame, bytes.fromhex(digest(frame))))
    return Stored(path, writer.finish(content_state(raw, BLOCK)), None)  # type: ignore[arg-type]


FRAMES: dict[str, Callable[[bytes], bytes]] = {
    "followed by another": lambda raw: FrameCompressor().compress(raw).data + FrameCompressor().compress(b"").data,
    "followed by garbage": lambda raw: FrameCompressor().compress(raw).data + b"garbage",
    "without checksum": zstandard.ZstdCompressor(write_checksum=False).compress,
}


@pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES.keys())
def test_a_frame_that_is_not_just_one_with_a_checksum(tmp_path: Path, make: Callable[[bytes], bytes]) -> None:
    raw = noise(SEGMENT)
    file = written(tmp_path / "x", make(raw), raw)
    assert only_problem(file) == (0, "the frame of segment 0 is not one frame with a checksum")


def test_another_header_hash(files: list[Stored]) -> None:
    data = replace_header(files[0].path.read_bytes(), more=1)
    files[0].path.write_bytes(data)
    known = files[0].summary
    found = check_disk_file(str(files[0].path), known.header_hash, len(data))
    assert (len(found.problems), found.readable) == (1, False)
    assert "the header does not have the hash that the manifest gives" in found.problems[0][1]
    assert header(files[0].path)["more"] == 1


def test_no_permission_is_no_damage(files: list[Stored], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(VaultError, match="Permission denied"):
        check(files[0])
