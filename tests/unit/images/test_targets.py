# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A disk into images that exist already: on a path, and on a server behind a stand-in for ssh."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.images.stand_in import StandIn, server
from unit.vault.builders import KIB, MIB, content_hash, noise, open_files, store, write_image, write_sparse

from ansible_collections.ovm.backup.plugins.module_utils.errors import (
    InvalidInputError,
    OvmBackupError,
    ServerError,
    TargetError,
)
from ansible_collections.ovm.backup.plugins.module_utils.images.dom0_files import Failure
from ansible_collections.ovm.backup.plugins.module_utils.images.dom0_write import Writing, forget
from ansible_collections.ovm.backup.plugins.module_utils.images.local_target import existing_image
from ansible_collections.ovm.backup.plugins.module_utils.images.remote import Server
from ansible_collections.ovm.backup.plugins.module_utils.images.remote_target import RemoteTarget
from ansible_collections.ovm.backup.plugins.module_utils.images.ssh import SshSettings
from ansible_collections.ovm.backup.plugins.module_utils.images.target import DiskTarget, Written, digest
from ansible_collections.ovm.backup.plugins.module_utils.images.types import Span
from ansible_collections.ovm.backup.plugins.module_utils.transfer import targets
from ansible_collections.ovm.backup.plugins.module_utils.transfer.disk_restore import RestoredImage, restore_to
from ansible_collections.ovm.backup.plugins.module_utils.vault.chain import DiskChain

BLOCK = 64 * KIB
STATE = noise(MIB + 3 * BLOCK) + bytes(2 * MIB) + noise(5 * BLOCK, 1) + bytes(BLOCK) + noise(700, 2)
DATA = MIB + 8 * BLOCK + 700  # what of it is not zeros, at the end a short block


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[DiskChain]:
    stored = store(write_image(tmp_path / "raw", STATE), tmp_path / "full.zst", block_size=BLOCK)
    with open_files([stored]) as opened:
        yield opened


@pytest.fixture
def ovs(stand_in: StandIn) -> Iterator[Server]:
    with server(stand_in.client()) as opened:
        yield opened


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A virtual disk as the manager makes it: of the right size, and empty."""
    return write_sparse(tmp_path / "it's $(a) disk.img", len(STATE), {})


@pytest.fixture(params=["path", "server"])
def opened(request: pytest.FixtureRequest, image: Path) -> Iterator[contextlib.AbstractContextManager[DiskTarget]]:
    """The ways to write it."""
    if request.param == "path":
        yield existing_image(str(image), len(STATE))
    else:
        yield _on_server(request.getfixturevalue("ovs"), image)


@contextlib.contextmanager
def _on_server(ovs: Server, image: Path) -> Iterator[DiskTarget]:
    with RemoteTarget(ovs, str(image), len(STATE), patience=1) as target:
        yield target


def restore(chain: DiskChain, target: DiskTarget, *, verify: bool = False) -> RestoredImage:
    return restore_to(chain, target, content_hash=content_hash(STATE, BLOCK), verify=verify)


def test_an_empty_virtual_disk_is_filled_and_stays_sparse(
    chain: DiskChain, image: Path, opened: contextlib.AbstractContextManager[DiskTarget]
) -> None:
    with opened as target:
        assert target.fresh
        done = restore(chain, target, verify=True)
        assert done == RestoredImage(target.name, len(STATE), DATA, content_hash(STATE, BLOCK), 0, verified=True)
    assert image.read_bytes() == STATE
    assert image.stat().st_blocks * 512 < 2 * MIB


def test_what_is_right_already_is_kept_and_the_rest_overwritten(
    chain: DiskChain, image: Path, opened: contextlib.AbstractContextManager[DiskTarget]
) -> None:
    # As an interrupted restore leaves it, and with data where the disk has zeros.
    image.write_bytes(STATE[:MIB] + noise(len(STATE) - MIB, 9))
    with opened as target:
        assert not target.fresh
        done = restore(chain, target, verify=True)
    assert image.read_bytes() == STATE
    assert (done.written, done.kept) == (DATA - MIB, MIB)


def test_zeros_are_written_to_the_end(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image.write_bytes(noise(len(STATE)))
    write = os.pwrite
    # A system may write less at once than it is given.
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: write(descriptor, data[:300_000], offset))
    with existing_image(str(image), len(STATE)) as target:
        target.clear([Span(0, len(STATE))])
    assert image.read_bytes() == bytes(len(STATE))


def test_nothing_is_written_twice(
    chain: DiskChain, image: Path, opened: contextlib.AbstractContextManager[DiskTarget]
) -> None:
    image.write_bytes(STATE)
    before = image.stat().st_mtime_ns
    with opened as target:
        done = restore(chain, target)
    assert (done.written, done.kept) == (0, DATA)
    assert image.stat().st_mtime_ns == before


@pytest.mark.parametrize("at", [MIB - 1, 2 * MIB], ids=["data", "zeros"])
def test_verification_finds_what_is_not_there(
    chain: DiskChain, image: Path, opened: contextlib.AbstractContextManager[DiskTarget], at: int
) -> None:
    with opened as target:
        restore(chain, target)
        with image.open("r+b") as file:
            file.seek(at)
            file.write(b"!")
        written = [Written(0, MIB, digest(STATE[:MIB]))]
        with pytest.raises(TargetError, match="does not hold at offset .* what was written there"):
            target.verify(written, [Span(2 * MIB, 3 * MIB)])


def test_an_image_of_another_size_is_refused(image: Path, ovs: Server) -> None:
    os.truncate(image, 512)
    for opened in (existing_image(str(image), len(STATE)), _on_server(ovs, image)):
        with pytest.raises(TargetError, match=f"it has 512 bytes, the disk {len(STATE)}"), opened:
            pass
    assert image.stat().st_size == 512


def test_what_is_no_image_is_refused(tmp_path: Path, image: Path, ovs: Server) -> None:
    link = tmp_path / "link"
    link.symlink_to(image)
    for path in (link, tmp_path / "missing", tmp_path):
        for opened in (existing_image(str(path), len(STATE)), _on_server(ovs, path)):
            with pytest.raises(TargetError, match="Cannot"), opened:
                pass


def test_two_restores_do_not_write_the_same_image(image: Path, ovs: Server) -> None:
    with image.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        for opened in (existing_image(str(image), len(STATE)), _on_server(ovs, image)):
            with pytest.raises(TargetError, match="another restore is writing it"), opened:
                pass


def test_a_new_image_on_a_server_appears_whole_or_not_at_all(chain: DiskChain, tmp_path: Path, ovs: Server) -> None:
    path, left = tmp_path / "new.img", tmp_path / "new.img.restoring"
    left.write_bytes(noise(5000))  # by a restore and a server that were lost together
    with (
        pytest.raises(OvmBackupError, match="given up"),
        RemoteTarget(ovs, str(path), len(STATE), create=True) as target,
    ):
        target.write(0, STATE[:MIB])
        raise OvmBackupError("given up")
    assert not path.exists()
    assert not left.exists()
    with RemoteTarget(ovs, str(path), len(STATE), create=True) as target:
        restore(chain, target, verify=True)
        assert not path.exists()
        target.finish()
    assert path.read_bytes() == STATE
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(TargetError, match="Cannot create .*: File exists"):
        RemoteTarget(ovs, str(path), 5, create=True)
    assert path.read_bytes() == STATE
    assert not left.exists()


def test_a_new_image_that_appears_meanwhile_is_left_alone(tmp_path: Path, ovs: Server) -> None:
    path = tmp_path / "new.img"
    with (
        pytest.raises(TargetError, match="Cannot create .*: File exists"),
        RemoteTarget(ovs, str(path), 5, create=True) as target,
    ):
        path.write_text("mine")
        target.finish()
    assert path.read_text() == "mine"
    assert not (tmp_path / "new.img.restoring").exists()


def test_a_server_removes_a_new_image_when_the_proxy_is_gone(tmp_path: Path, ovs: Server) -> None:
    target = RemoteTarget(ovs, str(tmp_path / "new.img"), MIB, create=True)
    target.write(0, STATE[:MIB])
    target.flush()
    left = tmp_path / "new.img.restoring"
    assert left.exists()
    ovs.connection.control.end_input()  # nothing else is said, as by a proxy that was killed
    assert ovs.connection.control.status() == 0
    assert not left.exists()


@pytest.mark.parametrize("kind", ["link", "directory"])
def test_a_strange_thing_in_the_place_of_a_new_image(tmp_path: Path, ovs: Server, kind: str) -> None:
    victim, strange = tmp_path / "victim", tmp_path / "new.img.restoring"
    victim.write_text("mine")
    if kind == "link":
        strange.symlink_to(victim)
    else:
        strange.mkdir()
    with pytest.raises(TargetError, match="Cannot create .*new.img on server ovs1: "):
        RemoteTarget(ovs, str(tmp_path / "new.img"), MIB, create=True)
    assert victim.read_text() == "mine"
    assert strange.is_symlink() or strange.is_dir()


@pytest.mark.parametrize("request_", ["target", "create"])
def test_the_end_of_an_interrupted_restore_is_waited_for(tmp_path: Path, request_: str) -> None:
    left, name = tmp_path / "new.img.restoring", tmp_path / "new.img"
    left.write_bytes(bytes(4096))
    other = os.open(left, os.O_RDWR)  # as the program has it whose proxy was killed a moment ago
    fcntl.flock(other, fcntl.LOCK_EX)
    waited = []

    def end() -> None:
        waited.append(True)
        if request_ == "create":
            left.unlink()
        os.close(other)

    writing = Writing()
    writing.alive = end  # type: ignore[method-assign]  # what it calls while it waits
    paths = {"target": bytes(left), "create": bytes(left) + b"\0" + bytes(name)}
    answer, _data = getattr(writing, f"do_{request_}")({"lock": 5, "size": 8192}, paths[request_])
    assert waited == [True]
    assert answer["size"] == {"target": 4096, "create": 8192}[request_]
    os.close(answer["handle"])


def test_a_restore_that_goes_on_is_waited_for_only_so_long(tmp_path: Path) -> None:
    left = tmp_path / "new.img.restoring"
    with left.open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        waited: list[bool] = []
        writing = Writing()
        writing.alive = lambda: waited.append(True)  # type: ignore[method-assign]
        with pytest.raises(Failure) as caught:
            writing.do_create({"lock": 2, "size": 1}, bytes(left) + b"\0" + bytes(tmp_path / "new.img"))
    assert caught.value.details == {"text": "another restore is writing it"}
    assert len(waited) == 1
    assert left.exists()


def test_an_image_that_somebody_has_open_is_not_written(image: Path, ovs: Server) -> None:
    # Stands in for the process that carries the disk of a running VM.
    command = [sys.executable, "-c", "import sys; f = open(sys.argv[1]); print(flush=True); input()", str(image)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
        assert user.stdin is not None
        assert user.stdout is not None
        user.stdout.readline()
        for opened in (existing_image(str(image), len(STATE)), _on_server(ovs, image)):
            with pytest.raises(TargetError, match=f"Cannot open .*: process {user.pid} .*has it open: stop"), opened:
                pass
        user.stdin.write(b"\n")
        user.stdin.close()
        user.wait()
    for opened in (existing_image(str(image), len(STATE)), _on_server(ovs, image)):
        with opened as target:
            assert target.fresh


def test_a_server_that_hangs_is_an_error(chain: DiskChain, image: Path, stand_in: StandIn) -> None:
    with (
        pytest.raises(ServerError, match="sent nothing for 0.3 seconds"),
        server(stand_in.hanging(500), stall_timeout=0.3) as ovs,
        RemoteTarget(ovs, str(image), len(STATE)) as target,
    ):
        restore(chain, target)


def test_a_server_with_slow_storage_is_not_taken_for_one_that_hangs(tmp_path: Path, stand_in: StandIn) -> None:
    # It knows no holes, as with NFS, so that it has to look at all that is to be zeros.
    stand_in.changed(
        "import fcntl, os, time\n"
        "read = os.read\n"
        "os.read = lambda fd, n: (time.sleep(0.002) if fd > 2 and n > 4096 else None, read(fd, n))[1]\n"
        "def ioctl(*_arguments): raise OSError(95, 'not supported')\n"
        "fcntl.ioctl = ioctl\n"
    )
    size = 400 * MIB
    image = write_sparse(tmp_path / "large", size, {})
    with server(stand_in.client(), stall_timeout=2) as ovs, RemoteTarget(ovs, str(image), size) as target:
        assert not target.fresh
        target.clear([Span(0, size)])
        target.flush()
        target.verify([], [Span(0, size)])


def test_a_server_may_take_its_time_to_write_what_it_has_in_memory(image: Path, stand_in: StandIn) -> None:
    stand_in.changed("import os, time\nos.fsync = lambda fd: time.sleep(2)\n")
    with server(stand_in.client(), stall_timeout=1) as ovs, RemoteTarget(ovs, str(image), len(STATE)) as target:
        target.write(0, STATE[:BLOCK])
        target.flush()


@pytest.mark.parametrize("lost", [0, BLOCK])
def test_data_that_was_lost_on_its_way_is_an_error(lost: int, image: Path, stand_in: StandIn) -> None:
    # NFS tells of it only who syncs or closes the handle that it was written by.
    stand_in.changed(
        "import os\n"
        "places, seek, write, sync = {}, os.lseek, os.write, os.fsync\n"
        "os.lseek = lambda fd, offset, how: places.__setitem__(fd, offset) or seek(fd, offset, how)\n"
        "def fsync(fd):\n"
        f"    if places.get(fd) == {lost}: raise OSError(28, 'No space left on device')\n"
        "    sync(fd)\n"
        "os.fsync = fsync\n"
    )
    with server(stand_in.client(), streams=2) as ovs, RemoteTarget(ovs, str(image), len(STATE)) as target:
        target.write(0, STATE[:BLOCK])
        target.write(BLOCK, STATE[BLOCK : 2 * BLOCK])
        with pytest.raises(TargetError, match="No space left on device"):
            target.flush()


def test_what_is_read_again_comes_from_the_storage(image: Path) -> None:
    with image.open() as file:
        assert forget(file.fileno())


def test_a_server_that_is_lost_in_the_middle_is_an_error_and_the_restore_goes_on_later(
    chain: DiskChain, image: Path, stand_in: StandIn
) -> None:
    with (
        pytest.raises(ServerError),
        server(stand_in.dropping(500)) as ovs,
        RemoteTarget(ovs, str(image), len(STATE)) as target,
    ):
        restore(chain, target)
    with server(stand_in.client()) as ovs, RemoteTarget(ovs, str(image), len(STATE)) as target:
        restore(chain, target, verify=True)
    assert image.read_bytes() == STATE


def test_a_server_without_python_cannot_be_written_to(image: Path, stand_in: StandIn) -> None:
    stand_in.no_python()
    with server(stand_in.client()) as ovs, pytest.raises(TargetError, match="there is no Python on the server"):
        RemoteTarget(ovs, str(image), len(STATE))


def test_a_full_file_system_is_named(stand_in: StandIn, image: Path) -> None:
    # A limit of the shell stands in for a file system without space: both end in an error of write.
    limited = stand_in.client('trap "" XFSZ; ulimit -f 1024; exec sh -c "$command"\n')
    with (
        server(limited) as ovs,
        pytest.raises(TargetError, match="Cannot write .* on server ovs1 at offset .*: File too large"),
        RemoteTarget(ovs, str(image), len(STATE)) as target,
    ):
        target.write(2 * MIB, noise(MIB))
        target.flush()


@pytest.mark.parametrize("existing", [False, True])
def test_check_mode_looks_at_an_image_on_a_server(
    chain: DiskChain, tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, existing: bool
) -> None:
    monkeypatch.setattr(targets, "Server", lambda *_where: server(stand_in.client()))
    place = {"kind": "ssh", "server": {"name": "ovs1", "address": "127.0.0.1"}}
    image = tmp_path / "disk.img"
    options: dict[str, Any] = {"ssh": SshSettings(), "existing": existing}
    # One that exists may be made by a task before this one.
    targets.check_place(place, str(image), chain, **options)
    write_sparse(image, 512, {})
    message = f"it has 512 bytes, the disk {len(STATE)}" if existing else "Cannot create .* on server ovs1: it exists"
    with pytest.raises(TargetError, match=message):
        targets.check_place(place, str(image), chain, **options)
    assert image.stat().st_size == 512
    with pytest.raises(InvalidInputError, match="target.server or ssh is missing"):
        targets.check_place(place, str(image), chain, ssh=None, existing=existing)
