# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Files of a vault as objects of a bucket. Folders are what keys have in common up to a slash."""

from __future__ import annotations

import errno
import posixpath
import tempfile
from collections.abc import Collection, Iterator
from typing import Callable

from .interface import Entry, Reader, Turn, Writer
from .s3_client import Bucket, Stored, make_client
from .s3_copy import SINGLE_COPY, copy_object
from .s3_errors import s3_errors
from .s3_reader import S3Reader
from .s3_settings import SCHEME, S3Settings, parse_place
from .s3_turn import take_turn
from .s3_uploads import Upload, abort_upload, find_uploads
from .s3_writer import PART_SIZE, S3Writer

# What stands for a file that was removed, where the storage cannot remove one only in a certain state: between looking
# and removing, another one could have made it anew. It says what it is to whoever finds it in the bucket.
TOMBSTONE = b"ovm.backup: this file was removed\n"
_BATCH = 1000  # keys of one request to remove
# How often something that changes while it is looked at is looked at again.
_ATTEMPTS = 10


class S3Storage:
    """Storage of a vault in a bucket. See C(Storage) for its methods.

    C(root) is the address of the vault without a slash at its end. C(clock) tells what is too old; by default that of
    the storage, which is the same for all hosts. Threads may share it.
    """

    def __init__(
        self,
        bucket: Bucket,
        root: str,
        *,
        clock: Callable[[], float] | None = None,
        smallest_part: int = PART_SIZE,
        single_copy: int = SINGLE_COPY,
    ) -> None:
        self.root = root
        self._bucket = bucket
        self._clock = clock or bucket.now
        self._smallest_part = smallest_part
        self._single_copy = single_copy

    @classmethod
    def connect(cls, url: str, settings: S3Settings) -> S3Storage:
        """Return the storage of the vault at C(s3://bucket/prefix); nothing is asked of the server yet.

        Raises C(InvalidInputError), and C(ImportError) where the library is missing.
        """
        place = parse_place(url)
        with s3_errors(url):
            client = make_client(settings)
        bucket = Bucket(client, place.bucket, place.prefix, client.meta.endpoint_url)
        return cls(bucket, f"{SCHEME}{place.bucket}/{place.prefix}".rstrip("/"))

    # --- small files -------------------------------------------------------------------------------------------------

    def read(self, path: str, limit: int | None = None) -> bytes:
        """Return a small file, or its first C(limit) bytes."""
        # One byte more than a tombstone has: what only begins like one is none.
        wanted = None if limit is None else f"0-{max(limit, len(TOMBSTONE) + 1) - 1}"
        data, _answer = self._bucket.get(self._key(path), path, wanted)
        if data == TOMBSTONE:
            raise _missing(path)
        return data[:limit]

    def write(self, path: str, data: bytes) -> None:
        """Replace a small file in one step."""
        self._bucket.put(self._key(path), data, path)

    def create(self, path: str, data: bytes) -> None:
        """Make a small file; raise C(FileExistsError) if there is one."""
        if not self.make(path, data):
            raise FileExistsError(errno.EEXIST, "there is such an object already", path)

    def swap(self, path: str, expected: bytes, data: bytes) -> bool:
        """Replace a small file that holds exactly C(expected)."""
        found = self.state(path)
        return found is not None and found.data == expected and self.follow(path, found, data)

    def discard(self, path: str, expected: bytes) -> bool:
        """Remove a small file that holds exactly C(expected).

        By a conditional DELETE; where the storage has none, a small object stays that stands for the absence.
        """
        found = self.state(path)
        return found is not None and found.data == expected and self.follow(path, found, None)

    def state(self, path: str) -> Stored | None:
        """Return a small file with what names its state, or nothing."""
        try:
            found = self._bucket.stored(self._key(path), path)
        except FileNotFoundError:
            return None
        return None if found.data == TOMBSTONE else found

    def make(self, path: str, data: bytes) -> bool:
        """Make a small file; return false if there is one."""
        key = self._key(path)
        for _attempt in range(_ATTEMPTS):
            if self._bucket.put_new(key, data, path):
                return True
            try:
                found = self._bucket.stored(key, path)
            except FileNotFoundError:
                continue  # it has gone in this moment
            if found.data != TOMBSTONE:
                return False
            if self._bucket.put_over(key, found.etag, data, path):
                return True
        return False

    def follow(self, path: str, found: Stored, data: bytes | None) -> bool:
        """Replace a small file that is still in this state, or remove it if there is no C(data)."""
        key = self._key(path)
        if data is None and self._bucket.abilities(path).delete:
            return self._bucket.delete_if(key, found.etag, path)
        return self._bucket.put_over(key, found.etag, TOMBSTONE if data is None else data, path)

    # --- folders -----------------------------------------------------------------------------------------------------

    def entry(self, path: str) -> Entry:
        """Return what is at a path: a file, or a folder that holds something."""
        key, name = self._key(path), posixpath.basename(path.rstrip("/"))
        if path.rstrip("/") == self.root:
            return Entry(name, True, 0, 0.0)
        try:
            found = self._bucket.head(key, path)
        except FileNotFoundError:
            if next(self._below(path, first=1), None) is None:
                raise
            return Entry(name, True, 0, 0.0)
        entry = Entry(name, False, int(found["ContentLength"]), found["LastModified"].timestamp())
        if self._is_tombstone(path, entry):
            raise _missing(path)
        return entry

    def names(self, path: str) -> list[str]:
        """Return the names in a folder, sorted; none if it holds nothing."""
        return [entry.name for entry in self.entries(path)]

    def entries(self, path: str) -> list[Entry]:
        """Return what is in a folder, by name; nothing for one that holds nothing, as there are no empty folders."""
        prefix = self._prefix(path)
        found: dict[str, Entry] = {}
        for page in self._bucket.pages("list_objects_v2", path, Prefix=prefix, Delimiter="/"):
            for folder in page.get("CommonPrefixes", ()):
                name = folder["Prefix"][len(prefix) : -1]
                found[name] = Entry(name, True, 0, 0.0)
            for item in page.get("Contents", ()):
                name = item["Key"][len(prefix) :]
                entry = Entry(name, False, int(item["Size"]), item["LastModified"].timestamp())
                if name and not self._bucket.is_own(item["Key"]) and not self._is_tombstone(f"{path}/{name}", entry):
                    found[name] = entry
        return [found[name] for name in sorted(found)]

    def make_folder(self, path: str) -> None:
        """Only see to it that a storage whose locks would be worthless gets no vault; folders need not be made."""
        self._bucket.abilities(path)

    def sync(self, path: str) -> None:
        """Do nothing: what has been answered is durable."""

    def remove_folder(self, path: str) -> bool:
        """Remove all that is below a folder, and the uploads to it that nobody finished."""
        for upload in self.uploads(path):
            abort_upload(self._bucket, upload)
        batch: list[str] = []
        for key in self._below(path):
            batch.append(key)
            if len(batch) == _BATCH:
                self._bucket.delete_all(batch, path, self._clock())
                batch = []
        if batch:
            self._bucket.delete_all(batch, path, self._clock())
        return True

    def awaits_readers(self, path: str) -> bool:
        """Return that it does not: what is removed is gone, whoever reads it."""
        return False

    def remove_empty_folder(self, path: str) -> None:
        """Raise C(ENOTEMPTY) if a folder holds something; an empty one is not there."""
        if self.entries(path):
            raise OSError(errno.ENOTEMPTY, "the folder is not empty", path)

    # --- files -------------------------------------------------------------------------------------------------------

    def open(self, path: str) -> Reader:
        """Open a file for reading."""
        reader = S3Reader(self._bucket, self._key(path), path)
        if reader.size == len(TOMBSTONE) and reader.pread(reader.size, 0) == TOMBSTONE:
            raise _missing(path)
        return reader

    def new(self, path: str, expected_size: int | None = None) -> Writer:
        """Begin a file; raise C(FileExistsError) now or in C(finish)."""
        try:
            self.entry(path)
        except FileNotFoundError:
            pass
        else:
            raise FileExistsError(errno.EEXIST, "there is such an object already", path)
        return S3Writer(self._bucket, self._key(path), path, expected_size, smallest_part=self._smallest_part)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name: it is copied by the storage, and then removed. Both are there for a moment."""
        size = self.entry(old).size
        copy_object(self._bucket, self._key(old), self._key(new), size, old, single=self._single_copy)
        self._delete(old)

    def remove(self, path: str) -> None:
        """Remove a file; one that is not there is fine, as the storage does not say so."""
        self._delete(path)

    def held_until(self, path: str) -> float | None:
        """Return until when object lock holds a file, or nothing. A legal hold has no end."""
        return self._bucket.held_until(self._key(path), path, self._clock())

    def free_space(self, path: str) -> int | None:
        """Return nothing: a bucket has no such limit."""
        return None

    def scratch(self, path: str) -> str:
        """Return the directory for temporary files of this host."""
        return tempfile.gettempdir()

    def turn(self, path: str) -> Turn | None:
        """Take the turn of this path by an object with a lease."""
        return take_turn(self, path, self._clock)

    # --- uploads that nobody finished --------------------------------------------------------------------------------

    def uploads(self, path: str) -> list[Upload]:
        """Return the uploads below a folder that are not finished."""
        return list(find_uploads(self._bucket, self._prefix(path), path))

    def drop_unfinished(self, path: str, minimum_age: float, spared: Collection[str] = (), *, check: bool) -> list[str]:
        """Give such uploads up, and free what they hold, if nothing came to them for so many seconds."""
        now, prefixes = self._clock(), tuple(self._prefix(folder) for folder in spared)
        found = [one for one in self.uploads(path) if not one.key.startswith(prefixes)]
        old = [one for one in found if now - one.active(self._bucket) >= minimum_age]
        for upload in () if check else old:
            abort_upload(self._bucket, upload)
        return [self._path(upload.key) for upload in old]

    # --- keys --------------------------------------------------------------------------------------------------------

    def _key(self, path: str) -> str:
        if path != self.root and not path.startswith(self.root + "/"):
            raise ValueError(f"{path!r} is not below {self.root!r}")
        return self._bucket.prefix + path[len(self.root) + 1 :]

    def _path(self, key: str) -> str:
        return f"{self.root}/{key[len(self._bucket.prefix) :]}"

    def _prefix(self, path: str) -> str:
        key = self._key(path.rstrip("/"))
        return key if not key or key.endswith("/") else f"{key}/"

    def _below(self, path: str, first: int | None = None) -> Iterator[str]:
        """Yield the keys below a folder; C(first) is for whoever wants only so many."""
        options = {} if first is None else {"MaxKeys": first}
        for page in self._bucket.pages("list_objects_v2", path, Prefix=self._prefix(path), **options):
            for item in page.get("Contents", ()):
                yield item["Key"]

    def _delete(self, path: str) -> None:
        key = self._key(path)
        try:
            with s3_errors(path):
                self._bucket.client.delete_object(Bucket=self._bucket.name, Key=key)
        except FileNotFoundError:
            pass
        except PermissionError as error:
            raise self._bucket.refusal(key, path, self._clock(), error) from error

    def _is_tombstone(self, path: str, entry: Entry) -> bool:
        # Few files have this size; only those are looked into.
        if entry.size != len(TOMBSTONE):
            return False
        try:
            return self._bucket.get(self._key(path), path)[0] == TOMBSTONE
        except FileNotFoundError:
            return True


def _missing(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "there is no such object", path)
