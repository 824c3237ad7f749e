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
  - A disk is stored in full or as what differs from the newest recovery point, as the plan says. If that point turns
    out to be missing or damaged, the disk is stored in full and the reason is recorded.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.vault
  - ovm.backup.progress
  - ovm.backup.attributes
  - ovm.backup.attributes.vault_group
  - ovm.backup.attributes.shows_progress
options:
  plan:
    description:
      - The VM's entry in RV(ovm.backup.vm_info#module:plan.vms).
    type: dict
    required: true
  clone:
    description:
      - The hot clone to read from, RV(ovm.backup.vm_clone#module:clone). Needed for the method V(hot_clone), refused
        for any other.
    type: dict
  run_id:
    description:
      - Id of the backup run, as M(ovm.backup.job) returns it. A recovery point that this run has made already is
        returned unchanged.
    type: str
    required: true
  subclient:
    description:
      - Name of the subclient, for the record.
    type: str
  repositories_path:
    description:
      - Directory in which the host that runs the module sees the storage repositories, each under its id.
      - Falls back to E(OVM_REPOSITORIES_PATH).
    type: path
    default: /OVS/Repositories
  killed:
    description:
      - Whether the VM was switched off instead of shut down. Its disks then count as crash consistent.
    type: bool
    default: false
  compression_level:
    description:
      - Zstandard compression level, from 1 (fast) to 19 (small).
    type: int
    default: 1
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
    details: Once for each O(run_id). A new run makes a new recovery point.
seealso:
  - module: ovm.backup.vm_info
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
"""

RETURN = r"""
recovery_point:
  description:
    - The recovery point, in the form of RV(ovm.backup.recovery_point_info#module:recovery_points) but without
      RV(ovm.backup.recovery_point_info#module:recovery_points[].problem). In check mode V(null), unless this run has
      made it already.
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
from ansible.module_utils.common.parameters import env_fallback

from ..module_utils._module import engine, lock_owner, open_vault, vault_options
from ..module_utils._passed_on import check_clone, check_vm_plan
from ..module_utils._progress import progress_options, status_file
from ..module_utils.errors import InvalidInputError
from ..module_utils.transfer.point_backup import BackupRequest, backup_vm, check_request, existing_point
from ..module_utils.vault.jobs import vault_of_run


def request_of(module: AnsibleModule) -> BackupRequest:
    """Return what the options ask for."""
    parameters = module.params
    plan = parameters["plan"]
    if not 1 <= parameters["compression_level"] <= 19:
        raise InvalidInputError(f"compression_level must be from 1 to 19, not {parameters['compression_level']}")
    vault_of_run(parameters["run_id"])
    check_vm_plan(plan, configuration=True)
    if parameters["clone"] is not None:
        check_clone(parameters["clone"])
    configuration = plan["configuration"]
    vm_cfg = configuration["vm_cfg"]
    known = vm_cfg["repository_id"] is not None and vm_cfg["path"] is not None
    return BackupRequest(
        plan=plan,
        document=configuration["document"],
        vm_cfg=(vm_cfg["repository_id"], vm_cfg["path"]) if known else None,
        run_id=parameters["run_id"],
        subclient=parameters["subclient"],
        owner=lock_owner(module),
        repositories_path=parameters["repositories_path"],
        manager=configuration["manager"],
        clone=parameters["clone"],
        killed=parameters["killed"],
        compression_level=parameters["compression_level"],
        break_lock=parameters["break_lock"],
    )


def predict(module: AnsibleModule, request: BackupRequest) -> dict[str, Any]:
    """Return the result that a run outside check mode would have."""
    check_request(request, clone_to_come=True)
    done = existing_point(open_vault(module), request)
    return {
        "changed": done is None,
        "recovery_point": done.as_dict() if done is not None else None,
        "type": done.type if done is not None else request.plan["type"],
        "duration": 0.0,
        "notes": [],
    }


def transfer(module: AnsibleModule, request: BackupRequest) -> dict[str, Any]:
    """Make the recovery point."""
    path, vm = module.params["progress_file"], str(request.plan["vm_name"])
    with status_file(path, vm=vm, run_id=request.run_id) as status:
        outcome = backup_vm(open_vault(module), request, progress=status.phase("transfer"))
    return {
        "changed": outcome.created,
        "recovery_point": outcome.point.as_dict(),
        "type": outcome.point.type,
        "duration": outcome.point.durations["transfer"] if outcome.created else 0.0,
        "notes": list(outcome.notes),
    }


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **vault_options(),
            **progress_options(),
            "plan": {"type": "dict", "required": True},
            "clone": {"type": "dict"},
            "run_id": {"type": "str", "required": True},
            "subclient": {"type": "str"},
            "repositories_path": {
                "type": "path",
                "default": "/OVS/Repositories",
                "fallback": (env_fallback, ["OVM_REPOSITORIES_PATH"]),
            },
            "killed": {"type": "bool", "default": False},
            "compression_level": {"type": "int", "default": 1},
            "break_lock": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    with engine(module, "blake3", "zstandard"):
        request = request_of(module)
        result = predict(module, request) if module.check_mode else transfer(module, request)
        if module._diff:
            point = result["recovery_point"]
            after = {"recovery_point": point["id"] if point else "new", "type": result["type"]}
            result["diff"] = {"before": {} if result["changed"] else after, "after": after}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
