# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # Attributes that all modules have; a module adds check_mode, diff_mode and idempotent itself.
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return a changed status prediction without modifying anything.
  diff_mode:
    description: Returns details on what has changed (or possibly needs changing in C(check_mode)) in diff mode.
  idempotent:
    description:
      - When run twice in a row outside check mode with the same arguments, the second invocation indicates no change.
      - This assumes that the system controlled or queried by the module has not changed in a relevant way.
  platform:
    description: The host that runs the module, a proxy.
    support: full
    platforms: posix
  action_group:
    description:
      - Use the name of the group, such as C(group/ovm.backup.vault), in C(module_defaults) to set the common options.
"""

    # Of modules with an action plugin that prints how far they are.
    SHOWS_PROGRESS = r"""
options: {}
attributes:
  action:
    description: Has an action plugin, so a part of it runs on the control node.
    support: full
  async:
    description: Supports being used with the C(async) keyword.
    support: full
    details: Then no progress is shown.
"""

    READ_ONLY = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: Reads only.
  diff_mode:
    support: N/A
    details: Reads only.
  idempotent:
    support: full
    details: Reads only.
"""

    MANAGER_GROUP = r"""
options: {}
attributes:
  action_group:
    support: full
    membership: [ovm.backup.manager]
"""

    VAULT_GROUP = r"""
options: {}
attributes:
  action_group:
    support: full
    membership: [ovm.backup.vault]
"""
