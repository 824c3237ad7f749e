# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Several proxies: who takes part in a run, who works on which VM, and who goes on when one is lost."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.planning.estate import NOW, disk, group, inventory, plan, subclient, vm

from ansible_collections.ovm.backup.plugins.module_utils.errors import ProxyError
from ansible_collections.ovm.backup.plugins.module_utils.planning.access import Access
from ansible_collections.ovm.backup.plugins.module_utils.planning.configuration import with_configuration
from ansible_collections.ovm.backup.plugins.module_utils.planning.proxies import Fit, fit_proxies
from ansible_collections.ovm.backup.plugins.module_utils.planning.stand_in import plan_of_stand_in

LEFT_OUT = "; it is left out of this run, the others do its work"


def looked(name: str, ahead: float | None = 0.0, error: float = 0.0, **changes: Any) -> dict[str, Any]:
    """What a loop registers of a proxy that answers."""
    clock = {"ahead": ahead, "error": error} if ahead is not None else None
    proxy = {"vault": {"path": "/v", "id": "V"}, "repositories": ["aa"], "clock": clock, **changes}
    return {"ansible_loop_var": "__plan_proxy", "__plan_proxy": name, "proxy": proxy}


def silent(name: str, **result: Any) -> dict[str, Any]:
    return {"ansible_loop_var": "item", "item": name, **result}


# --- who takes part ---------------------------------------------------------------------------------------------------


def test_nobody_was_looked_at() -> None:
    assert fit_proxies(["p1", "p2"], []) == Fit(("p1", "p2"))


@pytest.mark.parametrize(
    ("check", "problem"),
    [
        (silent("p2", unreachable=True, msg="Failed to connect\nmore"), "it cannot be reached: Failed to connect"),
        (silent("p2", failed=True, msg="/v is not a vault"), "/v is not a vault"),
        (
            silent("p2", failed=True, msg="Timed out after 300 second(s).", timedout={"period": 300}),
            "it gave no answer in time: perhaps a mount hangs there",
        ),
        (
            silent(
                "p2",
                failed=True,
                msg="The proxy_check action failed to execute in the expected time frame (300) and was terminated",
            ),
            "it gave no answer in time: perhaps a mount hangs there",
        ),
        (silent("p2"), "no reason given"),
        (silent("p3"), "nobody has looked at it"),
        (
            looked("p2", vault={"path": "/v", "id": "W"}),
            "its vault has the id W, that of 'planner' V: all proxies need one vault, on storage that they share",
        ),
        (looked("p2", 362.5), "its clock is 6 min 2 s ahead of that of 'planner': set it, by NTP"),
        (looked("p2", -61.5), "its clock is 1 min 2 s behind that of 'planner': set it, by NTP"),
        (looked("p2", 70.0, 9.0), "its clock is 1 min 10 s ahead of that of 'planner': set it, by NTP"),
    ],
)
def test_a_proxy_is_left_out(check: dict[str, Any], problem: str) -> None:
    found = fit_proxies(["p1", "p2"], [looked("planner"), looked("p1"), check])
    assert found == Fit(("p1",), {"p1": frozenset({"aa"})}, (f"proxy 'p2': {problem}{LEFT_OUT}",))


def test_clocks_are_compared_with_the_host_that_plans() -> None:
    """The clock of the vault's server may be anything: all of them are compared with it."""
    checks = [looked("planner", 7200.0), looked("p1", 7204.9), looked("p2", 7190.0), looked("p3", 7212.0, 8.0)]
    found = fit_proxies(["p1", "p2", "p3"], checks)
    assert found.names == ("p1", "p2", "p3")
    # What may be an error of the measurement is not told.
    assert found.warnings == ("proxy 'p2': its clock is 10 s behind that of 'planner': set it, by NTP",)
    unknown = [looked("planner", None), looked("p1", 500.0)]
    assert fit_proxies(["p1"], unknown).warnings == ()


def test_without_a_proxy_there_is_no_run() -> None:
    gone = {"unreachable": True, "msg": "no route"}
    with pytest.raises(ProxyError) as caught:
        fit_proxies(["p1", "p2"], [looked("planner"), silent("p1", **gone), silent("p2", msg="full")])
    assert caught.value.message == (
        "No proxy can take part in the run: proxy 'p1': it cannot be reached: no route; proxy 'p2': full"
    )
    with pytest.raises(ProxyError, match="The host that plans, 'planner': /v is not a vault"):
        fit_proxies(["p1"], [silent("planner", msg="/v is not a vault"), looked("p1")])


# --- dealing ----------------------------------------------------------------------------------------------------------

MOUNTED = Access(frozenset({"id-iscsi1"}))
SSH = Access(ssh=True)


@given(st.integers(1, 12), st.integers(1, 5))
def test_round_robin(vms: int, proxies: int) -> None:
    names = [f"p{number}" for number in range(proxies)]
    found = plan(*(vm(f"vm{number:02}") for number in range(vms)), run=group(*names, access=MOUNTED)).vms
    assert [item.proxy for item in found] == [names[number % proxies] for number in range(vms)]
    for number, item in enumerate(found):
        turn = [names[(number + step) % proxies] for step in range(1, proxies)]
        assert [stand_in.proxy for stand_in in item.stand_ins] == turn[:2]


def test_each_proxy_reads_from_where_it_can() -> None:
    run = group("p1", "p2", access=SSH, p1=dataclasses.replace(MOUNTED, ssh=True))
    first, second = plan(vm("a"), vm("b"), run=run, limits={"server": 1, "proxy": 2}).vms
    assert [(item.proxy, item.disks[0].source) for item in (first, second)] == [("p1", "path"), ("p2", "ssh")]
    assert [slot.name for slot in first.slots] == ["server-id-server1", "proxy-p1"]
    (stand_in,) = first.stand_ins
    assert (stand_in.proxy, stand_in.disks[0].source) == ("p2", "ssh")
    assert [slot.name for slot in stand_in.slots] == ["server-id-server1", "proxy-p2"]


def test_without_ssh_a_vm_goes_to_a_proxy_that_sees_it() -> None:
    guests = inventory(*(vm(f"vm{number}") for number in range(4)))
    found = plan_in(guests, "p1", "p2", "p3", p1=MOUNTED, p3=MOUNTED)
    assert [item.proxy for item in found] == ["p1", "p3", "p3", "p1"]
    assert [[stand_in.proxy for stand_in in item.stand_ins] for item in found] == [["p3"], ["p1"], ["p1"], ["p3"]]
    # Where nobody is known to see it, all take their turn: the transfer tells what is wrong.
    unknown = plan_in(guests, "p1", "p2")
    assert [item.proxy for item in unknown] == ["p1", "p2", "p1", "p2"]


def test_a_vm_goes_to_a_proxy_that_can_read_it() -> None:
    """Proxy p1 sees the storage repository, and no server has it that p2 and p3 could ask."""
    guests = [vm(f"vm{number}") for number in range(4)]
    unserved = inventory(*guests)
    unserved = dataclasses.replace(
        unserved,
        repositories={key: dataclasses.replace(one, server_ids=()) for key, one in unserved.repositories.items()},
    )
    lonely = plan_in(unserved, "p2", "p1", "p3", access=SSH, p1=MOUNTED)
    assert [(item.action, item.proxy, item.stand_ins) for item in lonely] == [("backup", "p1", ())] * 4
    nobody = plan_in(unserved, "p2", "p3", access=SSH)
    assert {(item.action, item.reason) for item in nobody} == {
        ("fail", "there is no way to its data: disk 'disk0' (slot 0): storage repository 'iscsi1' cannot be read over "
                 "ssh: it is presented to no server"),
    }  # fmt: skip
    told = dataclasses.replace(SSH, addresses={"x": "y"})
    differ = plan_in(unserved, "p2", "p3", access=SSH, p2=told)
    assert differ[0].reason.startswith("there is no way to its data: on proxy p2: disk 'disk0' (slot 0): storage ")
    assert "; on proxy p3: disk 'disk0' (slot 0): storage repository" in differ[0].reason


def plan_in(where: Any, *names: str, **access: Access) -> Any:
    from ansible_collections.ovm.backup.plugins.module_utils.planning.plan import make_plan
    from ansible_collections.ovm.backup.plugins.module_utils.planning.state import VaultState

    return make_plan(subclient(), where, VaultState((), None), now=NOW, **group(*names, **access)).vms


# --- a proxy is lost --------------------------------------------------------------------------------------------------


def test_the_plan_for_a_stand_in() -> None:
    guest = vm("a", disk(0), disk(1, "fc1"))
    run = group("p1", "p2", "p3", access=SSH, p1=dataclasses.replace(MOUNTED, ssh=True))
    made = plan(guest, run=run, limits={"proxy": 3})
    document = with_configuration(made, "auto", inventory(guest), run["proxies"])
    (own,) = json.loads(json.dumps(document))["vms"]
    assert plan_of_stand_in(own, []) == own
    moved = plan_of_stand_in(own, ["p1"])
    assert [disk["source"] for disk in own["disks"]] == ["path", "ssh"]
    assert [disk["source"] for disk in moved["disks"]] == ["ssh", "ssh"]
    assert moved["disks"][0]["server"]["id"] == "id-server1"
    assert (moved["proxy"], moved["slots"]) == ("p2", [{"name": "proxy-p2", "limit": 3}])
    vm_cfg = own["configuration"]["vm_cfg"]
    assert (vm_cfg["source"], moved["configuration"]["vm_cfg"]["source"]) == ("path", "ssh")
    same = ("slots", "proxy", "disks", "configuration")
    assert {key: own[key] for key in own if key not in same} == {key: moved[key] for key in moved if key not in same}
    assert plan_of_stand_in(moved, ["p1", "p2"])["proxy"] == "p3"
    assert plan_of_stand_in(moved, ["p1", "p2", "p3"]) == {}
    assert plan_of_stand_in({}, []) == {}
