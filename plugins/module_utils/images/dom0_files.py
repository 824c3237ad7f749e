# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Files on a server (dom0), as both halves of the program see them: the one that reads and the one that writes."""

import os
import stat
import struct

MYPY = False
if MYPY:  # Python 2.6 has no annotations, and none of these
    from collections.abc import Iterator  # noqa: F401 # novm

if __name__ != "__main__":  # on a server, these are in front of this part
    from .dom0 import file_system, nanoseconds

SPAN = struct.Struct(">QQ")  # start and end
CHUNK = 256 * 1024  # what is read at once: larger memory is given back and taken again each time, which costs more
ZEROS = b"\0" * CHUNK


class Failure(Exception):
    """A request cannot be served; a mapping says why."""

    def __init__(self, **details):
        # type: (object) -> None
        Exception.__init__(self, details)
        self.details = details


def read_at(fd, offset, length):
    # type: (int, int, int) -> bytes
    """Return the bytes at an offset, less where the file ends."""
    os.lseek(fd, offset, 0)
    parts = []
    while length > 0:
        part = os.read(fd, length)
        if not part:
            break
        parts.append(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def chunks(spans, size):
    # type: (list[tuple[int, int]], int) -> Iterator[tuple[int, int]]
    """Yield offset and length of the parts of spans, cut at the multiples of a size."""
    for start, end in spans:
        while start < end:
            length = min(size - start % size, end - start)
            yield start, length
            start += length


def exactly(fd, offset, length):
    # type: (int, int, int) -> bytes
    try:
        data = read_at(fd, offset, length)
    except EnvironmentError as error:
        raise Failure(errno=error.errno, text=error.strerror, offset=offset)
    if len(data) < length:
        raise Failure(text="it ends there", offset=offset + len(data), ends=True)
    return data


def state(fd, path):
    # type: (int, bytes) -> dict[str, object]
    """Return what a file is and in which state."""
    found = os.fstat(fd)
    kind, uuid = file_system(fd, path)
    return {
        "regular": stat.S_ISREG(found.st_mode),
        "device": found.st_dev,
        "file_system": kind,
        "uuid": uuid,
        "inode": found.st_ino,
        "size": found.st_size,
        "mtime": nanoseconds(found.st_mtime),
        "ctime": nanoseconds(found.st_ctime),
    }


def open_file(path):
    # type: (bytes) -> int
    # Not to block where a pipe lies in place of the image.
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK)


def unpack_spans(payload):
    # type: (bytes) -> list[tuple[int, int]]
    numbers = struct.unpack(">%dQ" % (len(payload) // 8), payload)
    return list(zip(numbers[0::2], numbers[1::2]))


def user_of(fd, path):
    # type: (int, bytes) -> str
    """Return who else on this machine has a file open, in words; empty if that is nobody that can be seen.

    That is a process, such as the one that carries the disk of a running VM, or a loop device. The name is compared
    first: to look at files of others may wait for a network file system that is gone.
    """
    name, found = os.path.basename(path), os.fstat(fd)
    for number in _names(b"/proc"):
        if not number.isdigit() or int(number) == os.getpid():
            continue
        process = b"/proc/" + number
        for each in _names(process + b"/fd"):
            link = process + b"/fd/" + each
            try:
                if os.path.basename(os.readlink(link)) == name and os.path.samestat(os.stat(link), found):
                    return "process %d (%s)" % (int(number), _line(process + b"/comm").decode("utf-8", "replace"))
            except EnvironmentError:
                pass  # closed meanwhile
    for device in _names(b"/sys/block"):
        try:
            behind = _line(b"/sys/block/" + device + b"/loop/backing_file")
            if os.path.basename(behind) == name and os.path.samestat(os.stat(behind), found):
                return "loop device " + device.decode("ascii", "replace")
        except EnvironmentError:
            pass  # no loop device, or one without a file
    return ""


def _names(folder):
    # type: (bytes) -> list[bytes]
    try:
        return os.listdir(folder)
    except EnvironmentError:
        return []  # it has ended, belongs to somebody else, or there is no such thing here


def _line(path):
    # type: (bytes) -> bytes
    with open(path, "rb") as file:
        return file.read().strip()
