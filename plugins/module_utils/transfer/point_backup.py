# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""One VM into the vault as a recovery point: all of its planned disks and its configuration, or nothing."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable, NamedTuple

from ..errors import CorruptVaultError, InvalidInputError, PointNotFoundError, SourceError
from ..vault.chain import DiskChain
from ..vault.disk_writer import FrameCompressor
from ..vault.format import Geometry
from ..vault.manifest import Point, PointDisk
from ..vault.point_making import PointOutcome, make_point, versions
from ..vault.points import Client, PointWriter, Vault
from .disk_backup import backup_disk
from .source import ImageSource, image_path

CONSISTENCY = {"hot_clone": "crash_consistent", "shutdown": "clean_shutdown", "cold": "powered_off"}

# Called with the name of the disk, the bytes done and its size.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class BackupRequest:
    """What to transfer. C(plan) is one VM of the plan, C(clone) the hot clone's disks by slot.

    C(document) and C(vm_cfg) (a path relative to C(repositories_path), or nothing) are the VM's configuration, C(owner)
    says who holds the client's lock, C(killed) that the VM did not shut down and was switched off.
    """

    plan: Mapping[str, Any]
    document: Mapping[str, Any]
    vm_cfg: tuple[str, str] | None
    run_id: str
    subclient: str | None
    owner: str
    repositories_path: str
    manager: Mapping[str, str]
    clone: Mapping[str, Any] | None = None
    killed: bool = False
    compression_level: int = 1
    break_lock: bool = False

    @property
    def consistency(self) -> str:
        """Return what state the disks are in. A VM that was switched off is no better than one that crashed."""
        return "crash_consistent" if self.killed else CONSISTENCY[self.plan["method"]]

    def image_of(self, disk: Mapping[str, Any]) -> str:
        """Return the image to read for a planned disk: its clone's where there is a clone."""
        source = self._read_from(disk)
        if not source["repository_id"] or not source["path"]:
            raise InvalidInputError(f"The manager does not say where disk {disk['name']!r} lies", disk=disk["disk_id"])
        return image_path(self.repositories_path, source["repository_id"], source["path"])

    def size_of(self, disk: Mapping[str, Any]) -> int:
        """Return the bytes that this image has as the manager knows it, 0 if it does not say."""
        return int(self._read_from(disk).get("size") or 0)

    def _read_from(self, disk: Mapping[str, Any]) -> Mapping[str, Any]:
        source = disk
        if self.clone is not None:
            clones = {item["slot"]: item for item in self.clone["disks"]}
            if disk["slot"] not in clones or clones[disk["slot"]]["source_disk_id"] != disk["disk_id"]:
                raise InvalidInputError(
                    f"The clone {self.clone['id']} has no copy of disk {disk['name']!r} (slot {disk['slot']}, "
                    f"{disk['disk_id']}) of VM {self.plan['vm_name']!r}",
                    clone=self.clone["id"],
                )
            source = clones[disk["slot"]]
        return source


def check_request(request: BackupRequest, *, clone_to_come: bool = False) -> None:
    """Raise C(InvalidInputError) for a request that cannot work, before anything is touched.

    C(clone_to_come): the clone need not be there yet.
    """
    plan = request.plan
    if plan["action"] != "backup" or plan["method"] not in CONSISTENCY:
        raise InvalidInputError(
            f"VM {plan['vm_name']!r} is not planned for a backup: action {plan['action']!r}, method {plan['method']!r}"
        )
    hot = plan["method"] == "hot_clone"
    if hot != (request.clone is not None) and not (hot and clone_to_come):
        raise InvalidInputError(
            f"VM {plan['vm_name']!r} is planned with method {plan['method']}: a clone is given only, and always, for a "
            "hot_clone"
        )
    if not plan["disks"]:
        raise InvalidInputError(f"VM {plan['vm_name']!r} is planned without any disk")
    for disk in plan["disks"]:
        request.image_of(disk)
    if request.vm_cfg is not None:
        image_path(request.repositories_path, *request.vm_cfg)


def existing_point(vault: Vault, request: BackupRequest) -> Point | None:
    """Return the newest recovery point if this run made it already, so that a repeated run does not repeat it."""
    try:
        point = vault.client(request.plan["client"]).point()
    except (PointNotFoundError, CorruptVaultError):
        return None
    return point if (point.run_id, point.vm_id) == (request.run_id, request.plan["vm_id"]) else None


def backup_vm(
    vault: Vault,
    request: BackupRequest,
    *,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.time,
) -> PointOutcome:
    """Make the recovery point under the client's lock, or none at all."""
    check_request(request)
    client = vault.prepare_client(request.plan["client"])
    lock = client.lock(owner=request.owner, run_id=request.run_id, break_lock=request.break_lock)
    with lock:
        done = existing_point(vault, request)
        if done is not None:
            return PointOutcome(done, False, ())
        vault.register(client, vm_id=request.plan["vm_id"], vm_name=request.plan["vm_name"], now=clock())

        def fill(writer: PointWriter, notes: list[str]) -> Point:
            return _Transfer(client, writer, request, progress, clock, notes).run()

        return make_point(client, lock, fill, now=clock(), level=request.compression_level)


class _Base(NamedTuple):
    """The state of a disk that an increment builds on."""

    point_id: str
    chain: DiskChain


class _Transfer:
    """Collects what the manifest will say while the disks are transferred."""

    def __init__(
        self,
        client: Client,
        writer: PointWriter,
        request: BackupRequest,
        progress: Progress | None,
        clock: Callable[[], float],
        notes: list[str],
    ) -> None:
        self._client = client
        self._writer = writer
        self._request = request
        self._progress = progress
        self._clock = clock
        self._notes = notes
        self._compressor = FrameCompressor(request.compression_level)
        self._parent = self._newest()
        self._sources = contextlib.ExitStack()
        self._images: list[ImageSource] = []

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
            durations={"transfer": round(completed - started, 3)},
            versions=versions(),
            warnings=tuple(self._notes),
        )

    def _newest(self) -> Point | None:
        points, _damaged = self._client.scan()
        return points[-1] if points else None

    def _disk(self, planned: Mapping[str, Any]) -> PointDisk:
        path = self._request.image_of(planned)
        with contextlib.ExitStack() as stack:
            source = self._sources.enter_context(ImageSource(path))
            self._images.append(source)
            known = self._request.size_of(planned)
            if source.size < known:
                raise SourceError(
                    f"The image {path} has {source.size} bytes, but the disk has {known}: it was truncated",
                    path=path,
                    offset=source.size,
                )
            geometry = Geometry(source.size)
            kind, reason, base = planned["type"], planned["type_reason"], None
            if kind != "full":
                base, why_not = self._base(planned, geometry)
                if base is None:
                    kind, reason = "full", why_not
                else:
                    stack.enter_context(base.chain)
            form = "full" if base is None else "incremental"
            file_name, writer = self._writer.disk_writer(planned["slot"], planned["name"], geometry, form)
            stack.callback(writer.abort)
            report = self._progress
            result = backup_disk(
                source,
                writer,
                geometry,
                self._compressor,
                base=base.chain if base is not None else None,
                progress=None if report is None else functools.partial(report, planned["name"]),
            )
            summary = writer.finish()
        return PointDisk(
            slot=planned["slot"],
            disk_id=planned["disk_id"],
            name=planned["name"],
            size=geometry.size,
            type=kind,
            reason=reason,
            base=base.point_id if base is not None else None,
            file=file_name,
            file_size=summary.size,
            header_hash=summary.header_hash,
            content_hash=result.content_hash,
            repository=planned["repository"],
            statistics={"read": result.read, "changed": result.changed, "stored": summary.size},
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
