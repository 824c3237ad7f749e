# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""How a recovery point comes to be: under the client's lock, whole or not at all."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Callable

from .._libraries import blake3, zstandard
from .._version import COLLECTION_VERSION
from .lock import ClientLock
from .manifest import Point
from .point_writer import PointWriter
from .points import Client


@dataclass(frozen=True)
class PointOutcome:
    """The recovery point, and whether this call made it. C(notes) are facts that an administrator should know.

    C(published): it exists; otherwise it is a draft of the run.
    """

    point: Point
    created: bool
    notes: tuple[str, ...]
    published: bool = True


def taken_over(lock: ClientLock) -> list[str]:
    """Return what is to be noted about whose lock was taken over."""
    dead = lock.taken_over
    return [f"took over the lock that run {dead.get('run_id')} left behind"] if dead is not None else []


def clear_away_left(client: Client, notes: list[str]) -> None:
    """Remove and note what interrupted runs left. The lock is held.

    It comes before any choice of a recovery point to build on: a hidden one that is pinned is put back, and may be the
    newest.
    """
    left = client.remove_unpublished()
    if left:
        notes.append(f"removed what interrupted runs left in the vault: {', '.join(left)}")


@contextlib.contextmanager
def discarded_on_failure(
    writer: PointWriter, failures: tuple[type[BaseException], ...] = (BaseException,)
) -> Iterator[None]:
    """Leave nothing of a recovery point in the vault after any failure, interruption included, or after these only."""
    try:
        yield
    except failures:
        # A second failure here must not hide the first.
        with contextlib.suppress(Exception):
            writer.discard()
        raise


def make_point(
    client: Client,
    lock: ClientLock,
    fill: Callable[[PointWriter, list[str]], Point],
    notes: list[str],
    *,
    now: float,
    level: int,
) -> PointOutcome:
    """Make and publish the point that C(fill) writes and describes; it may add to the notes. The lock is held.

    What interrupted runs left is cleared away already.

    After any failure, interruption included, the point does not exist and leaves nothing in the vault.
    """
    writer = client.new_point(now=now, level=level)
    with discarded_on_failure(writer):
        point = fill(writer, notes)
        lock.check()
        writer.publish(point)
    return PointOutcome(point, True, tuple(notes))


def versions() -> dict[str, str]:
    """Return what makes recovery points here, for the manifest."""
    return {
        "collection": COLLECTION_VERSION,
        "python": platform.python_version(),
        "zstandard": zstandard.__version__,
        "blake3": blake3.__version__,
    }
