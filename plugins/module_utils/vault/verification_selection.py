# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Which recovery points are due to be verified: a pure function of what is known of them, and time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .manifest import CLOCK_TOLERANCE
from .summary import format_seconds


@dataclass(frozen=True)
class Candidate:
    """A recovery point that could be verified, and its latest result. Times are epoch seconds."""

    client: str
    point: str
    created: float
    verified_at: float | None = None
    ok: bool | None = None


@dataclass(frozen=True)
class Due:
    """A recovery point that is to be verified, and why."""

    candidate: Candidate
    why: str


def select_due(
    candidates: Sequence[Candidate], *, now: float, max_age: float | None = None, share: int | None = None
) -> list[Due]:
    """Return what is due, in the order in which it is verified.

    Without C(max_age) and C(share) everything is. C(max_age) (seconds) leaves out what was verified more recently.
    C(share) caps the number to this percentage of all candidates, rounded up. What was found bad is always due and does
    not count for the cap: the others are all covered after 100 / share runs.
    """
    bad = sorted((one for one in candidates if one.ok is False), key=_turn)
    others = sorted((one for one in candidates if one.ok is not False and _is_due(one, now, max_age)), key=_turn)
    if share is not None:
        others = others[: -(-len(candidates) * share // 100)]
    return [
        *(Due(one, "it was found bad by the latest verification") for one in bad),
        *(Due(one, _why(one, now)) for one in others),
    ]


def _turn(candidate: Candidate) -> tuple[float, float, str, str]:
    """Return the key by which points take turns: those that were never verified first, the oldest of them first."""
    verified = candidate.verified_at if candidate.verified_at is not None else float("-inf")
    return (verified, candidate.created, candidate.client, candidate.point)


def _is_due(candidate: Candidate, now: float, max_age: float | None) -> bool:
    if max_age is None or candidate.verified_at is None:
        return True
    # A result from the future, which a wrong clock made, must not put the point off for ever.
    return now - candidate.verified_at >= max_age or candidate.verified_at > now + CLOCK_TOLERANCE


def _why(candidate: Candidate, now: float) -> str:
    if candidate.verified_at is None:
        return "it was never verified"
    return f"it was verified {format_seconds(max(0.0, now - candidate.verified_at))} ago"
