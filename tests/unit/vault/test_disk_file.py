# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A disk file as others see it: the zstd program and a parser of the public seekable format."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import zstandard
from unit.vault.builders import (
    EMPTY_STATE,
    KIB,
    MIB,
    RECORD_SEGMENT,
    RECORD_SEGMENTS,
    RECORD_STORED,
    RECORD_ZERO,
    content_hash,
    header,
    noise,
    open_files,
    records,
    seek_table,
    skippables,
    store,
    store_chain,
    without_digests,
    write_image,
    write_sparse,
)
from unit.vault.chains import flip

from ansible_collections.ovm.backup.plugins.module_utils.errors import CorruptVaultError
from ansible_collections.ovm.backup.plugins.module_utils.vault import disk_reader, disk_writer
from ansible_collections.ovm.backup.plugins.module_utils.vault import format as fmt
from ansible_collections.ovm.backup.plugins.module_utils.vault.chain import open_chain
from ansible_collections.ovm.backup.plugins.module_utils.vault.disk_check import check_disk_file
from ansible_collections.ovm.backup.plugins.module_utils.vault.disk_reader import DiskFile
from ansible_collections.ovm.backup.plugins.module_utils.vault.disk_writer import DiskWriter, Frame, FrameCompressor
from ansible_collections.ovm.backup.plugins.module_utils.vault.format import Geometry

BLOCK = 64 * KIB
FRAME = Frame(b"frame", bytes(32))


def zstd(*arguments: str) -> bytes:
    program = shutil.which("zstd")
    if program is None:
        pytest.skip("the zstd program is not installed")
    done = subprocess.run([program, *arguments], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def mixed() -> bytes:
    """Zero blocks inside segments with data, a whole segment of zeros, data again, and a short end."""
    first = noise(BLOCK) + bytes(3 * BLOCK) + noise(BLOCK // 2) + bytes(BLOCK // 2) + bytes(11 * BLOCK)
    return first + bytes(MIB) + bytes(15 * BLOCK) + noise(BLOCK, 1) + noise(100, 2)


DISKS = {
    "one byte": b"x",
    "one zero byte": b"\0",
    "a page": noise(4096),
    "a page of zeros": bytes(4096),
    "a block and a sector": noise(BLOCK + 512),
    "a segment": noise(MIB),
    "a segment of zeros": bytes(MIB),
    "a segment and a sector": noise(MIB + 512),
    "three segments less a byte": noise(3 * MIB - 1),
    "zeros of no round size": bytes(3 * MIB - 1),
    "data, then zeros of no round size": noise(MIB) + bytes(MIB + 513),
    "mixed": mixed(),
    "text": b"the same line again and again\n" * 50_000,
}


@pytest.mark.parametrize("holes", [True, False], ids=["sparse", "explicit"])
@pytest.mark.parametrize("data", DISKS.values(), ids=DISKS.keys())
def test_zstd_gives_the_disk_of_a_full(tmp_path: Path, data: bytes, holes: bool) -> None:
    stored = store(write_image(tmp_path / "raw", data, holes=holes), tmp_path / "disk.img.zst")
    assert zstd("-dc", str(stored.path)) == data
    assert stored.result.content_hash == content_hash(data, BLOCK)
    assert stored.summary.size == stored.path.stat().st_size


@pytest.mark.parametrize("data", DISKS.values(), ids=DISKS.keys())
def test_every_frame_stands_alone(tmp_path: Path, data: bytes) -> None:
    stored = store(write_image(tmp_path / "raw", data), tmp_path / "disk.img.zst")
    content = stored.path.read_bytes()
    frames = seek_table(content)
    assert len(frames) == stored.summary.frames + 4, "data, and records, hashes, their digests and header"
    assert sum(frame.length for frame in frames) == len(data)
    for frame in frames:
        if frame.length:
            raw = zstandard.ZstdDecompressor().decompress(content[frame.offset : frame.offset + frame.size])
            assert raw == data[frame.position : frame.position + frame.length]


def test_zstd_finds_no_fault(tmp_path: Path) -> None:
    files = store_chain(tmp_path, [mixed(), noise(BLOCK, 9) + mixed()[BLOCK:]], block_size=BLOCK, segment_size=MIB)
    for item in files:
        zstd("-t", str(item.path))
        zstd("-l", str(item.path))
    assert zstd("-dc", str(files[1].path)) == noise(BLOCK, 9)


def test_long_runs_of_zeros_are_frames_that_need_little_memory(tmp_path: Path) -> None:
    size = 200 * MIB + 12345
    image = write_sparse(tmp_path / "raw", size, {130 * MIB + 5: b"data"})
    stored = store(image, tmp_path / "disk.img.zst")
    lengths = [frame.length for frame in seek_table(stored.path.read_bytes()) if frame.length]
    assert lengths == [64 * MIB, 64 * MIB, 2 * MIB, MIB, 64 * MIB, 5 * MIB + 12345]
    assert stored.result.read == 64 * KIB
    assert stored.summary.size < 50 * KIB
    zstd("-t", str(stored.path))
    found = zstd("-dc", str(stored.path))
    assert len(found) == size
    assert found.find(b"data") == 130 * MIB + 5
    assert found.count(b"\0") == size - 4
    assert content_hash(found, BLOCK) == stored.result.content_hash


def test_records_and_hashes_of_a_full(tmp_path: Path) -> None:
    data = mixed()
    stored = store(write_image(tmp_path / "raw", data), tmp_path / "disk.img.zst")
    short = [
        (row[RECORD_SEGMENT], row[RECORD_SEGMENTS], row[RECORD_STORED], row[RECORD_ZERO])
        for row in records(stored.path)
    ]
    assert short == [
        (0, 1, 0xFFFF, 0xFFFF & ~0b10001),
        (1, 1, 0, 0xFFFF),
        (2, 1, 0xFFFF, 0x7FFF),
        (3, 1, 1, 0),
    ]
    wanted = [data[:BLOCK], data[4 * BLOCK : 5 * BLOCK], data[3 * MIB - BLOCK : 3 * MIB], data[3 * MIB :]]
    assert skippables(stored.path.read_bytes())[fmt.MAGIC_HASHES] == [
        b"".join(bytes.fromhex(fmt.digest(block)) for block in wanted)
    ]
    assert header(stored.path)["disk_size"] == len(data)
    assert header(stored.path)["kind"] == "full"


def test_an_incremental_stores_exactly_the_changed_blocks(tmp_path: Path) -> None:
    before = bytearray(noise(5 * 2048 + 700))
    before[2048 : 2 * 2048] = bytes(2048)
    after = bytearray(before)
    after[0:512] = noise(512, 7)  # changed
    after[1024:1536] = bytes(512)  # zeroed
    after[2048 + 512] = 1  # first data in a segment of zeros
    after[3 * 2048 : 4 * 2048] = bytes(2048)  # a segment becomes zeros
    after[-1] ^= 0xFF  # the short last block
    _full, incremental = store_chain(tmp_path, [bytes(before), bytes(after)])
    short = [
        (row[RECORD_SEGMENT], row[RECORD_SEGMENTS], row[RECORD_STORED], row[RECORD_ZERO])
        for row in records(incremental.path)
    ]
    assert short == [(0, 1, 0b0001, 0b0100), (1, 1, 0b0010, 0), (3, 1, 0, 0b1111), (5, 1, 0b10, 0)]
    assert incremental.result.changed == 512 + 512 + 188
    assert incremental.result.content_hash == content_hash(bytes(after), 512)


def test_an_incremental_without_a_change_stores_nothing(tmp_path: Path) -> None:
    data = noise(3 * 2048 - 5)
    files = store_chain(tmp_path, [data, data])
    assert records(files[1].path) == []
    assert files[1].result.changed == 0
    assert [frame.length for frame in seek_table(files[1].path.read_bytes())] == [0, 0, 0, 0]
    with open_files(files) as chain:
        assert chain.content_hash() == files[0].result.content_hash == content_hash(data, 512)


def test_many_hashes_are_split_over_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fmt, "HASHES_PER_FRAME", 6)
    # 24 hashes: the last frame is exactly full; 25: one hash spills over.
    for blocks in (5, 6, 7, 24, 25):
        directory = tmp_path / str(blocks)
        directory.mkdir()
        first, second = noise(blocks * 512, 1), noise(blocks * 512, 2)
        files = store_chain(directory, [first, second])
        for item in files:
            sizes = [len(part) // 32 for part in skippables(item.path.read_bytes())[fmt.MAGIC_HASHES]]
            assert sizes == [6] * (blocks // 6) + [blocks % 6] * bool(blocks % 6)
            zstd("-t", str(item.path))


@pytest.mark.parametrize("piece", [1, 2, 5, 7, 2048])
def test_tables_are_read_in_pieces_that_begin_and_end_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(fmt, "HASHES_PER_FRAME", 6)
    monkeypatch.setattr(fmt, "HASHES_PER_DIGEST", piece)
    monkeypatch.setattr(disk_reader, "RECORDS_PER_PIECE", piece)
    for blocks in (5, 6, 7, 24, 25):
        directory = tmp_path / str(blocks)
        directory.mkdir()
        first, second = noise(blocks * 512, 1), noise(blocks * 512, 2)
        files = store_chain(directory, [first, second])
        assert len(skippables(files[0].path.read_bytes())[fmt.MAGIC_DIGESTS][0]) == -(-blocks // piece) * 32
        for count, data in ((1, first), (2, second)):
            with open_files(files[:count]) as chain:
                assert chain.content_hash() == content_hash(data, 512)
                for segment in reversed(range(chain.geometry.segments)):
                    found = chain.read_blocks(chain.at(segment))
                    assert b"".join(found[block] for block in sorted(found)) == data[segment * 2048 :][:2048]


def test_a_file_from_before_there_were_digests(tmp_path: Path) -> None:
    data = noise(9 * 2048) + bytes(4096)
    (full,) = store_chain(tmp_path, [data])
    header_hash = without_digests(full.path)
    zstd("-t", str(full.path))
    with open_chain([(str(full.path), header_hash)]) as chain:
        assert chain.content_hash() == full.result.content_hash
        assert chain.read_blocks(chain.at(8))[3] == data[8 * 2048 + 1536 : 9 * 2048]
    found = check_disk_file(str(full.path), header_hash, full.path.stat().st_size)
    assert (found.problems, found.readable) == ((), True)
    flip(full.path, header(full.path)["hashes_offset"] + 3)
    with pytest.raises(CorruptVaultError, match="the block hashes are not what was recorded"):
        open_chain([(str(full.path), header_hash)])


def test_a_table_of_records_is_read_like_a_list(tmp_path: Path) -> None:
    (full,) = store_chain(tmp_path, [noise(2048) + bytes(4096) + noise(2048)])
    with DiskFile(*full.link) as file:
        assert [tuple(record) for record in file.records] == records(full.path)
        assert len(file.records) == 3
        rows = list(file.records)
        assert [list(file.records.since(segment)) for segment in range(5)] == [rows, rows[1:], rows[1:], rows[2:], []]


@pytest.mark.parametrize(
    "geometry",
    [
        (0, 512, 2048),
        (-1, 512, 2048),
        (10, 0, 2048),
        (10, 512, 0),
        (10, 512, -2048),
        (10, 512, 2047),
        (10, 512, 65 * 512),
        (10, 128 * MIB, 128 * MIB),
        (2**60, 64 * KIB, MIB),
    ],
)
def test_impossible_geometries_are_refused(tmp_path: Path, geometry: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="sizes do not fit|more blocks than"):
        DiskWriter(str(tmp_path / "x"), Geometry(*geometry), "full", FrameCompressor())
    assert not (tmp_path / "x").exists()


def test_a_writer_wants_segments_in_order_and_a_full_all_of_them(tmp_path: Path) -> None:
    geometry = Geometry(4 * 2048, 512, 2048)
    full = DiskWriter(str(tmp_path / "full"), geometry, "full", FrameCompressor())
    full.add_zeros(0, 1)
    with pytest.raises(ValueError, match="segment 2 does not follow 0"):
        full.add_zeros(2, 1)
    with pytest.raises(ValueError, match="segment 1 of a full lacks blocks"):
        full.add_frame(1, 0b0111, 0b1000, bytes(96), FRAME)
    with pytest.raises(ValueError, match="a full of 4 segments ends at 1"):
        full.finish(EMPTY_STATE)
    full.abort()
    part = DiskWriter(str(tmp_path / "part"), geometry, "incremental", FrameCompressor())
    with pytest.raises(ValueError, match="32 bytes of hashes for mask 0x3"):
        part.add_frame(1, 0b0011, 0, bytes(32), FRAME)
    part.add_zeros(2, 1)
    with pytest.raises(ValueError, match="segment 1 does not follow 2"):
        part.add_zeros(1, 1)
    part.abort()


def test_zero_frames_are_compressed_once_per_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    compressor = FrameCompressor()
    zeros = compressor.zeros
    monkeypatch.setattr(compressor, "zeros", lambda length: (asked.append(length), zeros(length))[1])
    geometry = Geometry((disk_writer._ZERO_FRAME_SEGMENTS * 3 + 1) * 2048, 512, 2048)
    writer = DiskWriter(str(tmp_path / "full"), geometry, "full", compressor)
    writer.add_zeros(0, geometry.segments)
    assert writer.finish(EMPTY_STATE).frames == 4
    assert asked == [64 * 2048, 2048]
