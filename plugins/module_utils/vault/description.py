# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Clients and recovery points in plain types, in the one form that all modules return."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import VaultError
from .health import Health
from .manifest import Point, hold_of
from .pins import describe_pin, read_pin
from .points import Client


def describe_client(client: Client) -> dict[str, Any]:
    """Return a client."""
    return {"client": client.name, **client.document}


def describe_point(client: Client, point: Point) -> dict[str, Any]:
    """Return a recovery point, with what is known of it besides its manifest."""
    return describe_points(client, [point])[0]


def describe_points(
    client: Client, points: Iterable[Point], accepts: Callable[[dict[str, Any]], bool] = lambda found: True
) -> list[dict[str, Any]]:
    """Return the recovery points of a client that are accepted; what they share is looked at once.

    What holds one costs a request to a bucket, so C(accepts) has to do without C(held).
    """
    health = Health(client)
    found = []
    for point in points:
        problem, verification = health.told_problem_of(point), health.told_verification(point)
        directory = os.path.join(client.directory, point.id)
        described = {
            **point.as_dict(),
            "client": client.name,  # by which it is found, also where somebody has renamed the folder
            "problem": problem,
            "verification": verification.as_dict() if verification is not None else None,
            **describe_pin(read_pin(directory)),
        }
        if accepts(described):
            found.append({**described, "held": _hold(directory)})
    return found


def _hold(directory: str) -> str | None:
    """Return what holds a recovery point. Not to know it is no reason to fail a restore that has done its work."""
    try:
        return hold_of(directory)
    except VaultError as error:
        return f"it is not known whether it is held: {error}"
