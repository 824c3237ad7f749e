# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The networks of the manager (ovm-rest-api 10.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .objects import object_id, object_name

if TYPE_CHECKING:
    from .client import ManagerClient


@dataclass(frozen=True)
class Network:
    """A network. C(for_vms): network cards of VMs may be in it."""

    id: str
    name: str
    for_vms: bool


def read_networks(client: ManagerClient) -> dict[str, Network]:
    """Return all networks by id."""
    found = [
        Network(object_id(item), object_name(item), "VIRTUAL_MACHINE" in (item.get("roles") or ()))
        for item in client.list("Network")
    ]
    return {network.id: network for network in found}
