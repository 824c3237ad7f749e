# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The definitions of all subclients, from variables and from files: read strictly, checked, and put together."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from ..module_utils.errors import SubclientError
from ..module_utils.planning.reading import Problem, kind_of, problem_details, problem_text, quoted
from ..module_utils.planning.subclient import Subclient

VARIABLE = "ovm_backup_subclients"
_ENDINGS = (".yml", ".yaml")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# What the constructor of PyYAML raises for values that it took for a number, a date and so on, and that are none.
_CONSTRUCTION = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError)


class FileProblem(Exception):
    """A file that cannot be taken for a definition at all."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


@dataclass
class Read:
    """What a file holds: the definition, the line of each key path, and what is wrong with the file as such."""

    definition: Any = None
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[FileProblem] = field(default_factory=list)


@dataclass
class Definitions:
    """The definitions that were found so far, where each stands, and all that is wrong."""

    found: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def add_variable(self, value: Any) -> None:
        """Add what is defined in a variable: a mapping of name to definition."""
        if value is None:
            return
        if not isinstance(value, Mapping):
            message = f"must be a mapping of names to definitions, not {kind_of(value)}"
            self.problems.append(Problem(VARIABLE, None, message))
            return
        for name, definition in value.items():
            self._add(name, definition, f"{VARIABLE}.{name}", {})

    def add_directory(self, directory: str) -> None:
        """Add what is defined in the files of a directory, one in each."""
        for path in definition_files(directory):
            name = os.path.splitext(os.path.basename(path))[0]
            try:
                check_name(name)
                read = read_definition(path)
            except FileProblem as error:
                self._add_file_problem(path, error)
                continue
            for problem in read.problems:
                self._add_file_problem(path, problem)
            self._add(name, read.definition, path, read.lines)

    def checked(self) -> dict[str, Any]:
        """Return all definitions by name; raise C(SubclientError) with everything that is wrong with any of them."""
        if self.problems:
            raise SubclientError(problem_text("the set of subclients", self.problems), **problem_details(self.problems))
        return self.found

    def _add_file_problem(self, path: str, problem: FileProblem) -> None:
        self.problems.append(Problem(_place(path, problem.line), None, str(problem)))

    def _add(self, name: Any, definition: Any, place: str, lines: Mapping[str, int]) -> None:
        if name in self.places:
            message = f"the subclient {quoted(name)} is defined twice, here and in {self.places[name]}; remove one"
            self.problems.append(Problem(place, None, message))
        else:
            self.found[name] = definition
            self.places[name] = place
        try:
            Subclient.parse(name, definition)
        except SubclientError as error:
            for problem in error.details["problems"]:
                key = problem["key"]
                if lines:
                    where = f"{_place(place, lines.get(key))}: {key}" if key else _place(place, None)
                else:
                    where = f"{place}.{key}" if key else place
                self.problems.append(Problem(where, problem["value"], problem["message"]))


def definition_files(directory: str) -> list[str]:
    """Return the paths of the files that define subclients, in the order of their names.

    Hidden files, backups of editors and whatever does not end in C(.yml) or C(.yaml) are none.
    """
    names = sorted(name for name in os.listdir(directory) if name.endswith(_ENDINGS) and name[0] not in ".#")
    return [os.path.join(directory, name) for name in names]


def check_name(name: str) -> None:
    """Raise C(FileProblem) for a name of a file that cannot be the name of a subclient."""
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in name):
        raise FileProblem(f"{name!a} cannot be the name of a subclient: it must be text without control characters")


def read_definition(path: str) -> Read:
    """Return the definition that a file holds; C(FileProblem) if it holds none."""
    if not os.path.isfile(path):
        raise FileProblem("is not a file; only files that define subclients may have names like this")
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except OSError as error:
        raise FileProblem(f"cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise FileProblem(f"is not UTF-8: {error.reason} at byte {error.start}") from error
    return parse_definition(text)


def parse_definition(text: str) -> Read:
    """Return the mapping that a YAML text holds."""
    try:
        documents = list(yaml.compose_all(text, Loader=_LOADER))
    except yaml.YAMLError as error:
        raise FileProblem(f"is not YAML: {_reason(error)}", _line(error)) from error
    except RecursionError as error:
        raise FileProblem("is not a definition: it is nested too deeply") from error
    if len(documents) > 1:
        line = documents[1].start_mark.line + 1
        raise FileProblem("holds more than one document; each subclient has a file of its own", line)
    if not documents or _is_empty(documents[0]):
        raise FileProblem("is empty: it must hold the keys of a subclient, such as content")
    root = documents[0]
    if not isinstance(root, yaml.MappingNode):
        raise FileProblem("must hold the keys of one subclient, such as content, and not a list or a text")
    read = Read()
    _walk(root, "", (), read)
    try:
        read.definition = yaml.constructor.SafeConstructor().construct_document(root)
    except _CONSTRUCTION as error:
        raise FileProblem(f"holds what plain YAML does not know: {_reason(error)}", _line(error)) from error
    return read


def _walk(node: yaml.Node, key: str, parents: tuple[yaml.Node, ...], read: Read) -> None:
    """Note all key paths with their lines, and keys that stand twice; C(FileProblem) for a value within itself."""
    if any(node is parent for parent in parents):
        raise FileProblem(f"{key}: holds itself, by an alias", node.start_mark.line + 1)
    inside = (*parents, node)
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            path = f"{key}[{number}]"
            read.lines[path] = item.start_mark.line + 1
            _walk(item, path, inside, read)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[tuple[str, str], int] = {}
        for name, value in node.value:
            if not isinstance(name, yaml.ScalarNode):
                continue  # no key that we know; the definition's reader says so
            path = f"{key}.{name.value}" if key else str(name.value)
            line = name.start_mark.line + 1
            before = seen.get((name.tag, name.value))
            if before is not None:
                message = f"{path}: the key stands twice, before in line {before}; remove one"
                read.problems.append(FileProblem(message, line))
            seen[name.tag, name.value] = read.lines[path] = line
            _walk(value, path, inside, read)


def _is_empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _place(path: str, line: int | None) -> str:
    return f"{path}, line {line}" if line else path


def _line(error: BaseException) -> int | None:
    mark = getattr(error, "problem_mark", None)
    return mark.line + 1 if mark is not None else None


def _reason(error: BaseException) -> str:
    return str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
