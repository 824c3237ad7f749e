# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One disk into one disk file: what is read, what is stored, and what happens when the image does not hold still."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from unit.vault.builders import (
    KIB,
    MIB,
    content_hash,
    content_state,
    header,
    noise,
    open_files,
    store,
    store_chain,
    write_image,
    write_sparse,
)

from ansible_collections.ovm.backup.plugins.module_utils.errors import CorruptVaultError, SourceError, VaultWriteError
from ansible_collections.ovm.backup.plugins.module_utils.images.local import LocalImage
from ansible_collections.ovm.backup.plugins.module_utils.transfer.disk_backup import DiskResult, backup_disk
from ansible_collections.ovm.backup.plugins.module_utils.vault import format as fmt
from ansible_collections.ovm.backup.plugins.module_utils.vault.chain import DiskChain
from ansible_collections.ovm.backup.plugins.module_utils.vault.disk_writer import DiskWriter, FrameCompressor
from ansible_collections.ovm.backup.plugins.module_utils.vault.format import Geometry


def transfer(
    image: Path,
    target: Path,
    *,
    base: DiskChain | None = None,
    geometry: Geometry | None = None,
    progress: Callable[[int, int], None] | None = None,
    workers: int = 2,
) -> DiskResult:
    with LocalImage(str(image)) as source:
        cut = geometry or Geometry(source.size, 4 * KIB, 64 * KIB)
        compressor = FrameCompressor()
        writer = DiskWriter(str(target), cut, "full" if base is None else "incremental", compressor)
        try:
            result = backup_disk(source, writer, cut, compressor, base=base, progress=progress, workers=workers)
            writer.finish(result.content_state)
            return result
        finally:
            writer.abort()


def test_only_data_is_read(tmp_path: Path) -> None:
    image = write_sparse(tmp_path / "raw", MIB + 5, {100 * KIB: noise(10), 900 * KIB: bytes(8 * KIB)})
    calls: list[tuple[int, int]] = []
    result = transfer(image, tmp_path / "x", progress=lambda now, size: calls.append((now, size)))
    data = bytes(100 * KIB) + noise(10) + bytes(MIB + 5 - 100 * KIB - 10)
    # A block with data, two with zeros that are written down.
    assert result == DiskResult(content_hash(data, 4 * KIB), content_state(data, 4 * KIB), 12 * KIB, 64 * KIB)
    assert calls[-1] == (MIB + 5, MIB + 5)
    assert [now for now, _size in calls] == sorted(now for now, _size in calls)


@pytest.mark.parametrize("workers", [1, 4])
def test_the_result_does_not_depend_on_the_number_of_threads(tmp_path: Path, workers: int) -> None:
    data = noise(300 * KIB) + bytes(100 * KIB) + noise(200 * KIB + 17, 1)
    image = write_image(tmp_path / "raw", data)
    result = transfer(image, tmp_path / "x", workers=workers)
    transfer(image, tmp_path / "again")
    assert result.content_hash == content_hash(data, 4 * KIB)
    assert (tmp_path / "x").read_bytes() == (tmp_path / "again").read_bytes()


def test_an_incremental_reads_the_data_but_not_what_was_a_hole_and_is_one(tmp_path: Path) -> None:
    image = write_sparse(tmp_path / "raw", 10 * MIB, {0: noise(MIB), 5 * MIB: noise(MIB, 1)})
    full = store(image, tmp_path / "full", block_size=4 * KIB, segment_size=64 * KIB)
    with image.open("r+b") as file:
        file.seek(5 * MIB + 4096)
        file.write(b"changed")
    with open_files([full]) as base:
        result = transfer(image, tmp_path / "x", base=base)
    assert (result.read, result.changed) == (2 * MIB, 4 * KIB)
    assert header(tmp_path / "x")["hashes"] == 1


def test_a_punched_hole_is_stored_as_zeros_without_data(tmp_path: Path) -> None:
    data = noise(640 * KIB)
    full = store(write_image(tmp_path / "raw", data), tmp_path / "full", block_size=4 * KIB, segment_size=64 * KIB)
    holes = data[: 64 * KIB] + bytes(200 * KIB) + data[264 * KIB :]
    with open_files([full]) as base:
        result = transfer(write_image(tmp_path / "raw", holes), tmp_path / "x", base=base)
    assert result.changed == 0
    assert result.content_hash == content_hash(holes, 4 * KIB)
    assert header(tmp_path / "x")["hashes"] == 0


@pytest.mark.parametrize("incremental", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        lambda image: os.truncate(image, 200 * KIB),
        lambda image: os.truncate(image, 2 * MIB),
        lambda image: os.utime(image, ns=(0, 0)),
    ],
    ids=["truncated", "appended", "written"],
)
def test_an_image_that_changes_is_no_backup(tmp_path: Path, change: Callable[[Path], None], incremental: bool) -> None:
    image = write_image(tmp_path / "raw", noise(MIB))
    bases = [store(image, tmp_path / "full", block_size=4 * KIB, segment_size=64 * KIB)] if incremental else []
    changed: list[bool] = []

    def progress(_now: int, _size: int) -> None:
        if not changed:
            changed.append(True)
            change(image)

    with pytest.raises(SourceError) as caught:
        if bases:
            with open_files(bases) as base:
                transfer(image, tmp_path / "x", base=base, progress=progress)
        else:
            transfer(image, tmp_path / "x", progress=progress)
    assert str(image) in caught.value.message
    assert caught.value.details["path"] == str(image)


def test_an_image_that_is_cut_off_says_where(tmp_path: Path) -> None:
    image = write_image(tmp_path / "raw", noise(MIB))
    with pytest.raises(SourceError) as caught:
        transfer(image, tmp_path / "x", progress=lambda _now, _size: os.truncate(image, 200 * KIB), workers=1)
    # What was read ahead may already be past that place.
    assert caught.value.details["offset"] in range(200 * KIB, MIB, 1)
    assert "it was truncated while it was read" in caught.value.message


@pytest.mark.parametrize("size", [MIB - 1, MIB + 1, 64 * KIB])
def test_an_image_of_another_size_than_was_planned(tmp_path: Path, size: int) -> None:
    image = write_image(tmp_path / "raw", noise(MIB))
    with pytest.raises(ValueError, match=f"{image} has 1048576 bytes, that does not fit"):
        transfer(image, tmp_path / "x", geometry=Geometry(size, 4 * KIB, 64 * KIB))


def test_a_base_that_is_cut_in_another_way(tmp_path: Path) -> None:
    data = noise(64 * KIB)
    with (
        open_files(store_chain(tmp_path, [data])) as base,
        pytest.raises(ValueError, match="does not fit .* or the base"),
    ):
        transfer(write_image(tmp_path / "raw", data), tmp_path / "x", base=base)


def test_an_interruption_ends_the_transfer(tmp_path: Path) -> None:
    image = write_image(tmp_path / "raw", noise(MIB))

    def interrupt(_now: int, _size: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transfer(image, tmp_path / "x", progress=interrupt)


def test_a_base_that_is_damaged_while_it_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fmt, "HASHES_PER_DIGEST", 16)  # a table that is larger than what is read at once
    data = noise(MIB)
    image = write_image(tmp_path / "raw", data)
    full = store(image, tmp_path / "full", block_size=4 * KIB, segment_size=64 * KIB)
    with open_files([full]) as base:
        os.truncate(full.path, 100)
        with pytest.raises(CorruptVaultError, match="the file ends too early"):
            transfer(image, tmp_path / "x", base=base)


def test_a_vault_that_fails_while_data_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = write_image(tmp_path / "raw", noise(MIB))
    target = tmp_path / "x"
    with LocalImage(str(image)) as source:
        geometry = Geometry(source.size, 4 * KIB, 64 * KIB)
        writer = DiskWriter(str(target), geometry, "full", FrameCompressor())

        def fail(_data: bytes) -> int:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch, pytest.raises(VaultWriteError, match="the vault is full"):
            patch.setattr(writer, "_file", type("Full", (), {"write": staticmethod(fail)})())
            backup_disk(source, writer, geometry, FrameCompressor())
        writer.abort()


PROGRAM = r"""
import json, re, sys
from ansible_collections.ovm.backup.plugins.module_utils.transfer.disk_backup import backup_disk
from ansible_collections.ovm.backup.plugins.module_utils.images.local import LocalImage
from ansible_collections.ovm.backup.plugins.module_utils.vault.disk_writer import DiskWriter, FrameCompressor
from ansible_collections.ovm.backup.plugins.module_utils.vault.format import Geometry
with LocalImage(sys.argv[1]) as source:
    geometry, compressor = Geometry(source.size), FrameCompressor()
    writer = DiskWriter(sys.argv[2], geometry, "full", compressor)
    result = backup_disk(source, writer, geometry, compressor, workers=4)
    summary = writer.finish(result.content_state)
# Not ru_maxrss, which counts the memory of the process that started this one too.
peak = int(re.search(r"VmHWM:\s+(\d+) kB", open("/proc/self/status").read()).group(1))
print(json.dumps([result.read, summary.size, peak]))
"""


def test_a_large_disk_needs_little_memory(tmp_path: Path) -> None:
    # 64 GiB, of which 100 blocks are to be read.
    image = write_sparse(tmp_path / "raw", 64 * KIB * MIB, {n * KIB * MIB * 3: b"x" for n in range(20)})
    with image.open("r+b") as file:
        for number in range(80):
            file.seek(KIB * MIB + number * MIB)
            file.write(b"data")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(image), str(tmp_path / "x")],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    read, size, peak = json.loads(done.stdout)
    assert read == 100 * 64 * KIB  # a block each
    assert size == (tmp_path / "x").stat().st_size < 4 * MIB
    assert peak < 150 * KIB, f"{peak} KiB"
