# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A disk read anywhere: what is read is what was backed up, in whatever order, by however many."""

from __future__ import annotations

import concurrent.futures
import random
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.vault.builders import MIB, Stored, noise, open_files, records, store, store_chain, write_sparse

from ansible_collections.ovm.backup.plugins.module_utils.errors import CorruptVaultError
from ansible_collections.ovm.backup.plugins.module_utils.vault import disk_reader
from ansible_collections.ovm.backup.plugins.module_utils.vault.random_access import DiskReader, Extent, preferred_size

BLOCK, SEGMENT = 512, 2048
SIZE = 20 * SEGMENT + 700


def states() -> list[bytes]:
    """A disk with data, holes in the middle of segments and whole ones, three times changed; the end is short."""
    data = bytearray(noise(4 * SEGMENT) + bytes(9 * SEGMENT) + noise(SIZE - 13 * SEGMENT, 1))
    data[14 * SEGMENT + BLOCK : 14 * SEGMENT + 3 * BLOCK] = bytes(2 * BLOCK)
    found = [bytes(data)]
    for number in range(1, 4):
        data[number * SEGMENT + 700 : number * SEGMENT + 900] = noise(200, number + 5)
        data[8 * SEGMENT + number * BLOCK : 8 * SEGMENT + number * BLOCK + 9] = b"something"
        data[15 * SEGMENT : 16 * SEGMENT] = bytes(SEGMENT)
        found.append(bytes(data))
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Stored]:
    return store_chain(tmp_path_factory.mktemp("chain"), states(), block_size=BLOCK, segment_size=SEGMENT)


@given(st.data())
def test_any_range_of_any_point(files: list[Stored], data: st.DataObject) -> None:
    age = data.draw(st.integers(1, len(files)))
    state = states()[age - 1]
    with open_files(files[:age]) as chain:
        reader = DiskReader(chain, cache_size=data.draw(st.sampled_from([0, SEGMENT, 3 * SEGMENT])))
        for _number in range(data.draw(st.integers(1, 8))):
            offset = data.draw(st.integers(0, SIZE))
            length = data.draw(st.integers(0, SIZE - offset))
            assert reader.read(offset, length) == state[offset : offset + length]
            extents = list(reader.extents(offset, length))
            assert (
                "".join("0" * found.length if found.zero else "1" * found.length for found in extents)
                == "".join(
                    ("1" if state[start : start + BLOCK].strip(b"\0") else "0") * BLOCK
                    for start in range(0, SIZE, BLOCK)
                )[offset : offset + length]
            )
            assert [found.offset for found in extents] == [
                offset + sum(found.length for found in extents[:number]) for number in range(len(extents))
            ]
            assert [a.zero for a in extents[1:]] == [not a.zero for a in extents[:-1]], "neighbours are joined"


def test_threads_share_a_reader(files: list[Stored]) -> None:
    state = states()[-1]
    ranges = [(random.Random(seed).randrange(SIZE - 3000), 3000) for seed in range(400)]
    with open_files(files) as chain, concurrent.futures.ThreadPoolExecutor(8) as pool:
        reader = DiskReader(chain, cache_size=4 * SEGMENT)
        assert list(pool.map(lambda found: reader.read(*found), ranges)) == [
            state[offset : offset + length] for offset, length in ranges
        ]


def test_what_was_read_last_is_not_read_again(files: list[Stored]) -> None:
    def frames_read(reader: DiskReader, *segments: int) -> int:
        with mock.patch.object(disk_reader.DiskFile, "frame", autospec=True, side_effect=frame) as reading:
            for segment in segments:
                reader.read(segment * SEGMENT + 5, 10)
            return reading.call_count

    frame = disk_reader.DiskFile.frame
    with open_files(files[:1]) as chain:
        reader = DiskReader(chain, cache_size=2 * SEGMENT)
        assert frames_read(reader, 0, 0, 1, 0, 1) == 2
        assert frames_read(reader, 0, 16) == 1
        # The one that was used least recently has gone; holes never take a place.
        assert frames_read(reader, *range(4, 13), 0, 16) == 0
        assert frames_read(reader, 1) == 1


def test_damage_is_noticed_where_it_lies(files: list[Stored], tmp_path: Path) -> None:
    stored = store_chain(tmp_path, states()[:1], block_size=BLOCK, segment_size=SEGMENT)[0]
    row = next(row for row in records(stored.path) if row[0] == 2)
    data = bytearray(stored.path.read_bytes())
    data[row[2] + row[3] // 2] ^= 1
    stored.path.write_bytes(data)
    with open_files([stored]) as chain:
        reader = DiskReader(chain)
        for _attempt in range(2):
            with pytest.raises(CorruptVaultError, match="is damaged at offset"):
                reader.read(SEGMENT, 2 * SEGMENT)
        assert reader.read(3 * SEGMENT, SEGMENT) == states()[0][3 * SEGMENT : 4 * SEGMENT]


def test_outside_of_the_disk(files: list[Stored]) -> None:
    with open_files(files) as chain:
        reader = DiskReader(chain)
        for offset, length in ((SIZE, 1), (-1, 2), (0, SIZE + 1)):
            with pytest.raises(ValueError, match="not all within a disk"):
                reader.read(offset, length)
            with pytest.raises(ValueError, match="not all within a disk"):
                list(reader.extents(offset, length))


def test_a_large_sparse_disk(tmp_path: Path) -> None:
    image = write_sparse(tmp_path / "raw", 1 << 40, {(5 << 30) + 4096: b"data"})
    with open_files([store(image, tmp_path / "full.zst")]) as chain:
        reader = DiskReader(chain)
        assert (reader.size, reader.block_size, preferred_size(reader)) == (1 << 40, 65536, 65536)
        assert list(reader.extents(0, 1 << 40)) == [
            Extent(0, 5 << 30, True),
            Extent(5 << 30, 65536, False),
            Extent((5 << 30) + 65536, (1 << 40) - (5 << 30) - 65536, True),
        ]
        assert reader.read((5 << 30) - MIB, 2 * MIB) == bytes(MIB + 4096) + b"data" + bytes(MIB - 4100)
