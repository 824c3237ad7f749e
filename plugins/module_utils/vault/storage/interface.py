# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What a vault needs of the place that keeps it: a directory, a bucket, or either of them encrypted.

All paths are whole: that of the vault, then names with slashes between them (C(/srv/vault/clients/db01/client.json),
C(s3://bucket/prefix/clients/db01/client.json)). Everything raises C(OSError) with an C(errno) and a text that tells the
reason: C(FileNotFoundError) and C(FileExistsError) where a method says so, C(ENOSPC) for no room, C(EIO) only
for content that is damaged.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, Protocol


class Entry(NamedTuple):
    """A file or a folder. C(size) in bytes, C(modified) in seconds since 1970 by the clock of the storage."""

    name: str
    is_folder: bool
    size: int
    modified: float


class Reader(Protocol):
    """A file that is open for reading anywhere in it; threads may share it."""

    size: int

    def pread(self, length: int, offset: int) -> bytes:
        """Return C(length) bytes from C(offset) on, fewer only where the file ends."""

    def close(self) -> None:
        """Give back what the file needs."""


class Writer(Protocol):
    """A new file that is written from its beginning to its end, by one thread."""

    def write(self, data: bytes) -> None:
        """Append bytes."""

    def finish(self) -> None:
        """Make the file whole and durable. Before this has returned nobody may rely on it."""

    def abort(self) -> None:
        """Throw away what was written. Never raises C(OSError); harmless after C(finish)."""


class Turn(Protocol):
    """Something that one process at a time may have."""

    def release(self) -> None:
        """Give it to the next. Never raises C(OSError)."""


class Storage(Protocol):
    """Files by path. A folder is there as soon as something is in it, at the latest."""

    def read(self, path: str, limit: int | None = None) -> bytes:
        """Return a small file, or its first C(limit) bytes; raise C(FileNotFoundError)."""

    def write(self, path: str, data: bytes) -> None:
        """Replace a small file in one step, durably: readers see the old or the new content, also after a crash."""

    def create(self, path: str, data: bytes) -> None:
        """Make a small file durably; raise C(FileExistsError) if there is one, whoever made it."""

    def swap(self, path: str, expected: bytes, data: bytes) -> bool:
        """Replace a small file that holds exactly C(expected); return false when it holds anything else, or is gone.

        No two processes replace the same content.
        """

    def discard(self, path: str, expected: bytes) -> bool:
        """Remove a small file that holds exactly C(expected); return false when it holds anything else, or is gone."""

    def entry(self, path: str) -> Entry:
        """Return what is at a path; raise C(FileNotFoundError)."""

    def names(self, path: str) -> list[str]:
        """Return the names in a folder, sorted, without looking at them; raise as C(entries) does."""

    def entries(self, path: str) -> list[Entry]:
        """Return what is in a folder, by name; raise C(FileNotFoundError) where folders can be missing."""

    def open(self, path: str) -> Reader:
        """Open a file for reading; raise C(FileNotFoundError)."""

    def new(self, path: str, expected_size: int | None = None) -> Writer:
        """Begin a file; raise C(FileExistsError) at the latest in C(finish).

        C(expected_size) (bytes) is about how large it may become at most, where that is known.
        """

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, durably; what has that name is replaced. Raise C(FileNotFoundError)."""

    def remove(self, path: str) -> None:
        """Remove a file durably; raise C(FileNotFoundError) where that is known."""

    def make_folder(self, path: str) -> None:
        """Make a folder and those above it, durably; an existing one is fine. May do nothing.

        A folder that holds nothing need not be there.
        """

    def sync(self, path: str) -> None:
        """Make durable what was put into a folder, took another name or left it. May do nothing."""

    def remove_folder(self, path: str) -> bool:
        """Remove a folder with all that it holds; a missing one is fine. Return whether it is gone.

        What a file system keeps for those who are reading it may stay, with the folder, until they are done.
        """

    def awaits_readers(self, path: str) -> bool:
        """Return whether a folder holds nothing but what stays like that."""

    def remove_empty_folder(self, path: str) -> None:
        """Remove a folder that holds nothing; raise C(OSError) when it holds something. May do nothing."""

    def held_until(self, path: str) -> float | None:
        """Return until when nobody can remove a file for good (seconds since 1970, infinity for no end), or nothing."""

    def drop_unfinished(self, path: str, minimum_age: float, spared: Collection[str] = (), *, check: bool) -> list[str]:
        """Remove what was begun below a folder and never finished, where C(entries) does not show it; return the paths.

        Only that to which nothing came for C(minimum_age) seconds, and nothing below the folders in C(spared). With
        C(check) it is only told.
        """

    def free_space(self, path: str) -> int | None:
        """Return how many bytes may be written there, or nothing where there is no such limit."""

    def scratch(self, path: str) -> str:
        """Return a directory of this host for what does not stay in memory while C(path) is written."""

    def turn(self, path: str) -> Turn | None:
        """Take the turn of this path, or return nothing while another process has it; a dead process has none."""
