#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: restore_plan_info
short_description: Plan the restore of a VM
description:
  - Says what a restore of a VM from a recovery point would make and replace, and where, and finds everything that
    stands in its way before anything is touched.
  - Nothing is written, neither on the manager nor in the vault nor in a storage repository.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.manager
  - ovm.backup.vault
  - ovm.backup.point
  - ovm.backup.ssh
  - ovm.backup.transfer.repositories
  - ovm.backup.attributes
  - ovm.backup.attributes.manager_group
  - ovm.backup.attributes.vault_group
options:
  mode:
    description:
      - V(new) makes another VM. V(in_place) replaces the disks of the VM that was backed up, and sets what it had.
        V(attach) gives disks to O(vm), in slots that are free there.
    type: str
    choices: [attach, in_place, new]
    default: new
  name:
    description: Name of the new VM. That of the VM that was backed up by default.
    type: str
  vm:
    description: Name or id of the VM that gets the disks, for V(attach).
    type: str
  storage_repository:
    description: Name or id of the storage repository for all disks. By default each goes to where it was.
    type: str
  server_pool:
    description: Name or id of the server pool of the new VM.
    type: str
  server:
    description: Name or id of the server of the new VM.
    type: str
  mac:
    description:
      - V(keep) gives the network cards their MAC addresses again and fails if another VM has one of them, V(new) lets
        the manager make new ones, V(auto) keeps those that are free.
    type: str
    choices: [auto, keep, new]
    default: auto
  slots:
    description: Slots of the disks to restore. All of them by default.
    type: list
    elements: int
  mapping:
    description:
      - What things are called here that had other names or ids where the VM was backed up, such as at another site.
      - The keys are V(storage_repositories), V(networks), V(server_pools) and V(servers), each a mapping of old names
        or ids to new ones, and V(os_types), a mapping of old values of C(osType) to such as this manager knows.
    type: dict
    default: {}
  confirm:
    description: Name of the VM whose disks are replaced, for V(in_place).
    type: str
  stop:
    description: Whether the VM may be shut down if it runs, for V(in_place) and V(attach).
    type: bool
    default: false
  import_address:
    description:
      - Address of the proxy under which the servers of Oracle VM reach it. With it, the manager imports the disks that
        the proxy can neither write on a path nor over ssh.
    type: str
  start:
    description: Whether the VM is started in the end.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
seealso:
  - module: ovm.backup.recovery_point_info
"""

EXAMPLES = r"""
- name: Plan a restore beside the VM
  ovm.backup.restore_plan_info:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    vault: /srv/vault
    client: db01
    name: db01-restored

- name: Plan a restore in place
  ovm.backup.restore_plan_info:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    vault: /srv/vault
    client: db01
    mode: in_place
    confirm: db01
    stop: true
    start: true

- name: Plan a restore at another site
  ovm.backup.restore_plan_info:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    vault: /srv/vault
    client: db01
    mapping:
      storage_repositories:
        repo-iscsi-1: repo-dr
      networks:
        vm-net: dr-net
      server_pools:
        pool1: dr-pool
"""

RETURN = r"""
plan:
  description: What the restore will do.
  returned: success
  type: dict
  contains:
    run_id:
      description: Id of the restore, the same each time that the same one is planned.
      type: str
      returned: always
    mode:
      description: As O(mode).
      type: str
      returned: always
    client:
      description: Name of the client.
      type: str
      returned: always
    point_id:
      description: Id of the recovery point.
      type: str
      returned: always
    source_vm_id:
      description: Id of the VM that was backed up.
      type: str
      returned: always
    source_vm_name:
      description: Name of the VM that was backed up.
      type: str
      returned: always
    vm_id:
      description: Id of the VM that exists, null for a new one that is not complete.
      type: str
      returned: always
      sample: 0004fb000006000011aa22bb33cc44dd
    name:
      description: Name of the VM.
      type: str
      returned: always
    stop:
      description: Whether the VM has to be stopped first.
      type: bool
      returned: always
    start:
      description: Whether it is started in the end.
      type: bool
      returned: always
    complete:
      description:
        - Whether an interrupted call of the same restore has done everything up to the start of the VM, so that nothing
          is left to do but to take off the marks that are there still.
      type: bool
      returned: always
    was_running:
      description: Whether the VM runs, or did when an interrupted call of the same restore began.
      type: bool
      returned: always
    disks:
      description: The disks, and where they go.
      type: list
      elements: dict
      returned: always
      contains:
        slot:
          description: Slot of the disk in the recovery point.
          type: int
          returned: always
        target_slot:
          description: Slot of the VM that it goes to.
          type: int
          returned: always
        name:
          description: Name of the virtual disk.
          type: str
          returned: always
        size:
          description: Size in bytes.
          type: int
          returned: always
        needed:
          description: Bytes of data.
          type: int
          returned: always
        content_hash:
          description: Hash of the disk.
          type: str
          returned: always
        repository_id:
          description: Id of the storage repository.
          type: str
          returned: always
        repository:
          description: Name of the storage repository.
          type: str
          returned: always
        source:
          description: V(path) if the proxy writes into the storage repository, V(ssh) if a server does, or V(import).
          type: str
          returned: always
        server:
          description: The server, with C(id), C(name) and C(address), null for a path.
          type: dict
          returned: always
          sample: {id: "00:e0:81:4d:40:f5", name: ovs01, address: 192.0.2.11}
        source_reason:
          description: Why so.
          type: str
          returned: always
        previous:
          description: Id of the virtual disk that is replaced, or null.
          type: str
          returned: always
          sample: 0004fb0000120000aa11bb22cc33dd44.img
        held:
          description: Id of what the slot of the VM holds now, or null.
          type: str
          returned: always
          sample: 0004fb0000120000aa11bb22cc33dd44.img
        made:
          description: Id of the virtual disk that an interrupted call of the same restore has made, or null.
          type: str
          returned: always
          sample: 0004fb0000120000aa11bb22cc33dd44.img
        exchanged:
          description: Whether the slot holds that one already.
          type: bool
          returned: always
        purpose:
          description:
            - What the virtual disk is for, in the form of O(ovm.backup.virtual_disk#module:purpose). A restore that is
              repeated finds it there. It has C(slot), C(point), C(vm_id) (null for a new VM), C(previous),
              C(was_running) and C(done).
          type: dict
          returned: always
          sample: {slot: 0, point: 20261123T010203Z-0001, vm_id: null, previous: null, was_running: false, done: false}
    definition:
      description:
        - >-
          Settings of the VM under the names that the manager has for them: C(description), C(vmDomainType), C(osType),
          C(cpuCount), C(cpuCountLimit), C(cpuPriority), C(cpuUtilizationCap), C(memory), C(memoryLimit),
          C(hugePagesEnabled), C(highAvailability), C(bootOrder), C(keymapName), C(vmMouseType),
          C(vmStartPolicy), C(restartActionOnCrash), C(restartActionOnPowerOff), C(restartActionOnRestart),
          C(networkInstallPath), C(serverPoolId), C(serverId), C(repositoryId). A new VM only has the last
          three, which are ids.
      type: dict
      returned: always
    nics:
      description: Network cards of a new VM.
      type: list
      elements: dict
      returned: always
      contains:
        network_id:
          description: Id of the network.
          type: str
          returned: always
        network:
          description: Name of the network.
          type: str
          returned: always
        mac:
          description: MAC address, null for a new one.
          type: str
          returned: always
          sample: 00:21:f6:5b:b5:f7
    needed:
      description: Bytes of data of all disks.
      type: int
      returned: always
    notes:
      description: What somebody should know.
      type: list
      elements: str
      returned: always
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

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._manager import manager_client, manager_options
from ..module_utils._module import engine
from ..module_utils._point import point_options, selected_point
from ..module_utils._ssh_options import ssh_options
from ..module_utils._transfer import repositories_option
from ..module_utils._vault import vault_options
from ..module_utils.images.ssh import SshSettings
from ..module_utils.manager.inventory import read_inventory
from ..module_utils.manager.networks import read_networks
from ..module_utils.manager.restored_survey import made_by_restores
from ..module_utils.manager.restored_vms import supported_os_types
from ..module_utils.planning.access import Access, mounted_repositories
from ..module_utils.planning.restore_plan import plan_restore
from ..module_utils.planning.restore_preview import restore_summary
from ..module_utils.planning.restore_wishes import Wishes, check_wishes, read_mapping
from ..module_utils.transfer.point_restore import data_sizes, saved_configuration


def make(module: AnsibleModule, wishes: Wishes) -> dict[str, Any]:
    """Return the plan, and as text."""
    parameters = module.params
    settings = SshSettings.parse(parameters["ssh"]) if parameters["ssh"] else None
    client, point = selected_point(module)
    document, needed = saved_configuration(client, point), data_sizes(client, point, wishes.slots)
    with manager_client(module) as manager:
        inventory = read_inventory(manager)
        networks = read_networks(manager)
        made = made_by_restores(manager, {vm_id: vm.description for vm_id, vm in inventory.vms.items()})
        os_types = supported_os_types(manager)
    mounted = mounted_repositories(parameters["repositories_path"], inventory.repositories)
    access = Access(mounted, settings is not None, settings.addresses if settings is not None else {})
    facts = (point, document, inventory, networks, wishes, access)
    found = plan_restore(*facts, needed=needed, made=made, os_types=os_types)
    names = inventory.server_pools | {key: server.name for key, server in inventory.servers.items()}
    names |= {key: repository.name for key, repository in inventory.repositories.items()}
    return {"plan": found.as_dict(), "plan_summary": restore_summary(found.as_dict(), names)}


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **manager_options(),
            **vault_options(),
            **repositories_option(),
            "ssh": ssh_options(),
            **point_options(),
            "mode": {"type": "str", "choices": ["attach", "in_place", "new"], "default": "new"},
            "name": {"type": "str"},
            "vm": {"type": "str"},
            "storage_repository": {"type": "str"},
            "server_pool": {"type": "str"},
            "server": {"type": "str"},
            "mac": {"type": "str", "choices": ["auto", "keep", "new"], "default": "auto"},
            "slots": {"type": "list", "elements": "int"},
            "mapping": {"type": "dict", "default": {}},
            "confirm": {"type": "str"},
            "import_address": {"type": "str"},
            "stop": {"type": "bool", "default": False},
            "start": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    plain = ("mode", "name", "vm", "storage_repository", "server_pool", "server", "mac", "confirm", "stop", "start")
    with engine(module, "requests", "blake3", "zstandard"):
        wishes = Wishes(
            **{name: parameters[name] for name in plain},
            import_address=parameters["import_address"],
            slots=tuple(parameters["slots"]) if parameters["slots"] is not None else None,
            mapping=read_mapping(parameters["mapping"]),
        )
        check_wishes(wishes)
        result = make(module, wishes)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
