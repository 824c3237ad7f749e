# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""A recovery point into raw image files, one for each disk."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Callable

from ..errors import CorruptVaultError, InvalidInputError
from ..images.target import target_errors
from ..vault.manifest import Point, PointDisk, chosen_disks
from ..vault.points import Client
from .disk_restore import check_target, data_size, image_hash, restore_disk

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ImagePlan:
    """A disk and the image that it becomes. C(state): missing, current (same content already) or different."""

    disk: PointDisk
    path: str
    state: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "slot": self.disk.slot,
            "disk_id": self.disk.disk_id,
            "name": self.disk.name,
            "size": self.disk.size,
            "content_hash": self.disk.content_hash,
            "path": self.path,
        }


def for_disk(progress: Progress | None, disk: PointDisk) -> Callable[[int, int], None] | None:
    """Return what is to be called while a disk is worked on."""
    return None if progress is None else functools.partial(progress, disk.name)


def data_sizes(client: Client, point: Point, slots: Collection[int] | None = None) -> dict[int, int]:
    """Return, by slot, how many bytes of each disk are data. Opens every file that a restore needs."""
    found = {}
    for disk in point.disks:
        if slots is None or disk.slot in slots:
            with client.open_disk(point, disk) as chain:
                found[disk.slot] = data_size(chain)
    return found


def saved_configuration(client: Client, point: Point) -> dict[str, Any]:
    """Return what the manager said of the VM when it was backed up; raise C(CorruptVaultError) if that is no such."""
    try:
        return dict(json.loads(client.read_file(point, "vm_json").decode("utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        path = os.path.join(client.directory, point.id)
        raise CorruptVaultError(f"{path} is damaged: vm.json is not readable", path=path, offset=0) from error


def plan_images(
    client: Client,
    point: Point,
    directory: str,
    *,
    slots: Collection[int] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[ImagePlan]:
    """Say which image files there will be; raise for what can be seen to stand in the way, before anything is written.

    Damage to the data of a disk, or to hashes of its blocks, shows when it is read.
    """
    chosen = chosen_disks(point, slots)
    parent = os.path.dirname(os.path.abspath(directory))
    if not os.path.isdir(directory) and (os.path.lexists(directory) or not os.path.isdir(parent)):
        raise InvalidInputError(
            f"{directory} is not a directory and cannot be made: name a directory in one that exists", path=directory
        )
    plans = []
    promised = 0
    for disk in chosen:
        path = os.path.join(directory, disk.file[: -len(".img.zst")] + ".img")
        with client.open_disk(point, disk) as chain:
            found = image_hash(path, chain.geometry, progress=for_disk(progress, disk))
            if found == disk.content_hash:
                plans.append(ImagePlan(disk, path, "current"))
                continue
            exists = os.path.lexists(path)
            if exists and not overwrite:
                raise InvalidInputError(
                    f"{path} exists and is not disk {disk.name!r} of {point.id}: allow it to be overwritten, or name "
                    "another directory",
                    path=path,
                )
            promised += check_target(path, chain, promised=promised)
            plans.append(ImagePlan(disk, path, "different" if exists else "missing"))
    return plans


def restore_images(client: Client, point: Point, plans: list[ImagePlan], *, progress: Progress | None = None) -> int:
    """Write the images that are not current; return the bytes of data written."""
    written = 0
    for directory in {os.path.dirname(plan.path) for plan in plans}:
        with target_errors("create", directory):
            # Disks of guests hold secrets: nobody else may look at them.
            os.makedirs(directory, mode=0o700, exist_ok=True)
    for plan in plans:
        if plan.state == "current":
            continue
        with client.open_disk(point, plan.disk) as chain:
            done = restore_disk(
                chain,
                plan.path,
                content_hash=plan.disk.content_hash,
                overwrite=plan.state == "different",
                progress=for_disk(progress, plan.disk),
            )
            written += done.written
    return written
