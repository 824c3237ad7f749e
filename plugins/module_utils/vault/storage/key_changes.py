# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Who opens an encrypted vault, and with which data key it is written: changes of C(keys.json).

None of them touches a file of the vault but C(keys.json). Data keys are never removed: files are encrypted with them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from ...errors import InvalidInputError, VaultKeyError
from .cipher import KEY_SIZE, data_key_id
from .failures import vault_errors
from .keys import KeyDocument, VaultKeys, keys_path, new_recipient, serialized
from .recipients import SYMMETRIC, Key


def add_recipient(keys: VaultKeys, name: str, key: Key, now: float) -> KeyDocument:
    """Return the document in which this key opens the vault under this name; the same if it does already."""
    document = keys.document
    for one in document.recipients:
        if one.name == name and one.id != key.id:
            raise InvalidInputError(
                f"The vault {keys.root} has a key named {name!r}, {one.id}, and {key.id} was given: remove that one "
                "first, or choose another name",
                path=keys.root,
            )
    found = document.recipient(key.id)
    if found is not None:
        changed = tuple(replace(one, name=name) if one is found else one for one in document.recipients)
        return replace(document, recipients=changed)
    added = new_recipient(name, key, keys.all(), now)
    return replace(document, recipients=(*document.recipients, added))


def remove_recipient(keys: VaultKeys, name_or_id: str) -> KeyDocument:
    """Return the document without this key; the same if it is not there."""
    document = keys.document
    gone = [one for one in document.recipients if name_or_id in (one.id, one.name)]
    if any(one.id == keys.key.id for one in gone):
        raise InvalidInputError(
            f"Key {name_or_id!r} of the vault {keys.root} was given to open it, and cannot be removed with itself: "
            "give one of those that stay",
            path=keys.root,
        )
    left = tuple(one for one in document.recipients if one not in gone)
    if gone and not any(one.kind == SYMMETRIC for one in left):
        raise InvalidInputError(
            f"Key {name_or_id!r} is the last symmetric key of the vault {keys.root}: add another one first. Only a "
            "symmetric key proves that keys.json is genuine",
            path=keys.root,
        )
    return replace(document, recipients=left)


def rotate_data_key(
    keys: VaultKeys, document: KeyDocument, others: Sequence[Key], now: float
) -> tuple[KeyDocument, bytes]:
    """Return a document with a new current data key, and that key.

    It is wrapped for all recipients. Without its key none can be done for a symmetric one, so C(others) must hold those
    that do not open the vault now.
    """
    held = {key.id: key for key in (keys.key, *others)}
    data_key = os.urandom(KEY_SIZE)
    key_id = data_key_id(data_key).hex()
    recipients = []
    for one in document.recipients:
        key = one.key or held.get(one.id)
        if key is None:
            raise VaultKeyError(
                f"A new data key of the vault {keys.root} cannot be wrapped for {one.id} ({one.name}), a symmetric key "
                "that was not given: give it too, or remove it first",
                path=keys.root,
                recipients=[one.id],
            )
        recipients.append(replace(one, wrapped={**one.wrapped, key_id: key.wrap(data_key, key_id)}))
    data_keys = {**document.data_keys, key_id: now}
    return KeyDocument(key_id, data_keys, tuple(recipients)), data_key


def save_keys(keys: VaultKeys, document: KeyDocument, data_key: bytes | None = None) -> None:
    """Write a changed document; C(data_key) is its current data key, if that is a new one."""
    path = keys_path(keys.root)
    stored = serialized(document, data_key or keys.current())
    with vault_errors("write", path):
        swapped = keys.storage.swap(path, keys.stored, stored)
    if not swapped:
        raise VaultKeyError(f"{path} was changed by somebody else meanwhile: look at it and try again", path=path)
