# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The directory that files of a guest are copied to, and the only way in which anything is written there.

Nothing is written outside of it: no link is followed on the way, neither one that a guest has nor one that somebody
puts there meanwhile. Nothing that is copied has more rights than its owner on the proxy has anyhow.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from typing import Any

from ..errors import GuestFileError, InvalidInputError, TargetError
from ..vault.content_hash import zeros
from .appliance import shown
from .files import GuestFile

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_STEP = 64 * 1024
# The years that every file system can write down.
_LATEST = (1 << 32) * 10**9


def check_destination(path: str) -> None:
    """Raise C(InvalidInputError) or C(TargetError) for a directory that is none and cannot be made."""
    with Destination(path):
        pass


def kept_time(time: int) -> int:
    """Return the time that is given to a file: what a guest claims may be more than a file system can hold."""
    return min(max(time, 0), _LATEST)


class Destination:
    """A directory and what is in it, reached step by step from its descriptor, without following links."""

    def __init__(self, path: str, *, make: bool = False) -> None:
        self._top = os.path.abspath(path)
        self._make = make
        self._descriptor = -1
        # The directory that was used last, as files come directory by directory.
        self._last: tuple[bytes, int] | None = None

    def __enter__(self) -> Destination:
        with self._errors("open", self._top):
            if self._make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(self._top, 0o700)
            try:
                self._descriptor = os.open(self._top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                if not os.path.isdir(os.path.dirname(self._top)):
                    raise InvalidInputError(
                        f"{self._top} does not exist and cannot be made: name a directory in one that exists",
                        path=self._top,
                    ) from None
        return self

    def __exit__(self, *_exception: object) -> None:
        for descriptor in (self._descriptor, self._last[1] if self._last else -1):
            if descriptor >= 0:
                os.close(descriptor)
        self._descriptor, self._last = -1, None

    def path(self, path: bytes) -> str:
        """Return the path of a copy, for people."""
        return self._top + shown(path)

    def check_space(self, needed: int) -> None:
        """Raise C(TargetError) when the file system has less space than that."""
        where = self._top if self._descriptor >= 0 else os.path.dirname(self._top)
        with self._errors("look at", where):
            found = os.statvfs(where)
        free = found.f_bavail * found.f_frsize
        if needed > free:
            raise TargetError(
                f"Cannot copy to {self._top}: {needed} bytes are needed, {free} are free there", path=self._top
            )

    def status(self, path: bytes) -> os.stat_result | None:
        """Return what lies at the place of a copy, or nothing."""
        if self._descriptor < 0:
            return None
        with self._errors("look at", self.path(path)):
            try:
                return os.stat(os.path.basename(path), dir_fd=self._above(path), follow_symlinks=False)
            except FileNotFoundError:
                return None

    def link(self, path: bytes) -> bytes:
        """Return where a link at the place of a copy leads."""
        return os.readlink(os.path.basename(path), dir_fd=self._above(path))

    def make_directory(self, found: GuestFile) -> None:
        """Make a directory that nobody else may enter."""
        with self._errors("create", self.path(found.path)):
            os.mkdir(os.path.basename(found.path), 0o700, dir_fd=self._above(found.path))

    def make_link(self, found: GuestFile, leads_to: bytes) -> None:
        """Make a symbolic link. Nothing here follows it."""
        with self._errors("create", self.path(found.path)):
            os.symlink(leads_to, os.path.basename(found.path), dir_fd=self._above(found.path))

    def make_file(self, found: GuestFile, content: int, *, replace: bool) -> None:
        """Make a file of the same size and times as in the guest, out of what a descriptor gives."""
        path = self.path(found.path)
        with self._errors("write", path):
            above = self._above(found.path)
            descriptor, name = _open_nameless(above)
            try:
                self._fill(descriptor, found, content)
                os.utime(descriptor, ns=(kept_time(found.status.atime), kept_time(found.status.mtime)))
                name = _publish(descriptor, name, os.path.basename(found.path), above, replace=replace)
            finally:
                os.close(descriptor)
                if name is not None:
                    with contextlib.suppress(OSError):
                        os.unlink(name, dir_fd=above)

    def keep_times(self, found: GuestFile) -> None:
        """Give a directory the times that it has in the guest."""
        with self._errors("write", self.path(found.path)):
            descriptor = os.open(os.path.basename(found.path), _DIRECTORY, dir_fd=self._above(found.path))
            try:
                os.utime(descriptor, ns=(kept_time(found.status.atime), kept_time(found.status.mtime)))
            finally:
                os.close(descriptor)

    def _fill(self, descriptor: int, found: GuestFile, content: int) -> None:
        expected, position = found.status.size, 0
        while True:
            data = _read_step(content)
            if not data or position + len(data) > expected:
                position += len(data)
                break
            if data != zeros(len(data)):
                view = memoryview(data)
                written = 0
                while written < len(view):
                    written += os.pwrite(descriptor, view[written:], position + written)
            position += len(data)
        if position != expected:
            gives = "more" if position > expected else position
            raise GuestFileError(
                f"{shown(found.path)} in the guest has {expected} bytes but gives {gives}: its file system is damaged, "
                "or it is of a kind that has no content of its own",
                path=shown(found.path),
            )
        os.ftruncate(descriptor, expected)

    def _above(self, path: bytes) -> int:
        """Return a descriptor of the directory that a copy lies in."""
        above = os.path.dirname(path)
        if self._last is not None and self._last[0] == above:
            return self._last[1]
        descriptor = os.dup(self._descriptor)
        try:
            for part in above.split(b"/"):
                if part:
                    below = os.open(part, _DIRECTORY, dir_fd=descriptor)
                    os.close(descriptor)
                    descriptor = below
        except BaseException:
            os.close(descriptor)
            raise
        if self._last is not None:
            os.close(self._last[1])
        self._last = (above, descriptor)
        return descriptor

    @contextlib.contextmanager
    def _errors(self, verb: str, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = "no space is left there" if error.errno == errno.ENOSPC else error.strerror
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                reason = "a directory on the way is a link or a file"
            raise TargetError(f"Cannot {verb} {path}: {reason}", path=path, errno=error.errno) from error


def _read_step(descriptor: int) -> bytes:
    """Return as much as is wanted at once, less only at the end: pipes give what they have."""
    parts: list[bytes] = []
    wanted = _STEP
    while wanted:
        part = os.read(descriptor, wanted)
        if not part:
            break
        parts.append(part)
        wanted -= len(part)
    return b"".join(parts)


def _open_nameless(directory: int) -> tuple[int, str | None]:
    """Return a new file that is gone when this process is; where that cannot be had, one with a name."""
    try:
        return os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=directory), None
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL):
            raise
    name = _new_name()
    return os.open(
        name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory
    ), name


def _publish(descriptor: int, name: str | None, final: bytes, directory: int, *, replace: bool) -> str | None:
    """Give a file its name; return that of what is left to remove."""
    if name is None:
        name = _new_name() if replace else None
        place: Any = final if name is None else name
        os.link(f"/proc/self/fd/{descriptor}", place, dst_dir_fd=directory, follow_symlinks=True)
        if name is None:
            return None
    if not replace:
        os.link(name, final, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
        return name
    there = os.stat(final, dir_fd=directory, follow_symlinks=False)
    if not stat.S_ISREG(there.st_mode):
        raise FileExistsError(errno.EEXIST, "it is not a regular file any more")
    os.rename(name, final, src_dir_fd=directory, dst_dir_fd=directory)
    return None


def _new_name() -> str:
    return f".ovm-copying-{secrets.token_hex(8)}"
