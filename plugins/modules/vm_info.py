#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_info
short_description: List the VMs of Oracle VM Manager
description:
  - Returns every VM and template of the manager with its disks and storage repositories.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.manager
  - ovm.backup.attributes
  - ovm.backup.attributes.read_only
  - ovm.backup.attributes.manager_group
seealso:
  - module: ovm.backup.plan_info
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

- name: List the VMs, with the connection in the environment
  ovm.backup.vm_info:
  environment:
    OVM_URL: https://ovmm.example.com:7002
    OVM_USER: backup
    OVM_PASSWORD: "{{ ovm_password }}"
    OVM_CA_PATH: /etc/ovm/ovmca.pem
  register: estate
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
      description:
        - Client name that belongs to the VM's name. A plan of M(ovm.backup.plan_info) gives another one where names
          collide.
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
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._manager import manager_client, manager_options
from ..module_utils._module import engine
from ..module_utils.manager.clones import ours_among
from ..module_utils.manager.inventory import Vm, read_inventory
from ..module_utils.planning.names import client_name


def describe(vm: Vm, *, is_our_clone: bool) -> dict[str, Any]:
    """Return a VM in plain types, without the manager's own documents."""
    document = {key: value for key, value in asdict(vm).items() if key != "document"}
    return {**document, "client": client_name(vm.name), "is_template": vm.is_template, "is_our_clone": is_our_clone}


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(argument_spec=manager_options(), supports_check_mode=True)
    with engine(module, "requests"):
        with manager_client(module) as client:
            inventory = read_inventory(client)
            is_ours = ours_among(client, inventory)
        result = {
            "changed": False,
            "manager": {"id": inventory.manager_id, "version": inventory.manager_version},
            "vms": [
                describe(vm, is_our_clone=is_ours(vm))
                for vm in sorted(inventory.vms.values(), key=lambda vm: (vm.name, vm.id))
            ],
        }
    module.exit_json(**result)


if __name__ == "__main__":
    main()
