# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The plan of one VM whose synthetic full is made from its recovery points, never by reading its disks."""

from __future__ import annotations

from .backup_type import SYNTHETIC_FULL
from .plan_types import VmPlan
from .state import ClientState


def plan_consolidation(state: ClientState, *, selected_by: str, due: bool = True, why: str = "") -> VmPlan:
    """Return what becomes of a client with a recovery point; C(why) it is due, or not, where that was judged."""
    action, method = "backup", "consolidate"
    reason = f"recovery point {state.newest_point} and what it builds on become a synthetic full"
    if not due:
        action, reason = "current", why
    elif not state.newest_healthy:
        action, method = "fail", "skip"
        reason = f"its newest recovery point {state.newest_point} is damaged: a run of another type makes a full"
    elif state.distrust is not None:
        action, method = "fail", "skip"
        reason = f"change detection failed before: {state.distrust}; a run of another type makes a full"
    elif state.newest_is_full:
        action = "current"
        reason = f"its newest recovery point {state.newest_point} is a full already"
    elif why:
        reason = f"{reason}; {why}"
    return VmPlan(
        vm_id=state.vm_id,
        vm_name=state.vm_name,
        client=state.client,
        new_client=False,
        selected_by=selected_by,
        action=action,
        method=method,
        reason=reason,
        requested_type=SYNTHETIC_FULL,
        type=SYNTHETIC_FULL,
        type_reason=reason,
    )
