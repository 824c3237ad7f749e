# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The configuration of each VM of a plan, which its recovery point keeps."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..manager.inventory import Inventory
from .access import Access
from .dealing import Proxies
from .plan_types import Plan, VmPlan
from .sources import config_source


def with_configuration(plan: Plan, wanted: str, inventory: Inventory, proxies: Proxies) -> dict[str, Any]:
    """Return the plan in plain types; each VM carries the configuration, C(wanted) is the source of the subclient."""
    document = plan.as_dict()
    for item, entry in zip(plan.vms, document["vms"]):
        vm = inventory.vms[item.vm_id]
        place = _place(item, wanted, inventory, proxies.access[item.proxy])
        entry["configuration"] = {
            "document": vm.document,
            "vm_cfg": {
                "repository_id": vm.repository_id,
                "path": vm.config_path,
                **place,
            },
            "manager": {"id": inventory.manager_id, "version": inventory.manager_version},
        }
        for stand_in in entry["stand_ins"]:
            stand_in["vm_cfg"] = _place(item, wanted, inventory, proxies.access[stand_in["proxy"]])
    return document


def _place(item: VmPlan, wanted: str, inventory: Inventory, access: Access) -> dict[str, Any]:
    source = config_source(item, wanted, inventory, access)
    return {"source": source.kind, "server": asdict(source.server) if source.server is not None else None}
