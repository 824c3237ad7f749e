# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One API request as the actions see it, and the table of actions."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from .errors import ApiError
from .jobs import Run, Work
from .render import MODEL, Renderer
from .store import Obj, Ref
from .world import World


@dataclass
class Reply:
    """An answer that is not a job: status and JSON value (``text`` set: plain text instead)."""

    value: Any = None
    status: int = 200
    text: str | None = None


@dataclass
class Call:
    """A request to an action: ``target`` is the object in the path, ``child_id`` the fourth segment."""

    world: World
    renderer: Renderer
    user: str
    query: dict[str, str]
    body: Any
    target: Obj | None = None
    child_id: str | None = None

    @property
    def obj(self) -> Obj:
        assert self.target is not None
        return self.target

    # -- arguments -------------------------------------------------------------------------------------------

    def text(self, name: str) -> str | None:
        """A query parameter; an empty one counts as absent."""
        return self.query.get(name) or None

    def required(self, name: str) -> str:
        """A query parameter that must be there; GEN_000001 otherwise (ovm-rest-api 5.2)."""
        value = self.text(name)
        if value is None:
            raise null_argument(name)
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """A truth value of the query: true, false and Python's spellings (ovm-rest-api 14.8)."""
        value = self.query.get(name)
        if value is None or value == "":
            return default
        if value.lower() not in ("true", "false"):
            raise ApiError("GEN_000010", f'The value "{value}" of query parameter "{name}" is not valid')
        return value.lower() == "true"

    def document(self) -> dict[str, Any]:
        """The body, which must be an object."""
        if self.body is None:
            raise null_argument("object")
        if not isinstance(self.body, dict):
            raise ApiError("GEN_000023", "The body is not an object")
        return self.body

    def reference(self, type_: str, value: Any, name: str) -> Ref | None:
        """A SimpleId in the input: type and value are enough (ovm-rest-api 3.1). It must exist."""
        return to_ref(self.world, type_, value, name)

    def required_reference(self, type_: str, name: str) -> Ref:
        """A SimpleId that the body must hold."""
        ref = self.reference(type_, self.document().get(name), name)
        if ref is None:
            raise null_argument(name)
        return ref

    def new_document(self) -> dict[str, Any]:
        """The body of a create call: an object without an id (GEN_000004)."""
        document = self.document()
        given = document.get("id")
        if given is not None and (not isinstance(given, dict) or given.get("value") is not None):
            raise ApiError("GEN_000004", "An id was supplied for an object that is to be created")
        check_texts(document)
        return document

    def new_child(self, field: str) -> dict[str, Any]:
        """The body of a create call below a parent, which it may name once more: GEN_000008 if that is another."""
        document = self.new_document()
        named = self.reference(self.obj.type, document.get(field), field)
        if named not in (None, self.obj.ref):
            raise ApiError("GEN_000008", f"The {field} of the object is not the id in the URI, {self.obj.id}")
        return document

    # -- jobs ------------------------------------------------------------------------------------------------

    def submit(
        self,
        kind: str,
        name: str,
        work: Callable[[Run], Work],
        *,
        description: str | None = None,
        locks: Collection[Ref] = (),
        serial: Collection[Ref] = (),
    ) -> Obj:
        """Queue a job in the caller's name."""
        jobs = self.world.jobs
        return jobs.submit(kind, name, description or name, work, user=self.user, locks=locks, serial=serial)


def null_argument(name: str) -> ApiError:
    """GEN_000001 with the text of ovm-rest-api 5.2."""
    return ApiError("GEN_000001", f'The value for the argument "{name}" was found to be null')


def check_texts(values: dict[str, Any]) -> None:
    """GEN_000023 for a name or description that is no text, GEN_000015 for one that is too long (ovm-rest-api 3.2)."""
    for name in ("name", "description"):
        if values.get(name) is not None and not isinstance(values[name], str):
            raise ApiError("GEN_000023", f'The value "{values[name]}" of "{name}" is not valid')
    if len(values.get("description") or "") > 4000:
        raise ApiError("GEN_000015", "The description is longer than 4000 characters")


def to_ref(world: World, type_: str, value: Any, name: str) -> Ref | None:
    """A SimpleId to a reference; None for null. GEN_000018 for a wrong type, GEN_000002 if there is no such object."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ApiError("GEN_000023", f'The value of "{name}" is not an id object')
    identifier = value.get("value")
    if identifier is None:
        return None
    given = value.get("type")
    if given is not None and given not in (MODEL + type_, type_):
        raise ApiError("GEN_000018", f'The id of "{name}" has type {given}, expected {MODEL + type_}')
    return world.store.get(type_, str(identifier)).ref


Action = Callable[[Call], "Obj | Reply"]
ACTIONS: dict[tuple[str, str, str], Action] = {}


def action(method: str, type_: str, name: str = "") -> Callable[[Action], Action]:
    """Register an action: ``name`` is empty (the object itself), an action's name or a child type."""

    def register(function: Action) -> Action:
        ACTIONS[(method, type_, name)] = function
        return function

    return register
