# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""A synthetic full: the newest recovery point once more, out of the vault alone, without what it builds on."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from dataclasses import dataclass, replace
from typing import Any, Callable

from ..errors import CorruptVaultError, PointNotFoundError, VaultError
from .consolidation import merge_disk_files
from .disk_writer import FrameCompressor
from .distrust import read_distrust
from .files import free_space, require_space
from .jobs import new_job_id, vault_of_run
from .lock import ClientLock
from .manifest import Point, PointDisk
from .point_making import PointOutcome, clear_away_left, make_point, taken_over, versions
from .point_writer import PointWriter
from .points import Client, DamagedPoint, Vault

SYNTHETIC_FULL = "synthetic_full"

# Called with the name of the disk, the bytes done and its size.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class SyntheticRequest:
    """Which client to make a synthetic full of. C(owner) says who holds its lock, C(run_id) is that of a job, if any.

    C(subclient) is taken over from the recovery point if it is not given.
    """

    client: str
    owner: str
    run_id: str | None = None
    subclient: str | None = None
    compression_level: int = 1
    break_lock: bool = False


def foresee_synthetic_full(vault: Vault, request: SyntheticRequest) -> Point:
    """Return the point that would be consolidated, or that is a full already; refuse as the real thing would."""
    client = vault.client(request.client)
    _lock(client, request, _run_id(vault, request, time.time())).foresee()
    point = newest_point(client)
    if not point.is_full:
        _check_trust(client)
        check_space(client, point)
    return point


def _check_trust(client: Client) -> None:
    """Raise C(VaultError) for a client whose points may hold wrong data: a full of them would hide it."""
    reason = read_distrust(client.directory)
    if reason is not None:
        raise VaultError(
            f"Client {client.name} needs a full backup first, because change detection failed before: {reason}",
            client=client.name,
        )


def make_synthetic_full(
    vault: Vault,
    request: SyntheticRequest,
    *,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.time,
    workers: int | None = None,
) -> PointOutcome:
    """Make a synthetic full of the newest recovery point, under the client's lock. A full is left as it is.

    Nobody but the vault is asked. All data is checked on its way. After any failure, interruption included, the new
    point does not exist and leaves nothing in the vault.
    """
    client = vault.client(request.client)
    started = clock()
    run_id = _run_id(vault, request, started)
    with _lock(client, request, run_id) as lock:
        left = taken_over(lock)
        clear_away_left(client, left)
        newest = newest_point(client)
        if newest.is_full:
            return PointOutcome(newest, False, tuple(left))
        _check_trust(client)
        check_space(client, newest)
        made = _Consolidation(client, newest, request, progress, workers)

        def fill(writer: PointWriter, notes: list[str]) -> Point:
            disks, configuration = made.write(writer)
            completed = clock()
            return replace(
                newest,
                id=writer.id,
                sequence=writer.sequence,
                parent=newest.id,
                type=SYNTHETIC_FULL,
                requested_type=SYNTHETIC_FULL,
                reason=made.reason,
                completed=completed,
                run_id=run_id,
                job_id=request.run_id,
                subclient=request.subclient if request.subclient is not None else newest.subclient,
                disks=disks,
                configuration=configuration,
                durations={"transfer": round(completed - started, 3)},
                versions=versions(),
                warnings=tuple(notes),
                consolidates=newest.id,
            )

        return make_point(client, lock, fill, left, now=clock(), level=request.compression_level)


def newest_point(client: Client) -> Point:
    """Return the newest recovery point; refuse one that is known to be damaged, for an older one is no stand-in."""
    points, damaged = client.scan()
    all_points: list[Point | DamagedPoint] = [*points, *damaged]
    newest = max(all_points, key=lambda point: point.sequence, default=None)
    if newest is None:
        raise PointNotFoundError(
            f"Client {client.name} has no recovery point to make a synthetic full of: back the VM up first",
            client=client.name,
        )
    problem = newest.error if isinstance(newest, DamagedPoint) else client.problem_of(newest)
    if isinstance(newest, DamagedPoint) or problem is not None:
        raise CorruptVaultError(
            f"No synthetic full of client {client.name} can be made, because its newest recovery point {newest.id} is "
            f"damaged: {problem}. Back the VM up in full",
            path=os.path.join(client.directory, newest.id),
            point=newest.id,
        )
    return newest


def check_space(client: Client, point: Point) -> None:
    """Raise C(VaultWriteError) when the vault has no room for the disks of a point as fulls."""
    # Sizes of files cost nothing to add up. Only where they are too much it is worth to leave out what is superseded.
    needed = sum(size for disk in point.disks for _path, _hash, size in client.disk_files(point, disk))
    free = free_space(client.directory)
    if free is not None and needed > free:
        needed = sum(_wanted(client, point, disk) for disk in point.disks)
    require_space(f"No synthetic full of client {client.name} can be made", client.directory, needed)


def _wanted(client: Client, point: Point, disk: PointDisk) -> int:
    """Return the size of all frames that a disk still needs something of; it takes a look at each segment."""
    with client.open_disk(point, disk) as chain:
        return sum(piece.record.length for resolved in chain.segments() for piece in resolved.pieces)


def _run_id(vault: Vault, request: SyntheticRequest, now: float) -> str:
    """Return the id of the job, checked, or one for this call alone."""
    if request.run_id is None:
        return new_job_id(vault.id, now)
    vault_of_run(request.run_id)
    return request.run_id


def _lock(client: Client, request: SyntheticRequest, run_id: str) -> ClientLock:
    return client.lock(owner=request.owner, run_id=run_id, break_lock=request.break_lock)


def _and_bases(count: int) -> str:
    if not count:
        return ""
    return " and the recovery point that it builds on" if count == 1 else f" and the {count} that it builds on"


class _Consolidation:
    """The disks and the configuration of a point, written once more."""

    def __init__(
        self,
        client: Client,
        point: Point,
        request: SyntheticRequest,
        progress: Progress | None,
        workers: int | None,
    ) -> None:
        self._client = client
        self._point = point
        self._compressor = FrameCompressor(request.compression_level)
        self._progress = progress
        self._workers = workers

    @property
    def reason(self) -> str:
        """Return what the new point is made from."""
        folders = {folder for disk in self._point.disks for folder in self._folders(disk)}
        return f"consolidates recovery point {self._point.id}{_and_bases(len(folders) - 1)}"

    def write(self, writer: PointWriter) -> tuple[tuple[PointDisk, ...], dict[str, dict[str, Any]]]:
        """Write everything but the manifest; return what that will say of disks and configuration."""
        disks = tuple(self._disk(writer, disk) for disk in self._point.disks)
        configuration = {
            kind: writer.add_file(entry["file"], self._client.read_file(self._point, kind))
            for kind, entry in self._point.configuration.items()
        }
        return disks, configuration

    def _folders(self, disk: PointDisk) -> list[str]:
        return [os.path.dirname(path) for path, _hash, _size in self._client.disk_files(self._point, disk)]

    def _disk(self, writer: PointWriter, disk: PointDisk) -> PointDisk:
        report = self._progress
        with contextlib.ExitStack() as stack:
            chain = stack.enter_context(self._client.open_disk(self._point, disk))
            file_name, file = writer.disk_writer(disk.slot, disk.name, chain.geometry, "full")
            stack.callback(file.abort)
            result = merge_disk_files(
                chain,
                file,
                self._compressor,
                progress=None if report is None else functools.partial(report, disk.name),
                workers=self._workers,
            )
            if result.content_hash != disk.content_hash:
                newest = chain.files[0].path
                raise CorruptVaultError(
                    f"{newest} and its bases give another disk than the manifest of {self._point.id} says of disk "
                    f"{disk.name!r} (slot {disk.slot})",
                    path=newest,
                    offset=0,
                )
            summary = file.finish(result.content_state)
            bases = len(chain.files) - 1
        return replace(
            disk,
            type=SYNTHETIC_FULL,
            reason=f"consolidates recovery point {self._point.id}{_and_bases(bases)}",
            base=None,
            file=file_name,
            file_size=summary.size,
            header_hash=summary.header_hash,
            changes=None,  # nothing was looked for
            statistics={
                "read": 0,
                "changed": 0,
                "stored": summary.size,
                "frames_copied": result.copied,
                "frames_repacked": result.repacked,
            },
        )
