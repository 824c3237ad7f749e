# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Virtual machines: create, delete, tell the operating systems (ovm-rest-api 9)."""

from __future__ import annotations

from typing import Any

from ..call import Call, Reply, action, null_argument
from ..errors import ApiError, not_stopped
from ..jobs import Run, Work
from ..store import Obj, Ref, new_id
from ..world import World

OS_TYPES = [
    *(f"Oracle Linux {n}" for n in (4, 5, 6, 7)),
    *(f"Oracle Solaris {n}" for n in (10, 11)),
    "Other Oracle Solaris",
    *(f"Red Hat Enterprise Linux {n}" for n in (4, 5, 6, 7)),
    "Other Linux",
    *(f"Microsoft Windows {n}" for n in ("Vista", 7, 8, 10)),
    *(f"Microsoft Windows Server {n}" for n in (2003, 2008, 2012, 2016)),
    "Other Microsoft Windows",
]

DEFAULTS: dict[str, Any] = {
    "vmRunState": "STOPPED",
    "cpuPriority": 50,
    "memory": 1024,
    "memoryLimit": 1024,
    "hugePagesEnabled": False,
    "cpuCount": 1,
    "cpuCountLimit": 1,
    "cpuUtilizationCap": 100,
    "highAvailability": False,
    "bootOrder": ["DISK"],
    "vmMouseType": "OS_DEFAULT",
    "osType": "Other Linux",
    "vmDomainType": "XEN_HVM",
    "repositoryId": None,
    "serverPoolId": None,
    "networkInstallPath": "",
    "origin": "",
    "keymapName": "en-us",
    "serverId": None,
    "vmStartPolicy": "USE_POOL_POLICY",
    "restartActionOnCrash": "RESTART",
    "restartActionOnPowerOff": "STOP",
    "restartActionOnRestart": "RESTART",
    "pinnedCpus": None,
}
# Disks and NICs that a guest of a domain type may have (ovm-rest-api 16.1).
DISK_LIMITS = {"XEN_HVM": 4, "XEN_HVM_PV_DRIVERS": 107, "XEN_PVM": 107}
NIC_LIMITS = {"XEN_HVM": 8, "XEN_HVM_PV_DRIVERS": 31, "XEN_PVM": 31}

_ENUMS = {
    "vmDomainType": {"XEN_HVM", "XEN_HVM_PV_DRIVERS", "XEN_PVM", "LDOMS_PVM", "UNKNOWN"},
    "vmMouseType": {"OS_DEFAULT", "PS2_MOUSE", "USB_MOUSE", "USB_TABLET"},
    "vmStartPolicy": {"BEST_SERVER", "CURRENT_SERVER", "USE_POOL_POLICY"},
    "restartActionOnCrash": {"RESTART", "STOP"},
    "restartActionOnPowerOff": {"RESTART", "STOP"},
    "restartActionOnRestart": {"RESTART", "STOP"},
}


def check_values(values: dict[str, Any]) -> None:
    """VM_000004 for a wrong guest system, GEN_000023 for other values that the manager does not know."""
    for name, value in values.items():
        if name == "osType" and value is not None and value not in OS_TYPES:
            raise ApiError("VM_000004", f'The OS type "{value}" is not supported')
        if name in _ENUMS and value is not None and value not in _ENUMS[name]:
            raise ApiError("GEN_000023", f'The value "{value}" of "{name}" is not valid')
        default = DEFAULTS.get(name)
        if default is not None and value is not None and type(value) is not type(default):
            raise ApiError("GEN_000023", f'The value "{value}" of "{name}" is not valid')


def check_server(world: World, server: Ref | None, pool: Ref | None) -> None:
    """VM_000002 for a server that is not in the pool of the VM."""
    member = world.store.find(server)
    if member is not None and member["serverPoolId"] != pool:
        raise ApiError("VM_000002", f"Server {member.name} is not in the server pool of the Virtual Machine")


def make_vm(world: World, name: str, **values: Any) -> Obj:
    """A new VM object with the manager's defaults."""
    fields = {**DEFAULTS, **{key: value for key, value in values.items() if value is not None}}
    fields["bootOrder"] = list(fields["bootOrder"])
    fields["diskLimit"] = DISK_LIMITS.get(fields["vmDomainType"], 4)
    for guest in ("osVersion", "kernelVersion", "guestDriverVersion", "vmApiVersion", "architecture"):
        fields.setdefault(guest, None)
    return world.store.add("Vm", new_id("Vm"), name=name, **fields)


def remove_vm(world: World, vm: Obj) -> None:
    """Take a VM away with its mappings, NICs, definitions and tags; its virtual disks stay."""
    store = world.store
    for definition in store.back("VmCloneDefinition", "vmId", vm.ref):
        remove_definition(world, definition)
    for type_ in ("VmDiskMapping", "VirtualNic"):
        for child in store.back(type_, "vmId", vm.ref):
            store.remove(child.ref)
    for group in store.back("ResourceGroup", "resourceIds", vm.ref):
        group["resourceIds"].remove(vm.ref)
        store.touch(group.ref)
    store.touch(vm["repositoryId"], vm["serverPoolId"], vm["serverId"])
    store.remove(vm.ref)


def remove_definition(world: World, definition: Obj) -> None:
    """Take a clone definition away with its mappings (ovm-rest-api 11.1)."""
    for type_ in ("VmCloneStorageMapping", "VmCloneNetworkMapping"):
        for mapping in world.store.back(type_, "vmCloneDefinitionId", definition.ref):
            world.store.remove(mapping.ref)
    world.store.remove(definition.ref)


@action("POST", "Vm")
def create(call: Call) -> Obj:
    document = call.new_document()
    repository = call.reference("Repository", document.get("repositoryId"), "repositoryId")
    pool = call.reference("ServerPool", document.get("serverPoolId"), "serverPoolId")
    server = call.reference("Server", document.get("serverId"), "serverId")
    if repository is None:
        raise null_argument("repositoryId")
    if pool is None and call.world.switches["create_vm_without_pool"] == "refuse":
        raise null_argument("serverPoolId")
    if document.get("vmRunState") == "TEMPLATE":
        raise ApiError("VM_000001", "A template cannot be created")
    check_server(call.world, server, pool)
    values = {key: document[key] for key in DEFAULTS if document.get(key) is not None}
    for name in ("vmRunState", "repositoryId", "serverPoolId", "serverId"):
        values.pop(name, None)
    check_values(values)
    name = str(document.get("name") or "")

    def work(run: Run) -> Work:
        yield call.world.jobs.job_seconds
        call.world.worker(repository)
        vm = make_vm(
            call.world,
            name,
            **values,
            repositoryId=repository,
            serverPoolId=pool,
            serverId=server or _server(call, pool),
        )
        vm["description"] = document.get("description") or ""
        call.world.store.touch(repository, pool)
        return vm.ref

    return call.submit("vm.create", f"Create Vm: {name}", work, serial=[repository])


def _server(call: Call, pool: Ref | None) -> Ref | None:
    members = call.world.store.back("Server", "serverPoolId", pool) if pool else []
    return members[0].ref if members else None


@action("DELETE", "Vm")
def delete(call: Call) -> Obj:
    vm, world = call.obj, call.world
    world.jobs.refuse_locked([vm.ref])

    def check() -> None:
        if vm["vmRunState"] not in ("STOPPED", "TEMPLATE"):
            raise not_stopped(vm.name, vm["vmRunState"], world.now)

    world.rule_checks(check)

    def work(run: Run) -> Work:
        check()
        yield world.jobs.job_seconds
        remove_vm(world, vm)
        return None

    description = f"Delete Virtual Machine: {vm.name}"
    locks = [vm.ref]
    return call.submit("vm.delete", f"Delete Vm: {vm.name}", work, description=description, locks=locks)


@action("GET", "Vm", "SupportedOsTypes")
def supported_os_types(call: Call) -> Reply:
    return Reply({"strings": OS_TYPES})
