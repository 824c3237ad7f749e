# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.
"""Tables that grow while a disk file is written: hashed as they grow, and out of memory as soon as they are large."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator
from typing import BinaryIO, cast

from .._libraries import blake3
from .files import scratch_directory
from .storage.failures import vault_errors

_IN_MEMORY = 256 * 1024


class Spool:
    """Bytes that are appended and then read once, from the first on.

    What does not stay in memory goes to a file without a name, where the storage of C(path) has room for it, and goes
    with it.
    Raises C(VaultWriteError) when the vault does not take it.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._buffer = bytearray()
        self._hasher = blake3.blake3()
        self._file: BinaryIO | None = None
        self.size = 0

    def append(self, data: bytes) -> None:
        """Add bytes at the end."""
        self._buffer += data
        self.size += len(data)
        if len(self._buffer) >= _IN_MEMORY:
            self._write_out()

    def hexdigest(self) -> str:
        """Return the BLAKE3 of everything."""
        hasher = self._hasher.copy()
        hasher.update(self._buffer)
        return str(hasher.hexdigest())

    @contextlib.contextmanager
    def reader(self) -> Iterator[BinaryIO]:
        """Give everything as a file; nothing can be added any more."""
        if self._file is None:
            yield io.BytesIO(self._buffer)
            return
        self._write_out()
        with self._errors():
            self._file.seek(0)
        yield self._file

    def close(self) -> None:
        """Give memory and file back."""
        self._buffer = bytearray()
        if self._file is not None:
            with contextlib.suppress(OSError):  # what could not be written is thrown away
                self._file.close()

    def _write_out(self) -> None:
        self._hasher.update(self._buffer)
        with self._errors():
            if self._file is None:
                directory = scratch_directory(self._path)
                self._file = cast(BinaryIO, tempfile.TemporaryFile(dir=directory, buffering=0))  # noqa: SIM115 - closed by close
            with memoryview(self._buffer) as rest:
                while rest:
                    rest = rest[self._file.write(rest) :]
        self._buffer = bytearray()

    def _errors(self) -> contextlib.AbstractContextManager[None]:
        return vault_errors("write", self._path)
