# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""C(keys.json) of an encrypted vault: its data keys, wrapped for each key that opens the vault.

Nothing in it is secret. What it says is authenticated under the current data key, so nobody who could not read the
vault can add a key for which the next data key would be wrapped, too.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..._libraries import missing_libraries
from ...errors import CorruptVaultError, InvalidInputError, OvmBackupError, VaultKeyError
from .cipher import KEY_SIZE, data_key_id, derive
from .failures import vault_errors
from .interface import Storage
from .plain import KEYS_NAME
from .recipients import SYMMETRIC, X25519, Key, public_key, to_text

KEYS_FORMAT = "ovm.backup vault keys"
KEYS_VERSION = 1
MAC_CONTEXT = b"ovm.backup 2026 keys.json"
HOW_TO_GIVE = (
    "Give one of vault_access.encryption_key, .encryption_key_file and .encryption_key_command, or one of the "
    "environment variables OVM_VAULT_ENCRYPTION_KEY, OVM_VAULT_ENCRYPTION_KEY_FILE and "
    "OVM_VAULT_ENCRYPTION_KEY_COMMAND; for the vault that is copied to, target_vault_access and OVM_TARGET_VAULT_..."
)


@dataclass(frozen=True)
class Recipient:
    """A key that opens the vault, and the data keys wrapped for it. C(key) is the public half, if it has one."""

    id: str
    kind: str
    name: str
    added: float
    key: Key | None
    wrapped: Mapping[str, dict[str, str]]

    def describe(self) -> dict[str, Any]:
        """Return what may be shown of it."""
        return {"id": self.id, "kind": self.kind, "name": self.name, "added": self.added}


@dataclass(frozen=True)
class KeyDocument:
    """The content of C(keys.json). C(data_keys) are the ids of all data keys, and when each was made."""

    current: str
    data_keys: Mapping[str, float]
    recipients: tuple[Recipient, ...]

    def describe(self) -> dict[str, Any]:
        """Return what may be shown of it."""
        order = sorted(self.data_keys, key=lambda key_id: (self.data_keys[key_id], key_id))
        return {
            "current": self.current,
            "data_keys": [{"id": key_id, "created": self.data_keys[key_id]} for key_id in order],
            "recipients": [recipient.describe() for recipient in self.recipients],
        }

    def recipient(self, key_id: str) -> Recipient | None:
        """Return the recipient with this id, or nothing."""
        return next((one for one in self.recipients if one.id == key_id), None)

    def names(self) -> str:
        """Return the keys of the vault, for people."""
        return ", ".join(f"{one.id} ({one.name}, {one.kind})" for one in self.recipients)


class VaultKeys:
    """The data keys of a vault, opened with a key. It never shows a secret."""

    def __init__(
        self,
        storage: Storage,
        root: str,
        key: Key,
        stored: bytes,
        document: KeyDocument,
        data_keys: Mapping[str, bytes],
    ) -> None:
        self.storage = storage
        self.root = root
        self.key = key
        self.stored = stored
        self.document = document
        self._data_keys = dict(data_keys)

    def __repr__(self) -> str:
        return f"<keys of {self.root}, opened with {self.key!r}>"

    def current(self) -> bytes:
        """Return the data key for what is written now."""
        return self._data_keys[self.document.current]

    def find(self, key_id: bytes) -> bytes | None:
        """Return the data key with this id, or nothing. One that was made since we began is looked for in the vault."""
        if key_id.hex() not in self._data_keys:
            try:
                self._data_keys.update(open_keys(self.storage, self.root, self.key)._data_keys)
            except OvmBackupError as error:
                raise OSError(errno.EREMOTEIO, error.message) from error  # of the keys, not of a file's content
        return self._data_keys.get(key_id.hex())

    def all(self) -> dict[str, bytes]:
        """Return all data keys by their ids."""
        return dict(self._data_keys)


def keys_path(root: str) -> str:
    """Return where the file lies."""
    return os.path.join(root, KEYS_NAME)


def create_keys(
    storage: Storage, root: str, recipients: Sequence[tuple[str, Key]], *, clock: Callable[[], float] = time.time
) -> VaultKeys:
    """Make the first data key of a vault for these keys, each with a name; the first opens it from now on.

    Where there are keys already, an interrupted call has left them: they are taken if the first key opens them.
    """
    _require_library(root)
    if not recipients or recipients[0][1].kind != SYMMETRIC:
        raise InvalidInputError(
            f"The first key of the encrypted vault {root} must be a symmetric one: only that proves that {KEYS_NAME} "
            "is genuine. Other keys can be added later"
        )
    data_key, now = os.urandom(KEY_SIZE), clock()
    key_id = data_key_id(data_key).hex()
    document = KeyDocument(
        key_id, {key_id: now}, tuple(new_recipient(name, key, {key_id: data_key}, now) for name, key in recipients)
    )
    stored = serialized(document, data_key)
    with vault_errors("write", keys_path(root)):
        try:
            storage.create(keys_path(root), stored)
        except FileExistsError:
            return open_keys(storage, root, recipients[0][1])
    return VaultKeys(storage, root, recipients[0][1], stored, document, {key_id: data_key})


def open_keys(storage: Storage, root: str, key: Key | None) -> VaultKeys:
    """Return the data keys of a vault; raise C(VaultKeyError) when the key is missing or wrong."""
    path = keys_path(root)
    _require_library(root)
    try:
        stored = storage.read(path)
    except FileNotFoundError as error:
        raise CorruptVaultError(
            f"The vault {root} is encrypted and {path} is missing: without it nothing can be read. Bring it back from "
            "a copy of the vault",
            path=path,
        ) from error
    except OSError as error:
        raise CorruptVaultError(f"Cannot read {path}: {error.strerror}", path=path) from error
    document, body, claimed = _parse(stored, path)
    known = [one.id for one in document.recipients]
    if key is None:
        raise VaultKeyError(
            f"The vault {root} is encrypted, and no key was given. {HOW_TO_GIVE}. It opens with: {document.names()}",
            path=root,
            recipients=known,
        )
    recipient = document.recipient(key.id)
    if recipient is None or not key.is_secret:
        raise VaultKeyError(
            f"The key that was given, {key.id}, does not open the vault {root}. It opens with: {document.names()}",
            path=root,
            recipients=known,
            key=key.id,
        )
    data_keys = {}
    for key_id in document.data_keys:
        found = key.unwrap(recipient.wrapped.get(key_id, {}), key_id)
        if found is None or data_key_id(found).hex() != key_id:
            raise _damaged(path, f"key {key.id} does not open data key {key_id}, which it should")
        data_keys[key_id] = found
    if not hmac.compare_digest(claimed.encode(), _mac(body, data_keys[document.current]).encode()):
        raise _damaged(path, "it is not what the holder of a key has written")
    return VaultKeys(storage, root, key, stored, document, data_keys)


def new_recipient(name: str, key: Key, data_keys: Mapping[str, bytes], now: float) -> Recipient:
    """Return a recipient for whom all these data keys are wrapped."""
    wrapped = {key_id: key.wrap(data_key, key_id) for key_id, data_key in data_keys.items()}
    return Recipient(key.id, key.kind, name, now, key if key.public is not None else None, wrapped)


def serialized(document: KeyDocument, data_key: bytes) -> bytes:
    """Return the file for a document, authenticated under its current data key."""
    body = _body(document)
    text = json.dumps({**body, "mac": _mac(body, data_key)}, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace")


def _body(document: KeyDocument) -> dict[str, Any]:
    return {
        "format": KEYS_FORMAT,
        "version": KEYS_VERSION,
        "current": document.current,
        "data_keys": dict(document.data_keys),
        "recipients": [
            {
                **one.describe(),
                **({"public": to_text(one.key.public)} if one.key is not None and one.key.public else {}),
                "data_keys": {key_id: dict(wrapped) for key_id, wrapped in one.wrapped.items()},
            }
            for one in document.recipients
        ],
    }


def _mac(body: Mapping[str, Any], data_key: bytes) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hmac.new(derive(data_key, KEY_SIZE, MAC_CONTEXT), text.encode("ascii"), hashlib.sha256).hexdigest()


def _parse(stored: bytes, path: str) -> tuple[KeyDocument, dict[str, Any], str]:
    try:
        found = json.loads(stored.decode("utf-8"))
        if (found["format"], found["version"]) != (KEYS_FORMAT, KEYS_VERSION):
            raise ValueError(f"format {found['format']!r}, version {found['version']!r}")
        data_keys = {str(key_id): float(created) for key_id, created in found["data_keys"].items()}
        for key_id in data_keys:
            bytes.fromhex(key_id)
        document = KeyDocument(str(found["current"]), data_keys, tuple(map(_parse_recipient, found["recipients"])))
        if document.current not in data_keys:
            raise ValueError("the current data key is not there")
        # Authenticated is all that stands there, also what a later version has added.
        return document, {name: value for name, value in found.items() if name != "mac"}, str(found["mac"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, f"it does not hold the keys of a vault ({type(error).__name__}: {error})") from error


def _parse_recipient(found: Mapping[str, Any]) -> Recipient:
    kind = str(found["kind"])
    if kind not in (SYMMETRIC, X25519):
        raise ValueError(f"kind {kind!r}")
    key = public_key(found["public"]) if kind == X25519 else None
    wrapped = {
        str(key_id): {"salt": str(one["salt"]), "wrapped": str(one["wrapped"])}
        for key_id, one in found["data_keys"].items()
    }
    key_id = key.id if key is not None else str(found["id"])
    return Recipient(key_id, kind, str(found["name"]), float(found["added"]), key, wrapped)


def _damaged(path: str, reason: str) -> CorruptVaultError:
    return CorruptVaultError(f"{path} is damaged: {reason}", path=path, offset=0)


def _require_library(root: str) -> None:
    if missing_libraries("cryptography"):
        raise VaultKeyError(
            f"The vault {root} is encrypted: this host needs the Python library cryptography, which is not installed",
            path=root,
        )
