# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Writing a disk file: append only, in segment order, durable when finished."""

from __future__ import annotations

import os
import sys
import threading
from array import array
from dataclasses import dataclass
from typing import Any, BinaryIO

from .._libraries import blake3, zstandard
from . import format as fmt
from .files import vault_errors

# A run of zeros of a full is written as frames of at most this many segments, so that no decoder needs much memory.
_ZERO_FRAME_SEGMENTS = 64


class FrameCompressor:
    """Compresses blocks into frames with checksum; safe to share between threads."""

    def __init__(self, level: int = 1) -> None:
        self._level = level
        self._local = threading.local()

    def compress(self, raw: bytes) -> bytes:
        """Return C(raw) as one Zstandard frame."""
        compressor = getattr(self._local, "compressor", None)
        if compressor is None:
            compressor = zstandard.ZstdCompressor(level=self._level, write_checksum=True, write_content_size=True)
            self._local.compressor = compressor
        return bytes(compressor.compress(raw))

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
        self._records = bytearray()
        self._record_count = 0
        self._hashes = bytearray()
        self._seek = array("I")
        self._offset = 0
        self._next_segment = 0
        self._zero_frames: dict[int, bytes] = {}
        self._run: tuple[int, int] | None = None
        with vault_errors("create", path):
            self._file: BinaryIO = open(path, "xb")  # noqa: SIM115 - closed by finish or abort

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

    def add_frame(self, segment: int, stored: int, zero: int, hashes: bytes, frame: bytes) -> None:
        """Append the data of one segment.

        C(frame) decompresses to the blocks in the mask C(stored), one after the other; C(hashes) are those of the
        blocks in C(stored) that are not in C(zero).
        """
        self._flush_run()
        self._check_order(segment)
        if self._full and stored != self._geometry.mask(segment):
            raise ValueError(f"segment {segment} of a full lacks blocks: mask {stored:#x}")
        if len(hashes) != fmt.bit_count(stored & ~zero) * fmt.HASH_SIZE:
            raise ValueError(f"segment {segment}: {len(hashes)} bytes of hashes for mask {stored & ~zero:#x}")
        raw = sum(self._geometry.block_length(segment, block) for block in fmt.bits(stored))
        offset = self._offset
        if frame:
            self._append(frame, raw)
        first_hash = len(self._hashes) // fmt.HASH_SIZE
        self._hashes += hashes
        self._add_record(fmt.Record(segment, 1, offset, len(frame), stored, zero, first_hash))
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

    def finish(self) -> DiskFileSummary:
        """Write index, header and seek table, make the file durable and close it."""
        self._flush_run()
        if self._full and self._next_segment != self._geometry.segments:
            raise ValueError(f"a full of {self._geometry.segments} segments ends at {self._next_segment}")
        frames = len(self._seek) // 2
        header = self._header()
        records_offset, hashes_offset = self._write_tables()
        header.update(records_offset=records_offset, hashes_offset=hashes_offset)
        text = fmt.canonical(header)
        self._append(fmt.skippable(fmt.MAGIC_HEADER, text), 0)
        self._write_seek_table()
        with vault_errors("write", self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        return DiskFileSummary(self._offset, fmt.digest(text), frames)

    def abort(self) -> None:
        """Close the file; the caller removes it with the unpublished point."""
        try:
            self._file.close()
        except OSError:
            # What could not be flushed is thrown away anyway.
            pass

    def _header(self) -> dict[str, Any]:
        return {
            "format": fmt.FORMAT_NAME,
            "version": fmt.FORMAT_VERSION,
            "kind": self._kind,
            "disk_size": self._geometry.size,
            "block_size": self._geometry.block_size,
            "segment_size": self._geometry.segment_size,
            "hash": "blake3",
            "records": self._record_count,
            "records_hash": str(blake3.blake3(self._records).hexdigest()),
            "hashes": len(self._hashes) // fmt.HASH_SIZE,
            "hashes_hash": str(blake3.blake3(self._hashes).hexdigest()),
        }

    def _write_tables(self) -> tuple[int, int]:
        records_offset = self._offset + fmt.SKIPPABLE.size
        self._append_skippable(fmt.MAGIC_RECORDS, self._records)
        hashes_offset = self._offset + fmt.SKIPPABLE.size
        step = fmt.HASHES_PER_FRAME * fmt.HASH_SIZE
        # The tables of a large disk are large: no copies of them.
        with memoryview(self._hashes) as hashes:
            for start in range(0, max(len(hashes), 1), step):
                self._append_skippable(fmt.MAGIC_HASHES, hashes[start : start + step])
        return records_offset, hashes_offset

    def _write_seek_table(self) -> None:
        entries = len(self._seek) // 2
        if sys.byteorder == "big":
            self._seek.byteswap()
        content = self._seek.tobytes() + fmt.SEEK_FOOTER.pack(entries, 0, fmt.MAGIC_SEEKABLE)
        self._append(fmt.skippable(fmt.MAGIC_SEEK_TABLE, content), 0)

    def _flush_run(self) -> None:
        if self._run is None:
            return
        segment, count = self._run
        self._run = None
        offset = self._offset
        if self._full:
            self._write_zero_frames(segment, count)
        zero = (1 << (self._geometry.segment_size // self._geometry.block_size)) - 1
        first_hash = len(self._hashes) // fmt.HASH_SIZE
        self._add_record(fmt.Record(segment, count, offset, self._offset - offset, 0, zero, first_hash))

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
        self._records += fmt.RECORD.pack(*record)
        self._record_count += 1

    def _check_order(self, segment: int) -> None:
        if segment < self._next_segment or (self._full and segment != self._next_segment):
            raise ValueError(f"segment {segment} does not follow {self._next_segment - 1}")

    def _append_skippable(self, magic: int, content: bytearray | memoryview) -> None:
        with vault_errors("write", self._path):
            self._file.write(fmt.SKIPPABLE.pack(magic, len(content)))
            self._file.write(content)
        size = fmt.SKIPPABLE.size + len(content)
        self._offset += size
        self._seek.extend((size, 0))

    def _append(self, data: bytes, decompressed: int) -> None:
        with vault_errors("write", self._path):
            self._file.write(data)
        self._offset += len(data)
        self._seek.extend((len(data), decompressed))
