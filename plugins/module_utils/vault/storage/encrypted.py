# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""A storage over another one that holds nothing readable.

Encrypted is everything but the files that have to be read before there is a key, and the empty files of turns. Names,
sizes and times stay visible.
"""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable, Collection
from typing import Protocol

from .cipher import (
    CHUNK_SIZE,
    HEADER_SIZE,
    SEALED_SIZE,
    FileCipher,
    cipher_of,
    content_size,
    damaged,
    encrypted_size,
    key_id_of,
    new_cipher,
)
from .interface import Entry, Reader, Storage, Turn, Writer
from .plain import PLAIN_FILES, PLAIN_FOLDER

# Chunks that are read or written at once: a few MiB of memory.
_BATCH = 64


class DataKeys(Protocol):
    """The keys that the content of files is encrypted with."""

    def current(self) -> bytes:
        """Return the data key for what is written now."""

    def find(self, key_id: bytes) -> bytes | None:
        """Return the data key with this id, or nothing if the vault has none."""


class EncryptedStorage:
    """Files of the vault at C(root), encrypted in C(inner). Sizes are those of the contents."""

    def __init__(self, inner: Storage, root: str, data_keys: DataKeys) -> None:
        self.inner = inner
        self._root = root.rstrip("/") + "/"
        self.keys = data_keys

    def read(self, path: str, limit: int | None = None) -> bytes:
        """Return a small file, or its first C(limit) bytes."""
        if self._is_plain(path):
            return self.inner.read(path, limit)
        if limit is None:
            return self._decrypted(path, self.inner.read(path))
        reader = self.open(path)
        try:
            return reader.pread(limit, 0)
        finally:
            reader.close()

    def write(self, path: str, data: bytes) -> None:
        """Replace a small file in one step."""
        self.inner.write(path, self._encrypted(path, data))

    def create(self, path: str, data: bytes) -> None:
        """Make a small file."""
        self.inner.create(path, self._encrypted(path, data))

    def swap(self, path: str, expected: bytes, data: bytes) -> bool:
        """Replace a small file that holds exactly C(expected)."""
        stored = self._encrypted(path, data)
        return self._exchange(path, expected, lambda found: self.inner.swap(path, found, stored))

    def discard(self, path: str, expected: bytes) -> bool:
        """Remove a small file that holds exactly C(expected)."""
        return self._exchange(path, expected, lambda found: self.inner.discard(path, found))

    def entry(self, path: str) -> Entry:
        """Return what is at a path."""
        return self._shown(path, self.inner.entry(path))

    def names(self, path: str) -> list[str]:
        """Return the names in a folder."""
        return self.inner.names(path)

    def entries(self, path: str) -> list[Entry]:
        """Return what is in a folder."""
        return [self._shown(f"{path.rstrip('/')}/{entry.name}", entry) for entry in self.inner.entries(path)]

    def open(self, path: str) -> Reader:
        """Open a file for reading."""
        inner = self.inner.open(path)
        if self._is_plain(path):
            return inner
        try:
            return _EncryptedReader(inner, path, self._cipher_of)
        except BaseException:
            inner.close()
            raise

    def new(self, path: str, expected_size: int | None = None) -> Writer:
        """Begin a file."""
        if self._is_plain(path):
            return self.inner.new(path, expected_size)
        cipher = new_cipher(self.keys.current())
        expected = encrypted_size(expected_size) if expected_size is not None else None
        return _EncryptedWriter(self.inner.new(path, expected), cipher)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name."""
        if self._is_plain(old) != self._is_plain(new):
            raise OSError(errno.EINVAL, f"{old} cannot become {new}: only one of the two is encrypted")
        self.inner.rename(old, new)

    def remove(self, path: str) -> None:
        """Remove a file."""
        self.inner.remove(path)

    def make_folder(self, path: str) -> None:
        """Make a folder."""
        self.inner.make_folder(path)

    def sync(self, path: str) -> None:
        """Make durable what happened in a folder."""
        self.inner.sync(path)

    def remove_folder(self, path: str) -> bool:
        """Remove a folder."""
        return self.inner.remove_folder(path)

    def awaits_readers(self, path: str) -> bool:
        """Return whether a folder holds nothing but what stays for those who are reading it."""
        return self.inner.awaits_readers(path)

    def remove_empty_folder(self, path: str) -> None:
        """Remove a folder that holds nothing."""
        self.inner.remove_empty_folder(path)

    def held_until(self, path: str) -> float | None:
        """Return until when nobody can remove a file for good."""
        return self.inner.held_until(path)

    def drop_unfinished(self, path: str, minimum_age: float, spared: Collection[str] = (), *, check: bool) -> list[str]:
        """Remove what was never finished."""
        return self.inner.drop_unfinished(path, minimum_age, spared, check=check)

    def free_space(self, path: str) -> int | None:
        """Return how many bytes may be written there. Encryption adds less than one in a thousand."""
        return self.inner.free_space(path)

    def scratch(self, path: str) -> str:
        """Return the directory for temporary files of this host: what helps to write a file is not encrypted."""
        return tempfile.gettempdir()

    def turn(self, path: str) -> Turn | None:
        """Take the turn of this path."""
        return self.inner.turn(path)

    def _is_plain(self, path: str) -> bool:
        name = path[len(self._root) :] if path.startswith(self._root) else ""
        return name in PLAIN_FILES or name.split("/")[0] == PLAIN_FOLDER

    def _shown(self, path: str, entry: Entry) -> Entry:
        if entry.is_folder or self._is_plain(path):
            return entry
        # That a file is too short to be one of ours is told by whoever reads it.
        return entry._replace(size=max(content_size(entry.size), 0))

    def _cipher_of(self, path: str, header: bytes) -> FileCipher:
        key_id = key_id_of(path, header)
        data_key = self.keys.find(key_id)
        if data_key is None:
            damaged(path, 16, f"it is encrypted with data key {key_id.hex()}, which is none of this vault")
        return cipher_of(path, header, data_key)

    def _encrypted(self, path: str, data: bytes) -> bytes:
        if self._is_plain(path):
            return data
        cipher = new_cipher(self.keys.current())
        last = max(-(-len(data) // CHUNK_SIZE), 1) - 1
        content = memoryview(data)
        chunks = (
            cipher.encrypt(number, content[number * CHUNK_SIZE : (number + 1) * CHUNK_SIZE], last=number == last)
            for number in range(last + 1)
        )
        return b"".join((cipher.header, *chunks))

    def _decrypted(self, path: str, stored: bytes) -> bytes:
        if self._is_plain(path):
            return stored
        reader = _EncryptedReader(_InMemory(stored), path, self._cipher_of)
        return reader.pread(reader.size, 0)

    def _exchange(self, path: str, expected: bytes, act: Callable[[bytes], bool]) -> bool:
        """Let C(inner) act on exactly those stored bytes that hold C(expected); no two files ever have the same."""
        before: bytes | None = None
        while True:
            try:
                found = self.inner.read(path)
            except FileNotFoundError:
                return False
            if found == before or self._decrypted(path, found) != expected:
                return False
            if act(found):
                return True
            before = found  # somebody was quicker: what is there by now may hold the same


class _InMemory:
    """Stored bytes that were read already, as a reader."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def pread(self, length: int, offset: int) -> bytes:
        return self._data[offset : offset + length]

    def close(self) -> None:
        return


class _EncryptedReader:
    """A file that is decrypted chunk by chunk, as it is read."""

    def __init__(self, inner: Reader, path: str, cipher_of_header: Callable[[str, bytes], FileCipher]) -> None:
        self._inner = inner
        self._path = path
        self._cipher = cipher_of_header(path, inner.pread(HEADER_SIZE, 0))
        self.size = content_size(inner.size)
        if self.size < 0:
            damaged(path, inner.size, "the end of the file is missing")
        self._last = max(-(-self.size // CHUNK_SIZE), 1) - 1
        self._end: bytes | None = None

    def pread(self, length: int, offset: int) -> bytes:
        # Only the last chunk proves how long the file is: nothing is believed before it was seen.
        end = self._end = self._end if self._end is not None else self._chunks(self._last, 1)
        stop = min(offset + length, self.size)
        if offset < 0 or length <= 0 or offset >= stop:
            return b""
        first, after = offset // CHUNK_SIZE, -(-stop // CHUNK_SIZE)
        pieces = [
            self._chunks(start, min(_BATCH, min(after, self._last) - start))
            for start in range(first, min(after, self._last), _BATCH)
        ]
        if after > self._last:
            pieces.append(end)
        start = offset - first * CHUNK_SIZE
        content = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return content[start : start + stop - offset]

    def close(self) -> None:
        self._inner.close()

    def _chunks(self, first: int, count: int) -> bytes:
        """Return the content of chunks that follow each other."""
        offset = HEADER_SIZE + first * SEALED_SIZE
        length = min(count * SEALED_SIZE, self._inner.size - offset)
        stored = memoryview(self._inner.pread(length, offset))
        if len(stored) != length:
            damaged(self._path, offset + len(stored), "the file ends there, which it did not when it was opened")
        contents = []
        for number in range(first, first + count):
            start = (number - first) * SEALED_SIZE
            chunk = stored[start : start + SEALED_SIZE]
            contents.append(self._cipher.decrypt(self._path, number, chunk, last=number == self._last))
        return contents[0] if count == 1 else b"".join(contents)


class _EncryptedWriter:
    """A file that is encrypted as it is written. The last bytes wait, because the last chunk is marked as such."""

    def __init__(self, inner: Writer, cipher: FileCipher) -> None:
        self._inner = inner
        self._cipher = cipher
        self._output = cipher.header
        self._buffer = bytearray()
        self._number = 0

    def write(self, data: bytes) -> None:
        with memoryview(data) as rest:
            for start in range(0, len(rest), _BATCH * CHUNK_SIZE):
                self._buffer += rest[start : start + _BATCH * CHUNK_SIZE]
                self._pass_on((len(self._buffer) - 1) // CHUNK_SIZE)

    def finish(self) -> None:
        self._inner.write(self._output + self._cipher.encrypt(self._number, bytes(self._buffer), last=True))
        self._buffer = bytearray()
        self._inner.finish()

    def abort(self) -> None:
        self._inner.abort()

    def _pass_on(self, chunks: int) -> None:
        """Give so many whole chunks to the storage below."""
        if chunks <= 0:
            return
        with memoryview(self._buffer) as content:
            stored = [self._output]
            for start in range(0, chunks * CHUNK_SIZE, CHUNK_SIZE):
                with content[start : start + CHUNK_SIZE] as chunk:
                    stored.append(self._cipher.encrypt(self._number, chunk, last=False))
                self._number += 1
        self._output = b""
        del self._buffer[: chunks * CHUNK_SIZE]
        self._inner.write(b"".join(stored))
