# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What the modules share that talk to the manager: the options of the connection, and a client made from them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ._environment import env_fallback
from .manager.client import ManagerClient, connect
from .manager.settings import ConnectionSettings


def manager_options() -> dict[str, Any]:
    """Return the options of the documentation fragment C(manager)."""
    return {
        "url": {"type": "str", "required": True, "fallback": (env_fallback, ["OVM_URL"])},
        "user": {"type": "str", "required": True, "fallback": (env_fallback, ["OVM_USER"])},
        "password": {"type": "str", "required": True, "no_log": True, "fallback": (env_fallback, ["OVM_PASSWORD"])},
        "ca_path": {"type": "path", "fallback": (env_fallback, ["OVM_CA_PATH"])},
        "fingerprint": {"type": "str", "fallback": (env_fallback, ["OVM_FINGERPRINT"])},
        "validate_certs": {"type": "bool", "default": True, "fallback": (env_fallback, ["OVM_VALIDATE_CERTS"])},
        "request_timeout": {"type": "float", "default": 60.0, "fallback": (env_fallback, ["OVM_REQUEST_TIMEOUT"])},
        "job_timeout": {"type": "float", "default": 3600.0, "fallback": (env_fallback, ["OVM_JOB_TIMEOUT"])},
    }


def connection_settings(parameters: dict[str, Any]) -> ConnectionSettings:
    """Return the settings that the options of C(manager_options) give."""
    names = {field.name for field in dataclasses.fields(ConnectionSettings)}
    return ConnectionSettings(**{name: parameters[name] for name in names})


@contextlib.contextmanager
def manager_client(module: AnsibleModule) -> Iterator[ManagerClient]:
    """Log in to the manager that the options name, for the length of the block."""
    seen = module.params.get("manager_seen")
    with connect(connection_settings(module.params), job_timeout=module.params["job_timeout"], seen=seen) as client:
        yield client
