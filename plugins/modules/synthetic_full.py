#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: synthetic_full
short_description: Consolidate the newest recovery point of a client and what it builds on into a full one
description:
  - Makes a recovery point that holds the same disks as the newest one, and needs no other recovery point to be
    restored. Only the vault is read. Neither the manager nor a storage repository is asked, and the VM is not touched.
  - What the disks' files hold is copied as it is, without being compressed again, as far as that is possible. All data
    is checked against its hashes, and each disk as a whole against the recovery point that is consolidated.
  - Nothing is done when the newest recovery point is a full or a synthetic full already.
  - The recovery point is complete or does not exist. An interrupted run leaves nothing that counts.
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
  client:
    description:
      - Name of the client.
    type: str
    required: true
  run_id:
    description:
      - Id of the job that it belongs to, as M(ovm.backup.job) returns it. Without one it belongs to no job.
    type: str
  subclient:
    description:
      - Name of the subclient, for the record. By default that of the recovery point that is consolidated.
    type: str
  compression_level:
    description:
      - Zstandard compression level, from 1 (fast) to 19 (small), of what has to be compressed anew.
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
    details: Manifests and sizes of files are looked at in check mode, the data of the disks is not.
  diff_mode:
    support: full
  idempotent:
    support: full
notes:
  - The newest recovery point is the only one that is consolidated. If it, or one that it builds on, is damaged, the
    module fails. It never takes an older one instead.
  - The vault needs room for the new recovery point while those that it stands for are still there.
seealso:
  - module: ovm.backup.backup
  - module: ovm.backup.restore_image
  - module: ovm.backup.recovery_point_info
"""

EXAMPLES = r"""
- name: Make the newest recovery point of a client independent of all others
  ovm.backup.synthetic_full:
    vault: /srv/vault
    client: db01

- name: Do that for all clients of the vault, within a job
  ovm.backup.synthetic_full:
    vault: /srv/vault
    client: "{{ item.client }}"
    run_id: "{{ job.job.id }}"
    subclient: weekly
  loop: "{{ found.clients }}"
  loop_control:
    label: "{{ item.client }}"

- name: Compress more what has to be compressed anew
  ovm.backup.synthetic_full:
    vault: /srv/vault
    client: db01
    compression_level: 6
"""

RETURN = r"""
recovery_point:
  description:
    - The recovery point, in the form of RV(ovm.backup.recovery_point_info#module:recovery_points) but without
      RV(ovm.backup.recovery_point_info#module:recovery_points[].problem),
      RV(ovm.backup.recovery_point_info#module:recovery_points[].verification),
      RV(ovm.backup.recovery_point_info#module:recovery_points[].pinned),
      RV(ovm.backup.recovery_point_info#module:recovery_points[].pin_note) and
      RV(ovm.backup.recovery_point_info#module:recovery_points[].held). When nothing had to be done, the newest one.
      In check mode V(null) if there would be a new one.
  returned: success
  type: dict
type:
  description: The type of the recovery point, V(synthetic_full) or, when nothing had to be done, also V(full).
  returned: success
  type: str
  sample: synthetic_full
duration:
  description: Seconds that it took, 0 when nothing was done.
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

from ..module_utils._module import engine
from ..module_utils._progress import progress_options, status_file
from ..module_utils._vault import compression_level, lock_owner, open_vault, point_diff, point_result, vault_options
from ..module_utils.vault.synthetic_full import (
    SYNTHETIC_FULL,
    SyntheticRequest,
    foresee_synthetic_full,
    make_synthetic_full,
)


def request_of(module: AnsibleModule) -> SyntheticRequest:
    """Return what the options ask for."""
    parameters = module.params
    return SyntheticRequest(
        client=parameters["client"],
        owner=lock_owner(module),
        run_id=parameters["run_id"],
        subclient=parameters["subclient"],
        compression_level=compression_level(module),
        break_lock=parameters["break_lock"],
    )


def predict(module: AnsibleModule, request: SyntheticRequest) -> dict[str, Any]:
    """Return the result that a run outside check mode would have."""
    newest = foresee_synthetic_full(open_vault(module), request)
    if newest.is_full:
        return point_result(newest, newest.type, changed=False)
    return point_result(None, SYNTHETIC_FULL, changed=True)


def consolidate(module: AnsibleModule, request: SyntheticRequest) -> dict[str, Any]:
    """Make the recovery point, if there is anything to consolidate."""
    with status_file(module.params["progress_file"], vm=request.client, run_id=request.run_id) as status:
        outcome = make_synthetic_full(open_vault(module), request, progress=status.phase("consolidate"))
    return point_result(outcome.point, outcome.point.type, changed=outcome.created, notes=outcome.notes)


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **vault_options(),
            **progress_options(),
            "client": {"type": "str", "required": True},
            "run_id": {"type": "str"},
            "subclient": {"type": "str"},
            "compression_level": {"type": "int", "default": 1},
            "break_lock": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    with engine(module, "blake3", "zstandard"):
        request = request_of(module)
        result = predict(module, request) if module.check_mode else consolidate(module, request)
        if module._diff:
            result["diff"] = point_diff(result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
