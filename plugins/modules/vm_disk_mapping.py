#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_disk_mapping
short_description: Put a virtual disk into a slot of a VM
description:
  - Lets a slot of a VM hold a virtual disk, in place of what it holds now, or nothing. The VM has to be stopped if that
    is a change.
  - The disk that was in the slot is not touched. The new one is mapped as it was, such as read-only. If the new one
    cannot be mapped, the old one is mapped again.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.manager
  - ovm.backup.attributes
  - ovm.backup.attributes.manager_group
options:
  vm_id:
    description:
      - Id of the VM.
    type: str
    required: true
  slot:
    description:
      - Slot of the VM, from 0 on.
    type: int
    required: true
  virtual_disk_id:
    description:
      - Id of the virtual disk. Without it the slot is empty afterwards.
    type: str
  expected:
    description:
      - Ids of the virtual disks that the slot may hold now. An empty list says that it has to be empty. A slot that
        holds something else is left alone, and that is an error.
      - Without it the slot may hold any virtual disk.
    type: list
    elements: str
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
seealso:
  - module: ovm.backup.virtual_disk
"""

EXAMPLES = r"""
- name: Map a virtual disk
  ovm.backup.vm_disk_mapping:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    vm_id: 0004fb000006000011aa22bb33cc44dd
    slot: 1
    virtual_disk_id: 0004fb0000120000aa11bb22cc33dd44.img

- name: Empty a slot
  ovm.backup.vm_disk_mapping:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    vm_id: 0004fb000006000011aa22bb33cc44dd
    slot: 1
"""

RETURN = r"""
previous:
  description: What the slot held before.
  returned: success
  type: dict
  contains:
    virtual_disk_id:
      description: Id of the virtual disk, null if the slot was empty.
      type: str
      returned: always
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._manager import manager_client, manager_options
from ..module_utils._module import engine
from ..module_utils.manager.slots import map_disk


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **manager_options(),
            "vm_id": {"type": "str", "required": True},
            "slot": {"type": "int", "required": True},
            "virtual_disk_id": {"type": "str"},
            "expected": {"type": "list", "elements": "str"},
        },
        supports_check_mode=True,
    )
    which = [module.params[name] for name in ("vm_id", "slot", "virtual_disk_id")]
    with engine(module, "requests"), manager_client(module) as client:
        how = {"expected": module.params["expected"], "check": module.check_mode}
        previous, changed = map_disk(client, *which, **how)
    module.exit_json(changed=changed, previous={"virtual_disk_id": previous})


if __name__ == "__main__":
    main()
