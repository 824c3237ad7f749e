# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Increments of disks on a real XFS that the proxy sees as a path: extents of 4 KiB, delayed allocation."""

from __future__ import annotations

import mmap
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from unit.transfer.builders import REPOSITORY, Estate, clone_of, disk, vm_plan
from unit.vault.builders import noise

from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_restore import plan_images, restore_images
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point

KIB, MIB = 1 << 10, 1 << 20
SIZE = 24 * MIB
PAGE = 4 * KIB


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


@pytest.fixture
def xfs(tmp_path: Path) -> Iterator[Path]:
    """A directory on an XFS of its own; skips with the reason where there can be none."""
    program = shutil.which("mkfs.xfs", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if program is None:
        pytest.skip("no XFS: xfsprogs is not installed")
    image, mounted = tmp_path / "xfs.img", tmp_path / "xfs"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(400 * MIB)
    try:
        run(program, "-q", "-m", "reflink=1", str(image))
        run("mount", "-t", "xfs", "-o", "loop", str(image), str(mounted))
    except OSError as problem:
        pytest.skip(f"no XFS: {problem}")
    try:
        yield mounted
    finally:
        run("umount", str(mounted))


class Vm:
    """A VM with one disk of 16 MiB of data on XFS, its hot clones and its recovery points."""

    def __init__(self, folder: Path) -> None:
        self.estate = Estate(folder / "estate")
        self.image = self.estate.image(0)
        self.image.write_bytes(noise(16 * MIB))
        os.truncate(self.image, SIZE)
        os.sync()
        self.points: list[Point] = []

    def back_up(self) -> Point:
        """Clone, back up, and remove the clone before."""
        number = len(self.points)
        clone = f"clone{number}"
        copy = self.estate.image(f"{clone}.img")
        run("cp", "--reflink=always", str(self.image), str(copy))
        kind = "incremental" if number else "full"
        maps = "extent_maps" if number else "all"
        one = disk(size=SIZE, type=kind, type_reason="a test", changes=maps, changes_reason="a test")
        known = {"clone_id": f"clone{number - 1}", "run_id": "", "point_id": ""} if number else None
        plan = vm_plan(one, method="hot_clone", type=kind, reference=known)
        run_id = f"20261123T0101{number:02}Z-0a1b2c3d-4e5f60"
        source = clone_of(one, id=clone, run_id=run_id)
        source["disks"][0]["path"] = f"/VirtualDisks/{copy.name}"
        request = self.estate.request(plan, clone=source, run_id=run_id, sample=5.0)
        self.points.append(backup_vm(self.estate.vault, request).point)
        if number:
            self.estate.image(f"clone{number - 1}.img").unlink()
        return self.points[-1]

    def is_exact(self, target: Path) -> bool:
        """Whether the newest recovery point gives what its clone holds."""
        plans = plan_images(self.estate.client, self.points[-1], str(target))
        restore_images(self.estate.client, self.points[-1], plans)
        clone = self.estate.image(f"clone{len(self.points) - 1}.img")
        return Path(plans[0].path).read_bytes() == clone.read_bytes()


def write(path: Path, offset: int, data: bytes, *, sync: bool = False) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
        file.flush()
        if sync:
            os.fsync(file.fileno())


def write_mapped(path: Path) -> None:
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[3 * MIB : 3 * MIB + 5] = b"mmap!"


def write_direct(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_DIRECT)
    with mmap.mmap(-1, PAGE) as buffer:
        buffer.write(b"d" * PAGE)
        os.pwrite(descriptor, buffer, 5 * MIB)
    os.close(descriptor)


CHANGES: dict[str, tuple[Callable[[Path], None], int]] = {
    "nothing": (lambda _path: None, 0),
    "buffered, not synced": (lambda path: write(path, 2 * MIB + 100, b"x"), PAGE),
    "synced": (lambda path: write(path, 7 * MIB + 4000, b"x" * 200, sync=True), 2 * PAGE),
    "mapped": (write_mapped, PAGE),
    "direct": (write_direct, PAGE),
    "into a hole": (lambda path: write(path, 20 * MIB, b"x" * 10_000), 3 * PAGE),
    "allocated": (lambda path: run("fallocate", "-o", str(22 * MIB), "-l", str(MIB), str(path)), 0),
    "into that": (lambda path: write(path, 22 * MIB + 64 * KIB, b"y"), PAGE),
    "punched": (lambda path: run("fallocate", "-p", "-o", str(4 * MIB), "-l", str(MIB), str(path)), 0),
}


def test_every_way_to_change_a_disk(xfs: Path, tmp_path: Path) -> None:
    vm = Vm(xfs)
    full = vm.back_up()
    assert (full.disks[0].image or {})["repository_id"] == REPOSITORY
    assert full.clone == {
        "keep": True,
        "reason": "the next increment compares its extent maps with it",
        "obsolete": True,
    }
    for name, (change, least) in CHANGES.items():
        change(vm.image)
        disk_of = vm.back_up().disks[0]
        changes = disk_of.changes or {}
        assert changes["method"] == "extent_maps", (name, changes)
        # The kernel may write more than was written: a whole large page of its cache.
        assert least <= changes["candidate"] <= least + 2 * MIB, name
        assert disk_of.statistics["read"] == changes["candidate"] + changes["sampled"], name
        assert vm.is_exact(tmp_path / f"restored-{len(vm.points)}"), name


def test_a_small_write_reads_as_much_and_the_rest_of_its_block_comes_from_the_vault(xfs: Path, tmp_path: Path) -> None:
    vm = Vm(xfs)
    vm.back_up()
    for number in range(20):
        write(vm.image, number * 700 * KIB, b"small", sync=True)
    point = vm.back_up()
    assert (point.disks[0].changes or {})["candidate"] == 20 * PAGE
    assert point.disks[0].statistics["changed"] == 20 * 64 * KIB
    assert vm.is_exact(tmp_path / "restored")
