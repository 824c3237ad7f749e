# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A disk back into an image: whole, sparse, private, and never in the way of anything else."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from unit.limits import largest_file
from unit.transfer.large import MEMORY, SIZE, large_disk, restored
from unit.vault.builders import (
    KIB,
    MIB,
    RECORD_OFFSET,
    Stored,
    content_hash,
    noise,
    open_files,
    records,
    store,
    store_chain,
    write_image,
    write_sparse,
)

from ansible_collections.ovm.backup.plugins.module_utils.errors import (
    CorruptVaultError,
    InvalidInputError,
    TargetError,
)
from ansible_collections.ovm.backup.plugins.module_utils.transfer import disk_restore
from ansible_collections.ovm.backup.plugins.module_utils.transfer.disk_restore import (
    RestoredImage,
    check_target,
    image_hash,
    restore_disk,
)
from ansible_collections.ovm.backup.plugins.module_utils.vault.format import Geometry

STATE = noise(6000) + bytes(30_000) + noise(700, 1)


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    path = tmp_path / "vault"
    path.mkdir()
    return path


@pytest.fixture
def files(vault: Path) -> list[Stored]:
    return store_chain(vault, [STATE[::-1], STATE])


@pytest.fixture
def target(tmp_path: Path) -> Path:
    directory = tmp_path / "restored"
    directory.mkdir()
    return directory / "disk.img"


def restore(files: list[Stored], target: Path, **options: Any) -> RestoredImage:
    with open_files(files) as chain:
        return restore_disk(chain, str(target), content_hash=files[-1].result.content_hash, **options)


def nothing_but(target: Path, *names: str) -> None:
    assert sorted(os.listdir(target.parent)) == sorted(names)


def test_an_image_is_restored(files: list[Stored], target: Path) -> None:
    calls: list[tuple[int, int]] = []
    done = restore(files, target, progress=lambda now, size: calls.append((now, size)))
    assert target.read_bytes() == STATE
    blocks = [STATE[start : start + 512] for start in range(0, len(STATE), 512)]
    written = sum(len(block) for block in blocks if block.strip(b"\0"))
    assert done == RestoredImage(str(target), len(STATE), written, content_hash(STATE, 512))
    nothing_but(target, "disk.img")
    assert target.stat().st_mode & 0o7777 == 0o600
    assert [size for _now, size in calls] == [len(STATE)] * len(calls)
    assert calls[-1] == (len(STATE), len(STATE))
    assert sorted(calls) == calls


def test_the_result_is_sparse(vault: Path, target: Path) -> None:
    # Written zeros become holes, also inside a segment with data.
    data = noise(4 * KIB) + bytes(252 * KIB) + noise(64 * KIB, 1) + bytes(3 * MIB)
    full = store(write_image(vault / "raw", data, holes=False), vault / "full.zst", block_size=64 * KIB)
    restore([full], target)
    assert target.read_bytes() == data
    assert target.stat().st_blocks * 512 <= 2 * 64 * KIB + 64 * KIB
    assert target.stat().st_size == len(data)


def test_an_existing_image_is_left_alone(files: list[Stored], target: Path) -> None:
    target.write_text("mine")
    with pytest.raises(InvalidInputError) as caught:
        restore(files, target)
    assert caught.value.message == f"{target} exists: name another file, or allow it to be overwritten"
    assert target.read_text() == "mine"
    nothing_but(target, "disk.img")


def test_an_existing_image_is_replaced_when_that_is_allowed(files: list[Stored], target: Path) -> None:
    target.write_bytes(noise(99_999))
    with target.open("rb") as old:
        restore(files, target, overwrite=True)
        assert old.read() == noise(99_999), "who had it open keeps the old one"
    assert target.read_bytes() == STATE
    nothing_but(target, "disk.img")


@pytest.mark.parametrize("kind", ["link", "dangling link", "directory", "pipe"])
def test_only_files_are_replaced(files: list[Stored], target: Path, kind: str) -> None:
    victim = target.parent.parent / "victim"
    if kind == "link":
        victim.write_text("mine")
    if "link" in kind:
        target.symlink_to(victim)
    elif kind == "directory":
        target.mkdir()
    else:
        os.mkfifo(target)
    before = target.lstat().st_mode
    with pytest.raises(TargetError) as caught:
        restore(files, target, overwrite=True)
    assert caught.value.message == f"Cannot restore to {target}: it exists and is not a regular file"
    assert target.lstat().st_mode == before
    nothing_but(target, "disk.img")
    assert not victim.exists() or victim.read_text() == "mine"


def test_an_image_that_appears_meanwhile_is_left_alone(files: list[Stored], target: Path) -> None:
    with pytest.raises(InvalidInputError, match="exists: name another file"):
        restore(files, target, progress=lambda _now, _size: target.write_text("mine"))
    assert target.read_text() == "mine"
    nothing_but(target, "disk.img")


def test_what_a_killed_restore_left_is_used_again(files: list[Stored], target: Path) -> None:
    left = Path(f"{target}.restoring")
    left.write_bytes(noise(200_000))
    left.chmod(0o666)
    restore(files, target)
    assert target.read_bytes() == STATE
    assert target.stat().st_mode & 0o7777 == 0o600
    nothing_but(target, "disk.img")


def test_what_a_killed_restore_left_is_no_lack_of_space(
    files: list[Stored], target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = Path(f"{target}.restoring")
    left.write_bytes(noise(200_000))
    # The system has no more, but that becomes free.
    monkeypatch.setattr(os, "statvfs", lambda _path: SimpleNamespace(f_bavail=0, f_frsize=1))
    with open_files(files) as chain:
        more = check_target(str(target), chain)
        # Likewise for the next image.
        check_target(str(target.with_name("other.img")), chain, promised=more)
    restore(files, target)
    assert target.read_bytes() == STATE


def test_two_restores_do_not_write_the_same_file(files: list[Stored], target: Path) -> None:
    errors: list[str] = []

    def meanwhile(_now: int, _size: int) -> None:
        with pytest.raises(TargetError) as caught:
            restore(files, target)
        errors.append(caught.value.message)

    restore(files, target, progress=meanwhile)
    assert set(errors) == {f"Cannot create {target}.restoring: another restore is writing it"}
    assert target.read_bytes() == STATE
    nothing_but(target, "disk.img")


def test_a_finished_image_is_not_taken_for_what_a_killed_restore_left(
    files: list[Stored], target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        # The other restore gives its file the final name just now.
        monkeypatch.setattr(fcntl, "flock", flock)
        os.rename(f"{target}.restoring", target)
        flock(descriptor, operation)

    Path(f"{target}.restoring").write_text("finished by another")
    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(TargetError, match="another restore is writing it"):
        restore(files, target, overwrite=True)
    assert target.read_text() == "finished by another"
    nothing_but(target, "disk.img")


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_a_strange_thing_in_the_place_of_the_temporary_file(files: list[Stored], target: Path, kind: str) -> None:
    temporary, victim = Path(f"{target}.restoring"), target.parent.parent / "victim"
    victim.write_text("mine")
    if kind == "link":
        temporary.symlink_to(victim)
    elif kind == "pipe":
        os.mkfifo(temporary)
    else:
        temporary.mkdir()
    with pytest.raises(TargetError, match=f"Cannot create {temporary}: "):
        restore(files, target)
    assert victim.read_text() == "mine"
    nothing_but(target, "disk.img.restoring")


@pytest.mark.parametrize(("number", "works"), [(errno.ENOLCK, True), (errno.ENOTSUP, True), (errno.EIO, False)])
def test_file_systems_without_locks(
    files: list[Stored], target: Path, monkeypatch: pytest.MonkeyPatch, number: int, works: bool
) -> None:
    def fail(_descriptor: int, _operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    if works:
        restore(files, target)
        assert target.read_bytes() == STATE
        return
    with pytest.raises(TargetError, match="Input/output error"):
        restore(files, target)


def test_a_missing_directory(files: list[Stored], target: Path) -> None:
    missing = target.parent / "one" / "two" / "disk.img"
    with pytest.raises(TargetError, match="does not exist"):
        restore(files, missing)
    with pytest.raises(TargetError, match=f"Cannot create {target.parent}/one/disk.img.restoring: No such file"):
        restore(files, target.parent / "one" / "disk.img")
    nothing_but(target)


def test_too_little_space_is_noticed_before_anything_is_written(
    files: list[Stored], target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = [STATE[start : start + 512] for start in range(0, len(STATE), 512)]
    needed = sum(len(block) for block in blocks if block.strip(b"\0"))
    monkeypatch.setattr(os, "statvfs", lambda _path: SimpleNamespace(f_bavail=needed - 1, f_frsize=1, f_bfree=10**9))
    with pytest.raises(TargetError) as caught:
        restore(files, target)
    assert caught.value.message == (
        f"Cannot restore to {target}: {needed} bytes of data are needed, {needed - 1} are free in {target.parent}"
    )
    nothing_but(target)
    monkeypatch.setattr(os, "statvfs", lambda _path: SimpleNamespace(f_bavail=needed, f_frsize=1))
    with open_files(files) as chain:
        check_target(str(target), chain)


def test_a_file_system_that_does_not_take_so_large_files(files: list[Stored], target: Path) -> None:
    with pytest.raises(TargetError) as caught, largest_file(32 * KIB):
        restore(files, target)
    assert caught.value.message == f"Cannot write {target}.restoring: File too large"
    assert caught.value.details == {"path": f"{target}.restoring", "errno": errno.EFBIG}
    nothing_but(target)


@pytest.mark.parametrize("name", ["pwrite", "fsync", "ftruncate", "replace"])
def test_a_target_that_takes_no_more(
    files: list[Stored], target: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def fail(*_arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, name, fail)
    with pytest.raises(TargetError) as caught:
        restore(files, target)
    assert "no space is left there" in caught.value.message
    assert caught.value.details["errno"] == errno.ENOSPC
    nothing_but(target)


def test_short_writes_are_continued(files: list[Stored], target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: pwrite(descriptor, data[:100], offset))
    restore(files, target)
    assert target.read_bytes() == STATE


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("call", [1, 3])
def test_an_interruption_leaves_nothing(files: list[Stored], target: Path, overwrite: bool, call: int) -> None:
    if overwrite:
        target.write_text("mine")
    calls: list[int] = []

    def interrupt(now: int, _size: int) -> None:
        calls.append(now)
        if len(calls) == call:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore(files, target, overwrite=overwrite, progress=interrupt)
    nothing_but(target, *(["disk.img"] if overwrite else []))
    assert not overwrite or target.read_text() == "mine"


def test_damage_leaves_nothing(files: list[Stored], target: Path) -> None:
    row = records(files[1].path)[0]
    with files[1].path.open("r+b") as file:
        file.seek(row[RECORD_OFFSET] + 20)
        file.write(b"\xff\x00\xff")
    with pytest.raises(CorruptVaultError) as caught:
        restore(files, target)
    assert caught.value.details == {"path": str(files[1].path), "offset": row[RECORD_OFFSET]}
    nothing_but(target)


def test_another_disk_than_the_manifest_says(files: list[Stored], target: Path) -> None:
    with open_files(files) as chain, pytest.raises(CorruptVaultError) as caught:
        restore_disk(chain, str(target), content_hash=files[0].result.content_hash)
    assert caught.value.message == f"{files[1].path} and its bases give another disk than the manifest says"
    nothing_but(target)


def test_the_name_is_made_durable(files: list[Stored], target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def watch(descriptor: int) -> None:
        events.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    monkeypatch.setattr(os, "replace", lambda source, name: (events.append(f"to {name}"), replace(source, name))[1])
    restore(files, target)
    assert events == [f"{target}.restoring", f"to {target}", str(target.parent)]


def test_the_hash_of_an_image(tmp_path: Path) -> None:
    geometry = Geometry(len(STATE), 512, 2048)
    for holes in (True, False):
        image = write_image(tmp_path / "raw", STATE, holes=holes)
        assert image_hash(str(image), geometry) == content_hash(STATE, 512)
    assert image_hash(str(image), geometry._replace(size=len(STATE) - 1)) is None
    assert image_hash(str(tmp_path / "missing"), geometry) is None
    assert image_hash(str(tmp_path), geometry) is None
    (tmp_path / "empty").write_bytes(b"")
    assert image_hash(str(tmp_path / "empty"), geometry) is None


@pytest.mark.parametrize("way", ["new", "existing"])
def test_a_large_sparse_disk_needs_little_memory(vault: Path, target: Path, way: str) -> None:
    if way == "existing":  # with another disk in it
        write_sparse(target, SIZE, {5 * KIB * MIB: noise(MIB)})
    disk = large_disk(vault)
    done = restored(disk, str(target), way)
    assert (done.size, done.written) == (SIZE, disk.data)
    assert done.peak < MEMORY
    assert target.stat().st_blocks * 512 < disk.data + 4 * MIB
    with target.open("rb") as file:
        for offset, content in disk.pieces.items():
            file.seek(offset)
            assert file.read(len(content)) == content
    assert image_hash(str(target), Geometry(SIZE)) == disk.content_hash


def test_the_space_of_a_short_last_block_is_counted_exactly(vault: Path) -> None:
    for size in (1, 511, 512, 513, 2048, 2049, 6000):
        directory = vault / str(size)
        directory.mkdir()
        with open_files(store_chain(directory, [noise(size)])) as chain:
            assert disk_restore.data_size(chain) == size
