# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The plan of synthetic fulls: made from the vault alone, without manager and servers (requirement R6)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from .order import Candidate, round_robin
from .plan import checked_run, empty_plan, with_slots
from .plan_types import Plan, VmPlan
from .state import ClientState, VaultState
from .subclient import Subclient

SYNTHETIC_FULL = "synthetic_full"


def plan_synthetic_fulls(
    subclient: Subclient,
    vault: VaultState,
    *,
    backup_type: str | None = None,
    proxies: Sequence[str] = ("localhost",),
    settings: Mapping[str, bool] | None = None,
) -> Plan | None:
    """Return what a run of synthetic fulls does, or nothing for a run that has to ask the manager.

    It consolidates the clients that any job of the subclient has made a recovery point of, least recently protected
    first. If there is none, no synthetic full can be made, and the run makes the first backups instead. Raises as
    C(make_plan) does.
    """
    requested = checked_run(subclient, backup_type, proxies, settings or {})
    members = [state for state in vault.clients if subclient.name in state.subclients and state.newest_point]
    if requested != SYNTHETIC_FULL or not members:
        return None
    planned = {state.vm_id: _plan_client(state, subclient) for state in members}
    queue = round_robin(Candidate(state.vm_id, state.vm_name, "", state.protected_at) for state in members)
    order = sorted((planned[item.vm_id] for item in queue), key=lambda item: item.action)  # backup before current, fail
    vms = [
        with_slots(dataclasses.replace(item, order=number + 1, proxy=proxies[number % len(proxies)]), subclient, None)
        for number, item in enumerate(order)
    ]
    return dataclasses.replace(empty_plan(subclient, requested), vms=tuple(vms))


def _plan_client(state: ClientState, subclient: Subclient) -> VmPlan:
    action, method = "backup", "consolidate"
    reason = f"recovery point {state.newest_point} and what it builds on become a synthetic full"
    if not state.newest_healthy:
        action, method = "fail", "skip"
        reason = f"its newest recovery point {state.newest_point} is damaged: the next backup makes a full"
    elif state.newest_is_full:
        action = "current"
        reason = f"its newest recovery point {state.newest_point} is a full already"
    return VmPlan(
        vm_id=state.vm_id,
        vm_name=state.vm_name,
        client=state.client,
        new_client=False,
        selected_by=f"jobs of subclient {subclient.name}",
        action=action,
        method=method,
        reason=reason,
        requested_type=SYNTHETIC_FULL,
        type=SYNTHETIC_FULL,
        type_reason=reason,
    )
