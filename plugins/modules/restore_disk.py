#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: restore_disk
short_description: Restore one disk of a recovery point into an image
description:
  - Writes one disk of a recovery point into a raw image, on a path of the host that runs the module, or on an Oracle VM
    Server over ssh.
  - Every block is checked against its hash before it is written, and the hash of the whole disk in the end.
  - An image that exists, such as a virtual disk that the manager has made, is written in place. What is right already
    is not written again, so an interrupted restore goes on where it was when it is repeated.
  - A new image is removed again when it cannot be completed.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.vault
  - ovm.backup.point
  - ovm.backup.ssh
  - ovm.backup.transfer.repositories
  - ovm.backup.progress
  - ovm.backup.attributes
  - ovm.backup.attributes.vault_group
  - ovm.backup.attributes.shows_progress
options:
  slot:
    description:
      - Slot of the disk in the recovery point.
    type: int
    required: true
  target:
    description:
      - The image.
    type: dict
    required: true
    suboptions:
      kind:
        description:
          - Whether the image lies on a path of the host that runs the module, or is reached over ssh.
        type: str
        choices: [path, ssh]
        default: path
      path:
        description:
          - The image, from V(/) on, or as the manager gives it if O(target.repository_id) is set.
        type: str
        required: true
      repository_id:
        description:
          - Id of the storage repository that the path is in.
        type: str
      server:
        description:
          - The server that reaches the storage repository, for V(ssh).
        type: dict
        suboptions:
          id:
            description:
              - Id of the server.
            type: str
          name:
            description:
              - Name of the server, for messages.
            type: str
            required: true
          address:
            description:
              - Host, or host and port with a colon between them.
            type: str
            required: true
  existing:
    description:
      - Whether the image exists, with the size of the disk, and is to hold the disk from now on. B(What it holds is
        lost.)
    type: bool
    default: false
  verify:
    description:
      - Whether the image is read again when it is complete, and compared. On a server only hashes cross the network.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    details: The target is looked at, also on a server, and nothing is written.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: With O(existing) nothing is written twice, but everything is read and compared. A new image is made once.
seealso:
  - module: ovm.backup.restore_image
  - module: ovm.backup.recovery_point_info
"""

EXAMPLES = r"""
- name: Restore a disk to a file
  ovm.backup.restore_disk:
    vault: /srv/vault
    client: db01
    slot: 0
    target:
      path: /srv/restore/db01-system.img
    verify: true

- name: Restore a disk into a virtual disk of a storage repository that the proxy has mounted
  ovm.backup.restore_disk:
    vault: /srv/vault
    client: db01
    slot: 0
    target:
      repository_id: 0004fb0000030000f4a1d3c2b5e69788
      path: /VirtualDisks/0004fb0000120000aa11bb22cc33dd44.img
    existing: true

- name: Restore a disk into a virtual disk over ssh
  ovm.backup.restore_disk:
    vault: /srv/vault
    client: db01
    point: 20261123T010203Z-0001
    slot: 0
    target:
      kind: ssh
      repository_id: 0004fb0000030000f4a1d3c2b5e69788
      path: /VirtualDisks/0004fb0000120000aa11bb22cc33dd44.img
      server:
        name: ovs01
        address: ovs01.example.com
    ssh:
      key_file: /etc/ovm-backup/id_rsa
    existing: true
    verify: true
"""

RETURN = r"""
disk:
  description: The disk.
  returned: success
  type: dict
  contains:
    slot:
      description: Slot of the disk.
      type: int
      returned: always
    name:
      description: Name of the disk.
      type: str
      returned: always
    size:
      description: Size of the disk in bytes.
      type: int
      returned: always
    content_hash:
      description: Hash of the disk, the same as in the recovery point.
      type: str
      returned: always
    path:
      description: The image, where it lies.
      type: str
      returned: always
bytes_needed:
  description: Bytes of the disk that are data, without holes.
  returned: success
  type: int
bytes_written:
  description: Bytes of data that were written.
  returned: success
  type: int
bytes_kept:
  description: Bytes of data that the image held already.
  returned: success
  type: int
verified:
  description: Whether the image was read again and compared.
  returned: success
  type: bool
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._module import engine
from ..module_utils._point import point_options, selected_point
from ..module_utils._progress import progress_options, status_file
from ..module_utils._ssh_options import ssh_options
from ..module_utils._transfer import repositories_option
from ..module_utils._vault import vault_options
from ..module_utils.images.ssh import SshSettings
from ..module_utils.transfer.disk_restore import data_size, restore_to
from ..module_utils.transfer.point_restore import for_disk
from ..module_utils.transfer.targets import check_place, open_target, target_path
from ..module_utils.vault.manifest import chosen_disks


def main() -> None:
    """Run as a module."""
    server = {"id": {"type": "str"}, "name": {"type": "str", "required": True}}
    target = {
        "kind": {"type": "str", "choices": ["path", "ssh"], "default": "path"},
        "path": {"type": "str", "required": True},
        "repository_id": {"type": "str"},
        "server": {"type": "dict", "options": {**server, "address": {"type": "str", "required": True}}},
    }
    module = AnsibleModule(
        argument_spec={
            **vault_options(),
            **repositories_option(),
            **progress_options(),
            "ssh": ssh_options(),
            **point_options(),
            "slot": {"type": "int", "required": True},
            "target": {"type": "dict", "required": True, "options": target},
            "existing": {"type": "bool", "default": False},
            "verify": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    with engine(module, "blake3", "zstandard"):
        settings = SshSettings.parse(parameters["ssh"]) if parameters["ssh"] else None
        client, point = selected_point(module)
        [disk] = chosen_disks(point, [parameters["slot"]])
        path = target_path(parameters["target"], parameters["repositories_path"])
        written = kept = 0
        verified = False
        with client.open_disk(point, disk) as chain:
            needed = data_size(chain)
            if module.check_mode:
                check_place(parameters["target"], path, chain, ssh=settings, existing=parameters["existing"])
            else:
                opened = open_target(
                    parameters["target"],
                    chain,
                    repositories_path=parameters["repositories_path"],
                    ssh=settings,
                    existing=parameters["existing"],
                )
                with status_file(parameters["progress_file"], vm=point.vm_name) as status, opened as image:
                    done = restore_to(
                        chain,
                        image,
                        content_hash=disk.content_hash,
                        verify=parameters["verify"],
                        progress=for_disk(status.phase("restore"), disk),
                    )
                    image.finish()
                written, kept, verified = done.written, done.kept, done.verified
    module.exit_json(
        changed=written > 0 or module.check_mode or not parameters["existing"],
        disk={
            "slot": disk.slot,
            "name": disk.name,
            "size": disk.size,
            "content_hash": disk.content_hash,
            "path": path,
        },
        bytes_needed=needed,
        bytes_written=written,
        bytes_kept=kept,
        verified=verified,
    )


if __name__ == "__main__":
    main()
