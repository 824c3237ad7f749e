# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The form of an encrypted file: a header, then the content in chunks that are authenticated each.

::

    header    magic, version, size of a chunk, id of the data key, salt, check
    chunks    AES-256-GCM: up to 64 KiB of the content and 16 bytes of tag each; the last one may be short

Each file has a key of its own, derived by HKDF-SHA256 from the data key and the random salt, so the numbers of the
chunks can be the nonces: no two chunks under one key have the same. The nonce of the last chunk also says that it is
the last one (the construction is known as STREAM). So a chunk that is changed, moved, repeated, missing or cut off is
noticed by whoever reads it, and where a chunk lies and how long the content is follow from the size of the file alone.
"""

from __future__ import annotations

import errno
import hmac
import os
import struct
from typing import NoReturn

from ..._libraries import aead, crypto_exceptions, hashes, hkdf

MAGIC = b"OVMCRYPT"
VERSION = 1
CHUNK_SIZE = 64 * 1024
TAG_SIZE = 16
KEY_SIZE = 32
SALT_SIZE = 32
KEY_ID_SIZE = 8
CHECK_SIZE = 16
FILE_CONTEXT = b"ovm.backup 2026 encrypted file"
DATA_KEY_ID_CONTEXT = b"ovm.backup 2026 id of a data key"

HEADER = struct.Struct("<8sII8s32s16s")
HEADER_SIZE = struct.calcsize("<8sII8s32s16s")
SEALED_SIZE = CHUNK_SIZE + TAG_SIZE


def derive(secret: bytes, length: int, context: bytes, salt: bytes | None = None) -> bytes:
    """Return bytes that depend on all of these and tell nothing about the secret (HKDF-SHA256)."""
    return hkdf.HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=context).derive(secret)


def data_key_id(data_key: bytes) -> bytes:
    """Return the id of a data key, which may be seen by anyone."""
    return derive(data_key, KEY_ID_SIZE, DATA_KEY_ID_CONTEXT)


def encrypted_size(size: int) -> int:
    """Return how long the file becomes that holds so much content."""
    return HEADER_SIZE + size + TAG_SIZE * max(-(-size // CHUNK_SIZE), 1)


def content_size(size: int) -> int:
    """Return how much content an encrypted file of this size holds; a negative number if there is no such file."""
    chunks, rest = divmod(size - HEADER_SIZE, SEALED_SIZE)
    if rest:
        rest -= TAG_SIZE
        # Only the one chunk of an empty file is empty.
        return chunks * CHUNK_SIZE + rest if rest > 0 or (rest == 0 and chunks == 0) else -1
    return chunks * CHUNK_SIZE if chunks > 0 else -1


def damaged(path: str, offset: int, reason: str) -> NoReturn:
    """Raise the error for a stored file that is not as it was written."""
    raise OSError(errno.EIO, f"{path} is damaged at offset {offset}: {reason}")


class FileCipher:
    """Encrypts and decrypts the chunks of one file; threads may share it."""

    def __init__(self, data_key: bytes, key_id: bytes, salt: bytes) -> None:
        fields = (MAGIC, VERSION, CHUNK_SIZE, key_id, salt)
        context = FILE_CONTEXT + HEADER.pack(*fields, b"")[:-CHECK_SIZE]
        derived = derive(data_key, KEY_SIZE + CHECK_SIZE, context, salt)
        # GCM alone would let a file be made that two keys decrypt to different contents; the check is that of one key.
        self.header = HEADER.pack(*fields, derived[KEY_SIZE:])
        self._aead = aead.AESGCM(derived[:KEY_SIZE])

    def encrypt(self, number: int, content: bytes | memoryview, *, last: bool) -> bytes:
        """Return a chunk as it is stored."""
        return self._aead.encrypt(nonce(number, last=last), bytes(content), None)

    def decrypt(self, path: str, number: int, stored: bytes | memoryview, *, last: bool) -> bytes:
        """Return the content of a stored chunk; raise C(OSError) if it is not this chunk of this file."""
        try:
            # Older versions of the library, which distributions have, take nothing but bytes.
            return self._aead.decrypt(nonce(number, last=last), bytes(stored), None)
        except crypto_exceptions.InvalidTag:
            offset = HEADER_SIZE + number * SEALED_SIZE
            damaged(path, offset, "what is stored there is not what was written, or the end of the file is missing")


def nonce(number: int, *, last: bool) -> bytes:
    """Return the nonce of a chunk."""
    return number.to_bytes(11, "big") + (b"\x01" if last else b"\x00")


def new_cipher(data_key: bytes) -> FileCipher:
    """Return the cipher of a file that is to be written."""
    return FileCipher(data_key, data_key_id(data_key), os.urandom(SALT_SIZE))


def key_id_of(path: str, header: bytes) -> bytes:
    """Return the id of the data key that a file is encrypted with; raise C(OSError) if it is none that we know."""
    if header[: len(MAGIC)] != MAGIC[: len(header)]:
        damaged(path, 0, "it is no encrypted file, as every file of an encrypted vault has to be")
    if len(header) < HEADER_SIZE:
        damaged(path, len(header), "it ends within its header")
    _magic, version, chunk_size, key_id, _salt, _check = HEADER.unpack(header)
    if (version, chunk_size) != (VERSION, CHUNK_SIZE):
        damaged(path, 8, f"it has version {version} and chunks of {chunk_size} bytes; known is {VERSION}, {CHUNK_SIZE}")
    return bytes(key_id)


def cipher_of(path: str, header: bytes, data_key: bytes) -> FileCipher:
    """Return the cipher of a file that is there, by its header."""
    _magic, _version, _chunk_size, key_id, salt, _check = HEADER.unpack(header)
    cipher = FileCipher(data_key, key_id, salt)
    if not hmac.compare_digest(cipher.header, header):
        damaged(path, 0, "its header is not what was written")
    return cipher
