# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A disk from the vault onto real OCFS2 behind real ssh: bit for bit, sparse, and on where it was interrupted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.transfer.large import MEMORY, SIZE, large_disk, restored
from unit.vault.builders import MIB, Stored, content_hash, noise, open_files, store, write_image

from ansible_collections.ovm.backup.plugins.module_utils.errors import ServerError, TargetError
from ansible_collections.ovm.backup.plugins.module_utils.images.remote import Server
from ansible_collections.ovm.backup.plugins.module_utils.images.remote_target import RemoteTarget
from ansible_collections.ovm.backup.plugins.module_utils.images.ssh import SshSettings
from ansible_collections.ovm.backup.plugins.module_utils.transfer.disk_restore import RestoredImage, restore_to
from bed.bed import Bed, GuestError
from bed.layout import USER_SUDO

BLOCK = 64 * 1024
STATE = noise(3 * MIB) + bytes(8 * MIB) + noise(2 * MIB, 1) + bytes(5 * MIB) + noise(BLOCK, 2) + bytes(BLOCK)
DATA = 5 * MIB + BLOCK
DIGEST = hashlib.sha256(STATE).hexdigest()


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    folder = tmp_path_factory.mktemp("vault")
    return store(write_image(folder / "raw", STATE), folder / "full.zst", block_size=BLOCK)


@pytest.fixture(params=["root", "sudo", "legacy"])
def ovs(request: pytest.FixtureRequest, bed: Bed) -> Iterator[Server]:
    """The ways to reach a server that has Python."""
    sudo, legacy = request.param == "sudo", request.param == "legacy"
    settings: dict[str, Any] = bed.ssh_settings(USER_SUDO if sudo else "root", legacy=legacy)
    with Server(SshSettings.parse({**settings, "sudo": sudo}), "127.0.0.1", "bed") as opened:
        yield opened


@pytest.fixture
def disk(bed: Bed, folder: str) -> str:
    """An empty virtual disk, as the manager makes it."""
    path = f"{folder}/it's $(a) disk.img"
    bed.create(path, len(STATE))
    return path


def restore(stored: Stored, target: RemoteTarget) -> RestoredImage:
    with open_files([stored]) as chain:
        return restore_to(chain, target, content_hash=content_hash(STATE, BLOCK), verify=True)


def test_an_empty_disk_is_filled_and_stays_sparse(bed: Bed, ovs: Server, stored: Stored, disk: str) -> None:
    with RemoteTarget(ovs, disk, len(STATE)) as target:
        done = restore(stored, target)
    assert (done.written, done.kept, done.verified) == (DATA, 0, True)
    assert bed.digest(disk) == DIGEST
    # By whole clusters of 1 MiB.
    assert bed.stat(disk)["allocated"] == 6 * MIB


@pytest.mark.parametrize("ovs", ["root"], indirect=True)
def test_an_interrupted_restore_goes_on(bed: Bed, ovs: Server, stored: Stored, disk: str) -> None:
    with open_files([stored]) as chain, pytest.raises(ServerError), RemoteTarget(ovs, disk, len(STATE)) as target:

        def lose(done: int, _size: int) -> None:
            if done > 2 * MIB:  # as a network that is gone, or a server that was fenced
                for channel in target._channels:
                    channel.kill()

        restore_to(chain, target, content_hash=content_hash(STATE, BLOCK), progress=lose)
    bed.write(disk, 6 * MIB, b"something in a hole")
    settings = ovs.settings
    with Server(settings, "127.0.0.1", "bed") as again, RemoteTarget(again, disk, len(STATE)) as target:
        done = restore(stored, target)
    assert done.written + done.kept == DATA
    assert bed.digest(disk) == DIGEST


@pytest.mark.parametrize("ovs", ["root"], indirect=True)
def test_a_new_image_is_there_whole_or_not_at_all(bed: Bed, ovs: Server, stored: Stored, folder: str) -> None:
    path = f"{folder}/it's new.img"
    with (
        pytest.raises(ServerError),
        Server(ovs.settings, "127.0.0.1", "bed") as lost,
        RemoteTarget(lost, path, len(STATE), create=True) as target,
    ):
        target.write(0, STATE[:MIB])
        target.flush()
        assert bed.names(folder) == ["it's new.img.restoring"]
        for process in lost.connection._all:  # as the end of a proxy that was killed
            process.kill()
        target.flush()
    # The server removes it when it notices. What is still there when the next restore comes, that one removes.
    with RemoteTarget(ovs, path, len(STATE), create=True) as target:
        restore(stored, target)
        target.finish()
    assert bed.names(folder) == ["it's new.img"]
    assert bed.digest(path) == DIGEST


@pytest.mark.parametrize("ovs", ["root", "sudo"], indirect=True)
def test_a_disk_that_a_guest_may_have_is_not_written(bed: Bed, ovs: Server, disk: str) -> None:
    device = bed.run(["losetup", "--find", "--show", disk]).text
    try:
        name = device.rsplit("/", 1)[1]
        with pytest.raises(TargetError, match=f"Cannot open .*: loop device {name} has it open: stop what uses it"):
            RemoteTarget(ovs, disk, len(STATE), patience=1)
    finally:
        bed.run(["losetup", "--detach", device])
    with RemoteTarget(ovs, disk, len(STATE)) as target:
        assert target.fresh


@pytest.mark.parametrize("ovs", ["root"], indirect=True)
def test_a_full_storage_repository_is_named(bed: Bed, ovs: Server, stored: Stored, disk: str, folder: str) -> None:
    filler = f"{folder}/filler"
    with RemoteTarget(ovs, disk, len(STATE)) as target:
        bed.create(filler, 0)
        end, step = 0, target.room() - 4 * MIB
        # OCFS2 gives back what was removed only when it needs space: so once more, until it has none.
        for _round in range(3):
            with pytest.raises(GuestError, match="No space"):
                while True:
                    bed.allocate(filler, end, step)
                    end, step = end + step, MIB
            bed.run(["sync"])
        with pytest.raises(TargetError, match="Cannot write .* at offset .*: No space left on device"):
            restore(stored, target)
    bed.remove(filler)
    bed.run(["sync"])  # else some of its space may come free only seconds later
    with RemoteTarget(ovs, disk, len(STATE)) as target:
        restore(stored, target)
    assert bed.digest(disk) == DIGEST


@pytest.mark.parametrize("ovs", ["root"], indirect=True)
def test_a_read_only_storage_repository_is_named(bed: Bed, ovs: Server, disk: str) -> None:
    # Read-only in the eyes of this folder only: the tests after this one need the rest.
    folder = disk.rsplit("/", 1)[0]
    bed.run(f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}")
    try:
        with pytest.raises(TargetError, match="Cannot open .*: Read-only file system"):
            RemoteTarget(ovs, disk, len(STATE))
    finally:
        bed.run(["umount", folder])


def test_a_large_sparse_disk_needs_little_memory(bed: Bed, folder: str, tmp_path: Path) -> None:
    """Four times as large as the storage repository, with more data than fits into the memory beside the program."""
    disk = large_disk(tmp_path, 12 * MIB)
    assert disk.data > MEMORY * 2 // 3
    path = f"{folder}/large.img"
    bed.create(path, SIZE)
    bed.write_noise(path, 5 << 30, MIB)  # it has held something else
    done = restored(disk, path, "ssh", bed.ssh_settings())
    assert (done.size, done.written) == (SIZE, disk.data)
    assert done.peak < MEMORY
    assert bed.stat(path)["allocated"] < disk.data + 12 * MIB
    for offset, content in disk.pieces.items():
        read = f"dd if={path} bs=1M iflag=skip_bytes,count_bytes skip={offset} count={len(content)} status=none"
        assert bed.run(f"{read} | sha256sum").text.split()[0] == hashlib.sha256(content).hexdigest()
