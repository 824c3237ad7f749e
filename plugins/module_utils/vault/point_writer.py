# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""A recovery point in the making."""

from __future__ import annotations

import os
from typing import Any

from . import format as fmt
from .disk_writer import DiskWriter, FrameCompressor
from .files import sync_with_parent, write_file
from .manifest import Point, disk_file_name, write_manifest
from .removal import remove_point


class PointWriter:
    """A recovery point that does not exist for anybody before C(publish)."""

    def __init__(self, directory: str, point_id: str, sequence: int, compressor: FrameCompressor) -> None:
        self.directory = directory
        self.id = point_id
        self.sequence = sequence
        self._compressor = compressor

    def disk_writer(self, slot: int, name: str, geometry: fmt.Geometry, kind: str) -> tuple[str, DiskWriter]:
        """Return the name of a new disk file and its writer."""
        file_name = disk_file_name(slot, name)
        return file_name, DiskWriter(os.path.join(self.directory, file_name), geometry, kind, self._compressor)

    def add_file(self, name: str, data: bytes) -> dict[str, Any]:
        """Store a small file with the point; return what the manifest says of it."""
        write_file(os.path.join(self.directory, name), data)
        return {"file": name, "size": len(data), "blake3": fmt.digest(data)}

    def publish(self, point: Point) -> None:
        """Make the point exist: everything durable first, the manifest last."""
        sync_with_parent(self.directory)
        write_manifest(self.directory, point)

    def discard(self) -> None:
        """Remove everything that was written."""
        remove_point(self.directory)
