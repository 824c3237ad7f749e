# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every example in the documentation of a module is a task of the module's integration target.

The task has the name of the example in its own, calls the same module, and sets the options of the example at least.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TARGETS = ROOT / "tests" / "integration" / "targets"
# Set for all tasks of a target at once.
SHARED = {"url", "user", "password", "ca_path", "vault"}


def documented(path: Path) -> list[dict[str, Any]]:
    """Return the tasks in EXAMPLES of a plugin."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "EXAMPLES":
            found: list[dict[str, Any]] = yaml.safe_load(ast.literal_eval(node.value))
            return found
    return []


def tasks(value: Any) -> Iterator[dict[str, Any]]:
    """Yield all tasks in what a task file holds, those in blocks too."""
    if isinstance(value, list):
        for item in value:
            yield from tasks(item)
    elif isinstance(value, dict):
        if "name" in value:
            yield value
        for name in ("block", "rescue", "always"):
            yield from tasks(value.get(name))


def called(task: dict[str, Any]) -> tuple[str, set[str]]:
    """Return the module that a task calls, and the options that it sets."""
    module = next(key for key in task if "." in key)
    return module, set(task[module] or ()) - SHARED


EXAMPLES = [
    pytest.param(path.stem, example, id=f"{path.stem}: {example['name']}")
    for path in sorted(
        path for kind in ("modules", "filter", "lookup") for path in (ROOT / "plugins" / kind).glob("*.py")
    )
    for example in documented(path)
]


@pytest.mark.parametrize(("target", "example"), EXAMPLES)
def test_example_is_run_by_the_target(target: str, example: dict[str, Any]) -> None:
    module, options = called(example)
    files = sorted((TARGETS / target / "tasks").glob("*.yml"))
    candidates = [
        task
        for file in files
        for task in tasks(yaml.safe_load(file.read_text(encoding="utf-8")))
        if example["name"] in task["name"] and module in task
    ]
    assert any(options <= called(task)[1] for task in candidates)
