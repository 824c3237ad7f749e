# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Clients and recovery points in plain types, in the one form that all modules return."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

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


def describe_points(client: Client, points: Iterable[Point]) -> list[dict[str, Any]]:
    """Return recovery points of a client; what they share is looked at once."""
    health = Health(client)
    found = []
    for point in points:
        verification = health.verification(point)
        directory = os.path.join(client.directory, point.id)
        found.append(
            {
                **point.as_dict(),
                "problem": health.problem_of(point),
                "verification": verification.as_dict() if verification is not None else None,
                **describe_pin(read_pin(directory)),
                "held": hold_of(directory),
            }
        )
    return found
