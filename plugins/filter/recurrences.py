# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter ovm.backup.recurrences."""

from __future__ import annotations

DOCUMENTATION = r"""
name: recurrences
author:
  - ovm.backup contributors (@ovm-backup)
short_description: Say the schedules of subclients as recurrence rules
version_added: 0.1.0
description:
  - Returns what the key C(schedule) of each subclient repeats, with a rule in the form of RFC 5545 that AWX accepts.
  - Times are in the time zone of the subclient, or in the one that the calendar expression names.
  - It fails for expressions that name a year, that are more often than once in a minute, or that never come.
options:
  _input:
    description: The definitions of all subclients by their names.
    type: dict
    required: true
seealso:
  - plugin: ovm.backup.subclients
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Show what is repeated, and how AWX says it
  ansible.builtin.debug:
    msg: "{{ lookup('ovm.backup.subclients', 'subclients') | ovm.backup.recurrences | map(attribute='rule') }}"
"""

RETURN = r"""
_value:
  description:
    - For each task that is repeated C(name), which no other has, C(subclient), C(task), C(backup_type), which is
      V(null) for the subclient's own, C(calendar) with its time zone, C(rule), and C(variables) of the playbook.
  type: list
  elements: dict
"""

from collections.abc import Mapping
from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.ovm.backup.plugins.module_utils.errors import OvmBackupError


def to_recurrences(value: Any) -> list[dict[str, Any]]:
    """Return the rules of the schedules; C(AnsibleFilterError) for what is no subclient or cannot be a rule."""
    if not isinstance(value, Mapping):
        raise AnsibleFilterError(
            f"ovm.backup.recurrences needs subclients by their names, not a {type(value).__name__}"
        )
    # To find one filter Ansible loads all filters of a collection, without byte code, for each task that uses one.
    from ansible_collections.ovm.backup.plugins.module_utils.planning.recurrence import recurrences
    from ansible_collections.ovm.backup.plugins.module_utils.planning.subclient import Subclient

    try:
        return [found.as_dict() for found in recurrences(Subclient.parse(*item) for item in value.items())]
    except OvmBackupError as error:
        raise AnsibleFilterError(error.message) from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., list[dict[str, Any]]]]:
        return {"recurrences": to_recurrences}
