# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""How a recovery point comes to be: under the client's lock, whole or not at all."""

from __future__ import annotations

import contextlib
import platform
from dataclasses import dataclass
from typing import Callable

from .._libraries import blake3, zstandard
from .._version import COLLECTION_VERSION
from .lock import ClientLock
from .manifest import Point
from .points import Client, PointWriter


@dataclass(frozen=True)
class PointOutcome:
    """The recovery point, and whether this call made it. C(notes) are facts that an administrator should know."""

    point: Point
    created: bool
    notes: tuple[str, ...]


def make_point(
    client: Client,
    lock: ClientLock,
    fill: Callable[[PointWriter, list[str]], Point],
    *,
    now: float,
    level: int,
) -> PointOutcome:
    """Make and publish the point that C(fill) writes and describes; it may add to the notes. The lock is held.

    After any failure, interruption included, the point does not exist and leaves nothing in the vault.
    """
    notes = []
    if lock.taken_over is not None:
        notes.append(f"took over the lock that run {lock.taken_over.get('run_id')} left behind")
    left = client.remove_unpublished()
    if left:
        notes.append(f"removed what interrupted runs left in the vault: {', '.join(left)}")
    writer = client.new_point(now=now, level=level)
    try:
        point = fill(writer, notes)
        lock.check()
        writer.publish(point)
    except BaseException:
        # Also for an interruption; a second failure here must not hide the first.
        with contextlib.suppress(Exception):
            writer.discard()
        raise
    return PointOutcome(point, True, tuple(notes))


def versions() -> dict[str, str]:
    """Return what makes recovery points here, for the manifest."""
    return {
        "collection": COLLECTION_VERSION,
        "python": platform.python_version(),
        "zstandard": zstandard.__version__,
        "blake3": blake3.__version__,
    }
