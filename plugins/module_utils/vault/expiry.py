# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Letting recovery points expire: decided anew under the lock of the client, removed from new to old."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import VaultError, VaultLockedError, VaultWriteError
from .health import Health
from .lock import ClientLock
from .manifest import Point, hold_of
from .pins import read_pin
from .points import Client, DamagedPoint
from .removal import expire_point
from .reserve import give_up_reserve, keep_reserve
from .retention import Decision, PointFacts, RetentionPolicy, Review, decide
from .storage.failures import FULL_VAULT
from .summary import format_seconds
from .visit import check_free, visit

# Seconds. It may be the clock of a file server that is wrong, by some hours without harm: what expires by a clock that
# is less ahead would have expired within a day.
_FAR_AHEAD = 86400.0


@dataclass(frozen=True)
class Expiry:
    """What became of one client.

    C(skipped) says why nothing (more) was removed because of another run, C(failed) because of an error.
    """

    client: str
    vm_name: str | None
    kept: tuple[Decision, ...]
    expired: tuple[Decision, ...]
    warnings: tuple[str, ...]
    skipped: str | None = None
    failed: str | None = None

    @property
    def freed(self) -> int:
        """Return the bytes of the disk files of the expired points."""
        return sum(decision.point.stored for decision in self.expired)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "client": self.client,
            "vm_name": self.vm_name,
            "kept": [_as_dict(decision) for decision in self.kept],
            "expired": [_as_dict(decision) for decision in self.expired],
            "freed": self.freed,
            "warnings": list(self.warnings),
            "skipped": self.skipped,
            "failed": self.failed,
        }


@dataclass(frozen=True)
class Expiration:
    """How points expire: by which policy, as of when, in which time zone; and who does it.

    C(now) comes from C(clock), which is compared with that of the vault's storage before anything is removed.
    """

    policy: RetentionPolicy
    now: float
    zone: datetime.tzinfo
    owner: str
    run_id: str
    clock: Callable[[], float] = time.time

    def review(self, client: Client) -> Review:
        """Decide on the points of a client as they are now; changes nothing."""
        return decide(_facts(client), self.policy, now=self.now, zone=self.zone)

    def run(self, client: Client, *, dry_run: bool = False) -> Expiry:
        """Remove what expires, or only say what would; never touches a client that another run works on."""
        done = _Done()
        skipped = failed = None
        try:
            done.vm_name = client.document.get("vm_name")
            done.review = self.review(client)
            if done.review.expired:
                check_free(client, owner=self.owner, run_id=self.run_id)
                if dry_run:
                    done.removed = done.review.expired
                else:
                    self._remove(client, done)
        except VaultLockedError as error:
            skipped = error.message
        except VaultError as error:
            failed = error.message
        why = "the client is locked" if skipped else "an error came first"
        gone = {decision.point.id for decision in done.removed}
        kept = [
            decision if decision.keep else replace(decision, reasons=(f"not removed, {why}", *decision.reasons))
            for decision in done.review.decisions
            if decision.point.id not in gone
        ]
        expired = sorted(done.removed, key=lambda decision: decision.point.sequence)
        return Expiry(client.name, done.vm_name, tuple(kept), tuple(expired), done.review.warnings, skipped, failed)

    def _remove(self, client: Client, done: _Done) -> None:
        """Remove; in a vault that is full, with what it keeps for that."""
        try:
            self._remove_locked(client, done)
        except VaultWriteError as error:
            if error.details.get("errno") not in FULL_VAULT or not give_up_reserve(client.vault_path):
                raise
            self._remove_locked(client, done)
        finally:
            keep_reserve(client.vault_path)

    def _remove_locked(self, client: Client, done: _Done) -> None:
        """Remove under the lock. C(done) grows with each point, so that an error does not hide what was removed."""
        with visit(client, owner=self.owner, run_id=self.run_id) as lock:
            self._check_clock(lock)
            client.remove_unpublished()
            while self._remove_some(client, lock, done):
                pass

    def _check_clock(self, lock: ClientLock) -> None:
        """Raise C(VaultError) for a clock far ahead of the vault's: by it, all would be old enough to expire."""
        ahead = self.clock() - lock.written()
        if ahead > _FAR_AHEAD:
            raise VaultError(
                f"The clock of this host is {format_seconds(ahead)} ahead of that of the vault, so nothing is removed: "
                "set it, by NTP"
            )

    def _remove_some(self, client: Client, lock: ClientLock, done: _Done) -> bool:
        """Decide and remove from new to old; return whether that has to begin anew because a point was just pinned."""
        # What was decided before does not count: a backup or a pin may have come.
        done.review = self.review(client)
        for decision in done.review.expired:
            lock.check()
            if not expire_point(os.path.join(client.directory, decision.point.id)):
                return True
            done.removed.append(decision)
        return False


@dataclass
class _Done:
    """How far the work on a client has come: the last decisions, and what was removed by them and earlier ones."""

    vm_name: str | None = None
    review: Review = Review((), ())
    removed: list[Decision] = field(default_factory=list)


def belongs_to(client: Client, subclient: str) -> bool:
    """Return whether the newest recovery point of a client that can be read was made by a subclient."""
    points, _damaged = client.scan()
    return bool(points) and points[-1].subclient == subclient


def _facts(client: Client) -> list[PointFacts]:
    """Return what retention has to know of all recovery points of a client."""
    points, damaged = client.scan()
    health = Health(client)
    return [facts_of(client, point, health) for point in points] + [unreadable(bad) for bad in damaged]


def facts_of(client: Client, point: Point, health: Health) -> PointFacts:
    """Return what retention has to know of a recovery point."""
    pin = read_pin(os.path.join(client.directory, point.id))
    return PointFacts(
        id=point.id,
        sequence=point.sequence,
        created=point.created,
        type=point.type,
        bases=frozenset(disk.base for disk in point.disks if disk.base is not None),
        problem=health.problem_of(point),
        pin=None if pin is None else pin.note,
        held=hold_of(os.path.join(client.directory, point.id)),
        consolidates=point.consolidates,
        content=frozenset((disk.disk_id, disk.content_hash) for disk in point.disks),
        stored=point.stored,
    )


def unreadable(bad: DamagedPoint) -> PointFacts:
    """Return what retention has to know of a recovery point whose manifest cannot be read."""
    return PointFacts(id=bad.id, sequence=bad.sequence, created=None, type=None, problem=bad.error)


def _as_dict(decision: Decision) -> dict[str, Any]:
    point = decision.point
    return {
        "id": point.id,
        "type": point.type,
        "created": point.created,
        "stored": point.stored,
        "pinned": point.pin is not None,
        "problem": point.problem,
        "reasons": list(decision.reasons),
    }
