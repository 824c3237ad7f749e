# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every block of YAML in the documentation is valid, and says what the code understands."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.ovm.backup.plugins.module_utils._manager import manager_options
from ansible_collections.ovm.backup.plugins.module_utils.planning import restore_wishes
from ansible_collections.ovm.backup.plugins.module_utils.planning.subclient import Subclient
from ansible_collections.ovm.backup.plugins.module_utils.reporting.prometheus import METRICS

if TYPE_CHECKING:
    from conftest import Block, Documentation

ROOT = Path(__file__).resolve().parents[3]
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("[a-z]*.py"))
PREFIX = "ovm.backup."
MAPPED = set(restore_wishes.MAPPED)
SAMPLES = {"int": 1, "float": 1.0, "bool": True, "dict": {}, "list": [], "path": "/x", "str": "x"}
CONDITIONS = ("mutually_exclusive", "required_together", "required_one_of", "required_if", "required_by")


def known_variables() -> set[str]:
    """Return the variables that roles, playbooks and action plugins read, without the group of the run."""
    sources = [*ROOT.glob("roles/*/*/*.yml"), *ROOT.glob("playbooks/*.yml"), *ROOT.glob("plugins/plugin_utils/*.py")]
    found = {name for path in sources for name in re.findall(r"\bovm_backup_\w+", path.read_text(encoding="utf-8"))}
    # The playbook that sets AWX up takes those of its role.
    return (found - {"ovm_backup_vms"}) | set(role_options("controller"))


def run(*command: str, **environment: str) -> str:
    """Run one of Ansible's programs with the staged collection."""
    program, *arguments = command
    settings = {"ANSIBLE_COLLECTIONS_PATH": str(ROOT.parents[2]), "ANSIBLE_DEPRECATION_WARNINGS": "False"}
    path = Path(sys.executable).parent / program
    merged = {**os.environ, **settings, **environment}
    done = subprocess.run([str(path), *arguments], check=False, env=merged, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# --- what kind of example it is --------------------------------------------------------------------------------------


def is_playbook(content: Any) -> bool:
    return isinstance(content, list) and all("hosts" in item or import_of(item) for item in content)


def is_definition(content: Any) -> bool:
    """Tell whether this is a file that defines a subclient."""
    return isinstance(content, dict) and "content" in content


def import_of(item: Mapping[str, Any]) -> Any:
    return item.get("ansible.builtin.import_playbook")


def tasks_of(content: Any) -> list[dict[str, Any]]:
    """Return all tasks of a playbook or a list of tasks, those in blocks too."""
    found = []
    for item in content:
        inner = [item.get(key, []) for key in ("pre_tasks", "tasks", "block", "rescue", "always")]
        found += [task for part in inner for task in tasks_of(part)]
        if not any(inner) and "hosts" not in item and not import_of(item):
            found.append(item)
    return found


def is_inventory_source(content: Any) -> bool:
    """Tell whether this is a configuration of the inventory plugin."""
    return isinstance(content, dict) and "plugin" in content


def is_site_mapping(content: Any) -> bool:
    """Tell whether this is a file that says what is called otherwise at another site."""
    return isinstance(content, dict) and not MAPPED.isdisjoint(content)


def is_alerting(content: Any) -> bool:
    """Tell whether these are rules of Prometheus."""
    return isinstance(content, dict) and set(content) == {"groups"}


def variables_of(content: Any) -> Iterator[dict[str, Any]]:
    """Yield the mappings of variables: a file of variables, or an inventory."""
    others = (is_definition, is_inventory_source, is_site_mapping, is_alerting)
    if isinstance(content, dict) and not any(of_this_kind(content) for of_this_kind in others):
        inventory = content.get("all", {})
        yield inventory.get("vars", {}) if "all" in content else content


@pytest.fixture(scope="module")
def examples(documentation: Documentation) -> dict[Block, Any]:
    """Return the parsed content of every YAML block of the documentation."""
    return {block: loaded(block.text) for block in yaml_blocks(documentation)}


@pytest.fixture(scope="module")
def shown_by_modules() -> dict[str, list[dict[str, Any]]]:
    """Return the tasks in the EXAMPLES of every module."""
    shown = json.loads(run("ansible-doc", "--json", "--type", "module", *(PREFIX + name for name in MODULES)))
    return {name.removeprefix(PREFIX): yaml.safe_load(found["examples"]) for name, found in shown.items()}


# --- variables and subclients ----------------------------------------------------------------------------------------


def test_there_are_examples_of_every_kind(examples: dict[Block, Any]) -> None:
    kinds = {
        "playbook" if is_playbook(content) else "tasks" if isinstance(content, list) else "variables"
        for content in examples.values()
    }
    assert kinds == {"playbook", "tasks", "variables"}


def test_variables_exist(examples: dict[Block, Any]) -> None:
    fragments = {"bugfixes"}  # of a changelog
    shown = {
        f"{block}: {name}"
        for block, content in examples.items()
        for variables in variables_of(content)
        for name in variables
        if name not in known_variables() | fragments
    }
    assert shown == set()


def test_connections_have_known_options(examples: dict[Block, Any]) -> None:
    shown = [
        variables["ovm_backup_manager"]
        for content in examples.values()
        for variables in variables_of(content)
        if "ovm_backup_manager" in variables
    ]
    assert len(shown) >= 3
    assert {name for manager in shown for name in manager} <= set(manager_options())


def test_subclients_are_accepted(examples: dict[Block, Any]) -> None:
    shown = [
        (name, definition)
        for content in examples.values()
        for variables in variables_of(content)
        for name, definition in variables.get("ovm_backup_subclients", {}).items()
    ]
    shown += [(str(block), content) for block, content in examples.items() if is_definition(content)]
    assert len(shown) >= 7
    for name, definition in shown:
        assert Subclient.parse(name, definition).name == name


def test_subclients_of_the_demonstration_are_accepted() -> None:
    text = (ROOT / "tests" / "demo" / "subclients.yml").read_text(encoding="utf-8")
    for name, definition in yaml.safe_load(text)["ovm_backup_subclients"].items():
        assert Subclient.parse(name, definition).name == name


def test_inventory_sources_have_known_options(examples: dict[Block, Any]) -> None:
    shown = json.loads(run("ansible-doc", "--json", "--type", "inventory", "ovm.backup.ovm"))["ovm.backup.ovm"]
    sources = [(str(block), content) for block, content in examples.items() if is_inventory_source(content)]
    sources += [("the plugin", content) for content in yaml.safe_load_all(shown["examples"])]
    assert len(sources) == 6
    for place, content in sources:
        for name, value in content.items():
            option = shown["doc"]["options"][name]
            given = value if isinstance(value, list) else [value]
            assert [one for one in given if one not in option.get("choices", given)] == [], f"{place}: {name}"


# --- playbooks and tasks ---------------------------------------------------------------------------------------------


def test_playbooks_and_tasks_have_good_syntax(
    examples: dict[Block, Any], shown_by_modules: dict[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    files = []
    shown = {str(block): content for block, content in examples.items() if isinstance(content, list)}
    shown.update({f"module {name}": tasks for name, tasks in shown_by_modules.items()})
    for title, content in shown.items():
        play = {"name": title, "hosts": "localhost", "gather_facts": False, "tasks": content}
        path = tmp_path / f"{len(files)}.yml"
        path.write_text(yaml.safe_dump(content if is_playbook(content) else [play]), encoding="utf-8")
        files.append(str(path))
    assert len(files) > len(MODULES) + 8
    listed = run("ansible-playbook", "--syntax-check", "-i", "localhost,", "-e", "subclient=x", *files)
    assert listed.count("playbook:") == len(files)


def test_options_of_modules_are_right(
    examples: dict[Block, Any], shown_by_modules: dict[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [(str(block), task) for block, content in examples.items() for task in listed_tasks(content)]
    shown += [(f"module {name}", task) for name, tasks in shown_by_modules.items() for task in tasks]
    seen = set()
    for title, task in shown:
        for name in (key.removeprefix(PREFIX) for key in task if key.startswith(PREFIX)):
            seen.add(name)
            for variable, value in task.get("environment", {}).items():
                monkeypatch.setenv(variable, value)
            assert problems(name, task[PREFIX + name] or {}, monkeypatch) == [], f"{title}: {task['name']}"
            for variable in task.get("environment", {}):
                monkeypatch.delenv(variable)
    assert seen == set(MODULES)


def test_roles_get_the_variables_that_they_take(examples: dict[Block, Any]) -> None:
    plays = [play for content in examples.values() if is_playbook(content) for play in content]
    used = [(role["role"], role.get("vars", {})) for play in plays for role in play.get("roles", [])]
    assert {name.removeprefix(PREFIX) for name, _variables in used} == {path.name for path in ROOT.glob("roles/*")}
    for name, variables in used:
        options = role_options(name.removeprefix(PREFIX))
        assert set(variables) <= set(options), name
        by_plan = {"backup_vm_plan", "backup_vm_job_id"}
        required = {option for option, spec in options.items() if spec.get("required")} - by_plan
        assert required <= set(variables), name


@pytest.mark.parametrize("role", sorted(path.name for path in ROOT.glob("roles/*")))
def test_readme_of_role_lists_its_variables(documentation: Documentation, role: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \|", documentation.pages[f"roles/{role}/README.md"], re.MULTILINE)
    options = role_options(role)
    assert {name for name, _default in rows} == set(options)
    assert {name for name, default in rows if default.startswith("required")} == {
        name for name, spec in options.items() if spec.get("required")
    }


@pytest.mark.parametrize("role", sorted(path.name for path in ROOT.glob("roles/*")))
def test_what_may_be_omitted_is_taken_as_it_is(role: str) -> None:
    """Before ansible-core 2.19 that is a text, which other types refuse before the role begins."""
    sources = [ROOT / "roles" / role / "defaults" / "main.yml", *ROOT.glob("playbooks/*.yml")]
    found = [re.findall(r"^ *(\w+): .*\bomit\b", path.read_text(encoding="utf-8"), re.MULTILINE) for path in sources]
    options = role_options(role)
    assert {
        name: options[name]["type"] for name in set().union(*found) & set(options) if options[name]["type"] != "raw"
    } == {}


# --- what others read ------------------------------------------------------------------------------------------------


def test_mappings_of_another_site_are_accepted(examples: dict[Block, Any]) -> None:
    shown = [content for content in examples.values() if is_site_mapping(content)]
    assert len(shown) >= 1
    for content in shown:
        assert restore_wishes.read_mapping(content) == content


def test_alerts_use_metrics_that_there_are(examples: dict[Block, Any]) -> None:
    shown = [content for content in examples.values() if is_alerting(content)]
    rules = [rule for content in shown for group in content["groups"] for rule in group["rules"]]
    used = {name for rule in rules for name in re.findall(r"\bovm_backup_\w+", rule["expr"])}
    assert len(used) >= 3
    assert used <= set(METRICS)


def test_what_is_yaml_is_shown_as_yaml(documentation: Documentation) -> None:
    """A message may look like a mapping, but nothing is nested in it."""
    hidden = []
    for block in [*documentation.blocks("text"), *documentation.blocks("none")]:
        if block not in yaml_blocks(documentation):
            with contextlib.suppress(yaml.YAMLError):
                content = loaded(block.text)
                inner = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
                hidden += [str(block)] if any(isinstance(value, (dict, list)) for value in inner) else []
    assert hidden == []


# --- helpers ---------------------------------------------------------------------------------------------------------


class Loader(yaml.SafeLoader):
    """Loads what Ansible loads, without making anything of its tags."""


Loader.add_constructor("!unsafe", yaml.SafeLoader.construct_yaml_str)


def yaml_blocks(documentation: Documentation) -> list[Block]:
    """Return the blocks of YAML. antsibull-docs does not know C(!unsafe), so one with that tag is not called YAML."""
    return [*documentation.blocks("yaml"), *(one for one in documentation.blocks("none") if "!unsafe" in one.text)]


def loaded(text: str) -> Any:
    return yaml.load(text, Loader)


def listed_tasks(content: Any) -> list[dict[str, Any]]:
    return tasks_of(content) if isinstance(content, list) else []


def role_options(role: str) -> dict[str, dict[str, Any]]:
    text = (ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text)["argument_specs"]["main"].get("options", {}))


def problems(name: str, options: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what the argument specification of a module says against options."""
    specification = specification_of(name, monkeypatch)
    arguments = specification["argument_spec"]
    unknown = sorted(set(options) - set(arguments))
    if unknown:
        return [f"unknown: {', '.join(unknown)}"]
    given = {
        option: SAMPLES[arguments[option].get("type", "str")] if "{{" in str(value) else value
        for option, value in options.items()
    }
    conditions = {key: specification[key] for key in CONDITIONS if key in specification}
    return list(ArgumentSpecValidator(arguments, **conditions).validate(given).error_messages)


def specification_of(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the arguments with which a module makes its AnsibleModule."""
    module = importlib.import_module(f"ansible_collections.ovm.backup.plugins.modules.{name}")
    taken: dict[str, Any] = {}

    class Taken(Exception):
        pass

    def take(**arguments: Any) -> None:
        taken.update(arguments)
        raise Taken

    main: Callable[[], None] = module.main
    with monkeypatch.context() as patch:
        patch.setattr(module, "AnsibleModule", take)
        with pytest.raises(Taken):
            main()
    return taken
