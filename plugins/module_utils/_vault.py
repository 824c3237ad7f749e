# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What the modules share that work in a vault: its options, the vault made from them, what they tell of a point.

Modules that only talk to the manager do without: Ansible sends each module with all that it imports.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ._environment import env_fallback
from .errors import InvalidInputError
from .vault.access import (
    ENVIRONMENT,
    SECRETS,
    TARGET_ENVIRONMENT,
    VaultAccess,
    option_names,
    variable,
)
from .vault.manifest import Point
from .vault.points import Vault
from .vault.storage.s3_settings import ADDRESSING_STYLES


def vault_options(*, required: bool = True) -> dict[str, Any]:
    """Return the options of the documentation fragment C(vault)."""
    return {
        "vault": {"type": "path", "required": required, "fallback": (env_fallback, ["OVM_VAULT"])},
        "vault_access": vault_access_option(),
    }


def target_vault_options() -> dict[str, Any]:
    """Return the options of the documentation fragment C(vault.target)."""
    return {
        "target_vault": {"type": "path", "required": True, "fallback": (env_fallback, ["OVM_TARGET_VAULT"])},
        "target_vault_access": vault_access_option(TARGET_ENVIRONMENT),
    }


def vault_access_option(environment: str = ENVIRONMENT) -> dict[str, Any]:
    """Return the option C(vault_access); what is not given comes from the variables that begin so."""
    options: dict[str, Any] = {}
    for name in option_names():
        options[name] = {
            "type": "str",
            "no_log": name in SECRETS,
            "fallback": (env_fallback, [variable(name, environment)]),
        }
    for name in ("ca_path", "encryption_key_file"):
        options[name]["type"] = "path"
    options["validate_certs"].update(type="bool", default=True)
    options["addressing_style"].update(default="auto", choices=list(ADDRESSING_STYLES))
    return {"type": "dict", "apply_defaults": True, "options": options}


def open_vault(module: AnsibleModule) -> Vault:
    """Return the vault that the options name."""
    return Vault.open(module.params["vault"], vault_access(module))


def open_target_vault(module: AnsibleModule) -> Vault:
    """Return the vault that the options of C(target_vault_options) name."""
    return Vault.open(module.params["target_vault"], VaultAccess.from_options(module.params["target_vault_access"]))


def vault_access(module: AnsibleModule) -> VaultAccess:
    """Return how to get at the vault that the options name."""
    return VaultAccess.from_options(module.params["vault_access"])


def lock_owner(module: AnsibleModule) -> str:
    """Return what a lock says of who holds it: the module and the host that it runs on."""
    return f"{module._name} on {platform.node()}"


def compression_level(module: AnsibleModule) -> int:
    """Return the option of this name, if it is a level that can be had."""
    level = int(module.params["compression_level"])
    if not 1 <= level <= 19:
        raise InvalidInputError(f"compression_level must be from 1 to 19, not {level}")
    return level


def point_result(point: Point | None, kind: str, *, changed: bool, notes: Sequence[str] = ()) -> dict[str, Any]:
    """Return the result of a module that makes recovery points; without a point that of check mode."""
    return {
        "changed": changed,
        "recovery_point": point.as_dict() if point is not None else None,
        "type": kind,
        "duration": point.durations["transfer"] if changed and point is not None else 0.0,
        "notes": list(notes),
    }


def point_diff(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the difference that such a result made."""
    point = result["recovery_point"]
    after = {"recovery_point": point["id"] if point else "new", "type": result["type"]}
    return {"before": {} if result["changed"] else after, "after": after}
