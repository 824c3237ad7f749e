# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Virtual disks that a restore makes (ovm-rest-api 10.2): found again by its mark, removed only so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import InvalidInputError, ManagerError, ManagerResponseError, NotFoundError
from .clone_records import Mark, Purpose, check_run_id
from .clone_removal import raise_all, remove_disk
from .inventory import disk_kind, disk_path
from .objects import number, object_id, object_name, reference, references
from .restored import begun, claim, given, is_of_run, make, new_mark, restore_mark, result_of, take_back

if TYPE_CHECKING:
    from .client import Job, ManagerClient

# The manager takes sizes in whole blocks only (ovm-rest-api 10.2).
BLOCK = 4096
_SCHEMES = ("http", "https", "ftp")  # of imports (ovm-rest-api 8.1)


@dataclass(frozen=True)
class VirtualDisk:
    """A virtual disk. C(size) is bytes, C(path) relative to the storage repository; C(run_id) if a restore made it."""

    id: str
    name: str
    size: int
    repository_id: str
    path: str
    run_id: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return dict(vars(self))


@dataclass(frozen=True)
class WantedDisk:
    """What a restore needs. C(url): the manager fetches the image from there; then C(size) may be unknown."""

    name: str
    repository_id: str
    size: int | None
    sparse: bool = True
    url: str | None = None
    vm_id: str | None = None
    purpose: Purpose | None = None

    @property
    def host(self) -> str:
        """The host of the URL; its path may be a secret (the image is served to everybody who knows it)."""
        return urlsplit(self.url or "").hostname or ""

    def check(self) -> None:
        """Raise C(InvalidInputError) for what the manager would refuse."""
        if not self.name:
            raise InvalidInputError("name is empty: a virtual disk is found again by its name", option="name")
        if self.url is not None:
            parts = urlsplit(self.url)
            if parts.scheme not in _SCHEMES or not parts.hostname:
                raise InvalidInputError(
                    f"source_url has to name a host and begin with {', '.join(_SCHEMES)}, not with "
                    f"{parts.scheme or 'nothing'}",
                    option="source_url",
                )
        if (self.url is None or self.size is not None) and (self.size is None or self.size <= 0 or self.size % BLOCK):
            raise InvalidInputError(f"size must be a positive multiple of {BLOCK}, not {self.size}", option="size")


def ensure_disk(
    client: ManagerClient, wanted: WantedDisk, *, run_id: str, check: bool = False
) -> tuple[VirtualDisk | None, bool]:
    """Make the disk of a run, or import it, unless the run has made it already. C(check): only look.

    Returns the disk, nothing if it would have to be made, and whether something was done.
    """
    check_run_id(run_id)
    wanted.check()
    given(client, "Repository", wanted.repository_id, "repository_id", "storage repository")
    found, known = _find(client, wanted, run_id)
    mark = new_mark(client, run_id, wanted.vm_id, wanted.purpose)
    claimed = known is not None and known.own_id is not None
    if found is not None and wanted.size not in (None, found.size):
        raise InvalidInputError(
            f"Virtual disk {found.name} ({found.id}), which run {run_id} has made, has {found.size} bytes, not "
            f"{wanted.size}: remove it, or use another run_id",
            option="size",
        )
    if check or claimed:
        if known is not None and claimed and not check and wanted.purpose not in (None, known.purpose):
            # What an interrupted restore knew when it made the disk may be something else by now.
            client.modify(
                "VirtualDisk", str(known.own_id), {"description": replace(mark, own_id=known.own_id).description()}
            )
        return found, not claimed
    if found is not None:
        disk_id = found.id
    elif wanted.url is not None:
        disk_id = _import(client, wanted)
    else:
        disk_id = _make(client, wanted, mark)
    claim(client, "VirtualDisk", disk_id, mark, lambda made: remove_disk(client, made), name=wanted.name)
    return describe_disk(client, client.get("VirtualDisk", disk_id)), True


def describe_disk(client: ManagerClient, item: Mapping[str, Any]) -> VirtualDisk:
    """Return a disk as the manager sent it; raise C(ManagerResponseError) if it does not say where that lies."""
    disk_id, repository_id = object_id(item), reference(item, "repositoryId")
    path = disk_path(disk_id, item)
    if repository_id is None or path is None:
        raise ManagerResponseError(f"Oracle VM Manager does not tell where virtual disk {disk_id} lies.")
    mark = restore_mark(client, item)
    run_id = mark.run_id if mark is not None else None
    return VirtualDisk(disk_id, object_name(item), number(item, "size") or 0, repository_id, path, run_id)


def remove_restored_disk(
    client: ManagerClient, disk_id: str, *, run_id: str, foreign: bool = False, check: bool = False
) -> bool:
    """Remove a virtual disk of this run; return whether there was one. C(check): only look.

    C(foreign): also one that this run has not made. Raises C(InvalidInputError) for one that is not its own, and for
    one that is mapped to a VM or is a CD.
    """
    try:
        item = client.get("VirtualDisk", disk_id)
    except NotFoundError:
        return False
    what = f"Virtual disk {object_name(item)} ({disk_id})"
    problem = None
    if disk_kind(disk_id, item) != "virtual":
        problem = "is a CD: it is not removed"
    elif not foreign and not is_of_run(client, item, run_id):
        mark = restore_mark(client, item)
        whose = f"is of run {mark.run_id}" if mark is not None else "was not made by a restore"
        problem = f"{whose}: it is removed only with foreign: true"
    elif references(item, "vmDiskMappingIds"):
        problem = "is mapped to a VM: it is not removed"
    if problem is not None:
        raise InvalidInputError(f"{what} {problem}", option="virtual_disk_id")
    if not check:
        remove_disk(client, disk_id)
    return True


def remove_disks_of_run(client: ManagerClient, run_id: str, *, check: bool = False) -> bool:
    """Remove all disks of this run that are mapped to no VM; return whether there were any.

    What can be removed is removed; the first error is raised after that, with the others in it.
    """
    check_run_id(run_id)
    found, errors = False, []
    for item in client.list("VirtualDisk"):
        if is_of_run(client, item, run_id) and not references(item, "vmDiskMappingIds"):
            try:
                found = remove_restored_disk(client, object_id(item), run_id=run_id, check=check) or found
            except ManagerError as error:
                errors.append(error)
    raise_all(errors, f"Not all virtual disks of run {run_id} could be removed: ")
    return found


def _find(client: ManagerClient, wanted: WantedDisk, run_id: str) -> tuple[VirtualDisk | None, Mark | None]:
    """Return the disk that this run has made, and its mark; first one whose mark has its own id."""
    fitting = [
        (mark, item)
        for item, mark in ((item, restore_mark(client, item)) for item in client.list("VirtualDisk"))
        if mark is not None
        and mark.run_id == run_id
        and object_name(item) == wanted.name
        and reference(item, "repositoryId") == wanted.repository_id
    ]
    if not fitting:
        return None, None
    mark, item = max(fitting, key=lambda found: found[0].own_id is not None)
    return describe_disk(client, item), mark


def _make(client: ManagerClient, wanted: WantedDisk, mark: Mark) -> str:
    return make(
        client,
        "Repository",
        wanted.repository_id,
        "VirtualDisk",
        query={"sparse": wanted.sparse},
        body={
            "diskType": "VIRTUAL_DISK",
            "name": wanted.name,
            "description": mark.description(),
            "size": wanted.size,
            "shareable": False,
        },
        find=lambda: begun(client, "VirtualDisk", mark, wanted.name, wanted.repository_id),
        remove=lambda disk_id: remove_disk(client, disk_id),
    )


def _import(client: ManagerClient, wanted: WantedDisk) -> str:
    """Let the manager fetch the image. Only the job tells which disk came of it: a name proves nothing."""
    where = ("Repository", wanted.repository_id, "importVirtualDisk")
    body = {"urls": [wanted.url], "proxy": None}
    job: Job | None = None
    try:
        job = client.submit("PUT", *where, query={"diskType": "VIRTUAL_DISK"}, body=body)
        disk_id = result_of(client.wait(job))
        size = number(client.get("VirtualDisk", disk_id), "size")
        if wanted.size not in (None, size):
            raise ManagerResponseError(
                f"Oracle VM Manager imported {size} bytes from {wanted.host} where {wanted.size} were expected.",
                size=size,
            )
        return disk_id
    except BaseException as error:
        if job is None and isinstance(error, ManagerError) and error.details.get("outcome") == "unknown":
            error.add(
                f" If the import from {wanted.host} was begun all the same, its disk is in storage repository "
                f"{wanted.repository_id} without the mark of this restore: remove it there."
            )
        take_back(client, error, job, lambda made: remove_disk(client, made))
        raise
