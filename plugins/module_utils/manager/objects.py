# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Reading the manager's JSON objects without trusting their shape.

Fields may be null, absent (3.3 has fewer than 3.4) or hold values that nobody has documented (ovm-rest-api 3.2, 18.7),
so every reader here has a harmless answer for them. A reference between objects is a SimpleId (ovm-rest-api 3.1);
only its value is ever used, its ``uri`` never.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

MODEL = "com.oracle.ovm.mgr.ws.model."

_MOUNT = re.compile(r"^/OVS/Repositories/([^/]+)(/.+)$")


def simple_id(kind: str, value: str) -> dict[str, str]:
    """Return a reference as it is sent in bodies: type and value are enough (ovm-rest-api 3.1)."""
    return {"type": MODEL + kind, "value": value}


def id_value(reference: Any) -> str | None:
    """Return the id that a SimpleId holds, None for null or for anything that is not a SimpleId."""
    value = reference.get("value") if isinstance(reference, Mapping) else None
    return value if isinstance(value, str) and value else None


def reference(item: Mapping[str, Any], field: str) -> str | None:
    """Return the id that the field refers to, or None."""
    return id_value(item.get(field))


def references(item: Mapping[str, Any], field: str) -> tuple[str, ...]:
    """Return the ids that the field refers to; null and absent lists are empty (ovm-rest-api 3.2)."""
    entries = item.get(field)
    if not isinstance(entries, list):
        return ()
    return tuple(value for value in map(id_value, entries) if value is not None)


def object_id(item: Mapping[str, Any]) -> str:
    """Return the object's own id, the empty string if it has none."""
    return id_value(item.get("id")) or ""


def text(item: Mapping[str, Any], field: str) -> str:
    """Return a text field; null, absent and other types give the empty string."""
    value = item.get(field)
    return value if isinstance(value, str) else ""


def optional_text(item: Mapping[str, Any], field: str) -> str | None:
    """Return a text field, None if it is null, absent, empty or not a text."""
    return text(item, field) or None


def object_name(item: Mapping[str, Any]) -> str:
    """Return the object's name; where it is null, the name in its own id (ovm-rest-api 3.2)."""
    own = item.get("id")
    return text(item, "name") or (text(own, "name") if isinstance(own, Mapping) else "")


def number(item: Mapping[str, Any], field: str) -> int | None:
    """Return a whole number; the manager sends some numbers as texts (ovm-rest-api 9.1)."""
    value = item.get(field)
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value):
        return int(value)
    return None


def flag(item: Mapping[str, Any], field: str) -> bool:
    """Return a truth value; null and absent count as false."""
    return item.get(field) is True


def by_id(items: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Index objects by their id; objects without one are left out."""
    return {object_id(item): item for item in items if object_id(item)}


def relative_path(path: str | None, repository_id: str | None) -> str | None:
    """Return the path relative to its storage repository, with a leading slash.

    Takes the relative form (``/VirtualDisks/x.img``) and the one below the mount of a server
    (``/OVS/Repositories/<id>/VirtualDisks/x.img``, ovm-rest-api 10.2). A path of another repository, or one that would
    climb out of it, is None: it must never be opened.
    """
    if not path or not path.startswith("/"):
        return None
    mounted = _MOUNT.match(path)
    if mounted:
        if mounted.group(1) != repository_id:
            return None
        path = mounted.group(2)
    if ".." in path.split("/") or "\0" in path:
        return None
    return path
