# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The disks and the configuration of a VM into the files of a recovery point, and the manifest that describes them."""

from __future__ import annotations

import dataclasses
import functools
import json
import random
from collections.abc import Mapping
from typing import Any, Callable, NamedTuple

from ..errors import (
    ChangeDetectionError,
    CorruptVaultError,
    OvmBackupError,
    PointNotFoundError,
    ServerError,
    SourceError,
)
from ..images.types import DiskImage
from ..vault.chain import DiskChain, open_chain
from ..vault.disk_writer import DiskFileSummary, FrameCompressor
from ..vault.drafts import FINAL, FIRST, SECOND, Draft, FirstPassDisk
from ..vault.format import Geometry
from ..vault.manifest import Point, PointDisk, disk_file_name
from ..vault.point_making import versions
from ..vault.points import Client
from .base import Choice, ask_for_full, choose, damaged
from .deadline import Deadline
from .detection import ALL, HASH, Detection, detect_changes, identify
from .disk_backup import DiskResult, backup_disk
from .keeping import decide_keeping
from .opening import Images
from .request import BackupRequest
from .sampling import check_sample

# Called with the name of the disk, the bytes done and its size.
Progress = Callable[[str, int, int], None]


# Nothing is concluded from the map of a disk that is written to meanwhile.
_FIRST_OF_TWO = Detection(HASH, "the VM still ran")


class _Transferred(NamedTuple):
    choice: Choice
    detection: Detection
    result: DiskResult
    summary: DiskFileSummary


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
        self._opener = Images(request)
        self._images: list[DiskImage] = []
        self._doubts: list[str] = []  # why images can be no reference
        self._detections: list[Detection] = []
        self._chance = random.Random()

    def first_pass(self) -> tuple[FirstPassDisk, ...]:
        """Transfer the disks of a VM that may write to them meanwhile, for a second pass to compare with."""
        with self._opener:
            return tuple(self._first(planned) for planned in self._request.plan["disks"])

    def run(self) -> Point:
        """Transfer everything and return the manifest to be."""
        request, plan = self._request, self._request.plan
        started = self._clock()
        with self._opener:
            disks = tuple(self._disk(disk) for disk in plan["disks"])
            configuration = self._configuration()
            # All at the end: a VM that was started after the first disk was read would make a mixed set of the disks.
            for image in self._images:
                image.check_unchanged()
            for detection in self._detections:
                detection.check_reference()
            compared = any(detection.comparison is not None for detection in self._detections)
            types = [disk.type for disk in disks]
            keeping = decide_keeping(request, self._images, self._doubts, types, compared=compared)
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
            disks=tuple(self._read_from(disk, keeping.keep) for disk in disks),
            skipped_disks=tuple(dict(disk) for disk in plan["skipped_disks"]),
            configuration=configuration,
            durations=self._durations(completed - started),
            versions=versions(),
            warnings=(*self._draft.notes, *self._notes),
            clone=dataclasses.asdict(keeping),
        )

    def _read_from(self, disk: PointDisk, kept: bool) -> PointDisk:
        """Return a disk that names the clone which it was read from, if that stays."""
        clone = self._request.clone
        return dataclasses.replace(
            disk, image={"clone_id": clone["id"] if clone and kept else None, **(disk.image or {})}
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

    def _open(self, planned: Mapping[str, Any]) -> DiskImage:
        image = self._opener.open_disk(planned)
        self._images.append(image)
        return image

    def _report(self, planned: Mapping[str, Any]) -> Callable[[int, int], None] | None:
        return None if self._progress is None else functools.partial(self._progress, planned["name"])

    def _first(self, planned: Mapping[str, Any]) -> FirstPassDisk:
        image = self._open(planned)
        choice, _detection, result, summary = self._by_choice(planned, image, FIRST)
        return FirstPassDisk(
            disk_id=planned["disk_id"],
            size=image.size,
            type=choice.type,
            reason=choice.reason,
            base=choice.base_id,
            file=_file_name(planned),
            header_hash=summary.header_hash,
            read=result.read,
        )

    def _by_choice(self, planned: Mapping[str, Any], image: DiskImage, part: str) -> _Transferred:
        """Transfer a disk as planned, or in full when what that builds on is gone or turns out to be damaged."""
        choice = choose(self._client, self._parent, planned, Geometry(image.size), self._notes)
        if choice.base is None:
            return self._attempt(planned, image, part, choice)
        read_before, damage, reason = image.bytes_read, "", ""
        try:
            with choice.base.chain:
                return self._attempt(planned, image, part, choice)
        except (CorruptVaultError, PointNotFoundError) as error:
            damage = error.message
            reason = damaged(planned, self._parent, choice.base.point_id, error, self._notes)
        wasted = image.bytes_read - read_before
        try:
            done = self._attempt(planned, image, part, Choice("full", reason))
        except OvmBackupError as error:
            # By extent maps, the next backup might not come across the damage.
            error.add(f". The next backup of this VM is a full, because {reason}: {damage}")
            ask_for_full(self._client, damage, error, now=self._clock())
            raise
        return done._replace(result=dataclasses.replace(done.result, read=done.result.read + wasted))

    def _attempt(self, planned: Mapping[str, Any], image: DiskImage, part: str, choice: Choice) -> _Transferred:
        detection = self._detect(planned, image, choice) if part == FINAL else _FIRST_OF_TWO
        result, summary = self._transfer(planned, image, part, choice.chain, detection)
        return _Transferred(choice, detection, result, summary)

    def _transfer(
        self, planned: Mapping[str, Any], image: DiskImage, part: str, below: DiskChain | None, detection: Detection
    ) -> tuple[DiskResult, DiskFileSummary]:
        """Transfer what differs from C(below), or all of a disk, into a file of a part of the draft."""
        geometry, form = Geometry(image.size), "full" if below is None else "incremental"
        writer = self._draft.disk_writer(part, _file_name(planned), geometry, form, self._compressor)
        try:
            result = backup_disk(
                image,
                writer,
                geometry,
                self._compressor,
                base=below,
                comparison=detection.comparison,
                progress=self._report(planned),
                watch=self._deadline.check if self._deadline is not None else None,
                at_rest=part != FIRST,
            )
            return result, writer.finish(result.content_state)
        finally:
            writer.abort()

    def _disk(self, planned: Mapping[str, Any]) -> PointDisk:
        image = self._open(planned)
        identity, doubt = identify(image)
        if identity is None:
            self._doubts.append(doubt)
        first = self._draft.first(planned["disk_id"])
        if first is not None and first.size == image.size:
            kind, reason, base_id = first.type, first.reason, first.base
            detection = Detection(HASH, "the disk was read a first time while the VM still ran")
            with open_chain(self._draft.files_below(self._client, first)) as below:
                result, summary = self._transfer(planned, image, SECOND, below, detection)
            self._draft.second[first.disk_id] = summary.header_hash
        else:
            first = None  # the disk was resized between the passes, or there was only one
            choice, detection, result, summary = self._by_choice(planned, image, FINAL)
            kind, reason, base_id = choice.type, choice.reason, choice.base_id
            self._detections.append(detection)
        return PointDisk(
            slot=planned["slot"],
            disk_id=planned["disk_id"],
            name=planned["name"],
            size=image.size,
            type=kind,
            reason=reason,
            base=base_id,
            file=_file_name(planned),
            file_size=summary.size,
            header_hash=summary.header_hash,
            content_hash=result.content_hash,
            repository=planned["repository"],
            statistics={
                "read": result.read + detection.sample.size + (first.read if first is not None else 0),
                "changed": result.changed,
                "stored": summary.size,
            },
            image={
                **self._request.image_of(planned),
                "identity": identity.as_dict() if identity is not None else None,
            },
            changes=detection.as_dict(),
        )

    def _detect(self, planned: Mapping[str, Any], image: DiskImage, choice: Choice) -> Detection:
        """Return how the changes of a disk are found, after a sample of what is called unchanged was looked at."""
        if choice.base is None:
            return Detection(ALL, choice.reason)
        request = self._request
        found = detect_changes(
            self._opener,
            request.plan,
            planned,
            image,
            choice.base.disk,
            sample=request.sample,
            chance=self._chance,
        )
        try:
            check_sample(image, choice.base.chain, found.sample)
        except ChangeDetectionError as error:
            ask_for_full(self._client, error.message, error, now=self._clock())
            raise
        return found

    def _configuration(self) -> dict[str, dict[str, Any]]:
        text = json.dumps(self._request.document, indent=2, ensure_ascii=False) + "\n"
        # Half of a surrogate pair, which a name from outside may hold, becomes a JSON escape.
        stored = {"vm_json": self._writer.add_file("vm.json", text.encode("utf-8", "backslashreplace"))}
        if self._request.vm_cfg is None:
            self._notes.append("the manager does not say where vm.cfg lies: it is not in the recovery point")
            return stored
        try:
            stored["vm_cfg"] = self._writer.add_file("vm.cfg", self._opener.read_configuration(self._request.vm_cfg))
        except (SourceError, ServerError) as error:
            self._notes.append(f"vm.cfg is not in the recovery point: {error.message}")
        return stored


def _file_name(planned: Mapping[str, Any]) -> str:
    return disk_file_name(planned["slot"], planned["name"])
