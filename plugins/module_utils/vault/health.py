# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What is known of the state of a recovery point without reading its data."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import TYPE_CHECKING

from ..errors import VaultError
from .manifest import Point, PointDisk
from .verification_record import read_verification

if TYPE_CHECKING:
    from .points import Client

_Place = tuple[str, str]  # recovery point and name of a file in its folder


def problem_of(client: Client, point: Point) -> str | None:
    """Return why a point cannot be built upon in all its disks, or nothing."""
    problems = (problem_of_disk(client, point, disk) for disk in point.disks)
    return next(filter(None, problems), None) or _found_bad(client, point.id, None)


def problem_of_disk(client: Client, point: Point, disk: PointDisk) -> str | None:
    """Return why a disk of a point cannot be built upon, or nothing.

    Looks at manifests and file sizes, and at what verifications have found.
    """
    needed: list[_Place] = []
    try:
        for path, _hash, size in client.disk_files(point, disk):
            found = os.stat(path).st_size
            if found != size:
                return f"{path} has {found} bytes instead of {size}"
            folder, name = os.path.split(path)
            needed.append((os.path.basename(folder), name))
    except VaultError as error:
        return error.message
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    # A file may have been found damaged with any of the points of the chain.
    bad = (_found_bad(client, holder, needed) for holder, _name in needed)
    return next(filter(None, bad), None)


def _found_bad(client: Client, holder: str, files: Collection[_Place] | None) -> str | None:
    """Return what the verification of a point says against these files, or against anything."""
    verification = read_verification(os.path.join(client.directory, holder))
    if verification is None or verification.ok:
        return None
    problem = verification.problems[0] if files is None else verification.concerns(files)
    return f"recovery point {holder} was found bad by a verification: {problem.message}" if problem else None
