# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What the slots of a VM hold (ovm-rest-api 10.1).

A mapping cannot be changed, only made anew. So everything that can be wrong is looked for before the old one goes, and
if the new one cannot be made all the same, the old one is made again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInputError, ManagerError, PowerStateError
from .clone_removal import add_problems, delete
from .inventory import disk_kind
from .objects import flag, number, object_id, object_name, reference, references, simple_id, text
from .restored import given

if TYPE_CHECKING:
    from .client import ManagerClient

_LAST_SLOT = 1_000_000  # ovm-rest-api 10.1
_PAUSE = 1.0  # seconds


def check_new_disk(client: ManagerClient, vm_id: str | None, slot: int, disk_id: str) -> None:
    """Raise C(InvalidInputError) unless the disk can be mapped into this slot of the VM, or of one to be made."""
    if not 0 <= slot <= _LAST_SLOT:
        raise InvalidInputError(f"slot has to be from 0 to {_LAST_SLOT}, not {slot}", option="slot")
    disk = given(client, "VirtualDisk", disk_id, "virtual_disk_id", "virtual disk")
    what = f"Virtual disk {object_name(disk)} ({disk_id})"
    if disk_kind(disk_id, disk) != "virtual":
        raise InvalidInputError(f"{what} is a CD, no disk", option="virtual_disk_id")
    mapped = set(references(disk, "vmDiskMappingIds"))
    if not mapped or flag(disk, "shareable"):
        return
    mappings = client.children("Vm", vm_id, "VmDiskMapping") if vm_id is not None else []
    if not mapped <= {object_id(item) for item in mappings if number(item, "diskTarget") == slot}:
        raise InvalidInputError(
            f"{what} is mapped already and cannot be shared: unmap it there first", option="virtual_disk_id"
        )


def map_disk(
    client: ManagerClient,
    vm_id: str,
    slot: int,
    disk_id: str | None,
    *,
    expected: Collection[str] | None = None,
    check: bool = False,
) -> tuple[str | None, bool]:
    """Let a slot hold a virtual disk, or nothing; return what it held, and whether that was something else.

    A disk takes over how the one before it was mapped. C(expected) are the disks that the slot may hold now, none if it
    has to be empty. C(check): only look. Raises C(PowerStateError) for a VM that is not stopped, C(InvalidInputError)
    for a disk that cannot be mapped and for a slot with a physical disk, or with one that nobody expects.
    """
    vm = given(client, "Vm", vm_id, "vm_id", "VM")
    old = _mapping(client, vm_id, slot)
    held = reference(old, "virtualDiskId") if old is not None else None
    physical = old is not None and held is None
    if held == disk_id and not physical:
        return held, False
    if expected is not None and (held not in expected if expected else held is not None):
        raise InvalidInputError(
            f'Slot {slot} of VM "{object_name(vm)}" holds {_disk(held)} now, not {_disk(*expected)} as it did: it was '
            "changed meanwhile and is left alone",
            option="expected",
        )
    if text(vm, "vmRunState") != "STOPPED":
        raise PowerStateError(
            f'VM "{object_name(vm)}" is {text(vm, "vmRunState")}: its disks are changed only while it is stopped.',
            vm_id=vm_id,
            vm_name=object_name(vm),
            state=text(vm, "vmRunState"),
        )
    if physical:
        raise InvalidInputError(
            f'Slot {slot} of VM "{object_name(vm)}" holds a physical disk: it is not replaced', option="slot"
        )
    if disk_id is not None:
        check_new_disk(client, vm_id, slot, disk_id)
    if check:
        return held, True
    try:
        if old is not None:
            delete(client, "Vm", vm_id, "VmDiskMapping", object_id(old))
        if disk_id is not None:
            _map(client, vm_id, slot, disk_id, old)
    except BaseException as error:
        _put_back(client, error, vm_id, slot, disk_id, old)
        raise
    return held, True


def _disk(*disk_ids: str | None) -> str:
    return " or ".join(f"virtual disk {disk_id}" for disk_id in disk_ids if disk_id is not None) or "nothing"


def _mapping(client: ManagerClient, vm_id: str, slot: int) -> Mapping[str, Any] | None:
    found = [item for item in client.children("Vm", vm_id, "VmDiskMapping") if number(item, "diskTarget") == slot]
    return found[0] if found else None


def _map(client: ManagerClient, vm_id: str, slot: int, disk_id: str, like: Mapping[str, Any] | None) -> None:
    like = like or {}
    # A CD is read-only; a disk that takes its slot is not.
    of_disk = disk_kind(reference(like, "virtualDiskId") or "", {}) == disk_kind(disk_id, {})
    body = {
        "virtualDiskId": simple_id("VirtualDisk", disk_id),
        "storageElementId": None,
        "diskTarget": slot,
        "diskWriteMode": (of_disk and text(like, "diskWriteMode")) or "READ_WRITE",
        "emulatedBlockDevice": of_disk and flag(like, "emulatedBlockDevice"),
    }
    client.run("POST", "Vm", vm_id, "VmDiskMapping", body=body)


def _put_back(
    client: ManagerClient,
    error: BaseException,
    vm_id: str,
    slot: int,
    disk_id: str | None,
    old: Mapping[str, Any] | None,
) -> None:
    """Let the slot hold again what it held, whatever of the exchange was carried out."""
    held = reference(old, "virtualDiskId") if old is not None else None
    try:
        _wait_until_unlocked(client, vm_id)
        now = _mapping(client, vm_id, slot)
        if now is not None and reference(now, "virtualDiskId") == held:
            return
        if now is not None and reference(now, "virtualDiskId") != disk_id:
            return  # somebody else's by now
        if now is not None:
            delete(client, "Vm", vm_id, "VmDiskMapping", object_id(now))
        if held is not None:
            _map(client, vm_id, slot, held, old)
    except ManagerError as problem:
        before = f"held virtual disk {held}" if held is not None else "was empty"
        add_problems(error, f"Slot {slot} {before} before, and could not be given back", [problem.message])


def _wait_until_unlocked(client: ManagerClient, vm_id: str) -> None:
    """Let a job end whose answer got lost: until then the slot is not what it will be (ovm-rest-api 3.2, locked)."""
    deadline = client.clock() + client.conflict_timeout
    while flag(client.get("Vm", vm_id), "locked") and client.clock() < deadline:
        client.sleep(_PAUSE)
