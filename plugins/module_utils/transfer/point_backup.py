# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""One VM into the vault as a recovery point: all of its planned disks and its configuration, or nothing."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any, Callable, NamedTuple

from ..errors import CorruptVaultError, PointNotFoundError, SourceError, VaultError
from ..vault.chain import DiskChain, open_chain
from ..vault.disk_writer import FrameCompressor
from ..vault.drafts import FINAL, FIRST, SECOND, Draft, FirstPassDisk, find_draft
from ..vault.format import Geometry
from ..vault.lock import ClientLock
from ..vault.manifest import Point, PointDisk, disk_file_name
from ..vault.point_making import PointOutcome, clear_away_left, discarded_on_failure, taken_over, versions
from ..vault.points import Client, Vault
from .deadline import Deadline
from .disk_backup import backup_disk
from .merge import merge_passes, publish_draft
from .request import BackupRequest, check_request
from .source import ImageSource, image_path

# Called with the name of the disk, the bytes done and its size.
Progress = Callable[[str, int, int], None]


def existing_point(vault: Vault, request: BackupRequest) -> Point | None:
    """Return the newest recovery point if this run made it already, so that a repeated run does not repeat it."""
    try:
        point = vault.client(request.plan["client"]).point()
    except (PointNotFoundError, CorruptVaultError):
        return None
    return point if (point.run_id, point.vm_id) == (request.run_id, request.plan["vm_id"]) else None


@contextlib.contextmanager
def client_at_work(
    vault: Vault, request: BackupRequest, clock: Callable[[], float]
) -> Iterator[tuple[Client, ClientLock, list[str]]]:
    """Hold the lock of the request's client, which is registered; the list takes notes for an administrator."""
    client = vault.prepare_client(request.plan["client"])
    lock = client.lock(owner=request.owner, run_id=request.run_id, break_lock=request.break_lock)
    with lock:
        vault.register(client, vm_id=request.plan["vm_id"], vm_name=request.plan["vm_name"], now=clock())
        yield client, lock, taken_over(lock)


def new_draft(client: Client, request: BackupRequest, notes: list[str], now: float) -> Draft:
    """Begin a recovery point that several steps of the run may make together."""
    clear_away_left(client, notes)
    writer = client.new_point(now=now, level=request.compression_level)
    return Draft(writer, request.run_id, request.plan["vm_id"])


def backup_vm(
    vault: Vault,
    request: BackupRequest,
    *,
    publish: bool = True,
    deadline: Deadline | None = None,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.time,
) -> PointOutcome:
    """Make the recovery point under the client's lock, over what a first pass of the run has stored if there was one.

    Without C(publish) it stays a draft of the run. After any failure, interruption and a C(deadline) that is over
    included, the point does not exist and leaves nothing in the vault.
    """
    check_request(request)
    with client_at_work(vault, request, clock) as (client, lock, notes):
        done = existing_point(vault, request)
        if done is not None:
            return PointOutcome(done, False, ())
        draft = find_draft(client, request.run_id) or new_draft(client, request, notes, clock())
        created = publish or draft.point is None
        with discarded_on_failure(draft.writer):
            if draft.point is None:
                draft.point = PointTransfer(client, draft, request, progress, clock, notes, deadline).run()
                if not publish:
                    draft.save()
                    lock.check()
            point = draft.point
            if publish:
                merge_passes(client, draft, level=request.compression_level, clock=clock)
                point = publish_draft(lock, draft)
    return PointOutcome(point, created, tuple(notes), publish)


class _Base(NamedTuple):
    """The state of a disk that an increment builds on."""

    point_id: str
    chain: DiskChain


class _Choice(NamedTuple):
    """How a disk is stored, and why. C(form) is that of its disk file: what is no full holds a part of the disk."""

    type: str
    reason: str
    base: _Base | None = None

    @property
    def form(self) -> str:
        return "full" if self.base is None else "incremental"

    @property
    def base_id(self) -> str | None:
        return self.base.point_id if self.base is not None else None

    @property
    def chain(self) -> DiskChain | None:
        return self.base.chain if self.base is not None else None


class PointTransfer:
    """Collects what the manifest will say while the disks are transferred."""

    def __init__(
        self,
        client: Client,
        draft: Draft,
        request: BackupRequest,
        progress: Progress | None,
        clock: Callable[[], float],
        notes: list[str],
        deadline: Deadline | None = None,
    ) -> None:
        self._client = client
        self._draft = draft
        self._writer = draft.writer
        self._request = request
        self._progress = progress
        self._clock = clock
        self._notes = notes
        self._deadline = deadline
        self._compressor = FrameCompressor(request.compression_level)
        self._parent = self._newest()
        self._sources = contextlib.ExitStack()
        self._images: list[ImageSource] = []

    def first_pass(self) -> tuple[FirstPassDisk, ...]:
        """Transfer the disks of a VM that may write to them meanwhile, for a second pass to compare with."""
        with self._sources:
            return tuple(self._first(planned) for planned in self._request.plan["disks"])

    def run(self) -> Point:
        """Transfer everything and return the manifest to be."""
        request, plan = self._request, self._request.plan
        started = self._clock()
        with self._sources:
            disks = tuple(self._disk(disk) for disk in plan["disks"])
            configuration = self._configuration()
            # All at the end: a VM that was started after the first disk was read would make a mixed set of the disks.
            for image in self._images:
                image.check_unchanged()
        completed = self._clock()
        changed = [disk.reason for disk, planned in zip(disks, plan["disks"]) if disk.type != planned["type"]]
        return Point(
            id=self._writer.id,
            client=self._client.name,
            sequence=self._writer.sequence,
            parent=self._parent.id if self._parent is not None else None,
            type=next((disk.type for disk in disks if disk.base is not None), "full"),
            requested_type=plan["requested_type"],
            reason="; ".join(dict.fromkeys(changed)) or plan["type_reason"],
            method=plan["method"],
            consistency=request.consistency,
            vm_id=plan["vm_id"],
            vm_name=plan["vm_name"],
            created=started,
            completed=completed,
            run_id=request.run_id,
            job_id=request.run_id,
            subclient=request.subclient,
            manager=dict(request.manager),
            disks=disks,
            skipped_disks=tuple(dict(disk) for disk in plan["skipped_disks"]),
            configuration=configuration,
            durations=self._durations(completed - started),
            versions=versions(),
            warnings=(*self._draft.notes, *self._notes),
        )

    def _durations(self, seconds: float) -> dict[str, float]:
        if not self._draft.disks:
            return {"transfer": round(seconds, 3)}
        first = self._draft.seconds
        return {
            "transfer": round(first + seconds, 3),
            "first_pass": round(first, 3),
            "second_pass": round(seconds, 3),
        }

    def _newest(self) -> Point | None:
        points, _damaged = self._client.scan()
        return points[-1] if points else None

    def _open(self, planned: Mapping[str, Any]) -> ImageSource:
        path = self._request.image_of(planned)
        source = self._sources.enter_context(ImageSource(path))
        self._images.append(source)
        known = self._request.size_of(planned)
        if source.size < known:
            raise SourceError(
                f"The image {path} has {source.size} bytes, but the disk has {known}: it was truncated",
                path=path,
                offset=source.size,
            )
        return source

    def _choose(self, planned: Mapping[str, Any], geometry: Geometry, stack: contextlib.ExitStack) -> _Choice:
        """Return how a disk is stored; C(stack) closes what it is compared with."""
        if planned["type"] == "full":
            return _Choice("full", planned["type_reason"])
        base, why_not = self._base(planned, geometry)
        if base is None:
            return _Choice("full", why_not)
        stack.enter_context(base.chain)
        return _Choice(planned["type"], planned["type_reason"], base)

    def _report(self, planned: Mapping[str, Any]) -> Callable[[int, int], None] | None:
        return None if self._progress is None else functools.partial(self._progress, planned["name"])

    def _first(self, planned: Mapping[str, Any]) -> FirstPassDisk:
        with contextlib.ExitStack() as stack:
            source = self._open(planned)
            geometry = Geometry(source.size)
            choice = self._choose(planned, geometry, stack)
            file_name = disk_file_name(planned["slot"], planned["name"])
            writer = self._draft.disk_writer(FIRST, file_name, geometry, choice.form, self._compressor)
            stack.callback(writer.abort)
            result = backup_disk(
                source,
                writer,
                geometry,
                self._compressor,
                base=choice.chain,
                progress=self._report(planned),
                at_rest=False,
            )
            summary = writer.finish(result.content_state)
        return FirstPassDisk(
            disk_id=planned["disk_id"],
            size=geometry.size,
            type=choice.type,
            reason=choice.reason,
            base=choice.base_id,
            file=file_name,
            header_hash=summary.header_hash,
            read=result.read,
        )

    def _disk(self, planned: Mapping[str, Any]) -> PointDisk:
        with contextlib.ExitStack() as stack:
            source = self._open(planned)
            geometry = Geometry(source.size)
            first = self._draft.first(planned["disk_id"])
            if first is not None and first.size == geometry.size:
                kind, reason, base_id = first.type, first.reason, first.base
                below: DiskChain | None = stack.enter_context(open_chain(self._draft.files_below(self._client, first)))
                file_name = first.file
                writer = self._draft.disk_writer(SECOND, file_name, geometry, "incremental", self._compressor)
            else:
                first = None  # the disk was resized between the passes, or there was only one
                choice = self._choose(planned, geometry, stack)
                kind, reason, base_id, below = choice.type, choice.reason, choice.base_id, choice.chain
                file_name = disk_file_name(planned["slot"], planned["name"])
                writer = self._draft.disk_writer(FINAL, file_name, geometry, choice.form, self._compressor)
            stack.callback(writer.abort)
            result = backup_disk(
                source,
                writer,
                geometry,
                self._compressor,
                base=below,
                progress=self._report(planned),
                watch=self._deadline.check if self._deadline is not None else None,
            )
            summary = writer.finish(result.content_state)
        if first is not None:
            self._draft.second[first.disk_id] = summary.header_hash
        return PointDisk(
            slot=planned["slot"],
            disk_id=planned["disk_id"],
            name=planned["name"],
            size=geometry.size,
            type=kind,
            reason=reason,
            base=base_id,
            file=file_name,
            file_size=summary.size,
            header_hash=summary.header_hash,
            content_hash=result.content_hash,
            repository=planned["repository"],
            statistics={
                "read": result.read + (first.read if first is not None else 0),
                "changed": result.changed,
                "stored": summary.size,
            },
        )

    def _base(self, planned: Mapping[str, Any], geometry: Geometry) -> tuple[_Base | None, str]:
        """Open the state of a disk that its increment builds on, or say why there is none: it may have gone since."""
        if self._parent is None:
            return None, "the recovery point that the plan builds on is gone"
        point, disk = self._parent, self._parent.disk(planned["disk_id"])
        if disk is None:
            return None, f"disk was not in the newest recovery point {point.id}"
        try:
            if planned["type"] == "differential":
                point, disk = self._client.last_full(point, disk)
            chain = self._client.open_disk(point, disk)
        except (PointNotFoundError, CorruptVaultError) as error:
            self._notes.append(f"disk {planned['name']} was backed up in full: {error.message}")
            which = "newest" if point is self._parent else "full"
            return None, f"the {which} recovery point {point.id} is damaged"
        except VaultError as error:
            if error.details.get("errno") not in (errno.EMFILE, errno.ENFILE):
                raise
            # Every further backup would fail like this one, but a full ends the chain.
            return None, f"recovery point {point.id} builds on more files than can be opened at once"
        if chain.geometry != geometry:
            chain.close()
            return None, f"disk resized from {chain.geometry.size} to {geometry.size} bytes"
        return _Base(point.id, chain), ""

    def _configuration(self) -> dict[str, dict[str, Any]]:
        text = json.dumps(self._request.document, indent=2, ensure_ascii=False) + "\n"
        # Half of a surrogate pair, which a name from outside may hold, becomes a JSON escape.
        stored = {"vm_json": self._writer.add_file("vm.json", text.encode("utf-8", "backslashreplace"))}
        if self._request.vm_cfg is None:
            self._notes.append("the manager does not say where vm.cfg lies: it is not in the recovery point")
            return stored
        path = image_path(self._request.repositories_path, *self._request.vm_cfg)
        try:
            with open(path, "rb") as file:
                stored["vm_cfg"] = self._writer.add_file("vm.cfg", file.read())
        except OSError as error:
            self._notes.append(f"{path} cannot be read ({os.strerror(error.errno or 0)}): vm.cfg is not in the point")
        return stored
