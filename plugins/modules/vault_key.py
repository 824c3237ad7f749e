#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_key
short_description: Manage the keys of an encrypted vault
description:
  - Adds a key that opens an encrypted vault, or removes one, and changes the data key with which the vault is written.
  - Any key that opens the vault is enough to add others. No recovery point is written anew for any of this. All that
    changes is the file C(keys.json) of the vault.
  - Without O(name) and O(max_age) nothing changes, and the keys are returned.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.vault
  - ovm.backup.attributes
  - ovm.backup.attributes.vault_group
options:
  name:
    description:
      - Name of the key, for people. To remove a key, its id does, too.
    type: str
  state:
    description:
      - Whether the key opens the vault. A key cannot remove itself, and a symmetric key must stay.
      - Who had a removed key may have kept what it opened. It does not open what is written with later data keys, so
        set O(max_age) to V(0) as well.
    type: str
    choices: [present, absent]
    default: present
  public_key:
    description:
      - The public half of an X25519 key in PEM. The private half opens the vault, and is not needed here.
    type: str
  key:
    description:
      - A key to add, 32 random bytes in base64.
    type: str
  key_file:
    description:
      - File on the host that runs the module that holds the key to add.
    type: path
  key_command:
    description:
      - Command line, run without a shell on the host that runs the module, that prints the key to add.
    type: str
  max_age:
    description:
      - How old the data key may be, as V(90d). An older one is replaced for what is written from now on. V(0) replaces
        it in any case. What is there stays readable, and is not written anew.
    type: str
  other_keys:
    description:
      - The other symmetric keys of the vault. A new data key cannot be given to them otherwise. Keys of which the vault
        knows a public half are not needed.
    type: list
    elements: str
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: partial
    details: O(max_age=0) makes a new data key each time.
requirements:
  - cryptography
seealso:
  - module: ovm.backup.vault
"""

EXAMPLES = r"""
- name: Let the key in the safe open the vault, of which only the public half is known here
  ovm.backup.vault_key:
    vault: /srv/encrypted
    vault_access:
      encryption_key_file: /etc/ovm-backup/vault.key
    name: safe
    public_key: "{{ lookup('ansible.builtin.file', 'safe.pub.pem') }}"

- name: Let a new key open the vault
  ovm.backup.vault_key:
    vault: /srv/encrypted
    vault_access:
      encryption_key_file: /etc/ovm-backup/vault.key
    name: "2027"
    key_file: /etc/ovm-backup/vault-2027.key

- name: Remove the old key with the new one, and write with a new data key from now on
  ovm.backup.vault_key:
    vault: /srv/encrypted
    vault_access:
      encryption_key_file: /etc/ovm-backup/vault-2027.key
    name: first
    state: absent
    max_age: 0
"""

RETURN = r"""
vault_keys:
  description: The keys of the vault.
  returned: success
  type: dict
  contains:
    current:
      description: Id of the data key with which is written, V(null) in check mode for a new one.
      type: str
      returned: always
      sample: 749f02d55f8cef88
    data_keys:
      description: The data keys, from old to new.
      type: list
      elements: dict
      returned: always
      contains:
        id:
          description: Its id, V(null) in check mode for a new one.
          type: str
          returned: always
        created:
          description: When it was made, in seconds since the epoch.
          type: float
          returned: always
    recipients:
      description: The keys that open the vault, in the order in which they were added.
      type: list
      elements: dict
      returned: always
      contains:
        id:
          description: Its id.
          type: str
          returned: always
        kind:
          description: V(symmetric) or V(x25519).
          type: str
          returned: always
        name:
          description: Its name.
          type: str
          returned: always
        added:
          description: When it was added, in seconds since the epoch.
          type: float
          returned: always
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._durations import duration_option
from ..module_utils._module import engine
from ..module_utils._vault import open_vault, vault_options
from ..module_utils.errors import InvalidInputError
from ..module_utils.vault.encrypting import keys_of
from ..module_utils.vault.storage.key_changes import add_recipient, remove_recipient, rotate_data_key, save_keys
from ..module_utils.vault.storage.key_source import SOURCES, read_key
from ..module_utils.vault.storage.keys import KeyDocument, VaultKeys
from ..module_utils.vault.storage.recipients import Key, parse_key

KEY_OPTIONS = ("public_key", *SOURCES)


def wanted_recipients(keys: VaultKeys, parameters: dict[str, Any], now: float) -> tuple[KeyDocument, list[Key]]:
    """Return the keys of the vault as the options want them, and that which is added."""
    name, given = parameters["name"], [option for option in KEY_OPTIONS if parameters[option]]
    if name is None:
        if given:
            raise InvalidInputError(f"{given[0]} needs a name, by which people know the key")
        return keys.document, []
    if parameters["state"] == "absent":
        if given:
            raise InvalidInputError(f"{given[0]} is for a key that is added: remove one by its name or id")
        return remove_recipient(keys, name), []
    if parameters["public_key"]:
        key: Key | None = parse_key(parameters["public_key"], "public_key", public=True)
    else:
        key = read_key(parameters, prefix="")
    if key is None:
        raise InvalidInputError(f"Which key is {name!r}? Set one of {', '.join(KEY_OPTIONS)}")
    return add_recipient(keys, name, key, now), [key]


def other_keys(module: AnsibleModule) -> list[Key]:
    """Return the other symmetric keys that were given, for a new data key."""
    texts: list[str] = module.params["other_keys"] or []
    return [parse_key(text, f"other_keys[{number}]") for number, text in enumerate(texts)]


def shown(document: KeyDocument, before: KeyDocument, *, check_mode: bool) -> dict[str, Any]:
    """Return what may be shown of a document; ids that differ when it is done are not known in check mode."""
    found = document.describe()
    if check_mode and document.current != before.current:
        found["current"] = found["data_keys"][-1]["id"] = None
    return found


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **vault_options(),
            "name": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "public_key": {"type": "str", "no_log": False},
            "key": {"type": "str", "no_log": True},
            "key_file": {"type": "path", "no_log": False},
            "key_command": {"type": "str", "no_log": False},
            "max_age": {"type": "str"},
            "other_keys": {"type": "list", "elements": "str", "no_log": True},
        },
        mutually_exclusive=[list(KEY_OPTIONS)],
        supports_check_mode=True,
    )
    with engine(module, "cryptography"):
        max_age = None if module.params["max_age"] is None else duration_option(module, "max_age")
        others, now = other_keys(module), time.time()
        keys = keys_of(open_vault(module).path)
        document, added = wanted_recipients(keys, module.params, now)
        data_key = None
        if max_age is not None and now - document.data_keys[document.current] >= max_age:
            document, data_key = rotate_data_key(keys, document, [*others, *added], now)
        changed = document != keys.document
        if changed and not module.check_mode:
            save_keys(keys, document, data_key)
        after = shown(document, keys.document, check_mode=module.check_mode)
        result: dict[str, Any] = {"changed": changed, "vault_keys": after}
        if module._diff:
            result["diff"] = {"before": keys.document.describe(), "after": after}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
