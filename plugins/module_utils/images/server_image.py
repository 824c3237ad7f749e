# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What images on a server have in common, however they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import SourceError
from . import complaints
from .maps import mapped_data
from .types import MAPPED_FILE_SYSTEMS, ExtentMap, Identity, MapUnavailable, Span


class ServerImage:
    """A raw disk image on a server. Subclasses say how its state and its map come from there."""

    def __init__(self, path: str, server: str, before: Mapping[str, Any]) -> None:
        self.path = path
        self.server_name = server
        self.name = image_name(path, server)
        self.bytes_read = 0
        self._before = before
        self.size = int(before["size"])

    def state(self) -> Mapping[str, Any]:
        """Return what the program on servers says of the path (C(dom0_program.state)); raise C(SourceError)."""
        raise SourceError(f"Cannot look at {self.name}")

    def extent_map(self) -> ExtentMap:
        """Return the extent map as it is now, of any file system; raise C(MapUnavailable)."""
        raise MapUnavailable("there is none")

    def close(self) -> None:
        """Close the image."""

    def check_disk(self) -> None:
        """Close the image and raise C(SourceError) when it cannot be a disk."""
        if not self._before["regular"] or not self.size:
            self.close()
            raise self.error(complaints.no_disk(self.name, regular=self._before["regular"]))

    def identity(self) -> Identity:
        """Return which file it is now; C(MapUnavailable) if its file system cannot be told from another."""
        try:
            now = self.state()
        except SourceError as error:
            raise MapUnavailable(error.message) from error
        if not now["uuid"]:
            raise MapUnavailable(complaints.no_uuid(self.name, now["file_system"]))
        return Identity.parse(now)

    def extents(self) -> ExtentMap:
        """Return the map of the image as it is now; C(MapUnavailable) if the file system has none to trust."""
        kind = self._before["file_system"]
        if kind not in MAPPED_FILE_SYSTEMS:
            raise MapUnavailable(complaints.no_clones(kind))
        return self.extent_map()

    def data_spans(self) -> list[Span]:
        """Return what may hold data, ascending and without overlaps; all else is zeros."""
        try:
            return mapped_data(self.extent_map())
        except MapUnavailable:
            return [Span(0, self.size)]

    def check_unchanged(self) -> None:
        """Raise C(SourceError) when the image was written to since it was opened."""
        before, now = self._before, self.state()
        if any(now[key] != before[key] for key in ("device", "inode", "size", "mtime")):
            raise self.error(complaints.changed(self.name, before["size"], now["size"]))

    def ends_early(self, offset: int) -> SourceError:
        """Return the error for an image that has less bytes than before."""
        return self.error(complaints.ends_early(self.name, offset, self.size), offset=offset)

    def error(self, message: str, **details: Any) -> SourceError:
        """Return an error with the details of this image."""
        return SourceError(message, path=self.path, server=self.server_name, **details)


def image_name(path: str, server: str) -> str:
    """Return what an image, or another file, is called in messages."""
    return f"{path} on server {server}"
