#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vm
short_description: Make, change or remove the VM of a restore
description:
  - Makes a VM from the settings that a recovery point has saved, with the virtual disks and the network cards that it
    is to have, or gives an existing VM those settings.
  - A VM that is made is marked with the id of the restore, so that a restore that is repeated goes on with it, and
    nothing else is ever removed.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.manager
  - ovm.backup.attributes
  - ovm.backup.attributes.manager_group
options:
  state:
    description:
      - V(present) makes the VM, or finishes what this restore has begun. One that it has made with another name,
        storage repository or server pool is refused, other settings are set.
      - With O(vm_id) it sets the settings of that VM.
      - V(absent) removes the VM of this restore, which has to be stopped. Its virtual disks stay.
      - V(released) takes the mark off a VM that is complete.
    type: str
    choices: [absent, present, released]
    default: present
  run_id:
    description:
      - Id of the restore. What it makes carries the id until it is V(released), is found again by it, and removed only
        with it.
    type: str
    required: true
  name:
    description:
      - Name of the VM. Needed to make one.
    type: str
  source_vm_id:
    description:
      - Id of the VM that was backed up, for those who read the mark.
    type: str
  vm_id:
    description:
      - Id of an existing VM that gets the settings, or of the one that is released or removed.
    type: str
  definition:
    description:
      - Settings of the VM under the names that the manager has for them, as those of
        RV(ovm.backup.restore_plan_info#module:plan). C(repositoryId), C(serverPoolId) and C(serverId) are ids. Fields
        that the manager does not let one set are passed over.
      - For O(vm_id), a field that is null gets no value.
    type: dict
  disks:
    description:
      - Virtual disks of the VM that is made. Not with O(vm_id), for which there is M(ovm.backup.vm_disk_mapping).
    type: list
    elements: dict
    default: []
    suboptions:
      slot:
        description:
          - Slot, from 0 on.
        type: int
        required: true
      virtual_disk_id:
        description:
          - Id of the virtual disk.
        type: str
        required: true
  nics:
    description:
      - Network cards of the VM that is made, in this order. Not with O(vm_id).
    type: list
    elements: dict
    default: []
    suboptions:
      network_id:
        description:
          - Id of the network.
        type: str
        required: true
      mac:
        description:
          - MAC address. The manager makes a new one if there is none.
        type: str
      network:
        description:
          - Name of the network, which is not looked at. A plan has it for those who read it.
        type: str
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
seealso:
  - module: ovm.backup.virtual_disk
  - module: ovm.backup.vm_disk_mapping
  - module: ovm.backup.vm_power
"""

EXAMPLES = r"""
- name: Make a VM
  ovm.backup.vm:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    run_id: restore-20261126T010203Z-db01
    name: db01-restored
    source_vm_id: 0004fb000006000011aa22bb33cc44dd
    definition:
      vmDomainType: XEN_HVM_PV_DRIVERS
      memory: 4096
      cpuCount: 2
      repositoryId: 0004fb0000030000f4a1d3c2b5e69788
      serverPoolId: 0004fb00000200005c1d2e3f4a5b6c7d
    disks:
      - slot: 0
        virtual_disk_id: 0004fb0000120000aa11bb22cc33dd44.img
    nics:
      - network_id: 10238073c2

- name: Give a VM the settings that were saved
  ovm.backup.vm:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    run_id: restore-20261126T010203Z-db01
    vm_id: 0004fb000006000011aa22bb33cc44dd
    definition:
      memory: 4096

- name: Take the mark off a VM that is complete
  ovm.backup.vm:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    run_id: restore-20261126T010203Z-db01
    vm_id: 0004fb000006000055ee66ff77aa88bb
    state: released

- name: Remove the VM of a restore
  ovm.backup.vm:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    run_id: restore-20261126T010203Z-db01
    state: absent
"""

RETURN = r"""
vm:
  description: The VM, null if there is none.
  returned: success
  type: dict
  contains:
    id:
      description: Id of the VM.
      type: str
      returned: always
    name:
      description: Name of the VM.
      type: str
      returned: always
    state:
      description: Run state of the VM.
      type: str
      returned: always
    run_id:
      description: Id of the restore that made it, null if it is released or no restore did.
      type: str
      returned: always
    disks:
      description: The virtual disks in its slots.
      type: list
      elements: dict
      returned: always
      contains:
        slot:
          description: Slot of the disk.
          type: int
          returned: always
        virtual_disk_id:
          description: Id of the virtual disk.
          type: str
          returned: always
    nics:
      description: Its network cards.
      type: list
      elements: dict
      returned: always
      contains:
        mac:
          description: MAC address.
          type: str
          returned: always
        network_id:
          description: Id of the network.
          type: str
          returned: always
previous:
  description: Settings that were changed, such as C(memory), as they were before, in the form of O(definition).
  returned: when O(vm_id) names the VM that gets settings
  type: dict
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._manager import manager_client, manager_options
from ..module_utils._module import engine
from ..module_utils.errors import NotFoundError
from ..module_utils.manager.client import ManagerClient
from ..module_utils.manager.restored import release
from ..module_utils.manager.restored_vms import WantedVm, change_vm, describe_vm, ensure_vm, remove_vm


def present(module: AnsibleModule, client: ManagerClient) -> dict[str, Any]:
    """Make the VM, or set what an existing one is to have."""
    parameters = module.params
    vm_id, run_id = parameters["vm_id"], parameters["run_id"]
    if vm_id is not None:
        vm = describe_vm(client, vm_id)  # first: what fails after the change would take C(previous) with it
        previous = change_vm(client, vm_id, parameters["definition"], check=module.check_mode)
        return {"changed": bool(previous), "vm": vm.as_dict(), "previous": previous}
    wanted = WantedVm(
        name=parameters["name"],
        definition=parameters["definition"],
        disks=[(disk["slot"], disk["virtual_disk_id"]) for disk in parameters["disks"]],
        nics=[(nic["mac"], nic["network_id"]) for nic in parameters["nics"]],
        source_vm_id=parameters["source_vm_id"],
    )
    made, changed = ensure_vm(client, wanted, run_id=run_id, check=module.check_mode)
    return {"changed": changed, "vm": made.as_dict() if made is not None else None}


def main() -> None:
    """Run as a module."""
    disk = {"slot": {"type": "int", "required": True}, "virtual_disk_id": {"type": "str", "required": True}}
    nic = {"network_id": {"type": "str", "required": True}, "mac": {"type": "str"}, "network": {"type": "str"}}
    module = AnsibleModule(
        argument_spec={
            **manager_options(),
            "state": {"type": "str", "choices": ["absent", "present", "released"], "default": "present"},
            "run_id": {"type": "str", "required": True},
            "name": {"type": "str"},
            "source_vm_id": {"type": "str"},
            "vm_id": {"type": "str"},
            "definition": {"type": "dict"},
            "disks": {"type": "list", "elements": "dict", "default": [], "options": disk},
            "nics": {"type": "list", "elements": "dict", "default": [], "options": nic},
        },
        required_if=[
            ("state", "present", ["definition"]),
            ("state", "present", ["name", "vm_id"], True),
            ("state", "released", ["vm_id"]),
        ],
        mutually_exclusive=[("name", "vm_id"), ("disks", "vm_id"), ("nics", "vm_id")],
        supports_check_mode=True,
    )
    parameters = module.params
    run_id, check = parameters["run_id"], module.check_mode
    with engine(module, "requests"), manager_client(module) as client:
        if parameters["state"] == "present":
            result = present(module, client)
        elif parameters["state"] == "absent":
            result = {
                "changed": remove_vm(client, run_id, vm_id=parameters["vm_id"], check=check) is not None,
                "vm": None,
            }
        else:
            changed = release(client, "Vm", parameters["vm_id"], run_id=run_id, check=check)
            try:
                vm = describe_vm(client, parameters["vm_id"]).as_dict()
            except NotFoundError:
                vm = None
            result = {"changed": changed, "vm": vm}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
