# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Increments that read only what extent maps call changed: the disk is the same as if all of it had been read."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit.transfer.reflinks import File, FileSystem, Image
from unit.vault.builders import KIB, content_hash, noise

from ansible_collections.ovm.backup.plugins.module_utils.errors import ChangeDetectionError
from ansible_collections.ovm.backup.plugins.module_utils.images.maps import mapped_data
from ansible_collections.ovm.backup.plugins.module_utils.images.types import ExtentMap, Span
from ansible_collections.ovm.backup.plugins.module_utils.transfer.changes import find_changes
from ansible_collections.ovm.backup.plugins.module_utils.transfer.disk_backup import (
    Comparison,
    DiskResult,
    backup_disk,
)
from ansible_collections.ovm.backup.plugins.module_utils.transfer.disk_restore import restore_disk
from ansible_collections.ovm.backup.plugins.module_utils.transfer.sampling import check_sample, draw_sample
from ansible_collections.ovm.backup.plugins.module_utils.vault.chain import DiskChain, open_chain
from ansible_collections.ovm.backup.plugins.module_utils.vault.disk_writer import DiskWriter, FrameCompressor
from ansible_collections.ovm.backup.plugins.module_utils.vault.format import Geometry

BLOCK, SEGMENT = 512, 2048
Link = tuple[str, str]


def store(
    image: Image, path: Path, *, base: DiskChain | None = None, reference: Image | None = None, sample: float = 0
) -> tuple[Link, DiskResult]:
    geometry = Geometry(image.size, BLOCK, SEGMENT)
    compressor = FrameCompressor()
    comparison = None
    if base is not None and reference is not None:
        changes = find_changes(reference.extents(), image.extents())
        comparison = Comparison(reference, changes)
        drawn = draw_sample(
            mapped_data(image.extents()), changes, geometry, percent=sample, chance=random.Random(image.size)
        )
        check_sample(image, base, drawn)
    writer = DiskWriter(str(path), geometry, "full" if base is None else "incremental", compressor)
    try:
        result = backup_disk(image, writer, geometry, compressor, base=base, comparison=comparison, workers=2)
        return (str(path), writer.finish(result.content_state).header_hash), result
    finally:
        writer.abort()


def chain_of(files: list[Link]) -> DiskChain:
    return open_chain(list(reversed(files)))


OPERATIONS = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 19_999), st.integers(1, 5_000), st.integers(0, 9)),
    st.tuples(st.just("zeros"), st.integers(0, 19_999), st.integers(1, 5_000), st.just(0)),
    st.tuples(st.just("punch"), st.integers(0, 19), st.just(0), st.just(0)),
    st.tuples(st.just("allocate"), st.integers(0, 19), st.just(0), st.just(0)),
)


def carry_out(file: File, operation: tuple[str, int, int, int]) -> None:
    kind, where, length, seed = operation
    if kind in ("write", "zeros"):
        length = min(length, file.size - where)
        file.write(where, noise(length, seed) if kind == "write" else bytes(length))
    else:
        getattr(file, kind)(where % len(file.parts))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([300, 512, 1_000, 4_096]),
    st.booleans(),
    st.lists(st.lists(OPERATIONS, max_size=6), min_size=1, max_size=4),
)
def test_the_disk_is_what_it_was(
    tmp_path_factory: pytest.TempPathFactory,
    cluster: int,
    compare: bool,
    days: list[list[tuple[str, int, int, int]]],
) -> None:
    folder = tmp_path_factory.mktemp("disk")
    disk = File(FileSystem(cluster), 20_000)
    disk.write(0, noise(7_000))
    disk.write(9_000, noise(3_000, 1))
    clone = disk.clone()
    link, _result = store(Image(clone), folder / "0")
    files = [link]
    for number, operations in enumerate(days, start=1):
        for operation in operations:
            carry_out(disk, operation)
        new = disk.clone()
        image = Image(new, compare=compare)
        with chain_of(files) as base:
            link, result = store(image, folder / str(number), base=base, reference=Image(clone), sample=100)
        files.append(link)
        assert result.content_hash == content_hash(new.data, BLOCK)
        with chain_of(files) as chain:
            assert chain.content_state == result.content_state
            restore_disk(chain, str(folder / "restored"), content_hash=result.content_hash, overwrite=True)
        assert (folder / "restored").read_bytes() == new.data
        clone.delete()
        clone = new


def changed_disk() -> tuple[File, File]:
    """Return a clone of a disk and one of the disk after 700 bytes of it were written; clusters have 512 bytes."""
    disk = File(FileSystem(512), 100 * KIB)
    disk.write(0, noise(50 * KIB))
    before = disk.clone()
    disk.write(10 * KIB + 100, noise(700, 5))
    return before, disk.clone()


def test_only_the_changed_extents_are_read_and_the_rest_of_a_block_comes_from_the_vault(tmp_path: Path) -> None:
    disk = File(FileSystem(128), 100 * KIB)
    disk.write(0, noise(50 * KIB))
    before = disk.clone()
    disk.write(10 * KIB + 100, noise(20, 5))
    now = Image(disk.clone())
    full, _result = store(Image(before), tmp_path / "full")
    with chain_of([full]) as base:
        increment, result = store(now, tmp_path / "increment", base=base, reference=Image(before))
    assert now.spans_read == [Span(10 * KIB, 10 * KIB + 128)]
    assert (result.read, result.changed) == (128, BLOCK)
    with chain_of([full, increment]) as chain:
        assert chain.content_hash() == content_hash(now.file.data, BLOCK) == result.content_hash


def test_what_was_written_but_is_the_same_is_not_stored(tmp_path: Path) -> None:
    disk = File(FileSystem(512), 100 * KIB)
    data = noise(50 * KIB)
    disk.write(0, data)
    before = disk.clone()
    disk.write(10 * KIB, data[10 * KIB : 20 * KIB])
    full, was = store(Image(before), tmp_path / "full")
    with chain_of([full]) as base:
        increment, result = store(Image(disk.clone()), tmp_path / "increment", base=base, reference=Image(before))
    assert (result.read, result.changed, result.content_hash) == (10 * KIB, 0, was.content_hash)
    with open_chain([increment, full]) as chain:
        assert list(chain.files[0].records) == []


def test_nothing_is_read_where_nothing_changed(tmp_path: Path) -> None:
    before, _now = changed_disk()
    full, was = store(Image(before), tmp_path / "full")
    with chain_of([full]) as base:
        _link, result = store(Image(before.clone()), tmp_path / "increment", base=base, reference=Image(before))
    assert result == DiskResult(was.content_hash, was.content_state, 0, 0)


def test_a_sample_finds_what_a_map_hides(tmp_path: Path) -> None:
    """The proven counter-example of the testbed: the reference was deleted, so its clusters were written in place."""
    disk = File(FileSystem(512), 100 * KIB)
    disk.write(0, noise(50 * KIB))
    clone = disk.clone()
    full, _result = store(Image(clone), tmp_path / "full")
    old_map = clone.extents()
    clone.delete()
    disk.write(10 * KIB, noise(512, 3))
    now = Image(disk.clone())
    assert find_changes(old_map, now.extents()).data == ()
    lying: Any = Image(disk.clone(), "clone.img")
    with chain_of([full]) as base, pytest.raises(ChangeDetectionError) as caught:
        store(now, tmp_path / "increment", base=base, reference=lying, sample=100)
    assert caught.value.details == {"path": "image", "offset": 10 * KIB}
    assert "the map cannot be trusted, so the next backup of this VM is a full" in caught.value.message


def test_a_sample_finds_a_hole_that_is_none(tmp_path: Path) -> None:
    disk = File(FileSystem(512), 100 * KIB)
    disk.write(0, noise(50 * KIB))
    clone = disk.clone()
    full, _result = store(Image(clone), tmp_path / "full")

    class Blind(Image):
        """An image whose map has lost what lies behind its first part."""

        def extents(self) -> ExtentMap:
            (first,) = self.file.extents().extents
            return ExtentMap(self.size, (first._replace(length=20 * KIB),))

    with chain_of([full]) as base, pytest.raises(ChangeDetectionError, match="extent map says that it holds none"):
        store(Blind(disk.clone()), tmp_path / "increment", base=base, reference=Image(clone), sample=100)
