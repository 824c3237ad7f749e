#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault
short_description: Make a vault for recovery points
description:
  - Makes a directory into a vault, in which M(ovm.backup.backup) keeps recovery points.
  - The directory must be missing or empty. Nothing else in this collection makes a vault, so that backups never go to
    an empty mount point by mistake.
  - A vault carries a script, C(restore.py), that restores disks with Python and the program C(zstd) alone, where this
    collection is not installed. An encrypted vault also carries C(decrypt.py), which needs Python and its library
    C(cryptography). They are written with the vault, and again where they are missing, older than those of this version
    of the collection, or not as they were written.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.vault
  - ovm.backup.attributes
  - ovm.backup.attributes.vault_group
options:
  vault:
    description:
      - Directory of the vault on the host that runs the module, or V(s3://BUCKET/PREFIX).
      - Falls back to E(OVM_VAULT).
  encrypted:
    description:
      - Whether the files of the vault are encrypted. Then the key in O(vault_access) must be a symmetric one, and opens
        the vault from now on. M(ovm.backup.vault_key) adds other keys.
      - It cannot be changed later. Without this option a new vault is not encrypted, and an existing one may be either.
    type: bool
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: ovm.backup.vault_key
  - module: ovm.backup.backup
"""

EXAMPLES = r"""
- name: Make sure that the vault exists
  ovm.backup.vault:
    vault: /srv/vault

- name: Make a vault that is encrypted with a key of the proxy
  ovm.backup.vault:
    vault: /srv/encrypted
    vault_access:
      encryption_key_file: /etc/ovm-backup/vault.key
    encrypted: true

- name: See whether the directory could become a vault
  ovm.backup.vault:
    vault: /srv/vault
  check_mode: true

- name: Make a vault whose path comes from the environment
  ovm.backup.vault:
  environment:
    OVM_VAULT: /srv/vault
"""

RETURN = r"""
vault:
  description: The vault.
  returned: success
  type: dict
  contains:
    path:
      description: Its directory.
      type: str
      returned: always
      sample: /srv/vault
    id:
      description: Its id, V(null) in check mode for a vault that does not exist yet.
      type: str
      returned: always
      sample: 6d1c6c3e-3c53-4b3e-a4b5-0f3c2a4b1d9e
    version:
      description: Version of its format.
      type: int
      returned: always
      sample: 1
    encrypted:
      description: Whether its files are encrypted.
      type: bool
      returned: always
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._module import engine
from ..module_utils._vault import vault_access, vault_options
from ..module_utils.errors import InvalidInputError, NotAVaultError
from ..module_utils.vault.access import VaultAccess
from ..module_utils.vault.carried_script import carry_scripts, due_scripts
from ..module_utils.vault.encrypting import key_of_new
from ..module_utils.vault.files import exists
from ..module_utils.vault.points import VAULT_VERSION, Vault
from ..module_utils.vault.reserve import keep_reserve


def existing(path: str, access: VaultAccess, encrypted: bool | None) -> Vault | None:
    """Return the vault at C(path), or nothing when one can be made there."""
    try:
        vault = Vault.open(path, access)
    except NotAVaultError:
        if exists(os.path.join(path, "vault.json")):
            raise
        Vault.check_new(path)
        key_of_new(path, encrypted=bool(encrypted))
        return None
    if encrypted is not None and encrypted != vault.encrypted:
        is_now = "not encrypted" if encrypted else "encrypted"
        raise InvalidInputError(f"The vault {path} is {is_now}, which cannot be changed: make another one", path=path)
    return vault


def is_due(vault: Vault | None) -> bool:
    """Return whether the script has to be written into the vault."""
    return vault is None or bool(due_scripts(vault.path, encrypted=vault.encrypted))


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(argument_spec={**vault_options(), "encrypted": {"type": "bool"}}, supports_check_mode=True)
    path, encrypted = module.params["vault"], module.params["encrypted"]
    with engine(module):
        access = vault_access(module)
        vault = existing(path, access, encrypted)
        before = {"state": "absent" if vault is None else "present", "script": "due" if is_due(vault) else "current"}
        after = {"state": "present", "script": "current"}
        if not module.check_mode:
            if vault is None:
                vault = Vault.create(path, access, encrypted=bool(encrypted))
            carry_scripts(path, encrypted=vault.encrypted)
            keep_reserve(path)
        result: dict[str, Any] = {
            "changed": before != after,
            "vault": {
                "path": path,
                "id": vault.id if vault else None,
                "version": VAULT_VERSION,
                "encrypted": vault.encrypted if vault else bool(encrypted),
            },
        }
        if module._diff:
            result["diff"] = {"before": before, "after": after}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
