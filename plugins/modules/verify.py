#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: verify
short_description: Verify recovery points
description:
  - Reads recovery points from end to end and compares everything with the hashes that were recorded when they were
    made. This covers every block of every disk file that a recovery point needs, the frames of zeros that only a plain
    C(zstd -dc) reads, the tables, the content of each disk as a whole, and the files with the VM's configuration.
  - A file that several recovery points need is read once in a call. To verify a whole chain costs about as much as to
    read its files.
  - The result is stored with each recovery point, in place of the one before. A disk that is found bad is not built
    upon any more, its next backup is a full. A later good result clears it.
  - Damage ends nothing. All recovery points that are due are verified, and all that need a file in which damage was
    found, due or not. In the end the task fails and names every bad one.
  - A missing, old or changed C(restore.py) of the vault is a warning. M(ovm.backup.vault) writes it anew.
  - No lock is taken. Backups go on meanwhile, and a recovery point that is removed meanwhile is no error.
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
  clients:
    description:
      - Names of the clients. All clients of the vault by default.
    type: list
    elements: str
  point:
    description:
      - Id of a recovery point, or V(latest). It needs exactly one client in O(clients), and is verified whenever it was
        verified last.
    type: str
  subclient:
    description:
      - Only recovery points that runs of this subclient made.
    type: str
  definition:
    description:
      - The definition of O(subclient). Its key C(verify) gives O(max_age) and O(share) where they are not set.
    type: dict
  max_age:
    description:
      - A recovery point is due when it was never verified, or when its latest verification is at least so old. A whole
        number of seconds, or a number with a unit, as V(90m), V(24h), V(30d) or V(2w).
      - Without it, all recovery points are due.
    type: raw
  share:
    description:
      - Percentage of the recovery points that are verified in one call at most, from V(1) to V(100), rounded up. Those
        that were never verified come first, then those whose verification is oldest, so that after 100 / share calls
        all have had their turn.
      - Recovery points that were found bad are verified in addition.
    type: raw
  fail_on_bad:
    description:
      - Whether the task fails, after everything was verified, if a recovery point is bad.
      - A recovery point that could not be verified at all, for example for want of permissions, makes the task fail in
        any case, and so does a result that cannot be stored.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    details: Returns the recovery points that are due, with the status V(due). The disk files are not read.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - The task is changed when it stored a result. With O(max_age) a second call within that time finds nothing due
        and changes nothing, but for recovery points that are bad.
      - Without O(max_age) each call verifies again, and is changed.
seealso:
  - module: ovm.backup.recovery_point_info
  - module: ovm.backup.restore_image
"""

EXAMPLES = r"""
- name: Verify everything that was not verified for 30 days, a tenth of all at most
  ovm.backup.verify:
    vault: /srv/vault
    max_age: 30d
    share: 10

- name: Verify all recovery points of a client
  ovm.backup.verify:
    vault: /srv/vault
    clients: [db01]

- name: Verify the newest recovery point of a client
  ovm.backup.verify:
    vault: /srv/vault
    clients: [db01]
    point: latest

- name: Verify what a subclient has made, and go on when something is bad
  ovm.backup.verify:
    vault: /srv/vault
    subclient: databases
    definition: "{{ ovm_backup_subclients.databases }}"
    fail_on_bad: false
  register: verified
"""

RETURN = r"""
points:
  description:
    - The recovery points that were verified, in check mode those that are due. Also returned when the task fails for
      bad ones.
  returned: success
  type: list
  elements: dict
  contains:
    client:
      description: Name of the client.
      type: str
      returned: always
    vm_id:
      description: Id of the VM on the manager.
      type: str
      returned: always
    vm_name:
      description: Name of the VM.
      type: str
      returned: always
    point:
      description: Id of the recovery point.
      type: str
      returned: always
    type:
      description: Type of the recovery point.
      type: str
      returned: always
    created:
      description: When its transfer began, in seconds since the epoch.
      type: float
      returned: always
    why:
      description: Why it is due.
      type: str
      returned: always
    status:
      description:
        - V(good) or V(bad); V(gone) if it was removed meanwhile; V(unknown) if it could not be verified; V(due) in
          check mode.
      type: str
      returned: always
    verification:
      description:
        - The result, in the form of RV(ovm.backup.recovery_point_info#module:recovery_points[].verification), V(null)
          if there is none.
      type: dict
      returned: always
    error:
      description: Why it could not be verified, or its result could not be stored.
      type: str
      returned: always
bad:
  description: Those of RV(points) that are bad. Also returned when the task fails for them.
  returned: success
  type: list
  elements: dict
  contains:
    client:
      description: Name of the client.
      type: str
      returned: always
    vm_name:
      description: Name of the VM.
      type: str
      returned: always
    point:
      description: Id of the recovery point.
      type: str
      returned: always
    problems:
      description:
        - What is wrong.
      type: list
      elements: dict
      returned: always
      contains:
        point:
          description:
            - The recovery point that the file belongs to, this one or one that it builds on. V(null) if no file is to
              blame.
          type: str
          returned: always
        file:
          description: Name of the file, V(null) if no file is to blame.
          type: str
          returned: always
        offset:
          description: Place in the file, in bytes, V(null) if the file is missing.
          type: int
          returned: always
        message:
          description: What is wrong, with the path of the file.
          type: str
          returned: always
unreadable:
  description:
    - What is bad and cannot even be verified, recovery points with a damaged manifest and clients whose C(client.json)
      is damaged. Also returned when the task fails for them.
  returned: success
  type: list
  elements: dict
  contains:
    client:
      description: Name of the client.
      type: str
      returned: always
    vm_name:
      description: Name of the VM, as far as it is known.
      type: str
      returned: always
    point:
      description: Id of the recovery point, V(null) if it is the client.
      type: str
      returned: always
    problem:
      description: What is wrong.
      type: str
      returned: always
total:
  description: Number of recovery points among which those that are due were chosen.
  returned: success
  type: int
bytes_read:
  description: Bytes of disk files that were read.
  returned: success
  type: int
summary:
  description: The result for people, one line for each problem. Also returned when the task fails for bad ones.
  returned: success
  type: list
  elements: str
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
"""

import functools
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._module import engine
from ..module_utils._progress import progress_options, status_file
from ..module_utils._vault import open_vault, vault_options
from ..module_utils.planning.subclient import Subclient
from ..module_utils.planning.verify_reading import VerifySettings, checked_verify
from ..module_utils.vault.carried_script import due_scripts
from ..module_utils.vault.verification_run import DUE, Outcome, survey, verify_targets
from ..module_utils.vault.verification_summary import bad_list, complaint, verification_summary


def settings_of(parameters: dict[str, Any]) -> VerifySettings:
    """Return what the options and the definition of the subclient say about what is due."""
    definition = parameters["definition"]
    defaults = VerifySettings()
    if definition is not None:
        defaults = Subclient.parse(parameters["subclient"], definition).verify
    return checked_verify(defaults, max_age=parameters["max_age"], share=parameters["share"])


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **vault_options(),
            **progress_options(),
            "clients": {"type": "list", "elements": "str"},
            "point": {"type": "str"},
            "subclient": {"type": "str"},
            "definition": {"type": "dict"},
            "max_age": {"type": "raw"},
            "share": {"type": "raw"},
            "fail_on_bad": {"type": "bool", "default": True},
        },
        mutually_exclusive=[("point", "subclient"), ("point", "max_age"), ("point", "share")],
        required_by={"point": ("clients",), "definition": ("subclient",)},
        supports_check_mode=True,
    )
    parameters = module.params
    with engine(module, "blake3", "zstandard"):
        settings = settings_of(parameters)
        vault = open_vault(module)
        found = survey(
            vault, clients=parameters["clients"], subclient=parameters["subclient"], point=parameters["point"]
        )
        for path in due_scripts(vault.path, encrypted=vault.encrypted):
            module.warn(
                f"{path} is missing, old or not as it was written: the ovm.backup.vault module or "
                "playbook writes it anew"
            )
        started = time.time()
        due = found.due(now=started, max_age=settings.max_age, share=settings.share)
        with status_file(parameters["progress_file"], vm=parameters["subclient"] or "vault") as status:
            verify = functools.partial(verify_targets, vault, progress=status.phase("verify"))
            outcomes = [Outcome(target, DUE) for target in due] if module.check_mode else verify(due)
        results = [outcome.verification for outcome in outcomes if outcome.verification is not None]
        result: dict[str, Any] = {
            "changed": any(outcome.stored or outcome.status == DUE for outcome in outcomes),
            "points": [outcome.as_dict() for outcome in outcomes],
            "bad": bad_list(outcomes),
            "unreadable": [item.as_dict() for item in found.unreadable],
            "total": len(found.targets),
            "bytes_read": sum(one.bytes_read for one in results),
            "summary": verification_summary(found, outcomes, time.time() - started),
        }
        error = complaint(found, outcomes, bad_too=parameters["fail_on_bad"])
        if error is not None:
            module.fail_json(msg=error.message, failure=error.as_failure(), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
