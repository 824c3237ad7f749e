#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: virtual_disk
short_description: Make or remove a virtual disk for a restore
description:
  - Makes a virtual disk in a storage repository for a disk that is to be restored, or lets the manager import its image
    from a URL.
  - The disk is marked with the id of the restore, so that a restore that is repeated finds it, and nothing else is ever
    removed.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.manager
  - ovm.backup.purpose
  - ovm.backup.attributes
  - ovm.backup.attributes.manager_group
options:
  state:
    description:
      - V(present) makes the disk unless this restore has made it already.
      - V(absent) removes it. A disk that is mapped to a VM is never removed, and neither is a copy of a marked disk.
      - V(released) takes the mark off a disk that is complete.
    type: str
    choices: [absent, present, released]
    default: present
  run_id:
    description:
      - Id of the restore. What it makes carries the id until it is V(released), is found again by it, and removed only
        with it.
    type: str
    required: true
  vm_id:
    description:
      - Id of the VM whose disk is restored, for those who read the mark.
    type: str
  name:
    description:
      - Name of the disk. Needed for V(present).
    type: str
  repository_id:
    description:
      - Id of the storage repository. Needed for V(present).
    type: str
  size:
    description:
      - Size in bytes, a multiple of 4096. Needed for V(present), unless it is imported.
      - An image that is imported has to have this size. Without it any will do.
    type: int
  sparse:
    description:
      - Whether the disk takes only as much space as it holds data.
    type: bool
    default: true
  source_url:
    description:
      - URL (http, https, ftp) from which the manager's server fetches the image, in place of an empty disk.
    type: str
  virtual_disk_id:
    description:
      - Id of the disk. Needed for V(released). Without it V(absent) removes all disks of this restore that are
        mapped to no VM.
    type: str
  foreign:
    description:
      - Whether a disk that this restore has not made may be removed, such as the one that was replaced.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
seealso:
  - module: ovm.backup.restore_disk
  - module: ovm.backup.vm
"""

EXAMPLES = r"""
- name: Make a virtual disk
  ovm.backup.virtual_disk:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    run_id: restore-20261126T010203Z-db01
    vm_id: 0004fb000006000011aa22bb33cc44dd
    name: db01-sys
    repository_id: 0004fb0000030000f4a1d3c2b5e69788
    size: 42949672960

- name: Let the manager import it from a URL
  ovm.backup.virtual_disk:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    run_id: restore-20261126T010203Z-db01
    vm_id: 0004fb000006000011aa22bb33cc44dd
    name: db01-sys
    repository_id: 0004fb0000030000f4a1d3c2b5e69788
    source_url: http://proxy1.example.com:8000/db01-sys.img

- name: Take the mark off a virtual disk that is complete
  ovm.backup.virtual_disk:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    run_id: restore-20261126T010203Z-db01
    virtual_disk_id: 0004fb0000120000aa11bb22cc33dd44.img
    state: released

- name: Remove all virtual disks that the restore has made
  ovm.backup.virtual_disk:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    run_id: restore-20261126T010203Z-db01
    state: absent

- name: Remove a virtual disk that the restore has made
  ovm.backup.virtual_disk:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    run_id: restore-20261126T010203Z-db01
    virtual_disk_id: 0004fb0000120000aa11bb22cc33dd44.img
    state: absent
"""

RETURN = r"""
virtual_disk:
  description: The virtual disk, null in check mode if there is none yet, and when it was removed or released.
  returned: success
  type: dict
  contains:
    id:
      description: Id of the disk.
      type: str
      returned: always
    name:
      description: Name of the disk.
      type: str
      returned: always
    size:
      description: Size in bytes.
      type: int
      returned: always
    repository_id:
      description: Id of the storage repository.
      type: str
      returned: always
    path:
      description: Path of the image in the storage repository.
      type: str
      returned: always
    run_id:
      description: Id of the restore that made it.
      type: str
      returned: always
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._manager import manager_client, manager_options
from ..module_utils._module import engine
from ..module_utils._restore import purpose_option, read_purpose
from ..module_utils.manager.client import ManagerClient
from ..module_utils.manager.restored import release
from ..module_utils.manager.restored_disks import WantedDisk, ensure_disk, remove_disks_of_run, remove_restored_disk


def present(module: AnsibleModule, client: ManagerClient) -> dict[str, Any]:
    """Make the disk unless it is there."""
    given = module.params
    names = ("name", "repository_id", "size", "sparse", "vm_id")
    fields = {name: given[name] for name in names}
    wanted = WantedDisk(**fields, url=given["source_url"], purpose=read_purpose(given["purpose"]))
    found, changed = ensure_disk(client, wanted, run_id=given["run_id"], check=module.check_mode)
    return {"changed": changed, "virtual_disk": found.as_dict() if found is not None else None}


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **manager_options(),
            "state": {"type": "str", "choices": ["absent", "present", "released"], "default": "present"},
            "run_id": {"type": "str", "required": True},
            "vm_id": {"type": "str"},
            "purpose": purpose_option(),
            "name": {"type": "str"},
            "repository_id": {"type": "str"},
            "size": {"type": "int"},
            "sparse": {"type": "bool", "default": True},
            "source_url": {"type": "str"},
            "virtual_disk_id": {"type": "str"},
            "foreign": {"type": "bool", "default": False},
        },
        required_if=[
            ("state", "present", ["name", "repository_id"]),
            ("state", "present", ["size", "source_url"], True),
            ("state", "released", ["virtual_disk_id"]),
        ],
        supports_check_mode=True,
    )
    parameters = module.params
    with engine(module, "requests"), manager_client(module) as client:
        if parameters["state"] == "present":
            result = present(module, client)
        elif parameters["state"] == "absent":
            run_id, disk_id = parameters["run_id"], parameters["virtual_disk_id"]
            if disk_id is None:
                changed = remove_disks_of_run(client, run_id, check=module.check_mode)
            else:
                which = {"foreign": parameters["foreign"], "check": module.check_mode}
                changed = remove_restored_disk(client, disk_id, run_id=run_id, **which)
            result = {"changed": changed, "virtual_disk": None}
        else:
            which = {"run_id": parameters["run_id"], "check": module.check_mode}
            changed = release(client, "VirtualDisk", parameters["virtual_disk_id"], **which)
            result = {"changed": changed, "virtual_disk": None}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
