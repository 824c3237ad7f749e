# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""A recovery point that several steps of one run make together: what they have done is noted beside its disk files.

A draft is the folder of a recovery point without a manifest, so it does not exist for any reader. It belongs to its
run; every other run removes it as it removes all that was not published.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import PointNotFoundError
from . import format as fmt
from .disk_writer import DiskWriter, FrameCompressor
from .files import is_temporary, make_directory, names, read_json_if_whole, remove_file, remove_tree, write_json
from .manifest import Point, parse_point, sequence_of
from .point_writer import PointWriter
from .points import Client

DRAFT_NAME = "draft.json"
# Where the passes have their files; what is no part of either lies where the recovery point will have it.
FIRST, SECOND, FINAL = "first", "second", ""


@dataclass(frozen=True)
class FirstPassDisk:
    """A disk as the first pass has stored it. C(base) is the point that it builds on; sizes in bytes."""

    disk_id: str
    size: int
    type: str
    reason: str
    base: str | None
    file: str
    header_hash: str
    read: int


@dataclass
class Draft:
    """C(point) is the manifest to be, once the disks are complete; until then there are only the C(disks).

    C(second) maps the id of a disk to the header hash of what the second pass stored over the first, until both are
    merged. C(seconds) is how long the first pass took.
    """

    writer: PointWriter
    run_id: str
    vm_id: str
    seconds: float = 0.0
    disks: tuple[FirstPassDisk, ...] = ()
    point: Point | None = None
    second: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def first(self, disk_id: str) -> FirstPassDisk | None:
        """Return what the first pass knows of a disk, or nothing."""
        return next((disk for disk in self.disks if disk.disk_id == disk_id), None)

    def path(self, part: str, file: str) -> str:
        """Return where a pass, or the recovery point to be, has its file of a disk."""
        return os.path.join(self.writer.directory, part, file)

    def disk_writer(
        self, part: str, file: str, geometry: fmt.Geometry, kind: str, compressor: FrameCompressor
    ) -> DiskWriter:
        """Return a writer for such a file; what a killed step of this run has left of it goes."""
        make_directory(os.path.join(self.writer.directory, part))
        self.remove(part, file)
        return DiskWriter(self.path(part, file), geometry, kind, compressor)

    def remove(self, part: str, file: str) -> None:
        """Remove such a file; a missing one is fine."""
        remove_file(self.path(part, file))

    def files_below(self, client: Client, disk: FirstPassDisk) -> list[tuple[str, str]]:
        """Return path and header hash of the first pass's file of a disk and of those that it builds on."""
        return [(self.path(FIRST, disk.file), disk.header_hash), *base_files(client, disk.base, disk.disk_id)]

    def save(self) -> None:
        """Write down what there is."""
        write_json(
            os.path.join(self.writer.directory, DRAFT_NAME),
            {
                "run_id": self.run_id,
                "vm_id": self.vm_id,
                "seconds": self.seconds,
                "disks": [asdict(disk) for disk in self.disks],
                "point": self.point.as_dict() if self.point is not None else None,
                "second": self.second,
                "notes": list(self.notes),
            },
        )

    def strip(self) -> None:
        """Remove everything that is no part of the recovery point."""
        for part in (FIRST, SECOND):
            remove_tree(os.path.join(self.writer.directory, part))
        for name in names(self.writer.directory):
            if name == DRAFT_NAME or is_temporary(name):  # a step of this run may have been killed while it wrote
                remove_file(os.path.join(self.writer.directory, name))


def base_files(client: Client, base: str | None, disk_id: str) -> list[tuple[str, str]]:
    """Return path and header hash of the files that a disk builds on: none if C(base), a recovery point, is none."""
    if base is None:
        return []
    point = client.point(base)
    disk = point.disk(disk_id)
    if disk is None:
        raise PointNotFoundError(f"Recovery point {base} of client {client.name} does not hold disk {disk_id}")
    return [(path, header_hash) for path, header_hash, _size in client.disk_files(point, disk)]


def find_draft(client: Client, run_id: str) -> Draft | None:
    """Return the draft of a run, or nothing. One that is damaged is that of no run.

    Raises C(VaultError) for one that cannot be read at this moment: whoever takes it for none removes it, and with it
    a first pass that cannot be repeated while the VM is down.
    """
    for point_id in client.unpublished():
        directory = os.path.join(client.directory, point_id)
        found: Any = read_json_if_whole(os.path.join(directory, DRAFT_NAME))
        try:
            if found["run_id"] != run_id:
                continue
            return Draft(
                writer=PointWriter(directory, point_id, sequence_of(point_id), FrameCompressor()),
                run_id=run_id,
                vm_id=found["vm_id"],
                seconds=found["seconds"],
                disks=tuple(FirstPassDisk(**disk) for disk in found["disks"]),
                point=parse_point(found["point"]) if found["point"] is not None else None,
                second=dict(found["second"]),
                notes=tuple(found["notes"]),
            )
        except (KeyError, TypeError, ValueError):
            continue
    return None
