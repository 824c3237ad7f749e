# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What became of the recovery points of a client that were to be copied to another vault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .copy_plan import BAD, CONFLICT, Due, LeftOut

# A point is to be copied; it was; it was removed from the source meanwhile; it turned out not to be in order.
DUE, COPIED, GONE, FAILED = "due", "copied", "gone", "failed"


@dataclass
class PointCopy:
    """What became of a point: C(sent) bytes were written now, C(reused) bytes by an interrupted copy before."""

    due: Due
    status: str = DUE
    sent: int = 0
    reused: int = 0
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        point = self.due.point
        return {
            "point": point.id,
            "type": point.type,
            "created": point.created,
            "why": self.due.why,
            "status": self.status,
            "bytes": point.stored,
            "sent": self.sent,
            "reused": self.reused,
            "error": self.error,
        }


@dataclass
class ClientCopy:
    """What became of a client.

    C(present) is how many points its copy had before, C(newest) how old the newest data is in the source and in the
    copy, C(concerned) whether anything was chosen. C(failed) says why the work ended before all was tried.
    """

    client: str
    vm_name: str | None = None
    points: list[PointCopy] = field(default_factory=list)
    left_out: tuple[LeftOut, ...] = ()
    present: int = 0
    newest: tuple[float | None, float | None] = (None, None)
    concerned: bool = True
    notes: list[str] = field(default_factory=list)
    failed: str | None = None

    @property
    def copied(self) -> list[PointCopy]:
        """Return the points that were copied."""
        return [one for one in self.points if one.status == COPIED]

    @property
    def errors(self) -> list[str]:
        """Return everything that has to be put right, each with the point that it is about."""
        found = [f"{one.due.point.id}: {one.error}" for one in self.points if one.status == FAILED]
        found += [f"{one.id}: {one.reason}" for one in self.left_out if one.kind == CONFLICT]
        return found + ([self.failed] if self.failed is not None else [])

    def lag(self) -> dict[str, Any]:
        """Return by how much the other vault is behind: what it still lacks, and the age between the newest points."""
        missing = [one for one in self.points if one.status in (DUE, FAILED)]
        source, target = self.newest
        copied = max((one.due.point.created for one in self.copied), default=None)
        newest = max((moment for moment in (target, copied) if moment is not None), default=None)
        return {
            "points": len(missing) + sum(one.kind in (BAD, CONFLICT) for one in self.left_out),
            "bytes": sum(one.due.point.stored - one.reused for one in missing),
            "seconds": None if source is None or newest is None else max(0.0, source - newest),
        }

    @property
    def there(self) -> int:
        """Return how many points the client has in the other vault now."""
        return self.present + len(self.copied)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "client": self.client,
            "vm_name": self.vm_name,
            "points": [one.as_dict() for one in self.points],
            "left_out": [{"point": one.id, "kind": one.kind, "reason": one.reason} for one in self.left_out],
            "present": self.there,
            "sent": sum(one.sent for one in self.points),
            "lag": self.lag(),
            "notes": list(self.notes),
            "failed": self.failed,
        }


def total_lag(done: Sequence[ClientCopy]) -> dict[str, Any]:
    """Return by how much the other vault is behind with all clients; with the time, that of the worst."""
    lags = [one.lag() for one in done]
    return {
        "points": sum(lag["points"] for lag in lags),
        "bytes": sum(lag["bytes"] for lag in lags),
        "seconds": max((lag["seconds"] for lag in lags if lag["seconds"] is not None), default=None),
    }
