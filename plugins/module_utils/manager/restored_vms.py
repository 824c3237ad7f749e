# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""VMs that a restore makes, and the settings of those that it restores in place (ovm-rest-api 9, 10.3, 14.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInputError, ManagerError, ManagerResponseError, NotFoundError, PowerStateError
from .clone_records import check_run_id, unmarked
from .clone_removal import delete
from .networks import read_networks
from .objects import number, object_id, object_name, optional_text, reference, simple_id, text
from .restored import begun, claim, given, is_of_run, make, new_mark, restore_mark
from .slots import check_new_disk, map_disk

if TYPE_CHECKING:
    from .client import ManagerClient

Nics = Sequence["tuple[str | None, str]"]  # MAC, which the manager makes where there is none, and network

# What of a saved VM is set again. Not C(pinnedCpus): the processors of another server are others.
SETTINGS = (
    "description",
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
    nics = client.children("Vm", vm_id, "VirtualNic")
    return RestoredVm(
        vm_id,
        object_name(item),
        text(item, "vmRunState"),
        mark.run_id if mark is not None else None,
        tuple(sorted(disks)),
        tuple((optional_text(nic, "macAddress"), reference(nic, "networkId")) for nic in nics),
    )


@dataclass(frozen=True)
class WantedVm:
    """What a restore needs. C(definition) has the fields of the manager's Vm object, the ids as texts."""

    name: str
    definition: Mapping[str, Any]
    disks: Sequence[tuple[int, str]] = ()
    nics: Nics = ()
    source_vm_id: str | None = None

    @property
    def repository_id(self) -> str:
        """Where vm.cfg goes."""
        return str(self.definition["repositoryId"])

    def check(self, client: ManagerClient, vm_id: str | None) -> None:
        """Raise for everything that the manager would refuse half-way; C(vm_id) is the VM if it is there already."""
        if not self.name:
            raise InvalidInputError("name is empty", option="name")
        for key in ("repositoryId", "serverPoolId"):
            if not isinstance(self.definition.get(key), str) or not self.definition[key]:
                raise InvalidInputError(
                    f"definition.{key} is missing: a VM cannot be made without it", option="definition"
                )
        given(client, "Repository", self.repository_id, "definition.repositoryId", "storage repository")
        given(client, "ServerPool", self.definition["serverPoolId"], "definition.serverPoolId", "server pool")
        if self.definition.get("serverId"):
            server = given(client, "Server", self.definition["serverId"], "definition.serverId", "server")
            pool_id = reference(server, "serverPoolId")
            if pool_id != self.definition["serverPoolId"]:
                raise InvalidInputError(
                    f"Server {self.definition['serverId']} is in server pool {pool_id}, not in "
                    f"{self.definition['serverPoolId']}, which the definition names",
                    option="definition",
                )
        slots = [slot for slot, _disk_id in self.disks]
        if len(set(slots)) != len(slots):
            raise InvalidInputError(f"disks: a slot can hold one disk, the slots are {sorted(slots)}", option="disks")
        for slot, disk_id in self.disks:
            check_new_disk(client, vm_id, slot, disk_id)
        self._check_nics(client, vm_id)

    def _check_nics(self, client: ManagerClient, vm_id: str | None) -> None:
        networks = read_networks(client) if self.nics else {}
        for _mac, network_id in self.nics:
            network = networks.get(network_id)
            if network is None or not network.for_vms:
                why = "is not on this manager" if network is None else f"({network.name}) is not for VMs"
                fitting = sorted(f"{one.name} ({one.id})" for one in networks.values() if one.for_vms)
                raise InvalidInputError(
                    f"Network {network_id} {why}; there are {', '.join(fitting) or 'none'}", option="nics"
                )
        wanted = [mac.lower() for mac, _network_id in self.nics if mac is not None]
        others = [nic for nic in client.list("VirtualNic") if reference(nic, "vmId") != vm_id] if wanted else []
        taken = {text(nic, "macAddress").lower(): reference(nic, "vmId") for nic in others}
        for mac in wanted:
            if mac in taken or wanted.count(mac) > 1:
                whose = f"VM {taken[mac]} has it" if mac in taken else "it is given twice"
                raise InvalidInputError(f"MAC address {mac} cannot be used: {whose}", option="nics")


def supported_os_types(client: ManagerClient) -> frozenset[str]:
    """Return the values that osType may have, none if the manager does not tell (ovm-rest-api 9.2)."""
    try:
        found = client.get("Vm", "SupportedOsTypes").get("strings")
    except (NotFoundError, ManagerResponseError):
        return frozenset()
    return frozenset(map(str, found)) if isinstance(found, list) else frozenset()


def find_vm(client: ManagerClient, run_id: str) -> tuple[str | None, bool]:
    """Return the id of the VM that a run made, and whether its mark has that id."""
    check_run_id(run_id)
    found = None
    for item in client.list("Vm"):
        mark = restore_mark(client, item)
        if mark is not None and mark.run_id == run_id:
            if mark.own_id is not None:
                return object_id(item), True
            found = found or object_id(item)
    return found, False


def ensure_vm(
    client: ManagerClient, wanted: WantedVm, *, run_id: str, check: bool = False
) -> tuple[RestoredVm | None, bool]:
    """Make the VM of a run with its disks and NICs, or finish one that an interrupted call began. C(check): only look.

    Returns the VM, nothing if it would have to be made, and whether anything was done.
    """
    vm_id, claimed = find_vm(client, run_id)
    wanted.check(client, vm_id)
    if not check and not claimed:
        vm_id = _make(client, wanted, run_id, vm_id)
    if vm_id is None:
        return None, True
    known, other = describe_vm(client, vm_id), False
    if claimed:
        _check_same(client.get("Vm", vm_id), wanted, run_id)
        settings = {key: value for key, value in settings_of(wanted.definition).items() if value != ""}
        other = bool(change_vm(client, vm_id, settings, check=check))
    disks = [disk for disk in wanted.disks if disk not in known.disks]
    nics = _missing(wanted.nics, known.nics)
    changed = not claimed or other or bool(disks) or bool(nics)
    if check or not changed:
        return known, changed
    for slot, disk_id in disks:
        map_disk(client, vm_id, slot, disk_id)
    for mac, network_id in nics:
        nic: dict[str, Any] = {"networkId": simple_id("Network", network_id)}
        if mac is not None:
            nic.update(name=mac, macAddress=mac)
        client.run("POST", "Vm", vm_id, "VirtualNic", body=nic)
    return describe_vm(client, vm_id), True


def _check_same(item: Mapping[str, Any], wanted: WantedVm, run_id: str) -> None:
    """Raise C(InvalidInputError) when what a run has made cannot become what it wants now."""
    pairs = {"name": (wanted.name, object_name(item))}
    for key in ("repositoryId", "serverPoolId"):
        pairs[f"definition.{key}"] = (str(wanted.definition[key]), reference(item, key) or "")
    other = [f"{key} is {there!r}, not {value!r}" for key, (value, there) in pairs.items() if value != there]
    if other:
        raise InvalidInputError(
            f"VM {object_name(item)} ({object_id(item)}), which run {run_id} has made, is another one: "
            f"{'; '.join(other)}: remove it, or use another run_id",
            option="run_id",
        )


def change_vm(
    client: ManagerClient, vm_id: str, definition: Mapping[str, Any], *, check: bool = False
) -> dict[str, Any]:
    """Set the fields of an existing VM as they were saved; return those that had others. C(check): only look.

    A field that is given as null gets no value. If it fails, C(previous) in the error has the fields that may have been
    changed all the same.
    """
    current = client.get("Vm", vm_id)
    known = {**current, "description": unmarked(text(current, "description"))}
    wanted = {**{key: None for key in SETTINGS if key in definition}, **settings_of(definition)}
    changes = {key: value for key, value in wanted.items() if value != known.get(key)}
    previous = {key: known.get(key) for key in changes}
    if changes and not check:
        mark = restore_mark(client, current)
        if mark is not None and "description" in changes:
            changes["description"] = mark.description(changes["description"] or "")
        try:
            client.modify("Vm", vm_id, changes)
        except ManagerError as error:
            error.details["previous"] = previous
            raise
    return previous


def remove_vm(client: ManagerClient, run_id: str, *, vm_id: str | None = None, check: bool = False) -> str | None:
    """Remove the VM that a run made; its virtual disks stay. Return its id, or nothing if there is none.

    Raises C(PowerStateError) when it is not stopped: somebody uses it; C(InvalidInputError) when C(vm_id) is another.
    """
    if vm_id is None:
        vm_id, _claimed = find_vm(client, run_id)
    try:
        vm = client.get("Vm", vm_id) if vm_id is not None else None
    except NotFoundError:
        vm = None
    if vm is None or vm_id is None:
        return None
    name, state = object_name(vm), text(vm, "vmRunState")
    if not is_of_run(client, vm, run_id):
        raise InvalidInputError(
            f'VM "{name}" ({vm_id}) was not made by run {run_id}: it is not removed', option="vm_id"
        )
    if state != "STOPPED":
        raise PowerStateError(
            f'The VM "{name}" of restore {run_id} is {state}: stop it, then it can be removed.',
            vm_id=vm_id,
            vm_name=name,
            state=state,
        )
    if not check:
        delete(client, "Vm", vm_id)
    return vm_id


def settings_of(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a definition is set, without the mark of whoever had marked the VM when it was saved."""
    found = {key: definition[key] for key in SETTINGS if definition.get(key) is not None}
    if "description" in found:
        found["description"] = unmarked(str(found["description"]))
    return found


def _make(client: ManagerClient, wanted: WantedVm, run_id: str, vm_id: str | None) -> str:
    """Make the empty VM, unless C(vm_id) is one that was only begun, and write its id into its mark."""
    mark = new_mark(client, run_id, wanted.source_vm_id)
    settings = settings_of(wanted.definition)
    words = settings.get("description", "")

    def remove(made: str) -> None:
        delete(client, "Vm", made)

    if vm_id is None:
        body = {
            **settings,
            "name": wanted.name,
            "description": mark.description(words),
            "repositoryId": simple_id("Repository", wanted.repository_id),
            "serverPoolId": simple_id("ServerPool", wanted.definition["serverPoolId"]),
        }
        if wanted.definition.get("serverId"):
            body["serverId"] = simple_id("Server", wanted.definition["serverId"])
        vm_id = make(
            client,
            "Vm",
            body=body,
            find=lambda: begun(client, "Vm", mark, wanted.name, wanted.repository_id),
            remove=remove,
        )
    claim(client, "Vm", vm_id, mark, remove, words=words)
    return vm_id


def _missing(wanted: Nics, known: Sequence[tuple[str | None, str | None]]) -> list[tuple[str | None, str]]:
    """Return the NICs that a VM has not yet; one without a MAC is any that no other one is."""
    left, missing = list(known), set()
    for index in sorted(range(len(wanted)), key=lambda number_: wanted[number_][0] is None):
        mac, network_id = wanted[index]
        fitting = (
            one for one in left if one[1] == network_id and (mac is None or mac.lower() == (one[0] or "").lower())
        )
        found = next(fitting, None)
        if found is None:
            missing.add(index)
        else:
            left.remove(found)
    return [wanted[index] for index in sorted(missing)]
