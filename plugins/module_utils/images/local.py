# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""A disk image in a storage repository that the proxy sees as a directory."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator

from ..errors import SourceError
from . import complaints, dom0
from .spans import split_spans
from .types import MAPPED_FILE_SYSTEMS, DiskImage, Extent, ExtentMap, Identity, MapUnavailable, Piece, Pieces, Span

_AHEAD = 32  # reads that the kernel may do while one is waited for


class LocalImage:
    """A raw disk image, read by its data ranges; a context manager.

    Raises C(SourceError) when the image is missing, ends too early, or is not the same before and after.
    """

    def __init__(self, path: str) -> None:
        self.path = self.name = path
        self.bytes_read = 0
        self._descriptor = _open_image(path)
        self._before = os.fstat(self._descriptor)
        self.size = self._before.st_size
        if not stat.S_ISREG(self._before.st_mode) or not self.size:
            self.close()
            regular = stat.S_ISREG(self._before.st_mode)
            raise SourceError(complaints.no_disk(path, regular=regular), path=path)

    def __enter__(self) -> LocalImage:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the image."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def identity(self) -> Identity:
        """Return which file it is now; C(MapUnavailable) if its file system cannot be told from another."""
        kind, uuid = dom0.file_system(self._descriptor, self.path)
        if not uuid:
            raise MapUnavailable(complaints.no_uuid(self.path, kind))
        try:
            now = os.stat(self.path)  # by its name: an image that was replaced is another one
        except OSError as error:
            raise MapUnavailable(f"{self.path} cannot be looked at: {error.strerror}") from error
        # As a server tells them, where Python 2.6 knows no whole nanoseconds: so it is the same file by either way.
        times = dom0.nanoseconds(now.st_mtime), dom0.nanoseconds(now.st_ctime)
        return Identity(kind, uuid, now.st_ino, now.st_size, *times)

    def extents(self) -> ExtentMap:
        """Return the map of the image as it is now; C(MapUnavailable) if the file system has none to trust."""
        kind, _uuid = dom0.file_system(self._descriptor, self.path)
        if kind not in MAPPED_FILE_SYSTEMS:
            raise MapUnavailable(complaints.no_clones(kind))
        try:
            found = dom0.fiemap(self._descriptor)
        except OSError as error:
            raise MapUnavailable(f"the file system gives no extent map: {error.strerror}") from error
        now = os.fstat(self._descriptor)
        return ExtentMap(now.st_size, tuple(map(Extent._make, found)), now.st_blocks * 512)

    def data_spans(self) -> list[Span]:
        """Return what may hold data, ascending and without overlaps; all else is zeros."""
        return list(self._data_spans())

    def read(self, spans: Iterable[Span], *, step: int) -> Pieces:
        """Yield the bytes of all spans in order, cut at the multiples of C(step)."""
        for span in self._announced(split_spans(spans, step)):
            yield Piece(span.start, self._read(span.start, span.end - span.start))

    def read_differing(self, reference: DiskImage, spans: Iterable[Span], *, step: int, block: int) -> Pieces:
        """Yield the bytes of all spans: to read a second image to find less of the first is not worth its cost here."""
        return self.read(spans, step=step)

    def free_space(self) -> tuple[int, int]:
        """Return the free bytes of the file system that holds the image, and its size."""
        found = os.fstatvfs(self._descriptor)
        return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize

    def check_unchanged(self) -> None:
        """Raise C(SourceError) when the image was written to since it was opened."""
        # Opened again: that makes a network file system ask its server, and finds an image that was replaced.
        descriptor = _open_image(self.path)
        now = os.fstat(descriptor)
        os.close(descriptor)
        before = self._before
        if not os.path.samestat(now, before) or (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise SourceError(complaints.changed(self.path, before.st_size, now.st_size), path=self.path)

    def _announced(self, spans: Iterable[Span]) -> Iterator[Span]:
        """Yield the spans, each when the kernel knows of some that follow: so scattered reads do not wait in turn."""
        ahead: deque[Span] = deque()
        for span in spans:
            # Only advice: what is wrong with a file that takes none is told when it is read.
            with contextlib.suppress(OSError):
                os.posix_fadvise(self._descriptor, span.start, span.end - span.start, os.POSIX_FADV_WILLNEED)
            ahead.append(span)
            if len(ahead) > _AHEAD:
                yield ahead.popleft()
        yield from ahead

    def _read(self, offset: int, length: int) -> bytes:
        parts = []
        while length:
            try:
                part = os.pread(self._descriptor, length, offset)
            except OSError as error:
                raise SourceError(
                    f"Cannot read the image {self.path} at offset {offset}: {error.strerror}",
                    path=self.path,
                    offset=offset,
                    errno=error.errno,
                ) from error
            if not part:
                raise SourceError(complaints.ends_early(self.path, offset, self.size), path=self.path, offset=offset)
            parts.append(part)
            offset += len(part)
            length -= len(part)
            self.bytes_read += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _data_spans(self) -> Iterator[Span]:
        offset = 0
        while offset < self.size:
            try:
                start = os.lseek(self._descriptor, offset, os.SEEK_DATA)
                end = os.lseek(self._descriptor, start, os.SEEK_HOLE)
            except OSError as error:
                if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                    return
                if error.errno in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY) and offset == 0:
                    yield Span(0, self.size)  # a file system that does not know its holes
                    return
                raise SourceError(
                    f"Cannot find the data of the image {self.path} at offset {offset}: {error.strerror}",
                    path=self.path,
                    offset=offset,
                ) from error
            if start >= self.size:  # it grew after it was opened
                return
            if end <= start:
                end = self.size  # nonsense from the file system: take all of it for data
            yield Span(start, min(end, self.size))
            offset = end


def read_local_file(path: str, limit: int) -> bytes:
    """Return a small file; raise C(SourceError) when it cannot be read or has more than C(limit) bytes."""
    try:
        with open(path, "rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise SourceError(f"Cannot read {path}: {error.strerror}", path=path, errno=error.errno) from error
    if len(data) > limit:
        raise SourceError(f"Cannot read {path}: it has more than {limit} bytes", path=path)
    return data


def _open_image(path: str) -> int:
    try:
        # Not to block where a pipe lies in place of the image.
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise SourceError(f"Cannot open the image {path}: {error.strerror}", path=path, errno=error.errno) from error
