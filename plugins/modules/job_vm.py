#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: job_vm
short_description: Record what became of a VM in a backup job
description:
  - Decides the status of one VM in a running job and writes it into the vault, so that it is there even if the run
    dies.
  - An outage that led to a recovery point is noted with the client too, for the plans of later runs.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.vault
  - ovm.backup.attributes
  - ovm.backup.attributes.vault_group
options:
  job_id:
    description:
      - Id of the job.
    type: str
    required: true
  plan:
    description:
      - The VM's entry in RV(ovm.backup.plan_info#module:plan.vms).
    type: dict
    required: true
  started:
    description:
      - When work on the VM began, in seconds since the epoch.
    type: float
    required: true
  recovery_point:
    description:
      - The recovery point that was made, RV(ovm.backup.backup#module:recovery_point).
    type: dict
  failure:
    description:
      - What went wrong. With it the VM counts as failed, whether there is a recovery point or not.
    type: str
  stopped_at:
    description:
      - When the run began to shut the VM down, in seconds since the epoch.
    type: float
  running_at:
    description:
      - When the VM ran again, in seconds since the epoch. Without it the outage lasts until now.
    type: float
  killed:
    description:
      - Whether the VM was switched off because it did not shut down in time.
    type: bool
    default: false
  warnings:
    description:
      - What an administrator should know.
    type: list
    elements: str
    default: []
  lock:
    description:
      - What becomes of the lock of the VM's client, which the run took with M(ovm.backup.client_lock).
      - V(keep) leaves it as it is. V(give_back) gives it back with its places, before the record is written.
      - V(leave) is for a run that owes something, such as a VM that could not be started. The lock stays, but its lease
        ends now. The next run settles it.
      - A lock that cannot be given back is a failure of the VM, and is recorded as one.
    type: str
    choices: [give_back, keep, leave]
    default: keep
attributes:
  check_mode:
    support: full
    details: In check mode the job need not exist, because M(ovm.backup.job) opens none then.
  diff_mode:
    support: none
  idempotent:
    support: none
    details: The record holds the time at which it is made.
seealso:
  - module: ovm.backup.job
"""

EXAMPLES = r"""
- name: Record a success
  ovm.backup.job_vm:
    vault: /srv/vault
    job_id: "{{ job.job.id }}"
    plan: "{{ night.plan.vms[0] }}"
    started: 1795395723.5
    recovery_point: "{{ transfer.recovery_point }}"

- name: Record a failure
  ovm.backup.job_vm:
    vault: /srv/vault
    job_id: "{{ job.job.id }}"
    plan: "{{ night.plan.vms[0] }}"
    started: 1795395723.5
    failure: The image was truncated while it was read

- name: Record a VM that was shut down for its backup
  ovm.backup.job_vm:
    vault: /srv/vault
    job_id: "{{ job.job.id }}"
    plan: "{{ night.plan.vms[1] }}"
    started: 1795395723.5
    stopped_at: 1795395724.0
    running_at: 1795395790.0
    recovery_point: "{{ transfer.recovery_point }}"
"""

RETURN = r"""
vm:
  description: The record of the VM, as in RV(ovm.backup.job#module:job.vms).
  returned: success
  type: dict
problems:
  description: What else went wrong than O(failure) says; it is in the record.
  returned: success
  type: list
  elements: str
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
"""

import contextlib
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._module import engine
from ..module_utils._passed_on import check_recovery_point, check_vm_plan
from ..module_utils._vault import lock_owner, open_vault, vault_options
from ..module_utils.errors import PointNotFoundError, VaultError
from ..module_utils.vault.jobs import JobStore, vm_record
from ..module_utils.vault.outages import add_outage, measured_outage
from ..module_utils.vault.points import Vault
from ..module_utils.vault.slots import let_go


def keep_outage(vault: Vault, record: dict[str, Any], parameters: dict[str, Any]) -> None:
    """Write down how long the VM was down, for the plans of later runs, if that led to a recovery point."""
    point, ended = parameters["recovery_point"], parameters["running_at"]
    if record["outage"] is not None and point is not None and ended is not None:
        folder = vault.client_folder(record["client"]).directory
        add_outage(folder, measured_outage(record["outage"], ended, point))


def done_with_lock(module: AnsibleModule, vault: Vault) -> list[str]:
    """Let go of the lock as it is asked; return what went wrong."""
    parameters = module.params
    if parameters["lock"] == "keep" or module.check_mode:
        return []
    client, run_id = str(parameters["plan"]["client"]), parameters["job_id"]
    try:
        let_go(vault, client, owner=lock_owner(module), run_id=run_id, owes=parameters["lock"] == "leave")
    except VaultError as error:
        return [f"the lock is not given back: {error.message}"]
    return []


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **vault_options(),
            "job_id": {"type": "str", "required": True},
            "plan": {"type": "dict", "required": True},
            "started": {"type": "float", "required": True},
            "recovery_point": {"type": "dict"},
            "failure": {"type": "str"},
            "stopped_at": {"type": "float"},
            "running_at": {"type": "float"},
            "killed": {"type": "bool", "default": False},
            "warnings": {"type": "list", "elements": "str", "default": []},
            "lock": {"type": "str", "choices": ["give_back", "keep", "leave"], "default": "keep"},
        },
        required_by={"running_at": ("stopped_at",)},
        supports_check_mode=True,
    )
    parameters, now = module.params, time.time()
    with engine(module, "blake3"):
        check_vm_plan(parameters["plan"])
        if parameters["recovery_point"] is not None:
            check_recovery_point(parameters["recovery_point"])
        vault = open_vault(module)
        store = JobStore(vault)
        problems = done_with_lock(module, vault)
        failures = [parameters["failure"]] if parameters["failure"] is not None else []
        record = vm_record(
            parameters["plan"],
            started=parameters["started"],
            finished=now,
            point=parameters["recovery_point"],
            failure="; ".join([*failures, *problems]) or None,
            stopped_at=parameters["stopped_at"],
            running_at=parameters["running_at"],
            killed=parameters["killed"],
            warnings=parameters["warnings"],
        )
        if not module.check_mode:
            store.put_vm(parameters["job_id"], record)
            keep_outage(vault, record, parameters)
        else:
            with contextlib.suppress(PointNotFoundError):
                store.check_vm(parameters["job_id"], record)
    module.exit_json(changed=True, vm=record, problems=problems)


if __name__ == "__main__":
    main()
