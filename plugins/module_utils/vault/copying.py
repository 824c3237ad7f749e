# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Copying recovery points from one vault to another: each whole, checked and published last, or not at all.

What is copied of a point is what its manifest names. Pins, results of verifications and boot tests stay where they are:
a pin is a decision about that vault's retention, a result tells of that vault's files, and it may come when the point
has been copied long ago.

A copy that is interrupted keeps the disk files that it has finished and checked, in the folder of the point, which does
not exist for anybody before its manifest is there. The next copy goes on from there; any other run that has the lock of
the client clears them away as it does with all that was not published.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import CorruptVaultError, InvalidInputError, PointNotFoundError, VaultError, VaultWriteError
from .copy_files import FULL, HEADER, CopyNote, problem_of_file, publish_copy, read_note, remove_note, send
from .copy_plan import NOT_CHOSEN, CopyPlan, Side, Wishes, look_at, plan_copy
from .copy_result import COPIED, FAILED, GONE, ClientCopy, PointCopy
from .files import exists, file_label, make_directory, require_space, write_file
from .manifest import Point, PointDisk, is_published
from .points import Client, Vault
from .removal import clear_away, remove_point
from .shape import is_text, is_time
from .storage.failures import FULL_VAULT
from .visit import check_free, visit

# Called with the file, the bytes done and the bytes to do.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class CopyRequest:
    """What is copied and how it is checked (C(FULL) or C(HEADER)), and who does it, for the lock of the client."""

    wishes: Wishes
    owner: str
    run_id: str
    verify: str = FULL
    workers: int | None = None


def check_vaults(source: Vault, target: Vault) -> None:
    """Raise C(InvalidInputError) unless these are two vaults."""
    if source.id == target.id:
        raise InvalidInputError(
            f"{source.path} and {target.path} are the same vault (id {source.id}). A copy goes to a vault of its own, "
            "made by the ovm.backup.vault module or playbook",
            option="target_vault",
        )


class Copier:
    """Copies clients from one vault to another. With C(check) it says what it would do and writes nothing."""

    def __init__(
        self,
        source: Vault,
        target: Vault,
        request: CopyRequest,
        *,
        check: bool = False,
        copying: Progress | None = None,
        checking: Progress | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_vaults(source, target)
        self._source = source
        self._target = target
        self._request = request
        self._check = check
        self._copying = copying
        self._checking = checking
        self._clock = clock

    def run(self, name: str) -> ClientCopy:
        """Copy what is missing of a client; an error ends the work on it and is a part of the result."""
        result = ClientCopy(name)
        try:
            self._run(self._source.client(name), self._target.client_folder(name), result)
        except VaultError as error:
            result.failed = error.message
        return result

    def _run(self, client: Client, twin: Client, result: ClientCopy) -> None:
        document = client.document
        result.vm_name = document.get("vm_name")
        self._check_identity(twin, document)
        source = look_at(client)
        plan = self._plan(source, twin, result)
        if not plan.due:
            return
        if exists(twin.directory):
            check_free(twin, owner=self._request.owner, run_id=self._request.run_id)
        if self._check:
            note = read_note(twin.directory)
            for one in result.points:
                one.reused = sum(disk.file_size for disk in self._finished(twin, one.due.point, note))
                one.sent = one.due.point.stored - one.reused
            return
        self._target.prepare_client(twin.name)
        with visit(twin, owner=self._request.owner, run_id=self._request.run_id) as lock:
            self._clear_away(twin, plan, result)
            # What the other vault had before does not count: another run may have copied or removed something.
            self._plan(source, twin, result)
            self._register(twin, document)
            work = _Work(client, twin, self._source.id, self._request, result, self._copying, self._checking)
            for one in result.points:
                lock.check()
                work.copy(one, lock.check)

    def _plan(self, source: Side, twin: Client, result: ClientCopy) -> CopyPlan:
        target = look_at(twin)
        plan = plan_copy(source, target, self._request.wishes, now=self._clock())
        result.points = [PointCopy(due) for due in plan.due]
        result.left_out = plan.left_out
        result.present = len(target.points)
        result.newest = (_newest(source), _newest(target))
        result.concerned = bool(plan.due or plan.present or any(one.kind != NOT_CHOSEN for one in plan.left_out))
        return plan

    def _check_identity(self, twin: Client, document: dict[str, Any]) -> None:
        if not twin.is_registered:
            return
        found = twin.document
        if found["vm_id"] != document["vm_id"]:
            raise VaultError(
                f"Client {twin.name} of the vault {self._target.path} belongs to VM {found['vm_id']} "
                f"({found.get('vm_name')}), that of {self._source.path} to {document['vm_id']} "
                f"({document.get('vm_name')}): a vault takes copies from one vault only",
                path=twin.directory,
            )

    def _clear_away(self, twin: Client, plan: CopyPlan, result: ClientCopy) -> None:
        """Remove what interrupted runs left, but for the point that this copy goes on with."""
        note = read_note(twin.directory)
        due = {one.point.id: one.point for one in plan.due}
        keep = None
        if note is not None and note.point in due and CopyNote.of(self._source.id, due[note.point]).is_about(note):
            keep = note.point
        left = [name for name in twin.unpublished() if name != keep]
        removed = [name for name in left if clear_away(os.path.join(twin.directory, name))]
        if removed:
            result.notes.append(f"removed what interrupted runs left in the other vault: {', '.join(removed)}")
        if note is not None and keep is None:
            remove_note(twin.directory)

    def _finished(self, twin: Client, point: Point, note: CopyNote | None) -> list[PointDisk]:
        """Return the disks that an interrupted copy has finished, by what is noted and there."""
        if note is None or not CopyNote.of(self._source.id, point).is_about(note):
            return []
        folder = os.path.join(twin.directory, point.id)
        return [disk for disk in point.disks if disk.file in note.files and exists(os.path.join(folder, disk.file))]

    def _register(self, twin: Client, document: dict[str, Any]) -> None:
        """Write down which VM the client is, with the history of its names."""
        vm_id, now = document["vm_id"], self._clock()
        if not twin.is_registered:
            for entry in document.get("names") or ():
                if isinstance(entry, dict) and is_text(entry.get("name")) and is_time(entry.get("since")):
                    self._target.register(twin, vm_id=vm_id, vm_name=entry["name"], now=float(entry["since"]))
        self._target.register(twin, vm_id=vm_id, vm_name=str(document.get("vm_name", twin.name)), now=now)


class _Work:
    """The copying of a client's points. The lock is held, and what others left is cleared away."""

    def __init__(
        self,
        client: Client,
        twin: Client,
        source_id: str,
        request: CopyRequest,
        result: ClientCopy,
        copying: Progress | None,
        checking: Progress | None,
    ) -> None:
        self._client = client
        self._twin = twin
        self._source_id = source_id
        self._request = request
        self._copying = copying
        self._checking = checking
        self._missing: set[str] = set()
        self._done = 0
        self._total = sum(one.due.point.stored for one in result.points)

    def copy(self, one: PointCopy, check_lock: Callable[[], None]) -> None:
        """Copy a point, unless it turns out to be damaged or gone; raise C(VaultError) for what ends the whole work."""
        point = one.due.point
        directory = os.path.join(self._twin.directory, point.id)
        try:
            self._check_bases(point)
            self._fill(one, directory, check_lock)
            check_lock()
            publish_copy(os.path.join(self._client.directory, point.id), directory, point)
        except (PointNotFoundError, CorruptVaultError) as error:
            # A removal takes the manifest away first: what is missing without it is no damage.
            gone = not is_published(os.path.join(self._client.directory, point.id))
            one.status, one.error = (GONE, None) if gone else (FAILED, error.message)
            self._missing.add(point.id)
            self._discard(directory, check_lock)
            return
        except VaultWriteError as error:
            if error.details.get("errno") in FULL_VAULT:
                # What cannot be finished must not fill a vault in which others have to write.
                self._discard(directory, check_lock)
            raise
        remove_note(self._twin.directory)
        one.status = COPIED

    def _check_bases(self, point: Point) -> None:
        base = next((disk.base for disk in point.disks if disk.base in self._missing), None)
        if base is not None:
            raise PointNotFoundError(f"it builds on {base}, which could not be copied", point=point.id)

    def _fill(self, one: PointCopy, directory: str, check_lock: Callable[[], None]) -> None:
        point = one.due.point
        note = read_note(self._twin.directory)
        fresh = CopyNote.of(self._source_id, point)
        if note is None or not fresh.is_about(note):
            note = fresh
        make_directory(directory)
        left = [disk for disk in point.disks if not self._is_finished(one, note, disk, directory)]
        require_space(
            f"Recovery point {point.id} of client {self._client.name} cannot be copied",
            self._twin.directory,
            sum(disk.file_size for disk in left),
        )
        note.save(self._twin.directory)
        for disk in left:
            check_lock()
            self._send(one, disk, directory)
            note.files[disk.file] = self._request.verify
            note.save(self._twin.directory)
        for kind in point.configuration:
            data = self._client.read_file(point, kind)
            write_file(os.path.join(directory, str(point.configuration[kind]["file"])), data)

    def _is_finished(self, one: PointCopy, note: CopyNote, disk: PointDisk, directory: str) -> bool:
        """Return whether an interrupted copy has left this file whole; it is looked at again."""
        how = note.files.pop(disk.file, None)
        path = os.path.join(directory, disk.file)
        if how is None or not exists(path):
            return False
        again = FULL if self._request.verify == FULL and how != FULL else HEADER
        if self._problem(path, disk, again) is not None:
            return False
        note.files[disk.file] = FULL if again == FULL else how
        one.reused += disk.file_size
        self._total -= disk.file_size
        return True

    def _send(self, one: PointCopy, disk: PointDisk, directory: str) -> None:
        source = os.path.join(self._client.directory, one.due.point.id, disk.file)
        target = os.path.join(directory, disk.file)

        def advance(length: int) -> None:
            one.sent += length
            self._done += length
            if self._copying is not None:
                self._copying(file_label(source), self._done, self._total)

        send(source, target, disk.file_size, progress=advance, workers=self._request.workers)
        problem = self._problem(target, disk, self._request.verify)
        if problem is None:
            return
        # Only now it is worth to read the source once more: to say which of the two is damaged.
        damage = self._problem(source, disk, self._request.verify)
        if damage is not None:
            raise CorruptVaultError(damage, path=source, offset=0)
        raise VaultWriteError(f"{target} is not what was written: {problem}", path=target, errno=errno.EIO)

    def _problem(self, path: str, disk: PointDisk, how: str) -> str | None:
        seen = 0

        def advance(length: int) -> None:
            nonlocal seen
            seen += length
            if self._checking is not None:
                self._checking(file_label(path), seen, disk.file_size)

        return problem_of_file(
            path, disk.header_hash, disk.file_size, how, progress=advance, workers=self._request.workers
        )

    def _discard(self, directory: str, check_lock: Callable[[], None]) -> None:
        # Whoever broke the lock meanwhile may have published a point of the same name.
        check_lock()
        remove_point(directory)
        remove_note(self._twin.directory)


def _newest(side: Side) -> float | None:
    return max((point.created for point in side.points.values()), default=None)
