#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_draft
short_description: Keep the outage of a VM short by preparing its recovery point
description:
  - A VM on NFS has to be shut down for its backup. A first pass over its disks while it still runs stores most of what
    the recovery point will hold. M(ovm.backup.backup) with O(ovm.backup.backup#module:publish=false) then only has to
    compare the disks and store what has changed since. When the VM runs again, both are merged and the recovery point
    is published.
  - Until then it is a draft. No reader sees it, it belongs to its run, and the next run removes it if this one dies.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.vault
  - ovm.backup.transfer
  - ovm.backup.transfer.repositories
  - ovm.backup.ssh
  - ovm.backup.progress
  - ovm.backup.attributes
  - ovm.backup.attributes.vault_group
  - ovm.backup.attributes.shows_progress
options:
  state:
    description:
      - V(present) makes the first pass, unless this run has a draft or the recovery point already. The VM must be
        planned with the method V(shutdown).
      - V(published) merges the passes and makes the recovery point exist. O(compression_level) is for the few blocks
        that have to be compressed anew. When the merge fails, the draft stays, so that the same run can repeat
        it. It is removed when its data is damaged, and by the next run.
      - V(absent) removes the draft.
    type: str
    choices: [absent, present, published]
    default: present
attributes:
  check_mode:
    support: full
    details:
      - In check mode the disk images are not opened, and with O(state=published) there need not be a draft.
  diff_mode:
    support: none
  idempotent:
    support: full
    details: Within one run. The draft of another run is not looked at.
seealso:
  - module: ovm.backup.backup
"""

EXAMPLES = r"""
- name: Read the disks while the VM still runs
  ovm.backup.backup_draft:
    vault: /srv/vault
    plan: "{{ night.plan.vms[2] }}"
    run_id: "{{ job.job.id }}"

- name: Publish the recovery point after the VM was started again
  ovm.backup.backup_draft:
    vault: /srv/vault
    plan: "{{ night.plan.vms[2] }}"
    run_id: "{{ job.job.id }}"
    state: published
  register: published

- name: Give up a backup
  ovm.backup.backup_draft:
    vault: /srv/vault
    plan: "{{ night.plan.vms[2] }}"
    run_id: "{{ job.job.id }}"
    state: absent
"""

RETURN = r"""
recovery_point:
  description:
    - The recovery point, in the form of RV(ovm.backup.backup#module:recovery_point). In check mode V(null), unless this
      run has made it already.
  returned: when O(state=published)
  type: dict
bytes_read:
  description: Bytes that the first pass has read, in check mode and when there was nothing to do V(0).
  returned: when O(state=present)
  type: int
duration:
  description: Seconds that the first pass took, or the merging of the passes.
  returned: unless O(state=absent)
  type: float
notes:
  description: What an administrator should know, such as a lock that was taken over.
  returned: when O(state=present)
  type: list
  elements: str
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._module import engine
from ..module_utils._progress import progress_options, status_file
from ..module_utils._transfer import request_of, transfer_options
from ..module_utils._vault import open_vault, vault_options
from ..module_utils.transfer.passes import check_first_pass, discard, find, first_pass, publish
from ..module_utils.transfer.request import BackupRequest
from ..module_utils.vault.points import Vault


def prepare(module: AnsibleModule, vault: Vault, request: BackupRequest) -> dict[str, Any]:
    """Make the first pass."""
    check_first_pass(request)
    if module.check_mode:
        found = find(vault, request)
        return {"changed": not (found.draft or found.point), "bytes_read": 0, "duration": 0.0, "notes": []}
    path, vm = module.params["progress_file"], str(request.plan["vm_name"])
    with status_file(path, vm=vm, run_id=request.run_id) as status:
        done = first_pass(vault, request, progress=status.phase("first pass over"))
    return {
        "changed": done.created,
        "bytes_read": done.read,
        "duration": round(done.seconds, 3),
        "notes": list(done.notes),
    }


def finish(module: AnsibleModule, vault: Vault, request: BackupRequest) -> dict[str, Any]:
    """Publish the recovery point."""
    if module.check_mode:
        point = find(vault, request).point
        return {"changed": point is None, "recovery_point": point.as_dict() if point else None, "duration": 0.0}
    outcome = publish(vault, request)
    return {
        "changed": outcome.created,
        "recovery_point": outcome.point.as_dict(),
        "duration": outcome.point.durations.get("merge", 0.0) if outcome.created else 0.0,
    }


def remove(module: AnsibleModule, vault: Vault, request: BackupRequest) -> dict[str, Any]:
    """Remove the draft."""
    return {"changed": find(vault, request).draft if module.check_mode else discard(vault, request)}


STATES = {"present": prepare, "published": finish, "absent": remove}


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **vault_options(),
            **progress_options(),
            **transfer_options(),
            "state": {"type": "str", "choices": sorted(STATES), "default": "present"},
        },
        supports_check_mode=True,
    )
    with engine(module, "blake3", "zstandard"):
        request = request_of(module)
        result = STATES[module.params["state"]](module, open_vault(module), request)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
