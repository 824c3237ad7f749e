# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Removing a clone of ours, and nothing else (ovm-rest-api 14.2, step 6).

First each mapping and its disk, then the VM, then the clone definitions of its run. The VM carries the proof that the
rest is ours, so it goes only after everything else of it has gone: an interrupted removal can be taken up again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Callable

from ..errors import ManagerError, ManagerResponseError, NotFoundError, OvmBackupError, PowerStateError
from .clone_survey import Item, Proven, Survey
from .inventory import disk_kind
from .objects import object_id, object_name, reference, references, text

if TYPE_CHECKING:
    from .client import ManagerClient


def remove_proven(client: ManagerClient, survey: Survey, clone: Proven, *, definitions: bool = True) -> None:
    """Remove a clone, by default with the clone definitions of its run.

    What can be removed is removed; the first error is raised after that, with the others in it.

    Raises PowerStateError if the clone is not STOPPED: then somebody uses it.
    """
    state = text(clone.vm, "vmRunState")
    name = object_name(clone.vm)
    if state != "STOPPED":
        raise PowerStateError(
            f'The clone "{name}" is {state}: somebody uses it. Stop it, then it can be removed.',
            vm_id=clone.id,
            vm_name=name,
            state=state,
        )
    errors: list[ManagerError] = []
    for mapping_id, disk_id in _parts(survey, clone):
        try:
            _remove_part(client, clone.id, mapping_id, disk_id)
        except ManagerError as error:
            errors.append(error)
    if not errors:
        try:
            delete(client, "Vm", clone.id)
        except ManagerError as error:
            errors.append(error)
    if not errors and definitions:
        errors += remove_definitions(client, survey, clone.vm_id, clone.run_id)
    raise_all(errors, f'The clone "{name}" ({clone.id}) could not be removed whole: ')


def _parts(survey: Survey, clone: Proven) -> list[tuple[str, str | None]]:
    """Return the mappings of a clone, each with its disk if the clone owns it.

    The mark tells both, so they need not be read, and what a removal that was interrupted has unmapped is among them.
    What is mapped besides, somebody else has attached. Without a list of disks in the mark the mappings are read.
    """
    sources = {source for _slot, source, _copy, _mapping in clone.recorded}
    own = {mapping: copy for _slot, _source, copy, mapping in clone.recorded if copy not in sources}
    if own:
        mapped = references(clone.vm, "vmDiskMappingIds")
        others: list[tuple[str, str | None]] = [(mapping, None) for mapping in mapped if mapping not in own]
        return others + list(own.items())
    keep = {reference(item, "virtualDiskId") for item in survey.mappings_of(clone.vm_id)}
    found = [(object_id(item), reference(item, "virtualDiskId")) for item in survey.mappings_of(clone.id)]
    return [(mapping, None if disk_id in keep else disk_id) for mapping, disk_id in found]


def _remove_part(client: ManagerClient, clone_id: str, mapping_id: str, disk_id: str | None) -> None:
    if disk_id is None:
        delete(client, "Vm", clone_id, "VmDiskMapping", mapping_id)
        return
    seen: list[Item | None] = []

    def unmapped() -> bool:
        item = _find_disk(client, disk_id)
        if item is not None and mapping_id in references(item, "vmDiskMappingIds"):
            return False
        seen.append(item)
        return True

    # The disk has to be looked at before it goes in any case, and tells, too, when it is not mapped any more.
    delete(client, "Vm", clone_id, "VmDiskMapping", mapping_id, seen=unmapped)
    _delete_disk(client, disk_id, seen[0] if seen else _find_disk(client, disk_id))


def remove_disk(client: ManagerClient, disk_id: str) -> None:
    """Delete a virtual disk unless it is mapped to a VM, is no disk, or is gone already."""
    _delete_disk(client, disk_id, _find_disk(client, disk_id))


def _find_disk(client: ManagerClient, disk_id: str) -> Item | None:
    try:
        return client.get("VirtualDisk", disk_id)
    except NotFoundError:
        return None


def _delete_disk(client: ManagerClient, disk_id: str, item: Item | None) -> None:
    if item is None or references(item, "vmDiskMappingIds") or disk_kind(disk_id, item) != "virtual":
        return
    repository_id = reference(item, "repositoryId")
    if repository_id is None:
        raise ManagerResponseError(f"Oracle VM Manager does not tell the storage repository of disk {disk_id}.")
    delete(client, "Repository", repository_id, "VirtualDisk", disk_id)


def remove_definitions(client: ManagerClient, survey: Survey, vm_id: str, run_id: str) -> list[ManagerError]:
    """Delete the clone definitions of a run; their mappings go with them (ovm-rest-api 11.1). Returns the errors."""
    errors = []
    for definition_id, _mark in survey.our_definitions(vm_id, run_id):
        try:
            delete(client, "Vm", vm_id, "VmCloneDefinition", definition_id)
        except ManagerError as error:
            errors.append(error)
    return errors


def raise_all(errors: Iterable[ManagerError], prefix: str) -> None:
    """Raise the first error with the messages of all of them; nothing if there is none."""
    found = list(errors)
    if found:
        messages = [error.message for error in found]
        raise type(found[0])(prefix + " ".join(messages), **{**found[0].details, "errors": messages}) from found[0]


def add_problems(error: BaseException, prefix: str, problems: list[str]) -> None:
    """Write what could not be cleaned up into the error; nothing is hidden."""
    if not problems:
        return
    words = f"{prefix}: {' '.join(problems)}"
    if isinstance(error, OvmBackupError):
        error.add(f" {words}")
        error.details["clean_up_errors"] = problems
    else:
        error.args = (*error.args, words)


def delete(client: ManagerClient, *segments: str, seen: Callable[[], bool] | None = None) -> None:
    """Delete an object; it is no error if it is gone already."""
    try:
        client.run("DELETE", *segments, repeatable=True, seen=seen)
    except NotFoundError:
        return  # what shall be gone is gone
