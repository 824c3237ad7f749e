# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Another proxy goes on with a VM whose own proxy was lost in the middle of the run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any


def plan_of_stand_in(plan: Mapping[str, Any], lost: Collection[str]) -> dict[str, Any]:
    """Return the plan of a VM for its proxy, or the first stand-in that is not lost, in plain types; else nothing."""
    if plan and plan["proxy"] not in lost:
        return dict(plan)
    for stand_in in plan.get("stand_ins", ()):
        if stand_in["proxy"] in lost:
            continue
        disks = [{**disk, **source} for disk, source in zip(plan["disks"], stand_in["disks"])]
        moved = {**plan, "proxy": stand_in["proxy"], "slots": stand_in["slots"], "disks": disks}
        if "vm_cfg" in stand_in:
            configuration = plan["configuration"]
            vm_cfg = {**configuration["vm_cfg"], **stand_in["vm_cfg"]}
            moved["configuration"] = {**configuration, "vm_cfg": vm_cfg}
        return moved
    return {}
