# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Options that fall back to the environment."""

from __future__ import annotations

import os

from ansible.module_utils.errors import AnsibleFallbackNotFound


def env_fallback(*names: str) -> str:
    """Return the first of these environment variables that says something.

    Unlike the function of this name in Ansible, it takes an empty variable for one that is not set: a credential of
    AWX sets all variables of its type, those of the fields that were left blank to nothing.
    """
    for name in names:
        value = os.environ.get(name, "")
        if value:
            return value
    raise AnsibleFallbackNotFound
