#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: retention
short_description: Remove the recovery points that a policy does not keep
description:
  - Decides on each recovery point of clients whether it is kept, and removes the others. Each decision comes with its
    reasons. A recovery point that any rule keeps stays.
  - Chains are never broken. What a kept recovery point needs is kept, too. The newest recovery point that is known to
    be good, pinned ones, and those that seem to lie in the future always stay.
  - A recovery point that is known to be damaged does not count. It stays as long as it would if it were good. Where a
    manifest cannot be read, that recovery point and all older ones of the client stay. A client without any good
    recovery point loses none.
  - A recovery point whose content a later synthetic full consolidates is removed, unless it is pinned or needed.
  - A client on which another run works is skipped with a warning.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.vault
  - ovm.backup.attributes
  - ovm.backup.attributes.vault_group
options:
  policy:
    description:
      - What is kept. At least one rule must be set, each at least 1.
      - Of recovery points with the same age the one that was made last counts as the newest.
    type: dict
    required: true
    suboptions:
      keep_last:
        description:
          - Keep so many of the newest recovery points.
        type: int
      keep_days:
        description:
          - Keep recovery points that are younger than so many times 24 hours.
        type: int
      keep_daily:
        description:
          - Keep the newest recovery point of each of the last so many days that have one.
        type: int
      keep_weekly:
        description:
          - Keep the newest recovery point of each of the last so many weeks that have one. Weeks are those of ISO 8601,
            from Monday to Sunday.
        type: int
      keep_monthly:
        description:
          - Keep the newest recovery point of each of the last so many months that have one.
        type: int
      keep_yearly:
        description:
          - Keep the newest recovery point of each of the last so many years that have one.
        type: int
  clients:
    description:
      - Names of the clients. By default all of O(subclient), or all of the vault.
    type: list
    elements: str
  subclient:
    description:
      - Name of a subclient. Only clients whose newest recovery point was made by it are looked at; another one in
        O(clients) is an error.
    type: str
  timezone:
    description:
      - Time zone of days, weeks, months and years, as V(Europe/Vienna).
    type: str
    default: UTC
attributes:
  check_mode:
    support: full
    details: Check mode is the dry run. It returns the same, and removes nothing.
  diff_mode:
    support: full
    details: Shows the recovery points of each client from which any is removed.
  idempotent:
    support: full
    details: As time passes, more recovery points expire.
seealso:
  - module: ovm.backup.recovery_point
  - module: ovm.backup.recovery_point_info
"""

EXAMPLES = r"""
- name: Show what two weeks of daily recovery points would leave of all clients
  ovm.backup.retention:
    vault: /srv/vault
    policy:
      keep_daily: 14
  check_mode: true
  register: dry_run

- name: Remove what expires of the clients of a subclient
  ovm.backup.retention:
    vault: /srv/vault
    subclient: databases
    policy:
      keep_last: 3
      keep_daily: 7
      keep_weekly: 4
      keep_monthly: 12
    timezone: Europe/Vienna

- name: Make space by one client
  ovm.backup.retention:
    vault: /srv/vault
    clients: [db01]
    policy:
      keep_last: 1
"""

RETURN = r"""
clients:
  description: The clients, by name.
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
    kept:
      description: The recovery points that stay, from old to new.
      type: list
      elements: dict
      returned: always
      contains:
        id:
          description: Id of the recovery point.
          type: str
          returned: always
          sample: 20261123T010203Z-0001
        type:
          description: Its type, V(null) if its manifest cannot be read.
          type: str
          returned: always
        created:
          description: How old its data is, in seconds since the epoch, V(null) if its manifest cannot be read.
          type: float
          returned: always
        stored:
          description: Bytes that its disk files take.
          type: int
          returned: always
        pinned:
          description: Whether it is pinned.
          type: bool
          returned: always
        problem:
          description: Why it cannot be restored, V(null) if nothing is known.
          type: str
          returned: always
        reasons:
          description: Why it is kept, or why it expires.
          type: list
          elements: str
          returned: always
          sample: ["daily for 2026-11-25 (the newest of that day)", "needed by 20261126T010203Z-0004"]
    expired:
      description:
        - The recovery points that were removed, or would be without check mode, from old to new. In the form of
          RV(ovm.backup.retention#module:clients[].kept).
      type: list
      elements: dict
      returned: always
    freed:
      description: Bytes that their disk files took.
      type: int
      returned: always
    warnings:
      description: What an administrator should know, such as damaged recovery points.
      type: list
      elements: str
      returned: always
    skipped:
      description: Why not all was removed that expires, V(null) if no other run was in the way.
      type: str
      returned: always
    failed:
      description: What went wrong with this client, V(null) if nothing did. Then the module fails at its end.
      type: str
      returned: always
freed:
  description: Bytes that the disk files of all removed recovery points took.
  returned: success
  type: int
summary:
  description: The same for people, as lines of text.
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

from ..module_utils._module import engine
from ..module_utils._vault import lock_owner, open_vault, vault_options
from ..module_utils.errors import InvalidInputError
from ..module_utils.planning.retention_reading import RULES, checked_policy, checked_time_zone
from ..module_utils.vault.expiry import Expiration, Expiry, belongs_to
from ..module_utils.vault.jobs import new_job_id
from ..module_utils.vault.points import Client, Vault
from ..module_utils.vault.retention_summary import retention_summary


def chosen_clients(vault: Vault, names: list[str] | None, subclient: str | None) -> list[Client]:
    """Return the clients that the options select."""
    clients = vault.clients() if names is None else [vault.client(name) for name in sorted(set(names))]
    if subclient is None:
        return clients
    for client in clients if names is not None else ():
        if not belongs_to(client, subclient):
            raise InvalidInputError(
                f"The newest recovery point of client {client.name} was not made by subclient {subclient!r}",
                client=client.name,
            )
    return [client for client in clients if belongs_to(client, subclient)]


def difference(done: list[Expiry]) -> dict[str, Any]:
    """Return the recovery points before and after, of the clients that lose any."""
    changed = [one for one in done if one.expired]
    after = {one.client: sorted(item.point.id for item in one.kept) for one in changed}
    gone = {one.client: [item.point.id for item in one.expired] for one in changed}
    return {"before": {name: sorted(after[name] + gone[name]) for name in after}, "after": after}


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **vault_options(),
            "policy": {"type": "dict", "required": True, "options": {rule: {"type": "int"} for rule in RULES}},
            "clients": {"type": "list", "elements": "str"},
            "subclient": {"type": "str"},
            "timezone": {"type": "str", "default": "UTC"},
        },
        supports_check_mode=True,
    )
    parameters, now = module.params, time.time()
    with engine(module, "blake3"):
        policy, zone = checked_policy(parameters["policy"]), checked_time_zone(parameters["timezone"])
        vault = open_vault(module)
        expiration = Expiration(policy, now, zone, lock_owner(module), new_job_id(vault.id, now))
        clients = chosen_clients(vault, parameters["clients"], parameters["subclient"])
        done = [expiration.run(client, dry_run=module.check_mode) for client in clients]
    described = [one.as_dict() for one in done]
    result: dict[str, Any] = {
        "changed": any(one.expired for one in done),
        "clients": described,
        "freed": sum(one.freed for one in done),
        "summary": retention_summary(described, zone=zone, dry_run=module.check_mode),
    }
    if module._diff:
        result["diff"] = difference(done)
    for one in done:
        for text in [*one.warnings, *([f"not all that expires was removed: {one.skipped}"] if one.skipped else [])]:
            module.warn(f"Client {one.client}: {text}")
    failed = [f"{one.client}: {one.failed}" for one in done if one.failed]
    if failed:
        module.fail_json(
            msg=f"Retention failed for clients: {'; '.join(failed)}", failure={"kind": "VaultError"}, **result
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
