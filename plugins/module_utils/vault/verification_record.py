# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The result of the latest verification of a recovery point, kept beside its manifest."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .files import read_json_if_whole, write_json
from .shape import is_count, is_text, is_time, optional

VERIFICATION_NAME = "verification.json"


@dataclass(frozen=True)
class Problem:
    """Damage that was found. C(file) lies in the folder of C(point); both are missing where no file is to blame.

    C(point) may be a recovery point that the verified one builds on.
    """

    point: str | None
    file: str | None
    offset: int | None
    message: str

    def __str__(self) -> str:
        """Return it for people, who want to know which file it is."""
        return self.message if self.file is None or self.file in self.message else f"{self.file}: {self.message}"


@dataclass(frozen=True)
class Verification:
    """The result of verifying a recovery point. Times are seconds since the epoch, C(duration) seconds.

    C(bytes_read) counts the files that this verification read itself; those that it shares with recovery points which
    the same run verified before are not read again.
    """

    verified_at: float
    ok: bool
    problems: tuple[Problem, ...]
    bytes_read: int
    duration: float
    versions: dict[str, str]
    run_id: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {**asdict(self), "problems": [asdict(problem) for problem in self.problems]}

    def concerns(self, files: Collection[tuple[str, str]]) -> Problem | None:
        """Return the first problem that lies in one of these files, given by recovery point and name."""
        return next((problem for problem in self.problems if (problem.point, problem.file) in files), None)


def write_verification(directory: str, verification: Verification) -> None:
    """Store a result in the folder of its recovery point; it takes the place of the one before."""
    write_json(os.path.join(directory, VERIFICATION_NAME), verification.as_dict())


def read_verification(directory: str) -> Verification | None:
    """Return the stored result, or nothing: a result that is damaged proves nothing, so it is made again.

    Raises C(VaultError) for one that cannot be read at this moment: it may say that the point is bad.
    """
    document = read_json_if_whole(os.path.join(directory, VERIFICATION_NAME))
    try:
        return _parse(document)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None


def _parse(document: Mapping[str, Any]) -> Verification:
    problems = tuple(
        Problem(item.get("point"), item.get("file"), item.get("offset"), item["message"])
        for item in document["problems"]
    )
    for problem in problems:
        texts = optional(is_text)(problem.point) and optional(is_text)(problem.file) and is_text(problem.message)
        if not texts or not optional(is_count)(problem.offset):
            raise ValueError("a problem has wrong values")
    # Nobody is told that all is well where a problem is listed, nor of damage without a reason.
    if document["ok"] is not (not problems):
        raise ValueError("the result contradicts itself")
    if not is_time(document["verified_at"]):
        raise ValueError("that is no time")
    return Verification(
        verified_at=float(document["verified_at"]),
        ok=not problems,
        problems=problems,
        bytes_read=int(document["bytes_read"]),
        duration=float(document["duration"]),
        versions=dict(document["versions"]),
        run_id=str(document["run_id"]),
    )
