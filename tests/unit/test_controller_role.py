# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role controller writes into AWX agrees with the modules and the playbooks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from controller.credentials import Refused, check_inputs, check_type, injected
from controller.rules import check_rule, check_survey

from ansible_collections.ovm.backup.plugins.module_utils import _environment
from ansible_collections.ovm.backup.plugins.module_utils._manager import manager_options
from ansible_collections.ovm.backup.plugins.module_utils._ssh_options import ssh_options
from ansible_collections.ovm.backup.plugins.module_utils._transfer import repositories_option
from ansible_collections.ovm.backup.plugins.module_utils._vault import target_vault_options, vault_options

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles" / "controller"


class Loader(yaml.SafeLoader):
    """Reads the variables of roles: what is marked as no template is text."""


Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))


def variables(name: str) -> dict[str, Any]:
    text = (ROLE / "vars" / "main" / name).read_text(encoding="utf-8")
    return dict(yaml.load(text, Loader=Loader))


TYPES = variables("credentials.yml")["__controller_credential_types"]
TEMPLATES = variables("templates.yml")["__controller_templates"]
QUESTION = variables("templates.yml")["__controller_question"]
OPTIONS = {
    "manager": manager_options(),
    "ssh": {"ssh": ssh_options()},
    "vault": {**vault_options(), **repositories_option()},
    "target": target_vault_options(),
}


def fallbacks(options: dict[str, Any]) -> Iterator[str]:
    """Return the variables of the environment that options and their suboptions fall back to."""
    for option in options.values():
        if "fallback" in option:
            function, names = option["fallback"]
            assert function is _environment.env_fallback
            yield from names
        yield from fallbacks(option.get("options", {}))


def test_there_is_a_type_of_credential_for_all_that_comes_from_the_environment() -> None:
    assert TYPES.keys() == OPTIONS.keys()


@pytest.mark.parametrize("name", OPTIONS)
def test_injectors_are_the_fallbacks_of_the_modules(name: str) -> None:
    kind = TYPES[name]
    assert sorted(kind["injectors"]["env"]) == sorted(fallbacks(OPTIONS[name]))
    assert kind["injectors"].keys() == {"env", "file"}


def test_no_module_falls_back_to_anything_else() -> None:
    """A module with an option of its own would be left out above."""
    direct = [
        path.name
        for path in ROOT.glob("plugins/**/*.py")
        if "env_fallback" in path.read_text(encoding="utf-8")
        and path.name not in ("_environment.py", "_manager.py", "_ssh_options.py", "_transfer.py", "_vault.py")
    ]
    assert direct == []


@pytest.mark.parametrize("name", OPTIONS)
def test_types_are_accepted_and_blank_fields_give_empty_variables(name: str) -> None:
    kind = TYPES[name]
    check_type("cloud", kind["inputs"], kind["injectors"])
    files = {label: f"/{label}" for label in kind["injectors"]["file"]}
    chosen = {field["id"] for field in kind["inputs"]["fields"] if "default" in field}
    env = injected(kind, {}, files)["env"]
    given = {variable for variable, value in env.items() if value}
    # What is chosen from a list has a default, and a key is needed.
    assert len(given) == len(chosen) + (1 if name == "ssh" else 0)
    assert not [field for field in kind["inputs"]["fields"] if field["type"] != "string"]


def test_files_are_named_where_they_have_content() -> None:
    made = injected(TYPES["manager"], {"ca_certificates": "PEM"}, {"template.ca": "/ca"})
    assert (made["env"]["OVM_CA_PATH"], made["file"]["template.ca"]) == ("/ca", "PEM")
    files = {"template.key": "/key", "template.known_hosts": "/hosts"}
    made = injected(TYPES["ssh"], {"key": "KEY", "known_hosts": "host key"}, files)
    assert made["env"] == {"OVM_SSH_USER": "", "OVM_SSH_KEY_FILE": "/key", "OVM_SSH_KNOWN_HOSTS": "/hosts"}
    assert made["file"] == {"template.key": "KEY\n", "template.known_hosts": "host key\n"}


@pytest.mark.parametrize("name", OPTIONS)
def test_argument_specification_has_the_fields_of_the_type(name: str) -> None:
    specs = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    options = specs["argument_specs"]["main"]["options"][f"controller_{name}"]["options"]
    fields = {field["id"]: field for field in TYPES[name]["inputs"]["fields"]}
    assert list(options) == list(fields)
    assert {key: option.get("choices") for key, option in options.items()} == {
        key: field.get("choices") for key, field in fields.items()
    }


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template["name"])
def test_questions_are_variables_of_the_playbook(template: dict[str, Any]) -> None:
    check_survey({"name": "", "description": "", "spec": [{**QUESTION, **one} for one in template["survey"]]})
    text = (ROOT / "playbooks" / f"{template['name']}.yml").read_text(encoding="utf-8")
    read = set(re.findall(r"(?:\{\{|else|if) (\w+)", text))
    roles = re.findall(r"ovm\.backup\.(\w+)$", text, re.MULTILINE)
    for path in (path for role in roles for path in ROOT.glob(f"roles/{role}/defaults/*.yml")):
        read |= set(re.findall(r"ovm_backup_\w+", path.read_text(encoding="utf-8")))
    assert [one["variable"] for one in template["survey"] if one["variable"] not in read] == []
    assert set(template["credentials"]) <= set(TYPES)


# --- the stand-in refuses what AWX refuses ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "injectors", "why"),
    [
        ({}, {"env": {"ANSIBLE_VERBOSITY": "1"}}, "may affect Ansible configuration"),
        ({}, {"env": {"PYTHONPATH": "x"}}, "is not allowed to be used"),
        ({}, {"env": {"OVM_URL": "{{ url }}"}}, "uses an undefined field"),
        ({}, {"environment": {}}, "Additional properties"),
        ({"fields": [{"id": "tower", "label": "x"}]}, {}, "reserved field name"),
        ({"fields": [{"id": "a", "label": "x", "type": "int"}]}, {}, "is not one of"),
        ({"fields": [{"id": "a", "label": "x"}] * 2}, {}, "must be unique"),
        ({"fields": [{"id": "a", "label": "x", "kind": "y"}]}, {}, "keys that are not known"),
    ],
)
def test_types_of_credentials_are_refused(inputs: Any, injectors: Any, why: str) -> None:
    with pytest.raises(Refused, match=why):
        check_type("cloud", inputs, injectors)


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ({"address": "x"}, "'address' was unexpected"),
        ({"validate_certs": "maybe"}, "is not one of"),
        ({"url": 1}, "is not of type"),
    ],
)
def test_credentials_are_refused(inputs: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused, match=why):
        check_inputs(TYPES["manager"], inputs)


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("RRULE:FREQ=DAILY;INTERVAL=1", "Valid DTSTART required"),
        ("DTSTART:20300308T050000 RRULE:FREQ=DAILY;INTERVAL=1", "cannot be a naive datetime"),
        ("DTSTART:20300308T050000Z RRULE:FREQ=DAILY", "INTERVAL required"),
        ("DTSTART:20300308T050000Z RRULE:FREQ=SECONDLY;INTERVAL=1", "SECONDLY is not supported"),
        ("DTSTART:20300308T050000Z RRULE:FREQ=NEVER;INTERVAL=1", "rrule parsing failed"),
    ],
)
def test_rules_are_refused(rule: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        check_rule(rule)


@pytest.mark.parametrize(
    ("question", "why"),
    [
        ({"variable": "a"}, "'question_name' missing"),
        ({"variable": "a", "question_name": "A", "type": "choice"}, "is not one of"),
        ({"variable": "a", "question_name": "A", "type": "multiplechoice"}, "must specify choices"),
        ({"variable": "a", "question_name": "A", "type": "integer", "default": "1"}, "expected to be integer"),
    ],
)
def test_surveys_are_refused(question: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused, match=why):
        check_survey({"name": "", "description": "", "spec": [{**QUESTION, **question}]})
