# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What only the machine that has a file can tell of it: its extent map, and the file system that it is on.

Used by the proxy for files on its paths, and sent to servers (dom0) as the first part of the program that runs there;
dom0_program.py is the second. So it must be Python 2.6 as well as any Python 3, and import nothing but the standard
library; a test watches that.
"""

import array
import binascii
import errno
import fcntl
import os
import struct
import sys

MYPY = False
if MYPY:  # Python 2.6 has no annotations, and none of these
    from collections.abc import Iterator  # noqa: F401 # novm

FS_IOC_FIEMAP = 0xC020660B
FIEMAP_FLAG_SYNC = 1
FIEMAP_EXTENT_LAST = 1
XFS_IOC_FSGEOMETRY_V1 = 0x80705864
OCFS2_IOC_INFO = 0x80106F05
OCFS2_INFO_MAGIC = 0x4F32494E
OCFS2_INFO_UUID = 5
OCFS2_INFO_FILLED = 0x40000000


def fiemap_parts(fd, flags=FIEMAP_FLAG_SYNC, count=2048):
    # type: (int, int, int) -> Iterator[list[tuple[int, int, int, int]]]
    """Yield the extents of a file in lists of (logical, physical, length, flags), all bytes, flags as the kernel's.

    Raises IOError or OSError: also for a map that overlaps or does not advance.
    """
    position, end, last = 0, 0xFFFFFFFFFFFFFFFF, False
    while not last:
        head = struct.pack("=QQIIII", position, end - position, flags, 0, count, 0)
        data = array.array("B", head + b"\0" * (56 * count))
        fcntl.ioctl(fd, FS_IOC_FIEMAP, data, True)
        raw = _bytes_of(data)
        found = struct.unpack("=I", raw[20:24])[0]
        numbers = struct.unpack("=" + "3Q16xI12x" * found, raw[32 : 32 + 56 * found])
        extents = list(zip(*[iter(numbers)] * 4))
        for logical, _physical, length, mark in extents:
            if logical < position or not length or last:
                raise OSError(errno.EIO, "the extent map overlaps or does not advance at offset %d" % logical)
            position = logical + length
            last = bool(mark & FIEMAP_EXTENT_LAST)
        if not extents:
            return
        yield extents


def fiemap(fd, flags=FIEMAP_FLAG_SYNC):
    # type: (int, int) -> list[tuple[int, int, int, int]]
    """Return all extents of a file, as fiemap_parts gives them."""
    return [extent for part in fiemap_parts(fd, flags) for extent in part]


def file_system(fd, path):
    # type: (int, str | bytes) -> tuple[str, str]
    """Return the type of the file system that an open file is on, as in /proc/mounts, and its UUID.

    The UUID is lower-case hexadecimal digits without dashes; empty where there is none that can be trusted.
    """
    device = os.fstat(fd).st_dev
    kind = _type_by_device(device) or _type_by_path(path)
    uuid = ""
    try:
        if kind == "xfs":
            uuid = _xfs_uuid(fd)
        elif kind == "ocfs2":
            uuid = _ocfs2_uuid(fd)
    except EnvironmentError:
        pass  # an old kernel: udev may know
    return kind, (uuid or _uuid_by_device(device)).lower().replace("-", "")


def nanoseconds(seconds):
    # type: (float) -> int
    """Return a time of a file in nanoseconds, the same with all versions of Python: 2.6 knows it as a float only."""
    return int(round(seconds * 1e9))


def _type_by_device(device):
    # type: (int) -> str
    wanted = ("%d:%d" % (os.major(device), os.minor(device))).encode("ascii")
    found = b""
    try:
        with open("/proc/self/mountinfo", "rb") as lines:
            for line in lines:
                before, _dash, after = line.partition(b" - ")
                if before.split()[2:3] == [wanted] and after.split():
                    found = after.split()[0]
    except EnvironmentError:
        pass  # before Linux 2.6.26
    return found.decode("ascii", "replace")


def _type_by_path(path):
    # type: (str | bytes) -> str
    real = os.path.realpath(path)
    if not isinstance(real, bytes):
        real = real.encode(sys.getfilesystemencoding() or "utf-8", "surrogateescape")
    found, length = b"", -1
    with open("/proc/mounts", "rb") as lines:
        for line in lines:
            fields = line.split()
            if len(fields) < 3:
                continue
            point = fields[1]
            for code, character in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
                point = point.replace(code, character)
            if (real + b"/").startswith(point.rstrip(b"/") + b"/") and len(point) >= length:
                found, length = fields[2], len(point)
    return found.decode("ascii", "replace")


def _xfs_uuid(fd):
    # type: (int) -> str
    geometry = fcntl.ioctl(fd, XFS_IOC_FSGEOMETRY_V1, b"\0" * 112)
    return binascii.hexlify(geometry[64:80]).decode("ascii")


def _ocfs2_uuid(fd):
    # type: (int) -> str
    # One request: its head (magic, code, size of all, flags) and room for the text; the kernel takes pointers to them.
    # The structure is packed, so its size is odd.
    request = array.array("B", struct.pack("=IIII33x", OCFS2_INFO_MAGIC, OCFS2_INFO_UUID, 49, 0))
    pointers = array.array("B", struct.pack("=Q", request.buffer_info()[0]))
    fcntl.ioctl(fd, OCFS2_IOC_INFO, struct.pack("=QII", pointers.buffer_info()[0], 1, 0))
    raw = _bytes_of(request)
    if not struct.unpack("=I", raw[12:16])[0] & OCFS2_INFO_FILLED:
        return ""
    return raw[16:48].decode("ascii", "replace")


def _uuid_by_device(device):
    # type: (int) -> str
    folder = "/dev/disk/by-uuid"
    try:
        for name in os.listdir(folder):
            if os.stat(os.path.join(folder, name)).st_rdev == device:
                return name
    except EnvironmentError:
        pass  # no udev, or a link without a device
    return ""


def _bytes_of(data):
    # type: (array.array[int]) -> bytes
    # Python 2.6 has but the one, Python 3.9 and later but the other.
    found = getattr(data, "tobytes" if sys.version_info[0] > 2 else "tostring")()
    return bytes(found)
