# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The options by which all modules name a recovery point, and the one that they mean."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ._vault import open_vault
from .vault.manifest import Point
from .vault.points import Client
from .vault.selection import LATEST, select


def point_options(*, required: bool = True) -> dict[str, Any]:
    """Return the options of the documentation fragment C(point)."""
    return {
        "client": {"type": "str", "required": required},
        "point": {"type": "str", "default": LATEST},
        "before": {"type": "str"},
    }


def selected_point(module: AnsibleModule) -> tuple[Client, Point]:
    """Return the client and the recovery point that the options name; a newer one that is passed over is a warning."""
    client = open_vault(module).client(module.params["client"])
    return client, chosen_point(module, client)


def chosen_point(module: AnsibleModule, client: Client) -> Point:
    """Return the recovery point of a client that the options C(point) and C(before) name."""
    selection = select(client, module.params["point"] or LATEST, module.params["before"])
    for bad in selection.passed_over:
        module.warn(
            f"Recovery point {bad.id} of client {client.name} is passed over for the older {selection.point.id}: "
            f"{bad.problem}"
        )
    return selection.point
