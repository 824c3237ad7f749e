#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: coverage_info
short_description: Tell which VMs are protected, and how old their newest good recovery point is
description:
  - Compares the VMs of Oracle VM Manager with what all subclients select and with what the vault holds.
  - For each VM it returns the subclients that select it and by which rules, the filters that take it out, its newest
    good recovery point, and whether that is younger than promised.
  - It also returns the clients of the vault whose VM is gone from the manager.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.manager
  - ovm.backup.vault
  - ovm.backup.attributes
  - ovm.backup.attributes.read_only
  - ovm.backup.attributes.manager_group
options:
  subclients:
    description:
      - The definitions of all subclients by their names. All of them are checked before anybody is asked anything.
      - A rule that matches nothing is a warning here, and no error.
    type: dict
    required: true
  grace:
    description:
      - How much older than promised a recovery point may be before its VM counts as late, as V(4h) or seconds.
      - The promised age is C(max_age) of the subclient. Where that is a little smaller than the interval of the runs,
        the newest recovery point is always older than promised for a while before each run.
    type: str
    default: "0"
attributes:
  action_group:
    membership: [ovm.backup.manager, ovm.backup.vault]
seealso:
  - module: ovm.backup.vm_info
  - module: ovm.backup.recovery_point_info
"""

EXAMPLES = r"""
- name: See what is protected
  ovm.backup.coverage_info:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    vault: /srv/vault
    subclients: "{{ ovm_backup_subclients }}"
    grace: 4h
  register: coverage

- name: Show the report
  ansible.builtin.debug:
    msg: "{{ coverage.summary }}"

- name: Fail when a VM has no subclient
  ansible.builtin.assert:
    that: coverage.counts.unprotected == 0
    fail_msg: "{{ coverage.vms | selectattr('state', 'equalto', 'unprotected') | map(attribute='vm_name') }}"

- name: See what one subclient alone protects
  ovm.backup.coverage_info:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    vault: /srv/vault
    subclients:
      databases:
        content:
          - rules:
              - field: name
                value: db*
        max_age: 20h
"""

RETURN = r"""
manager:
  description: The manager, by C(id) and C(version).
  returned: success
  type: dict
vms:
  description: All VMs and templates of the manager but our own hot clones, what needs attention first.
  returned: success
  type: list
  elements: dict
  contains:
    vm_id:
      description: Id of the VM.
      type: str
      returned: always
    vm_name:
      description: Name of the VM.
      type: str
      returned: always
    power_state:
      description: Run state, or V(TEMPLATE).
      type: str
      returned: always
    client:
      description: Its client in the vault, V(null) if it has none.
      type: str
      returned: always
    state:
      description:
        - V(protected), the newest good recovery point is as young as promised. V(late), it is older.
        - V(never), the VM is selected and has no good recovery point.
        - V(unprotected), no subclient selects it. V(excluded), filters take it out, or all of its disks.
        - V(cannot), it has no virtual disk. V(template), it is a template.
      type: str
      returned: always
    reason:
      description: Why it is in this state.
      type: str
      returned: always
    selected_by:
      description:
        - The subclients that select it, by C(subclient), C(selected_by) the rules and C(max_age) in seconds.
          C(excluded_by) is V(null).
      type: list
      elements: dict
      returned: always
    excluded_by:
      description:
        - The subclients whose content identifies it and whose filters take it out, by C(subclient), C(selected_by),
          C(excluded_by) and C(max_age).
      type: list
      elements: dict
      returned: always
    promised_age:
      description: The shortest C(max_age) of the subclients that protect it, in seconds, V(0) if none promises an age.
      type: int
      returned: always
    newest_good:
      description:
        - The newest recovery point that can be restored, as far as manifests and file sizes tell, V(null) if there is
          none.
      type: dict
      returned: always
      contains:
        id:
          description: Its id.
          type: str
          returned: always
        created:
          description: The moment that it shows, in seconds since the epoch.
          type: float
          returned: always
        type:
          description: Its type.
          type: str
          returned: always
        consistency:
          description: How consistent its disks are.
          type: str
          returned: always
        subclient:
          description: The subclient that made it, V(null) if that is not known.
          type: str
          returned: always
        manager_id:
          description: The manager of the VM, V(null) if that is not known.
          type: str
          returned: always
        disk_ids:
          description: Ids of its disks.
          type: list
          elements: str
          returned: always
    age:
      description: How old that is in seconds, V(null) without a good recovery point.
      type: float
      returned: always
    physical_disks:
      description: Names of the physical disks. They are not backed up.
      type: list
      elements: str
      returned: always
    skipped_disks:
      description: The disks that no subclient backs up, by C(slot), C(name), C(kind) and C(reason).
      type: list
      elements: dict
      returned: always
    warnings:
      description: What an administrator should know about the VM.
      type: list
      elements: str
      returned: always
counts:
  description:
    - How many VMs are V(protected), V(late), V(never), V(unprotected), V(excluded), V(cannot), V(template).
  returned: success
  type: dict
orphaned_clients:
  description: Clients of the vault whose VM the manager does not have.
  returned: success
  type: list
  elements: dict
  contains:
    client:
      description: Name of the client.
      type: str
      returned: always
    vm_id:
      description: Id that its VM had.
      type: str
      returned: always
    vm_name:
      description: Name that its VM had last.
      type: str
      returned: always
    newest_good:
      description:
        - Its newest good recovery point, in the form of RV(ovm.backup.coverage_info#module:vms[].newest_good), or
          V(null).
      type: dict
      returned: always
    age:
      description: How old that is in seconds, V(null) without a good recovery point.
      type: float
      returned: always
our_clones:
  description: How many hot clones of backup runs are on the manager. They are left out.
  returned: success
  type: int
clients_of_other_managers:
  description: How many clients of the vault have their VM on another manager. They are left out.
  returned: success
  type: int
subclient_warnings:
  description: What is odd about the subclients, such as rules that match no VM.
  returned: success
  type: list
  elements: str
summary:
  description: The report as lines of text.
  returned: success
  type: list
  elements: str
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._durations import duration_option
from ..module_utils._manager import manager_client, manager_options
from ..module_utils._module import engine
from ..module_utils._vault import open_vault, vault_options
from ..module_utils.manager.clones import ours_among
from ..module_utils.manager.inventory import read_inventory
from ..module_utils.planning.coverage import assess, parse_subclients
from ..module_utils.planning.coverage_text import coverage_summary
from ..module_utils.planning.vault_reader import read_coverage_state


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **manager_options(),
            **vault_options(),
            "subclients": {"type": "dict", "required": True},
            "grace": {"type": "str", "default": "0"},
        },
        supports_check_mode=True,
    )
    with engine(module, "requests", "blake3"):
        # What the user wrote is checked in full before anybody is asked anything.
        subclients = parse_subclients(module.params["subclients"])
        grace = duration_option(module, "grace")
        vault = open_vault(module)
        with manager_client(module) as client:
            inventory = read_inventory(client)
            is_ours = ours_among(client, inventory)
        state = read_coverage_state(vault)
        report = assess(subclients, inventory, state, now=time.time(), is_ours=is_ours, grace=grace).as_dict()
    module.exit_json(
        changed=False,
        manager={"id": inventory.manager_id, "version": inventory.manager_version},
        summary=coverage_summary(report),
        **report,
    )


if __name__ == "__main__":
    main()
