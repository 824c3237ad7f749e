# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The control interface below ``/simulator/``: for tests only, no part of Oracle's API (see README.md)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from .actions.disks import delete_disk_file
from .actions.power import set_state
from .actions.vms import remove_vm
from .api import Api
from .auth import Sessions
from .calllog import CallLog
from .errors import ApiError
from .store import Obj
from .switches import TABLE
from .world import World

VM_STATES = ("TEMPLATE", "STARTING", "RUNNING", "STOPPING", "STOPPED", "SUSPENDED")
SERVER_STATES = ("STOPPING", "STOPPED", "STARTING", "RUNNING", "UNKNOWN")


class Control:
    """Answers the control interface. No authentication: it is bound to 127.0.0.1."""

    def __init__(self, world: World, api: Api, sessions: Sessions, calls: CallLog) -> None:
        self._world = world
        self._api = api
        self._host = ""
        self._sessions = sessions
        self._calls = calls
        self._routes: dict[tuple[str, str], Callable[[str, dict[str, Any]], Any]] = {
            ("GET", "state"): self._state,
            ("GET", "peek"): self._peek,
            ("GET", "calls"): lambda rest, body: {"calls": calls.as_list(), **calls.summary()},
            ("DELETE", "calls"): lambda rest, body: calls.clear(),
            ("PUT", "read-only"): self._read_only,
            ("GET", "switches"): lambda rest, body: self._switches(),
            ("PUT", "switches"): self._set_switches,
            ("DELETE", "switches"): lambda rest, body: world.switches.reset(),
            ("GET", "faults"): lambda rest, body: world.faults.as_list(),
            ("POST", "faults"): lambda rest, body: {"id": world.faults.add(body)},
            ("DELETE", "faults"): lambda rest, body: world.faults.remove(int(rest) if rest else None),
            ("DELETE", "sessions"): lambda rest, body: sessions.expire_all(),
            ("POST", "clock"): self._advance,
            ("PUT", "vms"): self._set_vm,
            ("DELETE", "vms"): self._delete_vm,
            ("PUT", "servers"): self._set_server,
            ("PUT", "repositories"): self._set_repository,
            ("PUT", "objects"): self._set_object,
        }

    def answer(self, method: str, path: str, host: str, body: bytes) -> web.Response:
        """One control request; 400 names what is wrong with it."""
        self._host = host
        name, _unused, rest = path.strip("/").partition("/")
        route = self._routes.get((method, name))
        if route is None:
            known = ", ".join(sorted(f"{verb} {word}" for verb, word in self._routes))
            return web.json_response({"error": f"there is no {method} {path}; there are: {known}"}, status=404)
        try:
            document = json.loads(body) if body.strip() else {}
            if not isinstance(document, dict):
                raise ValueError("the body is not an object")
            value = route(rest if name == "peek" else unquote(rest), document)
        except (ValueError, KeyError, ApiError) as problem:
            return web.json_response({"error": str(problem)}, status=400)
        self._world.settle()
        self._world.sync()
        return web.json_response({} if value is None else value)

    def _state(self, rest: str, body: dict[str, Any]) -> dict[str, Any]:
        world = self._world
        return {
            "time": world.clock.now(),
            "read_only": world.read_only,
            "calls": self._calls.summary(),
            "sessions": self._sessions.count(),
            "jobs": world.jobs.running_kinds(),
            "vms": {vm.id: {"name": vm.name, "state": vm["vmRunState"]} for vm in world.store.all("Vm")},
            "ignore_shutdown": sorted(world.ignore_shutdown),
            "full_repositories": sorted(world.faults.full_repositories),
        }

    def _peek(self, rest: str, body: dict[str, Any]) -> Any:
        """An API answer to GET that the call log does not show: tests look without leaving traces."""
        segments = [unquote(word) for word in rest.split("/") if word]
        reply = self._api.answer("GET", segments, {}, None, host=self._host, user="peek")
        return reply.value

    def _read_only(self, rest: str, body: dict[str, Any]) -> dict[str, Any]:
        self._world.read_only = _flag(body, "enabled")
        return {"enabled": self._world.read_only}

    def _switches(self) -> dict[str, Any]:
        values = self._world.switches.as_dict()
        return {
            item.name: {"value": values[item.name], "default": item.default, "row": item.row, "effect": item.effect}
            for item in TABLE
        }

    def _set_switches(self, rest: str, body: dict[str, Any]) -> dict[str, Any]:
        for name, value in body.items():
            self._world.switches.set(name, value)
        return self._world.switches.as_dict()

    def _advance(self, rest: str, body: dict[str, Any]) -> dict[str, Any]:
        self._world.clock.advance(float(body["advance"]))
        return {"time": self._world.clock.now()}

    # -- objects ---------------------------------------------------------------------------------------------

    def _find(self, type_: str, which: str) -> Obj:
        """By id, else by a name that only one object has."""
        objects = self._world.store.all(type_)
        found = [obj for obj in objects if obj.id == which] or [obj for obj in objects if obj.name == which]
        if len(found) != 1:
            raise ValueError(f"there are {len(found)} objects of type {type_} with id or name {which!r}")
        return found[0]

    def _set_vm(self, rest: str, body: dict[str, Any]) -> None:
        vm = self._find("Vm", rest)
        _known(body, "state", "ignore_shutdown", "name", "server")
        if "state" in body:
            if body["state"] not in VM_STATES:
                raise ValueError(f"a VM has no state {body['state']!r}")
            set_state(self._world, vm, body["state"])
        if "ignore_shutdown" in body:
            change = (
                self._world.ignore_shutdown.add
                if _flag(body, "ignore_shutdown")
                else self._world.ignore_shutdown.discard
            )
            change(vm.id)
        if "name" in body:
            vm["name"] = body["name"] or ""
            self._world.store.touch(vm.ref)
        if "server" in body:
            server = self._find("Server", body["server"]) if body["server"] else None
            vm["serverId"] = server.ref if server else None
            vm["serverPoolId"] = server["serverPoolId"] if server else None
            self._world.store.touch(vm.ref)

    def _delete_vm(self, rest: str, body: dict[str, Any]) -> None:
        """As if somebody else deleted the VM, whatever its state; with ``disks`` its unshared disks too."""
        world, vm = self._world, self._find("Vm", rest)
        refs = [mapping["virtualDiskId"] for mapping in world.store.back("VmDiskMapping", "vmId", vm.ref)]
        remove_vm(world, vm)
        for ref in refs if body.get("disks") else []:
            disk = world.store.find(ref)
            if disk is None or disk["diskType"] != "VIRTUAL_DISK":
                continue
            if not world.store.back("VmDiskMapping", "virtualDiskId", disk.ref):
                delete_disk_file(world, disk)

    def _set_server(self, rest: str, body: dict[str, Any]) -> None:
        server = self._find("Server", rest)
        _known(body, "state", "maintenance")
        if "state" in body:
            if body["state"] not in SERVER_STATES:
                raise ValueError(f"a server has no state {body['state']!r}")
            server["serverRunState"] = body["state"]
        if "maintenance" in body:
            server["maintenanceMode"] = _flag(body, "maintenance")
        self._world.store.touch(server.ref)

    def _set_repository(self, rest: str, body: dict[str, Any]) -> None:
        repo = self._find("Repository", rest)
        _known(body, "full")
        full = self._world.faults.full_repositories
        (full.add if _flag(body, "full") else full.discard)(repo.id)

    def _set_object(self, rest: str, body: dict[str, Any]) -> None:
        """Count changes of an object behind the client's back, so that what it fetched is stale."""
        type_, _unused, which = rest.partition("/")
        _known(body, "touch")
        obj = self._find(type_, which)
        for _change in range(int(body.get("touch", 1))):
            self._world.store.touch(obj.ref)


def _flag(body: dict[str, Any], name: str) -> bool:
    value = body[name]
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false")
    return value


def _known(body: dict[str, Any], *names: str) -> None:
    unknown = set(body) - set(names)
    if unknown:
        raise ValueError(f"unknown keys {', '.join(sorted(unknown))}; there are: {', '.join(names)}")
