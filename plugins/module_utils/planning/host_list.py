# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The VMs of a manager as hosts: their names, what is known of them, and the groups to which they belong.

Pure functions; the results are plain JSON types, so that they can be kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Callable

from ..manager.inventory import Inventory, Vm
from .coverage import Coverage, VmCoverage
from .names import client_name

BY_NAME, BY_CLIENT, BY_ID = "name", "client", "id"
# The kinds of groups, each with the words that its groups begin with.
KINDS = {
    "server_pool": "pool",
    "server": "server",
    "repository": "repository",
    "power_state": "state",
    "tag": "tag",
    "subclient": "subclient",
    "protection": "protection",
}
# A host of one of these names would be another thing to Ansible: itself, or a group that it makes.
_TAKEN = frozenset({"localhost", "127.0.0.1", "::1", "all", "ungrouped", ""})


@dataclass(frozen=True)
class Host:
    """A VM as a host. C(groups) are pairs of a kind and a name, as the manager or the subclients have it."""

    name: str
    variables: dict[str, Any]
    groups: tuple[tuple[str, str], ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"name": self.name, "variables": self.variables, "groups": [list(group) for group in self.groups]}


def host_list(
    inventory: Inventory,
    coverage: Coverage | None,
    *,
    is_ours: Callable[[Vm], bool],
    names: str = BY_NAME,
    templates: bool = False,
    with_subclients: bool = True,
) -> list[Host]:
    """Return the VMs by name, without the clones of backup runs, and without templates unless they are wanted.

    Without C(coverage) nothing is said of their protection, without C(with_subclients) not by which of them.
    """
    vms = [vm for vm in inventory.vms.values() if not is_ours(vm) and (templates or not vm.is_template)]
    covered = {vm.vm_id: vm for vm in coverage.vms} if coverage is not None else {}
    own = {vm.id: _own_name(vm, covered.get(vm.id), names) for vm in vms}
    counts = Counter(own.values())
    ordered = sorted(vms, key=lambda vm: (vm.name, vm.id))
    hosts = []
    for vm in ordered:
        variables = _known(vm, inventory)
        if vm.id in covered:
            variables.update(_protection(covered[vm.id], with_subclients))
        hosts.append(Host(_unique(own[vm.id], vm.id, counts), variables, _groups(variables)))
    return hosts


def _own_name(vm: Vm, covered: VmCoverage | None, names: str) -> str:
    if names == BY_ID:
        return vm.id
    if names == BY_CLIENT:
        return (covered.client if covered is not None else None) or client_name(vm.name)
    return vm.name


def _unique(name: str, vm_id: str, counts: Mapping[str, int]) -> str:
    """Return a name that no other host has: the manager lets several VMs have the same."""
    if counts[name] == 1 and name.strip().lower() not in _TAKEN:
        return name
    return f"{name}_{vm_id}" if name.strip() else vm_id


def _groups(variables: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the groups of a host: all that its variables tell of each kind."""
    found = {
        "server_pool": [variables["ovm_server_pool"]],
        "server": [variables["ovm_server"]],
        "repository": variables["ovm_repositories"],
        "power_state": [variables["ovm_power_state"]],
        "tag": variables["ovm_tags"],
        "subclient": variables.get("ovm_subclients", []),
        "protection": [variables.get("ovm_protection")],
    }
    return tuple((kind, name) for kind, names in found.items() for name in names if name)


def _known(vm: Vm, inventory: Inventory) -> dict[str, Any]:
    repositories = {repository.id: repository.name for repository in inventory.repositories.values()}
    server = inventory.servers.get(vm.server_id or "")
    homes = (vm.repository_id, *(disk.repository_id for disk in vm.disks if disk.kind == "virtual"))
    return {
        "ovm_id": vm.id,
        "ovm_name": vm.name,
        "ovm_client": client_name(vm.name),
        "ovm_power_state": vm.state.lower(),
        "ovm_template": vm.is_template,
        "ovm_domain_type": vm.domain_type,
        "ovm_os_type": vm.os_type,
        "ovm_memory": vm.memory,
        "ovm_cpu_count": vm.cpu_count,
        "ovm_description": vm.description,
        "ovm_locked": vm.locked,
        "ovm_tags": list(vm.tags),
        "ovm_server": server.name if server is not None else None,
        "ovm_server_id": vm.server_id,
        "ovm_server_pool": inventory.server_pools.get(vm.server_pool_id or ""),
        "ovm_server_pool_id": vm.server_pool_id,
        "ovm_repositories": sorted({repositories[home] for home in homes if home in repositories}),
        "ovm_disks": [
            {
                "slot": disk.slot,
                "kind": disk.kind,
                "id": disk.id,
                "name": disk.name,
                "size": disk.size,
                "repository": repositories.get(disk.repository_id or ""),
            }
            for disk in vm.disks
        ],
        "ovm_nics": [{"id": nic.id, "mac": nic.mac, "network_id": nic.network_id} for nic in vm.nics],
        "ovm_ip_addresses": _addresses(vm.document.get("virtual_nics", ())),
        "ovm_manager": {"id": inventory.manager_id, "version": inventory.manager_version},
    }


def _addresses(nics: Collection[Mapping[str, Any]]) -> list[str]:
    """Return the addresses that the guest's tools tell the manager; without those it knows none."""
    found = [entry for nic in nics for entry in nic.get("ipAddresses") or () if isinstance(entry, Mapping)]
    return [str(entry["address"]) for entry in found if entry.get("address")]


def _protection(covered: VmCoverage, with_subclients: bool) -> dict[str, Any]:
    newest = covered.newest_good
    subclients = [member.subclient for member in covered.selected_by]
    return {
        **({"ovm_client": covered.client} if covered.client is not None else {}),
        **({"ovm_subclients": subclients} if with_subclients else {}),
        "ovm_protection": covered.state,
        "ovm_protection_reason": covered.reason,
        "ovm_protection_warnings": list(covered.warnings),
        "ovm_newest_point": newest.id if newest is not None else None,
        "ovm_newest_point_created": newest.created if newest is not None else None,
        "ovm_newest_point_age": covered.age,
        "ovm_promised_age": covered.promised_age or None,
    }
