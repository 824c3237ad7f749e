#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: served_point
short_description: Serve a recovery point as block devices
description:
  - Serves the disks of a recovery point as read-only network block devices (NBD) on a unix socket, straight from the
    vault. Nothing is restored for it, whatever the size of the disks.
  - C(qemu), C(guestfish), C(nbdcopy), C(nbdfuse) and other clients of NBD can use them at once. Holes are reported.
  - Every block that is read is checked against its hash. A damaged one is an I/O error.
  - nbdkit goes on serving after the module has ended, until it is told to end by O(state=absent) or its time is over.
    It opens all files at the start, so a recovery point that expires meanwhile stays readable.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.vault
  - ovm.backup.point
  - ovm.backup.attributes
  - ovm.backup.attributes.vault_group
options:
  state:
    description:
      - V(present) serves a recovery point, V(absent) ends that.
    type: str
    choices: [present, absent]
    default: present
  directory:
    description:
      - Directory in which the socket is, at most 100 bytes long. It is made, for the user only, and must not exist
        unless a recovery point is served there; the directory above it must exist. It is gone when that ends.
      - It also says which one O(state=absent) ends.
    type: path
    required: true
  client:
    description:
      - Name of the client. Required with O(state=present).
    required: false
  slots:
    description:
      - Slots of the disks to serve. All of them by default.
    type: list
    elements: int
  time_limit:
    description:
      - How long it is served at most, a whole number of seconds or a number with a unit, as V(30m), V(8h) or V(1d).
      - What is served already keeps the end that it has.
    type: raw
    default: 8h
requirements:
  - nbdkit with its Python plugin, whose Python has the libraries above or is of the same version as the module's
  - setsid (util-linux) and timeout (coreutils)
  - Linux 5.3 or newer
notes:
  - Who can reach the socket can read the disks. Its directory is only for the user that runs the module.
attributes:
  check_mode:
    support: full
    details: The files of the recovery point are opened, but nothing is served.
  diff_mode:
    support: none
  idempotent:
    support: full
seealso:
  - module: ovm.backup.guest_file_info
  - module: ovm.backup.restore_image
"""

EXAMPLES = r"""
- name: Serve the newest recovery point for a working day
  ovm.backup.served_point:
    vault: /srv/vault
    client: db01
    directory: /run/db01
  register: serving

- name: Serve one disk of a certain recovery point
  ovm.backup.served_point:
    vault: /srv/vault
    client: db01
    point: 20261123T010203Z-0001
    slots: [0]
    directory: /run/db01-system
    time_limit: 30m

- name: End it
  ovm.backup.served_point:
    vault: /srv/vault
    directory: /run/db01
    state: absent
"""

RETURN = r"""
served:
  description: What is served, in check mode what would be. V(null) with O(state=absent).
  returned: success
  type: dict
  contains:
    client:
      description: Name of the client.
      type: str
      returned: always
    point:
      description: Id of the recovery point.
      type: str
      returned: always
    directory:
      description: The directory.
      type: str
      returned: always
    socket:
      description: The socket in it. Each disk is an export, named after its slot; the first one is the default export.
      type: str
      returned: always
    ends:
      description: When its time is over, in seconds since the epoch.
      type: float
      returned: always
    disks:
      description: The disks.
      type: list
      elements: dict
      returned: always
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
        uri:
          description: Address of the disk, as C(nbd+unix:///0?socket=/run/db01/socket).
          type: str
          returned: always
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
"""

import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._durations import duration_option
from ..module_utils._module import engine
from ..module_utils._point import point_options, selected_point
from ..module_utils._vault import vault_options
from ..module_utils.errors import InvalidInputError
from ..module_utils.guest.lasting import begin_serving, check_same, describe_served, end_serving, served_at

SHOWN = ("client", "point", "directory", "socket", "ends", "disks")


def present(module: AnsibleModule, directory: str) -> dict[str, Any]:
    """Serve what the options name, unless that is so already."""
    parameters = module.params
    seconds = duration_option(module, "time_limit")
    if seconds < 1:
        raise InvalidInputError("time_limit must be at least 1 second", option="time_limit")
    found = served_at(directory)
    client, point = selected_point(module)
    wanted = describe_served(client, point, directory, parameters["slots"])
    now = time.time()
    if found is not None:
        check_same(found, wanted)
        served = found
    elif module.check_mode:
        served = {**wanted, "ends": now + seconds}
    else:
        served = begin_serving(client, point, wanted, seconds=seconds, now=now)
    return {"changed": found is None, "served": {name: served[name] for name in SHOWN}}


def absent(module: AnsibleModule, directory: str) -> dict[str, Any]:
    """End what is served at the directory."""
    changed = served_at(directory) is not None or os.path.lexists(directory)
    if not module.check_mode:
        changed = end_serving(directory)
    return {"changed": changed, "served": None}


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **vault_options(),
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "directory": {"type": "path", "required": True},
            **point_options(required=False),
            "slots": {"type": "list", "elements": "int"},
            "time_limit": {"type": "raw", "default": "8h"},
        },
        required_if=[("state", "present", ["client"])],
        supports_check_mode=True,
    )
    with engine(module, "blake3", "zstandard"):
        directory = os.path.abspath(module.params["directory"])
        result = (present if module.params["state"] == "present" else absent)(module, directory)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
