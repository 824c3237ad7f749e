# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Where disk data is read from. Here: an image in a storage repository that the proxy sees as a directory."""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import InvalidInputError, SourceError
from ..vault.format import Geometry


class Run(NamedTuple):
    """A run of segments that may hold data, or that is known to be zeros."""

    segment: int
    segments: int
    data: bool

    @property
    def end(self) -> int:
        """Return the number of the first segment after this run."""
        return self.segment + self.segments


class ImageSource:
    """A raw disk image, read by its data ranges; a context manager.

    Raises C(SourceError) when the image is missing, ends too early, or is not the same before and after.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = _open_image(path)
        self._before = os.fstat(self._descriptor)
        self.size = self._before.st_size
        if not stat.S_ISREG(self._before.st_mode) or not self.size:
            self.close()
            what = "is empty" if stat.S_ISREG(self._before.st_mode) else "is not a regular file"
            raise SourceError(f"The image {path} {what}: it cannot be a disk", path=path)

    def __enter__(self) -> ImageSource:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the image."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly C(length) bytes at C(offset)."""
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
                raise SourceError(
                    f"The image {self.path} ends at offset {offset}, but had {self.size} bytes when it was opened: "
                    "it was truncated while it was read",
                    path=self.path,
                    offset=offset,
                )
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def runs(self, geometry: Geometry) -> Iterator[Run]:
        """Yield the whole image as runs of segments, alternately with data and zeros, without gaps."""
        segment = 0
        for start, end in self._data_ranges():
            first, last = start // geometry.segment_size, -(-end // geometry.segment_size)
            # Two data ranges may touch the same segment.
            first = max(first, segment)
            if first > segment:
                yield Run(segment, first - segment, False)
            if last > first:
                yield Run(first, last - first, True)
            segment = max(segment, last)
        if segment < geometry.segments:
            yield Run(segment, geometry.segments - segment, False)

    def check_unchanged(self) -> None:
        """Raise C(SourceError) when the image was written to since it was opened."""
        # Opened again: that makes a network file system ask its server, and finds an image that was replaced.
        descriptor = _open_image(self.path)
        now = os.fstat(descriptor)
        os.close(descriptor)
        before = self._before
        if not os.path.samestat(now, before) or (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise SourceError(
                f"The image {self.path} changed while it was read ({before.st_size} bytes, then {now.st_size}): "
                "something writes to it, so the copy would not be consistent",
                path=self.path,
            )

    def _data_ranges(self) -> Iterator[tuple[int, int]]:
        offset = 0
        while offset < self.size:
            try:
                start = os.lseek(self._descriptor, offset, os.SEEK_DATA)
                end = os.lseek(self._descriptor, start, os.SEEK_HOLE)
            except OSError as error:
                if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                    return
                if error.errno in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY) and offset == 0:
                    yield 0, self.size  # a file system that does not know its holes
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
            yield start, min(end, self.size)
            offset = end


def _open_image(path: str) -> int:
    try:
        # Not to block where a pipe lies in place of the image.
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise SourceError(f"Cannot open the image {path}: {error.strerror}", path=path, errno=error.errno) from error


def image_path(repositories_path: str, repository_id: str, path: str) -> str:
    """Return where the proxy sees a file of a storage repository.

    C(path) is relative to the repository, as the manager gives it (C(/VirtualDisks/0004fb….img), ovm-rest-api 10.2). It
    comes from outside, so it must not lead out of the repository.
    """
    relative = posixpath.normpath(path).lstrip("/")
    escapes = relative.split("/")[0] == ".." or relative in ("", ".") or "\0" in path + repository_id
    if escapes or "/" in repository_id or repository_id in ("", ".", ".."):
        raise InvalidInputError(f"{path!r} in repository {repository_id!r} is not a path inside a storage repository")
    return os.path.join(repositories_path, repository_id, relative)
