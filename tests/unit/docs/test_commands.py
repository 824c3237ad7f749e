# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every command that a page shows names playbooks, variables, modules, options and targets that there are."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import lru_cache

import pytest
import yaml

from .conftest import ROOT, Documentation
from .test_examples import known_variables, role_options, specification_of

# What is shown up to the end of the line or of the quotation.
_PLAYBOOK = re.compile(r"\bovm\.backup\.(\w+)((?: +(?:-[\w-]+|@?[\w/.=,:<>@-]+|'[^']*'|\"[^\"]*\"))*)")
_GIVEN = re.compile(r"-e +(?:(\w+)=|'(\{[^']*\})')")
_AD_HOC = re.compile(r"\bansible [\w.]+ .*-m ovm\.backup\.(\w+)(?: -a \"([^\"]*)\")?")
# Only where it can be nothing else: at the beginning of a line of code, or of a quotation.
_MAKE = re.compile(r"(?:^ *|`)make(?: -s)? ([a-z][a-z -]*[a-z])(?: ARGS=(\"[^\"]*\"|[\w./-]+))?", re.MULTILINE)


@lru_cache
def variables_of_playbook(name: str) -> set[str]:
    """Return what may be given to a playbook: what it reads, what its roles take, what all of them know."""
    text = (ROOT / "playbooks" / f"{name}.yml").read_text(encoding="utf-8")
    found = set(re.findall(r"\{\{ (\w+)", text)) | known_variables()
    for role in re.findall(r"(?:role|name): ovm\.backup\.(\w+)", text):
        found |= set(role_options(role))
    return found


def given(arguments: str) -> Iterator[str]:
    """Yield the names of the variables that a command gives."""
    for name, document in _GIVEN.findall(arguments):
        yield from [name] if name else yaml.safe_load(document)


def test_playbooks_get_variables_that_they_know(documentation: Documentation) -> None:
    unknown, seen = [], set()
    for page, text in documentation.pages.items():
        for name, arguments in _PLAYBOOK.findall(text):
            if " -e " not in f" {arguments} ":
                continue
            seen.add(name)
            assert (ROOT / "playbooks" / f"{name}.yml").exists(), f"{page}: {name}"
            unknown += [
                f"{page}: {name} -e {one}" for one in given(arguments) if one not in variables_of_playbook(name)
            ]
    assert unknown == []
    assert len(seen) > 10


def test_called_playbooks_exist(documentation: Documentation) -> None:
    called = {
        (page, name)
        for page, text in documentation.pages.items()
        for line in re.findall(r"ansible-playbook .*", text)
        for name in re.findall(r"(?<![\w.])ovm\.backup\.(\w+)", line)
    }
    assert len(called) > 20
    assert {(page, name) for page, name in called if not (ROOT / "playbooks" / f"{name}.yml").exists()} == set()


def test_modules_get_options_that_they_know(documentation: Documentation, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [(page, *call) for page, text in documentation.pages.items() for call in _AD_HOC.findall(text)]
    assert len(shown) >= 2
    for page, name, arguments in shown:
        options = specification_of(name, monkeypatch)["argument_spec"]
        unknown = {one.split("=")[0] for one in shlex.split(arguments)} - set(options)
        assert not unknown, f"{page}: {name} {unknown}"


def test_targets_of_make_exist(documentation: Documentation) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    pages = {**documentation.pages, "tests/README.md": (ROOT / "tests" / "README.md").read_text(encoding="utf-8")}
    shown = [(page, *call) for page, text in pages.items() for call in _MAKE.findall(text)]
    assert len(shown) > 40
    for page, names, arguments in shown:
        for name in names.split():
            assert name in targets, f"{page}: make {name}"
        for path in re.findall(r"(?<![\w/])tests/[\w./-]+", arguments):
            assert (ROOT / path.rstrip(".")).exists(), f"{page}: {path}"
        if names == "integration" and arguments and arguments.isidentifier():
            assert (ROOT / "tests" / "integration" / "targets" / arguments).is_dir() or arguments == "NAME", arguments
