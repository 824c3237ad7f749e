# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Derive ``shapes.json`` from a directory of example payloads of real managers.

    python tests/simulator/derive_shapes.py DIRECTORY

``real-*.json`` are captured answers of a 3.3.3 manager, ``composed-*.json`` were written from field lists
(``-34-`` in the name: with the fields of 3.4). Kept are only facts: per type, form (get, list) and version the
order of the keys, and the JSON value types that occur. Requests and error bodies are left out, and so is what is
not the manager's.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent / "shapes.json"


def type_name(value: Any) -> str:
    """JSON type of a value; lists and objects tell what is in them."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    if isinstance(value, list):
        inner = sorted({type_name(item) for item in value})
        return f"list of {'|'.join(inner)}" if inner else "list"
    if list(value) == ["type", "value", "uri", "name"]:
        return "SimpleId"
    return "object"


def add(shapes: dict[str, Any], version: str, form: str, obj: dict[str, Any]) -> None:
    """Merge one object into the shapes."""
    type_ = obj["id"]["type"].rpartition(".")[2]
    # Only Vm and VirtualDisk differ between versions, only Job between get and list.
    version = version if type_ in ("Vm", "VirtualDisk") else "any"
    form = form if type_ == "Job" else "any"
    keys = shapes.setdefault(type_, {}).setdefault(f"{form} {version}", {})
    if keys and list(keys) != list(obj):
        raise SystemExit(f"{type_} {form} {version}: different keys in different files")
    for key, value in obj.items():
        found = keys.setdefault(key, {"types": []})
        found["types"] = sorted({*found["types"], type_name(value)})
        if type_name(value) == "object":
            found["keys"] = list(value)


def merge_versions(shapes: dict[str, Any]) -> None:
    """A value type that one version or form of a field has is a possible one of the others of the same key.

    Not for Jobs: that theirs differ between get and list is a fact.
    """
    for type_, forms in shapes.items():
        if type_ == "Job":
            continue
        for keys in forms.values():
            for key, found in keys.items():
                for other in forms.values():
                    found["types"] = sorted({*found["types"], *other.get(key, {"types": []})["types"]})


def derive(directory: Path) -> dict[str, Any]:
    """The shapes of all types in a directory."""
    shapes: dict[str, Any] = {}
    for path in sorted(directory.glob("*.json")):
        if re.search(r"request|Error|coriolis|SimpleId", path.name):
            continue
        document = json.loads(path.read_text(encoding="utf-8"))
        version = "3.4" if "-34-" in path.name else "3.3"
        if isinstance(document, list):
            for obj in document:
                add(shapes, version, "list", obj)
        else:
            add(shapes, version, "get", document)
    merge_versions(shapes)
    return dict(sorted(shapes.items()))


def main() -> None:
    """Write the file."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    shapes = derive(Path(sys.argv[1]))
    lines = []
    for type_, forms in shapes.items():
        text = ",\n".join(
            f"  {json.dumps(form)}: {{\n"
            + ",\n".join(f"   {json.dumps(key)}: {json.dumps(found)}" for key, found in keys.items())
            + "\n  }"
            for form, keys in forms.items()
        )
        lines.append(f" {json.dumps(type_)}: {{\n{text}\n }}")
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
