# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The VMs of a manager as hosts: names, variables, groups."""

from __future__ import annotations

from typing import Any

import pytest
from unit.planning.estate import GIB, HOUR, NOW, client, disk, inventory, rule, vault, vm

from ansible_collections.ovm.backup.plugins.module_utils.manager.inventory import Nic, Vm
from ansible_collections.ovm.backup.plugins.module_utils.planning.coverage import assess
from ansible_collections.ovm.backup.plugins.module_utils.planning.host_list import Host, host_list
from ansible_collections.ovm.backup.plugins.module_utils.planning.state import ClientState, GoodPoint
from ansible_collections.ovm.backup.plugins.module_utils.planning.subclient import Subclient

OURS = vm("clone of a run")
NICS = [{"ipAddresses": [{"type": "IPV4", "address": "192.0.2.77"}, {"address": None}, "odd"]}, {}]
DB = vm(
    "db01",
    disk(0),
    disk(1, "fc1"),
    disk(2, None, kind="physical", size=None),
    disk(3, "odd", kind="cdrom"),
    tags=("gold", "prod eu"),
    nics=(Nic("nic-1", "00:21:f6:00:00:01", "net-1"),),
    document={"virtual_nics": NICS},
    description="the database",
)


def hosts(*vms: Vm, **options: Any) -> list[Host]:
    return host_list(inventory(*vms), None, is_ours=lambda one: one is OURS, **options)


def names(*vms: Vm, **options: Any) -> list[str]:
    return [host.name for host in hosts(*vms, **options)]


def shown(slot: int, kind: str, repository: str | None, size: int | None = GIB) -> dict[str, Any]:
    names = {"id": f"disk-{slot}.img", "name": f"disk{slot}"}
    return {"slot": slot, "kind": kind, **names, "size": size, "repository": repository}


def test_all_that_is_known_without_a_vault() -> None:
    (host,) = hosts(DB, OURS, vm("template", state="TEMPLATE"))
    assert host.as_dict() == {
        "name": "db01",
        "variables": {
            "ovm_id": "id-db01",
            "ovm_name": "db01",
            "ovm_client": "db01",
            "ovm_power_state": "running",
            "ovm_template": False,
            "ovm_domain_type": "XEN_HVM",
            "ovm_os_type": "Oracle Linux 7",
            "ovm_memory": 1024,
            "ovm_cpu_count": 1,
            "ovm_description": "the database",
            "ovm_locked": False,
            "ovm_tags": ["gold", "prod eu"],
            "ovm_server": "server1",
            "ovm_server_id": "id-server1",
            "ovm_server_pool": "pool1",
            "ovm_server_pool_id": "id-pool1",
            "ovm_repositories": ["fc1", "iscsi1"],
            "ovm_disks": [
                shown(0, "virtual", "iscsi1"),
                shown(1, "virtual", "fc1"),
                shown(2, "physical", None, None),
                shown(3, "cdrom", "odd"),
            ],
            "ovm_nics": [{"id": "nic-1", "mac": "00:21:f6:00:00:01", "network_id": "net-1"}],
            "ovm_ip_addresses": ["192.0.2.77"],
            "ovm_manager": {"id": "manager", "version": "3.4.6"},
        },
        "groups": [
            ["server_pool", "pool1"],
            ["server", "server1"],
            ["repository", "fc1"],
            ["repository", "iscsi1"],
            ["power_state", "running"],
            ["tag", "gold"],
            ["tag", "prod eu"],
        ],
    }


def test_what_the_manager_does_not_tell() -> None:
    (host,) = hosts(vm("lost", disks=(), repository_id=None, server_id=None, server_pool_id="id-gone", state=""))
    assert (host.groups, host.variables["ovm_server"], host.variables["ovm_repositories"]) == ((), None, [])


def test_protection() -> None:
    content = {"content": [{"rules": [rule("name", "db*")]}], "max_age": "1d"}
    subclients = [Subclient.parse(name, content) for name in ("databases", "nightly")]
    point = GoodPoint(
        "P1", NOW - 30 * HOUR, "full", "crash_consistent", "nightly", "manager", ("disk-0.img", "disk-1.img")
    )
    state = ClientState(**{**vars(client(DB, age=30 * HOUR)), "client": "db_old_name", "newest_good": point})
    vms = inventory(DB, vm("app"), vm("template", state="TEMPLATE"))
    coverage = assess(subclients, vms, vault(state), now=NOW, is_ours=lambda _vm: False)
    app, db, template = host_list(vms, coverage, is_ours=lambda _vm: False, templates=True)
    told = {key: value for key, value in db.variables.items() if key not in hosts(DB)[0].variables}
    assert told == {
        "ovm_protection": "late",
        "ovm_protection_reason": "the newest good recovery point P1 is 1 d 6 h old, promised 1 d",
        "ovm_protection_warnings": [],
        "ovm_subclients": ["databases", "nightly"],
        "ovm_newest_point": "P1",
        "ovm_newest_point_created": NOW - 30 * HOUR,
        "ovm_newest_point_age": 30 * HOUR,
        "ovm_promised_age": 86400,
    }
    assert db.groups[-3:] == (("subclient", "databases"), ("subclient", "nightly"), ("protection", "late"))
    assert db.variables["ovm_client"] == "db_old_name"
    assert (app.groups[-1], app.variables["ovm_newest_point"]) == (("protection", "unprotected"), None)
    assert (template.groups[-1], template.variables["ovm_template"]) == (("protection", "template"), True)
    by_client = host_list(vms, coverage, is_ours=lambda _vm: False, names="client", with_subclients=False)
    assert [host.name for host in by_client] == ["app", "db_old_name"]
    assert "ovm_subclients" not in by_client[1].variables


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["a", "b c_1", "b c_2", "localhost_4", "5"]),
        ({"names": "client"}, ["a", "b_c_1", "b_c_2", "b_c_3", "localhost_4", "5"]),
        ({"names": "id"}, ["1", "2", "3", "4", "5", "id-a"]),
    ],
)
def test_names_are_unique_and_mean_nothing_else(options: dict[str, Any], expected: list[str]) -> None:
    vms = [vm("a"), vm("b c", id="1"), vm("b c", id="2"), vm("localhost", id="4"), vm("", id="5")]
    if options:
        vms.insert(3, vm("b/c", id="3"))
    assert sorted(names(*vms, **options)) == sorted(expected)
