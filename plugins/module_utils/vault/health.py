# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What is known of the state of a recovery point without reading its data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import VaultError
from .manifest import Point
from .verification_record import read_verification

if TYPE_CHECKING:
    from .points import Client

_Place = tuple[str, str]  # recovery point and name of a file in its folder


def describe(client: Client, point: Point) -> dict[str, Any]:
    """Return a point in plain JSON types, with what is known of its state."""
    verification = read_verification(os.path.join(client.directory, point.id))
    return {
        **point.as_dict(),
        "problem": problem_of(client, point),
        "verification": verification.as_dict() if verification is not None else None,
    }


def problem_of(client: Client, point: Point) -> str | None:
    """Return why a point cannot be built upon, or nothing.

    Looks at manifests and file sizes, and at what verifications have found.
    """
    needed: dict[str, set[_Place]] = {point.id: set()}
    try:
        for disk in point.disks:
            for path, _hash, size in client.disk_files(point, disk):
                found = os.stat(path).st_size
                if found != size:
                    return f"{path} has {found} bytes instead of {size}"
                folder, name = os.path.split(path)
                holder = os.path.basename(folder)
                needed.setdefault(holder, set()).add((holder, name))
    except VaultError as error:
        return error.message
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    return _found_bad(client, point, needed)


def _found_bad(client: Client, point: Point, needed: Mapping[str, set[_Place]]) -> str | None:
    """Return what the verifications of a point and of those that it builds on say against it."""
    files = set().union(*needed.values())
    for holder in needed:
        verification = read_verification(os.path.join(client.directory, holder))
        if verification is None or verification.ok:
            continue
        # Of another point only what this one needs matters.
        problem = verification.problems[0] if holder == point.id else verification.concerns(files)
        if problem is not None:
            return f"recovery point {holder} was found bad by a verification: {problem.message}"
    return None
