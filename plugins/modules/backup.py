#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup
short_description: Transfer a VM into the vault as a recovery point
description:
  - Reads the disks of a VM from its hot clone, or from the VM itself when that is stopped, and stores them with the
    VM's configuration as a recovery point.
  - The recovery point is complete or does not exist. An interrupted transfer leaves nothing that counts.
  - What a first pass of this run has stored by M(ovm.backup.backup_draft) is only compared, and completed with what has
    changed since.
  - A disk is stored in full or as what differs from the newest recovery point, as the plan says. If that point turns
    out to be missing or damaged, the disk is stored in full and the reason is recorded.
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
  clone:
    description:
      - The hot clone to read from, RV(ovm.backup.vm_clone#module:clone). Needed for the method V(hot_clone), refused
        for any other.
    type: dict
  subclient:
    description:
      - Name of the subclient, for the record.
    type: str
  killed:
    description:
      - Whether the VM was switched off instead of shut down. Its disks then count as crash consistent.
    type: bool
    default: false
  publish:
    description:
      - Whether the recovery point is made to exist. With V(false) it stays a draft of this run, which
        M(ovm.backup.backup_draft) publishes once the VM runs again.
    type: bool
    default: true
  time_limit:
    description:
      - Seconds after which the transfer is given up, because the VM would be down for too long. Without it there is no
        limit.
      - It is looked at before each read of the disks.
    type: float
  sample:
    description:
      - Per cent of the data that extent maps call unchanged which is read all the same and compared with the vault, at
        random, in every incremental and differential; 16 blocks of 64 KiB at least. V(0) for none.
      - A difference fails the backup, and the next one is a full.
    type: float
    default: 0.01
  keep_reference:
    description:
      - Whether the clone may stay as the reference clone, with whose extent maps the next increment compares its own.
    type: bool
    default: true
  reference_space:
    description:
      - Per cent of a storage repository that have to be free for a reference clone to stay there.
    type: int
    default: 10
  break_lock:
    description:
      - Go on even if another run holds the client's lock. Make sure that this run is dead.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    details:
      - In check mode the disk images are not opened, and O(clone) may be V(null) as M(ovm.backup.vm_clone) returns it.
  diff_mode:
    support: full
  idempotent:
    support: partial
    details: A recovery point that the run O(run_id) has made already is returned unchanged. A new run makes a new one.
seealso:
  - module: ovm.backup.backup_draft
  - module: ovm.backup.plan_info
  - module: ovm.backup.vm_clone
  - module: ovm.backup.restore_image
"""

EXAMPLES = r"""
- name: Back up a VM from its hot clone
  ovm.backup.backup:
    vault: /srv/vault
    plan: "{{ night.plan.vms[0] }}"
    clone: "{{ clone.clone }}"
    run_id: "{{ job.job.id }}"

- name: Back up a VM that is switched off
  ovm.backup.backup:
    vault: /srv/vault
    plan: "{{ night.plan.vms[1] }}"
    run_id: "{{ job.job.id }}"

- name: Read the images from an NFS mount, and compress more
  ovm.backup.backup:
    vault: /srv/vault
    plan: "{{ night.plan.vms[1] }}"
    run_id: "{{ job.job.id }}"
    repositories_path: /mnt/repositories
    compression_level: 6

- name: Read the disks of a VM that is shut down, within five minutes, and publish the recovery point later
  ovm.backup.backup:
    vault: /srv/vault
    plan: "{{ night.plan.vms[2] }}"
    run_id: "{{ job.job.id }}"
    time_limit: 300
    publish: false
"""

RETURN = r"""
recovery_point:
  description:
    - The recovery point, in the form of RV(ovm.backup.recovery_point_info#module:recovery_points) but without
      RV(ovm.backup.recovery_point_info#module:recovery_points[].problem),
      RV(ovm.backup.recovery_point_info#module:recovery_points[].verification),
      RV(ovm.backup.recovery_point_info#module:recovery_points[].pinned),
      RV(ovm.backup.recovery_point_info#module:recovery_points[].pin_note) and
      RV(ovm.backup.recovery_point_info#module:recovery_points[].held). In check mode and without O(publish)
      V(null), unless this run has made it already.
  returned: success
  type: dict
type:
  description: The type of the recovery point, in check mode the planned one.
  returned: success
  type: str
  sample: incremental
duration:
  description: Seconds that the transfer took.
  returned: success
  type: float
keep_clone:
  description:
    - Whether the clone O(clone) has to stay on the manager as the reference of the next increment. V(false) in check
      mode and where there is no clone.
  returned: success
  type: bool
keep_reason:
  description: Why so.
  returned: success
  type: str
reference_obsolete:
  description: Whether an older reference clone of the VM is of no use any more.
  returned: success
  type: bool
notes:
  description: What an administrator should know, such as a lock that was taken over.
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

from ..module_utils._module import engine
from ..module_utils._progress import progress_options, status_file
from ..module_utils._transfer import request_of, transfer_options
from ..module_utils._vault import open_vault, point_diff, point_result, vault_options
from ..module_utils.transfer.deadline import Deadline
from ..module_utils.transfer.point_backup import backup_vm, existing_point
from ..module_utils.transfer.request import BackupRequest, check_request
from ..module_utils.vault.manifest import Point


def clone_result(point: Point | None) -> dict[str, Any]:
    """Return what becomes of clones."""
    keeping = (point.clone if point is not None else None) or {"keep": False, "reason": "", "obsolete": False}
    return {
        "keep_clone": keeping["keep"],
        "keep_reason": keeping["reason"],
        "reference_obsolete": keeping["obsolete"],
    }


def predict(module: AnsibleModule, request: BackupRequest) -> dict[str, Any]:
    """Return the result that a run outside check mode would have."""
    check_request(request, clone_to_come=True)
    done = existing_point(open_vault(module), request)
    result = point_result(done, done.type if done is not None else request.plan["type"], changed=done is None)
    return {**result, **clone_result(done)}


def transfer(module: AnsibleModule, request: BackupRequest, deadline: Deadline | None) -> dict[str, Any]:
    """Make the recovery point."""
    path, vm = module.params["progress_file"], str(request.plan["vm_name"])
    with status_file(path, vm=vm, run_id=request.run_id) as status:
        outcome = backup_vm(
            open_vault(module),
            request,
            publish=module.params["publish"],
            deadline=deadline,
            progress=status.phase("transfer"),
        )
    result = point_result(outcome.point, outcome.point.type, changed=outcome.created, notes=outcome.notes)
    result.update(clone_result(outcome.point))
    return result if outcome.published else {**result, "recovery_point": None}


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **vault_options(),
            **transfer_options(),
            **progress_options(),
            "clone": {"type": "dict"},
            "subclient": {"type": "str"},
            "killed": {"type": "bool", "default": False},
            "publish": {"type": "bool", "default": True},
            "time_limit": {"type": "float"},
            "sample": {"type": "float", "default": 0.01},
            "keep_reference": {"type": "bool", "default": True},
            "reference_space": {"type": "int", "default": 10},
            "break_lock": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    # From now on, not from when the disks are opened: the VM is down already.
    limit = module.params["time_limit"]
    deadline = Deadline(limit) if limit is not None else None
    with engine(module, "blake3", "zstandard"):
        request = request_of(module)
        result = predict(module, request) if module.check_mode else transfer(module, request, deadline)
        if module._diff:
            result["diff"] = point_diff(result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
