# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lookup ovm.backup.subclients."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible import constants
from ansible.errors import AnsibleLookupError
from ansible.parsing.dataloader import DataLoader

from ansible_collections.ovm.backup.plugins.lookup import subclients
from ansible_collections.ovm.backup.plugins.module_utils.planning import subclient

NAME = "ovm.backup.subclients"
ROOT = Path(__file__).resolve().parents[3]
GOOD = "content:\n  - rules:\n      - field: name\n        value: '*'\n"
DEFINITION = {"content": [{"rules": [{"field": "name", "value": "*"}]}]}
KEYS = tuple(subclient._READERS)
UNKNOWN = "unknown key; known here are "

Look = Callable[..., dict[str, Any]]
Fail = Callable[..., str]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return the directory of an inventory, with an empty directory for subclients."""
    (tmp_path / "subclients").mkdir()
    return tmp_path


@pytest.fixture
def look(site: Path) -> Look:
    """Run the lookup as Ansible does, by default for the directory of the site."""

    def run(*terms: Any, variables: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        # What the loader of plugins does, which finds no collection in a unit test.
        options_of_plugin = yaml.safe_load(subclients.DOCUMENTATION)["options"]
        constants.config.initialize_plugin_configuration_definitions("lookup", NAME, options_of_plugin)
        plugin = subclients.LookupModule(loader=DataLoader())
        plugin._load_name = plugin.ansible_name = NAME
        given = list(terms) or [str(site / "subclients")]
        [found] = plugin.run(given, variables={"playbook_dir": str(site), **(variables or {})}, **options)
        return dict(found)

    return run


@pytest.fixture
def fail(look: Look, site: Path) -> Fail:
    """Run the lookup, expect that it fails, and return its message with the directory left out."""

    def run(*terms: Any, **options: Any) -> str:
        with pytest.raises(AnsibleLookupError) as failure:
            look(*terms, **options)
        return str(failure.value).replace(f"{site}/subclients/", "")

    return run


def write(site: Path, **files: str) -> None:
    for name, text in files.items():
        (site / "subclients" / name.replace("__", ".")).write_text(text, encoding="utf-8")


# --- what is read ----------------------------------------------------------------------------------------------------


def test_a_file_is_a_subclient(look: Look, site: Path) -> None:
    write(site, web__yaml=GOOD + "max_age: 1d\n", db__yml=GOOD)
    (site / "subclients" / "büro 1.old.yml").write_text("\ufeff" + GOOD, encoding="utf-8")
    assert look() == {"büro 1.old": DEFINITION, "db": DEFINITION, "web": {**DEFINITION, "max_age": "1d"}}


def test_other_files_are_left_alone(look: Look, site: Path) -> None:
    for name in (".hidden.yml", "db.yml~", "#db.yml#", ".#db.yml", "db.yml.bak", "db.yml.swp", "README.md", "x.json"):
        write(site, **{name.replace(".", "__"): "not: [a"})
    (site / "subclients" / "more").mkdir()
    assert look() == {}


def test_files_and_variable_together(look: Look, site: Path) -> None:
    write(site, db__yml=GOOD)
    both = look(definitions={"web": {**DEFINITION, "kill": True}})
    assert both == {"db": DEFINITION, "web": {**DEFINITION, "kill": True}}
    assert look("", definitions={"web": DEFINITION}) == {"web": DEFINITION}
    assert look("", definitions=None) == {}


def test_merges_and_aliases_are_plain_yaml(look: Look, site: Path) -> None:
    write(site, db__yml="content:\n  - &group\n    rules: [{field: name, value: a}]\n  - {<<: *group, match: any}\n")
    rules = [{"field": "name", "value": "a"}]
    assert look() == {"db": {"content": [{"rules": rules}, {"rules": rules, "match": "any"}]}}


def test_templates_stay_what_they_are(look: Look, site: Path) -> None:
    write(site, db__yml=GOOD + 'description: \'{{ lookup("pipe", "date") }}\'\n')
    assert look()["db"]["description"] == '{{ lookup("pipe", "date") }}'


def test_a_relative_directory_belongs_to_the_inventory_or_the_playbook(look: Look, site: Path, tmp_path: Path) -> None:
    write(site, db__yml=GOOD)
    assert list(look("subclients")) == ["db"]
    other = tmp_path / "inventory"
    (other / "subclients").mkdir(parents=True)
    (other / "subclients" / "web.yml").write_text(GOOD, encoding="utf-8")
    assert list(look("subclients", variables={"inventory_dir": str(other)})) == ["web"]
    assert list(look("subclients", variables={"inventory_dir": None})) == ["db"]
    assert sorted(look("subclients", str(other / "subclients"))) == ["db", "web"]


# --- what is refused -------------------------------------------------------------------------------------------------


def test_everything_wrong_is_listed_at_once(fail: Fail, site: Path) -> None:
    write(
        site,
        a__yml=GOOD + "max_age: soon\nbackup_typ: full\n",
        b__yml="description: x\n",
        c__yml=GOOD + "kill: true\nkill: no\nnfs_policy: maybe\n",
        d__yml="",
    )
    message = fail(definitions={"a": DEFINITION, "v": {**DEFINITION, "allow_empty": 3}, "w": [1]})
    lines = [re.split(r",? not |; | if ", line)[0] for line in message.splitlines()]
    assert lines == [
        "the set of subclients has 9 problems:",
        "- ovm_backup_subclients.v.allow_empty: must be true or false",
        "- ovm_backup_subclients.w: must be a mapping with the keys " + ", ".join(KEYS),
        "- a.yml: the subclient 'a' is defined twice, here and in ovm_backup_subclients.a",
        "- a.yml, line 6: backup_typ: unknown key",
        "- a.yml, line 5: max_age: the string 'soon' is",
        "- b.yml: content: is missing: it must be a list of groups of rules that say which VMs are in",
        "- c.yml, line 6: kill: the key stands twice, before in line 5",
        "- c.yml, line 7: nfs_policy: 'maybe' is",
        "- d.yml: is empty: it must hold the keys of a subclient, such as content",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_age: soon\n", "db.yml, line 5: max_age: the string 'soon' is not a duration"),
        ("max_agee: 1d\n", f"db.yml, line 5: max_agee: {UNKNOWN}"),
        ("name: db\n", f"db.yml, line 5: name: {UNKNOWN}"),
        (
            "exclude:\n  vms:\n    - rules: [{field: nam, value: x}]\n",
            "db.yml, line 7: exclude.vms[0].rules[0].field: ",
        ),
        ("exclude:\n  disks:\n  - {slot: 1, slot: 2}\n", "db.yml, line 7: exclude.disks[0].slot: the key stands twice"),
        ("a: [\n", "db.yml, line 6: is not YAML: "),
        ("\tkill: true\n", "db.yml, line 5: is not YAML: "),
        ("---\na: 1\n", "db.yml, line 6: holds more than one document; each subclient has a file of its own"),
        ("description: !vault x\n", "db.yml, line 5: holds what plain YAML does not know: "),
        ("description: !!python/object:os.system x\n", "db.yml, line 5: holds what plain YAML does not know: "),
        ("description: 2026-13-45\n", "db.yml: holds what plain YAML does not know: month must be in 1..12"),
        ("exclude: &a {vms: [*a]}\n", "db.yml, line 5: exclude.vms[0]: holds itself, by an alias"),
        ("? [a, b]\n: 1\n", "db.yml, line 5: holds what plain YAML does not know: found unhashable key"),
    ],
)
def test_a_wrong_file_is_named_with_its_line(fail: Fail, site: Path, text: str, message: str) -> None:
    write(site, db__yml=GOOD + text)
    assert message in fail()


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "null\n"])
def test_an_empty_file_is_refused(fail: Fail, site: Path, text: str) -> None:
    write(site, db__yml=text)
    assert fail() == ("the set of subclients: db.yml: is empty: it must hold the keys of a subclient, such as content")


@pytest.mark.parametrize("text", ["- a\n", "text\n", "3\n"])
def test_what_is_no_mapping_is_refused(fail: Fail, site: Path, text: str) -> None:
    write(site, db__yml=text)
    assert fail() == (
        "the set of subclients: db.yml: must hold the keys of one subclient, such as content, and not a list or a text"
    )


def test_a_file_that_cannot_be_read_is_named(fail: Fail, site: Path) -> None:
    (site / "subclients" / "a.yml").symlink_to("missing")
    (site / "subclients" / "b.yml").mkdir()
    (site / "subclients" / "c.yml").write_bytes(b"description: b\xfcro\n")
    (site / "subclients" / "d\n.yml").write_text(GOOD, encoding="utf-8")
    lines = fail().splitlines()
    assert [line.partition(";")[0] for line in lines[1:3]] == ["- a.yml: is not a file", "- b.yml: is not a file"]
    assert lines[3] == "- c.yml: is not UTF-8: invalid start byte at byte 14"
    assert "cannot be the name of a subclient" in lines[-1]


def test_a_name_in_two_files_is_refused(fail: Fail, site: Path) -> None:
    write(site, db__yml=GOOD, db__yaml=GOOD)
    assert fail() == (
        f"the set of subclients: db.yml: the subclient 'db' is defined twice, here and in {site}/subclients/db.yaml; "
        "remove one"
    ).replace(f"{site}/subclients/", "")


def test_a_missing_directory_is_named(fail: Fail, site: Path) -> None:
    message = "There is no directory with the definitions of subclients at {} (ovm_backup_subclients_path)"
    assert fail("nowhere") == message.format(site / "nowhere")
    both = fail("nowhere", variables={"inventory_dir": "/inventory"})
    assert both == message.format(f"/inventory/nowhere nor {site / 'nowhere'}")
    write(site, db__yml=GOOD)
    assert "There is no directory" in fail(str(site / "subclients" / "db.yml"))


def test_wrong_arguments_are_refused(fail: Fail) -> None:
    assert fail(3) == "ovm.backup.subclients needs the paths of directories, not the number 3"
    assert fail("", definitions=[1]) == (
        "the set of subclients: ovm_backup_subclients: must be a mapping of names to definitions, not a list"
    )


# --- what it needs ---------------------------------------------------------------------------------------------------


def test_the_control_node_needs_no_library_of_the_engine() -> None:
    program = (
        "import sys\n"
        "for name in ('requests', 'blake3', 'zstandard', 'ansible'):\n"
        "    sys.modules[name] = None\n"
        f"sys.path.insert(0, {str(ROOT.parents[2])!r})\n"
        "from ansible_collections.ovm.backup.plugins.plugin_utils._definitions import Definitions\n"
        "print(Definitions().checked())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("{}\n", "")
