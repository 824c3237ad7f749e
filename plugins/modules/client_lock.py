#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: client_lock
short_description: Hold the lock of a client for a backup run
description:
  - Takes or gives back the lock of a client in the vault. Whoever holds it may clone, stop and back up the client's VM.
  - The lock belongs to the run, not to a process. It ends by itself when the run does not renew it in time, so a run
    that died does not block the next ones for ever.
  - A run notes in the lock that it has stopped the VM. The run that takes over the lock of a dead one learns of it and
    can start the VM.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.vault
  - ovm.backup.attributes
  - ovm.backup.attributes.vault_group
options:
  client:
    description:
      - Name of the client.
    type: str
    required: true
  run_id:
    description:
      - Id of the backup run, as M(ovm.backup.job) returns it.
    type: str
    required: true
  state:
    description:
      - V(present) takes the lock, or renews it when the run has it already. V(absent) gives it back.
    type: str
    choices: [absent, present]
    default: present
  lease:
    description:
      - Seconds after which the lock ends if it is not renewed. Longer than any step of the run takes; transfers renew
        it by themselves.
    type: float
    default: 1800.0
  vm_stopped:
    description:
      - Whether the run is about to stop the VM, and so owes it a start. Without this option the note in the lock stays
        as it is.
    type: bool
  vm_id:
    description:
      - Id of the client's VM on the manager, for whoever has to clean up after a run that died.
    type: str
  vm_name:
    description:
      - Name of the client's VM.
    type: str
  manager_id:
    description:
      - Id of the manager of the client's VM.
    type: str
  slots:
    description:
      - Places that the client's VM needs before it is worked on, RV(ovm.backup.plan_info#module:plan.vms[].slots). All
        runs with the same vault share them. They are given back with the lock.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - What the place belongs to.
        type: str
        required: true
      limit:
        description:
          - How many VMs may have a place at the same time.
        type: int
        required: true
  slot_timeout:
    description:
      - Seconds to wait for these places.
    type: float
    default: 43200.0
  break_lock:
    description:
      - Take the lock even if another run holds it. Make sure that this run is dead.
    type: bool
    default: false
  hand_over:
    description:
      - Take the lock away from the processes of the run O(run_id) on a proxy that cannot be reached any more. Should
        one of them be alive, it publishes nothing. What the run owes stays.
      - The lock of another run is refused as ever.
    type: bool
    default: false
  max_failed_percent:
    description:
      - Share of the VMs of the job O(run_id) that may have failed. When it is more, the lock is not taken. With V(100)
        the job is not looked at.
    type: float
    default: 100.0
attributes:
  check_mode:
    support: full
    details: In check mode the lock is not taken, so another run may still take it.
  diff_mode:
    support: none
  idempotent:
    support: full
    details: To renew a lock that the run holds is no change.
seealso:
  - module: ovm.backup.backup
"""

EXAMPLES = r"""
- name: Take the lock of a client
  ovm.backup.client_lock:
    vault: /srv/vault
    client: db01
    run_id: "{{ job.job.id }}"
  register: lock

- name: Note that the VM is about to be stopped
  ovm.backup.client_lock:
    vault: /srv/vault
    client: db01
    run_id: "{{ job.job.id }}"
    vm_stopped: true
    lease: 3600

- name: Wait until fewer than two VMs of a server are at work
  ovm.backup.client_lock:
    vault: /srv/vault
    client: db01
    run_id: "{{ job.job.id }}"
    slots:
      - name: server-0004fb0000140000
        limit: 2

- name: Give the lock back
  ovm.backup.client_lock:
    vault: /srv/vault
    client: db01
    run_id: "{{ job.job.id }}"
    state: absent
"""

RETURN = r"""
vm_stopped:
  description: Whether this run or one whose lock was taken over owes the VM a start.
  returned: when O(state=present)
  type: bool
waited:
  description: Seconds of waiting for the places of O(slots).
  returned: when O(state=present)
  type: float
taken_over:
  description: Id of the dead run whose lock was taken over, V(null) if there was none.
  returned: when O(state=present)
  type: str
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
"""

import contextlib
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._module import engine
from ..module_utils._vault import lock_owner, open_vault, vault_options
from ..module_utils.errors import InvalidInputError, VaultError
from ..module_utils.vault.jobs import JobStore, vault_of_run
from ..module_utils.vault.lock import ClientLock
from ..module_utils.vault.points import Vault
from ..module_utils.vault.slots import ENDED, let_go, take_slots


def take(module: AnsibleModule) -> dict[str, Any]:
    """Take or renew the lock."""
    parameters = module.params
    if parameters["lease"] <= 0:
        raise InvalidInputError(f"lease must be more than 0 seconds, not {parameters['lease']}", option="lease")
    wrong = next((slot for slot in parameters["slots"] if slot["limit"] < 1), None)
    if wrong is not None:
        text = f"slots: the limit of {wrong['name']} must be at least 1, not {wrong['limit']}"
        raise InvalidInputError(text, option="slots")
    vault = open_vault(module)
    JobStore(vault).check_goes_on(parameters["run_id"], parameters["max_failed_percent"])
    prepare = vault.client_folder if module.check_mode else vault.prepare_client
    lock = prepare(parameters["client"]).lock(
        owner=lock_owner(module),
        run_id=parameters["run_id"],
        break_lock=parameters["break_lock"],
        hand_over=parameters["hand_over"],
        vm_id=parameters["vm_id"],
        vm_name=parameters["vm_name"],
        manager_id=parameters["manager_id"],
    )
    stopped = parameters["vm_stopped"]
    waited = 0.0
    if module.check_mode:
        changed, owed = lock.foresee(), stopped
    else:
        changed, owed = lock.hold(parameters["lease"], None if stopped is None else {"vm_stopped": stopped}), None
        waited = wait_for_slots(module, vault, lock)
    return {
        "changed": changed,
        "waited": round(waited, 1),
        "vm_stopped": bool(lock.debts.get("vm_stopped") if owed is None else owed),
        "taken_over": lock.taken_over.get("run_id") if lock.taken_over is not None else None,
    }


def wait_for_slots(module: AnsibleModule, vault: Vault, lock: ClientLock) -> float:
    """Wait for the places that the VM needs; without them the lock is not kept, unless something is owed."""
    parameters = module.params
    limits = {slot["name"]: slot["limit"] for slot in parameters["slots"]}
    if not limits:
        return 0.0
    try:
        return take_slots(
            vault,
            parameters["client"],
            parameters["run_id"],
            limits,
            limit=parameters["slot_timeout"],
            renew=lambda: lock.hold(parameters["lease"]),
        )
    except BaseException:
        with contextlib.suppress(VaultError):
            if lock.taken_over is None and any(lock.debts.values()):
                lock.hold(ENDED)  # the next run settles it
            else:
                lock.give_back()
        raise


def give_back(module: AnsibleModule) -> dict[str, Any]:
    """Give the lock back if this run has it."""
    vault = open_vault(module)
    client = vault.client_folder(module.params["client"])
    if module.check_mode:
        return {"changed": client.lock(owner=lock_owner(module), run_id=module.params["run_id"]).held}
    return {"changed": let_go(vault, client.name, owner=lock_owner(module), run_id=module.params["run_id"])}


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **vault_options(),
            "client": {"type": "str", "required": True},
            "run_id": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
            "lease": {"type": "float", "default": 1800.0},
            "vm_stopped": {"type": "bool"},
            "vm_id": {"type": "str"},
            "vm_name": {"type": "str"},
            "manager_id": {"type": "str"},
            "slots": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"name": {"type": "str", "required": True}, "limit": {"type": "int", "required": True}},
            },
            "slot_timeout": {"type": "float", "default": 43200.0},
            "break_lock": {"type": "bool", "default": False},
            "hand_over": {"type": "bool", "default": False},
            "max_failed_percent": {"type": "float", "default": 100.0},
        },
        supports_check_mode=True,
    )
    with engine(module, "blake3"):
        vault_of_run(module.params["run_id"])
        result = take(module) if module.params["state"] == "present" else give_back(module)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
