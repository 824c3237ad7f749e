# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A storage in memory, for tests that look at, or change, what is stored. A stand-in for a directory or bucket."""

from __future__ import annotations

from collections.abc import Collection

from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.cipher import data_key_id
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.interface import Entry, Reader, Turn, Writer


class MemoryStorage:
    """Files in a dict. Folders are there as soon as something is in them. Notes what is read of each file."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.preads: list[tuple[int, int]] = []
        self.largest_write = 0

    def read(self, path: str, limit: int | None = None) -> bytes:
        return self._found(path)[:limit]

    def write(self, path: str, data: bytes) -> None:
        self.files[path] = bytes(data)

    def create(self, path: str, data: bytes) -> None:
        if path in self.files:
            raise FileExistsError(17, "it exists", path)
        self.files[path] = bytes(data)

    def swap(self, path: str, expected: bytes, data: bytes) -> bool:
        if self.files.get(path) != expected:
            return False
        self.files[path] = bytes(data)
        return True

    def discard(self, path: str, expected: bytes) -> bool:
        if self.files.get(path) != expected:
            return False
        del self.files[path]
        return True

    def entry(self, path: str) -> Entry:
        return Entry(path.rpartition("/")[2], False, len(self._found(path)), 1.0)

    def names(self, path: str) -> list[str]:
        return [entry.name for entry in self.entries(path)]

    def entries(self, path: str) -> list[Entry]:
        found = {}
        for name, data in self.files.items():
            if name.startswith(f"{path}/"):
                first, slash, _rest = name[len(path) + 1 :].partition("/")
                found[first] = Entry(first, bool(slash), 0 if slash else len(data), 1.0)
        return [found[name] for name in sorted(found)]

    def open(self, path: str) -> Reader:
        return MemoryReader(self, self._found(path))

    def new(self, path: str, expected_size: int | None = None) -> Writer:
        return MemoryWriter(self, path)

    def rename(self, old: str, new: str) -> None:
        self.files[new] = self._found(old)
        del self.files[old]

    def remove(self, path: str) -> None:
        self._found(path)
        del self.files[path]

    def make_folder(self, path: str) -> None:
        return

    def sync(self, path: str) -> None:
        return

    def remove_empty_folder(self, path: str) -> None:
        return

    def remove_folder(self, path: str) -> bool:
        for name in [name for name in self.files if name.startswith(f"{path}/")]:
            del self.files[name]
        return True

    def awaits_readers(self, path: str) -> bool:
        return False

    def held_until(self, path: str) -> float | None:
        return None

    def drop_unfinished(self, path: str, minimum_age: float, spared: Collection[str] = (), *, check: bool) -> list[str]:
        return []

    def free_space(self, path: str) -> int | None:
        return None

    def scratch(self, path: str) -> str:
        return "/tmp"

    def turn(self, path: str) -> Turn | None:
        return None

    def _found(self, path: str) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(2, "no such file", path)
        return self.files[path]


class MemoryReader:
    def __init__(self, storage: MemoryStorage, data: bytes) -> None:
        self._storage = storage
        self._data = data
        self.size = len(data)

    def pread(self, length: int, offset: int) -> bytes:
        self._storage.preads.append((offset, length))
        return self._data[offset : offset + length]

    def close(self) -> None:
        return


class MemoryWriter:
    def __init__(self, storage: MemoryStorage, path: str) -> None:
        self._storage = storage
        self._path = path
        self._data = bytearray()

    def write(self, data: bytes) -> None:
        self._storage.largest_write = max(self._storage.largest_write, len(data))
        self._data += data

    def finish(self) -> None:
        self._storage.create(self._path, bytes(self._data))

    def abort(self) -> None:
        self._data.clear()


class FixedKeys:
    """Data keys without a keys.json."""

    def __init__(self, *data_keys: bytes) -> None:
        self._known = {data_key_id(one): one for one in data_keys}
        self._current = data_keys[-1]

    def current(self) -> bytes:
        return self._current

    def find(self, key_id: bytes) -> bytes | None:
        return self._known.get(key_id)
