# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""How a process gets at a vault that is no plain directory: an account for its bucket, a key for what is encrypted."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import NotAVaultError

ENVIRONMENT = "OVM_VAULT_"
# For the vault that recovery points are copied to: it has nothing in common with the one that they come from.
TARGET_ENVIRONMENT = "OVM_TARGET_VAULT_"
# Of these an error, a log or a process list never shows a value.
SECRETS = frozenset({"secret_access_key", "session_token", "encryption_key"})


@dataclass(frozen=True)
class VaultAccess:
    """An account for a bucket (empty: the usual ways of its client library), and where the key of a vault comes from.

    C(addressing_style) is one of C(ADDRESSING_STYLES). C(encryption_key_command) is a command line without a shell that
    prints the key.
    """

    endpoint_url: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    ca_path: str | None = None
    validate_certs: bool = True
    addressing_style: str = "auto"
    encryption_key: str | None = field(default=None, repr=False)
    encryption_key_file: str | None = None
    encryption_key_command: str | None = None

    @classmethod
    def from_options(cls, options: Mapping[str, Any] | None) -> VaultAccess:
        """Return the access that the option C(vault_access) of a module gives."""
        return cls(**{key: value for key, value in (options or {}).items() if value is not None})

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> VaultAccess:
        """Return what the variables of an environment say, of this process without another."""
        environment = os.environ if environment is None else environment
        found: dict[str, Any] = {}
        for name in option_names():
            value = environment.get(variable(name))
            if value:  # an empty one is not set: a credential of AWX leaves those of blank fields empty
                found[name] = value.lower() not in ("0", "false", "no", "off", "n", "f") if name in _BOOLEANS else value
        return cls(**found)

    @property
    def gives_key(self) -> bool:
        """Return whether it says where the key of an encrypted vault comes from."""
        return any((self.encryption_key, self.encryption_key_file, self.encryption_key_command))

    def environment(self) -> dict[str, str]:
        """Return the variables by which another process of ours gets the same access; it is for nobody else to see."""
        given = dataclasses.asdict(self)
        return {variable(name): str(value) for name, value in given.items() if value is not None}


_BOOLEANS = ("validate_certs",)


def option_names() -> list[str]:
    """Return the names of what an access consists of."""
    return [one.name for one in dataclasses.fields(VaultAccess)]


def variable(name: str, prefix: str = ENVIRONMENT) -> str:
    """Return the variable of the environment that counts where an option is not given."""
    return prefix + name.upper()


def is_bucket(path: str) -> bool:
    """Return whether a vault of this path is in a bucket; raise C(NotAVaultError) for another kind of address."""
    scheme, separator, _rest = path.partition("://")
    if not separator:
        return False
    if scheme != "s3":
        raise NotAVaultError(
            f"{path} is not the place of a vault: give a directory or s3://BUCKET/PREFIX", path=path, scheme=scheme
        )
    return True
