#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_leftovers
short_description: Remove what dead runs have left in a vault
description:
  - Removes recovery points that were never published, files whose writing was interrupted, locks that owe nothing and
    folders that nobody filled, and closes the jobs of dead runs. In check mode it lists them.
  - A recovery point that was published is never touched, and neither is a client that a living run has the lock of.
    Work on a client is done under its lock.
  - The lock of a dead run that owes a VM a start, or that names a VM that may have a clone, stays as it is for the next
    backup, or for the role P(ovm.backup.janitor#role), which settles it.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.vault
  - ovm.backup.attributes
  - ovm.backup.attributes.vault_group
options:
  limit:
    description:
      - How old something has to be that no lock guards to be taken for a leftover, as V(1d) or seconds. For a job it
        counts from the last sign of life of its run.
    type: str
    default: 1d
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: ovm.backup.vm_clone_info
  - module: ovm.backup.client_lock_info
"""

EXAMPLES = r"""
- name: List what dead runs have left
  ovm.backup.vault_leftovers:
    vault: /srv/vault
  check_mode: true
  register: left

- name: Show it
  ansible.builtin.debug:
    msg: "{{ left.summary }}"

- name: Remove it
  ovm.backup.vault_leftovers:
    vault: /srv/vault

- name: Remove also what is younger, when no run is at work
  ovm.backup.vault_leftovers:
    vault: /srv/vault
    limit: 10m
"""

RETURN = r"""
leftovers:
  description: What was removed, or would be in check mode, by path.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description:
        - V(point), a recovery point that was never published. V(file), a temporary file. V(lock), a lock that owes
          nothing. V(client), an empty folder of a client.
        - V(job), an open job, which is closed and not removed. V(job_folder), a folder of a job that needs none.
      type: str
      returned: always
    path:
      description: Where it is, relative to the vault.
      type: str
      returned: always
    reason:
      description: What it is, and why it is a leftover.
      type: str
      returned: always
    client:
      description: The client that it belongs to, V(null) if it belongs to none.
      type: str
      returned: always
    run_id:
      description: The run that left it, V(null) if that is not known.
      type: str
      returned: always
    bytes:
      description: What it takes in the vault.
      type: int
      returned: always
kept:
  description: What looks like a leftover and stays, by C(path), with the C(reason).
  returned: success
  type: list
  elements: dict
bytes:
  description: What all leftovers take in the vault.
  returned: success
  type: int
summary:
  description: The same as lines of text.
  returned: success
  type: list
  elements: str
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._durations import duration_option
from ..module_utils._module import engine
from ..module_utils._vault import lock_owner, open_vault, vault_options
from ..module_utils.vault.jobs import new_job_id
from ..module_utils.vault.leftovers import Cleaner, leftover_lines


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={**vault_options(), "limit": {"type": "str", "default": "1d"}},
        supports_check_mode=True,
    )
    with engine(module, "blake3"):
        limit, vault = duration_option(module, "limit"), open_vault(module)
        cleaner = Cleaner(
            vault,
            owner=lock_owner(module),
            run_id=new_job_id(vault.id, time.time()),
            limit=limit,
            clock=time.time,
            check=module.check_mode,
        )
        found = cleaner.run().as_dict()
        result: dict[str, Any] = {"changed": bool(found["leftovers"]), **found, "summary": leftover_lines(found)}
        if module._diff:
            paths = [item["path"] for item in found["leftovers"]]
            result["diff"] = {"before": {"leftovers": paths}, "after": {"leftovers": []}}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
