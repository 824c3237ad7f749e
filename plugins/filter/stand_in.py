# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter ovm.backup.stand_in."""

from __future__ import annotations

DOCUMENTATION = r"""
name: stand_in
author:
  - ovm.backup contributors (@ovm-backup)
short_description: Hand a VM over to another proxy
version_added: 0.1.0
description:
  - Returns the plan of a VM for its proxy, or, if that was lost, for the next of its stand-ins, with the sources and
    places of that one.
positional: lost
options:
  _input:
    description: The VM's entry in RV(ovm.backup.plan_info#module:plan.vms).
    type: dict
    required: true
  lost:
    description: Inventory names of the proxies that were lost.
    type: list
    elements: str
    required: true
seealso:
  - module: ovm.backup.plan_info
"""

EXAMPLES = r"""
- name: Show who goes on with a VM if its proxy is lost
  ansible.builtin.debug:
    msg: "{{ (night.plan.vms[2] | ovm.backup.stand_in([night.plan.vms[2].proxy])).proxy | default('nobody') }}"
"""

RETURN = r"""
_value:
  description: The plan of the VM for that proxy, which is empty when there is none.
  type: dict
"""

from collections.abc import Mapping
from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.ovm.backup.plugins.module_utils.planning.stand_in import plan_of_stand_in


def to_stand_in(value: Any, lost: Any) -> dict[str, Any]:
    """Return the plan of a VM for another proxy; C(AnsibleFilterError) if it is none."""
    try:
        if not isinstance(value, Mapping) or isinstance(lost, (str, Mapping)):
            raise TypeError(f"a {type(value).__name__} and a {type(lost).__name__}")
        return plan_of_stand_in(value, list(lost))
    except (KeyError, TypeError) as error:
        raise AnsibleFilterError(
            f"ovm.backup.stand_in needs a VM of the plan and a list of names of proxies: {error!r}"
        ) from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"stand_in": to_stand_in}
