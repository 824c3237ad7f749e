# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter ovm.backup.client_name."""

from __future__ import annotations

DOCUMENTATION = r"""
name: client_name
author:
  - ovm.backup contributors (@ovm-backup)
short_description: Turn the name of a VM into the name of its client
version_added: 0.1.0
description:
  - Returns the client name that belongs to the name of a VM.
  - >-
    Each white-space character becomes one underscore, and so does each of the characters
    V(\\ | ` ~ ! @ # $ % ^ & * + = < > ? , { } ( \) : ; ' " /).
  - Everything else stays as it is, namely letters, digits, dots, hyphens, underscores, square brackets and all other
    non-ASCII characters.
  - Applying the filter to its own result changes nothing.
notes:
  - Different VM names can lead to the same client name, and some lead to a name that cannot be a folder. The plan of a
    backup then gives a distinct name to the client, so what the plan says is the truth, and this filter only the rule.
options:
  _input:
    description: The name of a VM.
    type: str
    required: true
seealso:
  - module: ovm.backup.vm_info
"""

EXAMPLES = r"""
- name: Show the client name of a VM
  ansible.builtin.debug:
    msg: "{{ 'db 01 (test)' | ovm.backup.client_name }}"  # db_01__test_

- name: Show the client names of several VMs
  ansible.builtin.debug:
    msg: "{{ ['web/1', 'büro.lan', 'app[2]'] | map('ovm.backup.client_name') | list }}"  # web_1, büro.lan, app[2]
"""

RETURN = r"""
_value:
  description: The client name, with as many characters as the VM name.
  type: str
"""

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.ovm.backup.plugins.module_utils.planning.names import client_name
from ansible_collections.ovm.backup.plugins.module_utils.planning.reading import kind_of


def to_client_name(value: Any) -> str:
    """Return the client name for the name of a VM; C(AnsibleFilterError) if that is not a string."""
    if not isinstance(value, str):
        str(value)  # an undefined variable says so itself, and which one it is
        kind = "nothing" if value is None else kind_of(value)  # the type itself may be a private one of ansible-core
        raise AnsibleFilterError(f"ovm.backup.client_name needs the name of a VM as a string, not {kind}")
    return client_name(value)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[[Any], str]]:
        return {"client_name": to_client_name}
