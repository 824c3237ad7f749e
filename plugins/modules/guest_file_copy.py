#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: guest_file_copy
short_description: Copy files out of a recovery point
description:
  - Copies files and directories from the disks of a recovery point to a directory of the host that runs the module,
    straight from the vault. Nothing else is restored for it.
  - The copies lie under O(destination) with the paths that they have in the guest. They keep their sizes and times.
    Long runs of zeros become holes.
  - Files belong to the user and are readable for nobody else, whatever rights they have in the guest. Devices, pipes
    and sockets are never copied. Nothing is written outside of O(destination), whatever links the guest has.
  - Every block that is read is checked against its hash.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.vault
  - ovm.backup.point
  - ovm.backup.guest
  - ovm.backup.progress
  - ovm.backup.attributes
  - ovm.backup.attributes.vault_group
  - ovm.backup.attributes.shows_progress
options:
  paths:
    description:
      - Absolute paths in the guest. A directory is copied with all that is below it.
    type: list
    elements: str
    required: true
  destination:
    description:
      - Directory for the copies. It is made if it does not exist, readable for its owner only; the directory above it
        must exist.
    type: path
    required: true
  overwrite:
    description:
      - Whether a file that exists with another size or time is replaced. It stays as it is until the new one is
        complete.
    type: bool
    default: false
  links:
    description:
      - Whether symbolic links are made anew as they are in the guest. They may then lead to anywhere on this host.
      - Otherwise they are left out, and named in RV(left_out).
    type: bool
    default: false
  max_files:
    description:
      - How many files and directories may be copied.
    type: int
    default: 100000
  max_size:
    description:
      - How many bytes the files to copy may have together. By default as many as there is space for.
    type: int
attributes:
  check_mode:
    support: full
    details: Looks into the disks, and compares with what is there.
  diff_mode:
    support: none
  idempotent:
    support: full
    details: A file with the same size and time is taken for the same file.
seealso:
  - module: ovm.backup.guest_file_info
  - module: ovm.backup.restore_image
"""

EXAMPLES = r"""
- name: Copy a directory and a file out of the newest recovery point
  ovm.backup.guest_file_copy:
    vault: /srv/vault
    client: db01
    paths: [/etc, /srv/report.txt]
    destination: /srv/restore/db01

- name: Copy from a Windows disk
  ovm.backup.guest_file_copy:
    vault: /srv/vault
    client: db01
    slots: [2]
    filesystem: /dev/sda1
    paths: [/Users/Anna]
    destination: /srv/restore/db01

- name: Replace what was copied from another recovery point
  ovm.backup.guest_file_copy:
    vault: /srv/vault
    client: db01
    point: 20261123T010203Z-0001
    filesystem: /dev/sda1
    paths: [/etc/motd]
    destination: /srv/restore/db01
    overwrite: true
"""

RETURN = r"""
point:
  description: Id of the recovery point.
  returned: success
  type: str
files_copied:
  description: How many files were copied, in check mode how many would be.
  returned: success
  type: int
files_kept:
  description: How many files were there already.
  returned: success
  type: int
directories_made:
  description: How many directories were made.
  returned: success
  type: int
links_made:
  description: How many symbolic links were made.
  returned: success
  type: int
bytes_copied:
  description: Bytes of the files that were copied.
  returned: success
  type: int
left_out:
  description: What was left out.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Path in the guest.
      type: str
      returned: always
    reason:
      description: Why.
      type: str
      returned: always
notes:
  description: What could not be mounted, or had to be chosen.
  returned: success
  type: list
  elements: str
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._guest import guest_options, open_guest
from ..module_utils._module import engine
from ..module_utils._point import point_options, selected_point
from ..module_utils._progress import progress_options, status_file
from ..module_utils._vault import vault_options
from ..module_utils.errors import InvalidInputError
from ..module_utils.guest.copying import CopyRules, copy_files, plan_copy
from ..module_utils.guest.destination import check_destination
from ..module_utils.guest.files import guest_paths


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **vault_options(),
            **guest_options(),
            **progress_options(),
            **point_options(),
            "paths": {"type": "list", "elements": "str", "required": True},
            "destination": {"type": "path", "required": True},
            "overwrite": {"type": "bool", "default": False},
            "links": {"type": "bool", "default": False},
            "max_files": {"type": "int", "default": 100000},
            "max_size": {"type": "int"},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    with engine(module, "blake3", "zstandard"):
        paths = guest_paths(parameters["paths"])
        if not paths:
            raise InvalidInputError("paths must not be an empty list: name what is to be copied", option="paths")
        rules = CopyRules(**{name: parameters[name] for name in ("overwrite", "links", "max_files", "max_size")})
        check_destination(parameters["destination"])
        client, point = selected_point(module)
        status = status_file(parameters["progress_file"], vm=point.vm_name)
        with status as shown, open_guest(module, client, point) as guest:
            plan = plan_copy(guest.appliance, paths, parameters["destination"], rules)
            if not module.check_mode:
                copy_files(guest.appliance, plan, parameters["destination"], shown.phase("copy"))
            notes = guest.notes
    to_do = ("missing", "different")
    module.exit_json(
        changed=plan.changes,
        point=point.id,
        files_copied=plan.count("file", *to_do),
        files_kept=plan.count("file", "current"),
        directories_made=plan.count("directory", *to_do),
        links_made=plan.count("link", *to_do),
        bytes_copied=plan.size,
        left_out=plan.left_out,
        notes=notes,
    )


if __name__ == "__main__":
    main()
