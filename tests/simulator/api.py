# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From method and path to an answer: the URI grammar of ovm-rest-api 2.1."""

from __future__ import annotations

from typing import Any

from . import actions as _actions
from .actions.modify import modify
from .call import ACTIONS, Call, Reply
from .computed import COMPUTED
from .errors import ApiError
from .render import Renderer
from .schema import FIELDS, links
from .store import Obj
from .world import World

assert _actions  # imported so that all actions are registered


def no_handler(method: str, segments: list[str]) -> ApiError:
    """GEN_000003."""
    return ApiError("GEN_000003", f"No REST handler was found for {method} /{'/'.join(segments)}")


class Api:
    """Answers one request at a time; returns ``(status, value or text)``."""

    def __init__(self, world: World) -> None:
        self._world = world

    def answer(
        self, method: str, segments: list[str], query: dict[str, str], body: Any, *, host: str, user: str
    ) -> Reply:
        """The answer to a request below the base URI; raises ApiError for a refusal."""
        if not segments or segments[0] not in FIELDS:
            raise no_handler(method, segments)
        world = self._world
        renderer = Renderer(
            world.store, host, version=world.switches["version"], now=world.now, locked=world.jobs.locked
        )
        call = Call(world, renderer, user, query, body)
        reply = self._read(call, segments) if method == "GET" else self._write(call, method, segments)
        if isinstance(reply, Obj):
            return Reply(renderer.object(reply), world.switches["write_status"])
        return reply

    # -- reading ---------------------------------------------------------------------------------------------

    def _read(self, call: Call, segments: list[str]) -> Obj | Reply:
        type_, *rest = segments
        if not rest:
            return self._list(call, self._world.store.all(type_))
        special = ACTIONS.get(("GET", type_, rest[0]))
        if len(rest) == 1 and special is not None:
            return special(call)
        if rest == ["id"]:
            return self._ids(call, self._world.store.all(type_))
        call.target = self._world.store.get(type_, rest[0])
        if len(rest) == 1:
            return Reply(call.renderer.object(call.target))
        special = ACTIONS.get(("GET", type_, rest[1]))
        if len(rest) == 2 and special is not None:
            return special(call)
        return self._follow(call, segments)

    def _list(self, call: Call, objects: list[Obj]) -> Reply:
        return Reply([call.renderer.object(obj, listed=True) for obj in objects])

    def _ids(self, call: Call, objects: list[Obj]) -> Reply:
        return Reply([call.renderer.simple_id(obj.ref) for obj in objects])

    def _follow(self, call: Call, segments: list[str]) -> Reply:
        """Children and references: ``/Type/{id}/{OtherType}[/id|/{otherId}]``."""
        type_, _unused, other, *rest = segments
        found = links(type_, other) if other in FIELDS else []
        if not found or len(rest) > 1:
            raise no_handler("GET", segments)
        value = self._link(call.obj, found[0].name)
        if not isinstance(value, list):
            if rest:
                raise no_handler("GET", segments)
            if value is None:
                status = self._world.switches["null_reference_status"]
                return Reply(None, status, "" if status == 204 else None)
            return Reply(call.renderer.object(value))
        if rest == ["id"]:
            return self._ids(call, value)
        if rest:
            child = next((obj for obj in value if obj.id == rest[0]), None)
            if child is None:
                self._world.store.get(other, rest[0])
                raise ApiError("GEN_000009", f"{other} {rest[0]} does not belong to {type_} {call.obj.name}")
            return Reply(call.renderer.object(child))
        return self._list(call, value)

    def _link(self, obj: Obj, name: str) -> list[Obj] | Obj | None:
        store = self._world.store
        item = next(item for item in FIELDS[obj.type] if item.name == name)
        if item.kind == "back":
            assert item.target is not None and item.via is not None
            return store.back(item.target, item.via, obj.ref)
        value = obj[name] if item.kind != "computed" else _computed(self._world, obj, name)
        if isinstance(value, list):
            return [found for ref in value if (found := store.find(ref)) is not None]
        return store.find(value)

    # -- writing ---------------------------------------------------------------------------------------------

    def _write(self, call: Call, method: str, segments: list[str]) -> Obj | Reply:
        type_, *rest = segments
        if rest:
            call.target = self._world.store.get(type_, rest[0])
        if method == "PUT" and len(rest) == 1:
            return modify(call)
        sizes = {"POST": (0, 2), "PUT": (2,), "DELETE": (1, 3)}
        name = rest[1] if len(rest) > 1 else ""
        handler = ACTIONS.get((method, type_, name))
        if handler is None or len(rest) not in sizes.get(method, ()):
            raise self._refusal(method, type_, segments)
        if len(rest) == 3:
            call.child_id = rest[2]
        return handler(call)

    def _refusal(self, method: str, type_: str, segments: list[str]) -> ApiError:
        if type_ == "Job" and method == "DELETE":
            return ApiError("JOB_000002", "A job cannot be deleted")
        return no_handler(method, segments)


def _computed(world: World, obj: Obj, name: str) -> Any:
    return COMPUTED[(obj.type, name)](world.store, obj)
