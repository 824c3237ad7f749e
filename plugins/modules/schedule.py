#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: schedule
short_description: Write the systemd units that run the tasks of subclients on a schedule
description:
  - Writes a service and a timer for each task that the schedules of subclients repeat, and for the janitor, and removes
    those that it has written before and that no schedule wants any more.
  - Before anything is written, C(systemd-analyze) checks all calendar expressions and all units.
  - It does not talk to a running systemd. The role P(ovm.backup.schedule#role) lets systemd read the units, and enables
    and starts the timers.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.attributes
options:
  state:
    description:
      - V(present) makes the units those of the subclients. V(absent) removes all of them.
    type: str
    choices: [present, absent]
    default: present
  subclients:
    description:
      - The definitions of all subclients by their names. Required with O(state=present).
    type: dict
  ansible_playbook:
    description:
      - Path of the program C(ansible-playbook) on the host. Required with O(state=present).
    type: str
  directory:
    description:
      - Directory in which it is run, and whose C(ansible.cfg) counts. Required with O(state=present).
    type: str
  inventory:
    description:
      - Inventory to run with, seen from O(directory). Without it that of C(ansible.cfg) counts.
    type: str
    default: ""
  user:
    description:
      - User that runs it.
    type: str
    default: root
  environment_file:
    description:
      - File with environment variables, such as E(OVM_PASSWORD), that systemd reads as root when a task starts. It has
        to exist, and should be readable by root only.
    type: str
    default: ""
  options:
    description:
      - More arguments for C(ansible-playbook), such as V(--vault-password-file=/etc/ovm-backup/key).
      - They stand in the unit and in the process list, where everybody can read them. Secrets belong into
        O(environment_file).
    type: list
    elements: str
    default: []
  service_options:
    description:
      - More directives for the section C([Service]) of the units, such as C(Nice). A list sets a directive several
        times.
      - C(Environment), C(PassEnvironment) and C(SetCredential) are refused, because everybody can read a unit.
        Variables belong into O(environment_file).
    type: dict
    default: {}
  wait:
    description:
      - Seconds that a task waits for another task of the same subclient that still runs. After that it fails.
    type: int
    default: 21600
  randomized_delay:
    description:
      - Each run starts up to this many seconds late, by chance.
    type: int
    default: 0
  accuracy:
    description:
      - Seconds within which systemd may choose the moment of a start, to wake up less often.
    type: int
    default: 60
  on_failure:
    description:
      - Unit that systemd starts when a task fails, such as V(notify@%n.service).
    type: str
    default: ""
  janitor_calendar:
    description:
      - When to run the playbook C(ovm.backup.janitor) with C(apply=true), as a calendar expression of systemd, in UTC
        unless it names another time zone. Without it the janitor is not scheduled.
    type: str
    default: ""
  prefix:
    description:
      - How the names of the units begin. Schedules with different prefixes do not know each other.
    type: str
    default: ovm-backup
  path:
    description:
      - Directory of the units.
    type: path
    default: /etc/systemd/system
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
  action_group:
    support: full
    membership: [ovm.backup.schedule]
seealso:
  - name: ansible.builtin.systemd_service
    description: Starts timers and services on hosts that systemd runs.
    link: https://docs.ansible.com/ansible/latest/collections/ansible/builtin/systemd_service_module.html
"""

EXAMPLES = r"""
- name: Write the units of all schedules
  ovm.backup.schedule:
    subclients: "{{ lookup('ovm.backup.subclients', '', definitions=ovm_backup_subclients) }}"
    ansible_playbook: /opt/backup/bin/ansible-playbook
    directory: /srv/site
    inventory: inventory
    user: backup
    environment_file: /etc/ovm-backup/environment

- name: Let the backups be gentle to others
  ovm.backup.schedule:
    subclients: "{{ ovm_backup_subclients }}"
    ansible_playbook: /opt/backup/bin/ansible-playbook
    directory: /srv/site
    service_options:
      Nice: 10
      IOSchedulingClass: idle

- name: Clean up after dead runs each morning, and tell somebody of what fails
  ovm.backup.schedule:
    subclients: "{{ ovm_backup_subclients }}"
    ansible_playbook: /opt/backup/bin/ansible-playbook
    directory: /srv/site
    janitor_calendar: "05:30 Europe/Vienna"
    on_failure: notify@%n.service

- name: Remove all units
  ovm.backup.schedule:
    state: absent
"""

RETURN = r"""
units:
  description: The services that the schedules want, in the order of their names.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of service and timer, without ending.
      type: str
      returned: always
      sample: ovm-backup-databases-backup
    subclient:
      description: Name of the subclient, V(null) for the janitor.
      type: str
      returned: always
      sample: databases
    task:
      description: What is run, V(backup), V(retention), V(verify) or V(janitor).
      type: str
      returned: always
      sample: backup
    backup_type:
      description: Type of the backup that is asked for, V(null) for the subclient's own.
      type: str
      returned: always
      sample: full
    calendars:
      description: When it is run.
      type: list
      elements: dict
      returned: always
      contains:
        expression:
          description: The calendar expression with its time zone.
          type: str
          returned: always
          sample: Mon..Sat 22:00 UTC
        next:
          description: When that is next, V(null) for never.
          type: str
          returned: always
          sample: Wed 2026-11-25 22:00:00 UTC
summary:
  description: The same as lines for people.
  returned: success
  type: list
  elements: str
  sample: ["databases: backup, Mon..Sat 22:00 UTC, next Wed 2026-11-25 22:00:00 UTC"]
timers:
  description: Names of the timers that are there and can be started. In check mode a new one is not.
  returned: success
  type: list
  elements: str
  sample: [ovm-backup-databases-backup.timer]
written:
  description: Names of the files that are new or changed.
  returned: success
  type: list
  elements: str
  sample: [ovm-backup-databases-backup.service, ovm-backup-databases-backup.timer]
removed:
  description: Names of the files that are not wanted any more.
  returned: success
  type: list
  elements: str
  sample: []
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
"""

import os
import pwd
import stat
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._module import engine
from ..module_utils._systemd import Changes, compare, next_times, verify
from ..module_utils.errors import InvalidInputError
from ..module_utils.planning.schedule_units import Runner, Unit, marker, schedule_units
from ..module_utils.planning.subclient import Subclient

OPTIONS: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "subclients": {"type": "dict"},
    "ansible_playbook": {"type": "str"},
    "directory": {"type": "str"},
    "inventory": {"type": "str", "default": ""},
    "user": {"type": "str", "default": "root"},
    "environment_file": {"type": "str", "default": ""},
    "options": {"type": "list", "elements": "str", "default": []},
    "service_options": {"type": "dict", "default": {}},
    "wait": {"type": "int", "default": 21600},
    "randomized_delay": {"type": "int", "default": 0},
    "accuracy": {"type": "int", "default": 60},
    "on_failure": {"type": "str", "default": ""},
    "janitor_calendar": {"type": "str", "default": ""},
    "prefix": {"type": "str", "default": "ovm-backup"},
    "path": {"type": "path", "default": "/etc/systemd/system"},
}
NEEDED = ["subclients", "ansible_playbook", "directory"]


def wanted_units(module: AnsibleModule) -> list[Unit]:
    """Return the units of all schedules; C(InvalidInputError) for what the host cannot run."""
    given = module.params
    runner = Runner(
        flock=module.get_bin_path("flock", required=True),
        options=tuple(given["options"]),
        **{name: given[name] for name in OPTIONS if name not in ("state", "subclients", "options", "path")},
    )
    units = schedule_units([Subclient.parse(*item) for item in given["subclients"].items()], runner)
    program, directory, secrets = runner.ansible_playbook, runner.directory, runner.environment_file
    if not (os.path.isfile(program) and os.access(program, os.X_OK)):
        raise InvalidInputError(f"ansible_playbook: there is no program {program} on this host", path=program)
    if not os.path.isdir(directory):
        raise InvalidInputError(f"directory: there is no directory {directory} on this host", path=directory)
    try:
        pwd.getpwnam(runner.user)
    except KeyError:
        raise InvalidInputError(f"user: there is no user {runner.user} on this host", user=runner.user) from None
    if secrets and not os.path.isfile(secrets):
        raise InvalidInputError(f"environment_file: there is no file {secrets} on this host", path=secrets)
    if secrets and os.stat(secrets).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        module.warn(f"{secrets} can be read by others than its owner; its mode should be 0600.")
    return units


def write(module: AnsibleModule, changes: Changes, path: str, analyze: str) -> None:
    """Check the files, then bring the directory up to date."""
    with tempfile.TemporaryDirectory(prefix="ovm-backup-") as directory:
        files = {name: os.path.join(directory, name) for name in changes.after}
        for name, file in files.items():
            with open(file, "w", encoding="utf-8") as output:
                output.write(changes.after[name])
            os.chmod(file, 0o644)
        if changes.written:
            verify(files.values(), analyze, module.run_command)
        if module.check_mode:
            return
        for name in changes.written:
            module.atomic_move(files[name], os.path.join(path, name))
    for name in changes.removed:
        os.unlink(os.path.join(path, name))


def described(units: list[Unit], times: dict[str, str]) -> list[dict[str, Any]]:
    """Return what the module says of the units."""
    return [
        {
            "name": unit.name,
            "subclient": unit.subclient,
            "task": unit.task,
            "backup_type": unit.backup_type,
            "calendars": [
                {"expression": calendar, "next": times[calendar] or None} for calendar in unit.calendars.values()
            ],
        }
        for unit in units
    ]


def line(unit: dict[str, Any], calendar: dict[str, Any]) -> str:
    """Return one time of a unit for people."""
    task = " ".join(filter(None, (unit["backup_type"], unit["task"])))
    whose = f"{unit['subclient']}: " if unit["subclient"] is not None else ""
    return f"{whose}{task}, {calendar['expression']}, next {calendar['next'] or 'never'}"


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(argument_spec=OPTIONS, required_if=[("state", "present", NEEDED)], supports_check_mode=True)
    module.run_command_environ_update = {"LC_ALL": "C.UTF-8"}
    given = module.params
    with engine(module):
        units: list[Unit] = []
        times: dict[str, str] = {}
        analyze = ""
        if given["state"] == "present":
            analyze = module.get_bin_path("systemd-analyze", required=True)
            units = wanted_units(module)
            times = next_times(units, analyze, module.run_command)
        files = {name: text for unit in units for name, text in unit.files.items()}
        changes = compare(given["path"], given["prefix"], marker(given["prefix"]), files)
        write(module, changes, given["path"], analyze)
    result = described(units, times)
    for unit in result:
        for calendar in unit["calendars"]:
            if calendar["next"] is None:
                whose = f"subclient {unit['subclient']}" if unit["subclient"] is not None else unit["task"]
                module.warn(f"{whose}: {calendar['expression']!r} never comes again")
    module.exit_json(
        changed=bool(changes.written or changes.removed),
        units=result,
        summary=[line(unit, calendar) for unit in result for calendar in unit["calendars"]],
        timers=[
            f"{unit.name}.timer" for unit in units if not module.check_mode or f"{unit.name}.timer" in changes.before
        ],
        written=changes.written,
        removed=changes.removed,
        **({"diff": changes.diff()} if module._diff else {}),
    )


if __name__ == "__main__":
    main()
