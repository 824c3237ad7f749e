# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Increments of disks on real OCFS2 over ssh: extent maps find every change, any doubt is a comparison of hashes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unit.transfer.builders import Estate

from ansible_collections.ovm.backup.plugins.module_utils.errors import ChangeDetectionError
from ansible_collections.ovm.backup.plugins.module_utils.images.remote import Server
from ansible_collections.ovm.backup.plugins.module_utils.images.ssh import SshSettings
from ansible_collections.ovm.backup.plugins.module_utils.vault.distrust import read_distrust
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point, write_manifest
from bed.bed import Bed
from bed.hot_clones import HotClones, digest

MIB = 1 << 20
SIZE = 24 * MIB
CLUSTER = MIB


@pytest.fixture
def vm(bed: Bed, folder: str, tmp_path: Path) -> HotClones:
    """A VM with one disk: 16 MiB of data, 4 MiB allocated and not written, 4 MiB of hole."""
    image = f"{folder}/disk.img"
    bed.create(image, SIZE)
    bed.write_noise(image, 0, 16 * MIB)
    bed.allocate(image, 16 * MIB, 4 * MIB)
    return HotClones(bed, Estate(tmp_path), {0: image}, SIZE)


def is_exact(vm: HotClones, point: Point, tmp_path: Path) -> bool:
    """Whether the restored disks are what the clone of the point holds."""
    images = vm.restored(point, tmp_path / f"restored-{point.id}")
    assert point.clone is not None and point.clone["keep"], point.clone
    clone = (point.disks[0].image or {})["clone_id"]
    return [digest(path) for path in images] == [vm.bed.digest(path) for path in vm.clones[clone]]


def found(point: Point) -> tuple[str, int | None]:
    changes = point.disks[0].changes or {}
    return changes["method"], changes["candidate"]


CHANGES: dict[str, tuple[Callable[[Bed, str], Any], int]] = {
    "nothing": (lambda bed, disk: None, 0),
    "buffered": (lambda bed, disk: bed.write(disk, 3 * MIB + 5000, b"buffered"), CLUSTER),
    "direct": (lambda bed, disk: bed.scribble(disk, 1, how="direct", end=MIB), CLUSTER),
    "mapped": (lambda bed, disk: bed.scribble(disk, 1, how="mmap", end=MIB), CLUSTER),
    "into unwritten space": (lambda bed, disk: bed.write(disk, 17 * MIB + 1, b"unwritten"), CLUSTER),
    "into a hole": (lambda bed, disk: bed.write(disk, 22 * MIB - 3, b"across"), 2 * CLUSTER),
    "punched": (lambda bed, disk: bed.punch(disk, 5 * MIB, 2 * MIB), 0),
    "punched in a cluster": (lambda bed, disk: bed.punch(disk, 8 * MIB + 4096, 65536), CLUSTER),
    "replaced by a copy": (lambda bed, disk: bed.replace_by_copy(disk), 16 * MIB),
}


def test_every_way_to_change_a_disk(vm: HotClones, bed: Bed, tmp_path: Path) -> None:
    disk = vm.images[0]
    full = vm.back_up()
    assert found(full) == ("all", None)
    assert is_exact(vm, full, tmp_path)
    for name, (change, candidate) in CHANGES.items():
        change(bed, disk)
        point = vm.back_up(sample=100.0)
        method, looked_at = found(point)
        assert method == "extent_maps", (name, point.disks[0].changes)
        assert looked_at is not None and looked_at >= candidate, name
        if name != "replaced by a copy":
            assert looked_at <= candidate + CLUSTER, name
        assert is_exact(vm, point, tmp_path), name
    assert [name for name in bed.names(str(Path(disk).parent)) if "clone" in name] == [
        Path(path).name for paths in vm.clones.values() for path in paths
    ]
    assert len(vm.clones) == 1


def test_only_blocks_that_differ_cross_the_wire(vm: HotClones, bed: Bed) -> None:
    vm.ssh["compare"] = "server"
    vm.back_up()
    bed.write(vm.images[0], 3 * MIB + 5000, b"one")
    bed.write(vm.images[0], 9 * MIB, b"two")
    point = vm.back_up(sample=0.0)
    assert found(point) == ("extent_maps", 2 * CLUSTER)
    # Both clones are read in the server, two blocks are sent.
    assert point.disks[0].statistics["read"] == 4 * CLUSTER
    assert point.disks[0].statistics["changed"] == 2 * 65536
    vm.ssh["compare"] = "proxy"
    bed.write(vm.images[0], 3 * MIB + 5000, b"six")
    point = vm.back_up(sample=0.0)
    assert (point.disks[0].statistics["read"], point.disks[0].statistics["changed"]) == (CLUSTER, 65536)


def lose(vm: HotClones, clone: str) -> None:
    vm.remove(clone)
    vm.clones[clone] = []


def write_into(vm: HotClones, clone: str) -> None:
    vm.bed.write(vm.clones[clone][0], 5 * MIB, b"somebody started it")


def rename_another_over_it(vm: HotClones, clone: str) -> None:
    vm.bed.replace_by_copy(vm.clones[clone][0])


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lose, "the reference clone cannot be read: "),
        (write_into, "the reference clone is not what it was: mtime "),
        (rename_another_over_it, "the reference clone is not what it was: inode "),
    ],
)
def test_a_reference_clone_that_is_not_what_it_was_is_not_believed(
    vm: HotClones, bed: Bed, tmp_path: Path, harm: Callable[[HotClones, str], None], reason: str
) -> None:
    vm.back_up()
    (reference,) = vm.clones
    bed.write(vm.images[0], 7 * MIB, b"new")
    harm(vm, reference)
    # With the reference gone, what it shared with the disk alone is written in place.
    bed.write(vm.images[0], 2 * MIB, b"in place")
    point = vm.back_up()
    assert found(point) == ("hash", None)
    assert (point.disks[0].changes or {})["reason"].startswith(reason)
    assert is_exact(vm, point, tmp_path)
    # The next one has a reference again.
    bed.write(vm.images[0], 3 * MIB, b"newer")
    point = vm.back_up()
    assert found(point) == ("extent_maps", CLUSTER)
    assert is_exact(vm, point, tmp_path)


def test_a_map_that_lies_is_found_by_the_sample_and_forces_a_full(vm: HotClones, bed: Bed, tmp_path: Path) -> None:
    """What nothing else would find: the vault does not hold what the reference clone does."""
    clone = vm.clone()
    vm.back_up(clone)
    other = f"{vm.images[0]}.other"
    bed.write(vm.images[0], 6 * MIB, b"never backed up")
    bed.reflink(vm.images[0], other)
    # Somebody puts another clone in the place of the reference, and with it what the manifest knows of that.
    bed.rename(other, vm.clones[clone][0])
    image = vm.points[-1].disks[0].image
    assert image is not None
    with (
        Server(SshSettings.parse(bed.ssh_settings()), f"127.0.0.1:{bed.port}", "ovs1") as server,
        server.open_image(vm.clones[clone][0]) as remote,
    ):
        identity = remote.identity().as_dict()
    point = vm.points[-1]
    claim = dataclasses.replace(point.disks[0], image={**image, "identity": identity})
    write_manifest(f"{vm.estate.client.directory}/{point.id}", dataclasses.replace(point, disks=(claim,)))
    with pytest.raises(ChangeDetectionError, match="the map cannot be trusted, so the next backup of this VM"):
        vm.back_up(sample=100.0)
    assert len(vm.estate.client.scan()[0]) == 1
    assert "the map cannot be trusted" in (read_distrust(vm.estate.client.directory) or "")
    point = vm.back_up()
    assert (point.type, point.disks[0].reason[:41]) == ("full", "change detection failed before: The image")
    assert is_exact(vm, point, tmp_path)
    assert read_distrust(vm.estate.client.directory) is None
