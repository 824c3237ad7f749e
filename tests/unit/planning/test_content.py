# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Content: every field with both operators, groups, filters, and rules that select nothing."""

from __future__ import annotations

from typing import Any

import pytest
from unit.planning.estate import disk, inventory, rule, subclient, vm

from ansible_collections.ovm.backup.plugins.module_utils.planning.content import Selection, select

PLAIN = vm("plain", os_type="None", domain_type="XEN_PVM")
DB = vm(
    "DB [prod]",
    disk(0, "fc1"),
    disk(1, "nfs1"),
    disk(2, "iscsi2", kind="physical"),
    disk(3, "odd", kind="cdrom"),
    id="id-db",
    repository_id="id-iscsi2",
    server_id="id-server2",
    server_pool_id="id-pool2",
    state="STOPPED",
    tags=("gold", "Site A"),
)
BARE = vm(
    "bare",
    disks=(),
    repository_id=None,
    server_id=None,
    server_pool_id=None,
    state="TEMPLATE",
    os_type="",
    domain_type="",
)
LOST = vm("lost", disk(0, "gone"), repository_id="id-gone2", server_id="id-gone", server_pool_id="id-gone")
ESTATE = inventory(PLAIN, DB, BARE, LOST)


def chosen(*rules: dict[str, Any], match: str = "all", **settings: Any) -> Selection:
    definition = subclient(*rules, match=match, **settings)
    vms = tuple(ESTATE.vms.values())
    return select(definition.content, definition.exclude_vms, vms, ESTATE)


def names(selection: Selection) -> str:
    return " ".join(item.vm.id.removeprefix("id-") for item in selection.selected)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("name", "plain", "plain"),
        ("name", "PL*", "plain"),
        ("name", "db [[]prod]", "db"),
        ("name", ["plain", "b?re"], "plain bare"),
        ("name", "[!p]*", "db bare lost"),
        ("id", "id-DB", "db"),
        ("id", "id-[bp]*", "plain bare"),
        ("repository", "iscsi1", "plain"),
        ("repository", "iscsi2", "db"),  # its vm.cfg
        ("repository", "fc1", "db"),
        ("repository", "NFS*", "db"),
        ("repository", "id-nfs1", "db"),
        ("repository", "id-gone", "lost"),  # a repository that the manager does not list
        ("repository", "id-gone2", "lost"),
        ("server", "server1", "plain"),
        ("server", "id-server2", "db"),
        ("server", ["server*", "id-gone"], "plain db lost"),
        ("server_pool", "pool2", "db"),
        ("server_pool", "id-pool1", "plain"),
        ("guest_os", "oracle*", "db lost"),
        ("power_state", "stopped", "db"),
        ("power_state", ["RUNNING", "STOPPED"], "plain db lost"),
        ("tag", "gold", "db"),
        ("tag", "site*", "db"),
        ("domain_type", "xen_pvm", "plain"),
        ("template", True, "bare"),
        ("template", "no", "plain db lost"),
    ],
)
def test_fields(field: str, value: Any, expected: str) -> None:
    everything = {"plain", "db", "bare", "lost"}
    assert names(chosen(rule(field, value))) == expected
    assert set(names(chosen(rule(field, value, "not_equals"))).split()) == everything - set(expected.split())


@pytest.mark.parametrize("place", ["odd", "iscsi3"])
def test_repositories_of_other_disks_do_not_count(place: str) -> None:
    assert names(chosen(rule("repository", place))) == ""


@pytest.mark.parametrize(
    ("match", "expected", "reason"),
    [
        ("all", "db", "content[0]: name not_equals 'pl*' or 'lost' and power_state equals 'stopped'"),
        ("any", "db bare", "content[0].rules[0]: name not_equals 'pl*' or 'lost'"),
    ],
)
def test_groups_say_which_rule_selected(match: str, expected: str, reason: str) -> None:
    found = chosen(rule("name", ["pl*", "lost"], "not_equals"), rule("power_state", "stopped"), match=match)
    assert names(found) == expected
    assert {item.selected_by for item in found.selected} == {reason}


def test_a_vm_is_in_if_any_group_matches_and_the_first_one_is_named() -> None:
    groups = [{"rules": [rule("name", "plain")]}, {"match": "any", "rules": [rule("tag", "x"), rule("name", "[dp]*")]}]
    found = chosen(content=groups)
    assert {item.vm.name: item.selected_by for item in found.selected} == {
        "plain": "content[0]: name equals 'plain'",
        "DB [prod]": "content[1].rules[1]: name equals '[dp]*'",
    }
    assert [str(problem) for problem in found.empty] == [
        "content[1].rules[0]: tag equals 'x' matches no VM of the manager"
    ]


def test_filters_take_vms_out() -> None:
    vms = [{"rules": [rule("tag", "gold"), rule("power_state", "STOPPED")]}, {"rules": [rule("name", "nobody")]}]
    found = chosen(rule("template", False), exclude={"vms": vms})
    assert names(found) == "plain lost"
    assert [(item.vm_name, item.selected_by, item.excluded_by) for item in found.excluded] == [
        (
            "DB [prod]",
            "content[0]: template equals 'false'",
            "exclude.vms[0]: tag equals 'gold' and power_state equals 'STOPPED'",
        )
    ]
    assert found.empty == ()


def test_filters_may_not_take_everything_out() -> None:
    found = chosen(rule("name", "plain"), exclude={"vms": [{"rules": [rule("id", "*")]}]})
    assert [str(problem) for problem in found.empty] == ["exclude.vms: takes out every VM that the content selects"]


@pytest.mark.parametrize(
    ("rules", "match", "problems"),
    [
        pytest.param(
            [rule("name", "plian")],
            "all",
            ["content[0].rules[0]: name equals 'plian' matches no VM of the manager (did you mean 'plain'?)"],
            id="typing error",
        ),
        pytest.param(
            [rule("name", "db [prod]")],
            "all",
            [
                "content[0].rules[0]: name equals 'db [prod]' matches no VM of the manager ('db [prod]' exists, "
                "but [ ] is a set of characters: write [[] for a bracket itself)"
            ],
            id="bracket",
        ),
        pytest.param(
            [rule("name", "x"), rule("tag", "silver"), rule("power_state", "SUSPENDED")],
            "any",
            [
                "content[0].rules[0]: name equals 'x' matches no VM of the manager",
                "content[0].rules[1]: tag equals 'silver' matches no VM of the manager",
                "content[0].rules[2]: power_state equals 'SUSPENDED' matches no VM of the manager",
            ],
            id="each rule is named",
        ),
        pytest.param(
            [rule("name", "plain"), rule("tag", "gold")],
            "all",
            ["content[0]: no VM of the manager matches the whole group: name equals 'plain' and tag equals 'gold'"],
            id="group that selects none",
        ),
        pytest.param(
            [rule("name", "*", "not_equals")],
            "all",
            ["content[0]: no VM of the manager matches the whole group: name not_equals '*'"],
            id="nothing is left of everything",
        ),
        pytest.param([rule("name", "nobody", "not_equals")], "all", [], id="not_equals may fit all"),
    ],
)
def test_rules_that_select_nothing(rules: list[dict[str, Any]], match: str, problems: list[str]) -> None:
    assert [str(problem) for problem in chosen(*rules, match=match).empty] == problems


def test_template_rule_that_selects_nothing() -> None:
    definition = subclient(rule("template", True))
    found = select(definition.content, (), (PLAIN,), inventory(PLAIN))
    assert [str(problem) for problem in found.empty] == [
        "content[0].rules[0]: template equals 'true' matches no VM of the manager"
    ]


def test_values_that_match_nothing_beside_others_are_a_warning() -> None:
    found = chosen(rule("name", ["plain", "typo*"]), rule("name", ["x", "y"], "not_equals"))
    assert found.warnings == ("content[0].rules[0]: name 'typo*' matches no VM of the manager",)
    assert found.empty == ()
