# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What hangs on a VM: disk mappings and network cards (ovm-rest-api 10.1, 10.3)."""

from __future__ import annotations

import re
import secrets

from ..call import Call, action, null_argument
from ..errors import ApiError, not_stopped, rule, web_service
from ..jobs import Run, Work
from ..store import Obj, Ref, new_id
from ..world import World
from .vms import DISK_LIMITS, NIC_LIMITS

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def make_mapping(
    world: World, vm: Ref, slot: int, *, disk: Ref | None = None, element: Ref | None = None, mode: str = "READ_WRITE"
) -> Obj:
    """A mapping of a virtual or physical disk; its name is the manager's default."""
    which = disk or element
    assert which is not None
    return world.store.add(
        "VmDiskMapping",
        new_id("VmDiskMapping"),
        name=f"Mapping for disk Id ({which.id})",
        vmId=vm,
        virtualDiskId=disk,
        storageElementId=element,
        diskTarget=slot,
        emulatedBlockDevice=False,
        diskWriteMode=mode,
    )


def check_slot(world: World, vm: Obj, slot: int, ignore: Obj | None = None) -> None:
    """GEN_000015 or a rule error for a slot that cannot be used."""
    if isinstance(slot, bool) or not isinstance(slot, int) or not 0 <= slot <= 1_000_000:
        raise ApiError("GEN_000015", f"The value {slot} of diskTarget is out of range")
    for mapping in world.store.back("VmDiskMapping", "vmId", vm.ref):
        if mapping["diskTarget"] == slot and mapping is not ignore:
            text = f"Cannot map a disk to slot {slot} of Virtual Machine: {vm.name}, it is in use."
            raise rule("OVMRU_005020E", text, world.now)


@action("POST", "Vm", "VmDiskMapping")
def create_mapping(call: Call) -> Obj:
    document, vm, world = call.new_child("vmId"), call.obj, call.world
    disk = call.reference("VirtualDisk", document.get("virtualDiskId"), "virtualDiskId")
    element = call.reference("StorageElement", document.get("storageElementId"), "storageElementId")
    if (disk is None) == (element is None):
        raise ApiError("VM_DISK_MAPPING_000003", "One of virtual disk or storage element must be supplied")
    if document.get("diskTarget") is None:
        raise null_argument("diskTarget")
    slot = document["diskTarget"]
    cdrom = disk is not None and world.store.get(*disk)["diskType"] == "VIRTUAL_CDROM"
    mode = "READ_ONLY" if cdrom else document.get("diskWriteMode") or "READ_WRITE"
    if mode not in ("READ_WRITE", "READ_ONLY"):
        raise ApiError("GEN_000023", f'The value "{mode}" of "diskWriteMode" is not valid')
    if not isinstance(slot, int):
        check_slot(world, vm, slot)

    def check() -> None:
        _check_running(world, vm)
        check_slot(world, vm, slot)
        _check_limit(world, vm, "VmDiskMapping", DISK_LIMITS, "disks")
        _check_sharing(world, vm, disk, element)

    world.rule_checks(check)

    def work(run: Run) -> Work:
        check()
        yield world.jobs.job_seconds
        mapping = make_mapping(world, vm.ref, slot, disk=disk, element=element, mode=mode)
        mapping["name"] = document.get("name") or mapping.name
        mapping["description"] = document.get("description") or ""
        mapping["emulatedBlockDevice"] = bool(document.get("emulatedBlockDevice"))
        world.store.touch(vm.ref, disk, element)
        return mapping.ref

    which = disk or element
    assert which is not None
    name = f"Create VM Disk Mapping: Mapping for disk Id ({which.id}) on VM: {vm.name}"
    return call.submit("mapping.create", name, work, locks=[vm.ref])


def _check_running(world: World, vm: Obj) -> None:
    if world.switches["map_to_running_vm"] == "refuse" and vm["vmRunState"] not in ("STOPPED", "TEMPLATE"):
        raise not_stopped(vm.name, vm["vmRunState"], world.now)


def _check_limit(world: World, vm: Obj, type_: str, limits: dict[str, int], what: str) -> None:
    limit = limits.get(vm["vmDomainType"])
    if limit is None or not world.switches["guest_limits"]:
        return
    if len(world.store.back(type_, "vmId", vm.ref)) >= limit:
        text = f"Virtual Machine: {vm.name} of type {vm['vmDomainType']} can have at most {limit} {what}."
        raise rule("OVMRU_005022E", text, world.now)


def _check_sharing(world: World, vm: Obj, disk: Ref | None, element: Ref | None) -> None:
    for ref, field in ((disk, "virtualDiskId"), (element, "storageElementId")):
        obj = world.store.find(ref)
        if ref is None:
            continue
        if obj is None:  # deleted since the request
            raise web_service("GEN_000002", f"Object with id {ref.id} of type {ref.type} was not found")
        if obj["shareable"]:
            continue
        if world.store.back("VmDiskMapping", field, ref):
            text = f"Cannot map {obj.name} to Virtual Machine: {vm.name}, it is in use and not shareable."
            raise rule("OVMRU_005021E", text, world.now)


@action("DELETE", "Vm", "VmDiskMapping")
def delete_mapping(call: Call) -> Obj:
    mapping = child(call, "VmDiskMapping", "vmId")
    return _delete_mapping(call, mapping)


@action("DELETE", "VmDiskMapping")
def delete_mapping_itself(call: Call) -> Obj:
    return _delete_mapping(call, call.obj)


def _delete_mapping(call: Call, mapping: Obj) -> Obj:
    vm = call.world.store.get(*mapping["vmId"])
    call.world.rule_checks(lambda: _check_running(call.world, vm))

    def work(run: Run) -> Work:
        _check_running(call.world, vm)
        yield call.world.jobs.job_seconds
        for storage in call.world.store.back("VmCloneStorageMapping", "vmDiskMappingId", mapping.ref):
            call.world.store.remove(storage.ref)
        call.world.store.remove(mapping.ref)
        call.world.store.touch(vm.ref, mapping["virtualDiskId"], mapping["storageElementId"])
        return None

    name = f"Delete VM Disk Mapping: {mapping.name} on VM: {vm.name}"
    return call.submit("mapping.delete", name, work, locks=[vm.ref, mapping.ref])


def child(call: Call, type_: str, field: str) -> Obj:
    """The child named in the path; GEN_000007 if it belongs to another parent."""
    assert call.child_id is not None
    obj = call.world.store.get(type_, call.child_id)
    if obj[field] != call.obj.ref:
        raise ApiError("GEN_000007", f"{type_} {obj.name} does not belong to {call.obj.type} {call.obj.name}")
    return obj


def new_mac(world: World) -> str:
    """A MAC of the manager's pool that no NIC has."""
    taken = {nic["macAddress"] for nic in world.store.all("VirtualNic")}
    while True:
        tail = secrets.token_hex(3)
        mac = f"00:21:f6:{tail[:2]}:{tail[2:4]}:{tail[4:]}"
        if mac not in taken:
            return mac


def make_nic(world: World, vm: Ref, network: Ref, mac: str | None, *, template: bool = False) -> Obj:
    """A network card; those of templates are dummies without a MAC (ovm-rest-api 10.3)."""
    return world.store.add(
        "VirtualNic",
        new_id("VirtualNic"),
        name="Template Vnic" if template else mac,
        description="A dummy vnic used only for templates" if template else "",
        macAddress=None if template else mac,
        ipAddresses=[],
        interfaceName="",
        vmId=vm,
        networkId=network,
    )


def check_mac(world: World, mac: str, ignore: Obj | None = None) -> None:
    """NETWORK_000006 if a NIC has this MAC already, GEN_000023 if it is none."""
    if not _MAC.fullmatch(mac):
        raise ApiError("GEN_000023", f'The value "{mac}" of "macAddress" is not valid')
    if any(nic["macAddress"] == mac and nic is not ignore for nic in world.store.all("VirtualNic")):
        raise ApiError("NETWORK_000006", f"The MAC address {mac} is in use")


@action("POST", "Vm", "VirtualNic")
def create_nic(call: Call) -> Obj:
    document, vm, world = call.new_child("vmId"), call.obj, call.world
    network = call.required_reference("Network", "networkId")
    given = document.get("macAddress")
    if given and vm["vmRunState"] == "TEMPLATE":
        raise ApiError("NETWORK_000009", "A virtual NIC of a template cannot have a MAC address")
    mac = str(given).lower() if given else new_mac(world)
    check_mac(world, mac)
    if "VIRTUAL_MACHINE" not in world.store.get(*network)["roles"]:
        raise ApiError("GEN_000023", "The network does not have the role VIRTUAL_MACHINE")

    def check() -> None:
        _check_limit(world, vm, "VirtualNic", NIC_LIMITS, "virtual NICs")

    world.rule_checks(check)

    def work(run: Run) -> Work:
        check()
        check_mac(world, mac)
        yield world.jobs.job_seconds
        nic = make_nic(world, vm.ref, network, mac, template=vm["vmRunState"] == "TEMPLATE")
        world.store.touch(vm.ref, network)
        return nic.ref

    return call.submit("nic.create", f"Create Virtual NIC: {mac} on VM: {vm.name}", work, locks=[vm.ref])


@action("DELETE", "Vm", "VirtualNic")
def delete_nic(call: Call) -> Obj:
    nic = child(call, "VirtualNic", "vmId")

    def work(run: Run) -> Work:
        yield call.world.jobs.job_seconds
        for mapping in call.world.store.back("VmCloneNetworkMapping", "virtualNicId", nic.ref):
            call.world.store.remove(mapping.ref)
        call.world.store.remove(nic.ref)
        call.world.store.touch(call.obj.ref, nic["networkId"])
        return None

    name = f"Delete Virtual NIC: {nic.name} on VM: {call.obj.name}"
    return call.submit("nic.delete", name, work, locks=[call.obj.ref, nic.ref])
