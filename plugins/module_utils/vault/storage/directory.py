# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Files in a directory of this host, which may be an NFS mount that many hosts share."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import threading
from collections.abc import Collection, Iterator
from typing import BinaryIO

from .interface import Entry, Reader, Turn, Writer

# Bytes that are left to the kernel before it is asked to begin writing them.
_WRITE_BEHIND = 64 * 1024 * 1024
_BUSY = (errno.EACCES, errno.EAGAIN)
# File systems that know no second name for a file, or forbid it.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)
_NAME_BYTES = 200
# The end of the names of files that are not complete yet; they begin with a dot.
TEMPORARY = ".new"
_REMOVED_ON_NFS = ".nfs"
_IN_PROCESS = threading.Lock()


class DirectoryReader:
    """A file that is open for reading."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        try:
            self.size = os.fstat(self._descriptor).st_size
        except BaseException:
            self.close()
            raise

    def pread(self, length: int, offset: int) -> bytes:
        """Return C(length) bytes from C(offset) on, fewer only where the file ends."""
        part = os.pread(self._descriptor, length, offset)
        if len(part) == length or not part:
            return part
        parts = [part]
        while part and length > len(part):
            length, offset = length - len(part), offset + len(part)
            part = os.pread(self._descriptor, length, offset)
            parts.append(part)
        return b"".join(parts)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class DirectoryWriter:
    """A new file; the kernel is asked early to write what it has, so that C(finish) need not wait for all of it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: BinaryIO = open(path, "xb")  # noqa: SIM115 - closed by finish or abort
        self._offset = self._begun = 0
        self._done = False

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._file.write(data)
        self._offset += len(data)
        if self._offset - self._begun >= _WRITE_BEHIND:
            self._file.flush()
            # The one call of Python that starts writing and does not wait: what is not on the disk yet stays in memory.
            os.posix_fadvise(self._file.fileno(), self._begun, self._offset - self._begun, os.POSIX_FADV_DONTNEED)
            self._begun = self._offset

    def finish(self) -> None:
        """Make the file durable and close it; its folder is made durable by C(sync)."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._done = True

    def abort(self) -> None:
        """Remove the file, unless it was finished."""
        if self._done:
            return
        self._done = True
        with contextlib.suppress(OSError):
            self._file.close()  # what cannot be flushed is thrown away anyway
        with contextlib.suppress(OSError):
            os.unlink(self._path)


class _FileTurn:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


class DirectoryStorage:
    """Storage of a vault in a directory. See C(Storage) for its methods."""

    def read(self, path: str, limit: int | None = None) -> bytes:
        """Return a small file, or its first C(limit) bytes."""
        with open(path, "rb") as file:
            return file.read(-1 if limit is None else limit)

    def write(self, path: str, data: bytes) -> None:
        """Replace a small file in one step."""
        with _temporary(path, data) as temporary:
            os.replace(temporary, path)
        self.sync(os.path.dirname(path))

    def create(self, path: str, data: bytes) -> None:
        """Make a small file; raise C(FileExistsError) if there is one."""
        with _temporary(path, data) as temporary:
            _rename_new(temporary, path)
            try:
                self.sync(os.path.dirname(path))
            except BaseException:
                os.unlink(path)  # what is not made for certain must not keep others out
                raise

    def swap(self, path: str, expected: bytes, data: bytes) -> bool:
        """Replace a small file that holds exactly C(expected)."""
        with _holding(path, expected) as unchanged:
            if unchanged and data != expected:
                self.write(path, data)
            return unchanged

    def discard(self, path: str, expected: bytes) -> bool:
        """Remove a small file that holds exactly C(expected)."""
        with _holding(path, expected) as unchanged:
            if unchanged:
                self.remove(path)
            return unchanged

    def entry(self, path: str) -> Entry:
        """Return what is at a path."""
        return _entry(os.path.basename(path), os.lstat(path))

    def names(self, path: str) -> list[str]:
        """Return the names in a folder, sorted."""
        return sorted(os.listdir(path))

    def entries(self, path: str) -> list[Entry]:
        """Return what is in a folder, by name."""
        found = []
        for name in sorted(os.listdir(path)):
            with contextlib.suppress(FileNotFoundError):  # it has gone in this moment
                found.append(_entry(name, os.lstat(os.path.join(path, name))))
        return found

    def open(self, path: str) -> Reader:
        """Open a file for reading."""
        return DirectoryReader(path)

    def new(self, path: str, expected_size: int | None = None) -> Writer:
        """Begin a file; raise C(FileExistsError)."""
        return DirectoryWriter(path)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name."""
        os.rename(old, new)
        for directory in sorted({os.path.dirname(old), os.path.dirname(new)}):
            self.sync(directory)

    def remove(self, path: str) -> None:
        """Remove a file."""
        os.unlink(path)
        self.sync(os.path.dirname(path))

    def make_folder(self, path: str) -> None:
        """Make a folder and its entry durable."""
        path = os.path.abspath(path)
        os.makedirs(path, exist_ok=True)
        self.sync(os.path.dirname(path))

    def sync(self, path: str) -> None:
        """Make the entries of a folder durable."""
        descriptor = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            # Some network file systems cannot sync directories, and need not.
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(descriptor)

    def remove_folder(self, path: str) -> bool:
        """Remove a folder with all that it holds; return whether it is gone."""
        if not os.path.lexists(path):
            return True
        if os.path.islink(path):  # what it leads to is not ours to empty
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        failures: list[OSError] = []
        gone = self._remove_all(path, failures)
        if failures:
            raise failures[0]
        self.sync(os.path.dirname(path))
        return gone

    def awaits_readers(self, path: str) -> bool:
        """Return whether a folder holds nothing but what NFS makes of files that are removed while a host reads them.

        They go when they are closed, and the host that reads them cannot remove them before that.
        """
        try:
            found = self.entries(path)
        except OSError:
            return False
        return bool(found) and all(
            entry.name.startswith(_REMOVED_ON_NFS)
            or (entry.is_folder and self.awaits_readers(os.path.join(path, entry.name)))
            for entry in found
        )

    def _remove_all(self, path: str, failures: list[OSError]) -> bool:
        """Remove a folder and what it holds, as far as that can be removed; return whether it is gone.

        What readers on NFS keep is no failure: whoever reads an expired recovery point for hours must not fail all
        backups of its client. To remove it is tried all the same, for a host that has died closes nothing.
        """
        with os.scandir(path) as listed:
            found = list(listed)
        for entry in found:
            try:
                if entry.is_dir(follow_symlinks=False):
                    self._remove_all(entry.path, failures)
                else:
                    os.unlink(entry.path)
            except FileNotFoundError:
                continue  # it was closed in this moment
            except OSError as error:
                if not entry.name.startswith(_REMOVED_ON_NFS):
                    failures.append(error)
        try:
            os.rmdir(path)
        except FileNotFoundError:
            return True
        except OSError as error:
            if not self.awaits_readers(path):
                failures.append(error)
            return False
        return True

    def remove_empty_folder(self, path: str) -> None:
        """Remove a folder that holds nothing."""
        os.rmdir(path)
        self.sync(os.path.dirname(path))

    def held_until(self, path: str) -> float | None:
        """Return nothing: whoever may write in a directory may remove."""
        return None

    def drop_unfinished(self, path: str, minimum_age: float, spared: Collection[str] = (), *, check: bool) -> list[str]:
        """Return nothing: C(entries) shows all that there is."""
        return []

    def free_space(self, path: str) -> int | None:
        """Return how many bytes may be written into a folder."""
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize

    def scratch(self, path: str) -> str:
        """Return the folder of a file: it has room for the file, so it has some for what helps to write it."""
        return os.path.dirname(os.path.abspath(path))

    def turn(self, path: str) -> Turn | None:
        """Lock a file by a record lock of the operating system, which ends with its process.

        It needs no lease and no heartbeat; on NFS it ends with the host that held it. A file system that cannot lock
        gives every turn at once.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _BUSY:
                os.close(descriptor)
                return None
        return _FileTurn(descriptor)


@contextlib.contextmanager
def _holding(path: str, expected: bytes) -> Iterator[bool]:
    """Keep everybody else from replacing or removing a file; give whether it holds exactly C(expected) now.

    The lock is on the file itself, so whoever has waited for it finds that another file has its name by now. It ends
    with its process. Where a file system cannot lock, two processes may do the same at once, and one of them notices
    at its next look.
    """
    with contextlib.ExitStack() as stack:
        try:
            # On NFS nobody gets an exclusive lock who could not write.
            file = stack.enter_context(open(path, "r+b"))
        except FileNotFoundError:
            yield False
            return
        stack.enter_context(_IN_PROCESS)  # where NFS makes a record lock of it, that is one of the process
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        except OSError as error:
            if error.errno == errno.ESTALE:
                yield False
                return
        yield _is_at(path, os.fstat(file.fileno())) and _content(path) == expected


@contextlib.contextmanager
def _temporary(path: str, data: bytes) -> Iterator[str]:
    """Write a file durably under a name of its own, which the block has to take away; it is gone after an error."""
    directory, name = os.path.split(path)
    short = os.fsdecode(os.fsencode(name)[:_NAME_BYTES])
    temporary = os.path.join(directory, f".{short}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _rename_new(temporary: str, path: str) -> None:
    """Give a file a name that nobody has in place of its own; raise C(FileExistsError)."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Its content may be seen when it is half written; there is no better way in such a file system.
        with open(temporary, "rb") as source, open(path, "xb") as file:
            file.write(source.read())
            file.flush()
            os.fsync(file.fileno())
    with contextlib.suppress(OSError):
        os.unlink(temporary)


def _is_at(path: str, found: os.stat_result) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino)


def _content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _entry(name: str, found: os.stat_result) -> Entry:
    return Entry(name, stat.S_ISDIR(found.st_mode), found.st_size, found.st_mtime)
