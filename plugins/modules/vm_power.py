#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_power
short_description: Start a VM of Oracle VM or shut it down
description:
  - Shuts a VM down in an orderly way within a time limit, or starts it, and waits until the manager says that it is so.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.manager
  - ovm.backup.attributes
  - ovm.backup.attributes.manager_group
options:
  vm_id:
    description:
      - Id of the VM on the manager. Names are not unique there.
    type: str
    required: true
  state:
    description:
      - V(stopped) asks the guest to shut down, V(running) starts the VM.
    type: str
    choices: [running, stopped]
    required: true
  timeout:
    description:
      - Seconds within which the VM has to reach the state.
    type: float
    default: 600.0
  kill:
    description:
      - Whether a guest that does not shut down in time is switched off. Without it the shutdown is called off, the VM
        goes on running and the module fails.
      - No guest is switched off that has not had the whole O(timeout) since it was asked, nor one that may not have
        been asked at all.
    type: bool
    default: false
  kill_within:
    description:
      - Seconds after which no guest is switched off any more, whatever O(kill) says. A guest that was asked so late
        that its O(timeout) is not over by then goes on running, and the module fails. Another job may have held the VM,
        or the server did not answer.
      - Without it there is no limit.
    type: float
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: ovm.backup.vm_clone
"""

EXAMPLES = r"""
- name: Shut a VM down, waiting for ten minutes at most
  ovm.backup.vm_power:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    vm_id: 0004fb000006000011aa22bb33cc44dd
    state: stopped

- name: Switch it off when it does not react within a minute
  ovm.backup.vm_power:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    vm_id: 0004fb000006000011aa22bb33cc44dd
    state: stopped
    timeout: 60
    kill: true

- name: Start it again
  ovm.backup.vm_power:
    url: https://ovmm.example.com:7002
    user: backup
    password: "{{ ovm_password }}"
    vm_id: 0004fb000006000011aa22bb33cc44dd
    state: running
"""

RETURN = r"""
power:
  description: What happened to the VM.
  returned: success
  type: dict
  contains:
    vm_id:
      description: Id of the VM.
      type: str
      returned: always
    vm_name:
      description: Name of the VM.
      type: str
      returned: always
    before:
      description: Run state before.
      type: str
      returned: always
      sample: RUNNING
    after:
      description: Run state after, in check mode the one that it would have.
      type: str
      returned: always
      sample: STOPPED
    killed:
      description: Whether the VM had to be switched off.
      type: bool
      returned: always
    duration:
      description: Seconds that it took.
      type: float
      returned: always
    finished:
      description: When the state was reached, in seconds since the epoch by the clock of the host that runs the module.
      type: float
      returned: always
failure:
  description:
    - What went wrong, for programs. With the kind V(PowerStateError), C(asked) says whether the VM was asked by this
      call for another state, or may have been.
  returned: failure
  type: dict
"""

import math
import time
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._manager import manager_client, manager_options
from ..module_utils._module import engine
from ..module_utils.errors import InvalidInputError, ManagerError
from ..module_utils.manager.client import ManagerClient
from ..module_utils.manager.power import foresee_start, foresee_stop, may_pass, start_vm, stop_vm

PAUSE = 5.0  # seconds between two attempts to reach the manager


def change(module: AnsibleModule, client: ManagerClient, timeout: float, kill_within: float) -> dict[str, Any]:
    """Bring the VM into the wanted state, or in check mode say what would happen."""
    vm_id, wanted = module.params["vm_id"], module.params["state"]
    if module.check_mode:
        return asdict((foresee_stop if wanted == "stopped" else foresee_start)(client, vm_id))
    if wanted == "stopped":
        return asdict(stop_vm(client, vm_id, timeout=timeout, kill=module.params["kill"], kill_within=kill_within))
    return asdict(start_vm(client, vm_id, timeout=timeout))


def connect_and_change(module: AnsibleModule) -> dict[str, Any]:
    """Do it, even if the manager is out of order for a while: a VM that has to run again depends on it."""
    remaining = module.params["timeout"]
    begun = time.monotonic()
    deadline = begun + remaining
    within = module.params["kill_within"]
    kill_until = begun + (math.inf if within is None else within)
    while True:
        try:
            with manager_client(module) as client:
                return change(module, client, remaining, kill_until - time.monotonic())
        except ManagerError as error:
            waits = module.params["state"] == "running" and not module.check_mode and may_pass(error)
            if not waits or time.monotonic() >= deadline:
                raise
            time.sleep(PAUSE)
            remaining = max(deadline - time.monotonic(), 1.0)


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **manager_options(),
            "vm_id": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["running", "stopped"], "required": True},
            "timeout": {"type": "float", "default": 600.0},
            "kill": {"type": "bool", "default": False},
            "kill_within": {"type": "float"},
        },
        supports_check_mode=True,
    )
    with engine(module, "requests"):
        for option in ("timeout", "kill_within"):
            seconds = module.params[option]
            if seconds is not None and not seconds > 0:
                raise InvalidInputError(f"{option} must be more than 0 seconds, not {seconds}", option=option)
        power = connect_and_change(module)
        result: dict[str, Any] = {"changed": power.pop("changed"), "power": {**power, "finished": time.time()}}
        if module._diff:
            result["diff"] = {"before": {"state": power["before"]}, "after": {"state": power["after"]}}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
