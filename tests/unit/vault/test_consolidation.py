# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disk files merged into one: the same disk, frames copied where that is possible, damage found."""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.vault.builders import (
    RECORD_LENGTH,
    RECORD_OFFSET,
    RECORD_STORED,
    RECORD_ZERO,
    content_hash,
    content_state,
    frames,
    noise,
    open_files,
    records,
    store_chain,
    unpacked,
)
from unit.vault.histories import BLOCK, SEGMENT, State, histories

from ansible_collections.ovm.backup.plugins.module_utils.errors import CorruptVaultError
from ansible_collections.ovm.backup.plugins.module_utils.vault.chain import Overlay, open_chain, open_overlay
from ansible_collections.ovm.backup.plugins.module_utils.vault.consolidation import MergeResult, merge_disk_files
from ansible_collections.ovm.backup.plugins.module_utils.vault.disk_reader import DiskFile
from ansible_collections.ovm.backup.plugins.module_utils.vault.disk_writer import (
    DiskFileSummary,
    DiskWriter,
    FrameCompressor,
)
from ansible_collections.ovm.backup.plugins.module_utils.vault.format import Geometry


def merge(overlay: Overlay, path: Path, kind: str, **options: object) -> tuple[tuple[str, str], MergeResult]:
    """Merge files into one; return what opens it and what became of it."""
    compressor = FrameCompressor()
    writer = DiskWriter(str(path), overlay.geometry, kind, compressor)
    try:
        with overlay:
            result = merge_disk_files(overlay, writer, compressor, **options)  # type: ignore[arg-type]
        summary: DiskFileSummary = writer.finish(result.content_state)
    finally:
        writer.abort()
    return (str(path), summary.header_hash), result


def read_all(path: tuple[str, str], *below: tuple[str, str]) -> bytes:
    """Return the disk that files give, newest first."""
    with open_chain([path, *below]) as chain:
        image = bytearray(chain.geometry.size)
        for resolved in chain.segments():
            for block, content in chain.read_blocks(resolved).items():
                start = resolved.segment * SEGMENT + block * BLOCK
                image[start : start + len(content)] = content
        return bytes(image)


@settings(max_examples=60)
@given(histories())
def test_a_full_of_a_chain_is_its_disk(history: list[State]) -> None:
    with tempfile.TemporaryDirectory() as name, mock.patch("os.fsync"):
        files = store_chain(Path(name), [state.data for state in history])
        merged, result = merge(open_files(files), Path(name, "merged"), "full", workers=2)
        assert result.content_hash == files[-1].result.content_hash
        assert unpacked(Path(name, "merged")) == history[-1].data
        with open_chain([merged]) as chain:
            assert chain.content_hash() == result.content_hash
        made = frames(Path(name, "merged"))
        assert result.copied + result.repacked == len(made)
        originals = [found for file in files for found in frames(file.path).items()]
        assert sum(item in originals for item in made.items()) >= result.copied


@settings(max_examples=60)
@given(histories(), st.data())
def test_incrementals_become_one(history: list[State], data: st.DataObject) -> None:
    """With what lies below them the merged file gives the same disk as the files that went into it."""
    with tempfile.TemporaryDirectory() as name, mock.patch("os.fsync"):
        files = store_chain(Path(name), [state.data for state in history])
        first = data.draw(st.integers(1, len(files) - 1))
        last = data.draw(st.integers(first, len(files) - 1))
        parts = [file.link for file in reversed(files[first : last + 1])]
        below = [file.link for file in reversed(files[:first])]
        above = [file.link for file in reversed(files[last + 1 :])]
        merged, result = merge(open_overlay(parts), Path(name, "merged"), "incremental", workers=2)
        assert result.content_hash is None
        assert result.content_state == content_state(history[last].data, BLOCK)
        assert read_all(merged, *below) == history[last].data
        assert read_all((above or [merged])[0], *[*above, merged][1:], *below) == history[-1].data
        with DiskFile(*merged) as file:
            assert not file.is_full
            for record in file.records:  # in an incremental no block is zero and stored at once
                assert not record.stored & record.zero
        if first == last:  # one file alone is copied as it is
            assert Path(name, "merged").read_bytes() == files[first].path.read_bytes()
            assert result.repacked == 0


def test_what_is_copied_and_what_is_not(tmp_path: Path) -> None:
    first = noise(4 * SEGMENT) + bytes(3 * SEGMENT) + noise(SEGMENT + 100, 1)
    second = bytearray(first)
    second[0:SEGMENT] = noise(SEGMENT, 2)  # all of segment 0: its new frame holds it
    second[SEGMENT : SEGMENT + BLOCK] = noise(BLOCK, 3)  # a block of segment 1
    second[2 * SEGMENT : 3 * SEGMENT] = bytes(SEGMENT)  # segment 2 vanishes, 3 stays
    files = store_chain(tmp_path, [first, bytes(second)])
    seen: list[tuple[int, int]] = []
    merged, result = merge(
        open_files(files), tmp_path / "merged", "full", progress=lambda *done: seen.append(done), workers=1
    )
    assert result == MergeResult(
        content_state(bytes(second), BLOCK), content_hash(bytes(second), BLOCK), copied=4, repacked=1
    )
    old, new, made = frames(files[0].path), frames(files[1].path), frames(tmp_path / "merged")
    assert {number: made[number] for number in (0, 3, 7, 8)} == {0: new[0], **{n: old[n] for n in (3, 7, 8)}}
    assert sorted(made) == [0, 1, 3, 7, 8]
    assert unpacked(tmp_path / "merged") == second
    assert seen == [(min(end * SEGMENT, len(first)), len(first)) for end in (1, 2, 3, 4, 7, 8, 9)]
    assert merged[0] == str(tmp_path / "merged")


def test_zeros_over_the_frame_of_an_incremental(tmp_path: Path) -> None:
    """What vanished since belongs to the merged file, and the frame of the rest is still copied."""
    states = [bytearray(noise(2 * SEGMENT)) for _state in range(3)]
    for state in states[1:]:
        state[0:BLOCK] = noise(BLOCK, 1)
    states[2][BLOCK : 2 * BLOCK] = bytes(BLOCK)
    files = store_chain(tmp_path, [bytes(state) for state in states])
    overlay = open_overlay([files[2].link, files[1].link])
    merged, result = merge(overlay, tmp_path / "merged", "incremental")
    assert result == MergeResult(content_state(bytes(states[2]), BLOCK), None, copied=1, repacked=0)
    (row,) = records(tmp_path / "merged")
    assert (row[RECORD_STORED], row[RECORD_ZERO]) == (0b01, 0b10)
    assert frames(tmp_path / "merged") == frames(files[1].path)
    assert read_all(merged, files[0].link) == states[2]


def test_a_frame_of_another_disk_of_the_file_is_repacked_without_its_dead_blocks(tmp_path: Path) -> None:
    """A block that vanished must not stay in a full's frame."""
    first = noise(SEGMENT)
    second = bytes(BLOCK) + first[BLOCK:]
    files = store_chain(tmp_path, [first, second])
    _merged, result = merge(open_files(files), tmp_path / "merged", "full")
    assert (result.copied, result.repacked) == (0, 1)
    assert unpacked(tmp_path / "merged") == second


@pytest.mark.parametrize("changed", [False, True])
def test_damage_is_found_whether_a_frame_is_copied_or_not(tmp_path: Path, changed: bool) -> None:
    first = noise(SEGMENT)
    second = (noise(BLOCK, 1) + first[BLOCK:]) if changed else first
    files = store_chain(tmp_path, [first, second])
    (row,) = records(files[0].path)
    data = bytearray(files[0].path.read_bytes())
    data[row[RECORD_OFFSET] + row[RECORD_LENGTH] // 2] ^= 1
    files[0].path.write_bytes(data)
    with pytest.raises(CorruptVaultError) as caught:
        merge(open_files(files), tmp_path / "merged", "full")
    assert caught.value.details == {"path": str(files[0].path), "offset": 0}


def test_a_writer_that_does_not_fit(tmp_path: Path) -> None:
    files = store_chain(tmp_path, [noise(2 * SEGMENT), noise(SEGMENT) + noise(SEGMENT, 1)])
    writer = DiskWriter(str(tmp_path / "other"), Geometry(SEGMENT, BLOCK, SEGMENT), "full", FrameCompressor())
    with open_files(files) as chain, pytest.raises(ValueError, match="do not fit a writer"):
        merge_disk_files(chain, writer, FrameCompressor())
    writer.abort()
    with pytest.raises(ValueError, match="segment 1 does not follow -1"):
        merge(open_overlay([files[1].link]), tmp_path / "merged", "full")
