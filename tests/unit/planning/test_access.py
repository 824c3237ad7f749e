# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From where images are read: which way, through which server, and what happens where there is none."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.planning.estate import REPOSITORIES, client, disk, group, inventory, plan, vm

from ansible_collections.ovm.backup.plugins.module_utils.errors import InvalidInputError
from ansible_collections.ovm.backup.plugins.module_utils.manager.inventory import Inventory, Server
from ansible_collections.ovm.backup.plugins.module_utils.planning.access import (
    Access,
    Source,
    SourceServer,
    choose_source,
    mounted_repositories,
    unknown_addresses,
)
from ansible_collections.ovm.backup.plugins.module_utils.planning.dealing import Proxies, without_way
from ansible_collections.ovm.backup.plugins.module_utils.planning.plan_types import VmPlan
from ansible_collections.ovm.backup.plugins.module_utils.planning.sources import config_source, with_sources

SSH = Access(ssh=True)
LOCAL = Proxies.alike(["localhost"], SSH)
OVS1, OVS2, OVS3 = (Server(f"id-ovs{number}", f"ovs{number}", f"192.0.2.{number}", True, False) for number in (1, 2, 3))
UNSEEN = "the proxy does not see storage repository 'iscsi1'"


def estate(*servers: Server, presented: tuple[str, ...] | None = None, vms: Any = ()) -> Inventory:
    """Return an inventory with these servers, all of which have the storage repositories iscsi1 and nfs1."""
    ids = presented if presented is not None else tuple(server.id for server in servers)
    repositories = {item.id: dataclasses.replace(item, server_ids=ids) for item in REPOSITORIES}
    return dataclasses.replace(
        inventory(*vms), servers={server.id: server for server in servers}, repositories=repositories
    )


def through(server: Server, why: str, address: str | None = None) -> Source:
    return Source("ssh", why, SourceServer(server.id, server.name, address or server.ip_address))


@pytest.mark.parametrize(
    ("wanted", "access", "expected"),
    [
        ("auto", Access(frozenset({"id-iscsi1"})), Source("path", "the proxy sees storage repository 'iscsi1'")),
        # A path costs the servers least, so settings for ssh change nothing.
        ("auto", Access(frozenset({"id-iscsi1"}), True), Source("path", "the proxy sees storage repository 'iscsi1'")),
        ("auto", Access(), Source("path", f"{UNSEEN}, and there are no settings for ssh")),
        ("auto", Access(frozenset({"id-other"})), Source("path", f"{UNSEEN}, and there are no settings for ssh")),
        ("auto", SSH, through(OVS1, f"{UNSEEN}; server 'ovs1' has it, and is the VM's own")),
        ("path", SSH, Source("path", "source: path")),
        ("ssh", Access(frozenset({"id-iscsi1"}), True),
            through(OVS1, "source: ssh; server 'ovs1' has it, and is the VM's own")),
    ],
)  # fmt: skip
def test_ways(wanted: str, access: Access, expected: Source) -> None:
    assert choose_source("id-iscsi1", wanted, estate(OVS1, OVS2), access, own="id-ovs1") == expected


def test_nfs_is_read_through_a_server_too() -> None:
    """Every server that has it presented sees it as a directory, whatever it lies on."""
    found = choose_source("id-nfs1", "auto", estate(OVS1), SSH, own="id-ovs1")
    assert (found.kind, found.server) == ("ssh", SourceServer("id-ovs1", "ovs1", "192.0.2.1"))


def test_storage_that_nobody_knows() -> None:
    for repository_id in (None, "id-gone"):
        found = choose_source(repository_id, "ssh", estate(OVS1), SSH)
        assert found == Source("path", "its storage repository is not known")


STOPPED = dataclasses.replace(OVS1, running=False)
IN_MAINTENANCE = dataclasses.replace(OVS2, maintenance=True)
WITHOUT_ADDRESS = dataclasses.replace(OVS3, ip_address="")


@pytest.mark.parametrize(
    ("servers", "options", "name", "why"),
    [
        ([OVS1, OVS2], {"own": "id-ovs2"}, "ovs2", "and is the VM's own"),
        ([OVS1, OVS2], {"own": "id-elsewhere"}, "ovs1", "and reads the fewest VMs of this plan"),
        ([OVS1, OVS2], {"loads": {"id-ovs1": 2, "id-ovs2": 1}}, "ovs2", "and reads the fewest VMs of this plan"),
        ([OVS2, OVS1], {}, "ovs1", "and reads the fewest VMs of this plan"),
        ([OVS1, OVS2], {"used": ["id-ovs2"], "loads": {"id-ovs2": 9}}, "ovs2",
            "and other images of the VM are read there"),
        ([STOPPED, OVS2], {"own": "id-ovs1"}, "ovs2", "and reads the fewest VMs of this plan"),
        ([OVS1, IN_MAINTENANCE], {"own": "id-ovs2"}, "ovs1", "and reads the fewest VMs of this plan"),
        ([WITHOUT_ADDRESS, OVS1], {"own": "id-ovs3"}, "ovs1", "and reads the fewest VMs of this plan"),
    ],
)  # fmt: skip
def test_which_server(servers: list[Server], options: dict[str, Any], name: str, why: str) -> None:
    found = choose_source("id-iscsi1", "auto", estate(*servers), SSH, **options)
    assert found.server is not None
    assert (found.server.name, found.reason) == (name, f"{UNSEEN}; server '{name}' has it, {why}")


@pytest.mark.parametrize(
    ("servers", "presented", "problems"),
    [
        ([OVS1], (), "it is presented to no server"),
        ([OVS1], ("id-unknown",), "it is presented to no server"),
        (
            [STOPPED, IN_MAINTENANCE, WITHOUT_ADDRESS],
            None,
            "server 'ovs1' is not running; server 'ovs2' is in maintenance mode; server 'ovs3' has no address",
        ),
    ],
)
def test_no_way_over_ssh(servers: list[Server], presented: tuple[str, ...] | None, problems: str) -> None:
    found = choose_source("id-iscsi1", "auto", estate(*servers, presented=presented), SSH, own="id-ovs1")
    assert found == Source("ssh", f"storage repository 'iscsi1' cannot be read over ssh: {problems}")
    assert found.is_missing


@pytest.mark.parametrize(
    ("server", "addresses", "expected"),
    [
        (OVS1, {}, "192.0.2.1"),
        (OVS1, {"ovs1": "dom0-1.example.com:2222"}, "dom0-1.example.com:2222"),
        (OVS1, {"id-ovs1": "10.0.0.1", "ovs1": "10.0.0.2"}, "10.0.0.1"),  # a name may be given twice, an id may not
        (dataclasses.replace(OVS1, ip_address="", hostname="ovs1.example.com"), {}, "ovs1.example.com"),
        (WITHOUT_ADDRESS, {"ovs3": "10.0.0.3"}, "10.0.0.3"),
    ],
)
def test_address(server: Server, addresses: dict[str, str], expected: str) -> None:
    found = choose_source("id-iscsi1", "ssh", estate(server), Access(ssh=True, addresses=addresses))
    assert found.server is not None
    assert found.server.address == expected


def test_address_of_a_server_that_is_not_there() -> None:
    access = Access(ssh=True, addresses={"ovs1": "a", "id-ovs2": "b", "ovs11": "c"})
    warning = "ssh: addresses: 'ovs11' is neither name nor id of a server of the manager (did you mean 'ovs1'?)"
    assert unknown_addresses(access, estate(OVS1, OVS2)) == [warning]
    without_hint = warning.partition(" (did")[0]
    found = plan(vm("guest"), run=group("p1", access=Access(ssh=True, addresses={"server1": "a", "ovs11": "c"})))
    assert found.warnings == (without_hint,)


# --- what the proxy sees ---------------------------------------------------------------------------------------------


def test_mounted_repositories(tmp_path: Path) -> None:
    (tmp_path / "full" / "VirtualDisks").mkdir(parents=True)
    (tmp_path / "empty").mkdir()  # nothing is mounted there
    (tmp_path / "other" / "VirtualDisks").mkdir(parents=True)
    (tmp_path / "file").write_text("x")
    wanted = ["full", "empty", "file", "absent", "../other", "."]
    assert mounted_repositories(str(tmp_path), wanted) == {"full"}
    assert mounted_repositories(str(tmp_path / "absent"), wanted) == frozenset()


# --- all VMs of a plan -----------------------------------------------------------------------------------------------


def test_a_plan_over_ssh() -> None:
    """A VM that is off has no server; the limit on servers counts those that are read through as well."""
    off = vm("off", disk(0), disk(1, "fc1"), state="STOPPED", server_id=None)
    (found,) = plan(off, run=group("p1", access=SSH), limits={"server": 2}).vms
    why = "server 'server1' has it, and {}"
    assert [(item.source, item.server, item.source_reason) for item in found.disks] == [
        ("ssh", SourceServer("id-server1", "server1", "192.0.2.1"),
            f"{UNSEEN}; {why.format('reads the fewest VMs of this plan')}"),
        ("ssh", SourceServer("id-server1", "server1", "192.0.2.1"),
            f"the proxy does not see storage repository 'fc1'; "
            f"{why.format('other images of the VM are read there')}"),
    ]  # fmt: skip
    assert [slot.name for slot in found.slots] == ["server-id-server1"]


def test_a_vm_whose_data_nobody_reaches_fails() -> None:
    lost = vm("lost", disk(0), disk(1, "fc1"))
    servers = [dataclasses.replace(OVS1, running=False)]
    unreachable = estate(*servers, vms=[lost])
    (before,) = plan(lost).vms
    found = without_way(before, "ssh", unreachable, LOCAL)
    problem = "cannot be read over ssh: server 'ovs1' is not running"
    reason = (
        f"there is no way to its data: disk 'disk0' (slot 0): storage repository 'iscsi1' {problem}; "
        f"disk 'disk1' (slot 1): storage repository 'fc1' {problem}"
    )
    assert before.new_client
    assert (found.action, found.method, found.new_client, found.reason) == ("fail", "skip", False, reason)
    # What is not backed up now stays as it is.
    (current,) = plan(lost, clients=[client(lost)], max_age="1d").vms
    found = without_way(current, "ssh", unreachable, LOCAL)
    assert (found.action, found.reason) == ("current", current.reason)


def test_ssh_without_settings_is_refused() -> None:
    with pytest.raises(InvalidInputError) as caught:
        plan(vm("guest"), source="ssh")
    text = "source: 'ssh' needs settings for ssh: set ovm_backup_ssh, or use auto or path"
    assert (caught.value.message, caught.value.details["key"]) == (text, "source")
    (found,) = plan(vm("guest"), source="ssh", run=group("p1", access=SSH)).vms
    assert [item.source for item in found.disks] == ["ssh"]


def test_source_of_the_configuration() -> None:
    """vm.cfg may lie in another storage repository than the disks; the same server is asked for it if that has it."""
    guest = vm("guest", disk(0, "fc1"), server_id=None, repository_id="id-nfs1")
    sight = estate(OVS1, OVS2, vms=[guest])
    (item,) = plan(guest).vms
    disks = tuple(dataclasses.replace(one, server=SourceServer("id-ovs2", "ovs2", "x")) for one in item.disks)
    found = config_source(dataclasses.replace(item, disks=disks), "auto", sight, SSH)
    assert found.server == SourceServer("id-ovs2", "ovs2", "192.0.2.2")
    found = config_source(item, "auto", sight, Access(frozenset({"id-nfs1"}), True))
    assert (found.kind, found.server) == ("path", None)


NAMES = ("a", "b", "c")


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Inventory, list[VmPlan]]:
    """Some servers in any state, and VMs that are backed up, on any server or on none."""
    servers = [
        Server(f"id-{name}", name, draw(st.sampled_from(["", "192.0.2.9"])), draw(st.booleans()), draw(st.booleans()))
        for name in NAMES
    ]
    ids = st.lists(st.sampled_from([f"id-{name}" for name in NAMES]), unique=True).map(tuple)
    own = st.none() | st.sampled_from([f"id-{name}" for name in NAMES])
    vms = [vm(f"vm{number}", disk(0), disk(1, "fc1"), server_id=draw(own)) for number in range(draw(st.integers(1, 6)))]
    repositories = {item.id: dataclasses.replace(item, server_ids=draw(ids)) for item in REPOSITORIES[:3]}
    found = dataclasses.replace(inventory(*vms), servers={item.id: item for item in servers}, repositories=repositories)
    return found, list(plan(*vms).vms)


@given(worlds(), st.randoms())
def test_servers_are_fit_and_dealt_evenly(world: tuple[Inventory, list[VmPlan]], random: Any) -> None:
    sight, planned = world
    found = with_sources(planned, "ssh", sight, LOCAL.access)
    shuffled = random.sample(planned, len(planned))
    assert {item.vm_id: item for item in with_sources(shuffled, "ssh", sight, LOCAL.access)} == {
        item.vm_id: item for item in found
    }
    fit = {key for key, server in sight.servers.items() if server.running and not server.maintenance}
    fit = {key for key in fit if sight.servers[key].ip_address}
    for item in found:
        own = sight.vms[item.vm_id].server_id
        for one in item.disks:
            candidates = fit & set(sight.repositories[one.repository_id or ""].server_ids)
            assert (one.server is None) == (not candidates)
            if one.server is not None:
                assert one.server.id in candidates
                assert one.server.id == own or own not in candidates
        fails = without_way(item, "ssh", sight, LOCAL).action == "fail"
        assert fails == any(one.server is None for one in item.disks)


@given(st.integers(1, 9), st.integers(1, 3))
def test_vms_without_a_server_are_dealt_evenly(vms: int, servers: int) -> None:
    guests = [vm(f"vm{number}", server_id=None, state="STOPPED") for number in range(vms)]
    sight = estate(*(OVS1, OVS2, OVS3)[:servers], vms=guests)
    found = with_sources(list(plan(*guests).vms), "auto", sight, LOCAL.access)
    counts = Counter(one.server.id for item in found for one in item.disks if one.server is not None)
    assert sum(counts.values()) == vms
    assert max(counts.values()) - min([*counts.values(), *([0] if len(counts) < servers else [])]) <= 1
