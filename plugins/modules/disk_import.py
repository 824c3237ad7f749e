#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: disk_import
short_description: Let the manager import a disk of a recovery point
description:
  - Serves one disk of a recovery point over HTTP while the manager imports it as a virtual disk. For hosts that can
    neither write into a storage repository nor reach a server over ssh.
  - The disk is served under a path that nobody can guess, without a password and without encryption, to the servers of
    Oracle VM. Every block is checked against its hash before it is sent.
  - The virtual disk is marked with the id of the restore, as M(ovm.backup.virtual_disk) does it.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.manager
  - ovm.backup.purpose
  - ovm.backup.vault
  - ovm.backup.point
  - ovm.backup.progress
  - ovm.backup.attributes
  - ovm.backup.attributes.manager_group
  - ovm.backup.attributes.vault_group
  - ovm.backup.attributes.shows_progress
options:
  slot:
    description:
      - Slot of the disk in the recovery point.
    type: int
    required: true
  run_id:
    description:
      - Id of the restore.
    type: str
    required: true
  name:
    description:
      - Name of the virtual disk.
    type: str
    required: true
  repository_id:
    description:
      - Id of the storage repository.
    type: str
    required: true
  address:
    description:
      - Address under which the servers of Oracle VM reach the host that runs the module.
    type: str
    required: true
  listen_address:
    description:
      - Address of the host where it serves the disk, if servers reach it under another one, such as behind NAT.
        V(0.0.0.0) stands for all of its addresses. O(port) has to be the same on both sides.
      - O(address) by default.
    type: str
  port:
    description:
      - Port to serve at. Any free one by default.
    type: int
    default: 0
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
seealso:
  - module: ovm.backup.virtual_disk
  - module: ovm.backup.restore_disk
"""

EXAMPLES = r"""
- name: Import a disk
  ovm.backup.disk_import:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    vault: /srv/vault
    client: db01
    slot: 0
    run_id: restore-20261126T010203Z-db01
    name: db01-sys
    repository_id: 0004fb0000030000f4a1d3c2b5e69788
    address: proxy1.example.com
"""

RETURN = r"""
virtual_disk:
  description: The virtual disk, null in check mode if there is none yet.
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
bytes_served:
  description: Bytes that were sent.
  returned: success
  type: int
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
"""

import contextlib
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._manager import manager_client, manager_options
from ..module_utils._module import engine
from ..module_utils._point import point_options, selected_point
from ..module_utils._progress import progress_options, status_file
from ..module_utils._restore import purpose_option, read_purpose
from ..module_utils._vault import vault_options
from ..module_utils.errors import ManagerError, OvmBackupError
from ..module_utils.manager.client import ManagerClient
from ..module_utils.manager.restored_disks import WantedDisk, ensure_disk, remove_restored_disk
from ..module_utils.transfer.http_serving import serve_disk
from ..module_utils.transfer.point_restore import for_disk
from ..module_utils.vault.manifest import chosen_disks


def make(module: AnsibleModule, manager: ManagerClient) -> dict[str, Any]:
    """Import the disk unless this restore has done so."""
    given = module.params
    client, point = selected_point(module)
    [disk] = chosen_disks(point, [given["slot"]])
    place = {"name": given["name"], "repository_id": given["repository_id"], "vm_id": point.vm_id, "size": disk.size}
    where = {"address": given["address"], "port": given["port"], "content_hash": disk.content_hash}
    where["listen"] = given["listen_address"]
    with contextlib.ExitStack() as stack:
        told = stack.enter_context(status_file(given["progress_file"], vm=point.vm_name))
        chain = stack.enter_context(client.open_disk(point, disk))
        progress = for_disk(told.phase("restore"), disk)
        served = stack.enter_context(serve_disk(chain, disk.name, progress=progress, **where))
        wanted = WantedDisk(**place, url=served.url, purpose=read_purpose(given["purpose"]))
        try:
            found, changed = ensure_disk(manager, wanted, run_id=given["run_id"], check=module.check_mode)
        except ManagerError:
            served.check()  # a damaged vault says more than the manager, who only sees a connection that ends
            raise
        if changed and found is not None and not module.check_mode:
            try:
                served.check_complete()
            except OvmBackupError:
                remove_restored_disk(manager, found.id, run_id=given["run_id"])
                raise
    shown = found.as_dict() if found is not None else None
    return {"changed": changed, "virtual_disk": shown, "bytes_served": served.sent}


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **manager_options(),
            **vault_options(),
            **point_options(),
            "slot": {"type": "int", "required": True},
            "run_id": {"type": "str", "required": True},
            "purpose": purpose_option(),
            "name": {"type": "str", "required": True},
            "repository_id": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "default": 0},
            "listen_address": {"type": "str"},
            **progress_options(),
        },
        supports_check_mode=True,
    )
    with engine(module, "requests", "blake3", "zstandard"), manager_client(module) as manager:
        result = make(module, manager)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
