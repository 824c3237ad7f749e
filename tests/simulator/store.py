# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The manager's objects: what it stores, and the references between them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any, NamedTuple

from .errors import ApiError

# The 4 digits in 0004fb0000TT0000 (ovm-rest-api 3.3, row 33 of section 21 for 0033 and 0035).
PREFIXES = {
    "Manager": "01",
    "ServerPool": "02",
    "Repository": "03",
    "FileSystem": "05",
    "Vm": "06",
    "VirtualNic": "07",
    "FileServer": "09",
    "StorageArray": "09",
    "VirtualDisk": "12",
    "VmDiskMapping": "13",
    "VmCloneDefinition": "13",
    "VmCloneStorageMapping": "13",
    "VmCloneNetworkMapping": "13",
    "StorageElement": "18",
    "EthernetPort": "20",
    "ControlDomain": "21",
    "StoragePath": "28",
    "VolumeGroup": "32",
    "ResourceGroup": "33",
    "RepositoryExport": "35",
}


class Ref(NamedTuple):
    """A reference to an object: type and id."""

    type: str
    id: str


class Obj:
    """One object: its own fields only; lists of references back to it are computed on rendering."""

    __slots__ = ("fields", "generation", "id", "type")

    def __init__(self, type_: str, id_: str, fields: dict[str, Any], generation: int = 1) -> None:
        self.type = type_
        self.id = id_
        self.fields = fields
        self.generation = generation

    @property
    def ref(self) -> Ref:
        return Ref(self.type, self.id)

    @property
    def name(self) -> str:
        return self.fields.get("name", "") or ""

    def __getitem__(self, key: str) -> Any:
        return self.fields.get(key)

    def __setitem__(self, key: str, value: Any) -> None:
        self.fields[key] = value


def new_id(type_: str, suffix: str = "", digits: str | None = None) -> str:
    """A new id of this type, e.g. ``0004fb0000120000<16 hex>.img``."""
    prefix = "15" if suffix == ".iso" else PREFIXES[type_]
    return f"0004fb0000{prefix}0000{digits or secrets.token_hex(8)}{suffix}"


class Store:
    """All objects by type and id, in order of creation. ``version`` counts changes."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, Obj]] = {}
        self.version = 0

    def add(self, type_: str, id_: str, generation: int = 1, **fields: Any) -> Obj:
        """Make an object; ``name``, ``description`` and ``userData`` get their empty defaults."""
        fields.setdefault("name", "")
        fields.setdefault("description", "")
        fields.setdefault("userData", [])
        obj = Obj(type_, id_, fields, generation)
        self._objects.setdefault(type_, {})[id_] = obj
        self.version += 1
        return obj

    def put(self, obj: Obj) -> None:
        """Take in an object that was made elsewhere, or got another id."""
        self._objects.setdefault(obj.type, {})[obj.id] = obj
        self.version += 1

    def remove(self, ref: Ref) -> None:
        """Forget an object; it is no error if it is gone already."""
        self._objects.get(ref.type, {}).pop(ref.id, None)
        self.version += 1

    def find(self, ref: Ref | None) -> Obj | None:
        """The object, or None."""
        return self._objects.get(ref.type, {}).get(ref.id) if ref else None

    def get(self, type_: str, id_: str) -> Obj:
        """The object; GEN_000002 if there is none."""
        obj = self._objects.get(type_, {}).get(id_)
        if obj is None:
            raise ApiError("GEN_000002", f"Object with id {id_} of type {type_} was not found")
        return obj

    def all(self, type_: str) -> list[Obj]:
        """All objects of a type, oldest first."""
        return list(self._objects.get(type_, {}).values())

    def back(self, type_: str, field: str, ref: Ref) -> list[Obj]:
        """Objects of ``type_`` whose ``field`` is, or holds, this reference."""
        return [obj for obj in self._objects.get(type_, {}).values() if _points(obj.fields.get(field), ref)]

    def touch(self, *refs: Ref | None) -> None:
        """Count a change of these objects (``generation``)."""
        for ref in refs:
            obj = self.find(ref)
            if obj is not None:
                obj.generation += 1
        self.version += 1

    def __iter__(self) -> Iterator[Obj]:
        for objects in self._objects.values():
            yield from objects.values()


def _points(value: Any, ref: Ref) -> bool:
    return value == ref if isinstance(value, Ref) else isinstance(value, list) and ref in value
