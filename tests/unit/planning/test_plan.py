# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan as a whole: what happens to which VM, why, in which order and where."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.planning.estate import GIB, HOUR, client, disk, group, plan, plan_one, rule, vm

from ansible_collections.ovm.backup.plugins.module_utils.errors import InvalidInputError, NothingSelectedError
from ansible_collections.ovm.backup.plugins.module_utils.manager.inventory import Vm
from ansible_collections.ovm.backup.plugins.module_utils.planning.access import Access
from ansible_collections.ovm.backup.plugins.module_utils.planning.state import LastJob

DAY = 24 * HOUR
IS_RUNNING = "the VM is running, all its disks are on storage repository 'iscsi1' (OCFS2 on iSCSI)"
NO_POINT = "it has no recovery point yet"


def test_plan_in_plain_types() -> None:
    """The shape that playbooks see."""
    guest = vm("db 1", disk(0, "fc1"), disk(1, "iscsi1", name="new"), disk(2, None, kind="physical", name="LUN"))
    known = client(vm("old", disk(0, "fc1"), id=guest.id), age=2 * DAY)
    out = vm("scratch")
    found = plan(
        guest,
        out,
        clients=[known],
        run=group("p1", access=Access(frozenset({"id-fc1"}), ssh=True)),
        last_job=LastJob("J1", "full", {"id-gone": "gone", "id-scratch": "scratch"}, {}),
        max_age="1d",
        limits={"server": 3},
        exclude={"vms": [{"rules": [rule("name", "scratch")]}]},
    )
    assert json.loads(json.dumps(found.as_dict())) == {
        "subclient": "prod",
        "requested_type": "incremental",
        "max_age": 86400,
        "shutdown_timeout": 600,
        "kill": False,
        "limits": {"clones": 1, "repository": 0, "server": 3, "proxy": 0},
        "retries": 2,
        "retry_delay": 60,
        "max_failed_percent": 100,
        "last_job": "J1",
        "new": [{"vm_id": "id-db 1", "vm_name": "db 1"}],
        "gone": [{"vm_id": "id-gone", "vm_name": "gone"}, {"vm_id": "id-scratch", "vm_name": "scratch"}],
        "max_outage": 0,
        "two_pass": True,
        "change_detection": {"keep_reference": True, "reference_space": 10, "sample": 0.01},
        "vms": [
            {
                "vm_id": "id-db 1",
                "vm_name": "db 1",
                "client": "old",
                "new_client": False,
                "selected_by": "content[0]: name equals '*'",
                "action": "backup",
                "method": "hot_clone",
                "reason": "the VM is running, all its disks are on storage repository 'fc1' (OCFS2 on fibre channel) "
                "and storage repository 'iscsi1' (OCFS2 on iSCSI); "
                "its newest recovery point P1 is 2 d old, allowed are less than 1 d",
                "requested_type": "incremental",
                "type": "incremental",
                "type_reason": "changes since recovery point P1; "
                "disk 'new' (slot 1) in full: disk was not in the newest recovery point",
                "disks": [
                    {
                        "slot": 0,
                        "disk_id": "disk-0.img",
                        "name": "disk0",
                        "size": GIB,
                        "repository_id": "id-fc1",
                        "repository": "fc1",
                        "path": "/VirtualDisks/disk-0.img",
                        "type": "incremental",
                        "type_reason": "changes since recovery point P1",
                        "base": "P1",
                        "source": "path",
                        "server": None,
                        "source_reason": "the proxy sees storage repository 'fc1'",
                        "changes": "hash",
                        "changes_reason": "recovery point P1 does not tell which images it was read from",
                    },
                    {
                        "slot": 1,
                        "disk_id": "disk-1.img",
                        "name": "new",
                        "size": GIB,
                        "repository_id": "id-iscsi1",
                        "repository": "iscsi1",
                        "path": "/VirtualDisks/disk-1.img",
                        "type": "full",
                        "type_reason": "disk was not in the newest recovery point",
                        "base": None,
                        "source": "ssh",
                        "server": {"id": "id-server1", "name": "server1", "address": "192.0.2.1"},
                        "source_reason": "the proxy does not see storage repository 'iscsi1'; server 'server1' has it, "
                        "and is the VM's own",
                        "changes": "all",
                        "changes_reason": "a full reads the whole disk",
                    },
                ],
                "skipped_disks": [
                    {"slot": 2, "name": "LUN", "kind": "physical", "reason": "physical disks are not backed up"}
                ],
                "repositories": ["fc1", "iscsi1"],
                "expected_outage": None,
                "outage_until": None,
                "pause": "not_needed",
                "reference": None,
                "reference_reason": "recovery point P1 does not tell which images it was read from",
                "order": 1,
                "proxy": "p1",
                "slots": [{"name": "server-id-server1", "limit": 3}],
                "stand_ins": [],
                "warnings": ["disk 'LUN' (slot 2) is not backed up: physical disks are not backed up"],
            }
        ],
        "excluded": [
            {
                "vm_id": "id-scratch",
                "vm_name": "scratch",
                "selected_by": "content[0]: name equals '*'",
                "excluded_by": "exclude.vms[0]: name equals 'scratch'",
            }
        ],
        "warnings": [],
    }


def test_first_backup() -> None:
    found = plan_one(vm("a/b"))
    assert (found.client, found.new_client) == ("a_b", True)
    assert (found.action, found.method) == ("backup", "hot_clone")
    assert found.reason == f"{IS_RUNNING}; {NO_POINT}"
    assert (found.requested_type, found.type, found.type_reason) == ("incremental", "full", "first backup of this VM")
    assert found.warnings == ()


POINT = "its newest recovery point P1"


@pytest.mark.parametrize(
    ("age", "settings", "run", "action", "due"),
    [
        (HOUR, {}, {}, "backup", f"{POINT} is 1 h old"),
        (HOUR, {"max_age": "2h"}, {}, "current", f"{POINT} is 1 h old, younger than the 2 h that are allowed"),
        (HOUR, {"max_age": "1h"}, {}, "backup", f"{POINT} is 1 h old, allowed are less than 1 h"),
        (
            HOUR - 1,
            {"max_age": "1h"},
            {},
            "current",
            f"{POINT} is 59 min 59 s old, younger than the 1 h that are allowed",
        ),
        (HOUR + 1, {"max_age": "1h"}, {}, "backup", f"{POINT} is 1 h old, allowed are less than 1 h"),
        (HOUR, {"max_age": "2h"}, {"force": True}, "backup", f"{POINT} is 1 h old, but a backup now is forced"),
        (-300.0, {"max_age": "1h"}, {}, "current", f"{POINT} is 0 s old, younger than the 1 h that are allowed"),
        (-300.0, {}, {}, "backup", f"{POINT} is 0 s old"),
        (-301.0, {"max_age": "1h"}, {}, "backup", f"{POINT} lies 5 min 1 s in the future"),
    ],
)
def test_age(age: float, settings: dict[str, Any], run: dict[str, Any], action: str, due: str) -> None:
    guest = vm("guest")
    found = plan_one(guest, client(guest, age=age), run=run, **settings)
    assert (found.action, found.method, found.new_client) == (action, "hot_clone", False)
    assert found.reason == (due if action == "current" else f"{IS_RUNNING}; {due}")
    in_future = age < -300
    assert found.warnings == ((f"{due}: check the clocks of the proxies",) if in_future else ())


@pytest.mark.parametrize(
    ("fields", "due", "type_reason"),
    [
        ({"newest_healthy": False}, f"{POINT} is damaged", "newest recovery point is damaged"),
        ({"newest_created": None}, f"the age of {POINT} is not known", "changes since recovery point P1"),
        ({"newest_point": None}, NO_POINT, "first backup of this VM"),
        ({"distrust": "why"}, f"{POINT} is not trusted", "change detection failed before: why"),
    ],
)
def test_only_a_healthy_point_is_current(fields: dict[str, Any], due: str, type_reason: str) -> None:
    guest = vm("guest")
    found = plan_one(guest, client(guest, **fields), max_age="1w")
    assert (found.action, found.reason, found.type_reason) == ("backup", f"{IS_RUNNING}; {due}", type_reason)


@pytest.mark.parametrize(
    "guest",
    [vm("guest", state="SUSPENDED"), vm("guest", disk(0, "nfs1")), vm("guest", disk(0, "gone"))],
    ids=["suspended", "NFS, may not be shut down", "repository is gone"],
)
def test_a_current_vm_is_current_whatever_stands_in_the_way_of_a_backup(guest: Vm) -> None:
    found = plan_one(guest, client(guest), max_age="1d")
    assert (found.action, found.method, found.warnings) == ("current", "skip", ())
    assert found.reason == f"{POINT} is 1 h old, younger than the 1 d that are allowed"


def test_a_current_vm_with_a_new_disk_says_so() -> None:
    guest = vm("guest", disk(0), disk(1))
    found = plan_one(guest, client(vm("guest", disk(0))), max_age="1d")
    assert found.action == "current"
    assert found.warnings == ("disk 'disk1' (slot 1) is not in the newest recovery point; it comes into the next one",)


@pytest.mark.parametrize(
    ("before", "now", "types"),
    [
        pytest.param([disk(0)], [disk(0)], {0: "incremental"}, id="same"),
        pytest.param([disk(0)], [disk(0), disk(1)], {0: "incremental", 1: "full"}, id="added"),
        pytest.param([disk(0), disk(1)], [disk(0)], {0: "incremental"}, id="removed"),
        pytest.param([disk(0), disk(1)], [disk(0, size=1 << 40), disk(1)], {0: "full", 1: "incremental"}, id="resized"),
        pytest.param([disk(0)], [disk(5, id="disk-0.img")], {5: "incremental"}, id="moved"),
        pytest.param(
            [disk(0), disk(1)],
            [disk(0, id="disk-1.img"), disk(1, id="disk-0.img")],
            {0: "incremental", 1: "incremental"},
            id="swapped",
        ),
        pytest.param([disk(0)], [disk(0, id="new.img")], {0: "full"}, id="replaced"),
    ],
)
def test_types_of_changed_disks(before: list[Any], now: list[Any], types: dict[int, str]) -> None:
    found = plan_one(vm("guest", *now), client(vm("guest", *before)))
    assert {item.slot: item.type for item in found.disks} == types
    assert found.type == ("incremental" if "incremental" in types.values() else "full")


def test_type_of_the_run_overrides_the_subclient() -> None:
    guest = vm("guest")
    found = plan(guest, clients=[client(guest)], run={"backup_type": "full"}, backup_type="incremental")
    assert found.requested_type == "full"
    assert (found.vms[0].requested_type, found.vms[0].type) == ("full", "full")
    assert found.vms[0].type_reason == "full backup was asked for"


def test_wrong_arguments_of_a_run() -> None:
    with pytest.raises(
        InvalidInputError, match=r"^backup_type: 'diff' is not a backup type; use one of full, incremental"
    ):
        plan(vm("guest"), run={"backup_type": "diff"})
    with pytest.raises(InvalidInputError, match=r"^proxies: one proxy at least is needed to run backups$"):
        plan(vm("guest"), run=group())


@pytest.mark.parametrize(
    ("guest", "reason", "warnings"),
    [
        pytest.param(
            vm("t", disk(0), disk(1, kind="physical"), state="TEMPLATE"),
            "templates are not backed up",
            (),
            id="template",
        ),
        pytest.param(vm("empty", disks=()), "the VM has no virtual disk", (), id="no disk"),
        pytest.param(vm("cd", disk(0, kind="cdrom")), "the VM has no virtual disk", (), id="CD-ROM only"),
        pytest.param(
            vm("raw", disk(0, kind="physical")),
            "the VM has no virtual disk left to back up: disk 'disk0' (slot 0): physical disks are not backed up",
            ("disk 'disk0' (slot 0) is not backed up: physical disks are not backed up",),
            id="physical only",
        ),
        pytest.param(
            vm("out", disk(0, name="tmp0"), disk(1, name="TMP1")),
            "the VM has no virtual disk left to back up: "
            "disk 'tmp0' (slot 0): taken out by exclude.disks[0]: name equals 'tmp*'; "
            "disk 'TMP1' (slot 1): taken out by exclude.disks[0]: name equals 'tmp*'",
            (),
            id="all disks taken out",
        ),
    ],
)
def test_vms_without_anything_to_back_up(guest: Vm, reason: str, warnings: tuple[str, ...]) -> None:
    found = plan(guest, max_age="1d", exclude={"disks": [{"field": "name", "value": "tmp*"}]})
    item = found.vms[0]
    assert (item.action, item.method, item.reason, item.warnings) == ("skip", "skip", reason, warnings)
    assert (item.disks, item.repositories, item.new_client) == ((), (), False)
    assert (item.type, item.type_reason) == ("incremental", "not backed up")
    assert found.warnings == ("the content selects no VM that can be backed up",)


def test_a_filter_can_make_an_nfs_vm_hot_clonable() -> None:
    found = plan_one(
        vm("guest", disk(0), disk(1, "nfs1")), exclude={"disks": [{"field": "repository", "value": "nfs*"}]}
    )
    assert (found.action, found.method, found.repositories) == ("backup", "hot_clone", ("iscsi1",))
    assert [item.slot for item in found.disks] == [0]


def test_failing_vms_are_planned_and_do_not_stop_the_others() -> None:
    found = plan(vm("a", disk(0, "nfs1")), vm("b"))
    assert [(item.vm_name, item.action, item.method, item.order) for item in found.vms] == [
        ("b", "backup", "hot_clone", 1),
        ("a", "fail", "skip", 2),
    ]
    assert found.vms[1].new_client is False
    assert found.warnings == ()


def test_our_own_clones_are_never_selected() -> None:
    guest, clone = vm("guest"), vm("guest.ovm-backup.run1", description="ours")
    run = {"is_ours": lambda item: item.description == "ours"}
    assert [item.vm_name for item in plan(guest, clone, run=run).vms] == ["guest"]
    with pytest.raises(NothingSelectedError):
        plan(clone, run=run)


def test_clients_of_collapsed_and_renamed_vms() -> None:
    one, two = vm("a b", id="2"), vm("a/b", id="1")
    found = {item.vm_id: item for item in plan(one, two).vms}
    assert (found["1"].client, found["1"].warnings) == ("a_b", ())
    text = "the client is named 'a_b_2', because 'a_b' is taken or no folder name"
    assert (found["2"].client, found["2"].warnings) == ("a_b_2", (text,))
    clients = [client(item, client=found[item.id].client) for item in (one, two)]
    renamed = {item.vm_id: item for item in plan(vm("x", id="2"), vm("y", id="1"), clients=clients).vms}
    assert {vm_id: (item.client, item.warnings) for vm_id, item in renamed.items()} == {
        "1": ("a_b", ()),
        "2": ("a_b_2", ()),
    }


def test_clients_are_distinct_between_subclients_and_templates_give_way() -> None:
    estate = [vm("x", id="1", state="TEMPLATE"), vm("x", id="2", tags=("t",)), vm("x", id="3")]
    content = [{"rules": [rule("tag", "t", "not_equals")]}]
    found = plan(*estate, content=content)
    assert {item.vm_id: item.client for item in found.vms} == {"1": "x_3", "3": "x_2"}


def test_a_vm_that_was_made_anew_gets_a_client_of_its_own() -> None:
    found = plan_one(vm("x", id="new"), client(vm("x", id="old")))
    assert (found.client, found.new_client, found.type) == ("x_2", True, "full")


def test_of_two_clients_of_a_vm_the_one_protected_last_counts() -> None:
    guest = vm("x")
    clients = [client(guest, age=HOUR, client="newer"), client(guest, age=DAY, client="older")]
    for known in (clients, clients[::-1]):
        assert plan(guest, clients=known).vms[0].client == "newer"


def test_order_and_proxies() -> None:
    a1, a2, a3 = (vm(f"a{number}", disk(0, "iscsi1")) for number in (1, 2, 3))
    b1, b2 = (vm(f"b{number}", disk(0, "fc1"), disk(1, "iscsi1")) for number in (1, 2))
    current, failing, skipped = vm("m"), vm("l", disk(0, "nfs1")), vm("k", state="SUSPENDED")
    clients = [
        client(a1, age=3 * DAY),
        client(a2, age=5 * DAY),
        client(b1, age=4 * DAY),
        client(b2, age=9 * DAY, newest_healthy=False),  # counts as never protected
        client(current, age=HOUR),
    ]
    found = plan(a1, a2, a3, b1, b2, current, failing, skipped, clients=clients, max_age="1d", run=group("p1", "p2"))
    assert [(item.order, item.vm_name, item.action, item.proxy) for item in found.vms] == [
        (1, "a3", "backup", "p1"),
        (2, "b2", "backup", "p2"),
        (3, "a2", "backup", "p1"),
        (4, "b1", "backup", "p2"),
        (5, "a1", "backup", "p1"),
        (6, "m", "current", "p2"),
        (7, "l", "fail", "p1"),
        (8, "k", "skip", "p2"),
    ]


NO_X = "content[0].rules[0]: name equals 'x' matches no VM of the manager"


def test_nothing_selected_is_an_error() -> None:
    with pytest.raises(NothingSelectedError) as caught:
        plan(vm("guest"), content=[{"rules": [rule("name", "x")]}])
    assert caught.value.message == f"subclient 'prod': {NO_X}; set allow_empty: true if that is intended"
    problem = {"key": "content[0].rules[0]", "value": ["x"], "message": NO_X.partition(": ")[2]}
    assert caught.value.as_failure() == {
        "kind": "NothingSelectedError",
        "subclient": "prod",
        "key": "content[0].rules[0]",
        "value": ["x"],
        "problems": [problem],
    }


def test_one_group_that_selects_nothing_is_an_error_though_others_do() -> None:
    content = [{"rules": [rule("name", "guest")]}, {"rules": [rule("name", "x"), rule("tag", "y")]}]
    with pytest.raises(NothingSelectedError) as caught:
        plan(vm("guest"), content=content)
    assert caught.value.message == "\n".join(
        [
            "subclient 'prod' has 2 problems:",
            "- content[1].rules[0]: name equals 'x' matches no VM of the manager",
            "- content[1].rules[1]: tag equals 'y' matches no VM of the manager",
            "set allow_empty: true if that is intended",
        ]
    )
    found = plan(vm("guest"), content=content, allow_empty=True)
    assert [item.vm_name for item in found.vms] == ["guest"]
    assert found.warnings == (
        "content[1].rules[0]: name equals 'x' matches no VM of the manager",
        "content[1].rules[1]: tag equals 'y' matches no VM of the manager",
    )


def test_an_empty_manager_with_allow_empty_gives_an_empty_plan() -> None:
    found = plan(allow_empty=True)
    assert (found.vms, found.excluded) == ((), ())
    assert found.warnings == ("content[0].rules[0]: name equals '*' matches no VM of the manager",)


def test_taking_out_everything_is_an_error() -> None:
    exclude = {"vms": [{"rules": [rule("id", "*")]}]}
    with pytest.raises(NothingSelectedError, match=r"^subclient 'prod': exclude.vms: takes out every VM that the"):
        plan(vm("guest"), exclude=exclude)
    found = plan(vm("guest"), exclude=exclude, allow_empty=True)
    assert (found.vms, [item.vm_name for item in found.excluded]) == ((), ["guest"])


def test_a_value_that_matches_nothing_is_a_warning() -> None:
    found = plan(vm("guest"), content=[{"rules": [rule("name", ["guest", "x"])]}])
    assert found.warnings == ("content[0].rules[0]: name 'x' matches no VM of the manager",)


GUESTS = st.lists(
    st.builds(
        lambda number, name, where, state: vm(name, disk(0, where), id=str(number), state=state),
        number=st.integers(0, 99),
        name=st.sampled_from(["a b", "a/b", "A_B", "", "é"]),
        where=st.sampled_from(["iscsi1", "fc1", "nfs1", "odd"]),
        state=st.sampled_from(["RUNNING", "STOPPED", "SUSPENDED", "TEMPLATE"]),
    ),
    unique_by=lambda item: item.id,
    min_size=1,
    max_size=12,
)


@given(GUESTS, st.sets(st.integers(0, 99)), st.randoms(use_true_random=False))
def test_plan_holds_every_vm_once_and_does_not_depend_on_the_input_order(
    guests: list[Vm], known: set[int], rng: random.Random
) -> None:
    clients = [client(item, age=HOUR * int(item.id), client=f"c{item.id}") for item in guests if int(item.id) in known]
    found = plan(*guests, clients=clients, max_age="1d", nfs_policy="shutdown")
    assert sorted(item.vm_id for item in found.vms) == sorted(item.id for item in guests)
    assert len({item.client.casefold() for item in found.vms}) == len(guests)
    assert [item.order for item in found.vms] == list(range(1, len(guests) + 1))
    actions = [item.action for item in found.vms]
    assert actions == sorted(actions, key=["backup", "current", "fail", "skip"].index)
    assert all(item.reason and item.selected_by and item.proxy == "localhost" for item in found.vms)
    rng.shuffle(guests)
    rng.shuffle(clients)
    assert plan(*guests, clients=clients, max_age="1d", nfs_policy="shutdown") == found
