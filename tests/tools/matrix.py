# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Test the collection on the versions of ansible-core and Python that it promises to work with.

Usage: python matrix.py --build BUILD [--fast] [CELL...]

Without a cell all are run. A cell is ``core-2.16/sanity`` (a version of ansible-core) or ``python-3.9/engine`` (of the
modules' Python); ``core-2.16`` is all cells of that row. Each row has an environment of its own in BUILD/matrix, made
once. What a cell came to is kept there, so the matrix can be run in pieces. BUILD/matrix.md has the table; the table of
README.md has to say the same of every cell that was run. A cell whose interpreter this machine lacks is skipped.

``--fast`` is the part for ``make test``: the lowest Python and the lowest ansible-core, one thing of each kind.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

from tools.environment import make_ready

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = Path("ansible_collections/ovm/backup")
ENGINE = ("images", "manager", "planning", "reporting", "transfer", "vault")  # the rooms with tests that need no tools
TESTS_RUN_ON = ("3.11", "3.12", "3.13")  # the tests and the simulator themselves; the plugins begin earlier
NEED_SIMULATOR = ("manager",)  # on an older Python the integration targets test it, with a simulator on a newer one
FAST_TARGET = "vm_info"  # one integration target, for --fast
FAST_ROOMS = ("planning",)
NONE = "-"
CORE_HEADS = ["ansible-core", "its Python", "the modules' Python", "unit", "sanity", "integration"]
PYTHON_HEADS = ["Python of the modules", "import", "engine"]
START, END = "<!-- Begin of the compatibility table. -->", "<!-- End of the compatibility table. -->"


@dataclass(frozen=True)
class Row:
    """A version that is tested: of ansible-core with two interpreters, or of Python for the modules alone."""

    name: str
    python: str
    core: str  # what pip installs
    modules: str = ""  # the Python of the modules in the integration tests
    kinds: tuple[str, ...] = ("unit", "sanity", "integration")


# The modules' Python differs from row to row, so that with `make test` the integration targets run with each of them.
CORES = (
    Row("core-2.16", "3.11", "ansible-core~=2.16.0", "3.9"),
    Row("core-2.17", "3.12", "ansible-core~=2.17.0", kinds=("sanity",)),
    Row("core-2.18", "3.12", "ansible-core~=2.18.0", "3.10"),
    Row("core-2.19", "3.11", "ansible-core~=2.19.0", "3.12"),
    Row("core-2.20", "3.12", "ansible-core~=2.20.0", kinds=("sanity",)),
    Row("core-2.21", "3.13", "ansible-core~=2.21.0", "3.13"),
)
# The unit tests take AnsibleModule from ansible-core, here the newest that the interpreter can have.
PYTHONS = tuple(
    Row(f"python-{version}", version, "ansible-core", kinds=("import", "engine"))
    for version in ("3.9", "3.10", "3.11", "3.12", "3.13")
)
ROWS = {row.name: row for row in (*CORES, *PYTHONS)}


class Skipped(Exception):
    """A cell that cannot be run on this machine."""


def interpreter(version: str) -> str:
    """Return an interpreter of this version: on the path, or among those of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path("~/.pyenv").expanduser()) / "versions"
    candidates = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)]
    for candidate in filter(None, candidates):
        # What pyenv puts on the path need not work.
        command = [str(candidate), "-c", "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.strip() == version:
            return str(candidate)
    raise Skipped(f"no Python {version} on this machine")


class Matrix:
    """The environments, the stage, and what each cell came to."""

    def __init__(self, build: Path) -> None:
        self.build = build
        self.directory = build / "matrix"
        self.stage = self.directory / "stage" / COLLECTION
        self.home = self.directory / "home"
        self.results = self.directory / "results"

    def prepare(self) -> None:
        """Copy the collection to a stage of the matrix's own: another step may be at work in the other."""
        self.results.mkdir(parents=True, exist_ok=True)
        self.home.mkdir(exist_ok=True)
        (self.build / "tmp").mkdir(exist_ok=True)  # where the Makefile has pytest put its files
        subprocess.run([sys.executable, ROOT / "tests/tools/stage.py", ROOT, self.stage], check=True)

    def environment(self, name: str, python: str, core: str) -> Path:
        """Return the virtual environment, made if need be."""
        venv = self.directory / name
        listed = [ROOT / "tests/unit/requirements.txt", ROOT / "tests/integration/requirements.txt"]
        own = self.directory / f"{name}.txt"
        own.write_text(f"{core}\n" + "".join(path.read_text(encoding="utf-8") for path in listed), encoding="utf-8")
        stamp = venv / f".ready-{zlib.crc32(own.read_bytes()):08x}"
        make_ready(str(venv), str(stamp), [str(own)], interpreter(python))
        return venv

    def call(self, venv: Path, *command: str) -> bool:
        """Run a command in the stage, with the programs of an environment; tell whether it passed."""
        stage_root = self.directory / "stage"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
            "ANSIBLE_COLLECTIONS_PATH": str(stage_root),
            "ANSIBLE_HOME": str(self.home / ".ansible"),
            "ANSIBLE_LOCAL_TEMP": str(self.home / ".ansible/tmp"),
            "ANSIBLE_REMOTE_TEMP": str(self.home / ".ansible/tmp"),
            "HOME": str(self.home),
            "PATH": f"{venv / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": f"{stage_root}:{self.stage / 'tests'}",
        }
        print(f"$ {' '.join(command)}", flush=True)
        return subprocess.run(command, cwd=self.stage, env=environment, check=False).returncode == 0

    def run(self, row: Row, kind: str, fast: bool = False) -> bool:
        """Run one cell."""
        python = row.python
        venv = self.environment(row.name, python, row.core)
        if kind == "unit":
            return self.call(venv, "pytest", "--numprocesses", "2", "--dist", "loadfile", "tests/unit")
        if kind == "sanity":
            tool = str(self.stage / "tests/tools/home.py")
            return self.call(venv, "python", tool, str(self.home)) and self.call(
                venv, "ansible-test", "sanity", "--color", "no", "--python", python
            )
        if kind == "integration":
            modules = ROWS[f"python-{row.modules}"]
            other = self.environment(modules.name, modules.python, modules.core)
            tool = str(self.stage / "tests/tools/integration.py")
            options = ["--build", str(self.build), "--venv", str(venv), "--python", python]
            options += ["--modules", f"{row.modules}@{other / 'bin' / 'python'}"]
            return self.call(venv, "python", tool, *options, *([FAST_TARGET] if fast else []))
        if kind == "import":
            return self.call(venv, "python", "tests/tools/import_all.py")
        return self.call(venv, "pytest", *engine_tests(self.stage, python, FAST_ROOMS if fast else ENGINE))

    def record(self, row: Row, kind: str) -> str:
        """Run one cell and keep what it came to."""
        cell = f"{row.name}/{kind}"
        print(f"\n=== {cell} " + "=" * 60, flush=True)
        begin = time.monotonic()
        try:
            result = "passed" if self.run(row, kind) else "failed"
        except Skipped as reason:
            result = f"skipped: {reason}"
        print(f"{cell}: {result} after {time.monotonic() - begin:.0f} s", flush=True)
        self.path(row, kind).write_text(json.dumps({"result": result}), encoding="utf-8")
        return result

    def path(self, row: Row, kind: str) -> Path:
        """Return the file that keeps what a cell came to."""
        return self.results / f"{row.name}.{kind}.json"

    def result(self, row: Row, kind: str) -> str:
        """Return what a cell came to the last time."""
        path = self.path(row, kind)
        return str(json.loads(path.read_text(encoding="utf-8"))["result"]) if path.is_file() else "not run"


def engine_tests(stage: Path, python: str, wanted_rooms: tuple[str, ...]) -> list[str]:
    """Return the test files of the engine that this Python can run: the tests themselves may use a newer one."""
    rooms = [room for room in wanted_rooms if python in TESTS_RUN_ON or room not in NEED_SIMULATOR]
    files = [path for room in rooms for path in sorted((stage / "tests/unit" / room).rglob("test_*.py"))]
    # The tool that finds them out is in the environment of the build, whose Python runs this.
    command = [str(Path(sys.executable).with_name("vermin")), "--no-tips", "--violations", f"--target={python}-"]
    said = subprocess.run([*command, *map(str, files)], stdout=subprocess.PIPE, text=True, check=False).stdout
    # A line for each file that needs more, such as "!2, 3.10  PATH"; what it needs it for is indented.
    newer = {line.split()[-1] for line in said.splitlines() if line.endswith(".py") and not line.startswith(" ")}
    return [str(path.relative_to(stage)) for path in files if str(path) not in newer]


def label(row: Row) -> list[str]:
    """Return the first cells of a row of the table."""
    if row in CORES:
        return [row.name.removeprefix("core-"), row.python, row.modules or NONE]
    return [row.python]


def table(rows: tuple[Row, ...], heads: list[str], found: dict[str, str]) -> list[str]:
    """Return the lines of a table in Markdown; its last columns are named by the kinds of tests."""
    kinds = heads[len(label(rows[0])) :]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in rows:
        cells = [found.get(f"{row.name}/{kind}", NONE) for kind in kinds]
        lines.append("| " + " | ".join([*label(row), *cells]) + " |")
    return lines


def render(found: dict[str, str]) -> str:
    """Return both tables in Markdown."""
    lines = table(CORES, CORE_HEADS, found)
    lines += ["", *table(PYTHONS, PYTHON_HEADS, found)]
    return "\n".join(lines) + "\n"


def cells_of(markdown: str) -> dict[str, str]:
    """Read the tables back: what they say of each cell."""
    found: dict[str, str] = {}
    for line in markdown.splitlines():
        words = [word.strip() for word in line.strip().strip("|").split("|")]
        for row in ROWS.values():
            heads = CORE_HEADS if row in CORES else PYTHON_HEADS
            first = len(label(row))
            if words[:first] == label(row) and len(words) == len(heads):
                names = [f"{row.name}/{kind}" for kind in heads[first:]]
                found.update({name: word for name, word in zip(names, words[first:], strict=True) if word != NONE})
    return found


def published(readme: str) -> dict[str, str]:
    """Return what README.md says of each cell."""
    match = re.search(re.escape(START) + r"\n(.*?)" + re.escape(END), readme, re.S)
    return cells_of(match[1]) if match else {}


def wanted(names: list[str]) -> list[tuple[Row, str]]:
    """Return the cells with these names, all of them without a name."""
    cells = [(row, kind) for row in ROWS.values() for kind in row.kinds]
    known = {f"{row.name}/{kind}" for row, kind in cells} | set(ROWS)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"Unknown: {', '.join(unknown)}. There are: {', '.join(sorted(known))}")
    return [(row, kind) for row, kind in cells if not names or row.name in names or f"{row.name}/{kind}" in names]


def fast(matrix: Matrix) -> int:
    """Run the part for every day."""
    lowest, core = PYTHONS[0], CORES[0]
    failed = []
    for row, kind in ((lowest, "import"), (lowest, "engine"), (core, "integration")):
        try:
            if not matrix.run(row, kind, fast=True):
                failed.append(f"{row.name}/{kind}")
        except Skipped as reason:
            print(f"{row.name}/{kind} is skipped: {reason}")
    if failed:
        print(f"Failed: {', '.join(failed)}")
    return 1 if failed else 0


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("cells", nargs="*")
    arguments = parser.parse_args()
    matrix = Matrix(arguments.build.absolute())
    cells = wanted(arguments.cells)
    matrix.prepare()
    if arguments.fast:
        return fast(matrix)
    results = {f"{row.name}/{kind}": matrix.record(row, kind) for row, kind in cells}
    markdown = render({f"{row.name}/{kind}": matrix.result(row, kind) for row, kind in wanted([])})
    (arguments.build / "matrix.md").write_text(markdown, encoding="utf-8")
    print(f"\n{markdown}")
    said = published((ROOT / "README.md").read_text(encoding="utf-8"))
    wrong = [name for name, result in results.items() if not result.startswith("skipped") and said.get(name) != result]
    if wrong:
        print(f"README.md says something else of {', '.join(wrong)}: its table is that of build/matrix.md.")
    return 1 if wrong or "failed" in results.values() else 0


if __name__ == "__main__":
    sys.exit(main())
