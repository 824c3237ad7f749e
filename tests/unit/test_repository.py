# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The promises of the repository about itself: what belongs together is there, and the rooms keep their doors shut."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
HEADER = """\
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
ENGINE = Path("plugins/module_utils")
SHARED = {"errors", "_certificates", "_children", "_libraries", "_reading", "_version"}
# Which rooms the files of a room may import from.
ROOMS = {
    "manager": {"manager"},
    "vault": {"vault"},
    "images": {"images"},
    "planning": {"planning", "manager", "vault"},
    "transfer": {"transfer", "planning", "manager", "vault", "images"},
    "guest": {"guest", "vault"},
    "export": {"export", "guest", "transfer", "planning", "manager", "images", "vault"},
    "reporting": {"reporting", "planning", "manager", "vault"},
}
LIMITS = {"plugins": 400, "tests": 500}  # lines of a file
# Spelt such that this file does not find itself.
LEFT_OPEN = re.compile(r"[T]ODO|[F]IXME|[X]XX|NotImplemented[E]rror|pytest\.mark\.(?:[s]kip|[x]fail)\b")


def files_of_git() -> list[Path]:
    """Return the files of the collection, relative to its root."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return sorted(Path(name) for name in names if name and (ROOT / name).is_file())


FILES = files_of_git()
PYTHON = [path for path in FILES if path.suffix == ".py"]
MODULES = sorted(
    path.stem for path in PYTHON if path.parent == Path("plugins/modules") and not path.name.startswith("_")
)


def read(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def every(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=str)


# --- the role backup_vm ----------------------------------------------------------------------------------------------


def test_attempt_forgets_all_that_an_earlier_one_has_registered() -> None:
    tasks = ROOT / "roles/backup_vm/tasks"
    texts = [path.read_text(encoding="utf-8") for path in tasks.glob("*.yml") if path.name != "main.yml"]
    registered = {name for text in texts for name in re.findall(r"^ *register: (\w+)$", text, re.MULTILINE)}
    first = yaml.safe_load((tasks / "attempt.yml").read_text(encoding="utf-8"))[0]
    assert registered <= set(first["ansible.builtin.set_fact"])


# --- every module has its places -------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", MODULES)
def test_module_has_an_integration_target(module: str) -> None:
    assert Path(f"tests/integration/targets/{module}/tasks/main.yml") in FILES


@pytest.mark.parametrize("module", MODULES)
def test_module_has_a_unit_test(module: str) -> None:
    assert Path(f"tests/unit/modules/test_{module}.py") in FILES


def test_action_groups_name_all_modules_and_nothing_else() -> None:
    groups = yaml.safe_load(read(Path("meta/runtime.yml")))["action_groups"]
    assert sorted({name for members in groups.values() for name in members}) == MODULES


def test_version_is_the_same_everywhere() -> None:
    galaxy = yaml.safe_load(read(Path("galaxy.yml")))
    assert f'COLLECTION_VERSION = "{galaxy["version"]}"' in read(Path("plugins/module_utils/_version.py")).splitlines()


# --- every file keeps the form ---------------------------------------------------------------------------------------


# ansible-test wants nothing at all in the files that only make a package.
@every([path for path in PYTHON if path.name != "__init__.py" or read(path)])
def test_file_begins_with_the_licence(path: Path) -> None:
    assert read(path).removeprefix("#!/usr/bin/python\n").startswith(HEADER)


@every([path for path in PYTHON if path.parts[0] in LIMITS])
def test_file_is_not_too_long(path: Path) -> None:
    assert len(read(path).splitlines()) <= LIMITS[path.parts[0]]


@every([path for path in FILES if path.parts[0] in ("plugins", "roles", "playbooks", "tests")])
def test_nothing_is_left_open(path: Path) -> None:
    content = (ROOT / path).read_bytes().decode("utf-8", errors="replace")
    assert LEFT_OPEN.findall(content) == []


# --- the engine ------------------------------------------------------------------------------------------------------


def imported(path: Path) -> set[str]:
    """Return the absolute dotted names that a file imports, relative imports resolved below plugins.module_utils."""
    package = list(path.parent.parts)
    names: set[str] = set()
    for node in ast.walk(ast.parse(read(path))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) + "." if node.level else ""
            if node.module:
                names.add(base + node.module)
                base += node.module + "."
            names.update(base + alias.name for alias in node.names)  # of a package, what is named may be a file
    return {name.removeprefix("ansible_collections.ovm.backup.") for name in names}


def sent_with(module: Path) -> set[Path]:
    """Return what Ansible sends with a module: all that is imported anywhere in it, and so on, run or not."""
    found: set[Path] = set()
    left = [module]
    while left:
        path = left.pop()
        if path not in found:
            found.add(path)
            places = [Path(*name.split(".")) for name in imported(path)]
            left += [place.with_suffix(".py") for place in places if place.with_suffix(".py") in PYTHON]
    return found


def engine_part(path: Path) -> str:
    return path.relative_to(ENGINE).parts[0].removesuffix(".py")


ENGINE_FILES = [path for path in PYTHON if path.is_relative_to(ENGINE) and engine_part(path) in {*ROOMS, *SHARED}]


@every(ENGINE_FILES)
def test_engine_knows_nothing_of_ansible(path: Path) -> None:
    assert [name for name in imported(path) if name.split(".")[0].startswith("ansible")] == []


@every(ENGINE_FILES)
def test_engine_imports_downwards_only(path: Path) -> None:
    ours = {name.split(".")[2] for name in imported(path) if name.startswith("plugins.module_utils.")}
    assert ours - SHARED - ROOMS.get(engine_part(path), set()) == set()


@pytest.mark.parametrize("name", ["virtual_disk", "vm", "vm_disk_mapping", "vm_info", "vm_power"])
def test_what_only_talks_to_the_manager_is_sent_without_the_vault(name: str) -> None:
    """Python compiles all that is sent, for each task."""
    sent = sent_with(Path("plugins/modules") / f"{name}.py")
    assert ENGINE / "_manager.py" in sent
    assert [path for path in sent if path.is_relative_to(ENGINE / "vault")] == []


def test_engine_has_only_known_rooms() -> None:
    rooms = {engine_part(path) for path in PYTHON if path.is_relative_to(ENGINE) and path.parent != ENGINE}
    assert rooms <= set(ROOMS)


# A vault may be in a bucket, where a path of this host is nothing. Its storages and these know the file system: they
# are programs of their own, read /proc, or need a file of this host.
ON_THIS_HOST = {"restore_script.py", "decrypt_script.py", "processes.py", "spool.py"}
VAULT_FILES = [path for path in PYTHON if path.parent == ENGINE / "vault" and path.name not in ON_THIS_HOST]
BY_PATH = re.compile(
    r"(?<!def )(?<![\w.])open\(|\bos\.(?!path\b|strerror\b|environ\b|cpu_count\b|getpid\b|fsencode\b|fsdecode\b)\w"
    r"|\bos\.path\.(?!join\b|basename\b|dirname\b|split\b|relpath\b)\w|\bshutil\."
)


@every(VAULT_FILES)
def test_vault_reaches_its_files_by_the_storage_only(path: Path) -> None:
    assert BY_PATH.findall(read(path)) == []


# --- the way in ------------------------------------------------------------------------------------------------------


PLAYBOOKS = sorted(path.stem for path in ROOT.glob("playbooks/[a-z]*.yml"))


@pytest.mark.parametrize("name", [*MODULES, *PLAYBOOKS])
def test_readme_has_a_line_for_module_and_playbook(name: str) -> None:
    assert f"`ovm.backup.{name}`" in read(ROOT / "README.md")


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_playbook_checks_its_host_first(name: str) -> None:
    """Ansible skips the plays of a host that there is not, and calls that success."""
    first, *plays = yaml.safe_load(read(ROOT / "playbooks" / f"{name}.yml"))
    assert first["ansible.builtin.import_playbook"] == "_host.yml"
    pattern = first.get("vars", {}).get("__host_pattern", "{{ ovm_backup_proxy | default('localhost') }}")
    assert {play["hosts"] for play in plays if "ovm_backup_vms" not in play["hosts"]} == {pattern}


def test_readme_of_the_tests_names_every_directory() -> None:
    text = read(ROOT / "tests" / "README.md")
    folders = {path.relative_to(ROOT / "tests").parts[:-1] for path in (ROOT / "tests").rglob("*.py")}
    wanted = {"/".join(parts[:2] if parts[0] == "unit" else parts[:1]) for parts in folders if parts}
    assert [name for name in sorted(wanted - {"unit", "integration", "output"}) if f"`{name}`" not in text] == []
