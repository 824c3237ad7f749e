# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The option that says how servers are reached by ssh."""

from __future__ import annotations

import dataclasses
from typing import Any

from ._environment import env_fallback
from .images.ssh import COMPARE, HOST_KEYS, SshSettings


def ssh_options() -> dict[str, Any]:
    """Return the specification of the option C(ssh), that of the documentation fragment C(ssh)."""
    suboptions: dict[str, dict[str, Any]] = {
        "user": {"type": "str", "fallback": (env_fallback, ["OVM_SSH_USER"])},
        "port": {"type": "int"},
        "key_file": {"type": "path", "fallback": (env_fallback, ["OVM_SSH_KEY_FILE"])},
        "known_hosts": {"type": "path", "fallback": (env_fallback, ["OVM_SSH_KNOWN_HOSTS"])},
        "host_keys": {"type": "str", "choices": list(HOST_KEYS)},
        "sudo": {"type": "bool"},
        "legacy": {"type": "bool"},
        "streams": {"type": "int"},
        "connect_timeout": {"type": "int"},
        "stall_timeout": {"type": "int"},
        "compare": {"type": "str", "choices": list(COMPARE)},
        "max_load": {"type": "float"},
        "addresses": {"type": "dict", "default": {}},
    }
    for field in dataclasses.fields(SshSettings):
        if field.default not in (None, dataclasses.MISSING):
            suboptions[field.name]["default"] = field.default
    suboptions["key_file"]["no_log"] = False  # where the key is, not the key
    suboptions["host_keys"]["no_log"] = False
    return {"type": "dict", "options": suboptions}
