# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Chains: any point gives back exactly the disk of its time, by whatever way it is read."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from unittest import mock

import blake3
import pytest
from hypothesis import HealthCheck, given, settings
from unit.vault.builders import (
    EMPTY_STATE,
    RECORD,
    RECORD_SEGMENT,
    RECORD_SEGMENTS,
    RECORD_STORED,
    RECORD_ZERO,
    Stored,
    content_hash,
    content_state,
    noise,
    open_files,
    records,
    store,
    store_chain,
    write_image,
    write_sparse,
)
from unit.vault.histories import BLOCK, SEGMENT, State, blocks_of, histories

from ansible_collections.ovm.backup.plugins.module_utils.errors import CorruptVaultError, PointNotFoundError, VaultError
from ansible_collections.ovm.backup.plugins.module_utils.transfer.disk_restore import (
    data_size,
    image_hash,
    restore_disk,
)
from ansible_collections.ovm.backup.plugins.module_utils.vault.chain import (
    DiskChain,
    ResolvedSegment,
    open_chain,
    open_overlay,
)
from ansible_collections.ovm.backup.plugins.module_utils.vault.disk_reader import DiskFile
from ansible_collections.ovm.backup.plugins.module_utils.vault.disk_writer import NO_FRAME, DiskWriter, FrameCompressor
from ansible_collections.ovm.backup.plugins.module_utils.vault.format import Geometry, bits
from ansible_collections.ovm.backup.plugins.module_utils.vault.tables import RecordTable, Table

RUN = 64  # segments of zeros in one frame


def masks_of(file: Stored) -> tuple[set[int], set[int]]:
    """Return the numbers of the blocks, counted over the whole disk, that a file stores and that it says are zeros."""
    stored, zero = set(), set()
    for row in records(file.path):
        for segment in range(row[RECORD_SEGMENT], row[RECORD_SEGMENT] + row[RECORD_SEGMENTS]):
            stored |= {segment * (SEGMENT // BLOCK) + block for block in bits(row[RECORD_STORED])}
            zero |= {segment * (SEGMENT // BLOCK) + block for block in bits(row[RECORD_ZERO])}
    return stored, zero


def check_random_access(chain: DiskChain, data: bytes) -> None:
    geometry = chain.geometry
    for segment in range(geometry.segments):
        resolved = chain.at(segment)
        assert resolved.segment == segment
        assert segment < resolved.end <= geometry.segments
        if not resolved.pieces:
            assert not data[segment * SEGMENT : resolved.end * SEGMENT].strip(b"\0")
        found = chain.read_blocks(resolved)
        for number, block in enumerate(blocks_of(data[segment * SEGMENT : (segment + 1) * SEGMENT])):
            assert found.get(number, bytes(len(block))) == block
            assert (number in found) == bool(block.strip(b"\0"))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories())
def test_every_point_gives_back_the_disk_of_its_time(history: list[State]) -> None:
    # That files are durable is tested elsewhere; here it would only take time.
    with tempfile.TemporaryDirectory() as name, mock.patch("os.fsync"):
        directory = Path(name)
        files: list[Stored] = []
        for number, state in enumerate(history):
            image = write_image(directory / f"{number}.raw", state.data, holes=state.holes)
            target = directory / f"{number}.img.zst"
            if files:
                with open_files(files) as base:
                    files.append(store(image, target, base=base, block_size=BLOCK, segment_size=SEGMENT))
                before, after = blocks_of(history[number - 1].data), blocks_of(state.data)
                changed = {block for block, content in enumerate(after) if content != before[block]}
                zeroed = {block for block in changed if not after[block].strip(b"\0")}
                stored, zero = masks_of(files[-1])
                # A run of zeros up to the end may claim blocks that a short last segment does not have.
                assert (stored, {block for block in zero if block < len(after)}) == (changed - zeroed, zeroed)
                assert files[-1].result.changed == sum(len(after[block]) for block in changed - zeroed)
            else:
                files.append(store(image, target, block_size=BLOCK, segment_size=SEGMENT))
        for number, state in enumerate(history):
            wanted = content_hash(state.data, BLOCK)
            assert files[number].result.content_hash == wanted
            with open_files(files[: number + 1]) as chain:
                assert chain.content_hash() == wanted
                assert chain.content_state == content_state(state.data, BLOCK) == files[number].result.content_state
                if number:
                    assert chain.table_state(files[number - 1].result.content_state) == chain.content_state
                check_random_access(chain, state.data)
                assert data_size(chain) == sum(len(block) for block in blocks_of(state.data) if block.strip(b"\0"))
                target = directory / "restored"
                done = restore_disk(chain, str(target), content_hash=wanted, overwrite=True, workers=2)
                assert target.read_bytes() == state.data
                assert (done.size, done.written) == (len(state.data), data_size(chain))
                assert image_hash(str(target), chain.geometry) == wanted


def test_holes_and_written_zeros_have_the_same_content_hash(tmp_path: Path) -> None:
    data = noise(4096) + bytes(5 * 4096 + 17)
    found = []
    for holes in (True, False):
        image = write_image(tmp_path / f"{holes}.raw", data, holes=holes)
        found.append(store(image, tmp_path / f"{holes}.zst", block_size=BLOCK, segment_size=SEGMENT))
    assert [item.result.content_hash for item in found] == [content_hash(data, BLOCK)] * 2
    assert found[0].path.read_bytes() == found[1].path.read_bytes()
    assert [item.result.read for item in found] == [4096, len(data)]


def test_long_runs_of_zeros_are_overlaid_by_later_points(tmp_path: Path) -> None:
    size = (3 * RUN + 7) * SEGMENT + 700
    states = [bytearray(size)]
    states.append(bytearray(size))
    states[-1][100 * SEGMENT : 102 * SEGMENT] = noise(2 * SEGMENT)
    states.append(bytearray(states[-1]))
    states[-1][101 * SEGMENT : 102 * SEGMENT] = bytes(SEGMENT)
    states[-1][-1] = 9
    files = store_chain(tmp_path, [bytes(state) for state in states])
    runs = []
    for count in (1, 2, 3):
        with open_files(files[:count]) as chain:
            check_random_access(chain, bytes(states[count - 1]))
            runs.append([(found.segment, found.segments, len(found.pieces)) for found in chain.segments()])
            assert chain.content_hash() == content_hash(bytes(states[count - 1]), BLOCK)
    assert runs[0] == [(0, 200, 0)]
    assert runs[1] == [(0, 100, 0), (100, 1, 1), (101, 1, 1), (102, 98, 0)]
    assert runs[2] == [(0, 100, 0), (100, 1, 1), (101, 1, 0), (102, 97, 0), (199, 1, 2)]


def test_segments_outside_the_disk(tmp_path: Path) -> None:
    with open_files(store_chain(tmp_path, [noise(3 * SEGMENT)])) as chain:
        for segment in (-1, 3, 99):
            with pytest.raises(IndexError, match=f"segment {segment} of a disk of 3 segments"):
                chain.at(segment)


def test_a_chain_in_the_wrong_order(tmp_path: Path) -> None:
    states = [noise(3 * SEGMENT, seed) for seed in range(3)]
    full, first, second = files = store_chain(tmp_path, states)
    with pytest.raises(CorruptVaultError, match="is the start of a chain but not a full") as caught:
        open_chain([full.link, first.link])
    assert caught.value.details == {"path": str(first.path), "offset": 0}
    # Swapped incrementals fit each other; the hash of the whole disk tells.
    with open_chain([first.link, second.link, full.link]) as chain, pytest.raises(CorruptVaultError) as caught:
        restore_disk(chain, str(tmp_path / "target"), content_hash=second.result.content_hash)
    assert caught.value.message == f"{first.path} and its bases give another disk than the manifest says"
    assert not list(tmp_path.glob("target*"))
    with open_files(files) as chain:
        restore_disk(chain, str(tmp_path / "target"), content_hash=second.result.content_hash)
    assert (tmp_path / "target").read_bytes() == states[2]


def test_a_chain_without_its_full(tmp_path: Path) -> None:
    _full, first, second = store_chain(tmp_path, [noise(SEGMENT, seed) for seed in range(3)])
    with pytest.raises(CorruptVaultError, match="is the start of a chain but not a full"):
        open_chain([second.link, first.link])


def test_a_chain_with_a_missing_file(tmp_path: Path) -> None:
    files = store_chain(tmp_path, [noise(SEGMENT, seed) for seed in range(3)])
    files[1].path.unlink()
    with pytest.raises(PointNotFoundError) as caught:
        open_files(files)
    assert caught.value.details == {"path": str(files[1].path)}


def test_a_chain_of_disks_of_different_sizes(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (full, _first), (_full, other) = (
        store_chain(tmp_path, [noise(SEGMENT), noise(SEGMENT, 1)]),
        store_chain(tmp_path / "other", [noise(SEGMENT + 1), noise(SEGMENT + 1, 1)]),
    )
    with pytest.raises(CorruptVaultError) as caught:
        open_chain([other.link, full.link])
    assert caught.value.message == f"{full.path} describes a disk of 2048 bytes, {other.path} one of 2049"


def test_a_file_that_may_not_be_opened_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (full,) = store_chain(tmp_path, [noise(SEGMENT)])

    def refuse(*_arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(VaultError) as caught:
        DiskFile(*full.link)
    assert caught.type is VaultError
    assert caught.value.message == f"Cannot read {full.path}: Permission denied"


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.EIO, CorruptVaultError), (errno.ECONNRESET, VaultError), (errno.ENOENT, PointNotFoundError)],
)
def test_a_storage_that_does_not_answer_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[VaultError]
) -> None:
    """A connection may be lost, an account may run out, and an object be removed, while a file is open."""
    (full,) = store_chain(tmp_path, [noise(SEGMENT)])
    with DiskFile(*full.link) as file:

        def fail(*_arguments: object) -> bytes:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("os.pread", fail)
        with pytest.raises(VaultError) as caught:
            file.raw(0, 10)
    assert caught.type is kind


def nothing_known(segments: int) -> Table:
    """Return records that say nothing of their segments."""
    data = b"".join(RECORD.pack(number, 1, 0, 0, 0, 0, 0, bytes(32)) for number in range(segments))
    table = Table(lambda first, last: data[first * 80 : last * 80], segments, 80, segments, lambda _index: ValueError())
    table.load()
    return table


def test_blocks_that_are_nowhere_in_the_chain(tmp_path: Path) -> None:
    (full,) = store_chain(tmp_path, [noise(2 * SEGMENT)])
    with open_files([full]) as chain:
        # The reader refuses such a file; the chain does not rely on that.
        chain.files[-1].records = RecordTable(nothing_known(2))
        with pytest.raises(CorruptVaultError) as caught:
            chain.at(0)
    assert caught.value.message == (f"{full.path} is damaged: blocks 0xf of segment 0 are nowhere in the chain")


def test_an_overlay_says_what_is_missing(tmp_path: Path) -> None:
    """Runs of segments of which nobody knows anything, and blocks that are nowhere beside others that are."""
    before = noise(8 * SEGMENT)
    after = bytearray(before)
    after[3 * SEGMENT : 3 * SEGMENT + BLOCK] = noise(BLOCK, 1)
    after[4 * SEGMENT : 6 * SEGMENT] = bytes(2 * SEGMENT)
    _full, changes = store_chain(tmp_path, [before, bytes(after)])
    with open_overlay([changes.link]) as overlay:
        found = [(one.segment, one.segments, one.zero, len(one.pieces), one.missing) for one in overlay.segments()]
        assert found == [
            (0, 3, 0, 0, 0b1111), (3, 1, 0, 1, 0b1110), (4, 2, 0b1111, 0, 0), (6, 2, 0, 0, 0b1111),
        ]  # fmt: skip
        assert overlay.at(1) == ResolvedSegment(1, 2, 0, (), 0b1111)
        assert overlay.read_blocks(overlay.at(3)) == {0: bytes(after[3 * SEGMENT : 3 * SEGMENT + BLOCK])}


def test_a_record_that_says_nothing_hides_nothing(tmp_path: Path) -> None:
    """Of a file that another program wrote: it ends a run, because the next record of its file may say something."""
    writer = DiskWriter(str(tmp_path / "a"), Geometry(3 * SEGMENT, BLOCK, SEGMENT), "incremental", FrameCompressor())
    writer.add_frame(0, 0, 0, b"", NO_FRAME)
    content = noise(SEGMENT)
    hashes = b"".join(blake3.blake3(block).digest() for block in blocks_of(content))
    writer.add_frame(1, 0b1111, 0, hashes, FrameCompressor().compress(content))
    newer = (str(tmp_path / "a"), writer.finish(EMPTY_STATE).header_hash)
    (full,) = store_chain(tmp_path, [bytes(3 * SEGMENT)])
    with open_chain([newer, full.link]) as chain:
        assert [(one.segment, one.segments, one.zero) for one in chain.segments()] == [
            (0, 1, 0b1111), (1, 1, 0), (2, 1, 0b1111),
        ]  # fmt: skip
    with open_overlay([newer]) as overlay:
        assert [(one.segment, one.missing) for one in overlay.segments()] == [(0, 0b1111), (1, 0), (2, 0b1111)]


def test_a_file_that_was_removed_or_cannot_be_read_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (full,) = store_chain(tmp_path, [noise(SEGMENT)])

    def fail(*_arguments: object) -> int:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch, pytest.raises(CorruptVaultError) as caught:
        patch.setattr("os.open", fail)
        DiskFile(*full.link)
    assert caught.value.details == {"path": str(full.path), "offset": 0}
    file = DiskFile(*full.link)
    file.close()
    file.close()


def test_reading_the_blocks_of_zeros_inside_a_frame(tmp_path: Path) -> None:
    data = noise(BLOCK) + bytes(BLOCK) + noise(BLOCK, 1) + bytes(100)
    (full,) = store_chain(tmp_path, [data])
    with DiskFile(*full.link) as file:
        (record,) = file.records
        assert file.read(record, 0b1111) == dict(enumerate(blocks_of(data)))
        assert file.read(record, 0b1010) == {1: bytes(BLOCK), 3: bytes(100)}


def test_a_chain_of_many_points(tmp_path: Path) -> None:
    state = bytearray(noise(40 * SEGMENT))
    states = []
    for number in range(40):
        state[number * SEGMENT + 600 : number * SEGMENT + 700] = noise(100, number)
        states.append(bytes(state))
    files = store_chain(tmp_path, states)
    with open_files(files) as chain:
        assert chain.content_hash() == content_hash(states[-1], BLOCK)
        # Segment 0 changed before the full was made, every other one by an incremental of its own.
        assert [len(found.pieces) for found in chain.segments()] == [1] + [2] * 39
        check_random_access(chain, states[-1])


def test_a_sparse_disk_of_a_tebibyte_is_described_by_a_few_records(tmp_path: Path) -> None:
    image = write_sparse(tmp_path / "raw", 1 << 40, {5 << 30: b"data"})
    full = store(image, tmp_path / "full.zst")
    with open_files([full]) as chain:
        again = store(image, tmp_path / "again.zst", base=chain)
        assert [(found.segment, found.segments) for found in chain.segments()] == [
            (0, 5120),
            (5120, 1),
            (5121, (1 << 20) - 5121),
        ]
    assert records(again.path) == []
    assert again.result.content_hash == full.result.content_hash
