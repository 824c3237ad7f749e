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

MYPY = False
if MYPY:  # Python 2.6 has no annotations, and none of these
    from collections.abc import Callable  # noqa: F401 # novm

if __name__ != "__main__":  # on a server, these are in front of this part
    from .dom0_files import CHUNK, ZEROS, Failure, chunks, exactly, read_at, state, unpack_spans

DIGEST = struct.Struct(">QQ32s")  # start, end and SHA-256 of what should be there


class Writing(object):
    """The requests that write. A method's name is that of the request; it returns the header that ends the answer."""

    alive = staticmethod(lambda: None)  # type: Callable[[], None]

    def do_target(self, request, path):
        # type: (dict[str, int], bytes) -> tuple[dict[str, object], bytes]
        """Open an image for writing; with C(create) a new one of C(size) bytes; with C(lock) for nobody else."""
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
        if request["create"]:
            flags |= os.O_CREAT | os.O_EXCL
        fd = os.open(path, flags, 384)  # 0600, which Python 2 and 3 write in different ways
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise Failure(text="it is not a regular file")
            if request["lock"]:
                lock(fd)
            if request["create"]:
                os.ftruncate(fd, request["size"])
            return dict(state(fd, path), handle=fd), b""
        except BaseException:
            os.close(fd)
            raise

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
        os.fsync(request["handle"])
        return {}, b""

    def do_remove(self, _request, path):
        # type: (dict[str, int], bytes) -> tuple[dict[str, object], bytes]
        os.unlink(path)
        return {}, b""


def lock(fd):
    # type: (int) -> None
    """Let nobody else restore into a file at the same time."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except EnvironmentError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise Failure(text="another restore is writing it")
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            raise


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
