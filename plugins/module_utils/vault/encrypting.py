# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The encryption of an attached vault: opening it with the key that was given, and making it.

Loaded only where a vault is encrypted or a key is given: see C(attaching).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import InvalidInputError, VaultKeyError
from .attaching import access_to, keep_access
from .storage.encrypted import EncryptedStorage
from .storage.encryption import encrypted_storage, encryption_setting, unlocked
from .storage.key_source import read_key_text
from .storage.keys import HOW_TO_GIVE, VaultKeys, create_keys
from .storage.mounts import mount, storage_of
from .storage.recipients import Key, parse_key


def unlock(path: str, settings: Mapping[str, Any]) -> None:
    """Have the files of an attached vault decrypted where C(settings), its C(vault.json), says that they are."""
    mount(path, unlocked(storage_of(path), path, settings, _key(path)))


def key_of_new(path: str, *, encrypted: bool) -> Key | None:
    """Return the key for a vault that is to be made at an attached path, if it is to be encrypted."""
    key = _key(path)
    if encrypted and key is None:
        raise VaultKeyError(f"The vault {path} cannot be encrypted without a key. {HOW_TO_GIVE}", path=path)
    if not encrypted and key is not None:
        raise VaultKeyError(
            f"The vault {path} is to be made without encryption, but a key was given: set encrypted to true, or give "
            "no key",
            path=path,
            key=key.id,
        )
    return key


def encrypt(path: str, key: Key, clock: Callable[[], float]) -> dict[str, Any]:
    """Make the keys of a new vault, have its files encrypted, and return what its C(vault.json) says of that."""
    keys = create_keys(storage_of(path), path, [("first", key)], clock=clock)
    mount(path, encrypted_storage(keys))
    return encryption_setting()


def keys_of(path: str) -> VaultKeys:
    """Return the keys of a vault that has been opened; raise C(InvalidInputError) if it is not encrypted."""
    storage = storage_of(path)
    if isinstance(storage, EncryptedStorage) and isinstance(storage.keys, VaultKeys):
        return storage.keys
    raise InvalidInputError(f"The vault {path} is not encrypted: it has no keys", path=path)


def _key(path: str) -> Key | None:
    """Return the key that was given. A command is run once: other processes may not find it, or ask for it anew."""
    access = access_to(path)
    found = read_key_text(dataclasses.asdict(access))
    if found is None:
        return None
    key = parse_key(*found)
    if access.encryption_key_command:
        known = dataclasses.replace(access, encryption_key=found[0], encryption_key_command=None)
        keep_access(path, known)
    return key
