# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Which recovery point of a client somebody means: the newest, a certain one, or the state at a moment."""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from dataclasses import dataclass

from .._reading import Problems, problem_details, read_time
from ..errors import CorruptVaultError, InvalidInputError, PointNotFoundError
from .health import Health
from .manifest import Point, sequence_of
from .points import Client, Vault
from .summary import utc_time

LATEST = "latest"


@dataclass(frozen=True)
class PassedOver:
    """A recovery point that is newer than the chosen one but cannot be restored, and why."""

    id: str
    problem: str


@dataclass(frozen=True)
class Selection:
    """The recovery point that was meant, and the newer ones that would have been it if they were in order."""

    point: Point
    passed_over: tuple[PassedOver, ...] = ()


def named_clients(vault: Vault, names: Collection[str]) -> list[Client]:
    """Return the clients with these names, each once; raise C(InvalidInputError) for no name at all."""
    if not names:
        raise InvalidInputError("clients must not be an empty list: leave it out for all clients", option="clients")
    return [vault.client(name) for name in dict.fromkeys(names)]


def select(client: Client, point: str = LATEST, before: str | None = None) -> Selection:
    """Return the point with this id, whatever is known of it, or the newest one against which nothing is known.

    With C(before), a time in ISO 8601 form, only what was created at or before it counts. Nothing that is known to be
    bad is ever chosen but by its id.
    """
    moment = _moment(point, before)
    if point != LATEST:
        return Selection(client.point(point))
    points, damaged = client.scan()
    # Names and lists show whole seconds: who repeats one of them means the point that it stands for.
    wanted = [one for one in points if moment is None or math.floor(one.created) <= moment]
    health = Health(client)
    passed_over: list[PassedOver] = []
    chosen: Point | None = None
    for one in reversed(wanted):
        problem = health.problem_of(one)
        if problem is None:
            chosen = one
            break
        passed_over.append(PassedOver(one.id, problem))
    stamp = None if moment is None else time.strftime("%Y%m%dT%H%M%SZ-~", time.gmtime(moment))
    # Without a manifest nothing tells the age of the data but the name, which says when it was written.
    passed_over += [
        PassedOver(bad.id, bad.error)
        for bad in damaged
        if (chosen is None or bad.sequence > chosen.sequence) and (stamp is None or bad.id < stamp)
    ]
    passed_over.sort(key=lambda one: sequence_of(one.id), reverse=True)
    if chosen is None:
        raise _nothing_to_choose(client, points, passed_over, moment)
    return Selection(chosen, tuple(passed_over))


def _moment(point: str, before: str | None) -> float | None:
    if before is None:
        return None
    if point != LATEST:
        raise InvalidInputError(
            f"before is for the newest recovery point up to a time: leave it out with point {point!r}", option="before"
        )
    problems = Problems()
    moment = read_time(before, "before", problems)
    if problems.found:
        raise InvalidInputError(str(problems.found[0]), option="before", **problem_details(problems.found))
    return moment


def _nothing_to_choose(
    client: Client, points: list[Point], passed_over: list[PassedOver], moment: float | None
) -> PointNotFoundError | CorruptVaultError:
    until = "" if moment is None else f" of {utc_time(moment)} or before"
    if passed_over:
        bad = passed_over[0]
        return CorruptVaultError(
            f"Client {client.name} has no recovery point{until} that is in order. The newest is {bad.id}: "
            f"{bad.problem}. Name a recovery point by its id to try it all the same",
            client=client.name,
            point=bad.id,
        )
    known = f"the oldest is {points[0].id} of {utc_time(points[0].created)}" if points else "it has none"
    return PointNotFoundError(f"Client {client.name} has no recovery point{until}; {known}", client=client.name)
