# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What one module returns and a playbook passes on to another, checked before the engine relies on it.

Only the keys that are used are looked at, and others may be there: a later version may return more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import InvalidInputError
from .planning.reading import Problems, kind_of, problem_details, problem_text

_TEXT, _TEXT_OR_NULL, _MAPPING = "a string", "a string or null", "a mapping"
_WHOLE, _WHOLE_OR_NULL = "a whole number", "a whole number or null"
_MAPPING_OR_NULL = "a mapping or null"

# A shape is one of the words above, a list with the shape of all its items, or a dict with those of its keys.
_DISK = {
    "slot": _WHOLE,
    "disk_id": _TEXT,
    "name": _TEXT,
    "size": _WHOLE_OR_NULL,
    "repository_id": _TEXT_OR_NULL,
    "repository": _TEXT_OR_NULL,
    "path": _TEXT_OR_NULL,
    "type": _TEXT,
    "type_reason": _TEXT,
    "source": _TEXT,
    "server": _MAPPING_OR_NULL,
    "changes": _TEXT,
    "changes_reason": _TEXT,
}
_VM = {
    "vm_id": _TEXT,
    "vm_name": _TEXT,
    "client": _TEXT,
    "action": _TEXT,
    "method": _TEXT,
    "reason": _TEXT,
    "requested_type": _TEXT,
    "type": _TEXT,
    "type_reason": _TEXT,
    "reference": _MAPPING_OR_NULL,
    "reference_reason": _TEXT,
    "order": _WHOLE,
    "proxy": _TEXT,
    "disks": [_DISK],
    "skipped_disks": [{"slot": _WHOLE, "reason": _TEXT}],
    "warnings": [_TEXT],
}
_CONFIGURATION = {
    "document": _MAPPING,
    "vm_cfg": {"repository_id": _TEXT_OR_NULL, "path": _TEXT_OR_NULL, "source": _TEXT, "server": _MAPPING_OR_NULL},
    "manager": {"id": _TEXT, "version": _TEXT},
}
_PLAN = {"subclient": _TEXT, "requested_type": _TEXT, "warnings": [_TEXT], "vms": [_VM]}
_CLONE = {
    "id": _TEXT,
    "disks": [
        {
            "slot": _WHOLE,
            "source_disk_id": _TEXT,
            "size": _WHOLE_OR_NULL,
            "repository_id": _TEXT_OR_NULL,
            "path": _TEXT_OR_NULL,
        }
    ],
}
_POINT = {
    "id": _TEXT,
    "type": _TEXT,
    "reason": _TEXT,
    "method": _TEXT,
    "consistency": _TEXT,
    "warnings": [_TEXT],
    "durations": _MAPPING,
    "disks": [{"statistics": {"read": _WHOLE, "stored": _WHOLE}}],
}


def check_plan(value: Mapping[str, Any]) -> None:
    """Raise C(InvalidInputError) unless the option C(plan) is the plan of a run."""
    _check("plan", "the plan that plan_info returns as plan", value, _PLAN)


def check_vm_plan(value: Mapping[str, Any], *, configuration: bool = False) -> None:
    """Raise C(InvalidInputError) unless the option C(plan) is one VM of a plan, if asked for with its configuration."""
    shape = {**_VM, "configuration": _CONFIGURATION} if configuration else _VM
    _check("plan", "one of the VMs that plan_info returns in plan.vms", value, shape)


def check_clone(value: Mapping[str, Any]) -> None:
    """Raise C(InvalidInputError) unless the option C(clone) is a hot clone."""
    _check("clone", "the clone that vm_clone returns", value, _CLONE)


def check_recovery_point(value: Mapping[str, Any]) -> None:
    """Raise C(InvalidInputError) unless the option C(recovery_point) is a recovery point."""
    _check("recovery_point", "the recovery point that backup returns", value, _POINT)


def _check(option: str, what: str, value: Any, shape: Any) -> None:
    problems = Problems()
    _look_at(value, shape, "", problems)
    if problems.found:
        text = problem_text(f"{option} ({what})", problems.found)
        raise InvalidInputError(text, option=option, **problem_details(problems.found))


def _look_at(value: Any, shape: Any, key: str, problems: Problems) -> None:
    if isinstance(shape, list):
        if not isinstance(value, (list, tuple)):
            problems.add(key, value, f"must be a list, not {kind_of(value)}")
            return
        for number, item in enumerate(value):
            _look_at(item, shape[0], f"{key}[{number}]", problems)
    elif isinstance(shape, dict):
        if not isinstance(value, Mapping):
            problems.add(key, value, f"must be a mapping, not {kind_of(value)}")
            return
        for name, inner in shape.items():
            path = f"{key}.{name}" if key else name
            if name in value:
                _look_at(value[name], inner, path, problems)
            else:
                problems.add(path, None, "is missing")
    elif not _fits(value, shape):
        problems.add(key, value, f"must be {shape}, not {kind_of(value)}")


def _fits(value: Any, shape: str) -> bool:
    if value is None:
        return shape in (_TEXT_OR_NULL, _WHOLE_OR_NULL, _MAPPING_OR_NULL)
    if shape in (_TEXT, _TEXT_OR_NULL):
        return isinstance(value, str)
    if shape in (_MAPPING, _MAPPING_OR_NULL):
        return isinstance(value, Mapping)
    return isinstance(value, int) and not isinstance(value, bool)
