# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PUT of an object: optimistic generation, ids, what may be changed (ovm-rest-api 2.1, 3.2, row 21 of section 21)."""

from __future__ import annotations

from typing import Any

from ..call import Call, check_texts, to_ref
from ..clone_rules import CLONE_TYPES
from ..errors import ApiError, not_stopped
from ..jobs import Run, Work
from ..schema import MODIFIABLE, field
from ..store import Obj
from .mappings import check_mac, check_slot
from .vms import check_server, check_values

_MAPPING_ERRORS = {
    "vmId": "VM_DISK_MAPPING_000000",
    "virtualDiskId": "VM_DISK_MAPPING_000001",
    "storageElementId": "VM_DISK_MAPPING_000002",
}
# Of a VM that is not stopped these cannot be changed (ovm-rest-api 9.1, 5.2).
_STOPPED_ONLY = ("memoryLimit", "cpuCountLimit", "vmDomainType", "hugePagesEnabled")


def modify(call: Call) -> Obj:
    """Take over what the body changes; a job of its own."""
    obj, world = call.obj, call.world
    if obj.type == "Job":
        raise ApiError("JOB_000002", "A job cannot be modified")
    allowed = MODIFIABLE.get(obj.type)
    if allowed is None:
        raise ApiError("GEN_000012", f"Objects of type {obj.type} cannot be modified")
    document = call.document()
    _check_identity(call, document)
    world.jobs.refuse_locked([obj.ref])
    changes = _changes(call, document, allowed)
    _check_changes(call, changes)

    def work(run: Run) -> Work:
        _check_state(call, changes)
        yield world.jobs.job_seconds
        for name, value in changes.items():
            obj[name] = value
        world.store.touch(obj.ref)
        return obj.ref

    world.rule_checks(lambda: _check_state(call, changes))
    title = f"Edit {obj.type}: {obj.name}"
    return call.submit(f"{obj.type.lower()}.modify", title, work, locks=[obj.ref])


def _check_identity(call: Call, document: dict[str, Any]) -> None:
    given = document.get("id")
    identifier = given.get("value") if isinstance(given, dict) else given
    if identifier is not None and identifier != call.obj.id:
        raise ApiError("GEN_000006", f"The id in the URI, {call.obj.id}, is not the id of the object, {identifier}")
    if isinstance(given, dict):
        to_ref(call.world, call.obj.type, given, "id")
    generation = document.get("generation")
    if generation is None or not call.world.switches["check_generation"]:
        return
    if generation != call.obj.generation:
        raise ApiError("GEN_000011", f"The object {call.obj.name} is out of date")


def _changes(call: Call, document: dict[str, Any], allowed: set[str]) -> dict[str, Any]:
    """The fields of the body that are known and differ; others are passed over."""
    changes: dict[str, Any] = {}
    for name, value in document.items():
        item = field(call.obj.type, name)
        if item is not None and item.kind == "ref" and item.target is not None:
            value = call.reference(item.target, value, name)
        elif (
            item is not None
            and item.kind not in ("value", "computed")
            or item is None
            and name not in ("name", "description", "userData")
        ):
            continue
        if value == call.obj[name]:
            continue
        if call.obj.type == "VmDiskMapping" and name in _MAPPING_ERRORS:
            _check_mapping_change(call, name, value)
        if name in allowed:
            changes[name] = value
    return changes


def _check_mapping_change(call: Call, name: str, value: Any) -> None:
    # Only a CD may be swapped: for another one, or for the empty drive (ovm-rest-api 10.1, ejected CDs).
    old, new = call.world.store.find(call.obj[name]), call.world.store.find(value)
    cds = all(disk is not None and disk["diskType"] == "VIRTUAL_CDROM" for disk in (old, new))
    if name != "virtualDiskId" or not cds:
        raise ApiError(_MAPPING_ERRORS[name], f"The {name} of a disk mapping cannot be modified")


def _check_changes(call: Call, changes: dict[str, Any]) -> None:
    check_texts(changes)
    if None in (changes.get("name", ""), changes.get("description", "")):
        raise ApiError("GEN_000023", "A name or description cannot be null")
    if call.obj.type == "Vm":
        check_values(changes)
        check_server(call.world, changes.get("serverId"), call.obj["serverPoolId"])
    if call.obj.type == "VirtualNic" and changes.get("macAddress"):
        check_mac(call.world, str(changes["macAddress"]), call.obj)
    if changes.get("cloneType", "THIN_CLONE") not in CLONE_TYPES:
        raise ApiError("CLONE_TYPE_000000", f"The clone type {changes['cloneType']} is not valid")


def _check_state(call: Call, changes: dict[str, Any]) -> None:
    obj = call.obj
    alive = obj.type == "Vm" and obj["vmRunState"] not in ("STOPPED", "TEMPLATE")
    if alive and any(name in changes for name in _STOPPED_ONLY):
        raise not_stopped(obj.name, obj["vmRunState"], call.world.now)
    if obj.type == "VmDiskMapping" and "diskTarget" in changes:
        check_slot(call.world, call.world.store.get(*obj["vmId"]), changes["diskTarget"], obj)
