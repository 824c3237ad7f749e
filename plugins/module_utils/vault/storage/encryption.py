# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The storage through which the files of an encrypted vault are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import NotAVaultError, VaultKeyError
from .cipher import VERSION
from .encrypted import EncryptedStorage
from .interface import Storage
from .keys import VaultKeys, open_keys
from .plain import SETTING, is_encrypted
from .recipients import Key

FORMAT = "ovm.backup encrypted file"


def encryption_setting() -> dict[str, Any]:
    """Return what C(vault.json) of a new encrypted vault says."""
    return {"format": FORMAT, "version": VERSION}


def unlocked(inner: Storage, root: str, settings: Mapping[str, Any], key: Key | None) -> Storage:
    """Return the storage for the files of a vault: C(inner) itself if it is plain, else one that decrypts.

    A key for a plain vault is an error: somebody who can write to C(vault.json) could else have the next backups
    written without encryption, and nobody would notice.
    """
    if not is_encrypted(settings):
        if key is not None:
            raise VaultKeyError(
                f"The vault {root} is not encrypted, but a key was given: is it the right vault? A plain one is used "
                "without a key",
                path=root,
                key=key.id,
            )
        return inner
    if settings[SETTING] != encryption_setting():
        raise NotAVaultError(
            f"The vault {root} is encrypted in a way that this version of the collection does not know: "
            f"{settings[SETTING]!r}",
            path=root,
        )
    return encrypted_storage(open_keys(inner, root, key))


def encrypted_storage(keys: VaultKeys) -> EncryptedStorage:
    """Return the storage for the files of the vault that these keys are for."""
    return EncryptedStorage(keys.storage, keys.root, keys)
