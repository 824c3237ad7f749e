#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_clone_info
short_description: List the hot clones that backup runs have on the manager
description:
  - Returns all clones and clone definitions that are proved by their ids to be made by this collection. What only has a
    similar name, or is a copy of such a clone, is not listed.
  - With O(vault) it also tells which of them are leftovers of dead runs, and how that is known.
  - It also lists the restores that are not finished. Whether one still works cannot be known from here.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.manager
  - ovm.backup.vault.access
  - ovm.backup.attributes
  - ovm.backup.attributes.read_only
  - ovm.backup.attributes.manager_group
options:
  vault:
    description:
      - Directory of the vault of the runs. With it, each trace is judged.
      - Falls back to E(OVM_VAULT).
    type: path
  limit:
    description:
      - After what time without a lock, a record of a VM or another sign of life a run counts as dead whose job is not
        closed, as V(1d) or seconds.
    type: str
    default: 1d
seealso:
  - module: ovm.backup.vm_clone
  - module: ovm.backup.vault_leftovers
"""

EXAMPLES = r"""
- name: List what runs have on the manager
  ovm.backup.vm_clone_info:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
  register: found

- name: Find the leftovers of dead runs
  ovm.backup.vm_clone_info:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    vault: /srv/vault
    limit: 6h
  register: judged

- name: Remove them
  ovm.backup.vm_clone:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    vm_id: "{{ item.vm_id }}"
    run_id: "{{ item.run_id }}"
    only_runs: ["{{ item.run_id }}"]
    state: absent
  loop: "{{ judged.traces | selectattr('leftover') }}"
"""

RETURN = r"""
manager_id:
  description: Id of the manager.
  returned: success
  type: str
traces:
  description: What the runs have on the manager, one entry for each VM and run.
  returned: success
  type: list
  elements: dict
  contains:
    vm_id:
      description: Id of the VM that was cloned.
      type: str
      returned: always
    vm_name:
      description: Name of that VM, V(null) if it is gone.
      type: str
      returned: always
    run_id:
      description: The run that cloned it.
      type: str
      returned: always
    clones:
      description: The clones, one as a rule, none if only a definition is left.
      type: list
      elements: dict
      returned: always
      contains:
        id:
          description: Id of the clone.
          type: str
          returned: always
        name:
          description: Its name.
          type: str
          returned: always
        state:
          description: Its run state. One that is not V(STOPPED) is used by somebody, and no leftover.
          type: str
          returned: always
        vm_id:
          description: Id of the VM that was cloned.
          type: str
          returned: always
        run_id:
          description: The run that cloned it.
          type: str
          returned: always
        disks:
          description:
            - Its disks, each with C(slot), C(id), C(size) in bytes, the C(path) of the image in the storage
              repository C(repository_id), and C(source_disk_id), the disk that it is a clone of.
          type: list
          elements: dict
          returned: always
    definitions:
      description: Ids of clone definitions, which say which disks are cloned.
      type: list
      elements: str
      returned: always
    leftover:
      description: Whether this is a leftover of a dead run of O(vault), V(null) without O(vault).
      type: bool
      returned: always
    reason:
      description: The proof, or what stands against it, V(null) without O(vault).
      type: str
      returned: always
restores:
  description: The restores that are not finished, or were interrupted, each with what it has made.
  returned: success
  type: list
  elements: dict
  contains:
    run_id:
      description: Id of the restore.
      type: str
      returned: always
    point:
      description: Id of the recovery point, V(null) if that was not noted.
      type: str
      returned: always
    source_vm_id:
      description: Id of the VM that was backed up, V(null) if that was not noted.
      type: str
      returned: always
    vm_id:
      description: Id of the VM that gets the disks, V(null) for a new one.
      type: str
      returned: always
    vm_name:
      description: Its name, V(null) if it is gone.
      type: str
      returned: always
    vm_state:
      description: Its run state, V(null) if it is gone.
      type: str
      returned: always
    was_running:
      description: Whether it ran when the restore began.
      type: bool
      returned: always
    made_vms:
      description: Ids of VMs that the restore has made.
      type: list
      elements: str
      returned: always
    disks:
      description: The virtual disks that it has made.
      type: list
      elements: dict
      returned: always
      contains:
        id:
          description: Id of the virtual disk.
          type: str
          returned: always
        name:
          description: Its name.
          type: str
          returned: always
        repository_id:
          description: Id of its storage repository.
          type: str
          returned: always
        mapped:
          description: Whether it is mapped to a VM.
          type: bool
          returned: always
        slot:
          description: Slot that it goes to, V(null) if that was not noted.
          type: int
          returned: always
        previous:
          description: Id of the virtual disk that it replaces, or V(null).
          type: str
          returned: always
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
from ..module_utils._manager import manager_client, manager_options
from ..module_utils._module import engine
from ..module_utils._vault import open_vault, vault_options
from ..module_utils.manager.clones import Trace, find_traces
from ..module_utils.manager.restored_survey import restore_lines, unfinished_restores
from ..module_utils.planning.leftovers import judge_traces, trace_lines
from ..module_utils.vault.runs import Verdict


def describe(trace: Trace, verdict: Verdict | None) -> dict[str, Any]:
    """Return a trace in plain types."""
    return {
        "vm_id": trace.vm_id,
        "vm_name": trace.vm_name,
        "run_id": trace.run_id,
        "clones": [{**clone.as_dict(), "state": state} for clone, state in trace.clones],
        "definitions": list(trace.definitions),
        "leftover": verdict.dead if verdict is not None else None,
        "reason": verdict.reason if verdict is not None else None,
    }


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **manager_options(),
            **vault_options(required=False),
            "limit": {"type": "str", "default": "1d"},
        },
        supports_check_mode=True,
    )
    with engine(module, "requests", "blake3"):
        limit = duration_option(module, "limit")
        vault = open_vault(module) if module.params["vault"] is not None else None
        with manager_client(module) as client:
            traces, manager_id = find_traces(client), client.manager_id
            restores = unfinished_restores(client)
        if vault is None:
            found = [describe(trace, None) for trace in traces]
        else:
            judged = judge_traces(traces, vault, now=time.time(), limit=limit)
            found = [describe(trace, verdict) for trace, verdict in judged]
    summary = trace_lines(found) + restore_lines(restores)
    module.exit_json(changed=False, manager_id=manager_id, traces=found, restores=restores, summary=summary)


if __name__ == "__main__":
    main()
