#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: boot_test
short_description: Start a recovery point from the vault, and see whether it comes up
description:
  - Starts a machine on qemu with the disks of a recovery point, waits until it is up, has failed, or the time is over,
    takes a picture of its screen, and ends it. Nothing is restored; the guest reads its disks from the vault.
  - What the guest writes is gone with the machine. Its network ends in qemu, it reaches nothing and nobody, and it gets
    no device of the host.
  - The result is stored with the recovery point, with the screenshot and the log of its consoles, in place of the one
    before, and is shown in the reports.
  - The guest is started on other hardware than on Oracle VM. One that does not come up may come up there all the same,
    when it lacks drivers for the emulated disks; O(disk_bus) chooses others.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.vault
  - ovm.backup.point
  - ovm.backup.hardware
  - ovm.backup.attributes
  - ovm.backup.attributes.vault_group
options:
  pattern:
    description:
      - A regular expression. The machine is up when its serial console, or its screen in text mode, says so, as
        V(login:).
      - One or more of O(pattern), O(port) and O(screen_seconds) are needed, and all that are given must hold.
    type: str
  port:
    description:
      - A TCP port of the guest. The machine is up when it takes connections there.
    type: int
  screen_seconds:
    description:
      - The machine is up when its screen is not blank and has shown the same for so many seconds, but for a cursor or a
        clock. A weak sign, since an error message does not change either. Look at the screenshot.
    type: float
  failure_patterns:
    description:
      - Regular expressions. The test ends when the console or the screen in text mode says one of them. By default
        those of kernels and boot loaders that give up, as V(Kernel panic) and V(No bootable device).
    type: list
    elements: str
  timeout:
    description:
      - Seconds after which a machine that is not up has failed.
    type: float
    default: 600.0
  accelerator:
    description:
      - V(kvm) uses the processor's virtualization, V(tcg) emulates the processor, which is many times slower. V(auto)
        takes V(kvm) where it can be used.
    type: str
    choices: [auto, kvm, tcg]
    default: auto
  memory:
    description:
      - Memory of the machine in MiB. By default that of the VM, but no more than half of what is free.
    type: int
  cpus:
    description:
      - CPUs of the machine. By default those of the VM, but no more than the host has.
    type: int
  isolated_network:
    description:
      - Whether the machine has its first network card, in a network that ends in qemu. Without it has none.
    type: bool
    default: true
  address:
    description:
      - The guest's own address with its network, as V(192.168.5.20/24), for a guest with a fixed address. Other guests
        get one by DHCP.
    type: str
  scratch_directory:
    description:
      - Directory for what the guest writes meanwhile. The one for temporary files by default.
    type: path
  max_age:
    description:
      - Do nothing if the recovery point has a good result that is younger. A whole number of seconds, or a number with
        a unit, as V(24h) or V(30d).
    type: raw
  fail_on_bad:
    description:
      - Whether the task fails, after the result was stored, if the machine did not come up.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    details: Looks at everything that can be looked at before a machine is started, and starts none.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - The task is changed when it stored a result. With O(max_age) a second call within that time changes nothing.
notes:
  - Needs qemu and nbdkit with its plugin for Python on the host that runs the module, C(qemu-system-x86), C(nbdkit) and
    C(nbdkit-plugin-python) on Debian, C(qemu-kvm), C(nbdkit) and C(nbdkit-python-plugin) on Oracle Linux; C(ovmf) or
    C(edk2-ovmf) for guests that start by UEFI.
seealso:
  - module: ovm.backup.point_export
  - module: ovm.backup.verify
  - module: ovm.backup.report
"""

EXAMPLES = r"""
- name: Start the newest recovery point, and wait for its login prompt
  ovm.backup.boot_test:
    vault: /srv/vault
    client: db01
    pattern: "login:"

- name: Wait until it takes connections on the port of its database, with its own address
  ovm.backup.boot_test:
    vault: /srv/vault
    client: db01
    port: 1521
    address: 192.168.5.20/24
    disk_bus: virtio
    nic_model: virtio
    max_age: 7d

- name: Take a picture of a guest of which nothing is known, and go on whatever it shows
  ovm.backup.boot_test:
    vault: /srv/vault
    client: db01
    screen_seconds: 30
    fail_on_bad: false
  register: tested
"""

RETURN = r"""
recovery_point:
  description: The recovery point, in the form of RV(ovm.backup.recovery_point_info#module:recovery_points).
  returned: success
  type: dict
machine:
  description: The machine that was started, in check mode the one that would be. Also returned when the task fails.
  returned: success
  type: dict
  contains:
    accelerator:
      description: V(kvm) or V(tcg).
      type: str
      returned: always
    chipset:
      description: V(pc) or V(q35).
      type: str
      returned: always
    firmware:
      description: V(bios) or V(uefi).
      type: str
      returned: always
    disk_bus:
      description: What the disks are connected to.
      type: str
      returned: always
    nic_model:
      description: Model of the network card, empty without one.
      type: str
      returned: always
    memory:
      description: Memory in MiB.
      type: int
      returned: always
    cpus:
      description: Number of CPUs.
      type: int
      returned: always
boot_test:
  description:
    - The result that is stored with the recovery point, V(null) in check mode if there is none. Also returned when the
      task fails.
  returned: success
  type: dict
  contains:
    tested_at:
      description: When the machine was started, in seconds since the epoch.
      type: float
      returned: always
    ok:
      description: Whether it came up.
      type: bool
      returned: always
    verdict:
      description: What decided, for people.
      type: str
      returned: always
    duration:
      description: Seconds that it took.
      type: float
      returned: always
    machine:
      description: The machine, as RV(machine).
      type: dict
      returned: always
      contains:
        accelerator:
          description: V(kvm) or V(tcg).
          type: str
          returned: always
        chipset:
          description: V(pc) or V(q35).
          type: str
          returned: always
        firmware:
          description: V(bios) or V(uefi).
          type: str
          returned: always
        disk_bus:
          description: What the disks were connected to.
          type: str
          returned: always
        nic_model:
          description: Model of the network card, empty without one.
          type: str
          returned: always
        memory:
          description: Memory in MiB.
          type: int
          returned: always
        cpus:
          description: Number of CPUs.
          type: int
          returned: always
    versions:
      description: The versions of C(qemu) and of the C(collection).
      type: dict
      returned: always
    screenshot:
      description: Hash of the screenshot, V(null) if there is none.
      type: str
      returned: always
    log:
      description: Hash of the log.
      type: str
      returned: always
screenshot:
  description:
    - File with the screenshot (PNG), V(null) if there is none. Also returned when the task fails.
    - In the vault, so in a bucket an object, and in an encrypted vault not readable as it is. Reports show it.
  returned: success
  type: str
log:
  description:
    - File with the log of the consoles, V(null) if there is none. Also returned when the task fails.
    - In the vault, as the screenshot.
  returned: success
  type: str
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
"""

import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._durations import duration_option
from ..module_utils._hardware import hardware_options, wishes_of
from ..module_utils._module import engine
from ..module_utils._point import point_options, selected_point
from ..module_utils._vault import vault_options
from ..module_utils.errors import BootTestError
from ..module_utils.export.boot_test import BootTestRequest, plan_boot_test, run_boot_test
from ..module_utils.export.qemu import ACCELERATORS
from ..module_utils.export.watch import FAILURES, Conditions
from ..module_utils.vault.boot_test_record import LOG_NAME, SCREENSHOT_NAME, BootTest, read_boot_test, write_boot_test
from ..module_utils.vault.description import describe_point


def request_of(module: AnsibleModule) -> BootTestRequest:
    """Return what the options ask for."""
    parameters = module.params
    failures = parameters["failure_patterns"]
    return BootTestRequest(
        conditions=Conditions(
            pattern=parameters["pattern"],
            port=parameters["port"],
            screen_seconds=parameters["screen_seconds"],
            failures=FAILURES if failures is None else tuple(failures),
        ),
        wishes=wishes_of(module),
        network=parameters["isolated_network"],
        scratch=parameters["scratch_directory"],
        **{name: parameters[name] for name in ("slots", "accelerator", "memory", "cpus", "address", "timeout")},
    )


def files_of(directory: str, result: BootTest | None) -> dict[str, str | None]:
    """Return where the files of a result are."""
    return {
        "screenshot": os.path.join(directory, SCREENSHOT_NAME) if result is not None and result.screenshot else None,
        "log": os.path.join(directory, LOG_NAME) if result is not None and result.log else None,
    }


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **vault_options(),
            **point_options(),
            **hardware_options(),
            "pattern": {"type": "str"},
            "port": {"type": "int"},
            "screen_seconds": {"type": "float"},
            "failure_patterns": {"type": "list", "elements": "str"},
            "timeout": {"type": "float", "default": 600.0},
            "accelerator": {"type": "str", "choices": list(ACCELERATORS), "default": "auto"},
            "memory": {"type": "int"},
            "cpus": {"type": "int"},
            "isolated_network": {"type": "bool", "default": True},
            "address": {"type": "str"},
            "scratch_directory": {"type": "path"},
            "max_age": {"type": "raw"},
            "fail_on_bad": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    with engine(module, "blake3", "zstandard"):
        request = request_of(module)
        max_age = duration_option(module, "max_age") if module.params["max_age"] is not None else 0
        client, point = selected_point(module)
        directory = os.path.join(client.directory, point.id)
        found = read_boot_test(directory)
        plan = plan_boot_test(client, point, request)
        due = found is None or not found.ok or not 0 <= time.time() - found.tested_at < max_age
        if due and not module.check_mode:
            made = run_boot_test(client, plan, request)
            found = write_boot_test(directory, made.result, screenshot=made.screenshot, log=made.log)
        result: dict[str, Any] = {
            "changed": due,
            "recovery_point": describe_point(client, point),
            "machine": plan.as_dict(),
            "boot_test": found.as_dict() if found is not None else None,
            **files_of(directory, found),
        }
        if found is not None and not found.ok and module.params["fail_on_bad"] and not module.check_mode:
            told = f"Recovery point {point.id} of client {client.name} is {found.verdict}"
            error = BootTestError(told, client=client.name, point=point.id)
            module.fail_json(msg=error.message, failure=error.as_failure(), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
