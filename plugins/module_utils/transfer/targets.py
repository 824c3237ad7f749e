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
from ..images.local_target import existing_image, new_image
from ..images.remote import Server
from ..images.remote_target import RemoteTarget, new_remote_image
from ..images.spans import image_path
from ..images.ssh import SshSettings
from ..images.target import DiskTarget
from .opening import SERVER_REPOSITORIES


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


@contextlib.contextmanager
def open_target(
    target: Mapping[str, Any], size: int, *, repositories_path: str, ssh: SshSettings | None, existing: bool
) -> Iterator[DiskTarget]:
    """Give the target; a new one is removed when the block ends before C(finish)."""
    path = target_path(target, repositories_path)
    if target["kind"] == "path":
        with existing_image(path, size) if existing else new_image(path, size) as image:
            yield image
        return
    server = target["server"]
    if server is None or ssh is None:
        raise InvalidInputError(
            "The target is on a server, but target.server or ssh is missing: pass both", option="target"
        )
    opened = RemoteTarget if existing else new_remote_image
    there = Server(ssh, str(server["address"]), str(server["name"]))
    with there as connection, opened(connection, path, size) as image:
        yield image
