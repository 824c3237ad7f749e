# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Coverage: which VMs are protected, by whom, and whether as promised."""

from __future__ import annotations

from typing import Any

import pytest
from unit.planning.estate import HOUR, NOW, client, disk, inventory, rule, vault, vm

from ansible_collections.ovm.backup.plugins.module_utils.errors import SubclientError
from ansible_collections.ovm.backup.plugins.module_utils.manager.inventory import Vm
from ansible_collections.ovm.backup.plugins.module_utils.planning.content import FIELDS
from ansible_collections.ovm.backup.plugins.module_utils.planning.coverage import (
    STATES,
    Coverage,
    Membership,
    VmCoverage,
    assess,
    parse_subclients,
)
from ansible_collections.ovm.backup.plugins.module_utils.planning.coverage_text import coverage_summary
from ansible_collections.ovm.backup.plugins.module_utils.planning.state import ClientState, GoodPoint
from ansible_collections.ovm.backup.plugins.module_utils.planning.subclient import Subclient

DB, APP = vm("db01"), vm("app01")
BY_NAME = "content[0]: name equals"


def sub(name: str, *values: str, **settings: Any) -> Subclient:
    """Return a subclient of the VMs with these names."""
    content = [{"rules": [rule("name", list(values))]}]
    return Subclient.parse(name, {"content": content, **settings})


def good(age: float = HOUR, *disks: str, manager: str | None = "manager") -> GoodPoint:
    return GoodPoint("P1", NOW - age, "full", "crash_consistent", "prod", manager, disks or ("disk-0.img",))


def protected(of: Vm, age: float = HOUR, **changes: Any) -> ClientState:
    """Return the client of a VM with a good recovery point."""
    return client(of, age=age, **{"newest_good": good(age), "vm_name": of.name, **changes})


def report(
    *vms: Vm, by: list[Subclient] | None = None, known: list[ClientState] | None = None, **more: Any
) -> Coverage:
    options: dict[str, Any] = {"now": NOW, "is_ours": lambda _vm: False, **more}
    return assess(by or [], inventory(*vms), vault(*(known or [])), **options)


def one(of: Vm, **options: Any) -> VmCoverage:
    (found,) = report(of, **options).vms
    return found


@pytest.mark.parametrize(
    ("max_age", "age", "grace", "state", "reason"),
    [
        ("20h", HOUR, 0, "protected", "the newest good recovery point P1 is 1 h old, promised 20 h"),
        ("20h", 20 * HOUR, 0, "protected", "the newest good recovery point P1 is 20 h old, promised 20 h"),
        ("20h", 20 * HOUR + 1, 0, "late", "the newest good recovery point P1 is 20 h old, promised 20 h"),
        ("20h", 23 * HOUR, 14400, "protected",
         "the newest good recovery point P1 is 23 h old, promised 20 h and 4 h of grace"),
        ("20h", 25 * HOUR, 14400, "late",
         "the newest good recovery point P1 is 1 d 1 h old, promised 20 h and 4 h of grace"),
        (0, 900 * HOUR, 0, "protected", "the newest good recovery point P1 is 37 d 12 h old, no age promised"),
        ("20h", -100.0, 0, "protected", "the newest good recovery point P1 is 0 s old, promised 20 h"),
        ("20h", -7200.0, 0, "late",
         "the newest good recovery point P1 lies 2 h in the future: check the clocks of the proxies"),
    ],
)  # fmt: skip
def test_age(max_age: Any, age: float, grace: int, state: str, reason: str) -> None:
    found = one(DB, by=[sub("prod", "db*", max_age=max_age)], known=[protected(DB, age)], grace=grace)
    assert (found.state, found.reason) == (state, reason)
    assert found.age == max(age, 0.0)
    assert found.newest_good == good(age)
    assert found.warnings == ()


def test_the_shortest_promise_counts() -> None:
    by = [sub("a", "db*", max_age="7d"), sub("b", "*", max_age="1d"), sub("c", "*"), sub("d", "app*", max_age="1h")]
    found = one(DB, by=[*by], known=[protected(DB, 30 * HOUR)])
    assert (found.state, found.promised_age) == ("late", 86400)
    assert found.selected_by == (
        Membership("a", f"{BY_NAME} 'db*'", max_age=604800),
        Membership("b", f"{BY_NAME} '*'", max_age=86400),
        Membership("c", f"{BY_NAME} '*'"),
    )


def test_selected_without_a_point() -> None:
    for known in ([], [client(DB, age=None)], [client(DB, newest_healthy=False)]):
        found = one(DB, by=[sub("prod", "*")], known=known)
        assert (found.state, found.reason, found.age) == ("never", "there is no good recovery point", None)


def test_an_older_good_point_counts_if_the_newest_is_damaged() -> None:
    state = client(DB, newest_healthy=False, newest_point="P2", newest_good=good(30 * HOUR))
    found = one(DB, by=[sub("prod", "*", max_age="1d")], known=[state])
    assert found.state == "late"
    assert found.warnings == ("the newest recovery point P2 is damaged",)


def test_nobody_selects_it() -> None:
    found = one(DB, by=[sub("prod", "app*")], known=[protected(DB)])
    assert (found.state, found.reason) == ("unprotected", "no subclient selects the VM")
    assert (found.client, found.newest_good, found.selected_by) == ("db01", good(), ())
    assert one(DB).state == "unprotected"


def test_filters_take_it_out() -> None:
    filtered = sub("prod", "*", exclude={"vms": [{"rules": [rule("name", "db*")]}]}, max_age="1d")
    found = one(DB, by=[filtered])
    assert found.state == "excluded"
    assert found.reason == "the VM is taken out by the filters of 'prod', and no other subclient selects it"
    assert found.excluded_by == (Membership("prod", f"{BY_NAME} '*'", "exclude.vms[0]: name equals 'db*'", 86400),)
    both = one(DB, by=[filtered, sub("rest", "db01")], known=[protected(DB)])
    assert (both.state, both.promised_age, len(both.excluded_by)) == ("protected", 0, 1)


def test_disk_filters() -> None:
    two = vm("db01", disk(0), disk(1), disk(2, kind="physical", name="lun"), disk(3, kind="cdrom"))
    first = sub("first", "*", exclude={"disks": [{"field": "slot", "value": 1}]}, max_age="1d")
    found = one(two, by=[first], known=[protected(two)])
    assert found.state == "protected"
    assert [(skipped.slot, skipped.kind) for skipped in found.skipped_disks] == [(1, "virtual"), (2, "physical")]
    assert found.physical_disks == ("lun",)
    # A second subclient backs the other disk up.
    found = one(two, by=[first, sub("second", "*")], known=[protected(two)])
    assert [skipped.slot for skipped in found.skipped_disks] == [2]
    assert found.warnings == ("disk 'disk1' (slot 1) is not in the newest good recovery point",)
    none = sub("none", "*", exclude={"disks": [{"field": "name", "value": "*"}]}, max_age="1h")
    found = one(two, by=[none], known=[protected(two)])
    assert (found.state, found.promised_age) == ("excluded", 0)
    assert found.reason == "every disk of the VM is taken out by the disk filters of its subclients"
    assert one(two).skipped_disks[0].name == "lun"


@pytest.mark.parametrize(
    ("of", "reason"),
    [
        (vm("lun01", disk(0, kind="physical", name="a"), disk(1, kind="physical", name="b")),
         "the VM has physical disks only, which are not backed up: disk 'a' (slot 0), disk 'b' (slot 1)"),
        (vm("cd01", disk(0, kind="cdrom")), "the VM has no virtual disk"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("by", [[], [sub("all", "*")]])
def test_what_cannot_be_protected(of: Vm, reason: str, by: list[Subclient]) -> None:
    found = one(of, by=by)
    assert (found.state, found.reason) == ("cannot", reason)
    assert found.physical_disks == tuple(item.name for item in of.disks if item.kind == "physical")


def test_templates_and_our_clones() -> None:
    template, clone = vm("tpl", state="TEMPLATE"), vm("db01.ovm-backup.x")
    found = report(DB, template, clone, by=[sub("all", "*")], is_ours=lambda item: item is clone)
    assert [(item.vm_name, item.state) for item in found.vms] == [("db01", "never"), ("tpl", "template")]
    assert found.vms[1].reason == "templates are not backed up, by design"
    assert found.our_clones == 1


def test_a_client_that_is_distrusted() -> None:
    state = client(DB, newest_good=good(HOUR), distrust="disk 0 at offset 5")
    found = one(DB, by=[sub("db", "db*")], known=[state])
    assert found.warnings == ("change detection failed, the next backup is a full: disk 0 at offset 5",)


def test_a_vm_that_cannot_be_paused() -> None:
    found = one(vm("db01", disk(0), disk(1)), by=[sub("db", "db*", consistency="paused")])
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith("subclient 'db' cannot back the VM up at present: consistency: paused asks")


@pytest.mark.parametrize("policy", ["fail", "skip", "shutdown"])
def test_a_running_vm_on_nfs_stays_selected(policy: str) -> None:
    nfs = vm("files01", disk(0, "nfs1"))
    found = one(nfs, by=[sub("files", "*", nfs_policy=policy)])
    assert found.state == "never"
    assert len(found.warnings) == (0 if policy == "shutdown" else 1)
    if found.warnings:
        assert found.warnings[0].startswith("subclient 'files' cannot back the VM up at present: ")
        assert f"(nfs_policy: {policy})" in found.warnings[0]


def test_orphaned_clients() -> None:
    gone, other, unknown = vm("gone01"), vm("other01"), vm("unknown01")
    known = [
        protected(gone, 48 * HOUR),
        protected(other, newest_good=good(manager="another manager")),
        client(unknown, age=None, vm_name="unknown 01"),
        protected(DB),
    ]
    found = report(DB, known=known)
    assert [(orphan.client, orphan.vm_name, orphan.age) for orphan in found.orphans] == [
        ("gone01", "gone01", 48 * HOUR), ("unknown01", "unknown 01", None),
    ]  # fmt: skip
    assert found.elsewhere == 1


def test_what_matches_nothing_is_a_warning() -> None:
    found = report(DB, by=[sub("a", "nobody"), sub("b", "db*", "app*")])
    assert found.warnings == (
        "subclient 'a': content[0].rules[0]: name equals 'nobody' matches no VM of the manager",
        "subclient 'b': content[0].rules[0]: name 'app*' matches no VM of the manager",
    )


def test_order_and_counts() -> None:
    vms = [vm(name) for name in ("a", "b", "c", "d")] + [vm("t", state="TEMPLATE"), vm("l", disk(0, kind="physical"))]
    known = [protected(vms[0]), protected(vms[1], 50 * HOUR)]
    out = {"vms": [{"rules": [rule("name", "d")]}]}
    found = report(*vms, vm("e"), by=[sub("x", "[abcd]", max_age="1d", exclude=out)], known=known)
    assert [(item.vm_name, item.state) for item in found.vms] == [
        ("e", "unprotected"), ("c", "never"), ("b", "late"), ("l", "cannot"), ("d", "excluded"), ("a", "protected"),
        ("t", "template"),
    ]  # fmt: skip
    assert found.counts == dict.fromkeys(STATES, 1)


def test_all_definitions_are_checked_at_once() -> None:
    assert [item.name for item in parse_subclients({"b": {"content": [{"rules": [rule("name", "*")]}]}})] == ["b"]
    with pytest.raises(SubclientError) as caught:
        parse_subclients({"a": {"content": [{"rules": [rule("nme", "*")]}]}, "b": {}, "c": None})
    assert caught.value.message == (
        "subclient 'a': content[0].rules[0].field: 'nme' is not a field of a VM; "
        f"use one of {', '.join(FIELDS)} (did you mean 'name'?)\n"
        "subclient 'b': content: is missing: it must be a list of groups of rules that say which VMs are in\n"
        "subclient 'c': must be a mapping with the keys of a subclient, not empty"
    )
    assert caught.value.details["subclient"] == "a"


def test_summary() -> None:
    lun = vm("lun\n01", disk(0, kind="physical", name="asm"))
    out = {"vms": [{"rules": [rule("name", "test*")]}]}
    known = [protected(DB, 30 * HOUR), protected(vm("gone01")), client(vm("gone02"), age=None, vm_name="gone 02")]
    found = report(
        DB, APP, lun, vm("test01"), by=[sub("prod", "db*", "test*", "x", max_age="1d", exclude=out)], known=known
    )
    assert coverage_summary({**found.as_dict(), "our_clones": 2, "clients_of_other_managers": 3}) == [
        "Coverage of 4 VMs: 1 unprotected, 1 late, 1 cannot, 1 excluded",
        "  2 hot clones of backup runs are left out",
        "  3 clients of the vault belong to VMs of other managers",
        "  Warning: subclient 'prod': content[0].rules[0]: name 'x' matches no VM of the manager",
        "",
        "Not protected by any subclient:",
        "  app01: no subclient selects the VM",
        "",
        "Later than promised:",
        "  db01: the newest good recovery point P1 is 1 d 6 h old, promised 1 d (subclients: prod)",
        "",
        "Cannot be protected:",
        "  lun 01: the VM has physical disks only, which are not backed up: disk 'asm' (slot 0)",
        "    disk 0 is not backed up: asm, physical disks are not backed up",
        "",
        "Taken out by filters:",
        "  test01: the VM is taken out by the filters of 'prod', and no other subclient selects it",
        "    excluded by prod, exclude.vms[0]: name equals 'test*'",
        "",
        "Clients whose VM is gone from the manager:",
        "  gone01 (gone01): newest good recovery point P1 is 1 h old",
        "  gone02 (gone 02): no good recovery point",
    ]
