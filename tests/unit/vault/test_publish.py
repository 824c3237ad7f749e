# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Publication: whatever fails, and whenever, a recovery point exists completely or not at all."""

from __future__ import annotations

import builtins
import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from unit.limits import largest_file
from unit.vault.builders import EMPTY_STATE, add_disk, add_point, describe, noise, write_image

from ansible_collections.ovm.backup.plugins.module_utils.errors import CorruptVaultError, VaultWriteError
from ansible_collections.ovm.backup.plugins.module_utils.transfer.disk_restore import restore_disk
from ansible_collections.ovm.backup.plugins.module_utils.vault import files
from ansible_collections.ovm.backup.plugins.module_utils.vault.disk_writer import DiskWriter, FrameCompressor
from ansible_collections.ovm.backup.plugins.module_utils.vault.format import Geometry
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client

STATE = noise(5000)
WRITES = ("open", "fsync", "replace", "mkdir", "rename", "unlink", "rmdir")


class PowerCut(BaseException):
    """Nothing works any more."""


class Faults:
    """Counts the calls that change the vault and lets them fail from or at a certain one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, directory: str) -> None:
        self._patch = monkeypatch
        self._directory = directory
        self.calls = 0
        self.fail: Callable[[int], BaseException | None] = lambda call: None

    def _wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.calls += 1
            error = self.fail(self.calls)
            if error is not None:
                raise error
            return function(*arguments, **options)

        return call

    def _wrap_open(self, function: Callable[..., Any]) -> Callable[..., Any]:
        failing = self._wrap(function)

        def call(path: Any, *arguments: Any, **options: Any) -> Any:
            inside = isinstance(path, str) and path.startswith(self._directory)
            return (failing if inside else function)(path, *arguments, **options)

        return call

    @contextmanager
    def active(self) -> Iterator[None]:
        with self._patch.context() as patch:
            for name in WRITES[1:]:
                patch.setattr(os, name, self._wrap(getattr(os, name)))
            patch.setattr(os, "open", self._wrap_open(os.open))
            patch.setattr(builtins, "open", self._wrap_open(builtins.open))
            yield


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write_image(tmp_path / "raw", STATE)


@pytest.fixture
def faults(client: Client, monkeypatch: pytest.MonkeyPatch) -> Faults:
    return Faults(monkeypatch, client.directory)


def check_points(client: Client, target: Path, least: int) -> int:
    """Every point that can be seen is complete; return how many there are."""
    points, damaged = client.scan()
    assert damaged == []
    assert len(points) >= least
    for point in points:
        assert client.problem_of(point) is None
        assert client.read_file(point, "vm_cfg") == b"vcpus = 2\n"
        with client.open_disk(point, point.disks[0]) as chain:
            restore_disk(chain, str(target), content_hash=point.disks[0].content_hash, overwrite=True)
        assert target.read_bytes() == STATE
    return len(points)


def test_an_error_at_any_step_leaves_nothing(client: Client, image: Path, faults: Faults, tmp_path: Path) -> None:
    base = add_point(client, image)
    before = sorted(os.listdir(client.directory))
    failed = 0
    while True:
        failed += 1
        faults.calls = 0
        faults.fail = lambda call, last=failed: OSError(errno.EIO, "Input/output error") if call == last else None
        try:
            with faults.active():
                add_point(client, image, base=base)
        except (VaultWriteError, CorruptVaultError) as error:
            assert "Input/output error" in error.message
            assert sorted(os.listdir(client.directory)) == before, f"call {failed}"
            assert check_points(client, tmp_path / "target", 1) == 1
            continue
        assert faults.calls == failed - 1, "the last round had no fault left"
        break
    assert failed > 15
    assert check_points(client, tmp_path / "target", 2) == 2


def test_a_power_cut_at_any_step_leaves_a_whole_point_or_none(
    client: Client, image: Path, faults: Faults, tmp_path: Path
) -> None:
    base = add_point(client, image)
    outcomes = []
    for failed in range(1, 100):
        faults.calls = 0
        faults.fail = lambda call, last=failed: PowerCut() if call >= last else None
        try:
            with faults.active():
                add_point(client, image, base=base)
        except PowerCut:
            count = check_points(client, tmp_path / "target", 1)
            left = client.remove_unpublished()
            assert len(left) + count <= 2
            assert sorted(os.listdir(client.directory)) == sorted(["client.json", *(p.id for p in client.scan()[0])])
            outcomes.append(count)
            if count == 2:
                shutil.rmtree(os.path.join(client.directory, client.point().id))
            continue
        break
    assert check_points(client, tmp_path / "target", 2) == 2
    # Only when the manifest has its name, the point is there; before, nothing is.
    assert outcomes == sorted(outcomes)
    assert outcomes[0] == 1
    assert outcomes[-1] == 2


def test_everything_is_durable_before_the_manifest_has_its_name(
    client: Client, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace

    def name_of(descriptor: int) -> str:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        return os.path.relpath(path, client.directory)

    def watch_fsync(descriptor: int) -> None:
        # The name of what is not complete yet ends in something by chance.
        events.append(("fsync", re.sub(r"\.[0-9a-f]{8}\.new$", ".new", name_of(descriptor))))
        fsync(descriptor)

    def watch_replace(source: str, target: str) -> None:
        events.append(("replace", os.path.relpath(target, client.directory)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watch_fsync)
    monkeypatch.setattr(os, "replace", watch_replace)
    point = add_point(client, image).id
    assert events == [
        ("fsync", "."),
        ("fsync", f"{point}/0-system.img.zst"),
        ("fsync", f"{point}/.vm.cfg.new"),
        ("replace", f"{point}/vm.cfg"),
        ("fsync", point),
        ("fsync", point),
        ("fsync", "."),
        ("fsync", f"{point}/.point.json.new"),
        ("replace", f"{point}/point.json"),
        ("fsync", point),
    ]


def test_an_interruption_leaves_nothing(client: Client, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = client.new_point(now=1000.0)
    disk = add_disk(client, writer, image)

    def interrupt(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", interrupt)
        writer.publish(describe(writer, client, (disk,)))
    assert sorted(os.listdir(writer.directory)) == [disk.file]
    writer.discard()
    assert os.listdir(client.directory) == ["client.json"]


def test_a_vault_that_takes_no_more_data(tmp_path: Path, client: Client) -> None:
    image = tmp_path / "raw"
    with image.open("wb") as file:
        file.write(noise(50_000))
    with largest_file(65536):
        add_point(client, image)
    with image.open("ab") as file:
        file.write(noise(15_000, 1))
    with pytest.raises(VaultWriteError) as caught, largest_file(65536):
        add_point(client, image)
    assert caught.value.details["errno"] == errno.EFBIG
    assert caught.value.message.startswith(f"Cannot write {client.directory}/")
    assert caught.value.message.endswith("0-system.img.zst: File too large")
    assert [point.sequence for point in client.scan()[0]] == [1]
    assert len(os.listdir(client.directory)) == 2


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "the vault is full: free space there or let recovery points expire"),
        (errno.EDQUOT, "the quota of the vault is used up"),
        (errno.EROFS, "the vault is mounted read-only"),
        (errno.EACCES, "this user may not write there"),
        (errno.EPERM, "this user may not write there"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_a_disk_file_that_cannot_be_made_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: str
) -> None:
    path = str(tmp_path / "x")
    writer = DiskWriter(path, Geometry(100), "full", FrameCompressor())
    writer.add_zeros(0, 1)

    def fail(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(VaultWriteError) as caught:
        writer.finish(EMPTY_STATE)
    writer.abort()
    assert caught.value.message == f"Cannot write {path}: {reason}"
    assert caught.value.details == {"path": path, "errno": number}


def test_a_disk_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("published")
    with pytest.raises(VaultWriteError, match="Cannot create .*: File exists"):
        DiskWriter(str(path), Geometry(100), "full", FrameCompressor())
    assert path.read_text() == "published"


def test_small_files_are_replaced_whole_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    files.write_json(str(path), {"b": "\u00e4\ud800", "a": 1})
    assert path.read_bytes() == '{\n  "a": 1,\n  "b": "\u00e4\\ud800"\n}\n'.encode()
    assert files.read_json(str(path)) == {"b": "\u00e4\ud800", "a": 1}
    for name in ("fsync", "replace"):
        for error in (OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()):

            def fail(*_arguments: object, error: BaseException = error) -> None:
                raise error

            with monkeypatch.context() as patch, pytest.raises((VaultWriteError, KeyboardInterrupt)):
                patch.setattr(os, name, fail)
                files.write_json(str(path), {})
            assert os.listdir(tmp_path) == ["x.json"]
            assert files.read_json(str(path))["a"] == 1


def test_small_files_in_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files.write_file("a", b"1")
    files.make_directory("b/c")
    files.make_directory("d/")
    files.remove_tree("b")
    files.remove_tree("b")
    assert sorted(os.listdir(tmp_path)) == ["a", "d"]


@pytest.mark.parametrize(("number", "harmless"), [(errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EIO, False)])
def test_file_systems_that_cannot_sync_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, harmless: bool
) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    if harmless:
        files.sync_directory(str(tmp_path))
        return
    with pytest.raises(VaultWriteError) as caught:
        files.sync_directory(str(tmp_path))
    assert caught.value.message == f"Cannot sync {tmp_path}: Input/output error"


@pytest.mark.parametrize(
    ("content", "offset"), [(b'{"a": x}', 6), (b'{"a": "\xff"}', 7), (b"", 0), (b"[" * 200_000, 0)], ids=range(4)
)
def test_damaged_json_says_where(tmp_path: Path, content: bytes, offset: int) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(CorruptVaultError) as caught:
        files.read_json(str(path))
    assert caught.value.details == {"path": str(path), "offset": offset}
