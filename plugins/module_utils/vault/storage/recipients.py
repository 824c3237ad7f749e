# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Keys that people and machines hold, and how they open the data keys of a vault.

There are two kinds. A C(symmetric) key is 32 random bytes in base64. An C(x25519) key is a pair in PEM, as openssl
makes them: whoever has the public half can add to what the private half opens, so the private half may lie in a safe.

A data key is wrapped for each key: encrypted with AES-256-GCM under a key that is used for this once, derived by
HKDF-SHA256 from the symmetric key and a random salt, or from an X25519 agreement with a key pair that is thrown away.
"""

from __future__ import annotations

import base64
import binascii
import os
from typing import TYPE_CHECKING, Any

from ..._libraries import aead, crypto_exceptions, serialization, x25519
from ...errors import InvalidInputError
from .cipher import KEY_ID_SIZE, KEY_SIZE, SALT_SIZE, derive

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

SYMMETRIC, X25519 = "symmetric", "x25519"
KEY_ID_CONTEXT = {SYMMETRIC: b"ovm.backup 2026 id of a symmetric key", X25519: b"ovm.backup 2026 id of an x25519 key"}
WRAP_CONTEXT = {SYMMETRIC: b"ovm.backup 2026 wrap symmetric", X25519: b"ovm.backup 2026 wrap x25519"}
_ONCE = bytes(12)  # the nonce under a key that is used once

_WANTED = (
    "it must be 32 random bytes in base64 (openssl rand -base64 32) or an X25519 key in PEM (openssl genpkey "
    "-algorithm X25519)"
)


class Key:
    """A key that opens a vault, or with C(secret) unknown the public half of one, for which data keys can be wrapped.

    It never shows its secret: not as text, not in errors.
    """

    def __init__(self, kind: str, secret: bytes | None, public: bytes | None = None) -> None:
        self.kind = kind
        self._secret = secret
        self.public = public
        known = public if public is not None else secret
        self.id = derive(known or b"", KEY_ID_SIZE, KEY_ID_CONTEXT[kind]).hex()

    def __repr__(self) -> str:
        return f"<{self.kind} key {self.id}{'' if self.is_secret else ', public half'}>"

    @property
    def is_secret(self) -> bool:
        """Return whether it opens anything."""
        return self._secret is not None

    def wrap(self, data_key: bytes, data_key_id: str) -> dict[str, str]:
        """Return what lets the owner of this key have the data key, and nobody else."""
        if self.public is not None:
            ephemeral = x25519.X25519PrivateKey.generate()
            shared = ephemeral.exchange(x25519.X25519PublicKey.from_public_bytes(self.public))
            salt = _raw(ephemeral.public_key())
            once = self._once(shared, salt + self.public, data_key_id)
        else:
            salt = os.urandom(SALT_SIZE)
            once = self._once(self._secret or b"", salt, data_key_id)
        return {"salt": to_text(salt), "wrapped": to_text(aead.AESGCM(once).encrypt(_ONCE, data_key, None))}

    def unwrap(self, wrapped: dict[str, Any], data_key_id: str) -> bytes | None:
        """Return the data key, or nothing if this is no wrap of it for this key."""
        try:
            salt, content = from_text(wrapped["salt"]), from_text(wrapped["wrapped"])
            secret = self._secret or b""
            if self.public is not None:
                private = x25519.X25519PrivateKey.from_private_bytes(secret)
                shared = private.exchange(x25519.X25519PublicKey.from_public_bytes(salt))
                once = self._once(shared, salt + self.public, data_key_id)
            else:
                once = self._once(secret, salt, data_key_id)
            return aead.AESGCM(once).decrypt(_ONCE, content, None)
        except (crypto_exceptions.InvalidTag, ValueError, KeyError, TypeError):
            return None

    def _once(self, secret: bytes, salt: bytes, data_key_id: str) -> bytes:
        return derive(secret, KEY_SIZE, WRAP_CONTEXT[self.kind] + bytes.fromhex(data_key_id), salt)


def parse_key(text: str, name: str, *, public: bool = False) -> Key:
    """Return the key that a text holds; C(name) says in errors where it came from, which never show the text.

    With C(public) it must be the public half of an X25519 key.
    """
    text = text.strip()
    if not text:
        raise InvalidInputError(f"{name} is empty: {_WANTED}", option=name)
    if text.startswith("-----BEGIN "):
        return _parse_pem(text.encode("utf-8", "replace"), name, public=public)
    if public:
        raise InvalidInputError(
            f"{name} is no public key: it must be the public half of an X25519 key in PEM (openssl pkey -pubout)",
            option=name,
        )
    try:
        secret = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInputError(f"{name} is no key: {_WANTED}", option=name) from None
    if len(secret) != KEY_SIZE:
        raise InvalidInputError(f"{name} is no key: it holds {len(secret)} bytes; {_WANTED}", option=name)
    return Key(SYMMETRIC, secret)


def public_key(text: str) -> Key:
    """Return the key whose public half was written down by C(to_text); raise C(ValueError) for anything else."""
    public = from_text(text)
    x25519.X25519PublicKey.from_public_bytes(public)
    return Key(X25519, None, public)


def to_text(data: bytes) -> str:
    """Return bytes as text for a JSON document."""
    return base64.b64encode(data).decode("ascii")


def from_text(text: str) -> bytes:
    """Return the bytes of such a text; raise C(ValueError) if it is none."""
    return base64.b64decode(text, validate=True)


def _parse_pem(text: bytes, name: str, *, public: bool) -> Key:
    try:
        if b" PUBLIC KEY-----" in text:
            half: Any = serialization.load_pem_public_key(text)
        else:
            half = serialization.load_pem_private_key(text, password=None)
    except TypeError:
        raise InvalidInputError(f"{name} is protected by a passphrase: give it without one", option=name) from None
    except Exception:  # whatever the library says of it may quote it
        raise InvalidInputError(f"{name} is no key: its PEM cannot be read; {_WANTED}", option=name) from None
    if isinstance(half, x25519.X25519PublicKey):
        if not public:
            raise InvalidInputError(
                f"{name} is the public half of a key, which opens nothing: give the private half", option=name
            )
        return Key(X25519, None, _raw(half))
    if not isinstance(half, x25519.X25519PrivateKey):
        raise InvalidInputError(f"{name} is a key of another kind than X25519: {_WANTED}", option=name)
    if public:
        raise InvalidInputError(
            f"{name} is the private half of a key: give the public one (openssl pkey -pubout) and keep this one away",
            option=name,
        )
    # Not the methods *_bytes_raw: older versions of the library, which distributions have, lack them.
    raw, form = serialization.Encoding.Raw, serialization.PrivateFormat.Raw
    return Key(X25519, half.private_bytes(raw, form, serialization.NoEncryption()), _raw(half.public_key()))


def _raw(half: X25519PublicKey) -> bytes:
    return half.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
