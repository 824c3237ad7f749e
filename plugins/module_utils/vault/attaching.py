# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Making the files of a vault reachable for this process, and for those that it starts.

Each module opens a vault, and most vaults are plain ones in a directory: what buckets and encryption need is loaded
where one of them is met.
"""

from __future__ import annotations

import dataclasses
import re

from .._libraries import boto3, missing_libraries
from ..errors import NotAVaultError, VaultError
from .access import VaultAccess, is_bucket
from .storage.mounts import mount, root_of, storage_of, unmount
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
        from .storage.s3 import S3Storage

        try:
            mount(path, S3Storage.connect(path, settings))
        except OSError as error:
            raise NotAVaultError(f"Cannot reach {path}: {error.strerror}", path=path) from error
    keep_access(path, access)


def keep_access(path: str, access: VaultAccess) -> None:
    """Remember how an attached vault is got at."""
    _ATTACHED[root_of(path)] = access


def access_to(path: str) -> VaultAccess:
    """Return how an attached vault is got at; raise C(VaultError) for another."""
    found = _ATTACHED.get(root_of(path))
    if found is None:
        raise VaultError(f"The vault {path} has not been opened", path=path)
    return found


def environment_for(path: str) -> dict[str, str]:
    """Return the variables of the environment by which a process that we start gets at the same vault."""
    return access_to(path).environment()


def libraries_for(path: str) -> tuple[str, ...]:
    """Return the libraries that are needed for this vault, and not for a plain one in a directory."""
    from .storage.encrypted import EncryptedStorage

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
