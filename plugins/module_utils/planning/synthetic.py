# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The plan of synthetic fulls: made from the vault alone, without manager and servers (requirement R6)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from .access import Access
from .backup_type import SYNTHETIC_FULL
from .consolidation import plan_consolidation
from .dealing import Proxies, with_slots, with_stand_ins
from .order import Candidate, round_robin
from .plan import checked_run, empty_plan, judge_restart, open_jobs, restarted_job
from .plan_types import Plan
from .state import VaultState
from .subclient import Subclient


def plan_synthetic_fulls(
    subclient: Subclient,
    vault: VaultState,
    *,
    backup_type: str | None = None,
    restart: bool = False,
    proxies: Sequence[str] = ("localhost",),
    settings: Mapping[str, bool] | None = None,
) -> Plan | None:
    """Return what a run that was asked for synthetic fulls does, or nothing for a run that has to ask the manager.

    It consolidates the clients that any job of the subclient has made a recovery point of, least recently protected
    first. If there is none, no synthetic full can be made, and the run makes the first backups instead. C(restart) does
    only what failed in the job C(vault.last_job); if these all were first backups, they are made again. Raises as
    C(make_plan) does.
    """
    restarted = restarted_job(subclient, vault) if restart else None
    requested = checked_run(subclient, backup_type, proxies, settings or {}, restarted)
    members = [state for state in vault.clients if subclient.name in state.subclients and state.newest_point]
    # As a subclient's own type it goes with the content: what is new there has to get its first backup.
    own_type = backup_type is None and restarted is None
    if requested != SYNTHETIC_FULL or own_type or not members:
        return None
    failed = set(restarted.failed) if restarted is not None else set()
    without_point = failed - {state.vm_id for state in members}
    if failed and failed == without_point:
        return None
    planned = {}
    for state in members:
        due, why = judge_restart(restarted, state.vm_id) if restarted is not None else (True, "")
        selected_by = selected_by_jobs(subclient.name)
        planned[state.vm_id] = plan_consolidation(state, selected_by=selected_by, due=due, why=why)
    queue = round_robin(Candidate(state.vm_id, state.vm_name, "", state.protected_at) for state in members)
    order = sorted((planned[item.vm_id] for item in queue), key=lambda item: item.action)  # backup before current, fail
    group = Proxies.alike(proxies, Access())  # all of them see the vault
    dealt = [
        dataclasses.replace(item, order=number + 1, proxy=proxies[number % len(proxies)])
        for number, item in enumerate(order)
    ]
    vms = [with_stand_ins(with_slots(item, subclient, None), proxies, group, subclient, None) for item in dealt]
    names = restarted.vms if restarted is not None else {}
    warnings = open_jobs(restarted) + [
        f"{names.get(vm_id, vm_id)} failed in the job, too, but has no recovery point of this subclient: run another "
        "backup type for it"
        for vm_id in sorted(without_point, key=lambda vm_id: names.get(vm_id, vm_id))
    ]
    return dataclasses.replace(empty_plan(subclient, requested), vms=tuple(vms), warnings=tuple(warnings))


def selected_by_jobs(subclient: str) -> str:
    """Return what a plan of synthetic fulls says on why a VM is in: it does not evaluate the content."""
    return f"jobs of subclient {subclient}"
