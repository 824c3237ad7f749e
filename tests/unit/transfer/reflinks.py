# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stands in for a file system with reflinks: files in memory, clusters that are shared and copied on write.

It does what OCFS2 does as far as the testbed has measured: a cluster that another file shares is copied on write, one
that has no other owner (any more) is written in place, freed clusters are used again.
"""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.ovm.backup.plugins.module_utils.images.spans import split_spans
from ansible_collections.ovm.backup.plugins.module_utils.images.types import (
    DiskImage,
    Extent,
    ExtentMap,
    Identity,
    Piece,
    Pieces,
    Span,
)

LAST, UNWRITTEN = 0x1, 0x800


class FileSystem:
    """Clusters by number: their content, and how many files use them."""

    def __init__(self, cluster: int, uuid: str = "f5") -> None:
        self.cluster = cluster
        self.uuid = uuid
        self.content: dict[int, bytes] = {}
        self.owners: dict[int, int] = {}
        self.inodes = 0

    def new(self, data: bytes) -> int:
        number = next(number for number in range(1, len(self.owners) + 2) if number not in self.owners)
        self.owners[number] = 1
        self.content[number] = data
        return number

    def drop(self, number: int) -> None:
        self.owners[number] -= 1
        if not self.owners[number]:
            del self.owners[number]  # its content stays until it is used again, as on a disk


class File:
    """A file: for each cluster of it nothing (a hole) or a number, and whether it was written."""

    def __init__(self, system: FileSystem, size: int) -> None:
        self.system = system
        self.size = size
        self.parts: list[tuple[int, bool] | None] = [None] * -(-size // system.cluster)
        system.inodes += 1
        self.inode = system.inodes
        self.changes = 0

    def clone(self) -> File:
        copy = File(self.system, self.size)
        copy.parts = list(self.parts)
        for part in self.parts:
            if part is not None:
                self.system.owners[part[0]] += 1
        return copy

    def delete(self) -> None:
        for part in self.parts:
            if part is not None:
                self.system.drop(part[0])
        self.parts = []

    def write(self, offset: int, data: bytes) -> None:
        cluster, position = self.system.cluster, 0
        self.changes += 1
        while position < len(data):
            index, inside = divmod(offset + position, cluster)
            part = data[position : position + cluster - inside]
            old = self._cluster(index)
            now = old[:inside] + part + old[inside + len(part) :]
            known = self.parts[index]
            if known is not None and self.system.owners[known[0]] == 1:
                self.system.content[known[0]] = now
                self.parts[index] = (known[0], True)
            else:
                self._release(index)
                self.parts[index] = (self.system.new(now), True)
            position += len(part)

    def punch(self, index: int) -> None:
        self.changes += 1
        self._release(index)

    def allocate(self, index: int) -> None:
        """Reserve space that reads as zeros until it is written."""
        self.changes += 1
        if self.parts[index] is None:
            self.parts[index] = (self.system.new(b"\xee" * self.system.cluster), False)

    def _release(self, index: int) -> None:
        known = self.parts[index]
        if known is not None:
            self.system.drop(known[0])
        self.parts[index] = None

    def _cluster(self, index: int) -> bytes:
        known = self.parts[index]
        return self.system.content[known[0]] if known is not None and known[1] else bytes(self.system.cluster)

    @property
    def data(self) -> bytes:
        return b"".join(self._cluster(index) for index in range(len(self.parts)))[: self.size]

    def extents(self) -> ExtentMap:
        """Return its map; neighbours that lie together are one extent."""
        found: list[Extent] = []
        cluster = self.system.cluster
        for index, part in enumerate(self.parts):
            if part is None:
                continue
            extent = Extent(index * cluster, part[0] * cluster, cluster, 0 if part[1] else UNWRITTEN)
            last = found[-1] if found else None
            follows = last and (last.logical + last.length, last.physical + last.length) == extent[:2]
            if last and follows and last.flags == extent.flags:
                found[-1] = last._replace(length=last.length + cluster)
            else:
                found.append(extent)
        if found:
            found[-1] = found[-1]._replace(flags=found[-1].flags | LAST)
        return ExtentMap(self.size, tuple(found))


class Image:
    """An image on such a file system. ``compare``: blocks that do not differ from the reference are left out."""

    def __init__(self, file: File, name: str = "image", *, compare: bool = False) -> None:
        self.file = file
        self.name = name
        self.size = file.size
        self.bytes_read = 0
        self.spans_read: list[Span] = []
        self._compare = compare

    def __enter__(self) -> Image:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        pass

    def identity(self) -> Identity:
        return Identity("ocfs2", self.file.system.uuid, self.file.inode, self.file.size, 0, self.file.changes)

    def extents(self) -> ExtentMap:
        return self.file.extents()

    def data_spans(self) -> list[Span]:
        return [
            Span(extent.logical, min(extent.logical + extent.length, self.size))
            for extent in self.file.extents().extents
            if not extent.flags & UNWRITTEN
        ]

    def read(self, spans: Iterable[Span], *, step: int) -> Pieces:
        data = self.file.data
        for span in split_spans(spans, step):
            self.spans_read.append(span)
            self.bytes_read += span.end - span.start
            yield Piece(span.start, data[span.start : span.end])

    def read_differing(self, reference: DiskImage, spans: Iterable[Span], *, step: int, block: int) -> Pieces:
        if not self._compare:
            yield from self.read(spans, step=step)
            return
        assert isinstance(reference, Image)
        before, data = reference.file.data, self.file.data
        for span in split_spans(spans, block):
            self.bytes_read += 2 * (span.end - span.start)
            if data[span.start : span.end] != before[span.start : span.end]:
                yield Piece(span.start, data[span.start : span.end])

    def free_space(self) -> tuple[int, int]:
        return 90, 100

    def check_unchanged(self) -> None:
        pass
