# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Definitions of subclients: what is right becomes typed values, what is wrong is named with its key path."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.errors import InvalidInputError, SubclientError
from ansible_collections.ovm.backup.plugins.module_utils.planning import subclient
from ansible_collections.ovm.backup.plugins.module_utils.planning.content import DiskFilter, Group, Rule
from ansible_collections.ovm.backup.plugins.module_utils.planning.limits import Limits
from ansible_collections.ovm.backup.plugins.module_utils.planning.patterns import Pattern
from ansible_collections.ovm.backup.plugins.module_utils.planning.subclient import Subclient, checked_backup_type
from ansible_collections.ovm.backup.plugins.module_utils.vault.retention import RetentionPolicy

CONTENT = [{"rules": [{"field": "name", "value": "db*"}]}]
FIELDS = "name, id, repository, server, server_pool, guest_os, power_state, tag, domain_type, template"
STATES = "RUNNING, STOPPED, SUSPENDED, STARTING, STOPPING, TEMPLATE"
TYPES = "full, incremental, differential, synthetic_full"
KEYS = ", ".join(subclient._READERS)
DURATION = (
    "a duration is a whole number of seconds, or a number with a unit s, m, h, d or w, such as 90m, 24h, 1d or 2w"
)


def patterns(*texts: str) -> tuple[Pattern, ...]:
    return tuple(Pattern.parse(text) for text in texts)


def test_smallest_definition_has_the_documented_defaults() -> None:
    group = Group("content[0]", (Rule("content[0].rules[0]", "name", patterns("db*")),))
    assert Subclient.parse("prod", {"content": CONTENT}) == Subclient(
        name="prod",
        content=(group,),
        description="",
        exclude_vms=(),
        exclude_disks=(),
        backup_type="incremental",
        max_age=0,
        allow_empty=False,
        nfs_policy="fail",
        shutdown_timeout=600,
        kill=False,
        max_increments=0,
        limits=Limits(clones=1, repository=0, server=0, proxy=0),
        retries=2,
        retry_delay=60,
        max_failed_percent=100,
        retention=None,
        source="auto",
        reference_clone="keep",
        reference_space=10,
        sample=0.01,
        consistency="crash",
    )


def test_full_definition() -> None:
    definition = {
        "description": "Data bases",
        "content": [
            {
                "match": "any",
                "rules": [
                    {"field": "name", "operator": "not_equals", "value": ["a*", "b"]},
                    {"field": "template", "value": False},
                    {"field": "power_state", "value": "running"},
                ],
            }
        ],
        "exclude": {
            "vms": [{"rules": [{"field": "tag", "value": "scratch"}]}],
            "disks": [
                {"field": "name", "value": "swap*"},
                {"field": "slot", "value": [1, "2"]},
                {"field": "repository", "value": ["tmp", "old"]},
            ],
        },
        "backup_type": "full",
        "max_age": "24h",
        "allow_empty": True,
        "nfs_policy": "shutdown",
        "shutdown_timeout": "5m",
        "kill": True,
        "retention": {"keep_last": 3},
        "source": "ssh",
        "reference_clone": "remove",
        "reference_space": "25",
        "sample": " 2.5 ",
        "consistency": "paused",
    }
    assert Subclient.parse("prod", definition) == Subclient(
        name="prod",
        description="Data bases",
        content=(
            Group(
                "content[0]",
                (
                    Rule("content[0].rules[0]", "name", patterns("a*", "b"), negated=True),
                    Rule("content[0].rules[1]", "template", patterns("false")),
                    Rule("content[0].rules[2]", "power_state", patterns("running")),
                ),
                match_any=True,
            ),
        ),
        exclude_vms=(Group("exclude.vms[0]", (Rule("exclude.vms[0].rules[0]", "tag", patterns("scratch")),)),),
        exclude_disks=(
            DiskFilter("exclude.disks[0]", "name", patterns=patterns("swap*")),
            DiskFilter("exclude.disks[1]", "slot", slots=(1, 2)),
            DiskFilter("exclude.disks[2]", "repository", patterns=patterns("tmp", "old")),
        ),
        backup_type="full",
        max_age=86400,
        allow_empty=True,
        nfs_policy="shutdown",
        shutdown_timeout=300,
        kill=True,
        retention=RetentionPolicy(keep_last=3),
        source="ssh",
        reference_clone="remove",
        reference_space=25,
        sample=2.5,
        consistency="paused",
    )


def test_keys_without_a_value_and_empty_filters_count_as_absent() -> None:
    plain = Subclient.parse("prod", {"content": CONTENT})
    absent = dict.fromkeys(KEYS.split(", ")) | {"content": CONTENT, "description": ""}
    assert Subclient.parse("prod", absent) == plain
    for exclude in ({}, {"vms": None, "disks": None}, {"vms": [], "disks": []}):
        assert Subclient.parse("prod", {"content": CONTENT, "exclude": exclude}) == plain


class TaggedText(str):
    """Stands for the string types that Ansible's YAML loader makes."""


class TaggedNumber(int):
    """Stands for the number types that Ansible's YAML loader makes."""


def test_subclasses_of_plain_types_become_plain() -> None:
    rules = [{TaggedText("field"): TaggedText("name"), TaggedText("value"): TaggedText("x")}]
    definition = {TaggedText("content"): [{TaggedText("rules"): rules}], TaggedText("max_age"): TaggedNumber(60)}
    found = Subclient.parse(TaggedText("prod"), definition)
    values = (found.name, found.content[0].rules[0].field, found.content[0].rules[0].patterns[0].text, found.max_age)
    assert [type(value) for value in values] == [str, str, str, int]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), (False, False), ("true", True), ("No", False), ("yes", True), ("False", False)],
)
def test_booleans_may_come_as_words(value: Any, expected: bool) -> None:
    assert Subclient.parse("prod", {"content": CONTENT, "kill": value}).kill is expected


@pytest.mark.parametrize(("value", "expected"), [(0, 0.0), (100, 100.0), (0.25, 0.25), ("1e-3", 0.001), ("7", 7.0)])
def test_sample_is_a_decimal_number(value: Any, expected: float) -> None:
    found = Subclient.parse("prod", {"content": CONTENT, "sample": value}).sample
    assert (type(found), found) == (float, expected)


def content(*rules: Any, **group: Any) -> dict[str, Any]:
    return {"content": [{"rules": list(rules), **group}]}


def one(field: Any, value: Any, **more: Any) -> dict[str, Any]:
    return content({"field": field, "value": value, **more})


def extra(**settings: Any) -> dict[str, Any]:
    return {"content": CONTENT, **settings}


def disk_filter(value: Any) -> dict[str, Any]:
    return extra(exclude={"disks": [value]})


RULE = "content[0].rules[0]"
WRONG: list[tuple[Any, str]] = [
    # the definition as a whole
    ("db*", f"must be a mapping with the keys {KEYS}, not the string 'db*'"),
    (None, f"must be a mapping with the keys {KEYS}, not empty"),
    ([], f"must be a mapping with the keys {KEYS}, not a list"),
    ({}, "content: is missing: it must be a list of groups of rules that say which VMs are in"),
    ({"content": None}, "content: is missing: it must be a list of groups of rules that say which VMs are in"),
    (extra(max_aeg=1), f"max_aeg: unknown key; known here are {KEYS} (did you mean 'max_age'?)"),
    (extra(**{"x y": 1}), f"x y: unknown key; known here are {KEYS}"),
    ({"content": CONTENT, True: 1}, f"True: unknown key; known here are {KEYS}"),
    # content and groups
    ({"content": []}, "content: must not be an empty list of groups"),
    ({"content": {}}, "content: must be a list of groups, not a mapping"),
    ({"content": "db*"}, "content: must be a list of groups, not the string 'db*'"),
    ({"content": ["db*"]}, "content[0]: must be a mapping with the keys match, rules, not the string 'db*'"),
    ({"content": [None]}, "content[0]: must be a mapping with the keys match, rules, not empty"),
    ({"content": [{}]}, "content[0].rules: is missing: it must be a list of rules"),
    (content(), "content[0].rules: must not be an empty list of rules"),
    ({"content": [{"rules": {}}]}, "content[0].rules: must be a list of rules, not a mapping"),
    (
        content(CONTENT[0]["rules"][0], match="some"),
        "content[0].match: 'some' is not a way to match; use one of all, any",
    ),
    (content(CONTENT[0]["rules"][0], match=1), "content[0].match: must be one of all, any, not the number 1"),
    (
        content(CONTENT[0]["rules"][0], rule=1),
        "content[0].rule: unknown key; known here are match, rules (did you mean 'rules'?)",
    ),
    # rules
    (content("db*"), f"{RULE}: must be a mapping with the keys field, operator, value, not the string 'db*'"),
    (content({"value": "x"}), f"{RULE}.field: is missing: it must be one of {FIELDS}"),
    (one("nam", "x"), f"{RULE}.field: 'nam' is not a field of a VM; use one of {FIELDS} (did you mean 'name'?)"),
    (one("Name", "x"), f"{RULE}.field: 'Name' is not a field of a VM; use one of {FIELDS} (did you mean 'name'?)"),
    (one("zzz", "x"), f"{RULE}.field: 'zzz' is not a field of a VM; use one of {FIELDS}"),
    (one(["name"], "x"), f"{RULE}.field: must be one of {FIELDS}, not a list"),
    (one(7, "x"), f"{RULE}.field: must be one of {FIELDS}, not the number 7"),
    (
        one("name", "x", operator="not-equals"),
        f"{RULE}.operator: 'not-equals' is not an operator; use one of equals, not_equals (did you mean 'not_equals'?)",
    ),
    (one("name", "x", operator=True), f"{RULE}.operator: must be one of equals, not_equals, not the boolean true"),
    (
        one("name", "x", vaule="y"),
        f"{RULE}.vaule: unknown key; known here are field, operator, value (did you mean 'value'?)",
    ),
    # values
    (content({"field": "name"}), f"{RULE}.value: is missing: it must be what the field is compared with"),
    (one("name", None), f"{RULE}.value: is missing: it must be what the field is compared with"),
    (one("name", ""), f"{RULE}.value: must not be an empty string"),
    (one("name", []), f"{RULE}.value: must not be an empty list of values"),
    (one("name", ["a", ""]), f"{RULE}.value[1]: must not be an empty string"),
    (one("name", ["a", None]), f"{RULE}.value[1]: must be a string, not empty"),
    (one("name", [["a"]]), f"{RULE}.value[0]: must be a string, not a list"),
    (one("name", {"a": 1}), f"{RULE}.value: must be a string, not a mapping"),
    (
        one("name", True),
        f"{RULE}.value: must be a string, not the boolean true; put it into quotes if that is its name",
    ),
    (one("name", 42), f"{RULE}.value: must be a string, not the number 42; put it into quotes if that is its name"),
    (one("name", 1.5), f"{RULE}.value: must be a string, not the number 1.5; put it into quotes if that is its name"),
    (
        one("name", "db[1"),
        f"{RULE}.value: 'db[1' is not a pattern: "
        "the '[' at character 3 is never closed; write [[] for a bracket itself",
    ),
    (one("name", ["a", "b[]"]), f"{RULE}.value[1]: 'b[]' is not a pattern: the set [] has no character"),
    (one("tag", "[z-a]"), f"{RULE}.value: '[z-a]' is not a pattern: the range z-a in [z-a] runs backwards"),
    (
        one("power_state", "RUNING"),
        f"{RULE}.value: 'RUNING' is not a power state; use one of {STATES} (did you mean 'RUNNING'?)",
    ),
    (one("power_state", "x*"), f"{RULE}.value: 'x*' is not a power state; use one of {STATES}"),
    (
        one("power_state", True),
        f"{RULE}.value: must be a string, not the boolean true; put it into quotes if that is its name",
    ),
    (one("template", "maybe"), f"{RULE}.value: must be true or false, not the string 'maybe'"),
    (one("template", 1), f"{RULE}.value: must be true or false, not the number 1"),
    (one("template", [True]), f"{RULE}.value: must be true or false, not a list"),
    # filters
    (extra(exclude=[]), "exclude: must be a mapping with the keys vms, disks, not a list"),
    (extra(exclude={"vm": []}), "exclude.vm: unknown key; known here are vms, disks (did you mean 'vms'?)"),
    (extra(exclude={"vms": "a"}), "exclude.vms: must be a list of groups, not the string 'a'"),
    (
        extra(exclude={"vms": [{"rules": [{"field": "os", "value": "x"}]}]}),
        f"exclude.vms[0].rules[0].field: 'os' is not a field of a VM; use one of {FIELDS}",
    ),
    (extra(exclude={"disks": {}}), "exclude.disks: must be a list of disk filters, not a mapping"),
    (disk_filter(3), "exclude.disks[0]: must be a mapping with the keys field, value, not the number 3"),
    (disk_filter({"value": "x"}), "exclude.disks[0].field: is missing: it must be one of name, slot, repository"),
    (
        disk_filter({"field": "size", "value": 1}),
        "exclude.disks[0].field: 'size' is not a field of a disk; use one of name, slot, repository",
    ),
    (
        disk_filter({"field": "slot"}),
        "exclude.disks[0].value: is missing: it must be what the field is compared with",
    ),
    (
        disk_filter({"field": "slot", "value": "a*"}),
        "exclude.disks[0].value: must be the number of a slot (0, 1, 2 ...), not the string 'a*'",
    ),
    (
        disk_filter({"field": "slot", "value": [0, True]}),
        "exclude.disks[0].value[1]: must be the number of a slot (0, 1, 2 ...), not the boolean true",
    ),
    (
        disk_filter({"field": "slot", "value": -1}),
        "exclude.disks[0].value: must be the number of a slot (0, 1, 2 ...), not the number -1",
    ),
    (
        disk_filter({"field": "name", "value": 5}),
        "exclude.disks[0].value: must be a string, not the number 5; put it into quotes if that is its name",
    ),
    (
        disk_filter({"field": "name", "value": "x", "operator": "equals"}),
        "exclude.disks[0].operator: unknown key; known here are field, value",
    ),
    # settings
    (
        extra(description=3),
        "description: must be a string, not the number 3; put it into quotes if that is its name",
    ),
    (
        extra(backup_type="incremetal"),
        f"backup_type: 'incremetal' is not a backup type; use one of {TYPES} (did you mean 'incremental'?)",
    ),
    (extra(backup_type=["full"]), f"backup_type: must be one of {TYPES}, not a list"),
    (extra(max_increments=-1), "max_increments: must be a whole number, not the number -1"),
    (extra(max_increments="many"), "max_increments: must be a whole number, not the string 'many'"),
    (extra(limits=3), "limits: must be a mapping with the keys clones, repository, server, proxy, not the number 3"),
    (extra(limits={"server": True}), "limits.server: must be a whole number, not the boolean true"),
    (
        extra(limits={"servers": 1}),
        "limits.servers: unknown key; known here are clones, repository, server, proxy (did you mean 'server'?)",
    ),
    (extra(retries=101), "retries: must be between 0 and 100, not 101"),
    (extra(max_failed_percent=150), "max_failed_percent: must be between 0 and 100, not 150"),
    (
        extra(nfs_policy="stop"),
        "nfs_policy: 'stop' is not an NFS policy; use one of shutdown, skip, fail",
    ),
    (extra(nfs_policy=False), "nfs_policy: must be one of shutdown, skip, fail, not the boolean false"),
    (extra(source="sssh"), "source: 'sssh' is not a source; use one of auto, path, ssh (did you mean 'ssh'?)"),
    (
        extra(reference_clone="no"),
        "reference_clone: 'no' is not what becomes of a reference clone; use one of keep, remove",
    ),
    (extra(reference_clone=True), "reference_clone: must be one of keep, remove, not the boolean true"),
    (extra(reference_space=91), "reference_space: must be between 0 and 90, not 91"),
    (extra(reference_space="10%"), "reference_space: must be a whole number, not the string '10%'"),
    (extra(sample="some"), "sample: must be a number, not the string 'some'"),
    (extra(sample=True), "sample: must be a number, not the boolean true"),
    (extra(sample=[1]), "sample: must be a number, not a list"),
    (extra(sample=float("nan")), "sample: must be a number, not the number nan"),
    (extra(sample="inf"), "sample: must be a number, not the string 'inf'"),
    (extra(sample="1_0"), "sample: must be a number, not the string '1_0'"),
    (extra(sample="\u0663"), "sample: must be a number, not the string '\u0663'"),
    (extra(sample=-0.5), "sample: must be between 0 and 100, not -0.5"),
    (extra(sample=100.5), "sample: must be between 0 and 100, not 100.5"),
    (
        extra(consistency="application"),
        "consistency: 'application' is not a consistency that can be had; use one of crash, paused",
    ),
    (extra(max_age="soon"), f"max_age: the string 'soon' is not a duration: {DURATION}"),
    (extra(max_age=-5), "max_age: the number -5 is not a duration: a duration is not negative"),
    (extra(max_age=True), f"max_age: the boolean true is not a duration: {DURATION}"),
    (extra(max_age=[1]), f"max_age: a list is not a duration: {DURATION}"),
    (
        extra(max_outage="10m"),
        "max_outage: must be longer than shutdown_timeout, which is 10 min, not 10 min",
    ),
    (extra(shutdown_timeout=0, max_outage=1), "shutdown_timeout: must be at least 1 s, not 0 s"),
    (extra(shutdown_timeout=0), "shutdown_timeout: must be at least 1 s, not 0 s"),
    (extra(allow_empty="perhaps"), "allow_empty: must be true or false, not the string 'perhaps'"),
    (extra(kill=1), "kill: must be true or false, not the number 1"),
    (extra(kill=datetime.date(2026, 1, 2)), "kill: must be true or false, not a date"),
]


@pytest.mark.parametrize(("definition", "message"), WRONG)
def test_wrong_definitions(definition: Any, message: str) -> None:
    with pytest.raises(SubclientError) as caught:
        Subclient.parse("prod", definition)
    assert caught.value.message == f"subclient 'prod': {message}"


def test_all_problems_are_listed_with_key_and_value() -> None:
    definition = {
        "content": [{"rules": [{"field": "nam", "value": 1}]}],
        "kill": {"x": [TaggedText("y"), 1.5, True, None, datetime.date(2026, 1, 2)]},
        "maxage": 1,
    }
    with pytest.raises(SubclientError) as caught:
        Subclient.parse("prod", definition)
    messages = {
        "maxage": f"unknown key; known here are {KEYS} (did you mean 'max_age'?)",
        f"{RULE}.field": f"'nam' is not a field of a VM; use one of {FIELDS} (did you mean 'name'?)",
        f"{RULE}.value": "must be a string, not the number 1; put it into quotes if that is its name",
        "kill": "must be true or false, not a mapping",
    }
    lines = [f"- {key}: {message}" for key, message in messages.items()]
    assert caught.value.message == "\n".join(["subclient 'prod' has 4 problems:", *lines])
    values = [1, "nam", 1, {"x": ["y", 1.5, True, None, "datetime.date(2026, 1, 2)"]}]
    assert json.loads(json.dumps(caught.value.as_failure())) == {
        "kind": "SubclientError",
        "subclient": "prod",
        "key": "maxage",
        "value": 1,
        "problems": [
            {"key": key, "value": value, "message": message}
            for (key, message), value in zip(messages.items(), values, strict=True)
        ],
    }


@pytest.mark.parametrize(("name", "kind"), [("", "the string ''"), (" ", "the string ' '"), (7, "the number 7")])
def test_name_must_be_a_string_that_is_not_empty(name: Any, kind: str) -> None:
    with pytest.raises(SubclientError) as caught:
        Subclient.parse(name, {"content": CONTENT})
    expected = f"subclient: the name of a subclient must be a string that is not empty, not {kind}"
    assert caught.value.message == expected


def test_backup_type_of_a_run() -> None:
    assert [checked_backup_type(value) for value in TYPES.split(", ")] == TYPES.split(", ")
    with pytest.raises(InvalidInputError) as caught:
        checked_backup_type("differntial")
    expected = f"backup_type: 'differntial' is not a backup type; use one of {TYPES} (did you mean 'differential'?)"
    assert caught.value.message == expected
    assert caught.value.details["key"] == "backup_type"
