#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: point_copy
short_description: Copy recovery points to another vault
description:
  - Copies the recovery points that another vault lacks. What a recovery point builds on comes along, and older ones
    come first, so that everything in the other vault can be restored from there alone.
  - Each file is checked after it was written, before the recovery point is published. A recovery point is complete in
    the other vault or does not exist there.
  - What is there already is compared by its manifest and never written again. Another recovery point under the same id
    is an error.
  - An interrupted copy is gone on with. Disk files that are whole are checked and not sent again.
  - All modules work with the other vault as with any. Name it as O(vault) to restore from it, to verify it, or to let
    recovery points expire there.
  - A recovery point that cannot be copied ends nothing. In the end the task fails and names every one. A recovery point
    that is known to be damaged before is left out with a warning.
  - Pins, results of verifications and of boot tests stay where they are. Each vault has its own.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.vault
  - ovm.backup.vault.target
  - ovm.backup.progress
  - ovm.backup.attributes
  - ovm.backup.attributes.vault_group
  - ovm.backup.attributes.shows_progress
options:
  clients:
    description:
      - Names of the clients. All clients of the vault by default.
    type: list
    elements: str
  subclient:
    description:
      - Only recovery points that runs of this subclient made, and what they build on.
    type: str
  points:
    description:
      - Which recovery points of a client are copied, V(all), the V(newest), or only V(fulls), which are full and
        synthetic full ones.
    type: str
    choices: [all, newest, fulls]
    default: all
  count:
    description:
      - How many of the newest ones. For O(points=newest), which are 1 without it, and for O(points=fulls).
    type: int
  newer_than:
    description:
      - Only recovery points whose data is at most so old. A whole number of seconds, or a number with a unit, as
        V(90m), V(24h), V(30d) or V(2w).
    type: raw
  policy:
    description:
      - What M(ovm.backup.retention) keeps in the other vault, in the form of
        O(ovm.backup.retention#module:policy). What it would not keep is not copied, or it would come back with every
        copy.
    type: dict
  timezone:
    description:
      - Time zone of the days, weeks, months and years of O(policy), as V(Europe/Vienna).
    type: str
    default: UTC
  verify:
    description:
      - How a disk file is checked after it was written.
      - V(full) reads it back from the other vault and compares all of its data with the hashes that were recorded when
        it was backed up.
      - V(header) reads only the tables of the file. Damage of the data shows when the recovery point is verified or
        restored.
    type: str
    choices: [full, header]
    default: full
attributes:
  check_mode:
    support: full
    details: Returns what would be copied, with the status V(due) and the bytes. The disk files are not read.
  diff_mode:
    support: none
  idempotent:
    support: full
notes:
  - Nothing in either vault keeps retention in the other one from removing a recovery point, whether it was copied or
    not.
  - The vault is only read, without a lock. A recovery point that is removed from it meanwhile is no error.
seealso:
  - module: ovm.backup.retention
  - module: ovm.backup.verify
  - module: ovm.backup.vault
"""

EXAMPLES = r"""
- name: Copy all that another vault lacks
  ovm.backup.point_copy:
    vault: /srv/vault
    target_vault: /mnt/other_site/vault

- name: Copy the newest full of two clients
  ovm.backup.point_copy:
    vault: /srv/vault
    target_vault: /mnt/other_site/vault
    clients: [db01, db02]
    points: fulls
    count: 1

- name: Copy what the other site keeps, of what a subclient made
  ovm.backup.point_copy:
    vault: /srv/vault
    target_vault: /mnt/other_site/vault
    subclient: databases
    policy:
      keep_weekly: 8
      keep_monthly: 24
    timezone: Europe/Vienna

- name: Say how far the other vault is behind
  ovm.backup.point_copy:
    vault: /srv/vault
    target_vault: /mnt/other_site/vault
  check_mode: true
  register: behind
"""

RETURN = r"""
clients:
  description: The clients of which anything is chosen. Also returned when the task fails in the end.
  returned: success
  type: list
  elements: dict
  contains:
    client:
      description: Name of the client.
      type: str
      returned: always
    vm_name:
      description: Name of its VM when it was last backed up, V(null) if that cannot be read.
      type: str
      returned: always
    points:
      description: The recovery points that the other vault lacked, from old to new.
      type: list
      elements: dict
      returned: always
      contains:
        point:
          description: Id of the recovery point, the same in both vaults.
          type: str
          returned: always
          sample: 20261123T010203Z-0001
        type:
          description: Its type.
          type: str
          returned: always
        created:
          description: How old its data is, in seconds since the epoch.
          type: float
          returned: always
        why:
          description: Why it is copied.
          type: str
          returned: always
        status:
          description:
            - V(copied); V(failed) if it cannot be copied; V(gone) if it was removed from the vault meanwhile; V(due) in
              check mode, or if an error of its client came first.
          type: str
          returned: always
        bytes:
          description: Bytes of its disk files.
          type: int
          returned: always
        sent:
          description: Bytes of disk files that were written, or would be without check mode.
          type: int
          returned: always
        reused:
          description: Bytes of disk files that an interrupted copy had written before.
          type: int
          returned: always
        error:
          description: Why it cannot be copied.
          type: str
          returned: always
    left_out:
      description: The recovery points that are not copied, from old to new.
      type: list
      elements: dict
      returned: always
      contains:
        point:
          description: Id of the recovery point.
          type: str
          returned: always
        kind:
          description:
            - V(not_chosen) if the options leave it out; V(bad) if it is known not to be in order; V(conflict) if what
              the other vault has is in the way, which makes the task fail.
          type: str
          returned: always
        reason:
          description: The reason in words.
          type: str
          returned: always
    present:
      description: Number of recovery points in the other vault that can be read, with those that were copied.
      type: int
      returned: always
    sent:
      description: Bytes of disk files that were written, or would be without check mode.
      type: int
      returned: always
    lag:
      description: By how much the other vault is behind after the task, or in check mode before it.
      type: dict
      returned: always
      contains:
        points:
          description: Number of recovery points that are chosen and missing there.
          type: int
          returned: always
        bytes:
          description: Bytes of disk files that have to be written for those that can be copied.
          type: int
          returned: always
        seconds:
          description:
            - Seconds between the newest recovery point of the vault and the newest of the other vault, V(null) if one
              of them has none.
          type: float
          returned: always
    notes:
      description: What an administrator should know, such as what an interrupted run had left.
      type: list
      elements: str
      returned: always
    failed:
      description: Why the work on this client ended before all was tried, V(null) if it did not.
      type: str
      returned: always
sent:
  description: Bytes of disk files that were written for all clients, or would be without check mode.
  returned: success
  type: int
lag:
  description: The sums of RV(clients[].lag), with the longest time.
  returned: success
  type: dict
  contains:
    points:
      description: Number of recovery points that are chosen and missing in the other vault.
      type: int
      returned: always
    bytes:
      description: Bytes of disk files that have to be written for those that can be copied.
      type: int
      returned: always
    seconds:
      description: The longest of all clients, V(null) if none is known.
      type: float
      returned: always
summary:
  description: The same for people, as lines of text. Also returned when the task fails in the end.
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
from ..module_utils._progress import progress_options, status_file
from ..module_utils._vault import lock_owner, open_target_vault, open_vault, target_vault_options, vault_options
from ..module_utils.errors import PointNotFoundError
from ..module_utils.planning.retention_reading import checked_policy, checked_time_zone
from ..module_utils.vault.copy_files import FULL, HEADER
from ..module_utils.vault.copy_plan import ALL, BAD, FULLS, NEWEST, Wishes
from ..module_utils.vault.copy_result import COPIED, DUE, ClientCopy, total_lag
from ..module_utils.vault.copy_summary import complaint, copy_summary
from ..module_utils.vault.copying import Copier, CopyRequest
from ..module_utils.vault.jobs import new_job_id
from ..module_utils.vault.retention import RetentionPolicy
from ..module_utils.vault.selection import named_clients


def wishes_of(module: AnsibleModule) -> Wishes:
    """Return what the options choose."""
    given = module.params
    return Wishes(
        points=given["points"],
        count=given["count"],
        newer_than=None if given["newer_than"] is None else duration_option(module, "newer_than"),
        subclient=given["subclient"],
        policy=RetentionPolicy() if given["policy"] is None else checked_policy(given["policy"]),
        zone=checked_time_zone(given["timezone"]),
    )


def copy(module: AnsibleModule, wishes: Wishes) -> list[ClientCopy]:
    """Copy the clients that the options name, and return those that the wishes concern."""
    given = module.params
    source, target = open_vault(module), open_target_vault(module)
    names = given["clients"]
    clients = source.clients() if names is None else named_clients(source, names)
    request = CopyRequest(wishes, lock_owner(module), new_job_id(target.id, time.time()), given["verify"])
    with status_file(given["progress_file"], vm=given["subclient"] or "vault") as status:
        copier = Copier(
            source,
            target,
            request,
            check=module.check_mode,
            copying=status.phase("copy"),
            checking=status.phase("check"),
        )
        done = [one for one in (copier.run(client.name) for client in clients) if one.concerned]
    if wishes.subclient is not None and not done:
        raise PointNotFoundError(
            f"The vault {source.path} has no recovery point that a run of subclient {wishes.subclient!r} made",
            subclient=wishes.subclient,
        )
    return done


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **vault_options(),
            **progress_options(),
            **target_vault_options(),
            "clients": {"type": "list", "elements": "str"},
            "subclient": {"type": "str"},
            "points": {"type": "str", "choices": [ALL, NEWEST, FULLS], "default": ALL},
            "count": {"type": "int"},
            "newer_than": {"type": "raw"},
            "policy": {"type": "dict"},
            "timezone": {"type": "str", "default": "UTC"},
            "verify": {"type": "str", "choices": [FULL, HEADER], "default": FULL},
        },
        supports_check_mode=True,
    )
    with engine(module, "blake3", "zstandard"):
        done = copy(module, wishes_of(module))
        result: dict[str, Any] = {
            "changed": any(
                one.status == (DUE if module.check_mode else COPIED) for item in done for one in item.points
            ),
            "clients": [item.as_dict() for item in done],
            "sent": sum(one.sent for item in done for one in item.points),
            "lag": total_lag(done),
            "summary": copy_summary(done),
        }
        for item in done:
            for one in item.left_out:
                if one.kind == BAD:
                    module.warn(f"Client {item.client}: recovery point {one.id} is not copied: {one.reason}")
        error = complaint(done)
        if error is not None:
            module.fail_json(msg=error.message, failure=error.as_failure(), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
