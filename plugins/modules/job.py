#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: job
short_description: Open or close the record of a backup job
description:
  - Opens a job for a plan, which gives the run its id, and closes it with a summary of what became of every VM.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.vault
  - ovm.backup.attributes
  - ovm.backup.attributes.vault_group
options:
  state:
    description:
      - V(running) opens a job for O(plan). V(finished) closes the job O(job_id).
    type: str
    choices: [finished, running]
    required: true
  plan:
    description:
      - The plan of the run, RV(ovm.backup.plan_info#module:plan).
      - Needed for O(state=running).
    type: dict
  job_id:
    description:
      - Id of the job.
      - Needed for O(state=finished).
    type: str
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: O(state=running) opens a new job each time. To close a finished job is no change.
seealso:
  - module: ovm.backup.job_vm
"""

EXAMPLES = r"""
- name: Open a job
  ovm.backup.job:
    vault: /srv/vault
    state: running
    plan: "{{ night.plan }}"
  register: job

- name: Close it
  ovm.backup.job:
    vault: /srv/vault
    state: finished
    job_id: "{{ job.job.id }}"
  register: closed

- name: Show what became of the VMs
  ansible.builtin.debug:
    msg: "{{ closed.summary }}"
"""

RETURN = r"""
job:
  description: The job. Sizes in bytes, durations in seconds, times in seconds since the epoch.
  returned: success
  type: dict
  contains:
    id:
      description: Id of the job and of the run.
      type: str
      returned: always
      sample: 20261123T010203Z-0a1b2c3d-4e5f60
    state:
      description: V(running) or V(finished).
      type: str
      returned: always
    subclient:
      description: Name of the subclient.
      type: str
      returned: always
    requested_type:
      description: The type that was asked for.
      type: str
      returned: always
    started:
      description: When the job was opened.
      type: float
      returned: always
    warnings:
      description: What an administrator should know about the subclient.
      type: list
      elements: str
      returned: always
    plan:
      description:
        - The VMs of the plan, in the form of RV(ovm.backup.plan_info#module:plan.vms) but without
          RV(ovm.backup.plan_info#module:plan.vms[].configuration) and
          RV(ovm.backup.plan_info#module:plan.vms[].stand_ins).
      type: list
      elements: dict
      returned: when O(state=running)
    status:
      description: V(Completed), V(Completed with warnings), V(Completed with errors) or V(Failed).
      type: str
      returned: when the job is finished
    finished:
      description: When the job was closed.
      type: float
      returned: when the job is finished
    duration:
      description: How long the job took.
      type: float
      returned: when the job is finished
    counts:
      description: How many VMs have the status V(Completed), V(Completed with warnings), V(Failed) and V(Skipped).
      type: dict
      returned: when the job is finished
    bytes_read:
      description: What was read of all disks.
      type: int
      returned: when the job is finished
    bytes_stored:
      description: What all files of disks take in the vault.
      type: int
      returned: when the job is finished
    vms:
      description: What became of each VM.
      type: list
      elements: dict
      returned: when the job is finished
      contains:
        order:
          description: Place in the run, from 1.
          type: int
          returned: always
        vm_id:
          description: Id of the VM.
          type: str
          returned: always
        vm_name:
          description: Name of the VM.
          type: str
          returned: always
        client:
          description: Client in the vault.
          type: str
          returned: always
        status:
          description: V(Completed), V(Completed with warnings), V(Failed) or V(Skipped).
          type: str
          returned: always
        reason:
          description: Why this status, for a recovery point why it has its type.
          type: str
          returned: always
        method:
          description: V(hot_clone), V(shutdown), V(cold) or V(skip).
          type: str
          returned: always
        requested_type:
          description: The type that was asked for.
          type: str
          returned: always
        type:
          description: The type of the recovery point, V(null) if there is none.
          type: str
          returned: always
        point:
          description: Id of the recovery point, V(null) if there is none.
          type: str
          returned: always
        bytes_read:
          description: What was read of its disks.
          type: int
          returned: always
        bytes_stored:
          description: What the files of its disks take in the vault.
          type: int
          returned: always
        started:
          description: When the work on the VM began.
          type: float
          returned: always
        finished:
          description: When it ended.
          type: float
          returned: always
        duration:
          description: How long it took.
          type: float
          returned: always
        outage:
          description: How long the run kept the VM stopped, V(null) if it did not stop it.
          type: float
          returned: always
        proxy:
          description: Inventory name of the proxy that did the work.
          type: str
          returned: always
        skipped_disks:
          description:
            - The disks that were not backed up, in the form of
              RV(ovm.backup.recovery_point_info#module:recovery_points[].skipped_disks).
          type: list
          elements: dict
          returned: always
        warnings:
          description: What an administrator should know about the VM.
          type: list
          elements: str
          returned: always
summary:
  description: The job as lines of text.
  returned: when O(state=finished)
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

from ..module_utils._module import engine
from ..module_utils._passed_on import check_plan
from ..module_utils._vault import open_vault, vault_options
from ..module_utils.vault.carried_script import carry_scripts
from ..module_utils.vault.jobs import JobStore, new_job, new_job_id
from ..module_utils.vault.summary import job_summary


def open_job(module: AnsibleModule) -> dict[str, Any]:
    """Open a new job."""
    vault, plan, now = open_vault(module), module.params["plan"], time.time()
    check_plan(plan)
    job = new_job(new_job_id(vault.id, now), plan, now=now)
    if not module.check_mode:
        carry_scripts(vault.path, encrypted=vault.encrypted)
        JobStore(vault).start(job)
    return {"changed": True, "job": job}


def close_job(module: AnsibleModule) -> dict[str, Any]:
    """Close a job, or return the closed one."""
    store, job_id, now = JobStore(open_vault(module)), module.params["job_id"], time.time()
    changed = store.read(job_id)["state"] == "running"
    job = store.preview(job_id, now=now) if module.check_mode else store.finish(job_id, now=now)
    return {"changed": changed, "job": job, "summary": job_summary(job)}


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **vault_options(),
            "state": {"type": "str", "choices": ["finished", "running"], "required": True},
            "plan": {"type": "dict"},
            "job_id": {"type": "str"},
        },
        required_if=[("state", "running", ("plan",)), ("state", "finished", ("job_id",))],
        supports_check_mode=True,
    )
    with engine(module, "blake3"):
        result = open_job(module) if module.params["state"] == "running" else close_job(module)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
