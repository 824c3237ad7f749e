#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_clone
short_description: Make or remove the hot clone that a backup reads from
description:
  - Makes a thin clone of the virtual disks of a running VM, or removes what backup runs cloned from it, but for the
    reference clone that the next backup reads against.
  - The clone is crash consistent. Physical disks, CD drives and network interfaces are not cloned.
  - Only clones are removed that are proved by their ids to be made by this collection, for this VM, by a run that used
    the same vault. Take the client's lock with M(ovm.backup.client_lock) first, so that no other run still reads one.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.manager
  - ovm.backup.vault.access
  - ovm.backup.attributes
  - ovm.backup.attributes.manager_group
options:
  vm_id:
    description:
      - Id of the VM on the manager.
    type: str
    required: true
  run_id:
    description:
      - Id of the backup run, as M(ovm.backup.job) returns it. It becomes part of the name of the clone.
    type: str
    required: true
  state:
    description:
      - V(present) makes the clone of this run, or adopts it when the run has made it already.
      - V(absent) removes every clone of this VM that this run or another run with the same vault made, and what
        interrupted runs left of clones that were never finished. A clone that is still being made is waited for.
        Reference clones stay, as O(client), O(keep) and O(keep_clone) say, and clones of other runs that somebody has
        started.
    type: str
    choices: [absent, present]
    default: present
  only_runs:
    description:
      - With O(state=absent), ids of runs. Only what these made is removed. M(ovm.backup.vm_clone_info) tells which runs
        are dead, so that this needs no lock.
    type: list
    elements: str
  remove_others:
    description:
      - With O(state=present), first remove what O(state=absent) would remove of other runs.
      - If the manager then says that there is no space for the clone, the reference clones of the VM go, too, and it is
        tried once more. A note says so.
    type: bool
    default: false
  keep:
    description:
      - Ids of clones of other runs that are not removed, unless O(remove_others) needs their space.
    type: list
    elements: str
    default: []
  keep_clone:
    description:
      - With O(state=absent), whether the clone of this run stays, as M(ovm.backup.backup) returns it. It is the
        reference clone of the next backup then.
      - By default what the recovery points of O(client) say decides, for a run that does not know whether its backup
        was published.
    type: bool
  reference_obsolete:
    description:
      - With O(state=absent), whether no later backup reads against an older clone, as M(ovm.backup.backup) returns it.
        Then what the recovery points of O(client) say does not count.
    type: bool
    default: false
  slots:
    description:
      - Slots of the virtual disks to clone. All of them by default.
    type: list
    elements: int
  vault:
    description:
      - Directory of the vault of the run. With it, all runs that use this vault make their clones in a storage
        repository one after the other, which Oracle asks for, or O(clones_at_once) at a time.
      - Falls back to E(OVM_VAULT).
    type: path
  client:
    description:
      - Name of the VM's client in the vault. With O(state=present), its lock is held while the clone is waited for; a
        lock that the run took with M(ovm.backup.client_lock) is renewed meanwhile and stays with the run.
      - Nothing is cloned while another run has the lock, and with O(state=absent) the clones of other runs stay then.
        The client must have a folder in the vault already.
      - Clones are not removed that the next backup of the client can read against, as its recovery points say, unless
        the VM is gone from the manager.
      - Needs O(vault).
    type: str
  clones_at_once:
    description:
      - How many clones may be made at the same time in one storage repository by all runs that use O(vault), V(0) for
        any number.
    type: int
    default: 1
  manager_seen:
    description:
      - What this module returned as RV(manager_seen). For a minute, and on the same host, the manager is then not asked
        again whether it runs.
    type: dict
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: ovm.backup.client_lock
  - module: ovm.backup.vm_clone_info
  - module: ovm.backup.vm_power
"""

EXAMPLES = r"""
- name: Clone the disks of a VM
  ovm.backup.vm_clone:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    vm_id: 0004fb000006000011aa22bb33cc44dd
    run_id: "{{ job.job.id }}"
    vault: /srv/vault
    client: db01
  register: clone

- name: Clone the first disk only
  ovm.backup.vm_clone:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    vm_id: 0004fb000006000011aa22bb33cc44dd
    run_id: "{{ job.job.id }}"
    slots: [0]

- name: Remove the clone, and what interrupted runs left
  ovm.backup.vm_clone:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    vm_id: 0004fb000006000011aa22bb33cc44dd
    run_id: "{{ job.job.id }}"
    state: absent

- name: Keep the new clone as the reference, and remove the one before
  ovm.backup.vm_clone:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    vm_id: 0004fb000006000011aa22bb33cc44dd
    run_id: "{{ job.job.id }}"
    vault: /srv/vault
    client: db01
    state: absent
    keep_clone: true
    reference_obsolete: true
"""

RETURN = r"""
clone:
  description: The clone, V(null) in check mode before it exists.
  returned: when O(state=present)
  type: dict
  contains:
    id:
      description: Id of the clone on the manager.
      type: str
      returned: always
    name:
      description: Its name.
      type: str
      returned: always
    vm_id:
      description: Id of the VM that it was made from.
      type: str
      returned: always
    run_id:
      description: The run that made it.
      type: str
      returned: always
    disks:
      description:
        - Its disks, each with C(slot), C(id), C(size) in bytes, the C(path) of the image in the storage
          repository C(repository_id), and C(source_disk_id), the disk that it is a clone of.
      type: list
      elements: dict
      returned: always
removed:
  description:
    - Ids of the clones that were removed. It is empty, too, when all that was left were definitions of clones.
  returned: success
  type: list
  elements: str
kept:
  description: Ids of the reference clones that stay.
  returned: success
  type: list
  elements: str
manager_seen:
  description:
    - A note that the manager runs, for the option of this name. It holds C(id), C(url), C(host) and C(time).
  returned: when O(state=present), but not in check mode
  type: dict
notes:
  description: What an administrator should know, such as a clone that somebody has started, which is not removed then.
  returned: success
  type: list
  elements: str
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
"""

import time
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._manager import manager_client, manager_options
from ..module_utils._module import engine
from ..module_utils._vault import lock_owner, open_vault, vault_options
from ..module_utils.manager.client import ManagerClient
from ..module_utils.manager.clone_making import Turn, no_turn
from ..module_utils.manager.clone_room import ensure_clone_with_room
from ..module_utils.manager.clone_survey import Survey
from ..module_utils.manager.clones import Removal, check_clonable, remove_leftovers
from ..module_utils.manager.objects import object_name
from ..module_utils.planning.kept_clones import reference_clones
from ..module_utils.vault.jobs import share_vault, vault_of_run
from ..module_utils.vault.turns import turns


def turn_of(module: AnsibleModule) -> Turn:
    """Return what the clone job runs inside of: its turn among the runs of the vault, if that is known."""
    if module.params["vault"] is None or not module.params["clones_at_once"]:
        return no_turn
    vault = open_vault(module)

    def turn(repository_ids: Collection[str]) -> AbstractContextManager[None]:
        names = {f"clone-{one}": module.params["clones_at_once"] for one in repository_ids}
        return turns(vault, names, limit=module.params["job_timeout"])

    return turn


def lock_of(module: AnsibleModule) -> AbstractContextManager[Any]:
    """Return what a clone is made inside of: the lock of its client, if that is known; in check mode, test it only."""
    if module.params["client"] is None:
        return nullcontext()
    client = open_vault(module).client_folder(module.params["client"])
    lock = client.lock(owner=lock_owner(module), run_id=module.params["run_id"])
    if module.check_mode:
        lock.foresee()
        return nullcontext()
    return lock


def references(module: AnsibleModule) -> set[str]:
    """Return the ids of the clones that the next backup needs, as the recovery points say."""
    if module.params["client"] is None or module.params["reference_obsolete"]:
        return set()
    return set(reference_clones(open_vault(module).client_folder(module.params["client"])))


def runs_of(module: AnsibleModule) -> Callable[[str], bool]:
    """Return which runs it may touch the clones of."""
    wanted, own = module.params["only_runs"], module.params["run_id"]
    return lambda run: share_vault(run, own) and (wanted is None or run in wanted)


def describe(removal: Removal) -> dict[str, Any]:
    """Return what was removed in plain types."""
    removed, stay, notes = list(removal.removed), list(removal.kept), list(removal.notes)
    return {"changed": removal.changed, "removed": removed, "kept": stay, "notes": notes}


def present(module: AnsibleModule, client: ManagerClient, survey: Survey) -> dict[str, Any]:
    """Make the clone of this run, unless it is there; if asked to, first remove what other runs have left."""
    vm_id, run_id, slots = module.params["vm_id"], module.params["run_id"], module.params["slots"]
    others, turn = module.params["remove_others"], turn_of(module)
    with lock_of(module):
        removal = remove(module, client, survey, others=True) if others else Removal()
        if module.check_mode:
            found = next(iter(survey.our_clones(vm_id, run_id)), None)
            if found is None:
                check_clonable(survey, vm_id, slots)
            clone = survey.describe(found).as_dict() if found else None
            return {**describe(removal), "changed": removal.changed or found is None, "clone": clone}
        known = None if removal.changed else survey
        room_of = runs_of(module) if others else None
        made, created, more = ensure_clone_with_room(
            client, vm_id, run_id=run_id, room_of=room_of, slots=slots, turn=turn, survey=known
        )
        done = removal.then(more)
        return {**describe(done), "changed": done.changed or created, "clone": made.as_dict()}


def absent(module: AnsibleModule, client: ManagerClient, survey: Survey) -> dict[str, Any]:
    """Remove what runs with the same vault have left, but for what the next backup needs."""
    holder = other_holder(module)
    if holder is None:
        return describe(remove(module, client, survey))
    # It may be reading its clone at this moment, and what others have left it has seen to itself.
    result = describe(remove(module, client, survey, only_own=True))
    note = f"run {holder} has taken the lock of the client: clones of other runs are left to it"
    return {**result, "notes": [*result["notes"], note]}


def other_holder(module: AnsibleModule) -> str | None:
    """Return which other run has the lock of the client and may be at work; check mode has not taken it, and passes."""
    if module.params["client"] is None or module.check_mode:
        return None
    folder = open_vault(module).client_folder(module.params["client"])
    status = folder.lock(owner=lock_owner(module), run_id=module.params["run_id"]).status()
    if status is None or not status["alive"] or status.get("run_id") == module.params["run_id"]:
        return None
    return str(status.get("run_id", "unknown"))


def remove(
    module: AnsibleModule, client: ManagerClient, survey: Survey, *, others: bool = False, only_own: bool = False
) -> Removal:
    """Remove what runs with the same vault have left; C(others): but for this run, C(only_own): of this run only."""
    own, needed, concerns = module.params["run_id"], references(module), runs_of(module)
    vm_id, keep_own = module.params["vm_id"], module.params["keep_clone"]
    if keep_own is None:
        # The run may have published a recovery point without hearing of it.
        keep_own = any(clone.id in needed for clone in survey.our_clones(vm_id, own))
    return remove_leftovers(
        client,
        vm_id,
        of_run=lambda run: concerns(run) and not (others and run == own) and not (only_own and run != own),
        keep={*module.params["keep"], *needed},
        own_run=own,
        keep_own=keep_own,
        check=module.check_mode,
        survey=survey,
    )


def difference(module: AnsibleModule, before: dict[str, str], result: dict[str, Any]) -> dict[str, Any]:
    """Return the difference that such a result makes; C(before) are the names of the clones by id."""
    after = {clone_id: name for clone_id, name in before.items() if clone_id not in result["removed"]}
    if result.get("clone"):
        after[result["clone"]["id"]] = result["clone"]["name"]
    elif "clone" in result:
        after[""] = f"clone of run {module.params['run_id']}"
    return {"before": {"clones": sorted(before.values())}, "after": {"clones": sorted(after.values())}}


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **manager_options(),
            "vm_id": {"type": "str", "required": True},
            "run_id": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
            "only_runs": {"type": "list", "elements": "str"},
            "keep": {"type": "list", "elements": "str", "default": []},
            "keep_clone": {"type": "bool"},
            "reference_obsolete": {"type": "bool", "default": False},
            "remove_others": {"type": "bool", "default": False},
            "slots": {"type": "list", "elements": "int"},
            **vault_options(required=False),
            "client": {"type": "str"},
            "clones_at_once": {"type": "int", "default": 1},
            "manager_seen": {"type": "dict"},
        },
        required_by={"client": "vault"},
        supports_check_mode=True,
    )
    with engine(module, "requests", "blake3"):
        vault_of_run(module.params["run_id"])
        with manager_client(module) as client:
            survey = Survey(client, module.params["vm_id"])
            before = {clone.id: object_name(clone.vm) for clone in survey.our_clones(module.params["vm_id"])}
            act = present if module.params["state"] == "present" else absent
            result = act(module, client, survey)
            if module.params["state"] == "present" and not module.check_mode:
                result["manager_seen"] = client.seen(now=time.time())
        if module._diff:
            result["diff"] = difference(module, before, result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
