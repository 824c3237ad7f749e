# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""A disk image on a path that is written: a new file, or one that exists and is to hold another disk."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import threading
from collections.abc import Iterable, Iterator

from ..errors import InvalidInputError, TargetError
from .dom0_files import user_of
from .local import LocalImage
from .spans import split_spans
from .target import Bytes, Written, check_size, digest, in_use, not_what_was_written, target_errors
from .types import Span

_STEP = 1024 * 1024


class LocalTarget:
    """A raw image, open for writing; made by C(new_image) or C(existing_image)."""

    concurrent = True

    def __init__(
        self, descriptor: int, path: str, size: int, *, fresh: bool, name: str | None = None, overwrite: bool = True
    ) -> None:
        self._descriptor = descriptor
        self.name = path
        self._becomes = name
        self._overwrite = overwrite
        self.size = size
        self.fresh = fresh
        self.kept = 0
        self._counting = threading.Lock()

    def room(self) -> int:
        """Return how many bytes of data the image can take."""
        with target_errors("look at", self.name):
            system, image = os.fstatvfs(self._descriptor), os.fstat(self._descriptor)
        return system.f_bavail * system.f_frsize + image.st_blocks * 512

    def write(self, offset: int, data: Bytes) -> None:
        """Write data if it is not there already."""
        with target_errors("write", self.name), memoryview(data) as view:
            if not self.fresh and os.pread(self._descriptor, len(view), offset) == view:
                with self._counting:
                    self.kept += len(view)
                return
            self._write(offset, view)

    def clear(self, spans: Iterable[Span]) -> None:
        """Let spans be zeros."""
        with target_errors("write", self.name):
            for span in self._not_zero(spans):
                self._write(span.start, memoryview(bytes(span.end - span.start)))

    def _write(self, offset: int, view: memoryview) -> None:
        """Write all of it: a system may write less at once, as on a file system that is about to be full."""
        position = 0
        while position < len(view):
            position += os.pwrite(self._descriptor, view[position:], offset + position)

    def flush(self) -> None:
        """Make all durable."""
        with target_errors("write", self.name):
            os.fsync(self._descriptor)

    def verify(self, written: Iterable[Written], zeros: Iterable[Span]) -> None:
        """Read everything again."""
        with target_errors("read", self.name):
            # What is in the page cache says nothing about the storage.
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            for start, end, expected in written:
                if digest(os.pread(self._descriptor, end - start, start)) != expected:
                    raise not_what_was_written(self.name, start)
            for span in self._not_zero(zeros):
                raise not_what_was_written(self.name, span.start)

    def finish(self) -> None:
        """Give a new image its name."""
        if self._becomes is None:
            return
        refuse_existing(self._becomes, self._overwrite)  # a restore may take hours
        with target_errors("create", self._becomes):
            os.replace(self.name, self._becomes)
        self.name, self._becomes = self._becomes, None
        _sync_name(self.name)

    def _not_zero(self, spans: Iterable[Span]) -> Iterator[Span]:
        for part in split_spans(spans, _STEP):
            try:
                if os.lseek(self._descriptor, part.start, os.SEEK_DATA) >= part.end:
                    continue
            except OSError as error:
                if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                    return
            data = os.pread(self._descriptor, part.end - part.start, part.start)
            if data.count(0) != len(data):
                yield part


@contextlib.contextmanager
def new_image(path: str, size: int, *, overwrite: bool = False) -> Iterator[LocalTarget]:
    """Give an empty image that gets its name C(path) with C(finish); without that nothing is left of it.

    Raises C(InvalidInputError) when C(path) exists and C(overwrite) is not set, then and in C(finish).
    """
    refuse_existing(path, overwrite)
    temporary = _temporary(path)
    # Open, and so locked, until it has its name or is gone.
    descriptor = _open_temporary(temporary)
    target = LocalTarget(descriptor, temporary, size, fresh=True, name=path, overwrite=overwrite)
    finished = False
    try:
        with target_errors("write", temporary):
            os.fchmod(descriptor, 0o600)
            os.ftruncate(descriptor, 0)  # a killed restore may have left something
            os.ftruncate(descriptor, size)
        yield target
        finished = target.name == path
    finally:
        if not finished:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        os.close(descriptor)


@contextlib.contextmanager
def existing_image(path: str, size: int) -> Iterator[LocalTarget]:
    """Give an image that exists with the right size, such as a virtual disk of the manager; it stays in any case."""
    with target_errors("open", path):
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        _lock(descriptor, path)
        _check_image(os.fstat(descriptor), path, size)
        user = user_of(descriptor, os.fsencode(path))
        if user:
            raise in_use(path, user)
        with LocalImage(path) as image:
            fresh = not image.data_spans()
        yield LocalTarget(descriptor, path, size, fresh=fresh)
    finally:
        os.close(descriptor)


def room_of(path: str, size: int) -> int:
    """Return how many bytes of data an image that exists can take; raise C(TargetError) if it is not such a disk's."""
    with target_errors("look at", path):
        found, system = os.lstat(path), os.statvfs(path)
    _check_image(found, path, size)
    return system.f_bavail * system.f_frsize + found.st_blocks * 512


def _check_image(found: os.stat_result, path: str, size: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise TargetError(f"Cannot restore to {path}: it is not a regular file", path=path)
    check_size(path, path, found.st_size, size)


def refuse_existing(path: str, overwrite: bool) -> None:
    """Raise C(InvalidInputError) when there is something at the path that must not be replaced."""
    if os.path.lexists(path) and not overwrite:
        raise InvalidInputError(f"{path} exists: name another file, or allow it to be overwritten", path=path)


def left_over(path: str) -> int:
    """Return how many bytes the new image at a path will give back first: what a killed restore left for it takes."""
    with target_errors("look at", path), contextlib.suppress(FileNotFoundError):
        found = os.lstat(_temporary(path))
        return found.st_blocks * 512 if stat.S_ISREG(found.st_mode) else 0
    return 0


def _temporary(path: str) -> str:
    return f"{path}.restoring"


def _open_temporary(path: str) -> int:
    """Return a file, locked against other restores; what a killed one left behind is used again."""
    with target_errors("create", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        _lock(descriptor, path)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise TargetError(f"Cannot create {path}: it exists and is not a regular file", path=path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _lock(descriptor: int, path: str) -> None:
    with target_errors("create", path):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = os.path.samestat(os.fstat(descriptor), os.stat(path))
        except (BlockingIOError, FileNotFoundError):
            ours = False
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise
            ours = True  # a file system without locks
    if not ours:
        raise TargetError(f"Cannot create {path}: another restore is writing it", path=path)


def _sync_name(path: str) -> None:
    """Make the name of the image durable, where the file system can."""
    with contextlib.suppress(OSError):
        directory = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
