#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxy_check
short_description: Check what a proxy sees
description:
  - Checks that the host that runs the module can do backups, that is, has the Python libraries of this collection and a
    vault. Returns which storage repositories it sees as directories.
  - With a O(mark) it checks too that this host sees the same vault as the one that made the mark, that it may write
    there, and how far its clock is from that of the vault.
  - The role P(ovm.backup.plan#role) runs it on all proxies of a group before each run.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.vault
  - ovm.backup.transfer.repositories
  - ovm.backup.attributes
  - ovm.backup.attributes.vault_group
options:
  mark:
    description:
      - Name of a mark in the vault, of 8 to 64 letters, digits and hyphens, that was not used before.
      - Without it, and in check mode, nothing is written, and neither the clock is compared nor a mark looked for.
    type: str
  state:
    description:
      - V(present) makes the mark, for the host that the others are compared with.
      - V(seen) looks for the mark that another host has made, and fails if it is not there.
      - V(absent) removes the mark.
    type: str
    choices: [absent, present, seen]
    default: seen
attributes:
  check_mode:
    support: full
    details: In check mode nothing is written, and a mark is not looked for.
  diff_mode:
    support: none
  idempotent:
    support: full
    details: What is written is no change of the vault. It is removed at once, or when the mark is.
seealso:
  - module: ovm.backup.plan_info
"""

EXAMPLES = r"""
- name: See which storage repositories this proxy sees
  ovm.backup.proxy_check:
    vault: /srv/vault
    repositories_path: /OVS/Repositories
  register: proxy

- name: Make a mark for the other proxies
  ovm.backup.proxy_check:
    vault: /srv/vault
    mark: 6d1c6c3e-3c53
    state: present

- name: Check that another proxy sees it
  ovm.backup.proxy_check:
    vault: /srv/vault
    mark: 6d1c6c3e-3c53

- name: Remove the mark
  ovm.backup.proxy_check:
    vault: /srv/vault
    mark: 6d1c6c3e-3c53
    state: absent
"""

RETURN = r"""
proxy:
  description: What this host sees.
  returned: unless O(state=absent)
  type: dict
  contains:
    vault:
      description: Its vault, by C(path) and C(id).
      type: dict
      returned: always
    repositories:
      description: Ids of the storage repositories that it sees as directories that are not empty.
      type: list
      elements: str
      returned: always
    clock:
      description:
        - C(ahead) are the seconds by which its clock is ahead of the vault's, give or take C(error). V(null) without
          O(mark) and in check mode.
      type: dict
      returned: always
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
"""

import dataclasses
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._module import engine
from ..module_utils._transfer import repositories_option
from ..module_utils._vault import open_vault, vault_options
from ..module_utils.errors import NotAVaultError
from ..module_utils.planning.access import mounted_repositories
from ..module_utils.vault.marks import Clock, checked_mark, make_mark, measure_clock, remove_mark, sees_mark
from ..module_utils.vault.points import Vault


def check(module: AnsibleModule, vault: Vault, mark: str | None) -> dict[str, Any]:
    """Return what this host sees."""
    clock: Clock | None = None
    if mark is not None:
        if module.params["state"] == "present":
            make_mark(vault, mark)
        elif not sees_mark(vault, mark):
            raise NotAVaultError(
                f"What the host that plans has written into the vault is not in {vault.path} here: all proxies need "
                "one vault, on storage that they share",
                path=vault.path,
            )
        clock = measure_clock(vault, mark)
    return {
        "vault": {"path": vault.path, "id": vault.id},
        "repositories": sorted(mounted_repositories(module.params["repositories_path"])),
        "clock": dataclasses.asdict(clock) if clock is not None else None,
    }


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **vault_options(),
            **repositories_option(),
            "mark": {"type": "str"},
            "state": {"type": "str", "choices": ["absent", "present", "seen"], "default": "seen"},
        },
        required_if=[("state", "present", ["mark"]), ("state", "absent", ["mark"])],
        supports_check_mode=True,
    )
    result: dict[str, Any] = {"changed": False}
    with engine(module, "requests", "zstandard", "blake3"):
        mark = checked_mark(module.params["mark"]) if module.params["mark"] is not None else None
        vault = open_vault(module)
        if module.params["state"] != "absent":
            result["proxy"] = check(module, vault, None if module.check_mode else mark)
        elif mark is not None and not module.check_mode:
            remove_mark(vault, mark)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
