#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: job_info
short_description: Show the record of a backup job
description:
  - Returns a job as it stands, also while it runs, and how many of its VMs have failed.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.vault
  - ovm.backup.attributes
  - ovm.backup.attributes.read_only
  - ovm.backup.attributes.vault_group
options:
  job_id:
    description:
      - Id of the job.
    type: str
    required: true
seealso:
  - module: ovm.backup.job
"""

EXAMPLES = r"""
- name: Show a job
  ovm.backup.job_info:
    vault: /srv/vault
    job_id: 20261123T010203Z-0a1b2c3d-4e5f60
  register: night

- name: Show the VMs that failed
  ansible.builtin.debug:
    msg: "{{ night.job.vms | selectattr('status', 'equalto', 'Failed') | map(attribute='vm_name') }}"

- name: Go on only while no more than a third of the VMs has failed
  ansible.builtin.assert:
    that: night.failed_percent <= 33
"""

RETURN = r"""
job:
  description:
    - The record in the form of RV(ovm.backup.job#module:job), without RV(ovm.backup.job#module:job.plan). A VM that a
      running job has not finished yet counts as failed in it.
  returned: success
  type: dict
failed_percent:
  description: Share of the VMs to be backed up that have failed so far, from 0 to 100.
  returned: success
  type: float
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._module import engine
from ..module_utils._vault import open_vault, vault_options
from ..module_utils.vault.jobs import JobStore


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={**vault_options(), "job_id": {"type": "str", "required": True}}, supports_check_mode=True
    )
    with engine(module, "blake3"):
        jobs, job_id = JobStore(open_vault(module)), module.params["job_id"]
        result = {
            "job": jobs.preview(job_id, now=time.time()),
            "failed_percent": round(jobs.failed_percent(job_id), 3),
        }
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
