# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The half of the program on servers (dom0) that writes disk images: what a restore asks for."""

import errno
import fcntl
import hashlib
import os
import stat
import struct
import sys
import time

MYPY = False
if MYPY:  # Python 2.6 has no annotations, and none of these
    from collections.abc import Callable  # noqa: F401 # novm

if __name__ != "__main__":  # on a server, these are in front of this part
    from .dom0_files import CHUNK, ZEROS, Failure, chunks, exactly, read_at, state, unpack_spans, user_of

FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
FADV_DONTNEED = 4
TAKEN = "another restore is writing it"
DIGEST = struct.Struct(">QQ32s")  # start, end and SHA-256 of what should be there


class Taken(Failure):
    """Somebody else has the file now, and may be about to end."""


class Writing(object):
    """The requests that write. A method's name is that of the request; it returns the header that ends the answer."""

    alive = staticmethod(lambda: None)  # type: Callable[[], None]

    def __init__(self):
        # type: () -> None
        self.unfinished = {}  # type: dict[int, bytes]

    def do_target(self, request, path):
        # type: (dict[str, int], bytes) -> tuple[dict[str, object], bytes]
        """Open an image for writing; with C(lock) only if nobody else uses it after that many tenths of a second."""
        fd = os.open(path, FLAGS)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise Failure(text="it is not a regular file")
            if request["lock"]:
                self.patiently(request["lock"], lambda: take(fd, path))
            return dict(state(fd, path), handle=fd), b""
        except BaseException:
            os.close(fd)
            raise

    def do_create(self, request, payload):
        # type: (dict[str, int], bytes) -> tuple[dict[str, object], bytes]
        """Open a new image, empty and of C(size) bytes; it gets the second of two names with C(finish), or vanishes.

        C(lock): tenths of a second for another restore of it to end.
        """
        path, name = payload.split(b"\0")
        fd = self.patiently(request["lock"], lambda: self.begin(path, name))
        try:
            os.ftruncate(fd, request["size"])
            return dict(state(fd, path), handle=fd), b""
        except BaseException:
            self.discard(fd)
            os.close(fd)
            raise

    def begin(self, path, name):
        # type: (bytes, bytes) -> int
        """Make a file for a new image, and have it for us alone."""
        if os.path.lexists(name):
            raise Failure(errno=errno.EEXIST, text=os.strerror(errno.EEXIST))
        remove_left(path)
        try:
            fd = os.open(
                path, FLAGS | os.O_CREAT | os.O_EXCL, 384
            )  # 0600, which Python 2 and 3 write in different ways
        except EnvironmentError as error:
            if error.errno == errno.EEXIST:
                raise Taken(text=TAKEN)  # it came into being just now
            raise
        self.unfinished[fd] = path
        try:
            lock(fd, path)
        except BaseException:
            if isinstance(sys.exc_info()[1], Taken):
                del self.unfinished[fd]  # it is no longer ours to remove
            self.discard(fd)
            os.close(fd)
            raise
        return fd

    def patiently(self, tenths, attempt):
        # type: (int, Callable[[], int]) -> int
        """Try again while somebody else has the file, for some tenths of a second.

        What is left of a restore that was interrupted a moment ago ends by itself.
        """
        while True:
            try:
                return attempt()
            except Taken:
                tenths -= 1
                if tenths <= 0:
                    raise
            self.alive()
            time.sleep(0.1)

    def do_finish(self, request, name):
        # type: (dict[str, int], bytes) -> tuple[dict[str, object], bytes]
        """Give a new image its name, unless that is taken, and make the name durable."""
        path = self.unfinished[request["handle"]]
        os.link(path, name)
        self.discard(request["handle"])
        folder = os.open(os.path.dirname(name), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return {}, b""

    def discard(self, fd):
        # type: (int) -> None
        """Remove a new image that has not got its name, or the first name of one that has."""
        path = self.unfinished.pop(fd, None)
        if path is not None:
            os.unlink(path)

    def do_write(self, request, data):
        # type: (dict[str, int], bytes) -> tuple[dict[str, object], bytes]
        write_at(request["handle"], request["offset"], data)
        return {"written": len(data)}, b""

    def do_compare(self, request, payload):
        # type: (dict[str, int], bytes) -> tuple[dict[str, object], bytes]
        """Tell for each range, in a byte of the answer, whether it has its digest."""
        found = []
        for position in range(0, len(payload), DIGEST.size):
            start, end, digest = DIGEST.unpack(payload[position : position + DIGEST.size])
            hasher = hashlib.sha256()
            for offset, length in chunks([(start, end)], CHUNK):
                hasher.update(exactly(request["handle"], offset, length))
            found.append(hasher.digest() == digest and b"\1" or b"\0")
            self.alive()
        return {}, b"".join(found)

    def do_clear(self, request, payload):
        # type: (dict[str, int], bytes) -> tuple[dict[str, object], bytes]
        """Write zeros where something else is; without C(write) only tell how much that is, and where it begins."""
        cleared, first = 0, -1
        for offset, length in chunks(unpack_spans(payload), CHUNK):
            data = read_at(request["handle"], offset, length)
            if data != ZEROS[: len(data)]:
                cleared += length
                first = offset if first < 0 else first
                if request["write"]:
                    write_at(request["handle"], offset, ZEROS[:length])
            self.alive()
        return {"cleared": cleared, "first": first}, b""

    def do_sync(self, request, _payload):
        # type: (dict[str, int], bytes) -> tuple[dict[str, object], bytes]
        """Make all durable; and let it be read from the storage from now on, where this Python can say so."""
        os.fsync(request["handle"])
        return {"forgotten": forget(request["handle"])}, b""


def take(fd, path):
    # type: (int, bytes) -> int
    """Have a file for us alone."""
    lock(fd, path)
    user = user_of(fd, path)
    if user:
        raise Taken(text="%s has it open: stop what uses it, such as a VM" % user)
    return fd


def lock(fd, path):
    # type: (int, bytes) -> None
    """Let nobody else restore into a file at the same time."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except EnvironmentError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise Taken(text=TAKEN)
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            raise
    if not os.path.lexists(path) or not os.path.samestat(os.fstat(fd), os.lstat(path)):
        raise Taken(text=TAKEN)  # it was, until now, and has another name or is gone


def remove_left(path):
    # type: (bytes) -> None
    """Remove what a killed restore has left. Not used again: something may still be on its way to it."""
    try:
        fd = os.open(path, FLAGS)
    except EnvironmentError as error:
        if error.errno == errno.ENOENT:
            return
        raise
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Failure(text="%s is in the way" % os.path.basename(path).decode("utf-8", "replace"))
        lock(fd, path)
        os.unlink(path)
    finally:
        os.close(fd)


def forget(fd):
    # type: (int) -> bool
    """Have nothing of a file in memory any more; return whether this Python can say so."""
    try:
        import ctypes

        start = length = ctypes.c_long(0)
        return bool(ctypes.CDLL(None).posix_fadvise(fd, start, length, FADV_DONTNEED) == 0)
    except (ImportError, AttributeError, OSError):
        return False


def write_at(fd, offset, data):
    # type: (int, int, bytes) -> None
    """Write all of the data at an offset."""
    try:
        os.lseek(fd, offset, 0)
        while data:
            done = os.write(fd, data)
            offset += done
            data = data[done:]
    except EnvironmentError as error:
        raise Failure(errno=error.errno, text=error.strerror, offset=offset)
