# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""A verification run: find the recovery points, verify what is due, store and report every result."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from ..errors import CorruptVaultError, InvalidInputError, PointNotFoundError, VaultError
from .jobs import new_job_id
from .manifest import Point, is_published
from .points import Client, Vault
from .selection import named_clients
from .verification import Progress, Verifier
from .verification_record import Verification, read_verification, write_verification
from .verification_selection import Candidate, select_due

DUE, GOOD, BAD, GONE, UNKNOWN = "due", "good", "bad", "gone", "unknown"


@dataclass(frozen=True)
class Target:
    """A recovery point of the run, its latest result before the run, and why it is due."""

    client: Client
    point: Point
    before: Verification | None
    why: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Return what tells it from all others."""
        return (self.client.name, self.point.id)

    @property
    def candidate(self) -> Candidate:
        """Return what its selection depends on."""
        found = self.before
        at, ok = (found.verified_at, found.ok) if found is not None else (None, None)
        return Candidate(self.client.name, self.point.id, self.point.created, at, ok)


@dataclass(frozen=True)
class Outcome:
    """What became of a recovery point.

    C(status): good, bad, gone (it was removed meanwhile), unknown (it could not be verified) or due (nothing was done).
    C(error) says why the verification, or the storing of its result, failed.
    """

    target: Target
    status: str
    verification: Verification | None = None
    error: str | None = None

    @property
    def stored(self) -> bool:
        """Return whether the result is in the vault."""
        return self.verification is not None and self.error is None

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        point = self.target.point
        return {
            "client": self.target.client.name,
            "vm_id": point.vm_id,
            "vm_name": point.vm_name,
            "point": point.id,
            "type": point.type,
            "created": point.created,
            "why": self.target.why,
            "status": self.status,
            "verification": self.verification.as_dict() if self.verification is not None else None,
            "error": self.error,
        }


@dataclass(frozen=True)
class Unreadable:
    """What could not even be verified: a recovery point whose manifest is damaged, or a client without C(client.json).

    C(point) is missing for a client.
    """

    client: str
    vm_name: str
    point: str | None
    problem: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"client": self.client, "vm_name": self.vm_name, "point": self.point, "problem": self.problem}


@dataclass(frozen=True)
class Survey:
    """The recovery points that a run is about, and those that cannot be read."""

    targets: tuple[Target, ...]
    unreadable: tuple[Unreadable, ...]

    def due(self, *, now: float, max_age: float | None, share: int | None) -> list[Target]:
        """Return what is to be verified now, in order."""
        by_key = {target.key: target for target in self.targets}
        found = select_due([target.candidate for target in self.targets], now=now, max_age=max_age, share=share)
        named = [(by_key[(item.candidate.client, item.candidate.point)], item.why) for item in found]
        return [Target(target.client, target.point, target.before, why) for target, why in named]


def survey(
    vault: Vault, *, clients: Collection[str] | None = None, subclient: str | None = None, point: str | None = None
) -> Survey:
    """Return the points of a vault, of some clients, of a subclient (those that its runs made), or one point."""
    if point is not None and (clients is None or len(clients) != 1):
        raise InvalidInputError("A recovery point is named together with its client, and with no other", point=point)
    targets: list[Target] = []
    unreadable: list[Unreadable] = []
    chosen = vault.client_folders() if clients is None else named_clients(vault, clients)
    for client in chosen:
        if point is not None:
            targets.append(_target(client, client.point(point)))
            continue
        points, damaged = client.scan()
        own = [one for one in points if subclient is None or one.subclient == subclient]
        targets += [_target(client, one) for one in own]
        if own or (damaged and (subclient is None or not points)):
            name, problem = _vm_name(client, points)
            unreadable += [Unreadable(client.name, name, None, problem)] if problem else []
            unreadable += [Unreadable(client.name, name, bad.id, bad.error) for bad in damaged]
    if subclient is not None and not targets:
        raise PointNotFoundError(
            f"The vault {vault.path} has no recovery point that a run of subclient {subclient!r} made",
            subclient=subclient,
        )
    return Survey(tuple(targets), tuple(unreadable))


def verify_targets(
    vault: Vault,
    due: Sequence[Target],
    *,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.time,
    workers: int | None = None,
) -> list[Outcome]:
    """Verify points one after the other and store each result at once.

    Damage ends nothing. A damaged file concerns all points of its client that need it: those are verified too, due or
    not, so that each of them is known to be bad.
    """
    verifier = Verifier(new_job_id(vault.id, clock()), clock=clock, progress=progress, workers=workers)
    for target in due:
        verifier.expect(target.client, target.point)
    waiting = deque(due)
    known = {target.key for target in due}
    outcomes = []
    while waiting:
        outcome = _verify(verifier, waiting.popleft())
        outcomes.append(outcome)
        if outcome.status == BAD:
            for target in _concerned(verifier, outcome.target.client):
                if target.key not in known:
                    known.add(target.key)
                    waiting.append(target)
    return outcomes


def _target(client: Client, point: Point, why: str = "") -> Target:
    before = None
    with contextlib.suppress(VaultError):  # a result that cannot be read now is made again
        before = read_verification(os.path.join(client.directory, point.id))
    return Target(client, point, before, why)


def _vm_name(client: Client, points: Sequence[Point]) -> tuple[str, str | None]:
    """Return the name of a client's VM, and what is wrong with C(client.json)."""
    known = points[-1].vm_name if points else client.name
    try:
        return str(client.document.get("vm_name", known)), None
    except CorruptVaultError as error:
        return known, error.message


def _verify(verifier: Verifier, target: Target) -> Outcome:
    client, point = target.client, target.point
    try:
        verification = verifier.verify(client, point)
    except VaultError as error:
        return Outcome(target, UNKNOWN, error=error.message)
    if verification is None:
        return Outcome(target, GONE)
    status = GOOD if verification.ok else BAD
    try:
        write_verification(os.path.join(client.directory, point.id), verification)
    except VaultError as error:
        with contextlib.suppress(VaultError):  # what cannot be told now is not gone
            if not is_published(os.path.join(client.directory, point.id)):
                return Outcome(target, GONE)
        return Outcome(target, status, verification, error.message)
    return Outcome(target, status, verification)


def _concerned(verifier: Verifier, client: Client) -> list[Target]:
    """Return the points of a client that need a file in which damage was found."""
    try:
        points, _damaged = client.scan()
    except VaultError:
        return []  # the client was removed meanwhile
    needing = [point for point in points if verifier.needs_damaged_file(client, point)]
    return [_target(client, point, "it needs a file in which damage was found") for point in needing]
