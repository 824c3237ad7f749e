# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Opens what a disk is restored to: a file on a path, or an image in a storage repository."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import InvalidInputError
from ..images.local_target import existing_image, new_image, refuse_existing
from ..images.remote import Server
from ..images.remote_target import RemoteTarget
from ..images.spans import image_path
from ..images.ssh import SshSettings
from ..images.target import DiskTarget
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


def check_place(target: Mapping[str, Any], path: str, chain: DiskChain, *, existing: bool) -> None:
    """Raise for a new image on this host that could not be written. An existing one may not have been made yet."""
    if target["kind"] == "path" and not existing:
        refuse_existing(path, overwrite=False)
        check_target(path, chain)


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
    server = target["server"]
    if server is None or ssh is None:
        raise InvalidInputError(
            "The target is on a server, but target.server or ssh is missing: pass both", option="target"
        )
    there = Server(ssh, str(server["address"]), str(server["name"]))
    with there as connection, RemoteTarget(connection, path, size, create=not existing) as remote:
        require_room(remote.name, data_size(chain), remote.room(), _WHERE)
        yield remote
