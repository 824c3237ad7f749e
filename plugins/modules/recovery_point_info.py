#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: recovery_point_info
short_description: List the recovery points of a vault
description:
  - Returns the clients of a vault and their recovery points. Only manifests are read, the disk data is not checked;
    M(ovm.backup.verify) does that.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.vault
  - ovm.backup.attributes
  - ovm.backup.attributes.read_only
  - ovm.backup.attributes.vault_group
options:
  client:
    description:
      - Names of clients, or patterns with V(*), V(?), V([a-m]) and V([!a-m]) as in content rules, without regard to
        case. Each has to stand for a client at least. All clients by default.
    type: list
    elements: str
  point:
    description:
      - Id of a recovery point, or V(latest) for the one that a restore takes, the newest against which nothing is
        known. It needs exactly one name in O(client). All recovery points by default.
    type: str
  before:
    description:
      - Only recovery points that were created at this time or before it. With O(point=latest) the newest of them.
      - A time in ISO 8601 form, as V(2026-11-23T01:02:03Z), V(2026-11-23T02:02+01:00) or V(2026-11-23), the begin of
        that day. Without an offset it is UTC.
    type: str
  after:
    description: Only recovery points that were created at this time or after it, in the form of O(before).
    type: str
  types:
    description: Only recovery points of these types.
    type: list
    elements: str
    choices: [full, incremental, differential, synthetic_full]
  verification:
    description:
      - Only recovery points whose latest verification by M(ovm.backup.verify) was V(good) or V(bad), or that were
        V(never) verified.
    type: list
    elements: str
    choices: [good, bad, never]
  pinned:
    description: Only recovery points that are pinned, or with V(false) only those that are not.
    type: bool
  complete:
    description:
      - Only recovery points that can be restored as far as is known, those without a
        RV(recovery_points[].problem). With V(false) only the others.
    type: bool
seealso:
  - module: ovm.backup.recovery_point
  - module: ovm.backup.restore_image
  - module: ovm.backup.verify
"""

EXAMPLES = r"""
- name: List everything
  ovm.backup.recovery_point_info:
    vault: /srv/vault

- name: List the recovery points of a client
  ovm.backup.recovery_point_info:
    vault: /srv/vault
    client: db01
  register: db01

- name: List what some clients got in a week and was never verified
  ovm.backup.recovery_point_info:
    vault: /srv/vault
    client: ["db*", "app_0[1-3]"]
    after: 2026-11-16
    before: 2026-11-22T23:59:59Z
    verification: [never]

- name: Find the fulls that can be restored and are not pinned
  ovm.backup.recovery_point_info:
    vault: /srv/vault
    types: [full, synthetic_full]
    complete: true
    pinned: false

- name: Look at the newest one
  ovm.backup.recovery_point_info:
    vault: /srv/vault
    client: db01
    point: latest
"""

RETURN = r"""
clients:
  description:
    - The clients that are wanted, by name, also those none of whose recovery points is. Each has its name (C(client)),
      the id of its VM on the manager (C(vm_id)) and the name of that when it was last backed up (C(vm_name)).
    - C(registered) is when the vault got the client, in seconds since the epoch. C(names) are the names that the VM
      has had, from old to new, each with its C(name) and C(since) when a backup first met it.
  returned: success
  type: list
  elements: dict
recovery_points:
  description: The recovery points that are wanted, by client and from old to new.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Id of the recovery point.
      type: str
      returned: always
      sample: 20261123T010203Z-0001
    client:
      description: Name of the client.
      type: str
      returned: always
    sequence:
      description: Number that orders the recovery points of a client, whatever the clocks say.
      type: int
      returned: always
    vm_id:
      description: Id of the VM on the manager.
      type: str
      returned: always
    vm_name:
      description: Name of the VM.
      type: str
      returned: always
    run_id:
      description: Id of the backup run.
      type: str
      returned: always
    job_id:
      description: Id of the job, V(null) if there is none.
      type: str
      returned: always
    subclient:
      description: Name of the subclient, V(null) if the backup was made without one.
      type: str
      returned: always
    manager:
      description: The manager of the VM, by C(id) and C(version).
      type: dict
      returned: always
    type:
      description: V(full), V(incremental), V(differential) or V(synthetic_full).
      type: str
      returned: always
    requested_type:
      description: The type that was asked for.
      type: str
      returned: always
    reason:
      description: Why it has this type.
      type: str
      returned: always
    method:
      description: V(hot_clone), V(shutdown) or V(cold).
      type: str
      returned: always
    consistency:
      description: V(crash_consistent), V(clean_shutdown) or V(powered_off).
      type: str
      returned: always
    created:
      description:
        - When the transfer began, in seconds since the epoch. It tells the age of the data, so a synthetic full has
          that of the recovery point that it consolidates.
      type: float
      returned: always
    completed:
      description: When it ended.
      type: float
      returned: always
    parent:
      description: The recovery point before it, V(null) if there was none.
      type: str
      returned: always
    disks:
      description:
        - Its disks, each with its C(slot), its id (C(disk_id)) and its C(name) on the manager, and its C(size).
        - C(type) is V(full), V(incremental), V(differential) or V(synthetic_full), C(reason) why, and C(base) the
          recovery point that the disk builds on, V(null) for a full one.
        - C(file) is the name of its file in the folder of the recovery point, C(file_size) the size of that,
          C(header_hash) the hash of its header. C(content_hash) is the hash of the whole disk as of this recovery
          point.
        - C(repository) is the name of the storage repository from which it was read, V(null) if that is not known.
        - C(statistics) say how many bytes were C(read), C(changed) and C(stored), and for a synthetic full how many
          frames were copied as they are (C(frames_copied)) and how many were compressed anew (C(frames_repacked)).
        - C(image) is what it was read from, by C(repository_id) and C(path). C(clone_id) is the hot clone that it
          belongs to, if that was kept as reference clone, else V(null). C(identity) tells that file from all others,
          V(null) where extent maps cannot be used.
        - C(changes) say how it was found what to store, C(method), V(all), V(extent_maps) or V(hash), and the
          C(reason). With V(extent_maps), C(candidate) are the bytes that the maps called changed, C(sampled) those
          that were read to prove the others unchanged. V(null) for a synthetic full.
        - All sizes are bytes.
      type: list
      elements: dict
      returned: always
    skipped_disks:
      description: The disks that were not backed up.
      type: list
      elements: dict
      returned: always
      contains:
        slot:
          description: Slot of the disk.
          type: int
          returned: always
        name:
          description: Name of the disk.
          type: str
          returned: always
        kind:
          description: Kind of the disk.
          type: str
          returned: always
          sample: physical
        reason:
          description: Why it was not backed up.
          type: str
          returned: always
    configuration:
      description:
        - The files with the VM's configuration, C(vm_json) with what the manager knows and, if it could be read,
          C(vm_cfg). Each has a name, a size in bytes and a hash.
      type: dict
      returned: always
    durations:
      description:
        - Seconds that the steps took, C(transfer) all together. Where the disks were read in two passes, also
          C(first_pass), C(second_pass) (in the outage) and C(merge).
      type: dict
      returned: always
    versions:
      description: What made it, by the versions of C(collection), C(python), C(zstandard) and C(blake3).
      type: dict
      returned: always
    warnings:
      description: What an administrator should know about it.
      type: list
      elements: str
      returned: always
    consolidates:
      description: The recovery point that a synthetic full was made from, V(null) for all others.
      type: str
      returned: always
    clone:
      description:
        - Whether the hot clone stays as reference clone (C(keep)), the C(reason), and whether older ones are of no use
          any more (C(obsolete)).
      type: dict
      returned: always
    problem:
      description: Why it cannot be restored, as far as manifests, file sizes and verifications tell, else V(null).
      type: str
      returned: always
    pinned:
      description: Whether M(ovm.backup.retention) has to keep it.
      type: bool
      returned: always
    pin_note:
      description: Why it is pinned, V(null) if it is not.
      type: str
      returned: always
    held:
      description: How object lock or a legal hold of a bucket keeps it from being removed, V(null) if nothing does.
      type: str
      returned: always
      sample: under object lock until 2026-12-24 01:02:03 UTC
    verification:
      description: The result of the latest verification by M(ovm.backup.verify), V(null) if there is none.
      type: dict
      returned: always
      contains:
        verified_at:
          description: When it ended, in seconds since the epoch.
          type: float
          returned: always
        ok:
          description: Whether everything is as it was written.
          type: bool
          returned: always
        problems:
          description: What is not, in the form of RV(ovm.backup.verify#module:bad[].problems).
          type: list
          elements: dict
          returned: always
        bytes_read:
          description: Bytes of disk files that were read for it and for no other recovery point before.
          type: int
          returned: always
        duration:
          description: Seconds that it took.
          type: float
          returned: always
        versions:
          description: What made it, by the versions of C(collection), C(python), C(zstandard) and C(blake3).
          type: dict
          returned: always
        run_id:
          description: Id of the verification run.
          type: str
          returned: always
damaged:
  description:
    - Recovery points of the clients whose manifest cannot be read. What they are is not known, so O(before), O(after),
      O(types), O(verification), O(pinned) and O(complete) leave none of them out.
  returned: success
  type: list
  elements: dict
  contains:
    client:
      description: Name of the client.
      type: str
      returned: always
    id:
      description: Id of the recovery point.
      type: str
      returned: always
    problem:
      description: What is wrong with it.
      type: str
      returned: always
summary:
  description: Clients and recovery points as lines of text, those of each client from new to old.
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
from ..module_utils._point import chosen_point
from ..module_utils._vault import open_vault, vault_options
from ..module_utils.errors import InvalidInputError
from ..module_utils.planning.catalogue import TYPES, VERIFICATIONS, PointFilter, choose_clients
from ..module_utils.planning.catalogue_text import catalogue_summary
from ..module_utils.vault.description import describe_client, describe_point, describe_points

FILTERS = {
    "after": {"type": "str"},
    "types": {"type": "list", "elements": "str", "choices": list(TYPES)},
    "verification": {"type": "list", "elements": "str", "choices": list(VERIFICATIONS)},
    "pinned": {"type": "bool"},
    "complete": {"type": "bool"},
}


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **vault_options(),
            "client": {"type": "list", "elements": "str"},
            "point": {"type": "str"},
            "before": {"type": "str"},
            **FILTERS,
        },
        mutually_exclusive=[("point", name) for name in FILTERS],
        required_by={"point": ("client",)},
        supports_check_mode=True,
    )
    parameters = module.params
    result: dict[str, Any] = {"changed": False, "clients": [], "recovery_points": [], "damaged": []}
    with engine(module, "blake3"):
        wanted = PointFilter.read(parameters)
        clients = choose_clients(open_vault(module), parameters["client"])
        result["clients"] = [describe_client(client) for client in clients]
        if parameters["point"] is not None:
            if len(clients) != 1:
                raise InvalidInputError("point is for one client: name that one in client", option="point")
            result["recovery_points"] = [describe_point(clients[0], chosen_point(module, clients[0]))]
        for client in clients if parameters["point"] is None else ():
            points, damaged = client.scan()
            result["recovery_points"] += describe_points(client, points, wanted.accepts)
            result["damaged"] += [{"client": client.name, "id": bad.id, "problem": bad.error} for bad in damaged]
        result["summary"] = catalogue_summary(result, all_points=wanted == PointFilter())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
