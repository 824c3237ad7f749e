# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Opens what a disk is restored to: a file on a path, or an image in a storage repository."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import InvalidInputError, SourceError, TargetError
from ..images.local_target import existing_image, new_image, refuse_existing, room_of
from ..images.remote import RemoteImage, Server
from ..images.remote_target import RemoteTarget, require_python
from ..images.server_image import image_name
from ..images.spans import image_path
from ..images.ssh import SshSettings
from ..images.target import DiskTarget, check_size
from ..vault.chain import DiskChain
from .disk_restore import check_target, data_size, require_room
from .opening import SERVER_REPOSITORIES

_WHERE = "its file system, with what the image has already"


def target_path(target: Mapping[str, Any], repositories_path: str) -> str:
    """Return where the image lies, on this host or on the server; raise C(InvalidInputError) for what is no place.

    C(target): C(kind) (C(path) or C(ssh)), C(path), C(repository_id) if the path is relative to a storage repository.
    """
    if target["repository_id"] is not None:
        folder = SERVER_REPOSITORIES if target["kind"] == "ssh" else repositories_path
        return image_path(folder, target["repository_id"], target["path"])
    if target["kind"] == "ssh":
        raise InvalidInputError(
            "target.repository_id is missing: over ssh an image lies in a storage repository", option="target"
        )
    if not os.path.isabs(target["path"]):
        raise InvalidInputError(
            f"target.path {target['path']!r} is not absolute: name it from / on, or pass target.repository_id",
            option="target",
        )
    return str(target["path"])


def check_place(
    target: Mapping[str, Any], path: str, chain: DiskChain, *, ssh: SshSettings | None, existing: bool
) -> None:
    """Raise for an image that could not be written, as far as that is seen without writing.

    An existing one that is missing is none: it may be made before the disk is restored.
    """
    if target["kind"] != "path":
        _check_on_server(target, path, chain, ssh, existing)
    elif not existing:
        refuse_existing(path, overwrite=False)
        check_target(path, chain)
    elif os.path.lexists(path):
        require_room(path, data_size(chain), room_of(path, chain.geometry.size), _WHERE)


def _check_on_server(
    target: Mapping[str, Any], path: str, chain: DiskChain, ssh: SshSettings | None, existing: bool
) -> None:
    with _server(target, ssh) as connection:
        require_python(connection, path)
        name = image_name(path, connection.name)
        room, _size = connection.free_space(os.path.dirname(path))
        try:
            with RemoteImage(connection, path) as image:
                if not existing:
                    raise TargetError(f"Cannot create {name}: it exists", path=path)
                check_size(name, path, image.size, chain.geometry.size)
                room += sum(span.end - span.start for span in image.data_spans())
        except SourceError as error:
            if error.details.get("errno") != errno.ENOENT:
                raise
        require_room(name, data_size(chain), room, _WHERE)


def _server(target: Mapping[str, Any], ssh: SshSettings | None) -> Server:
    server = target["server"]
    if server is None or ssh is None:
        raise InvalidInputError(
            "The target is on a server, but target.server or ssh is missing: pass both", option="target"
        )
    return Server(ssh, str(server["address"]), str(server["name"]))


@contextlib.contextmanager
def open_target(
    target: Mapping[str, Any], chain: DiskChain, *, repositories_path: str, ssh: SshSettings | None, existing: bool
) -> Iterator[DiskTarget]:
    """Give the target, which has room for the disk; a new one is removed when the block ends before C(finish)."""
    path, size = target_path(target, repositories_path), chain.geometry.size
    if target["kind"] == "path":
        with existing_image(path, size) if existing else new_image(path, size) as image:
            require_room(path, data_size(chain), image.room(), _WHERE)
            yield image
        return
    there = _server(target, ssh)
    with there as connection, RemoteTarget(connection, path, size, create=not existing) as remote:
        require_room(remote.name, data_size(chain), remote.room(), _WHERE)
        yield remote
