#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: client_lock_info
short_description: List the locks of a vault
description:
  - Returns which runs hold the lock of a client, and what dead runs owe. A run that was killed between stopping a VM
    and starting it again is found here.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.vault
  - ovm.backup.attributes
  - ovm.backup.attributes.read_only
  - ovm.backup.attributes.vault_group
seealso:
  - module: ovm.backup.client_lock
"""

EXAMPLES = r"""
- name: List all locks
  ovm.backup.client_lock_info:
    vault: /srv/vault
  register: found

- name: Name the VMs that dead runs have left stopped
  ansible.builtin.debug:
    msg: "{{ found.locks | rejectattr('alive') | selectattr('vm_stopped') | map(attribute='vm_name') }}"

- name: List the locks of a vault whose path comes from the environment
  ovm.backup.client_lock_info:
  environment:
    OVM_VAULT: /srv/vault
"""

RETURN = r"""
locks:
  description: The locks, by client.
  returned: success
  type: list
  elements: dict
  contains:
    client:
      description: Name of the client.
      type: str
      returned: always
    run_id:
      description: Id of the run that holds the lock.
      type: str
      returned: always
    owner:
      description: What holds it.
      type: str
      returned: always
    host:
      description: The host from which it was taken.
      type: str
      returned: always
    heartbeat:
      description: When the run was last heard of, in seconds since the epoch.
      type: float
      returned: always
    alive:
      description: Whether the run may still be at work.
      type: bool
      returned: always
    lease:
      description:
        - For how many seconds after the heartbeat the run counts as alive, V(null) for a lock of a single process.
      type: float
      returned: always
    given_up:
      description:
        - Whether the run is done with this client and leaves what it owes to the next one. It need not be dead.
      type: bool
      returned: always
    lived_on:
      description: Whether the run was heard of after its locks had run out. Then they do not tell that it is dead.
      type: bool
      returned: always
    vm_id:
      description: Id of the client's VM on the manager, V(null) if the run did not note it.
      type: str
      returned: always
    vm_name:
      description: Name of the client's VM, V(null) if the run did not note it.
      type: str
      returned: always
    manager_id:
      description: Id of the manager of that VM, V(null) if the run did not note it.
      type: str
      returned: always
    vm_stopped:
      description: Whether the run has stopped the VM and owes it a start.
      type: bool
      returned: always
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._module import engine
from ..module_utils._vault import lock_owner, open_vault, vault_options
from ..module_utils.vault.runs import describe_locks


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(argument_spec=vault_options(), supports_check_mode=True)
    with engine(module, "blake3"):
        locks = describe_locks(open_vault(module), lock_owner(module))
    module.exit_json(changed=False, locks=locks)


if __name__ == "__main__":
    main()
