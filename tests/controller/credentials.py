# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What AWX accepts as a type of credential and as a credential, and what a credential injects into a job."""

from __future__ import annotations

import re
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

SECRET = "$encrypted$"
RESERVED = frozenset(
    "VIRTUAL_ENV PATH PYTHONPATH JOB_ID INVENTORY_ID INVENTORY_SOURCE_ID INVENTORY_UPDATE_ID AD_HOC_COMMAND_ID "
    "REST_API_URL REST_API_TOKEN MAX_EVENT_RES CALLBACK_QUEUE CALLBACK_CONNECTION CACHE JOB_CALLBACK_DEBUG "
    "INVENTORY_HOSTVARS AWX_HOST PROJECT_REVISION SUPERVISOR_CONFIG_PATH".split()
)
_WORD = re.compile(r"[a-zA-Z_]+[a-zA-Z0-9_]*", re.ASCII)
_FILE = re.compile(r"template(\.[a-zA-Z_]+[a-zA-Z0-9_]*)?", re.ASCII)
_FIELD_KEYS = {
    "type", "format", "choices", "id", "label", "help_text", "multiline", "secret", "ask_at_runtime", "default",
}  # fmt: skip


class Refused(Exception):
    """The controller does not take it: its answer."""

    def __init__(self, answer: Any, status: int = 400) -> None:
        super().__init__(str(answer))
        self.answer, self.status = answer, status


class _Namespace:
    """What C(tower) is in the templates of injectors."""


def check_type(kind: Any, inputs: Any, injectors: Any) -> None:
    """Refuse a type of credential that AWX would."""
    if kind not in ("cloud", "net"):
        raise Refused({"kind": [f"Must be 'cloud' or 'net', not {kind}"]})
    if not isinstance(inputs, dict) or set(inputs) - {"fields", "required"}:
        raise Refused({"inputs": ["Additional properties are not allowed"]})
    names: set[str] = set()
    for field in inputs.get("fields", []):
        _check_field(field, names)
    unknown = set(inputs.get("required", [])) - names
    if unknown:
        raise Refused({"inputs": [f"required fields are not defined: {sorted(unknown)}"]})
    _check_injectors(injectors, names)


def _check_field(field: dict[str, Any], names: set[str]) -> None:
    if set(field) - _FIELD_KEYS or not {"id", "label"} <= set(field):
        raise Refused({"inputs": [f"a field has keys that are not known or lacks some: {sorted(field)}"]})
    name, kind = field["id"], field.get("type", "string")
    if not _WORD.fullmatch(name):
        raise Refused({"inputs": [f"{name} is an invalid variable name"]})
    if name in ("tower", "awx"):
        raise Refused({"inputs": [f'"{name}" is a reserved field name']})
    if name in names:
        raise Refused({"inputs": [f"field IDs must be unique ({name})"]})
    names.add(name)
    if kind not in ("string", "boolean"):
        raise Refused({"inputs": [f"'{kind}' is not one of ['string', 'boolean']"]})
    if "default" in field and not isinstance(field["default"], {"string": str, "boolean": bool}[kind]):
        raise Refused({"inputs": [f"{field['default']} is not a {kind}"]})
    for key in ("choices", "multiline", "format", "secret"):
        if key in field and kind != "string":
            raise Refused({"inputs": [f"{key} not allowed for {kind} type ({name})"]})
    if field.get("format", "url") not in ("ssh_private_key", "url"):
        raise Refused({"inputs": [f"'{field['format']}' is not one of ['ssh_private_key', 'url']"]})
    choices = field.get("choices", ["x"])
    if not choices or len(set(choices)) != len(choices) or not all(isinstance(choice, str) for choice in choices):
        raise Refused({"inputs": [f"choices of {name} are not different texts"]})


def _check_injectors(injectors: Any, names: set[str]) -> None:
    if not isinstance(injectors, dict) or set(injectors) - {"file", "env", "extra_vars"}:
        raise Refused({"injectors": ["Additional properties are not allowed"]})
    for name in injectors.get("env", {}):
        if not _WORD.fullmatch(name) or not injectors["env"][name].isascii():
            raise Refused({"injectors": [f"{name!r} does not match any of the regexes"]})
        if name.startswith("ANSIBLE_"):
            raise Refused({"injectors": [f"Environment variable {name} may affect Ansible configuration"]})
        if name in RESERVED:
            raise Refused({"injectors": [f"Environment variable {name} is not allowed to be used in credentials."]})
    for name in injectors.get("extra_vars", {}):
        if not _WORD.fullmatch(name):
            raise Refused({"injectors": [f"{name!r} does not match any of the regexes"]})
    files = list(injectors.get("file", {}))
    if not all(_FILE.fullmatch(name) for name in files) or ("template" in files and len(files) > 1):
        raise Refused({"injectors": ["Must use multi-file syntax when injecting multiple files"]})
    known = {**dict.fromkeys(names, "EXAMPLE"), "tower": tower(dict.fromkeys(files, "EXAMPLE_FILENAME"))}
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
    for group in injectors.values():
        for name, template in group.items():
            try:
                environment.from_string(template).render(known)
            except TemplateError as error:
                raise Refused({"injectors": [f"{name} uses an undefined field ({error})"]}) from error


def tower(files: dict[str, str]) -> _Namespace:
    """Return what C(tower) is: the names of files."""
    made = _Namespace()
    if "template" in files:
        made.filename = files["template"]  # type: ignore[attr-defined]
        return made
    made.filename = _Namespace()  # type: ignore[attr-defined]
    for name, path in files.items():
        setattr(made.filename, name.split(".")[1], path)  # type: ignore[attr-defined]
    return made


def check_inputs(kind: dict[str, Any], inputs: dict[str, Any]) -> None:
    """Refuse the fields of a credential that AWX would. It takes one that lacks required fields."""
    fields = {field["id"]: field for field in kind["inputs"].get("fields", [])}
    for name, value in inputs.items():
        if name not in fields:
            raise Refused({"inputs": [f"Additional properties are not allowed ('{name}' was unexpected)"]})
        field = fields[name]
        if not isinstance(value, {"string": str, "boolean": bool}[field.get("type", "string")]):
            raise Refused({"inputs": {name: [f"{value!r} is not of type '{field.get('type', 'string')}'"]}})
        if value == SECRET and field.get("secret"):
            continue
        if "choices" in field and value not in field["choices"]:
            raise Refused({"inputs": {name: [f"'{value}' is not one of {field['choices']}"]}})
        if field.get("format") == "ssh_private_key" and not re.search("-----BEGIN .*PRIVATE KEY-----", value):
            raise Refused({"inputs": {name: ["Invalid certificate or key"]}})


def shown_inputs(kind: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a credential as the API tells them."""
    secret = {field["id"] for field in kind["inputs"].get("fields", []) if field.get("secret")}
    return {name: SECRET if name in secret and value else value for name, value in inputs.items()}


def injected(kind: dict[str, Any], inputs: dict[str, Any], files: dict[str, str]) -> dict[str, Any]:
    """Return what a job gets: C(env), and C(file) with the content of each; C(files) are the paths of these."""
    known: dict[str, Any] = {name: value for name, value in inputs.items() if value != ""}
    for field in kind["inputs"].get("fields", []):
        if field.get("type") == "boolean":
            known.setdefault(field["id"], False)
        elif field["id"] not in known and "default" in field:
            known[field["id"]] = field["default"]
    environment = ImmutableSandboxedEnvironment()
    injectors = kind["injectors"]
    contents = {name: environment.from_string(text).render(known) for name, text in injectors.get("file", {}).items()}
    known["tower"] = tower(files)
    return {
        "file": contents,
        "env": {name: environment.from_string(text).render(known) for name, text in injectors.get("env", {}).items()},
    }
