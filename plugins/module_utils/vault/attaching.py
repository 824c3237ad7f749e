# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Making the files of a vault reachable for this process: the storage of its bucket, and over that its encryption."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

from .._libraries import boto3, missing_libraries
from ..errors import InvalidInputError, NotAVaultError, VaultError, VaultKeyError
from .access import VaultAccess, is_bucket
from .storage.encrypted import EncryptedStorage
from .storage.encryption import encrypted_storage, encryption_setting, unlocked
from .storage.key_source import read_key_text
from .storage.keys import HOW_TO_GIVE, VaultKeys, create_keys
from .storage.mounts import mount, root_of, storage_of, unmount
from .storage.recipients import Key, parse_key
from .storage.s3 import S3Storage
from .storage.s3_settings import S3Settings

# How each vault that this process has attached is got at: other processes that it starts need the same.
_ATTACHED: dict[str, VaultAccess] = {}


def attach(path: str, access: VaultAccess | None) -> None:
    """Mount the storage that C(path) is in; raise C(VaultError) when it cannot be reached or the access is no good."""
    access = access or VaultAccess()
    unmount(path)
    if is_bucket(path):
        names = {one.name for one in dataclasses.fields(S3Settings)}
        settings = S3Settings(**{key: value for key, value in dataclasses.asdict(access).items() if key in names})
        _check_boto3(path)
        try:
            mount(path, S3Storage.connect(path, settings))
        except OSError as error:
            raise NotAVaultError(f"Cannot reach {path}: {error.strerror}", path=path) from error
    _ATTACHED[root_of(path)] = access


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


def environment_for(path: str) -> dict[str, str]:
    """Return the variables of the environment by which a process that we start gets at the same vault."""
    return _access_to(path).environment()


def libraries_for(path: str) -> tuple[str, ...]:
    """Return the libraries that are needed for this vault, and not for a plain one in a directory."""
    bucket = ("boto3",) if is_bucket(path) else ()
    return (*bucket, "cryptography") if isinstance(storage_of(path), EncryptedStorage) else bucket


def _check_boto3(path: str) -> None:
    found = None if missing_libraries("boto3") else str(boto3.__version__)
    # Older ones do not send the conditions that locks need.
    if found is None or [int(part) for part in re.findall(r"\d+", found)[:2]] < [1, 36]:
        raise VaultError(
            f"The vault {path} needs the Python library boto3, 1.36 or newer, and here is {found or 'none'}",
            path=path,
            library="boto3",
            version=found,
        )


def _key(path: str) -> Key | None:
    """Return the key that was given. A command is run once: other processes may not find it, or ask for it anew."""
    access = _access_to(path)
    found = read_key_text(dataclasses.asdict(access))
    if found is None:
        return None
    key = parse_key(*found)
    if access.encryption_key_command:
        known = dataclasses.replace(access, encryption_key=found[0], encryption_key_command=None)
        _ATTACHED[root_of(path)] = known
    return key


def _access_to(path: str) -> VaultAccess:
    found = _ATTACHED.get(root_of(path))
    if found is None:
        raise VaultError(f"The vault {path} has not been opened", path=path)
    return found
