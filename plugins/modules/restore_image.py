#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: restore_image
short_description: Restore the disks of a recovery point to raw image files
description:
  - Writes each disk of a recovery point to a raw image file on the host that runs the module. The images are sparse.
  - Every block is checked against its hash before it is written. An image appears under its name when it is complete
    and verified, otherwise not at all.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.vault
  - ovm.backup.point
  - ovm.backup.progress
  - ovm.backup.attributes
  - ovm.backup.attributes.vault_group
  - ovm.backup.attributes.shows_progress
options:
  directory:
    description:
      - Directory for the images. It is made if it does not exist, readable for its owner only; the directory above it
        must exist.
      - The images are named after slot and disk, as C(0-system.img).
    type: path
    required: true
  slots:
    description:
      - Slots of the disks to restore. All of them by default.
    type: list
    elements: int
  overwrite:
    description:
      - Whether an image that exists with other content is replaced. It stays as it is until the new one is complete.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    details: Images that exist already are read and compared in check mode, too.
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: ovm.backup.recovery_point_info
"""

EXAMPLES = r"""
- name: Restore all disks of the newest recovery point
  ovm.backup.restore_image:
    vault: /srv/vault
    client: db01
    directory: /srv/restore/db01

- name: Restore one disk of a certain recovery point
  ovm.backup.restore_image:
    vault: /srv/vault
    client: db01
    point: 20261123T010203Z-0001
    slots: [0]
    directory: /srv/restore/db01

- name: Replace what an earlier restore wrote
  ovm.backup.restore_image:
    vault: /srv/vault
    client: db01
    directory: /srv/restore/db01
    overwrite: true
"""

RETURN = r"""
recovery_point:
  description: The recovery point, in the form of RV(ovm.backup.recovery_point_info#module:recovery_points).
  returned: success
  type: dict
images:
  description: The images, in check mode those that there would be.
  returned: success
  type: list
  elements: dict
  contains:
    slot:
      description: Slot of the disk.
      type: int
      returned: always
    disk_id:
      description: Id of the disk.
      type: str
      returned: always
    name:
      description: Name of the disk.
      type: str
      returned: always
    path:
      description: The image file.
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
bytes_written:
  description: Bytes of data that were written, without holes.
  returned: success
  type: int
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._module import engine
from ..module_utils._point import point_options, selected_point
from ..module_utils._progress import progress_options, status_file
from ..module_utils._vault import vault_options
from ..module_utils.transfer.point_restore import plan_images, restore_images
from ..module_utils.vault.description import describe_point


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **vault_options(),
            **point_options(),
            **progress_options(),
            "directory": {"type": "path", "required": True},
            "slots": {"type": "list", "elements": "int"},
            "overwrite": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    with engine(module, "blake3", "zstandard"):
        client, point = selected_point(module)
        with status_file(parameters["progress_file"], vm=point.vm_name) as status:
            plans = plan_images(
                client,
                point,
                parameters["directory"],
                slots=parameters["slots"],
                overwrite=parameters["overwrite"],
                progress=status.phase("compare"),
            )
            written = 0 if module.check_mode else restore_images(client, point, plans, progress=status.phase("restore"))
        result: dict[str, Any] = {
            "changed": any(plan.state != "current" for plan in plans),
            "recovery_point": describe_point(client, point),
            "images": [plan.as_dict() for plan in plans],
            "bytes_written": written,
        }
        if module._diff:
            result["diff"] = {
                "before": {plan.path: plan.state for plan in plans},
                "after": {plan.path: "current" for plan in plans},
            }
    module.exit_json(**result)


if __name__ == "__main__":
    main()
