#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: recovery_point
short_description: Pin a recovery point
description:
  - Pins a recovery point, so that M(ovm.backup.retention) keeps it with all that it needs, or takes the pin away.
  - A pin can be set at any time, also while another run works on the client. One that comes too late, because the
    recovery point is being removed, is refused.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.vault
  - ovm.backup.point
  - ovm.backup.attributes
  - ovm.backup.attributes.vault_group
options:
  pinned:
    description:
      - Whether the recovery point is pinned.
    type: bool
    required: true
  note:
    description:
      - Why it is pinned, for people. Without it the note of a pin stays as it is. Only with O(pinned=true).
    type: str
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
    details: With V(latest) as O(point) another recovery point is meant after each backup.
seealso:
  - module: ovm.backup.retention
  - module: ovm.backup.recovery_point_info
"""

EXAMPLES = r"""
- name: Keep what there was before the upgrade
  ovm.backup.recovery_point:
    vault: /srv/vault
    client: db01
    point: latest
    pinned: true
    note: before the upgrade to 19c
  register: pinned

- name: Say it better
  ovm.backup.recovery_point:
    vault: /srv/vault
    client: db01
    point: "{{ pinned.recovery_point.id }}"
    pinned: true
    note: before the upgrade to 19c, until the end of the year

- name: Let retention decide again
  ovm.backup.recovery_point:
    vault: /srv/vault
    client: db01
    point: "{{ pinned.recovery_point.id }}"
    pinned: false
"""

RETURN = r"""
recovery_point:
  description:
    - The recovery point, in the form of RV(ovm.backup.recovery_point_info#module:recovery_points).
  returned: success
  type: dict
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
"""

import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._module import engine
from ..module_utils._point import point_options, selected_point
from ..module_utils._vault import lock_owner, vault_options
from ..module_utils.errors import InvalidInputError
from ..module_utils.vault.description import describe_point
from ..module_utils.vault.pins import Pin, describe_pin, read_pin, remove_pin, write_pin


def wanted_pin(module: AnsibleModule, before: Pin | None) -> Pin | None:
    """Return the pin that there should be."""
    pinned, note = module.params["pinned"], module.params["note"]
    if note is not None and not pinned:
        raise InvalidInputError("note is for a recovery point that is pinned: leave it out with pinned: false")
    if not pinned:
        return None
    if before is not None and before.problem is None and note in (None, before.note):
        return before
    return Pin(note or "", time.time(), lock_owner(module))


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **vault_options(),
            **point_options(),
            "pinned": {"type": "bool", "required": True},
            "note": {"type": "str"},
        },
        supports_check_mode=True,
    )
    with engine(module, "blake3"):
        client, point = selected_point(module)
        directory = os.path.join(client.directory, point.id)
        before = read_pin(directory)
        after = wanted_pin(module, before)
        if before != after and not module.check_mode:
            remove_pin(directory) if after is None else write_pin(directory, after)
        result: dict[str, Any] = {
            "changed": before != after,
            "recovery_point": {**describe_point(client, point), **describe_pin(after)},
        }
    if module._diff:
        result["diff"] = {"before": describe_pin(before), "after": describe_pin(after)}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
