# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan of synthetic fulls."""

from __future__ import annotations

import pytest
from unit.planning.estate import HOUR, client, subclient, vault, vm

from ansible_collections.ovm.backup.plugins.module_utils.errors import InvalidInputError
from ansible_collections.ovm.backup.plugins.module_utils.planning.state import ClientState
from ansible_collections.ovm.backup.plugins.module_utils.planning.synthetic import plan_synthetic_fulls

OURS = frozenset({"prod", "other"})


def member(name: str, age: float = HOUR, **fields: object) -> ClientState:
    return client(vm(name), age=age, **{"vm_name": name, "subclients": OURS, **fields})


def test_every_client_of_the_subclient_and_no_other() -> None:
    clients = [
        member("young"),
        member("old", age=2 * HOUR),
        member("full", newest_is_full=True),
        member("damaged", newest_healthy=False),
        member("foreign", subclients=frozenset({"other"})),
        client(vm("empty"), age=None),
    ]
    plan = plan_synthetic_fulls(
        subclient(limits={"proxy": 1}), vault(*clients), backup_type="synthetic_full", proxies=["p1", "p2"]
    )
    assert plan is not None
    assert (plan.subclient, plan.requested_type, plan.excluded, plan.new) == ("prod", "synthetic_full", (), ())
    assert [(item.vm_name, item.action, item.method, item.reason, item.proxy, item.order) for item in plan.vms] == [
        ("old", "backup", "consolidate", "recovery point P1 and what it builds on become a synthetic full", "p1", 1),
        ("young", "backup", "consolidate", "recovery point P1 and what it builds on become a synthetic full", "p2", 2),
        ("full", "current", "consolidate", "its newest recovery point P1 is a full already", "p1", 3),
        ("damaged", "fail", "skip", "its newest recovery point P1 is damaged: the next backup makes a full", "p2", 4),
    ]
    assert [[slot.name for slot in item.slots] for item in plan.vms] == [["proxy-p1"], ["proxy-p2"], [], []]
    assert {(item.type, item.requested_type, item.disks) for item in plan.vms} == {
        ("synthetic_full", "synthetic_full", ())
    }
    assert {item.selected_by for item in plan.vms} == {"jobs of subclient prod"}


@pytest.mark.parametrize(
    ("clients", "backup_type", "own_type"),
    [
        pytest.param([], "synthetic_full", "incremental", id="nothing is in the vault"),
        pytest.param([client(vm("a"), age=None)], "synthetic_full", "incremental", id="no recovery point"),
        pytest.param([client(vm("a"))], "synthetic_full", "incremental", id="only of other subclients"),
        pytest.param([member("a")], None, "incremental", id="another type"),
        pytest.param([member("a")], "full", "synthetic_full", id="another type in this run"),
    ],
)
def test_runs_that_ask_the_manager(clients: list[ClientState], backup_type: str | None, own_type: str) -> None:
    definition = subclient(backup_type=own_type)
    assert plan_synthetic_fulls(definition, vault(*clients), backup_type=backup_type) is None


def test_the_type_of_the_subclient() -> None:
    plan = plan_synthetic_fulls(subclient(backup_type="synthetic_full"), vault(member("a")))
    assert plan is not None
    assert [item.vm_name for item in plan.vms] == ["a"]


def test_wrong_runs_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"^proxies: one proxy at least is needed to run backups$"):
        plan_synthetic_fulls(subclient(), vault(), proxies=[])
    with pytest.raises(InvalidInputError, match=r"^backup_type: 'x' is not a backup type"):
        plan_synthetic_fulls(subclient(), vault(), backup_type="x")
