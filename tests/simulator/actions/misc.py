# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs, tags, pools and migration (ovm-rest-api 4.2, 7.2, 13, row 15 of section 21)."""

from __future__ import annotations

from typing import Any

from ..call import Call, Reply, action, null_argument, to_ref
from ..errors import ApiError
from ..jobs import Run, Work
from ..render import MODEL
from ..store import Obj, Ref, new_id
from .power import require_vm


@action("GET", "Job", "active")
def active_jobs(call: Call) -> Reply:
    return Reply([call.renderer.object(job, listed=True) for job in call.world.jobs.active()])


@action("GET", "Job", "id")
def job_ids(call: Call) -> Reply:
    """Ids of the jobs of a time window in milliseconds, newest ``maxJobs`` of them."""
    begin, end = _number(call, "startTime"), _number(call, "endTime")
    limit = _number(call, "maxJobs")
    jobs = call.world.store.all("Job")
    jobs = [
        job for job in jobs if (begin is None or job["startTime"] >= begin) and (end is None or job["startTime"] <= end)
    ]
    if limit is not None and limit > 0:
        jobs = jobs[max(len(jobs) - limit, 0) :]
    return Reply([call.renderer.simple_id(job.ref) for job in jobs])


def _number(call: Call, name: str) -> int | None:
    value = call.text(name)
    if value is None:
        return None
    try:
        return int(value)
    except ValueError:
        raise ApiError("JOB_000001", f'The filter argument "{name}" has the invalid value "{value}"') from None


@action("GET", "Job", "transcript")
def transcript(call: Call) -> Reply:
    return Reply(text=call.world.jobs.transcript(call.obj))


@action("PUT", "Job", "abort")
def abort(call: Call) -> Obj:
    call.world.jobs.abort(call.obj, call.user)
    return call.obj


# -- tags ----------------------------------------------------------------------------------------------------


@action("POST", "ResourceGroup")
def create_group(call: Call) -> Obj:
    document, world = call.new_document(), call.world
    name = document.get("name")
    if not name:
        raise null_argument("name")
    kind = document.get("type") or "USER_LABEL"
    if kind not in ("USER_LABEL", "VM_ISOLATION_GROUP"):
        raise ApiError("GEN_000023", f'The value "{kind}" of "type" is not valid')

    def work(run: Run) -> Work:
        yield world.jobs.job_seconds
        values: dict[str, Any] = {"description": document.get("description") or "", "resourceIds": [], "type": kind}
        return world.store.add("ResourceGroup", new_id("ResourceGroup"), name=str(name), **values).ref

    return call.submit("tag.create", f"Create Tag: {name}", work)


@action("DELETE", "ResourceGroup")
def delete_group(call: Call) -> Obj:
    def work(run: Run) -> Work:
        yield call.world.jobs.job_seconds
        call.world.store.remove(call.obj.ref)
        return None

    return call.submit("tag.delete", f"Delete Tag: {call.obj.name}", work, locks=[call.obj.ref])


def _member(call: Call) -> Ref:
    document = call.document()
    type_ = str(document.get("type") or "").removeprefix(MODEL)
    ref = to_ref(call.world, type_, document, "resource") if type_ else None
    if ref is None:
        raise null_argument("resource")
    return ref


def _change_group(call: Call, ref: Ref, *, add: bool) -> Obj:
    group, world = call.obj, call.world

    def work(run: Run) -> Work:
        yield world.jobs.job_seconds
        members = [member for member in group["resourceIds"] if member != ref]
        group["resourceIds"] = [*members, ref] if add else members
        world.store.touch(group.ref, ref)
        return None

    title = f"{'Add to' if add else 'Remove from'} Tag: {group.name}"
    return call.submit("tag.change", title, work, locks=[group.ref, ref])


@action("PUT", "ResourceGroup", "addResource")
def add_resource(call: Call) -> Obj:
    return _change_group(call, _member(call), add=True)


@action("PUT", "ResourceGroup", "removeResource")
def remove_resource(call: Call) -> Obj:
    return _change_group(call, _member(call), add=False)


# -- pools ---------------------------------------------------------------------------------------------------


def _move_vm(call: Call, pool: Ref | None) -> Obj:
    vm_ref = to_ref(call.world, "Vm", call.document(), "vm")
    if vm_ref is None:
        raise null_argument("vm")
    vm, world = call.world.store.get(*vm_ref), call.world
    require_vm(vm)
    if pool is None and vm["serverPoolId"] != call.obj.ref:
        raise ApiError("GEN_000009", f"Vm {vm.name} is not in server pool {call.obj.name}")
    members = world.store.back("Server", "serverPoolId", pool) if pool else []

    def work(run: Run) -> Work:
        yield world.jobs.job_seconds
        vm["serverPoolId"] = pool
        vm["serverId"] = members[0].ref if members else None
        world.store.touch(vm.ref, call.obj.ref)
        return None

    title = f"{'Add' if pool else 'Remove'} Vm: {vm.name}, server pool: {call.obj.name}"
    return call.submit("pool.vm", title, work, locks=[vm.ref])


@action("PUT", "ServerPool", "addVm")
def add_vm(call: Call) -> Obj:
    return _move_vm(call, call.obj.ref)


@action("PUT", "ServerPool", "removeVm")
def remove_vm(call: Call) -> Obj:
    return _move_vm(call, None)


@action("PUT", "Vm", "migrate")
def migrate(call: Call) -> Obj:
    """Row 15 of section 21: the name and parameter are invented."""
    vm, world = call.obj, call.world
    require_vm(vm)
    server = world.store.get("Server", call.required("serverId"))

    def work(run: Run) -> Work:
        yield world.jobs.job_seconds
        vm["serverId"] = server.ref
        vm["serverPoolId"] = server["serverPoolId"]
        world.store.touch(vm.ref, server.ref)
        return None

    return call.submit("vm.migrate", f"Migrate Vm: {vm.name}", work, locks=[vm.ref])
