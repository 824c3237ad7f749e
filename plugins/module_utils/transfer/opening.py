# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Opens the images of a VM where the plan says that they are read: on a path of the proxy, or on a server over ssh."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInputError, SourceError
from ..images.local import LocalImage, read_local_file
from ..images.spans import image_path
from ..images.types import DiskImage
from .request import BackupRequest

if TYPE_CHECKING:
    from ..images.remote import Server

SERVER_REPOSITORIES = "/OVS/Repositories"  # where every server mounts them (ovm-rest-api 8.2)
_CONFIGURATION_LIMIT = 1024 * 1024


class Images:
    """Opens images; a context manager that closes them, and the connections to servers."""

    def __init__(self, request: BackupRequest) -> None:
        self._request = request
        self._stack = contextlib.ExitStack()
        self._servers: dict[str, Server] = {}

    def __enter__(self) -> Images:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stack.close()
        self._servers.clear()

    def open(self, planned: Mapping[str, Any], place: Mapping[str, Any]) -> DiskImage:
        """Open the image at C(repository_id) and C(path) of C(place) in the way that is planned for a disk."""
        repository_id, path = place["repository_id"], place["path"]
        if planned["source"] == "ssh":
            server = self._server(planned, f"Disk {planned['name']!r}")
            return self._stack.enter_context(server.open_image(image_path(SERVER_REPOSITORIES, repository_id, path)))
        return self._stack.enter_context(LocalImage(image_path(self._request.repositories_path, repository_id, path)))

    def open_disk(self, planned: Mapping[str, Any]) -> DiskImage:
        """Open the image of a planned disk: its clone's where there is a clone."""
        image = self.open(planned, self._request.image_of(planned))
        known = self._request.size_of(planned)
        if image.size < known:
            raise SourceError(
                f"The image {image.name} has {image.size} bytes, but the disk has {known}: it was truncated",
                path=image.name,
                offset=image.size,
            )
        return image

    def read_configuration(self, place: Mapping[str, Any]) -> bytes:
        """Return a small file of a storage repository, read in the way that is planned.

        Raises C(SourceError) and C(ServerError).
        """
        repository_id, path = place["repository_id"], place["path"]
        if place["source"] == "ssh":
            if place["server"] is None:
                raise SourceError(f"Cannot read {path} of storage repository {repository_id}: no server can")
            where = image_path(SERVER_REPOSITORIES, repository_id, path)
            return self._server(place, "vm.cfg").read_file(where, _CONFIGURATION_LIMIT)
        return read_local_file(image_path(self._request.repositories_path, repository_id, path), _CONFIGURATION_LIMIT)

    def _server(self, planned: Mapping[str, Any], what: str) -> Server:
        server, settings = planned["server"], self._request.ssh
        if server is None or settings is None:
            raise InvalidInputError(
                f"{what} is planned to be read over ssh, but it has no server, or ssh is missing: "
                "pass the ssh settings that plan_info was given",
                option="ssh",
            )
        from ..images.remote import Server  # most of what a backup loads, and not needed to read a path

        key = str(server["address"])
        if key not in self._servers:
            self._servers[key] = self._stack.enter_context(Server(settings, key, str(server["name"])))
        return self._servers[key]
