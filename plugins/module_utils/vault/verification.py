# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Verifying recovery points: every file that a point needs is read once in a run, however many points need it."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from typing import Callable

from ..errors import CorruptVaultError, PointNotFoundError
from .chain import DiskChain, open_chain
from .content_hash import ContentHash
from .disk_check import FileCheck, check_disk_file
from .files import file_label
from .manifest import Point, PointDisk, is_published
from .point_making import versions
from .points import Client
from .verification_record import Problem, Verification

# Called with the file that is read, the bytes done and the bytes to do, both for the whole run.
Progress = Callable[[str, int, int], None]
_File = tuple[str, str, int]  # path, header hash and size


class Verifier:
    """Verifies points and remembers the files that it has read.

    A file is read whole once: each block against its hash, each frame as a plain decoder would see it. A point is then
    verified by the hash tables of its files alone, which together give the content of each disk. That is computed from
    the full upwards and remembered, so of each file only what it changes is looked at.
    """

    def __init__(
        self,
        run_id: str,
        *,
        clock: Callable[[], float] = time.time,
        progress: Progress | None = None,
        workers: int | None = None,
    ) -> None:
        self.run_id = run_id
        self._clock = clock
        self._progress = progress
        self._workers = workers
        self._checked: dict[_File, FileCheck] = {}
        self._states: dict[tuple[_File, ...], str] = {}
        self._done = self._total = 0
        self._expected: set[_File] = set()

    def expect(self, client: Client, point: Point) -> None:
        """Tell that a point will be verified, for the sake of the progress."""
        for file in self._files(client, point):
            if file not in self._expected:
                self._expected.add(file)
                self._total += file[2]

    def needs_damaged_file(self, client: Client, point: Point) -> bool:
        """Return whether a point needs a file in which this run has found damage."""
        return any(file in self._checked and self._checked[file].problems for file in self._files(client, point))

    def verify(self, client: Client, point: Point) -> Verification | None:
        """Verify a point; return nothing when it was removed meanwhile.

        Raises C(VaultError) when it cannot be said how the point is, for example for want of permissions.
        """
        started, before = self._clock(), self._done
        self.expect(client, point)
        problems = self._problems(client, point)
        # A removal takes the manifest away first: what is missing without it is no damage.
        if not is_published(os.path.join(client.directory, point.id)):
            return None
        finished = self._clock()
        return Verification(
            verified_at=finished,
            ok=not problems,
            problems=tuple(dict.fromkeys(problems)),
            bytes_read=self._done - before,
            duration=round(finished - started, 3),
            versions=versions(),
            run_id=self.run_id,
        )

    def _problems(self, client: Client, point: Point) -> list[Problem]:
        problems: list[Problem] = []
        for disk in point.disks:
            try:
                files = client.disk_files(point, disk)
            except (CorruptVaultError, PointNotFoundError) as error:
                label = f"disk {disk.name} (slot {disk.slot}) cannot be put together: "
                problems.append(_problem(client, label, error))
                continue
            checks = [self._check(file) for file in files]
            for (path, _hash, _size), check in zip(files, checks):
                problems += [_at(client, path, offset, message) for offset, message in check.problems]
            if all(check.readable for check in checks):
                problems += self._content_problems(client, disk, tuple(files))
        for kind in point.configuration:
            try:
                client.read_file(point, kind)
            except CorruptVaultError as error:
                problems.append(_problem(client, "", error))
        return problems

    def _check(self, file: _File) -> FileCheck:
        if file not in self._checked:
            path, header_hash, size = file
            before = self._done
            self._checked[file] = check_disk_file(
                path,
                header_hash,
                size,
                progress=functools.partial(self._advance, file_label(path)),
                workers=self._workers,
            )
            # What was left unread is not to be waited for.
            self._total -= size - (self._done - before)
        return self._checked[file]

    def _content_problems(self, client: Client, disk: PointDisk, files: tuple[_File, ...]) -> list[Problem]:
        """Compare the content that the tables of a chain give with what manifest and header say of the disk."""
        newest = files[0][0]
        try:
            with open_chain([(path, header_hash) for path, header_hash, _size in files]) as chain:
                for number in reversed(range(len(files))):
                    if files[number:] not in self._states:
                        below = self._states.get(files[number + 1 :])
                        self._states[files[number:]] = DiskChain(chain.files[number:]).table_state(below)
                state = self._states[files]
                if (chain.geometry.size, ContentHash(chain.geometry, state).hexdigest()) != (
                    disk.size,
                    disk.content_hash,
                ):
                    return [_at(client, newest, 0, f"{newest} and its bases give another disk than the manifest says")]
                if state != chain.content_state:
                    return [_at(client, newest, 0, f"{newest} and its bases give another disk than its header says")]
        except (CorruptVaultError, PointNotFoundError) as error:
            return [_problem(client, "", error)]
        return []

    def _advance(self, name: str, length: int) -> None:
        self._done += length
        if self._progress is not None:
            self._progress(name, self._done, self._total)

    def _files(self, client: Client, point: Point) -> list[_File]:
        """Return all disk files that a point needs, as far as they can be found."""
        found: dict[_File, None] = {}
        for disk in point.disks:
            with contextlib.suppress(CorruptVaultError, PointNotFoundError):
                found.update(dict.fromkeys(client.disk_files(point, disk)))
        return list(found)


def _problem(client: Client, label: str, error: CorruptVaultError | PointNotFoundError) -> Problem:
    path = error.details.get("path")
    message = label + error.message
    if path is None:
        return Problem(None, None, None, message)
    return _at(client, str(path), error.details.get("offset"), message)


def _at(client: Client, path: str, offset: int | None, message: str) -> Problem:
    """Return a problem by the place in the vault, which may be mounted elsewhere tomorrow."""
    folder, file = os.path.split(path)
    if os.path.dirname(folder) != client.directory:
        return Problem(None, None, offset, message)
    return Problem(os.path.basename(folder), file, offset, message)
