#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_info
short_description: List the VMs of Oracle VM Manager and plan the backup of a subclient
description:
  - Returns every VM and template of the manager with its disks and storage repositories.
  - With O(subclient) it also returns the plan of a backup run, that is which VMs the subclient's content selects, and
    for each of them what is done, how, in which type, in which order, on which proxy and why.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.manager
  - ovm.backup.attributes
  - ovm.backup.attributes.read_only
  - ovm.backup.attributes.manager_group
options:
  subclient:
    description:
      - Name of the subclient to plan.
    type: str
  definition:
    description:
      - Definition of the subclient, with its content, filters and policy. The user guide describes all keys.
    type: dict
  vault:
    description:
      - Directory of the vault. Needed with O(subclient), because what is in the vault decides the plan.
      - Falls back to E(OVM_VAULT).
    type: path
  backup_type:
    description:
      - Type to plan instead of the subclient's own, V(full) or V(incremental).
    type: str
  force:
    description:
      - Plan a backup also of VMs whose newest recovery point is young enough.
    type: bool
    default: false
  proxies:
    description:
      - Inventory names of the proxies to which the VMs are dealt in turn.
    type: list
    elements: str
    default: [localhost]
seealso:
  - module: ovm.backup.backup
"""

EXAMPLES = r"""
- name: List all VMs
  ovm.backup.vm_info:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    ca_path: /etc/ovm/ovmca.pem
  register: estate

- name: Show the VMs that run
  ansible.builtin.debug:
    msg: "{{ estate.vms | selectattr('state', 'equalto', 'RUNNING') | map(attribute='name') }}"

- name: Plan the nightly backup of the databases
  ovm.backup.vm_info:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    ca_path: /etc/ovm/ovmca.pem
    vault: /srv/vault
    subclient: databases
    definition:
      content:
        - rules:
            - field: name
              value: db*
      max_age: 20h
  register: night
"""

RETURN = r"""
manager:
  description: The manager.
  returned: success
  type: dict
  contains:
    id:
      description: Its UUID.
      type: str
      returned: always
    version:
      description: Its version.
      type: str
      returned: always
      sample: 3.4.6.2105
vms:
  description: All VMs and templates of the manager, by name.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Id of the VM on the manager.
      type: str
      returned: always
    name:
      description: Name of the VM on the manager.
      type: str
      returned: always
    client:
      description: Client name that belongs to the VM's name. A plan gives another one where names collide.
      type: str
      returned: always
    state:
      description: Run state, or V(TEMPLATE) for a template.
      type: str
      returned: always
      sample: RUNNING
    is_template:
      description: Whether it is a template. Templates are not backed up.
      type: bool
      returned: always
    is_our_clone:
      description: Whether it is a hot clone that a backup run has made.
      type: bool
      returned: always
    domain_type:
      description: How the VM is virtualized.
      type: str
      returned: always
    os_type:
      description: Guest operating system, as the manager calls it.
      type: str
      returned: always
    memory:
      description: Memory in MiB.
      type: int
      returned: always
    cpu_count:
      description: Number of virtual CPUs.
      type: int
      returned: always
    description:
      description: Description of the VM on the manager.
      type: str
      returned: always
    locked:
      description: Whether the VM is locked on the manager.
      type: bool
      returned: always
    repository_id:
      description: Id of the storage repository of its configuration, V(null) if there is none.
      type: str
      returned: always
    config_path:
      description: Path of its C(vm.cfg) in that repository, V(null) if the manager does not tell.
      type: str
      returned: always
    server_id:
      description: Id of the server that it is assigned to, V(null) if there is none.
      type: str
      returned: always
    server_pool_id:
      description: Id of its server pool, V(null) if there is none.
      type: str
      returned: always
    tags:
      description: Names of the VM's tags.
      type: list
      elements: str
      returned: always
    disks:
      description:
        - What is mapped in each slot. C(slot), C(mapping_id), C(id) and C(name) say what is where, C(kind) whether it
          is V(virtual), V(physical) or V(cdrom), C(size) the bytes, C(repository_id) and C(path) where the image lies,
          and C(shared) whether several VMs have it.
      type: list
      elements: dict
      returned: always
    nics:
      description: Its network cards, each with C(id), C(mac) and C(network_id).
      type: list
      elements: dict
      returned: always
plan:
  description: The plan of a backup run.
  returned: when O(subclient) is given
  type: dict
  contains:
    subclient:
      description: Name of the subclient.
      type: str
      returned: always
    requested_type:
      description: The type that is asked for.
      type: str
      returned: always
    max_age:
      description: Seconds for which a recovery point is young enough, V(0) to back up always.
      type: int
      returned: always
    shutdown_timeout: {description: Seconds that a VM gets to shut down., type: int, returned: always}
    kill: {description: Whether a VM that does not shut down in time is switched off., type: bool, returned: always}
    max_outage: {description: "Seconds that a VM on NFS may be down, V(0) for no limit.", type: int, returned: always}
    two_pass: {description: Whether its disks are read before it is shut down too., type: bool, returned: always}
    excluded:
      description: The VMs that a filter takes out, by C(vm_id) and C(vm_name), with C(selected_by) and C(excluded_by).
      type: list
      elements: dict
      returned: always
    warnings:
      description: What an administrator should know about the subclient.
      type: list
      elements: str
      returned: always
    vms:
      description: The VMs in the order of the run. Pass one of them to M(ovm.backup.backup) as it is.
      type: list
      elements: dict
      returned: always
      contains:
        vm_id:
          description: Id of the VM.
          type: str
          returned: always
        vm_name:
          description: Name of the VM.
          type: str
          returned: always
        client:
          description: Client in the vault.
          type: str
          returned: always
        new_client:
          description: Whether this backup makes the client.
          type: bool
          returned: always
        selected_by:
          description: The rules of the content that select the VM.
          type: str
          returned: always
        action:
          description: V(backup), V(current) (the newest recovery point is young enough), V(fail) or V(skip).
          type: str
          returned: always
        method:
          description: V(hot_clone), V(shutdown), V(cold) or V(skip).
          type: str
          returned: always
        reason:
          description: Why this action and method.
          type: str
          returned: always
        requested_type:
          description: The type that is asked for.
          type: str
          returned: always
        type:
          description: The type that the recovery point will have.
          type: str
          returned: always
        type_reason:
          description: Why this type.
          type: str
          returned: always
        disks:
          description:
            - The disks that are backed up, each with C(slot), C(disk_id), C(name), C(size) in bytes, C(type) and
              C(type_reason). The image has the C(path) in the storage repository C(repository_id), named C(repository).
          type: list
          elements: dict
          returned: always
        skipped_disks:
          description: The disks that are not backed up, each with C(slot), C(name), C(kind) and C(reason).
          type: list
          elements: dict
          returned: always
        repositories:
          description: Names of the storage repositories of the disks.
          type: list
          elements: str
          returned: always
        warnings:
          description: What an administrator should know about the VM.
          type: list
          elements: str
          returned: always
        expected_outage: {description: Seconds that it will be down if that is known., type: float, returned: always}
        outage_until: {description: Epoch seconds at which the outage window closes., type: float, returned: always}
        configuration:
          description: What the recovery point keeps of the VM, C(document), C(vm_cfg) and C(manager).
          type: dict
          returned: always
        proxy:
          description: Inventory name of the proxy that does the work.
          type: str
          returned: always
        order:
          description: Place in the run, from 1.
          type: int
          returned: always
plan_summary:
  description: The plan as lines of text.
  returned: when O(subclient) is given
  type: list
  elements: str
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
"""

import time
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._module import engine, manager_client, manager_options, open_vault, vault_options
from ..module_utils.manager.clones import is_ours
from ..module_utils.manager.inventory import Inventory, Vm, read_inventory
from ..module_utils.planning.names import client_name
from ..module_utils.planning.plan import make_plan
from ..module_utils.planning.preview import plan_summary
from ..module_utils.planning.subclient import Subclient
from ..module_utils.planning.vault_reader import read_vault_state
from ..module_utils.vault.points import Vault


def describe(vm: Vm) -> dict[str, Any]:
    """Return a VM in plain types, without the manager's own documents."""
    document = {key: value for key, value in asdict(vm).items() if key != "document"}
    return {**document, "client": client_name(vm.name), "is_template": vm.is_template, "is_our_clone": is_ours(vm)}


def planned(module: AnsibleModule, subclient: Subclient, vault: Vault, inventory: Inventory) -> dict[str, Any]:
    """Return the plan; each VM carries the configuration that its recovery point will hold."""
    plan = make_plan(
        subclient,
        inventory,
        read_vault_state(vault),
        now=time.time(),
        backup_type=module.params["backup_type"],
        force=module.params["force"],
        proxies=module.params["proxies"],
        is_ours=is_ours,
    ).as_dict()
    for entry in plan["vms"]:
        vm = inventory.vms[entry["vm_id"]]
        entry["configuration"] = {
            "document": vm.document,
            "vm_cfg": {"repository_id": vm.repository_id, "path": vm.config_path},
            "manager": {"id": inventory.manager_id, "version": inventory.manager_version},
        }
    return plan


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **manager_options(),
            "subclient": {"type": "str"},
            "definition": {"type": "dict"},
            **vault_options(required=False),
            "backup_type": {"type": "str"},
            "force": {"type": "bool", "default": False},
            "proxies": {"type": "list", "elements": "str", "default": ["localhost"]},
        },
        required_together=[("subclient", "definition")],
        required_by={"subclient": ("vault",)},
        supports_check_mode=True,
    )
    with engine(module, "requests", "blake3"):
        name = module.params["subclient"]
        # What the user wrote is checked in full before anybody is asked anything.
        subclient = Subclient.parse(name, module.params["definition"]) if name is not None else None
        vault = open_vault(module) if subclient is not None else None
        with manager_client(module) as client:
            inventory = read_inventory(client)
        result: dict[str, Any] = {
            "changed": False,
            "manager": {"id": inventory.manager_id, "version": inventory.manager_version},
            "vms": [describe(vm) for vm in sorted(inventory.vms.values(), key=lambda vm: (vm.name, vm.id))],
        }
        if subclient is not None and vault is not None:
            result["plan"] = planned(module, subclient, vault, inventory)
            result["plan_summary"] = plan_summary(result["plan"])
    module.exit_json(**result)


if __name__ == "__main__":
    main()
