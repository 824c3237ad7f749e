# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The checklists of a publication: their proofs exist, and what they say of single files is so."""

from __future__ import annotations

import importlib.util
import re
import sys
from types import ModuleType

import pytest
import yaml

from .conftest import ROOT, Documentation

LISTS = ("The community package", "Automation Hub")
# The folders that ansible-core knows below plugins/, and the two that it promises not to use otherwise.
FOLDERS = {
    *("action", "become", "cache", "callback", "cliconf", "connection", "doc_fragments", "filter", "httpapi"),
    *("inventory", "lookup", "module_utils", "modules", "netconf", "plugin_utils", "shell", "strategy", "sub_plugins"),
    *("terminal", "test", "vars"),
}


@pytest.fixture(scope="module")
def matrix() -> ModuleType:
    """The tool behind make test-matrix."""
    tools = str(ROOT / "tests" / "tools")
    spec = importlib.util.spec_from_file_location("matrix", f"{tools}/matrix.py")
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules["matrix"] = found
    sys.path.insert(0, tools)
    try:
        spec.loader.exec_module(found)
    finally:
        sys.path.remove(tools)
        del sys.modules["matrix"]
    return found


@pytest.mark.parametrize("title", LISTS)
def test_every_line_has_a_proof_that_exists(documentation: Documentation, title: str) -> None:
    page = documentation.guide("checklists")
    rows = [
        [cell.strip() for cell in re.split(r"\n     - ", row)]
        for row in page[page.index(f".. list-table:: {title}\n") :].split("\n\n")[1].split("\n   * - ")[1:]
    ]
    assert len(rows) > 10
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for what, done, proof in rows:
        assert done in ("yes", "open"), what
        assert proof, what
        for code in re.findall(r"``([^`]+)``", proof):
            if code.startswith("make "):
                assert code.split()[1] in targets, code
                named = re.findall(r"\btests/[\w/.-]+", code)
                assert all((ROOT / name).exists() for name in named), code
            elif "/" in code or code.endswith((".md", ".yml", ".txt")):
                assert (ROOT / code).exists(), code


def test_plugins_lie_in_folders_that_ansible_knows() -> None:
    found = {path.name for path in (ROOT / "plugins").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert found - FOLDERS == set()


def test_nobody_is_told_to_install_ansible_by_pip(documentation: Documentation) -> None:
    assert re.findall(r"pip install .*\bansible\b", documentation.pages["README.md"]) == []


def test_requirements_have_no_upper_bounds() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]
    assert [line for line in wanted if re.search(r"==|<|~=|^ansible", line)] == []


def test_every_plugin_says_since_when_it_is_there() -> None:
    now = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"]
    said: dict[str, list[str]] = {}
    for kind in ("modules", "filter", "lookup", "inventory"):
        for path in ROOT.glob(f"plugins/{kind}/[a-z]*"):
            said.setdefault(f"{kind}/{path.stem}", []).extend(
                re.findall(r"^ *version_added: \"?([\d.]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
            )
    assert [name for name, versions in said.items() if not versions] == []
    newer = [name for name, versions in said.items() if any(numbers(one) > numbers(now) for one in versions)]
    assert newer == []


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split("-")[0].split(".")))


def test_collection_says_the_same_lowest_versions_everywhere(matrix: ModuleType) -> None:
    runtime = yaml.safe_load((ROOT / "meta/runtime.yml").read_text(encoding="utf-8"))["requires_ansible"]
    python = yaml.safe_load((ROOT / "tests/config.yml").read_text(encoding="utf-8"))["modules"]["python_requires"]
    assert runtime == f">={matrix.CORES[0].name.removeprefix('core-')}.0"
    assert python == f">={matrix.PYTHONS[0].python}"


def test_table_of_versions_has_every_cell(documentation: Documentation, matrix: ModuleType) -> None:
    said = matrix.published(documentation.pages["README.md"])
    assert set(said) == {f"{row.name}/{kind}" for row, kind in matrix.wanted([])}
    # What has not been run is said to be so; nothing is published that failed.
    assert {cell: word for cell, word in said.items() if word not in ("passed", "not run")} == {}
    assert matrix.cells_of(matrix.render(said)) == said
