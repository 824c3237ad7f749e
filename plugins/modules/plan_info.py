#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: plan_info
short_description: Plan the backup of a subclient
description:
  - Returns which VMs the content of a subclient selects and by which rule, and for each of them what is done, how, in
    which type, in which order, on which proxy and why.
  - The plan depends on the definition, the manager, the vault and the time. Nothing is changed.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.manager
  - ovm.backup.vault
  - ovm.backup.transfer.repositories
  - ovm.backup.ssh
  - ovm.backup.attributes
  - ovm.backup.attributes.read_only
  - ovm.backup.attributes.manager_group
options:
  subclient:
    description:
      - Name of the subclient to plan.
    type: str
    required: true
  definition:
    description:
      - Definition of the subclient, with its content, filters and policy. The user guide describes all keys.
    type: dict
    required: true
  backup_type:
    description:
      - Type to plan instead of the subclient's own, V(full), V(incremental), V(differential) or V(synthetic_full).
      - Synthetic fulls are planned from the vault alone. The manager is only asked when no VM of the subclient has a
        recovery point, because its first backup is a full. A VM that has one of another subclient is skipped then.
    type: str
  force:
    description:
      - Plan a backup also of VMs whose newest recovery point is young enough.
    type: bool
    default: false
  proxies:
    description:
      - Inventory names of the proxies to which the VMs are dealt in turn.
    type: list
    elements: str
    default: [localhost]
  proxy_checks:
    description:
      - What a loop over M(ovm.backup.proxy_check) registered in C(results), first for the host that plans, then for
        each of the O(proxies). Each is planned with what it sees, and one that does not fit the others gets no VM.
      - Without it the host that runs the module looks for the storage repositories, on behalf of all proxies.
    type: list
    elements: dict
    default: []
  restart_job:
    description:
      - Id of a finished job of the subclient, or V(latest), which is looked for among the last 1000 jobs of the vault.
      - Only the VMs that failed there are backed up, in the type of that job unless O(backup_type) is given.
    type: str
  additional_settings:
    description:
      - Additional settings of the site. C(bEnableVSADifferentialBackup) offers the backup type V(differential).
    type: dict
    default: {}
notes:
  - Diff mode compares the plan with the last job of the subclient.
seealso:
  - module: ovm.backup.vm_info
  - module: ovm.backup.backup
"""

EXAMPLES = r"""
- name: Plan the nightly backup of the databases
  ovm.backup.plan_info:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    ca_path: /etc/ovm/ovmca.pem
    vault: /srv/vault
    subclient: databases
    definition:
      content:
        - rules:
            - field: name
              value: db*
      max_age: 20h
  register: night

- name: Plan what failed in the last job once more, with the connection in the environment
  ovm.backup.plan_info:
    vault: /srv/vault
    subclient: databases
    definition: "{{ ovm_backup_subclients.databases }}"
    restart_job: latest
  environment: &connection
    OVM_URL: https://ovmm.example.com:7002
    OVM_USER: backup
    OVM_PASSWORD: "{{ ovm_password }}"
    OVM_CA_PATH: /etc/ovm/ovmca.pem

- name: Plan synthetic fulls, for which the manager is not asked
  ovm.backup.plan_info:
    vault: /srv/vault
    subclient: databases
    definition: "{{ ovm_backup_subclients.databases }}"
    backup_type: synthetic_full
  environment: *connection
"""

RETURN = r"""
manager:
  description: The manager, by its UUID C(id) and its C(version).
  returned: unless synthetic fulls are planned
  type: dict
plan:
  description: The plan of a backup run.
  returned: success
  type: dict
  contains:
    subclient: {description: Name of the subclient., type: str, returned: always}
    requested_type: {description: The type that is asked for., type: str, returned: always}
    max_age:
      description: Seconds for which a recovery point is young enough, V(0) to back up always.
      type: int
      returned: always
    shutdown_timeout: {description: Seconds that a VM gets to shut down., type: int, returned: always}
    kill: {description: Whether a VM that does not shut down in time is switched off., type: bool, returned: always}
    max_outage: {description: "Seconds that a VM on NFS may be down, V(0) for no limit.", type: int, returned: always}
    two_pass: {description: Whether its disks are read before it is shut down too., type: bool, returned: always}
    change_detection:
      description:
        - C(keep_reference) tells whether the clone of a backup stays to tell the next one what has changed,
          C(reference_space) how many percent of a storage repository have to be free for that, and C(sample) how many
          percent of what has not changed an increment reads all the same.
      type: dict
      returned: always
    limits:
      description: What may be done at once, C(clones), C(repository), C(server) and C(proxy), V(0) for no limit.
      type: dict
      returned: always
    retries: {description: How often a VM is tried again after a failure that may pass., type: int, returned: always}
    retry_delay:
      description: Seconds before the first of these retries; each further one waits twice as long.
      type: int
      returned: always
    max_failed_percent:
      description: Share of failed VMs above which no further VM is begun with.
      type: int
      returned: always
    last_job:
      description: Id of the job that this plan is compared with, V(null) if there is none.
      type: str
      returned: always
    new:
      description: The VMs that this job did not have, by C(vm_id) and C(vm_name).
      type: list
      elements: dict
      returned: always
    gone:
      description: The VMs that only this job had, by C(vm_id) and C(vm_name).
      type: list
      elements: dict
      returned: always
    excluded:
      description: The VMs that a filter takes out, by C(vm_id) and C(vm_name), with C(selected_by) and C(excluded_by).
      type: list
      elements: dict
      returned: always
    warnings:
      description: What an administrator should know about the subclient.
      type: list
      elements: str
      returned: always
    vms:
      description: The VMs in the order of the run. Pass one of them to M(ovm.backup.backup) as it is.
      type: list
      elements: dict
      returned: always
      contains:
        vm_id:
          description: Id of the VM.
          type: str
          returned: always
        vm_name:
          description: Name of the VM.
          type: str
          returned: always
        client:
          description: Client in the vault.
          type: str
          returned: always
        new_client:
          description: Whether this backup makes the client.
          type: bool
          returned: always
        selected_by:
          description: The rules of the content that select the VM.
          type: str
          returned: always
        action:
          description: V(backup), V(current) (the newest recovery point is young enough), V(fail) or V(skip).
          type: str
          returned: always
        method:
          description: V(hot_clone), V(shutdown), V(cold), V(consolidate) (a synthetic full) or V(skip).
          type: str
          returned: always
        reason:
          description: Why this action and method.
          type: str
          returned: always
        requested_type:
          description: The type that is asked for.
          type: str
          returned: always
        type:
          description: The type that the recovery point will have.
          type: str
          returned: always
        type_reason:
          description: Why this type.
          type: str
          returned: always
        disks:
          description:
            - The disks that are backed up, each with C(slot), C(disk_id), C(name), C(size) in bytes, C(type),
              C(type_reason) and the recovery point C(base) that it builds on, V(null) for a full. The image has the
              C(path) in the storage repository C(repository_id), named C(repository).
            - The C(source) is V(path), or V(ssh) with the C(server) by C(id), C(name) and C(address). C(changes) are
              found by V(extent_maps) or V(hash), or V(all) is read. C(source_reason) and C(changes_reason) say why.
          type: list
          elements: dict
          returned: always
        skipped_disks:
          description: The disks that are not backed up, each with C(slot), C(name), C(kind) and C(reason).
          type: list
          elements: dict
          returned: always
        repositories:
          description: Names of the storage repositories of the disks.
          type: list
          elements: str
          returned: always
        warnings:
          description: What an administrator should know about the VM.
          type: list
          elements: str
          returned: always
        expected_outage:
          description: Seconds that it will be down, as the last backups took. V(null) if not known, or not down.
          type: float
          returned: always
        outage_until:
          description: Epoch seconds at which its outage window closes, V(null) if there is none.
          type: float
          returned: always
        pause:
          description: Whether the guest has to be paused, V(not_needed), or V(cannot_be_served) and the VM fails.
          type: str
          returned: always
        reference:
          description: The clone that tells what has changed, by C(clone_id), C(run_id) and C(point_id), or V(null).
          type: dict
          returned: always
        reference_reason:
          description: Why it is that, or why there is none.
          type: str
          returned: always
        configuration:
          description: What the recovery point keeps of the VM, C(document), C(vm_cfg) and C(manager).
          type: dict
          returned: unless synthetic fulls are planned
        proxy:
          description: Inventory name of the proxy that does the work.
          type: str
          returned: always
        slots:
          description: The places that it needs, by C(name) and C(limit) of VMs. Pass them to M(ovm.backup.client_lock).
          type: list
          elements: dict
          returned: always
        stand_ins:
          description:
            - Who goes on with the VM when its proxy is lost, C(proxy), C(slots), C(disks) and C(vm_cfg), for the filter
              P(ovm.backup.stand_in#filter).
          type: list
          elements: dict
          returned: always
        order:
          description: Place in the run, from 1.
          type: int
          returned: always
locks:
  description: The locks in the vault, in the form of RV(ovm.backup.client_lock_info#module:locks).
  returned: unless synthetic fulls are planned
  type: list
  elements: dict
plan_summary:
  description: The plan as lines of text.
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

from ..module_utils._manager import manager_client, manager_options
from ..module_utils._module import engine
from ..module_utils._ssh_options import ssh_options
from ..module_utils._transfer import repositories_option
from ..module_utils._vault import lock_owner, open_vault, vault_options
from ..module_utils.images.ssh import SshSettings
from ..module_utils.manager.clones import ours_among
from ..module_utils.manager.inventory import read_inventory
from ..module_utils.planning.access import Access, mounted_repositories
from ..module_utils.planning.additional_settings import read_additional_settings
from ..module_utils.planning.configuration import with_configuration
from ..module_utils.planning.plan import make_plan
from ..module_utils.planning.preview import plan_diff, plan_summary
from ..module_utils.planning.proxies import fit_proxies, with_warnings
from ..module_utils.planning.subclient import Subclient
from ..module_utils.planning.synthetic import plan_synthetic_fulls
from ..module_utils.planning.vault_reader import read_vault_state
from ..module_utils.vault.runs import describe_locks


def make(module: AnsibleModule, subclient: Subclient) -> dict[str, Any]:
    """Return the plan, and the manager that was asked for it."""
    parameters = module.params
    settings = SshSettings.parse(parameters["ssh"]) if parameters["ssh"] else None
    fit = fit_proxies(parameters["proxies"], parameters["proxy_checks"])
    common: dict[str, Any] = {
        "backup_type": parameters["backup_type"],
        "proxies": fit.names,
        "settings": read_additional_settings(parameters["additional_settings"]),
        "restart": parameters["restart_job"] is not None,
    }
    vault, job_id = open_vault(module), parameters["restart_job"] if parameters["restart_job"] != "latest" else None
    state = read_vault_state(vault, subclient.name, job_id=job_id, restart=common["restart"])
    synthetic = plan_synthetic_fulls(subclient, state, **common)
    if synthetic is not None:
        return {"plan": with_warnings(synthetic, fit.warnings).as_dict()}
    with manager_client(module) as client:
        inventory = read_inventory(client)
        is_ours = ours_among(client, inventory)
    mounted = mounted_repositories(parameters["repositories_path"], inventory.repositories)
    proxies = fit.proxies(Access(mounted, settings is not None, settings.addresses if settings is not None else {}))
    common.update(force=parameters["force"], now=time.time(), is_ours=is_ours, proxies=proxies)
    made = with_warnings(make_plan(subclient, inventory, state, **common), fit.warnings)
    plan = with_configuration(made, subclient.source, inventory, proxies)
    manager = {"id": inventory.manager_id, "version": inventory.manager_version}
    return {"manager": manager, "locks": describe_locks(vault, lock_owner(module)), "plan": plan}


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **manager_options(),
            **vault_options(),
            **repositories_option(),
            "subclient": {"type": "str", "required": True},
            "definition": {"type": "dict", "required": True},
            "backup_type": {"type": "str"},
            "force": {"type": "bool", "default": False},
            "restart_job": {"type": "str"},
            "proxies": {"type": "list", "elements": "str", "default": ["localhost"]},
            "proxy_checks": {"type": "list", "elements": "dict", "default": []},
            "additional_settings": {"type": "dict", "default": {}},
            "ssh": ssh_options(),
        },
        supports_check_mode=True,
    )
    with engine(module, "requests", "blake3"):
        # What the user wrote is checked in full before anybody is asked anything.
        subclient = Subclient.parse(module.params["subclient"], module.params["definition"])
        result = {"changed": False, **make(module, subclient)}
        result["plan_summary"] = plan_summary(result["plan"])
        # What synthetic fulls are made of is not compared with the last job: the content was not evaluated.
        if module._diff and "manager" in result:
            result["diff"] = plan_diff(result["plan"])
    module.exit_json(**result)


if __name__ == "__main__":
    main()
