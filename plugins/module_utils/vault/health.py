# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What is known of the state of recovery points without reading their data."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import CorruptVaultError, PointNotFoundError, VaultError
from .files import file_entry, is_damage, unreadable
from .manifest import Point, PointDisk
from .verification_record import Verification, read_verification

if TYPE_CHECKING:
    from .points import Client


@dataclass(frozen=True)
class _Link:
    """What is wrong with a disk of a point or with anything below it: each the newest of its kind."""

    broken: str | None = None  # the chain cannot be put together
    file: str | None = None  # a file is missing or has another size
    found_bad: str | None = None  # a verification says so

    @property
    def problem(self) -> str | None:
        return self.broken or self.file or self.found_bad


class Health:
    """The state of a client's recovery points during one look at them.

    However many points build on a file, its size is looked at once, and each result of a verification is read once.
    What changes after that is not seen: make a new one for a new look. What cannot be looked at for a reason that says
    nothing about it raises C(VaultError): a point for which a storage does not answer at once is neither good nor bad.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._links: dict[tuple[str, str], _Link] = {}
        self._verifications: dict[str, Verification | VaultError | None] = {}

    def problem_of(self, point: Point) -> str | None:
        """Return why a point cannot be built upon in all its disks, or nothing."""
        problems = (self.problem_of_disk(point, disk) for disk in point.disks)
        found = next(filter(None, problems), None)
        verification = self.verification(point)
        if found is None and verification is not None and not verification.ok:
            return _found_bad(point, verification.problems[0].message)
        return found

    def problem_of_disk(self, point: Point, disk: PointDisk) -> str | None:
        """Return why a disk of a point cannot be built upon, or nothing.

        Looks at manifests and file sizes, and at what verifications have found.
        """
        link = _Link()
        chain: list[tuple[Point, PointDisk]] = []
        try:
            while True:
                known = self._links.get((point.id, disk.file))
                if known is not None:
                    link = known
                    break
                chain.append((point, disk))
                if disk.base is None:
                    break
                point, disk = self._client.base_of(point, disk)
        except (CorruptVaultError, PointNotFoundError) as error:
            link = _Link(broken=error.message)
        for point, disk in reversed(chain):
            if link.broken is None:
                link = _Link(
                    file=self._problem_of_file(point, disk) or link.file,
                    found_bad=self._found_bad(point, disk) or link.found_bad,
                )
            self._links[(point.id, disk.file)] = link
        return link.problem

    def verification(self, point: Point) -> Verification | None:
        """Return the stored result of the latest verification of a point, or nothing."""
        if point.id not in self._verifications:
            try:
                self._verifications[point.id] = read_verification(os.path.join(self._client.directory, point.id))
            except VaultError as error:
                self._verifications[point.id] = error
        found = self._verifications[point.id]
        if isinstance(found, VaultError):
            raise found
        return found

    # For those who only tell of the state: not to know it now is no reason to tell nothing at all.

    def told_problem_of(self, point: Point) -> str | None:
        """Return the same as C(problem_of), or that it is not known."""
        try:
            return self.problem_of(point)
        except VaultError as error:
            return not_known(error)

    def told_verification(self, point: Point) -> Verification | None:
        """Return the same as C(verification), or nothing: C(told_problem_of) says that it is not known."""
        try:
            return self.verification(point)
        except VaultError:
            return None

    @property
    def is_unsure(self) -> bool:
        """Return whether one of the results that were asked for could not be read."""
        return any(isinstance(found, VaultError) for found in self._verifications.values())

    def _problem_of_file(self, point: Point, disk: PointDisk) -> str | None:
        path = os.path.join(self._client.directory, point.id, disk.file)
        try:
            found = file_entry(path).size
        except OSError as error:
            if not is_damage(error):
                raise unreadable(path, error, "look at") from error
            return f"{path}: {error.strerror}"
        return None if found == disk.file_size else f"{path} has {found} bytes instead of {disk.file_size}"

    def _found_bad(self, point: Point, disk: PointDisk) -> str | None:
        """Return what the verification of a point says against the files of a disk, its own or one that it needs."""
        verification = self.verification(point)
        if verification is None or verification.ok:
            return None
        paths = [path for path, _hash, _size in self._client.disk_files(point, disk)]
        files = {(os.path.basename(os.path.dirname(path)), os.path.basename(path)) for path in paths}
        problem = verification.concerns(files)
        return _found_bad(point, problem.message) if problem is not None else None


def not_known(error: VaultError) -> str:
    """Return what is told of a recovery point that cannot be looked at right now."""
    return f"it is not known whether it is in order: {error}"


def _found_bad(point: Point, message: str) -> str:
    return f"recovery point {point.id} was found bad by a verification: {message}"
