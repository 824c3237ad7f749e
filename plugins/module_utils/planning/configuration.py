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
from .plan_types import Plan
from .sources import config_source


def with_configuration(plan: Plan, wanted: str, inventory: Inventory, access: Access) -> dict[str, Any]:
    """Return the plan in plain types; each VM carries the configuration, C(wanted) is the source of the subclient."""
    document = plan.as_dict()
    for item, entry in zip(plan.vms, document["vms"]):
        vm = inventory.vms[item.vm_id]
        source = config_source(item, wanted, inventory, access)
        entry["configuration"] = {
            "document": vm.document,
            "vm_cfg": {
                "repository_id": vm.repository_id,
                "path": vm.config_path,
                "source": source.kind,
                "server": asdict(source.server) if source.server is not None else None,
            },
            "manager": {"id": inventory.manager_id, "version": inventory.manager_version},
        }
    return document
