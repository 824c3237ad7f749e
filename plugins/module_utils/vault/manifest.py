# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The manifest of a recovery point: written last, it publishes the point."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from ..errors import CorruptVaultError, InvalidInputError, PointNotFoundError
from . import format as fmt
from .files import held_until, listing, open_file, read_json, unreadable, write_json
from .storage.failures import vault_errors
from .text import held_text

MANIFEST_NAME = "point.json"
MANIFEST_VERSION = 1
# Seconds by which the clocks of the machines that write to one vault may differ: what lies further ahead was made by a
# wrong one.
CLOCK_TOLERANCE = 300.0
_POINT_ID = re.compile(r"^[0-9]{8}T[0-9]{6}Z-([0-9]{4,})\Z")
_Found = TypeVar("_Found")
# Kept short enough that slot, suffix and a long name fit in the 255 bytes of a file name.
_NAME_LIMIT = 100


@dataclass(frozen=True)
class PointDisk:
    """A disk of a recovery point. Sizes and counts in bytes.

    C(base) is the point that holds the previous state of this disk, null for a full. C(header_hash) is that of the disk
    file, C(content_hash) that of the whole disk as of this point. C(image) says which image the disk was read from:
    C(clone_id) (null if it was the VM's own), C(repository_id), C(path) and its C(identity), null where that is not
    known. C(changes) says how what is stored was found: C(method) (C(all), C(extent_maps) or C(hash)), the C(reason),
    and the bytes that were C(candidate) and C(sampled); a synthetic full has none. C(statistics) holds C(read),
    C(changed), C(stored), of a synthetic full also how many C(frames_copied) and C(frames_repacked).
    """

    slot: int
    disk_id: str
    name: str
    size: int
    type: str
    reason: str
    base: str | None
    file: str
    file_size: int
    header_hash: str
    content_hash: str
    repository: str | None
    statistics: dict[str, int]
    image: dict[str, Any] | None = None
    changes: dict[str, Any] | None = None


@dataclass(frozen=True)
class Point:
    """A published recovery point.

    Times are seconds since the epoch, C(durations) seconds. C(parent) is the point that was the newest one before, also
    when this one is a full and does not need it. C(sequence) orders the points of a client, whatever the clocks say.
    C(consolidates) is the point that a synthetic full is made from; C(created), the age of the data, is that point's.
    C(clone) says what becomes of the hot clone that was read: whether it is kept (C(keep)) as the reference of the next
    increment, the C(reason), and whether an older reference clone is C(obsolete).
    """

    id: str
    client: str
    sequence: int
    parent: str | None
    type: str
    requested_type: str
    reason: str
    method: str
    consistency: str
    vm_id: str
    vm_name: str
    created: float
    completed: float
    run_id: str
    job_id: str | None
    subclient: str | None
    manager: dict[str, str]
    disks: tuple[PointDisk, ...]
    skipped_disks: tuple[dict[str, Any], ...]
    configuration: dict[str, dict[str, Any]]
    durations: dict[str, float]
    versions: dict[str, str]
    warnings: tuple[str, ...] = field(default=())
    consolidates: str | None = None
    clone: dict[str, Any] | None = None

    @property
    def is_full(self) -> bool:
        """Return whether it can be restored without any other point."""
        return all(disk.base is None for disk in self.disks)

    @property
    def stored(self) -> int:
        """Return the bytes that the disk files of this point take."""
        return sum(disk.file_size for disk in self.disks)

    def disk(self, disk_id: str) -> PointDisk | None:
        """Return the disk with this id, or nothing."""
        return next((disk for disk in self.disks if disk.disk_id == disk_id), None)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types, the same shape as in the manifest."""
        document = asdict(self)
        for key in ("disks", "skipped_disks", "warnings"):
            document[key] = list(document[key])
        return document


def hold_of(directory: str) -> str | None:
    """Return how the storage keeps a point from being removed: by the lock of its manifest, which came last."""
    until = held_until(os.path.join(directory, MANIFEST_NAME))
    return None if until is None else held_text(until)


def is_point_id(name: str) -> bool:
    """Return whether a recovery point can have this id, which is also the name of its folder."""
    return _POINT_ID.match(name) is not None


def sequence_of(name: str) -> int:
    """Return the number in the id of a recovery point, 0 for any other name."""
    found = _POINT_ID.match(name)
    return int(found.group(1)) if found else 0


def chosen_disks(point: Point, slots: Collection[int] | None) -> list[PointDisk]:
    """Return the disks in C(slots), without them all; raise C(InvalidInputError) for a slot that has none."""
    if slots is not None and not slots:
        raise InvalidInputError("slots must not be an empty list: leave it out for all disks", option="slots")
    known = {disk.slot for disk in point.disks}
    unknown = sorted(set(slots or ()) - known)
    if unknown:
        raise InvalidInputError(
            f"Recovery point {point.id} of client {point.client} has no disk in slot {unknown[0]}; it has "
            f"{', '.join(map(str, sorted(known)))}"
        )
    return [disk for disk in point.disks if slots is None or disk.slot in slots]


def disk_file_name(slot: int, name: str) -> str:
    """Return the name of a disk's file: what could surprise a shell or a file system becomes C(_)."""
    cleaned = re.sub(r"[^\w.\-\[\]]", "_", name)
    part = cleaned.encode("utf-8")[:_NAME_LIMIT].decode("utf-8", "ignore").lstrip(".") or "disk"
    return f"{slot}-{part}.img.zst"


def write_manifest(directory: str, point: Point) -> None:
    """Publish a point. All that it names must be durable by now."""
    body = {"format": "ovm.backup recovery point", "version": MANIFEST_VERSION, **point.as_dict()}
    write_json(os.path.join(directory, MANIFEST_NAME), {**body, "blake3": fmt.digest(fmt.canonical(body))})


def look_at_manifest(directory: str, look: Callable[[str], _Found]) -> _Found:
    """Return what C(look) gives for the path of a point's manifest; it has to raise C(FileNotFoundError) without one.

    NFS remembers up to a minute, and longer if it is told so, that there was none. To list the folder asks the server,
    and if it has changed, what was remembered of it is forgotten.
    """
    path = os.path.join(directory, MANIFEST_NAME)
    try:
        return look(path)
    except FileNotFoundError:
        if MANIFEST_NAME not in listing(directory):
            raise
        return look(path)


def is_published(directory: str) -> bool:
    """Return whether a recovery point exists at this moment; an I/O error is an error, not an absence."""
    with vault_errors("open", os.path.join(directory, MANIFEST_NAME)):
        try:
            # To open it asks the server of a network file system, where a look at the directory may not.
            look_at_manifest(directory, open_file).close()
        except FileNotFoundError:
            return False
    return True


def check_published(directory: str) -> None:
    """Raise C(PointNotFoundError) for a recovery point that has been removed meanwhile."""
    if not is_published(directory):
        raise PointNotFoundError(f"Recovery point {os.path.basename(directory)} has just been removed", path=directory)


def read_manifest(directory: str) -> Point:
    """Return a published point; raise C(PointNotFoundError) if there is none, C(CorruptVaultError) if it is damaged."""
    path = os.path.join(directory, MANIFEST_NAME)
    try:
        document = look_at_manifest(directory, read_json)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PointNotFoundError(f"There is no recovery point in {directory}", path=directory) from error
    except OSError as error:
        raise unreadable(path, error) from error
    if not isinstance(document, dict):
        raise CorruptVaultError(f"{path} is damaged at offset 0: it is not a manifest", path=path, offset=0)
    claimed = document.pop("blake3", None)
    if fmt.digest(fmt.canonical(document)) != claimed:
        raise CorruptVaultError(
            f"{path} is damaged: its content does not have the hash that it gives", path=path, offset=0
        )
    if document.get("version") != MANIFEST_VERSION:
        raise CorruptVaultError(
            f"{path} has manifest version {document.get('version')!r}, this version reads {MANIFEST_VERSION}",
            path=path,
            offset=0,
        )
    try:
        point = parse_point(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptVaultError(f"{path} is damaged: it is not a manifest ({error})", path=path, offset=0) from error
    if point.id != os.path.basename(directory):
        raise CorruptVaultError(f"{path} is damaged: it belongs to recovery point {point.id}", path=path, offset=0)
    return point


def parse_point(document: Mapping[str, Any]) -> Point:
    """Return the point of a document in the form of C(Point.as_dict); raise what the wrong types and values raise."""
    values = _known(Point, document)
    values["disks"] = tuple(PointDisk(**_known(PointDisk, disk)) for disk in values["disks"])
    values["skipped_disks"] = tuple(values["skipped_disks"])
    values["warnings"] = tuple(values.get("warnings", ()))
    point = Point(**values)
    if not point.id.endswith(f"-{point.sequence:04d}"):
        raise ValueError(f"sequence {point.sequence} in {point.id}")
    names = [disk.file for disk in point.disks] + [entry["file"] for entry in point.configuration.values()]
    for name in names:
        # A manifest may come from anywhere; it must not lead out of its folder.
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise ValueError(f"{name!r} is not the name of a file")
    return point


def _known(kind: type[Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what this version knows of a part of the manifest; a later one may have added more."""
    names = {item.name for item in fields(kind)}
    return {key: value for key, value in document.items() if key in names}
