# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan of synthetic fulls."""

from __future__ import annotations

import pytest
from unit.planning.estate import HOUR, NOW, client, inventory, subclient, vault, vm

from ansible_collections.ovm.backup.plugins.module_utils.errors import InvalidInputError
from ansible_collections.ovm.backup.plugins.module_utils.planning.plan import make_plan
from ansible_collections.ovm.backup.plugins.module_utils.planning.preview import plan_summary
from ansible_collections.ovm.backup.plugins.module_utils.planning.state import ClientState, LastJob, VaultState
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
        (
            "damaged",
            "fail",
            "skip",
            "its newest recovery point P1 is damaged: a run of another type makes a full",
            "p2",
            4,
        ),
    ]
    assert [[slot.name for slot in item.slots] for item in plan.vms] == [["proxy-p1"], ["proxy-p2"], [], []]
    assert {(item.type, item.requested_type, item.disks) for item in plan.vms} == {
        ("synthetic_full", "synthetic_full", ())
    }
    assert {item.selected_by for item in plan.vms} == {"jobs of subclient prod"}


@pytest.mark.parametrize(
    ("clients", "backup_type"),
    [
        pytest.param([], "synthetic_full", id="nothing is in the vault"),
        pytest.param([client(vm("a"), age=None)], "synthetic_full", id="no recovery point"),
        pytest.param([client(vm("a"))], "synthetic_full", id="only of other subclients"),
        pytest.param([member("a")], None, id="the type of the subclient"),
        pytest.param([member("a")], "full", id="another type in this run"),
    ],
)
def test_runs_that_ask_the_manager(clients: list[ClientState], backup_type: str | None) -> None:
    assert plan_synthetic_fulls(subclient(), vault(*clients), backup_type=backup_type) is None


def test_as_the_own_type_of_a_subclient_it_goes_with_the_content() -> None:
    """What is new gets its first backup, what has a recovery point is consolidated, what has left is left alone."""
    definition = subclient(backup_type="synthetic_full", max_age="1w")
    state = vault(member("known"), member("gone"), member("full", newest_is_full=True))
    assert plan_synthetic_fulls(definition, state) is None
    guests = [vm("new"), vm("renamed", id="id-known"), vm("full"), vm("t", state="TEMPLATE")]
    found = make_plan(definition, inventory(*guests), state, now=NOW)
    assert {item.vm_name: (item.action, item.method, item.type, item.client) for item in found.vms} == {
        "new": ("backup", "hot_clone", "full", "new"),
        "renamed": ("backup", "consolidate", "synthetic_full", "known"),
        "full": ("current", "consolidate", "synthetic_full", "full"),
        "t": ("skip", "skip", "synthetic_full", "t"),
    }
    assert {item.selected_by for item in found.vms} == {"content[0]: name equals '*'"}


def test_the_summary_says_that_the_content_was_not_evaluated() -> None:
    plan = plan_synthetic_fulls(subclient(), vault(member("a")), backup_type="synthetic_full")
    assert plan is not None
    assert plan_summary(plan.as_dict())[:2] == [
        "Plan for subclient prod, synthetic_full asked for: 1 back up",
        "  made from the vault: the content is not evaluated, new VMs come with the next ordinary backup",
    ]


def test_wrong_runs_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"^proxies: one proxy at least is needed to run backups$"):
        plan_synthetic_fulls(subclient(), vault(), proxies=[])
    with pytest.raises(InvalidInputError, match=r"^backup_type: 'x' is not a backup type"):
        plan_synthetic_fulls(subclient(), vault(), backup_type="x")
    with pytest.raises(InvalidInputError, match=r"^restart_job: subclient 'prod' has no finished job: run it without$"):
        plan_synthetic_fulls(subclient(), vault(), restart=True)


def finished_job(requested: str = "synthetic_full", **statuses: str) -> LastJob:
    names = {f"id-{name}": name for name in statuses}
    return LastJob("J1", requested, names, {f"id-{name}": status for name, status in statuses.items()})


RESTARTED = "it failed in job J1, which is restarted"


def test_restart_makes_only_what_failed() -> None:
    clients = (
        member("bad"),
        member("done"),
        member("later"),
        member("damaged", newest_healthy=False),
        member("full", newest_is_full=True),
        client(vm("foreign")),
    )
    job = finished_job(bad="Failed", done="Completed", damaged="Failed", full="Failed", foreign="Failed", gone="Failed")
    plan = plan_synthetic_fulls(subclient(), VaultState(clients, job), restart=True)  # in the type of the job
    assert plan is not None
    assert {item.vm_name: (item.action, item.method, item.reason) for item in plan.vms} == {
        "bad": (
            "backup",
            "consolidate",
            f"recovery point P1 and what it builds on become a synthetic full; {RESTARTED}",
        ),
        "done": (
            "current",
            "consolidate",
            "it has the status Completed in job J1, which is restarted for what failed there",
        ),
        "later": ("current", "consolidate", "it was not in job J1, which is restarted for what failed there"),
        "damaged": ("fail", "skip", "its newest recovery point P1 is damaged: a run of another type makes a full"),
        "full": ("current", "consolidate", "its newest recovery point P1 is a full already"),
    }
    tail = "failed in the job, too, but has no recovery point of this subclient: run another backup type for it"
    assert plan.warnings == (f"foreign {tail}", f"gone {tail}")
    assert [item.vm_name for item in plan.vms][0] == "bad"


def test_restart_in_another_type() -> None:
    incremental = VaultState((member("a"),), finished_job("incremental", a="Failed"))
    assert plan_synthetic_fulls(subclient(), incremental, restart=True) is None
    assert plan_synthetic_fulls(subclient(), incremental, restart=True, backup_type="synthetic_full") is not None
    synthetic = VaultState((member("a"),), finished_job(a="Failed"))
    assert plan_synthetic_fulls(subclient(), synthetic, restart=True, backup_type="incremental") is None


def test_restart_of_first_backups_asks_the_manager() -> None:
    """A VM without recovery point failed: only the manager knows it. What succeeded is not read a second time."""
    guests = [vm("new"), vm("done"), vm("other")]
    state = VaultState((member("done"), client(guests[2])), finished_job(new="Failed", done="Completed"))
    assert plan_synthetic_fulls(subclient(), state, restart=True) is None
    found = make_plan(subclient(), inventory(*guests), state, now=NOW, restart=True)
    assert {item.vm_name: (item.action, item.type) for item in found.vms} == {
        "new": ("backup", "full"),
        "done": ("current", "synthetic_full"),
        "other": ("current", "synthetic_full"),
    }
    nothing_failed = VaultState((member("done"),), finished_job(done="Completed"))
    plan = plan_synthetic_fulls(subclient(), nothing_failed, restart=True)
    assert plan is not None
    assert [item.action for item in plan.vms] == ["current"]


def test_what_is_distrusted_is_not_consolidated() -> None:
    """Increments that left something out would go on living in a synthetic full: only the VM itself tells the truth."""
    guest = vm("guest")
    state = client(guest, distrust="disk 0 at offset 5", subclients=OURS)
    plan = plan_synthetic_fulls(subclient(), vault(state), backup_type="synthetic_full")
    assert plan is not None
    reason = "change detection failed before: disk 0 at offset 5; a run of another type makes a full"
    assert [(item.action, item.method, item.reason) for item in plan.vms] == [("fail", "skip", reason)]
    found = make_plan(subclient(), inventory(guest), vault(state), now=NOW, backup_type="synthetic_full")
    assert [(item.action, item.method, item.type, item.type_reason) for item in found.vms] == [
        ("backup", "hot_clone", "full", "change detection failed before: disk 0 at offset 5")
    ]


@pytest.mark.parametrize("healthy", [True, False])
@pytest.mark.parametrize("force", [True, False])
def test_no_vm_with_a_recovery_point_is_read_in_full(force: bool, healthy: bool) -> None:
    guests = [vm("known"), vm("new")]
    state = vault(client(guests[0], newest_healthy=healthy))
    assert plan_synthetic_fulls(subclient(), state, backup_type="synthetic_full") is None
    found = make_plan(subclient(), inventory(*guests), state, now=NOW, backup_type="synthetic_full", force=force)
    new, known = found.vms
    assert (new.vm_name, new.action, new.type) == ("new", "backup", "full")
    assert (known.action, known.method) == (("backup", "consolidate") if healthy else ("fail", "skip"))
    assert (known.type, known.disks, known.warnings) == ("synthetic_full", (), ())
