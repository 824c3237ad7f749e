# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter ovm.backup.outage_budget."""

from __future__ import annotations

DOCUMENTATION = r"""
name: outage_budget
author:
  - ovm.backup contributors (@ovm-backup)
short_description: Tell how long a VM may be down for its backup
version_added: 0.1.0
description:
  - Says whether a VM may be shut down now, by its plan, and how much time shutdown and transfer may take together.
  - A tenth of what is allowed, 60 seconds at most, is left for starting the VM again.
positional: max_outage, now
options:
  _input:
    description: The VM's entry in RV(ovm.backup.plan_info#module:plan.vms).
    type: dict
    required: true
  max_outage:
    description: Seconds that an outage may last, V(0) for no limit. RV(ovm.backup.plan_info#module:plan.max_outage).
    type: float
    required: true
  now:
    description: The time now in seconds since the epoch, by the clock of the control node.
    type: float
    required: true
seealso:
  - module: ovm.backup.vm_power
  - module: ovm.backup.backup
"""

EXAMPLES = r"""
- name: Show how long a VM may be down, if it may be shut down now
  ansible.builtin.debug:
    msg: "{{ night.plan.vms[2] | ovm.backup.outage_budget(night.plan.max_outage, now().timestamp()) }}"
"""

RETURN = r"""
_value:
  description:
    - C(seconds) that shutdown and transfer may take, V(null) for no limit; C(problem), which is empty unless the VM may
      not be shut down now.
  type: dict
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Callable

from ansible.errors import AnsibleFilterError


def to_outage_budget(value: Any, max_outage: Any, now: Any) -> dict[str, Any]:
    """Return the budget of a VM of the plan; C(AnsibleFilterError) if it is none."""
    # To find one filter Ansible loads all filters of a collection, without byte code, for each task that uses one.
    from ansible_collections.ovm.backup.plugins.module_utils.planning.outage import outage_budget

    try:
        if not isinstance(value, Mapping):
            raise TypeError(f"a {type(value).__name__} is no VM of a plan")
        found = (value["outage_until"], value["expected_outage"])
        until, expected = (None if number is None else float(number) for number in found)
        return asdict(outage_budget(max_outage=float(max_outage), until=until, expected=expected, now=float(now)))
    except (KeyError, TypeError, ValueError) as error:
        raise AnsibleFilterError(
            "ovm.backup.outage_budget needs a VM of the plan with outage_until and expected_outage, and max_outage and "
            f"now as numbers: {error!r}"
        ) from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"outage_budget": to_outage_budget}
