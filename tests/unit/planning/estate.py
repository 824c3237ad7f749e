# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small estate to plan with: storage repositories of every kind, and builders for VMs, disks and clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.ovm.backup.plugins.module_utils.manager.inventory import Disk, Inventory, Server, Vm
from ansible_collections.ovm.backup.plugins.module_utils.manager.storage import StorageRepository
from ansible_collections.ovm.backup.plugins.module_utils.planning.access import Access
from ansible_collections.ovm.backup.plugins.module_utils.planning.dealing import Proxies
from ansible_collections.ovm.backup.plugins.module_utils.planning.plan import make_plan
from ansible_collections.ovm.backup.plugins.module_utils.planning.plan_types import Plan, VmPlan
from ansible_collections.ovm.backup.plugins.module_utils.planning.state import (
    ClientState,
    LastJob,
    VaultDisk,
    VaultState,
)
from ansible_collections.ovm.backup.plugins.module_utils.planning.subclient import Subclient

GIB = 1 << 30
NOW = 1_700_000_000.0
HOUR = 3600.0


def repository(name: str, file_system: str, transport: str, *, thin_clone: bool = True) -> StorageRepository:
    return StorageRepository(
        id=f"id-{name}",
        name=name,
        file_system=file_system,
        transport=transport,
        thin_clone=thin_clone,
        server_ids=("id-server1",),
        size=None,
        free_size=None,
    )


REPOSITORIES = (
    repository("iscsi1", "ocfs2", "iscsi"),
    repository("iscsi2", "ocfs2", "iscsi"),
    repository("fc1", "ocfs2", "fibre_channel"),
    repository("local1", "ocfs2", "local"),
    repository("nfs1", "nfs", "nfs", thin_clone=False),
    repository("nfs-thin", "nfs", "nfs"),
    repository("odd", "unknown", "unknown", thin_clone=False),
    repository("oddlun", "ocfs2", "unknown"),
    repository("noclone", "ocfs2", "iscsi", thin_clone=False),
)


def disk(slot: int, where: str | None = "iscsi1", *, kind: str = "virtual", **fields: Any) -> Disk:
    """Return a disk in a slot; C(where) is the name of its storage repository."""
    values = {
        "slot": slot,
        "mapping_id": f"mapping-{slot}",
        "kind": kind,
        "id": f"disk-{slot}.img",
        "name": f"disk{slot}",
        "size": GIB,
        "repository_id": f"id-{where}" if where is not None else None,
        "path": f"/VirtualDisks/disk-{slot}.img",
        "shared": False,
    }
    return Disk(**{**values, **fields})


def vm(name: str, *disks: Disk, **fields: Any) -> Vm:
    """Return a running VM named so, with one disk on iSCSI if none is given; C(disks=()) for none at all."""
    values: dict[str, Any] = {
        "id": f"id-{name}",
        "name": name,
        "state": "RUNNING",
        "domain_type": "XEN_HVM",
        "os_type": "Oracle Linux 7",
        "memory": 1024,
        "cpu_count": 1,
        "description": "",
        "locked": False,
        "repository_id": "id-iscsi1",
        "server_id": "id-server1",
        "server_pool_id": "id-pool1",
        "tags": (),
        "disks": disks or (disk(0),),
        "nics": (),
        "config_path": f"/VirtualMachines/id-{name}/vm.cfg",
        "document": {},
    }
    return Vm(**{**values, **fields})


def inventory(*vms: Vm) -> Inventory:
    servers = [Server(f"id-{name}", name, "192.0.2.1", True, False) for name in ("server1", "server2")]
    return Inventory(
        manager_id="manager",
        manager_version="3.4.6",
        taken_at=NOW,
        vms={item.id: item for item in vms},
        repositories={item.id: item for item in REPOSITORIES},
        servers={item.id: item for item in servers},
        server_pools={"id-pool1": "pool1", "id-pool2": "pool2"},
    )


def client(of: Vm, *, age: float | None = HOUR, **fields: Any) -> ClientState:
    """Return the client of a VM with a healthy recovery point of its present disks; C(age=None): without any."""
    values: dict[str, Any] = {"client": of.name, "vm_id": of.id}
    if age is not None:
        healthy = bool(fields.get("newest_healthy", True))
        disks = tuple(
            VaultDisk(item.id, item.slot, item.size or 0, healthy, "P0", healthy, 1)
            for item in of.disks
            if item.kind == "virtual"
        )
        values.update(newest_point="P1", newest_created=NOW - age, newest_healthy=True, disks=disks)
    return ClientState(**{**values, **fields})


def vault(*clients: ClientState) -> VaultState:
    return VaultState(clients)


def rule(field: str, value: Any, operator: str = "equals") -> dict[str, Any]:
    return {"field": field, "operator": operator, "value": value}


def subclient(*rules: dict[str, Any], match: str = "all", **settings: Any) -> Subclient:
    """Return a subclient of one group of rules; of all VMs if none is given."""
    group = {"match": match, "rules": list(rules) or [rule("name", "*")]}
    return Subclient.parse("prod", {"content": [group], **settings})


def group(*names: str, access: Access | None = None, **single: Access) -> dict[str, Any]:
    """Return the argument of a run for some proxies, and what all or single ones of them reach."""
    return {"proxies": Proxies.alike(names, access or Access(), single)}


def plan(
    *vms: Vm,
    clients: Sequence[ClientState] = (),
    last_job: LastJob | None = None,
    run: dict[str, Any] | None = None,
    **settings: Any,
) -> Plan:
    """Plan a subclient of all VMs; C(run) are arguments of the run, C(settings) of the subclient."""
    state = VaultState(tuple(clients), last_job)
    return make_plan(subclient(**settings), inventory(*vms), state, now=NOW, **(run or {}))


def plan_one(of: Vm, state: ClientState | None = None, **settings: Any) -> VmPlan:
    found = plan(of, clients=[state] if state else (), **settings)
    assert len(found.vms) == 1
    return found.vms[0]
