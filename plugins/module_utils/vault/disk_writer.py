# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Writing a disk file: append only, in segment order, durable when finished."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

from .._libraries import blake3, zstandard
from . import format as fmt
from .content_hash import parse_state
from .files import new_file
from .spool import Spool
from .storage.failures import vault_errors

# A run of zeros of a full is written as frames of at most this many segments, so that no decoder needs much memory.
_ZERO_FRAME_SEGMENTS = 64
_CHUNK = 256 * 1024


class Frame(NamedTuple):
    """A compressed frame and its BLAKE3."""

    data: bytes
    digest: bytes


# Where no block is stored.
NO_FRAME = Frame(b"", fmt.NO_HASH)


class FrameCompressor:
    """Compresses blocks into frames with checksum; safe to share between threads."""

    def __init__(self, level: int = 1) -> None:
        self._level = level
        self._local = threading.local()

    def compress(self, raw: bytes | bytearray) -> Frame:
        """Return C(raw) as one Zstandard frame, hashed."""
        compressor = getattr(self._local, "compressor", None)
        if compressor is None:
            compressor = zstandard.ZstdCompressor(level=self._level, write_checksum=True, write_content_size=True)
            self._local.compressor = compressor
        data = bytes(compressor.compress(raw))
        return Frame(data, blake3.blake3(data).digest())

    def zeros(self, length: int) -> bytes:
        """Return a frame of C(length) zero bytes without holding them in memory."""
        compressor = zstandard.ZstdCompressor(level=self._level, write_checksum=True, write_content_size=True)
        stream = compressor.compressobj(size=length)
        piece = bytes(fmt.SEGMENT_SIZE)
        parts = [stream.compress(piece) for _number in range(length // len(piece))]
        parts.append(stream.compress(bytes(length % len(piece))))
        parts.append(stream.flush())
        return b"".join(parts)


@dataclass(frozen=True)
class DiskFileSummary:
    """What the manifest says of a finished disk file. Sizes in bytes."""

    size: int
    header_hash: str
    frames: int


class DiskWriter:
    """Writes one disk file to a new path.

    C(kind) is C(full) (every block of the disk is in the file, and C(zstd -dc) gives the disk) or C(incremental).
    Raises C(VaultWriteError) when the vault does not take the data. Nothing counts before C(finish) has returned.
    """

    def __init__(self, path: str, geometry: fmt.Geometry, kind: str, compressor: FrameCompressor) -> None:
        geometry.check()
        self._path = path
        self._geometry = geometry
        self._full = kind == "full"
        self._kind = kind
        self._compressor = compressor
        self._records, self._hashes, self._seek = self._tables = (Spool(path), Spool(path), Spool(path))
        self._offset = 0
        self._next_segment = 0
        self._zero_frames: dict[int, bytes] = {}
        self._run: tuple[int, int] | None = None
        # Compressed data is hardly larger than the disk; a decoder's tables need a hundredth of it at most.
        self._file = new_file(path, geometry.size + geometry.size // 64)

    @property
    def full(self) -> bool:
        """Return whether the file will hold every block of the disk."""
        return self._full

    @property
    def geometry(self) -> fmt.Geometry:
        """Return how the disk is cut."""
        return self._geometry

    @property
    def written(self) -> int:
        """Return the number of bytes written so far."""
        return self._offset

    def add_frame(self, segment: int, stored: int, zero: int, hashes: bytes, frame: Frame) -> None:
        """Append the data of one segment.

        C(frame) decompresses to the blocks in the mask C(stored), one after the other; C(NO_FRAME) if there are none.
        C(hashes) are those of the blocks in C(stored) that are not in C(zero).
        """
        self._flush_run()
        self._check_order(segment)
        if self._full and stored != self._geometry.mask(segment):
            raise ValueError(f"segment {segment} of a full lacks blocks: mask {stored:#x}")
        if len(hashes) != fmt.bit_count(stored & ~zero) * fmt.HASH_SIZE:
            raise ValueError(f"segment {segment}: {len(hashes)} bytes of hashes for mask {stored & ~zero:#x}")
        offset, first_hash = self._offset, self._hashes.size // fmt.HASH_SIZE
        if frame.data:
            self._append(frame.data, self._geometry.mask_length(segment, stored))
        self._hashes.append(hashes)
        self._add_record(fmt.Record(segment, 1, offset, len(frame.data), stored, zero, first_hash, frame.digest))
        self._next_segment = segment + 1

    def add_zeros(self, segment: int, count: int) -> None:
        """Append a run of segments that are wholly zero."""
        self._check_order(segment)
        if self._run is not None and self._run[0] + self._run[1] == segment:
            self._run = (self._run[0], self._run[1] + count)
        else:
            self._flush_run()
            self._run = (segment, count)
        self._next_segment = segment + count

    def finish(self, content_state: str) -> DiskFileSummary:
        """Write index, header and seek table, make the file durable and close it.

        C(content_state) is that of the whole disk as this file and what it builds on give it.
        """
        self._flush_run()
        if self._full and self._next_segment != self._geometry.segments:
            raise ValueError(f"a full of {self._geometry.segments} segments ends at {self._next_segment}")
        parse_state(content_state)
        frames = self._seek.size // fmt.SEEK_ENTRY.size
        header = self._header()
        header.update(content_state=content_state, records_offset=self._offset + fmt.SKIPPABLE.size)
        self._append_table(fmt.MAGIC_RECORDS, self._records, 0xFFFFFFFF)
        header.update(hashes_offset=self._offset + fmt.SKIPPABLE.size)
        self._append_table(fmt.MAGIC_HASHES, self._hashes, fmt.HASHES_PER_FRAME * fmt.HASH_SIZE)
        digests = self._digests()
        header.update(digests_offset=self._offset + fmt.SKIPPABLE.size, digests_hash=fmt.digest(digests))
        self._append(fmt.skippable(fmt.MAGIC_DIGESTS, digests), 0)
        text = fmt.canonical(header)
        self._append(fmt.skippable(fmt.MAGIC_HEADER, text), 0)
        self._write_seek_table()
        with vault_errors("write", self._path):
            self._file.finish()
        self._close_tables()
        return DiskFileSummary(self._offset, fmt.digest(text), frames)

    def abort(self) -> None:
        """Throw the file away, unless it was finished."""
        self._close_tables()
        self._file.abort()

    def _header(self) -> dict[str, Any]:
        return {
            "format": fmt.FORMAT_NAME,
            "version": fmt.FORMAT_VERSION,
            "kind": self._kind,
            "disk_size": self._geometry.size,
            "block_size": self._geometry.block_size,
            "segment_size": self._geometry.segment_size,
            "hash": "blake3",
            "records": self._records.size // fmt.RECORD.size,
            "records_hash": self._records.hexdigest(),
            "hashes": self._hashes.size // fmt.HASH_SIZE,
            "hashes_hash": self._hashes.hexdigest(),
        }

    def _append_table(self, magic: int, table: Spool, limit: int) -> None:
        """Write a table as skippable frames with at most C(limit) bytes each, at least one."""
        left = table.size
        with table.reader() as source:
            while True:
                step = min(left, limit)
                self._write(fmt.SKIPPABLE.pack(magic, step))
                self._copy(source, step)
                self._add_entry(fmt.SKIPPABLE.size + step, 0)
                left -= step
                if not left:
                    return

    def _digests(self) -> bytes:
        """Return the hash of each run of hashes, so that a reader need not read all of them to trust some."""
        found = []
        with self._hashes.reader() as source:
            left = self._hashes.size
            while left:
                step = min(left, fmt.HASHES_PER_DIGEST * fmt.HASH_SIZE)
                found.append(blake3.blake3(b"".join(self._parts(source, step))).digest())
                left -= step
        return b"".join(found)

    def _write_seek_table(self) -> None:
        entries, size = self._seek.size // fmt.SEEK_ENTRY.size, self._seek.size
        self._write(fmt.SKIPPABLE.pack(fmt.MAGIC_SEEK_TABLE, size + fmt.SEEK_FOOTER.size))
        with self._seek.reader() as source:
            self._copy(source, size)
        self._write(fmt.SEEK_FOOTER.pack(entries, 0, fmt.MAGIC_SEEKABLE))

    def _copy(self, source: BinaryIO, length: int) -> None:
        for part in self._parts(source, length):
            self._write(part)

    def _parts(self, source: BinaryIO, length: int) -> Iterator[bytes]:
        while length:
            with vault_errors("write", self._path):
                part = source.read(min(length, _CHUNK))
                if not part:
                    raise OSError(errno.EIO, "it has become shorter")
            yield part
            length -= len(part)

    def _close_tables(self) -> None:
        for table in self._tables:
            table.close()

    def _flush_run(self) -> None:
        if self._run is None:
            return
        segment, count = self._run
        self._run = None
        offset = self._offset
        if self._full:
            self._write_zero_frames(segment, count)
        zero = (1 << (self._geometry.segment_size // self._geometry.block_size)) - 1
        first_hash = self._hashes.size // fmt.HASH_SIZE
        self._add_record(fmt.Record(segment, count, offset, self._offset - offset, 0, zero, first_hash, fmt.NO_HASH))

    def _write_zero_frames(self, segment: int, count: int) -> None:
        size = self._geometry.segment_size
        length = min(count * size, self._geometry.size - segment * size)
        while length:
            step = min(length, _ZERO_FRAME_SEGMENTS * size)
            if step not in self._zero_frames:
                if len(self._zero_frames) > _ZERO_FRAME_SEGMENTS:
                    self._zero_frames.clear()
                self._zero_frames[step] = self._compressor.zeros(step)
            self._append(self._zero_frames[step], step)
            length -= step

    def _add_record(self, record: fmt.Record) -> None:
        self._records.append(fmt.RECORD.pack(*record))

    def _add_entry(self, size: int, decompressed: int) -> None:
        self._seek.append(fmt.SEEK_ENTRY.pack(size, decompressed))

    def _check_order(self, segment: int) -> None:
        if segment < self._next_segment or (self._full and segment != self._next_segment):
            raise ValueError(f"segment {segment} does not follow {self._next_segment - 1}")

    def _append(self, data: bytes, decompressed: int) -> None:
        self._write(data)
        self._add_entry(len(data), decompressed)

    def _write(self, data: bytes) -> None:
        with vault_errors("write", self._path):
            self._file.write(data)
        self._offset += len(data)
