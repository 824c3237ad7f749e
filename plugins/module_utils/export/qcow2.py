# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Writing a disk image in the format qcow2 (version 3), and reading it back.

A file that is written once needs little of the format: the header, one table (L1) that says where the tables (L2) are
that say where each cluster of 64 KiB lies, and a count of references for each cluster of the file. All L2 tables get
their place at the start, so an entry is written where it belongs as soon as its cluster is; nothing grows in memory but
two bytes for each cluster that is used. A cluster that nobody wrote has no entry, takes no space, and is zeros.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
import threading
import zlib
from array import array
from collections.abc import Iterable
from types import TracebackType

from .._libraries import zstandard
from ..errors import TargetError
from ..images.target import Bytes, Written, digest, not_what_was_written, target_errors
from ..images.types import Span

CLUSTER = 64 * 1024
COMPRESSIONS = ("none", "zlib", "zstd")
_BITS = 16
_ENTRIES = CLUSTER // 8  # of a table
_COUNTS = CLUSTER // 2  # of a block of reference counts
_COPIED, _COMPRESSED = 1 << 63, 1 << 62
_SIZE_SHIFT = 62 - (_BITS - 8)  # where a compressed cluster's entry holds the number of its sectors
_OFFSET_MASK = (1 << _SIZE_SHIFT) - 1
_SECTOR = 512
# Compressed clusters are put one behind the other into stretches of this size.
_STRETCH = 16 * CLUSTER
_HEADER = struct.Struct(">4sIQIIQIIQQIIQQQQIIB7x")
_ZSTD_FEATURE, _ZSTD = 1 << 3, 1


def virtual_size(size: int) -> int:
    """Return the size that an image has for a machine: whole sectors."""
    return -(-size // _SECTOR) * _SECTOR


class Qcow2Target:
    """A qcow2 image at C(path), which must be a new name, as a C(DiskTarget). Each cluster is written once.

    A context manager: after a failure nothing is left of it.
    """

    def __init__(self, path: str, size: int, compression: str = "none") -> None:
        self.name = path
        self.size = size
        self.concurrent = self.fresh = True
        self.kept = 0
        self._compression = compression
        self._lock = threading.Lock()
        self._local = threading.local()
        tables = -(-size // (CLUSTER * _ENTRIES))
        self._l1_offset = CLUSTER
        self._l2_offset = self._l1_offset + -(-tables * 8 // CLUSTER) * CLUSTER
        self._tables = tables
        self._end = self._l2_offset + tables * CLUSTER
        self._room = (0, 0)  # where the next compressed cluster goes, and where its stretch ends
        self._counts = array("H", [1]) * (self._end // CLUSTER)
        with target_errors("create", path):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)

    def __enter__(self) -> Qcow2Target:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            with contextlib.suppress(OSError):
                os.unlink(self.name)
        os.close(self._file)

    def write(self, offset: int, data: Bytes) -> None:
        """Write whole clusters; only the last one of the disk may be short."""
        if offset % CLUSTER or (len(data) % CLUSTER and offset + len(data) != self.size):
            raise ValueError(f"{len(data)} bytes at {offset} are not whole clusters")
        view = memoryview(data)
        for start in range(0, len(view), CLUSTER):
            piece = view[start : start + CLUSTER]
            cluster = piece if len(piece) == CLUSTER else bytes(piece).ljust(CLUSTER, b"\0")
            self._write_cluster((offset + start) // CLUSTER, cluster)

    def clear(self, spans: Iterable[Span]) -> None:
        """Do nothing: what nobody writes is zeros."""

    def flush(self) -> None:
        """Write what makes it an image, durably. Nothing more is written after that."""
        table_offset, table_clusters = self._write_counts()
        with target_errors("write", self.name):
            l1 = [(self._l2_offset + number * CLUSTER) | _COPIED for number in range(self._tables)]
            self._put(self._l1_offset, struct.pack(f">{len(l1)}Q", *l1))
            self._put(0, self._header(table_offset, table_clusters))
            os.fsync(self._file)

    def verify(self, written: Iterable[Written], zeros: Iterable[Span]) -> None:
        """Read everything again, by what the tables in the file say."""
        with target_errors("read", self.name):
            # What is in the page cache says nothing about the storage.
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)
        for run in written:
            if digest(self.read(run.start, run.end - run.start)) != run.digest:
                raise not_what_was_written(self.name, run.start)
        for span in zeros:
            if any(self._entries(span.start, span.end - span.start)):
                raise not_what_was_written(self.name, span.start)

    def finish(self) -> None:
        """Do nothing: the image gets its name with the directory that it lies in."""

    def read(self, offset: int, length: int) -> bytes:
        """Return what was written; from the begin of a cluster on."""
        found = bytearray()
        for (entry,) in struct.iter_unpack(">Q", self._entries(offset, length)):
            found += self._read_cluster(entry)
        return bytes(found[:length])

    def _entries(self, offset: int, length: int) -> bytes:
        """Return what the tables in the file say of the clusters of a range."""
        size = 8 * -(-length // CLUSTER)
        with target_errors("read", self.name):
            return os.pread(self._file, size, self._l2_offset + offset // CLUSTER * 8).ljust(size, b"\0")

    # --- clusters ----------------------------------------------------------------------------------------------------

    def _write_cluster(self, number: int, data: Bytes) -> None:
        packed = None if self._compression == "none" else self._pack(data)
        if packed is None or len(packed) >= CLUSTER - _SECTOR:
            with self._lock:
                place, self._end = self._end, self._end + CLUSTER
                self._count(place, CLUSTER)
            content, entry = data, place | _COPIED
        else:
            with self._lock:
                place = self._place(len(packed))
                self._count(place, len(packed))
            sectors = (place + len(packed) - 1) // _SECTOR - place // _SECTOR
            content, entry = packed, place | sectors << _SIZE_SHIFT | _COMPRESSED
        with target_errors("write", self.name):
            self._put(place, content)
            self._put(self._l2_offset + 8 * number, struct.pack(">Q", entry))

    def _place(self, length: int) -> int:
        """Return where a compressed cluster goes. They may lie across the borders of clusters of the file."""
        start, limit = self._room
        if start + length > limit:
            start = self._end
            limit = self._end = start + _STRETCH
        self._room = (start + length, limit)
        return start

    def _count(self, place: int, length: int) -> None:
        last = (place + length - 1) // CLUSTER
        if last >= len(self._counts):
            self._counts.extend([0] * (last + 1 - len(self._counts)))
        for cluster in range(place // CLUSTER, last + 1):
            self._counts[cluster] += 1

    def _pack(self, data: Bytes) -> bytes:
        if self._compression == "zlib":
            # A window of 4 KiB and no header: what readers of the format expect.
            packer = zlib.compressobj(1, zlib.DEFLATED, -12)
            return packer.compress(data) + packer.flush()
        if not hasattr(self._local, "packer"):
            self._local.packer = zstandard.ZstdCompressor(level=1)
        return bytes(self._local.packer.compress(data))

    def _read_cluster(self, entry: int) -> bytes:
        if not entry:
            return bytes(CLUSTER)
        if not entry & _COMPRESSED:
            return self._get(CLUSTER, entry & ~_COPIED).ljust(CLUSTER, b"\0")
        place = entry & _OFFSET_MASK
        sectors = (entry & ~_COMPRESSED) >> _SIZE_SHIFT
        # The entry counts sectors, so there may be a piece of the next cluster behind.
        data = self._get((sectors + 1) * _SECTOR - place % _SECTOR, place)
        try:
            if self._compression == "zlib":
                return zlib.decompressobj(-12).decompress(data, CLUSTER)
            return bytes(zstandard.ZstdDecompressor().decompressobj().decompress(data))
        except (zlib.error, zstandard.ZstdError) as error:
            raise TargetError(f"{self.name} does not hold what was written: {error}", path=self.name) from error

    def _get(self, length: int, offset: int) -> bytes:
        with target_errors("read", self.name):
            return os.pread(self._file, length, offset)

    # --- the rest of the file ----------------------------------------------------------------------------------------

    def _write_counts(self) -> tuple[int, int]:
        """Append the blocks of reference counts, which count themselves, and their table; return where it is."""
        place = self._end
        blocks = clusters = 0
        while True:
            needed = -(-(place // CLUSTER + blocks + clusters) // _COUNTS)
            wanted = -(-needed * 8 // CLUSTER)
            if (needed, wanted) == (blocks, clusters):
                break
            blocks, clusters = needed, wanted
        used = place // CLUSTER
        counts = self._counts
        counts.extend([0] * (used - len(counts)))
        counts.extend([1] * (blocks + clusters))
        if sys.byteorder == "little":
            counts.byteswap()  # the format has the high byte first
        table = place + blocks * CLUSTER
        with target_errors("write", self.name):
            for number in range(blocks):
                self._put(place + number * CLUSTER, counts[number * _COUNTS : (number + 1) * _COUNTS].tobytes())
            offsets = [place + number * CLUSTER for number in range(blocks)]
            self._put(table, struct.pack(f">{blocks}Q", *offsets).ljust(clusters * CLUSTER, b"\0"))
        return table, clusters

    def _header(self, table_offset: int, table_clusters: int) -> bytes:
        zstd = self._compression == "zstd"
        return _HEADER.pack(
            b"QFI\xfb",
            3,
            0,  # no backing file
            0,
            _BITS,
            virtual_size(self.size),
            0,  # not encrypted
            self._tables,
            self._l1_offset,
            table_offset,
            table_clusters,
            0,  # no snapshots
            0,
            _ZSTD_FEATURE if zstd else 0,
            0,
            0,
            4,  # counts of 2**4 bits
            _HEADER.size,
            _ZSTD if zstd else 0,
        )

    def _put(self, offset: int, data: Bytes) -> None:
        view = memoryview(data)
        while view:
            done = os.pwrite(self._file, view, offset)
            view = view[done:]
            offset += done
