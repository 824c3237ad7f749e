# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Virtual disks that a restore makes (ovm-rest-api 14.5): provably of its run, found again by it, removed only so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInputError, ManagerResponseError, NotFoundError
from .clone_records import Mark, check_run_id, read_mark
from .clone_removal import remove_disk
from .inventory import disk_path
from .objects import number, object_id, object_name, reference, references, text

if TYPE_CHECKING:
    from .client import ManagerClient

# The manager takes sizes in whole blocks only (ovm-rest-api 10.2).
BLOCK = 4096


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


def restore_mark(client: ManagerClient, item: Mapping[str, Any]) -> Mark | None:
    """Return the mark of a restore on this manager that an object carries."""
    mark = read_mark(item.get("description"), "restore")
    return mark if mark is not None and mark.manager_id == client.manager_id else None


def describe_disk(client: ManagerClient, item: Mapping[str, Any]) -> VirtualDisk:
    """Return a disk as the manager sent it; raise C(ManagerResponseError) if it does not say where that lies."""
    disk_id, repository_id = object_id(item), reference(item, "repositoryId")
    path = disk_path(disk_id, item)
    if repository_id is None or path is None:
        raise ManagerResponseError(f"Oracle VM Manager does not tell where virtual disk {disk_id} lies.")
    mark = restore_mark(client, item)
    run_id = mark.run_id if mark is not None else None
    return VirtualDisk(disk_id, object_name(item), number(item, "size") or 0, repository_id, path, run_id)


def find_disk(client: ManagerClient, *, name: str, repository_id: str, run_id: str) -> VirtualDisk | None:
    """Return the disk of this name that this run made in a storage repository, if there is one."""
    for item in client.list("VirtualDisk"):
        mark = restore_mark(client, item)
        same = object_name(item) == name and reference(item, "repositoryId") == repository_id
        if same and mark is not None and mark.run_id == run_id:
            return describe_disk(client, item)
    return None


def check_disk(size: int | None, run_id: str) -> None:
    """Raise C(InvalidInputError) for what the manager would refuse."""
    check_run_id(run_id)
    if size is None or size <= 0 or size % BLOCK:
        raise InvalidInputError(f"size must be a positive multiple of {BLOCK}, not {size}", option="size")


def make_disk(
    client: ManagerClient, *, name: str, repository_id: str, size: int, run_id: str, vm_id: str, sparse: bool = True
) -> VirtualDisk:
    """Make an empty virtual disk of C(size) bytes. C(vm_id) is the VM that it is restored for, as the mark says."""
    check_disk(size, run_id)
    body = {
        "diskType": "VIRTUAL_DISK",
        "name": name,
        "description": Mark("restore", client.manager_id, vm_id, run_id).description(),
        "size": size,
        "shareable": False,
    }
    done = client.run("POST", "Repository", repository_id, "VirtualDisk", query={"sparse": sparse}, body=body)
    return _result(client, done)


def import_disk(
    client: ManagerClient, *, name: str, repository_id: str, url: str, run_id: str, vm_id: str
) -> VirtualDisk:
    """Let the manager fetch the image of a virtual disk from a URL, and mark it."""
    check_run_id(run_id)
    done = client.run(
        "PUT",
        "Repository",
        repository_id,
        "importVirtualDisk",
        query={"diskType": "VIRTUAL_DISK"},
        body={"urls": [url], "proxy": None},
    )
    disk_id = _result(client, done).id
    try:
        mark = Mark("restore", client.manager_id, vm_id, run_id).description()
        client.modify("VirtualDisk", disk_id, {"name": name, "description": mark})
    except BaseException:
        remove_disk(client, disk_id)
        raise
    return describe_disk(client, client.get("VirtualDisk", disk_id))


def remove_restored_disk(
    client: ManagerClient, disk_id: str, *, run_id: str, foreign: bool = False, check: bool = False
) -> bool:
    """Remove a virtual disk of this run; return whether there was one. C(check): only look.

    C(foreign): also one that no restore made. Raises C(InvalidInputError) for one that is not this run's, and for one
    that is mapped to a VM.
    """
    try:
        item = client.get("VirtualDisk", disk_id)
    except NotFoundError:
        return False
    mark = restore_mark(client, item)
    if not foreign and (mark is None or mark.run_id != run_id):
        whose = f"is of run {mark.run_id}" if mark is not None else "was not made by a restore"
        raise InvalidInputError(
            f"Virtual disk {object_name(item)} ({disk_id}) {whose}: it is removed only with foreign: true",
            option="virtual_disk_id",
        )
    if references(item, "vmDiskMappingIds"):
        raise InvalidInputError(
            f"Virtual disk {object_name(item)} ({disk_id}) is mapped to a VM: it is not removed",
            option="virtual_disk_id",
        )
    if not check:
        remove_disk(client, disk_id)
    return True


def remove_disks_of_run(client: ManagerClient, run_id: str, *, check: bool = False) -> bool:
    """Remove all disks of this run that are mapped to no VM; return whether there were any."""
    check_run_id(run_id)
    found = False
    for item in client.list("VirtualDisk"):
        mark = restore_mark(client, item)
        if mark is not None and mark.run_id == run_id and not references(item, "vmDiskMappingIds"):
            found = remove_restored_disk(client, object_id(item), run_id=run_id, check=check) or found
    return found


def _result(client: ManagerClient, job: Mapping[str, Any]) -> VirtualDisk:
    disk_id = reference(job, "resultId")
    if disk_id is None:
        raise ManagerResponseError(f'Oracle VM Manager finished "{text(job, "name")}" without a result.')
    return describe_disk(client, client.get("VirtualDisk", disk_id))
