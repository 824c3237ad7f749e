# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""VMs that a restore makes, and what is mapped in the slots of one (ovm-rest-api 9.2, 10.1, 10.3, 14.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInputError, ManagerResponseError, NotFoundError, PowerStateError
from .clone_records import Mark, check_run_id, unmarked
from .objects import number, object_id, object_name, optional_text, reference, simple_id, text
from .restored_disks import restore_mark

if TYPE_CHECKING:
    from .client import ManagerClient
    from .inventory import Vm

# What of a saved VM is set again. Not C(pinnedCpus): the processors of another server are others.
SETTINGS = (
    "vmDomainType",
    "osType",
    "cpuCount",
    "cpuCountLimit",
    "cpuPriority",
    "cpuUtilizationCap",
    "memory",
    "memoryLimit",
    "hugePagesEnabled",
    "highAvailability",
    "bootOrder",
    "keymapName",
    "vmMouseType",
    "vmStartPolicy",
    "restartActionOnCrash",
    "restartActionOnPowerOff",
    "restartActionOnRestart",
    "networkInstallPath",
)


@dataclass(frozen=True)
class RestoredVm:
    """A VM as a restore sees it. C(disks) are (slot, virtual disk), C(nics) (MAC, network)."""

    id: str
    name: str
    state: str
    run_id: str | None
    disks: tuple[tuple[int, str], ...]
    nics: tuple[tuple[str | None, str | None], ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "run_id": self.run_id,
            "disks": [{"slot": slot, "virtual_disk_id": disk_id} for slot, disk_id in self.disks],
            "nics": [{"mac": mac, "network_id": network_id} for mac, network_id in self.nics],
        }


def describe_vm(client: ManagerClient, vm_id: str) -> RestoredVm:
    """Return a VM. Raises C(NotFoundError)."""
    item = client.get("Vm", vm_id)
    mark = restore_mark(client, item)
    disks = [
        (slot, disk_id)
        for slot, disk_id in (
            (number(mapping, "diskTarget"), reference(mapping, "virtualDiskId"))
            for mapping in client.children("Vm", vm_id, "VmDiskMapping")
        )
        if slot is not None and disk_id is not None
    ]
    nics = sorted(client.children("Vm", vm_id, "VirtualNic"), key=object_id)
    return RestoredVm(
        vm_id,
        object_name(item),
        text(item, "vmRunState"),
        mark.run_id if mark is not None else None,
        tuple(sorted(disks)),
        tuple((optional_text(nic, "macAddress"), reference(nic, "networkId")) for nic in nics),
    )


def find_vm(client: ManagerClient, run_id: str) -> str | None:
    """Return the id of the VM that a run made."""
    check_run_id(run_id)
    for item in client.list("Vm"):
        mark = restore_mark(client, item)
        # A description is copied along when somebody clones the VM: the first one is the run's.
        if mark is not None and mark.run_id == run_id and mark.clone_id is None:
            return object_id(item)
    return None


def made_by_restores(client: ManagerClient, vms: Mapping[str, Vm]) -> dict[str, str]:
    """Return, by the id of the VM, the restores that made VMs and have not finished them."""
    marks = {vm_id: restore_mark(client, {"description": vm.description}) for vm_id, vm in vms.items()}
    return {vm_id: mark.run_id for vm_id, mark in marks.items() if mark is not None}


def ensure_vm(
    client: ManagerClient,
    *,
    name: str,
    run_id: str,
    source_vm_id: str,
    definition: Mapping[str, Any],
    disks: Sequence[tuple[int, str]],
    nics: Sequence[tuple[str | None, str]],
) -> tuple[RestoredVm, bool]:
    """Make the VM of a run with its disks and NICs, or finish one that an interrupted call began.

    C(definition) has the fields of the manager's Vm object, C(repositoryId) and C(serverPoolId) among them as ids.
    Returns the VM and whether anything was done.
    """
    vm_id = find_vm(client, run_id)
    changed = vm_id is None
    if vm_id is None:
        body = {
            **{key: definition[key] for key in SETTINGS if definition.get(key) is not None},
            "name": name,
            "description": Mark("restore", client.manager_id, source_vm_id, run_id).description(),
            "repositoryId": simple_id("Repository", definition["repositoryId"]),
            "serverPoolId": simple_id("ServerPool", definition["serverPoolId"]),
        }
        if definition.get("serverId"):
            body["serverId"] = simple_id("Server", definition["serverId"])
        vm_id = _made(client.run("POST", "Vm", body=body))
    known = describe_vm(client, vm_id)
    for slot, disk_id in disks:
        if (slot, disk_id) not in known.disks:
            map_disk(client, vm_id, slot, disk_id)
            changed = True
    for mac, network_id in nics[len(known.nics) :]:  # they are made in this order
        nic: dict[str, Any] = {"networkId": simple_id("Network", network_id)}
        if mac is not None:
            nic.update(name=mac, macAddress=mac)
        client.run("POST", "Vm", vm_id, "VirtualNic", body=nic)
        changed = True
    return describe_vm(client, vm_id) if changed else known, changed


def change_vm(client: ManagerClient, vm_id: str, definition: Mapping[str, Any], *, check: bool = False) -> bool:
    """Set the fields of an existing VM as they were saved; return whether any was another. C(check): only look."""
    current = client.get("Vm", vm_id)
    changes = {
        key: definition[key]
        for key in SETTINGS
        if definition.get(key) is not None and definition[key] != current.get(key)
    }
    if changes and not check:
        client.modify("Vm", vm_id, changes)
    return bool(changes)


def remove_vm(client: ManagerClient, run_id: str, *, check: bool = False) -> str | None:
    """Remove the VM that a run made; its virtual disks stay. Return its id, or nothing if there is none.

    Raises C(PowerStateError) when it is not stopped: somebody uses it.
    """
    vm_id = find_vm(client, run_id)
    if vm_id is None:
        return None
    known = describe_vm(client, vm_id)
    if known.state != "STOPPED":
        raise PowerStateError(
            f'The VM "{known.name}" of restore {run_id} is {known.state}: stop it, then it can be removed.',
            vm_id=vm_id,
            vm_name=known.name,
            state=known.state,
        )
    if not check:
        client.run("DELETE", "Vm", vm_id, repeatable=True)
    return vm_id


def slot_of(client: ManagerClient, vm_id: str, slot: int) -> tuple[str, str | None] | None:
    """Return the mapping in a slot and its virtual disk, which a physical disk has not; nothing if it is empty."""
    found = [one for one in client.children("Vm", vm_id, "VmDiskMapping") if number(one, "diskTarget") == slot]
    return (object_id(found[0]), reference(found[0], "virtualDiskId")) if found else None


def map_disk(
    client: ManagerClient, vm_id: str, slot: int, disk_id: str | None, *, check: bool = False
) -> tuple[str | None, bool]:
    """Let a slot hold a virtual disk, or nothing; return what it held, and whether that was something else.

    A mapping cannot be changed, only made anew (ovm-rest-api 10.1). If the new one fails, the old one is made again.
    Raises C(PowerStateError) for a VM that is not stopped, C(InvalidInputError) for a slot with a physical disk.
    """
    vm = client.get("Vm", vm_id)
    if text(vm, "vmRunState") != "STOPPED":
        raise PowerStateError(
            f'VM "{object_name(vm)}" is {text(vm, "vmRunState")}: its disks are changed only while it is stopped.',
            vm_id=vm_id,
            vm_name=object_name(vm),
            state=text(vm, "vmRunState"),
        )
    found = slot_of(client, vm_id, slot)
    held = found[1] if found is not None else None
    if found is not None and held is None:
        raise InvalidInputError(
            f'Slot {slot} of VM "{object_name(vm)}" holds a physical disk: it is not replaced', option="slot"
        )
    if held == disk_id or check:
        return held, held != disk_id
    if found is not None:
        client.run("DELETE", "Vm", vm_id, "VmDiskMapping", found[0], repeatable=True)
    try:
        if disk_id is not None:
            _map(client, vm_id, slot, disk_id)
    except BaseException:
        if held is not None:
            _map(client, vm_id, slot, held)
        raise
    return held, True


def refresh(client: ManagerClient, repository_id: str) -> None:
    """Let the manager learn how full the file system of a storage repository is (ovm-rest-api 14.5)."""
    file_system_id = reference(client.get("Repository", repository_id), "fileSystemId")
    if file_system_id is not None:
        client.run("PUT", "FileSystem", file_system_id, "refresh", repeatable=True)


def release(client: ManagerClient, kind: str, object_id_: str, *, run_id: str, check: bool = False) -> bool:
    """Take the mark of a run off a finished object, so that nothing removes it as a leftover; return if it had one.

    The manager learns how much space a disk takes by now.
    """
    try:
        item = client.get(kind, object_id_)
    except NotFoundError:
        return False
    mark = restore_mark(client, item)
    if mark is None or mark.run_id != run_id:
        return False
    if not check:
        client.modify(kind, object_id_, {"description": unmarked(text(item, "description"))})
        repository_id = reference(item, "repositoryId")
        if kind == "VirtualDisk" and repository_id is not None:
            refresh(client, repository_id)
    return True


def _map(client: ManagerClient, vm_id: str, slot: int, disk_id: str) -> None:
    body = {
        "virtualDiskId": simple_id("VirtualDisk", disk_id),
        "storageElementId": None,
        "diskTarget": slot,
        "diskWriteMode": "READ_WRITE",
        "emulatedBlockDevice": False,
    }
    client.run("POST", "Vm", vm_id, "VmDiskMapping", body=body)


def _made(job: Mapping[str, Any]) -> str:
    found = reference(job, "resultId")
    if found is None:
        raise ManagerResponseError(f'Oracle VM Manager finished "{text(job, "name")}" without a result.')
    return found
