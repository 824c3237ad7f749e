# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What a disk image is to those who read it, wherever it lies: on a path of the proxy, or on a server behind ssh."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

# Clones on these share extents, so that the maps of two clones tell what differs. Both are tested.
MAPPED_FILE_SYSTEMS = ("ocfs2", "xfs")

_Image = TypeVar("_Image", bound="DiskImage")


class Span(NamedTuple):
    """The bytes from C(start) up to, but not including, C(end)."""

    start: int
    end: int


class Piece(NamedTuple):
    """Bytes of an image, and where they lie in it."""

    offset: int
    data: bytes


# Whoever does not read all of it closes it, which ends what is under way on a server.
Pieces = Generator[Piece, None, None]


class Extent(NamedTuple):
    """A part of a file as FIEMAP tells it: all in bytes, C(flags) as the kernel gives them (linux/fiemap.h)."""

    logical: int
    physical: int
    length: int
    flags: int


@dataclass(frozen=True)
class ExtentMap:
    """Where the parts of a file of C(size) bytes lie; ascending, and what is in no extent is a hole.

    C(allocated) are the bytes that the file takes, as its file system counts them, if that was asked for.
    """

    size: int
    extents: tuple[Extent, ...]
    allocated: int | None = None


@dataclass(frozen=True)
class Identity:
    """Which file an image is, and in which state. C(uuid) is that of the file system, times are nanoseconds.

    As long as none of it changes, nobody has written to the image.
    """

    file_system: str  # as in /proc/mounts: ocfs2, xfs, ext4, nfs ...
    uuid: str
    inode: int
    size: int
    mtime: int
    ctime: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Identity:
        """Return the identity of a document in the form of C(as_dict); raise what wrong keys and types raise."""
        numbers = {name: int(document[name]) for name in ("inode", "size", "mtime", "ctime")}
        return cls(file_system=str(document["file_system"]), uuid=str(document["uuid"]), **numbers)


class MapUnavailable(Exception):
    """There is no extent map, or no identity, that could be trusted; the text says why, for the record of a backup."""


class DiskImage(Protocol):
    """A raw disk image, open for reading; a context manager.

    C(name) is for messages: the path, and where that is; C(bytes_read) counts what was read of this image and of others
    for it, where it lies. Everything raises C(SourceError) if the image is missing, ends
    too early, cannot be reached any more, or is not the same before and after.
    """

    name: str
    size: int
    bytes_read: int

    def __enter__(self: _Image) -> _Image:
        """Return the image itself."""

    def __exit__(self, *_exception: object) -> None:
        """Close the image."""

    def close(self) -> None:
        """Close the image."""

    def identity(self) -> Identity:
        """Return which file it is now; C(MapUnavailable) if the file system does not say."""

    def extents(self) -> ExtentMap:
        """Return the map of the image as it is now; C(MapUnavailable) if the file system has none to trust."""

    def data_spans(self) -> list[Span]:
        """Return what may hold data, ascending and without overlaps; all else is zeros."""

    def read(self, spans: Iterable[Span], *, step: int) -> Pieces:
        """Yield the bytes of all spans (ascending, without overlaps) in order, none left out.

        No piece crosses a multiple of C(step), nor the end of its span.
        """

    def read_differing(self, reference: DiskImage, spans: Iterable[Span], *, step: int, block: int) -> Pieces:
        """Yield, of the same spans, the blocks that differ from those of C(reference), an image of the same place.

        Blocks are multiples of C(block), cut where a span ends; a block that C(reference) does not have whole differs.
        Where the comparison is not worth its cost, blocks that do not differ may be among them.
        """

    def free_space(self) -> tuple[int, int]:
        """Return the free bytes of the file system that holds the image, and its size."""

    def check_unchanged(self) -> None:
        """Raise C(SourceError) when the image was written to since it was opened."""
