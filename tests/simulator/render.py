# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Objects to JSON as the manager writes it: key order, explicit nulls, SimpleIds (ovm-rest-api 3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

from .computed import COMPUTED
from .schema import FIELDS, ONLY_34, Field
from .store import Obj, Ref, Store

MODEL = "com.oracle.ovm.mgr.ws.model."
BASE_PATH = "/ovm/core/wsapi/rest"


class Renderer:
    """Writes objects for one request: URIs carry the host that the caller used."""

    def __init__(self, store: Store, host: str, *, version: str, now: float, locked: Callable[[Ref], bool]) -> None:
        self._store = store
        self._base = f"https://{host}{BASE_PATH}"
        self._version = version
        self._now = now
        self._locked = locked

    def simple_id(self, ref: Ref | None) -> dict[str, Any] | None:
        """``{type, value, uri, name}`` or None (ovm-rest-api 3.1)."""
        if ref is None:
            return None
        obj = self._store.find(ref)
        # Colons and parentheses stay as they are in the manager's URIs (ovm-rest-api 2.3).
        value = quote(ref.id, safe=":()@")
        return {
            "type": MODEL + ref.type,
            "value": ref.id,
            "uri": f"{self._base}/{ref.type}/{value}",
            "name": (obj.name or None) if obj else None,
        }

    def object(self, obj: Obj, *, listed: bool = False) -> dict[str, Any]:
        """The whole object; ``listed``: as it stands in a list (Jobs differ, ovm-rest-api 4.1)."""
        single_job = obj.type == "Job" and not listed
        tags = [group.ref for group in self._store.back("ResourceGroup", "resourceIds", obj.ref)]
        document: dict[str, Any] = {
            "id": self.simple_id(obj.ref),
            "name": obj.name,
            "description": obj["description"] or "",
            "locked": self._locked(obj.ref),
            "readOnly": False,
            "generation": obj.generation,
            "userData": None if single_job else obj["userData"],
            "resourceGroupIds": None if single_job else [self.simple_id(ref) for ref in tags],
        }
        skipped = ONLY_34.get(obj.type, set()) if self._version == "3.3" else set()
        for item in FIELDS[obj.type]:
            if item.name not in skipped:
                document[item.name] = self._value(obj, item, listed)
        if obj.type == "Job" and listed and document["latestSummaryProgressMessage"] is None:
            document["latestSummaryProgressMessage"] = ""  # as captured (ovm-json/real-Job-list.json)
        return document

    def _value(self, obj: Obj, item: Field, listed: bool) -> Any:
        if item.kind == "back":
            assert item.target is not None and item.via is not None
            return [self.simple_id(found.ref) for found in self._store.back(item.target, item.via, obj.ref)]
        value = self._computed(obj, item, listed) if item.kind == "computed" else obj[item.name]
        return self._references(value)

    def _references(self, value: Any) -> Any:
        if isinstance(value, Ref):
            return self.simple_id(value)
        if isinstance(value, list):
            return [self._references(element) for element in value]
        return value

    def _computed(self, obj: Obj, item: Field, listed: bool) -> Any:
        if item.name == "managerTime":
            return round(self._now * 1000)
        if item.name == "managerVersion":
            return "3.3.3.1085" if self._version == "3.3" else "3.4.2.1384"
        if item.name == "ovmVersion":
            return "3.3.3-1085" if self._version == "3.3" else "3.4.2-1384"
        if item.name == "error":
            error = obj["error"]
            return error or (None if listed else {"message": None, "type": None})
        return COMPUTED[(obj.type, item.name)](self._store, obj)


def to_xml(value: Any, tag: str) -> str:
    """A plain XML form of a JSON value: one element per key, one ``<item>`` name per list element."""
    if isinstance(value, dict):
        return f"<{tag}>" + "".join(to_xml(inner, key) for key, inner in value.items()) + f"</{tag}>"
    if isinstance(value, list):
        return "".join(to_xml(inner, tag) for inner in value)
    if value is None:
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"<{tag}>{escape(text)}</{tag}>"
