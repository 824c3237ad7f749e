# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""As much of libguestfs as we need, called in its C library.

Its Python bindings are built for one Python of a distribution, which often is not the one that has our other libraries.
The C library keeps its interface stable and needs nothing but itself. Names and paths are bytes, as guests have them,
and are arguments of functions: no shell and no command language sees them.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Sequence
from typing import Any, NamedTuple, Union

from ..errors import ApplianceError

LIBRARY = "libguestfs.so.0"
Argument = Union[bytes, int, Sequence[bytes]]

_READ_ONLY, _FORMAT, _PROTOCOL, _SERVER = 1 << 0, 1 << 1, 1 << 5, 1 << 6


class GuestfsError(Exception):
    """A call failed. C(number) is the errno, or 0 where there is none."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number


class Status(NamedTuple):
    """What is known of a file: numbers as C(lstat) gives them, times in nanoseconds."""

    mode: int
    uid: int
    gid: int
    size: int
    blocks: int
    atime: int
    mtime: int


class _DriveOptions(ctypes.Structure):
    _fields_ = [
        ("bitmask", ctypes.c_uint64),
        ("readonly", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("iface", ctypes.c_char_p),
        ("name", ctypes.c_char_p),
        ("label", ctypes.c_char_p),
        ("protocol", ctypes.c_char_p),
        ("server", ctypes.POINTER(ctypes.c_char_p)),
        ("username", ctypes.c_char_p),
        ("secret", ctypes.c_char_p),
        ("cachemode", ctypes.c_char_p),
        ("discard", ctypes.c_char_p),
        ("copyonread", ctypes.c_int),
        ("blocksize", ctypes.c_int),
    ]


class _Stat(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            *("dev", "ino", "mode", "nlink", "uid", "gid", "rdev", "size", "blksize", "blocks"),
            *("atime", "atime_nsec", "mtime", "mtime_nsec", "ctime", "ctime_nsec"),
            *("spare1", "spare2", "spare3", "spare4", "spare5", "spare6"),
        )
    ]


class _StatList(ctypes.Structure):
    _fields_ = [("len", ctypes.c_uint32), ("val", ctypes.POINTER(_Stat))]


@functools.lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise ApplianceError(
            f"libguestfs is not installed ({error}): install the packages libguestfs0 (Debian) or libguestfs (Oracle "
            "Linux)",
            package="libguestfs0",
        ) from error
    library.guestfs_create.restype = ctypes.c_void_p
    library.guestfs_close.argtypes = [ctypes.c_void_p]
    library.guestfs_close.restype = None
    library.guestfs_set_error_handler.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    library.guestfs_set_error_handler.restype = None
    library.guestfs_last_error.argtypes = [ctypes.c_void_p]
    library.guestfs_last_error.restype = ctypes.c_char_p
    library.guestfs_last_errno.argtypes = [ctypes.c_void_p]
    library.guestfs_add_drive_opts_argv.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(_DriveOptions)]
    return library


@functools.lru_cache(maxsize=1)
def _free() -> Any:
    free = ctypes.CDLL(None).free
    free.argtypes = [ctypes.c_void_p]
    free.restype = None
    return free


def check_library() -> None:
    """Raise C(ApplianceError) when libguestfs is not installed."""
    _library()


class Handle:
    """An appliance, not yet started. Only one thread may use it, and the one that made it must live as long."""

    def __init__(self) -> None:
        self._library = _library()
        self._handle = self._library.guestfs_create()
        if not self._handle:
            raise ApplianceError("libguestfs cannot make a handle: is there memory left?")
        # Otherwise it would print what we raise.
        self._library.guestfs_set_error_handler(self._handle, None, None)

    def close(self) -> None:
        """End the appliance and forget everything."""
        if self._handle:
            self._library.guestfs_close(self._handle)
            self._handle = None

    def add_nbd(self, socket: str, export: str) -> None:
        """Add a read-only disk, the export of a NBD server on a unix socket."""
        options = _DriveOptions(bitmask=_READ_ONLY | _FORMAT | _PROTOCOL | _SERVER, readonly=1)
        options.format, options.protocol = b"raw", b"nbd"
        server = _strings([b"unix:" + os.fsencode(socket)])
        options.server = ctypes.cast(server, ctypes.POINTER(ctypes.c_char_p))
        self._check(
            self._library.guestfs_add_drive_opts_argv(self._handle, export.encode(), ctypes.byref(options)) == 0
        )

    def do(self, name: str, *arguments: Argument) -> int:
        """Call a function that returns a number, of which -1 is a failure."""
        result = int(self._call(name, ctypes.c_int64 if name.endswith("64") else ctypes.c_int, arguments))
        self._check(result != -1)
        return result

    def text(self, name: str, *arguments: Argument) -> str:
        """Call a function that returns a text."""
        return self.raw(name, *arguments).decode("utf-8", "backslashreplace")

    def raw(self, name: str, *arguments: Argument) -> bytes:
        """Call one that returns what may be no text."""
        found = self._call(name, ctypes.c_void_p, arguments)
        self._check(bool(found))
        try:
            return ctypes.cast(found, ctypes.c_char_p).value or b""
        finally:
            _free()(found)

    def words(self, name: str, *arguments: Argument) -> list[bytes]:
        """Call a function that returns a list."""
        found = self._call(name, ctypes.POINTER(ctypes.c_void_p), arguments)
        self._check(bool(found))
        words = []
        position = 0
        while found[position]:
            words.append(ctypes.cast(found[position], ctypes.c_char_p).value or b"")
            _free()(found[position])
            position += 1
        _free()(ctypes.cast(found, ctypes.c_void_p))
        return words

    def pairs(self, name: str, *arguments: Argument) -> dict[bytes, bytes]:
        """Call a function that returns pairs of words."""
        words = self.words(name, *arguments)
        return dict(zip(words[::2], words[1::2]))

    def status(self, path: bytes) -> Status:
        """Return what is known of a file; a link is not followed."""
        found = self._call("lstatns", ctypes.POINTER(_Stat), (path,))
        self._check(bool(found))
        try:
            return _status(found.contents)
        finally:
            self._call_free("guestfs_free_statns", found)

    def statuses(self, directory: bytes, names: Sequence[bytes]) -> list[Status | None]:
        """Return the same of files in a directory, nothing for those that cannot be looked at."""
        found = self._call("lstatnslist", ctypes.POINTER(_StatList), (directory, names))
        self._check(bool(found))
        try:
            items = [found.contents.val[number] for number in range(found.contents.len)]
            return [None if item.ino == -1 else _status(item) for item in items]
        finally:
            self._call_free("guestfs_free_statns_list", found)

    def _call(self, name: str, result: Any, arguments: Sequence[Argument]) -> Any:
        function = getattr(self._library, f"guestfs_{name}")
        function.restype = result
        given = [ctypes.c_void_p(self._handle)]
        for argument in arguments:
            if isinstance(argument, bytes):
                given.append(ctypes.c_char_p(argument))  # type: ignore[arg-type]
            elif isinstance(argument, int):
                given.append(ctypes.c_int(argument))  # type: ignore[arg-type]
            else:
                given.append(_strings(argument))
        return function(*given)

    def _call_free(self, name: str, found: Any) -> None:
        function = getattr(self._library, name)
        function.argtypes, function.restype = [ctypes.c_void_p], None
        function(ctypes.cast(found, ctypes.c_void_p))

    def _check(self, good: bool) -> None:
        if not good:
            message = self._library.guestfs_last_error(self._handle) or b"unknown error"
            number = self._library.guestfs_last_errno(self._handle)
            raise GuestfsError(message.decode("utf-8", "backslashreplace"), number)


def _strings(words: Sequence[bytes]) -> Any:
    return (ctypes.c_char_p * (len(words) + 1))(*words, None)


def _status(found: Any) -> Status:
    second = 1_000_000_000
    return Status(
        mode=found.mode,
        uid=found.uid,
        gid=found.gid,
        size=found.size,
        blocks=found.blocks,
        atime=found.atime * second + found.atime_nsec,
        mtime=found.mtime * second + found.mtime_nsec,
    )
