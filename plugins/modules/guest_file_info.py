#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: guest_file_info
short_description: List file systems and files in a recovery point
description:
  - Looks into the disks of a recovery point, straight from the vault. Nothing is restored for it.
  - Returns the file systems, also those in logical volumes, the operating systems, and the files at the paths that are
    named. Whatever libguestfs can read can be looked at, for example ext4, xfs, btrfs, NTFS and FAT.
  - Every block that is read is checked against its hash.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.vault
  - ovm.backup.point
  - ovm.backup.guest
  - ovm.backup.attributes
  - ovm.backup.attributes.read_only
  - ovm.backup.attributes.vault_group
options:
  paths:
    description:
      - Absolute paths in the guest. Of a directory, its content is listed. Links are not followed at the end of a path.
      - Nothing is listed by default, only RV(filesystems) and RV(operating_systems) are returned.
    type: list
    elements: str
    default: []
  recurse:
    description:
      - Whether all that is below a directory is listed.
    type: bool
    default: false
  limit:
    description:
      - How many files are returned at most.
    type: int
    default: 10000
seealso:
  - module: ovm.backup.guest_file_copy
  - module: ovm.backup.served_point
"""

EXAMPLES = r"""
- name: See what is on the disks of the newest recovery point
  ovm.backup.guest_file_info:
    vault: /srv/vault
    client: db01
  register: disks

- name: List two directories
  ovm.backup.guest_file_info:
    vault: /srv/vault
    client: db01
    paths: [/etc, /srv]
  register: listed

- name: List all files of a Windows disk
  ovm.backup.guest_file_info:
    vault: /srv/vault
    client: db01
    slots: [2]
    filesystem: /dev/sda1
    paths: [/Users]
    recurse: true
"""

RETURN = r"""
point:
  description: Id of the recovery point.
  returned: success
  type: str
filesystems:
  description: The file systems, by device. Empty if O(filesystem) or O(paths) is set.
  returned: success
  type: list
  elements: dict
  contains:
    device:
      description: The name for O(filesystem).
      type: str
      returned: always
    type:
      description: Type, as V(ext4), V(xfs), V(ntfs), V(swap) or V(unknown).
      type: str
      returned: always
    label:
      description: Label, V(null) if there is none.
      type: str
      returned: always
    uuid:
      description: UUID or serial number, V(null) if there is none.
      type: str
      returned: always
    size:
      description: Size of the device in bytes, V(null) for a part of a file system.
      type: int
      returned: always
operating_systems:
  description: The operating systems that are known. Empty if O(filesystem) is set.
  returned: success
  type: list
  elements: dict
  contains:
    root:
      description: The device of its root.
      type: str
      returned: always
    type:
      description: Type, as V(linux) or V(windows).
      type: str
      returned: always
    distribution:
      description: Distribution, as V(oraclelinux).
      type: str
      returned: always
    product:
      description: Its full name.
      type: str
      returned: always
    hostname:
      description: Its host name.
      type: str
      returned: always
    mounts:
      description: What it mounts where, the root first.
      type: list
      elements: dict
      returned: always
      contains:
        directory:
          description: The directory, as V(/srv).
          type: str
          returned: always
        device:
          description: The file system, as V(/dev/vg0/data).
          type: str
          returned: always
files:
  description: The files at O(paths), sorted within each directory.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Path in the guest. Bytes that are no UTF-8 are shown as C(\xff).
      type: str
      returned: always
    type:
      description: V(file), V(directory), V(link), or V(other) for devices, pipes and sockets.
      type: str
      returned: always
    size:
      description: Size in bytes.
      type: int
      returned: always
    mode:
      description: Permissions in the guest, as V(0644).
      type: str
      returned: always
    uid:
      description: Number of the owner in the guest.
      type: int
      returned: always
    gid:
      description: Number of the group in the guest.
      type: int
      returned: always
    mtime:
      description: Time of the last change, in seconds since the epoch.
      type: float
      returned: always
    link:
      description: Where a link leads, otherwise V(null).
      type: str
      returned: always
truncated:
  description: Whether there are more files than O(limit).
  returned: success
  type: bool
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

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._guest import guest_options, open_guest
from ..module_utils._module import engine
from ..module_utils._point import point_options, selected_point
from ..module_utils._vault import vault_options
from ..module_utils.errors import InvalidInputError
from ..module_utils.guest.files import guest_paths, list_files
from ..module_utils.guest.filesystems import find_file_systems


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **vault_options(),
            **guest_options(),
            **point_options(),
            "paths": {"type": "list", "elements": "str", "default": []},
            "recurse": {"type": "bool", "default": False},
            "limit": {"type": "int", "default": 10000},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    with engine(module, "blake3", "zstandard"):
        paths = guest_paths(parameters["paths"])
        if parameters["limit"] < 1:
            raise InvalidInputError(f"limit must be at least 1, not {parameters['limit']}", option="limit")
        client, point = selected_point(module)
        result: dict[str, Any] = {"changed": False, "point": point.id, "filesystems": [], "files": []}
        with open_guest(module, client, point, mount=bool(paths)) as guest:
            result["operating_systems"] = [system.as_dict() for system in guest.systems or ()]
            result["notes"] = guest.notes
            if not paths and guest.systems is not None:
                result["filesystems"] = [found.as_dict() for found in find_file_systems(guest.appliance)]
            files, more = list_files(guest.appliance, paths, recurse=parameters["recurse"], limit=parameters["limit"])
            result.update(files=files, truncated=more)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
