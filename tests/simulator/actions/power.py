# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Life cycle of a VM: start, stop, kill, restart, suspend, resume (ovm-rest-api 9.3)."""

from __future__ import annotations

from collections.abc import Callable

from ..call import Call, action
from ..errors import ApiError, JobFailure, not_stopped, rule
from ..jobs import Run, Work
from ..store import Obj
from ..world import World


def require_vm(vm: Obj) -> None:
    """BUSINESS_MANAGER_000002 for a template."""
    if vm["vmRunState"] == "TEMPLATE":
        raise ApiError("BUSINESS_MANAGER_000002", f"The operation is not allowed on template {vm.name}")


def set_state(world: World, vm: Obj, state: str) -> None:
    """Change the run state and count the change."""
    vm["vmRunState"] = state
    world.store.touch(vm.ref)


def _wrong_state(world: World, vm: Obj, wanted: str) -> JobFailure:
    text = f"Operation not allowed- Virtual Machine: {vm.name}, is not {wanted}. It is {vm['vmRunState']}."
    return rule("OVMRU_005003E", text, world.now)


def _submit(call: Call, kind: str, title: str, check: Callable[[], None], work: Callable[[Run], Work]) -> Obj:
    vm = call.obj
    require_vm(vm)
    call.world.jobs.refuse_locked([vm.ref])
    call.world.rule_checks(check)

    def checked(run: Run) -> Work:
        check()
        result = yield from work(run)
        return result

    description = f"{title} Virtual Machine: {vm.name}"
    return call.submit(kind, f"{title} Vm: {vm.name}", checked, description=description, locks=[vm.ref])


def _expect(call: Call, *states: str) -> Callable[[], None]:
    def check() -> None:
        if call.obj["vmRunState"] not in states:
            raise _wrong_state(call.world, call.obj, " or ".join(states))

    return check


def _choose_server(world: World, vm: Obj) -> None:
    server = world.store.find(vm["serverId"])
    if server is not None and server["serverRunState"] == "RUNNING":
        return
    for candidate in world.store.all("Server"):
        if candidate["serverRunState"] == "RUNNING" and candidate["serverPoolId"] == vm["serverPoolId"]:
            vm["serverId"] = candidate.ref
            return
    raise rule("OVMRU_005010E", f"No server is available to start Virtual Machine: {vm.name}.", world.now)


def _boot(world: World, vm: Obj) -> Work:
    """STARTING, then RUNNING; back to STOPPED if aborted."""
    _choose_server(world, vm)
    set_state(world, vm, "STARTING")
    try:
        yield world.jobs.job_seconds
    except GeneratorExit:
        set_state(world, vm, "STOPPED")
        raise
    set_state(world, vm, "RUNNING")
    return None


def _shut_down(world: World, vm: Obj) -> Work:
    """STOPPING until the guest gives in; one that ignores it stays so until aborted (ovm-rest-api 4.4)."""
    set_state(world, vm, "STOPPING")
    try:
        waited = 0.0
        while vm.id in world.ignore_shutdown or waited < world.shutdown_seconds:
            step = world.shutdown_seconds - waited
            if vm.id in world.ignore_shutdown:
                # Looks again from time to time, ever less often: the control interface may let the guest give in.
                step = max(world.jobs.job_seconds, 0.05, waited / 20)
            yield step
            waited += step
    except GeneratorExit:
        set_state(world, vm, "RUNNING")
        raise
    set_state(world, vm, "STOPPED")
    return None


@action("PUT", "Vm", "start")
def start(call: Call) -> Obj:
    def check() -> None:
        if call.obj["vmRunState"] != "STOPPED":
            raise not_stopped(call.obj.name, call.obj["vmRunState"], call.world.now)

    return _submit(call, "vm.start", "Start", check, lambda run: _boot(call.world, call.obj))


@action("PUT", "Vm", "stop")
def stop(call: Call) -> Obj:
    return _submit(call, "vm.stop", "Stop", _expect(call, "RUNNING"), lambda run: _shut_down(call.world, call.obj))


@action("PUT", "Vm", "kill")
def kill(call: Call) -> Obj:
    if call.world.switches["kill_during_stop"] == "allow":
        call.world.jobs.abort_where("vm.stop", call.obj.ref, call.user)

    def work(run: Run) -> Work:
        yield call.world.jobs.job_seconds
        set_state(call.world, call.obj, "STOPPED")
        return None

    return _submit(call, "vm.kill", "Kill", _expect(call, "RUNNING", "STOPPING", "STARTING", "SUSPENDED"), work)


@action("PUT", "Vm", "restart")
def restart(call: Call) -> Obj:
    def work(run: Run) -> Work:
        yield from _shut_down(call.world, call.obj)
        yield from _boot(call.world, call.obj)
        return None

    return _submit(call, "vm.restart", "Restart", _expect(call, "RUNNING"), work)


@action("PUT", "Vm", "suspend")
def suspend(call: Call) -> Obj:
    def work(run: Run) -> Work:
        yield call.world.jobs.job_seconds
        set_state(call.world, call.obj, "SUSPENDED")
        return None

    return _submit(call, "vm.suspend", "Suspend", _expect(call, "RUNNING"), work)


@action("PUT", "Vm", "resume")
def resume(call: Call) -> Obj:
    def work(run: Run) -> Work:
        yield call.world.jobs.job_seconds
        set_state(call.world, call.obj, "RUNNING")
        return None

    return _submit(call, "vm.resume", "Resume", _expect(call, "SUSPENDED"), work)
