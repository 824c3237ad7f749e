# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Reading a disk file: every byte is checked against a hash before anyone sees it."""

from __future__ import annotations

import bisect
import errno
import json
import os
import threading
from array import array
from collections.abc import Iterator
from typing import Any

from .._libraries import blake3, zstandard
from ..errors import CorruptVaultError, PointNotFoundError, VaultError
from . import format as fmt

_CHUNK = 1024 * 1024
# Larger than any header that a writer makes; a damaged size field must not make us read gigabytes.
_HEADER_LIMIT = 1024 * 1024
_NUMBERS = (
    "disk_size",
    "block_size",
    "segment_size",
    "records",
    "records_offset",
    "hashes",
    "hashes_offset",
)


class RecordTable:
    """The records of a file as they are stored, unpacked one by one: a list of tuples takes six times the memory."""

    def __init__(self, table: bytes) -> None:
        self._table = table

    def __len__(self) -> int:
        return len(self._table) // fmt.RECORD.size

    def __getitem__(self, index: int) -> fmt.Record:
        return fmt.Record._make(fmt.RECORD.unpack_from(self._table, index * fmt.RECORD.size))

    def __iter__(self) -> Iterator[fmt.Record]:
        return map(fmt.Record._make, fmt.RECORD.iter_unpack(self._table))


class DiskFile:
    """A published disk file, open for reading; threads may share it.

    Raises C(CorruptVaultError) naming file and offset for anything that is not what was written, also when
    C(header_hash) (from the manifest) is given and is another.
    """

    def __init__(self, path: str, header_hash: str | None = None) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError as error:
            raise PointNotFoundError(f"{path} is missing from the vault", path=path) from error
        except OSError as error:
            if error.errno == errno.EIO:
                raise CorruptVaultError(f"Cannot open {path}: {error.strerror}", path=path, offset=0) from error
            # Too many open files or a missing permission say nothing about the data.
            raise VaultError(f"Cannot open {path}: {error.strerror}", path=path, errno=error.errno) from error
        try:
            self.size = os.fstat(self._descriptor).st_size
            self._local = threading.local()
            self._header_at = 0
            self.header = self._read_header(header_hash)
            self.geometry = self._read_geometry()
            self.records = self._read_records()
            self._starts = self._check_records()
            self._check_hash_table()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> DiskFile:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def is_full(self) -> bool:
        """Return whether the file holds every block of the disk."""
        return bool(self.header["kind"] == "full")

    def record_index(self, segment: int) -> int:
        """Return the index of the first record that ends behind C(segment)."""
        index = bisect.bisect_right(self._starts, segment) - 1
        if index >= 0 and self.records[index].end > segment:
            return index
        return index + 1

    def raw(self, offset: int, length: int) -> bytes:
        """Return bytes as they lie in the file, whatever they are."""
        return self._pread(length, offset)

    def hashes(self, record: fmt.Record) -> bytes:
        """Return the hashes of the blocks in C(record.hashed), 32 bytes each."""
        count = fmt.bit_count(record.hashed)
        if not count:
            return b""
        first, last = record.first_hash, record.first_hash + count
        middle = (first // fmt.HASHES_PER_FRAME + 1) * fmt.HASHES_PER_FRAME
        if last <= middle:
            return self._hash_run(first, last)
        return self._hash_run(first, middle) + self._hash_run(middle, last)

    def read(self, record: fmt.Record, wanted: int) -> dict[int, bytes]:
        """Return the blocks in the mask C(wanted), which the record must hold, as block number to content.

        Every block is compared with its hash. Blocks of zeros may be asked for too.
        """
        return self._checked(record, self.frame(record), wanted)

    def frame(self, record: fmt.Record) -> bytes:
        """Return the compressed frame of a record, or the frames of a run of zeros of a full."""
        return self._pread(record.length, record.offset)

    def verified_frame(self, record: fmt.Record) -> bytes:
        """Return the compressed frame of a record, every block of which has the hash that was recorded."""
        frame = self.frame(record)
        self._checked(record, frame, record.stored)
        return frame

    def _checked(self, record: fmt.Record, frame: bytes, wanted: int) -> dict[int, bytes]:
        segment = record.segment
        raw = self._decompress(record, frame)
        hashes = self.hashes(record)
        found: dict[int, bytes] = {}
        position = hash_position = 0
        for block in fmt.bits(record.stored):
            length = self.geometry.block_length(segment, block)
            bit = 1 << block
            if wanted & bit:
                content = raw[position : position + length]
                if record.zero & bit:
                    good = not content.strip(b"\0")
                else:
                    good = blake3.blake3(content).digest() == hashes[hash_position : hash_position + fmt.HASH_SIZE]
                if not good:
                    raise self._corrupt(
                        f"block {block} of segment {segment} does not have the hash that was recorded", record.offset
                    )
                found[block] = content
            if not record.zero & bit:
                hash_position += fmt.HASH_SIZE
            position += length
        return found

    def _decompress(self, record: fmt.Record, frame: bytes) -> bytes:
        expected = sum(self.geometry.block_length(record.segment, block) for block in fmt.bits(record.stored))
        decompressor = getattr(self._local, "decompressor", None)
        if decompressor is None:
            decompressor = self._local.decompressor = zstandard.ZstdDecompressor()
        try:
            if zstandard.frame_content_size(frame) != expected:
                raise self._corrupt(f"the frame of segment {record.segment} has a wrong size", record.offset)
            raw = bytes(decompressor.decompress(frame, max_output_size=expected))
        except zstandard.ZstdError as error:
            raise self._corrupt(
                f"the frame of segment {record.segment} is not readable ({error})", record.offset
            ) from error
        if len(raw) != expected:
            raise self._corrupt(f"the frame of segment {record.segment} is too short", record.offset)
        return raw

    def _hash_run(self, first: int, last: int) -> bytes:
        base: int = self.header["hashes_offset"]
        offset = base + first * fmt.HASH_SIZE + (first // fmt.HASHES_PER_FRAME) * fmt.SKIPPABLE.size
        length = (last - first) * fmt.HASH_SIZE
        # Readers go upwards: one chunk serves many records.
        start, chunk = getattr(self._local, "chunk", (0, b""))
        if not start <= offset <= offset + length <= start + len(chunk):
            end = base + self.header["hashes"] * fmt.HASH_SIZE
            end += (self.header["hashes"] // fmt.HASHES_PER_FRAME) * fmt.SKIPPABLE.size
            start, chunk = offset, self._pread(max(length, min(_CHUNK, end - offset)), offset)
            self._local.chunk = (start, chunk)
        return bytes(chunk[offset - start : offset - start + length])

    def _read_header(self, header_hash: str | None) -> dict[str, Any]:
        footer_size = fmt.SEEK_FOOTER.size
        footer_at = self.size - footer_size
        if footer_at < fmt.SKIPPABLE.size + fmt.SEEK_ENTRY.size:
            raise self._corrupt(f"{self.size} bytes are too few for a disk file", 0)
        entries, descriptor, magic = fmt.SEEK_FOOTER.unpack(self._pread(footer_size, footer_at))
        table_size = entries * fmt.SEEK_ENTRY.size + footer_size
        table_at = self.size - table_size - fmt.SKIPPABLE.size
        if magic != fmt.MAGIC_SEEKABLE or descriptor != 0 or entries < 1 or table_at < 0:
            raise self._corrupt("the file does not end in a seek table", footer_at)
        if fmt.SKIPPABLE.unpack(self._pread(fmt.SKIPPABLE.size, table_at)) != (fmt.MAGIC_SEEK_TABLE, table_size):
            raise self._corrupt("the seek table does not begin where it should", table_at)
        last = self._pread(fmt.SEEK_ENTRY.size, footer_at - fmt.SEEK_ENTRY.size)
        header_size = fmt.SEEK_ENTRY.unpack(last)[0]
        header_at = table_at - header_size
        if header_at < 0 or not fmt.SKIPPABLE.size < header_size <= _HEADER_LIMIT:
            raise self._corrupt("the size of the header is impossible", table_at)
        frame = self._pread(header_size, header_at)
        text = frame[fmt.SKIPPABLE_SIZE :]
        if fmt.SKIPPABLE.unpack(frame[: fmt.SKIPPABLE_SIZE]) != (fmt.MAGIC_HEADER, len(text)):
            raise self._corrupt("the header is not where it should be", header_at)
        if header_hash is not None and fmt.digest(text) != header_hash:
            raise self._corrupt("the header does not have the hash that the manifest gives", header_at)
        self._header_at = header_at
        header = self._parse_header(text, header_at)
        for name in _NUMBERS:
            value = header.get(name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise self._corrupt(f"the header is impossible ({name}: {value!r})", header_at)
        records_end = header["records_offset"] + header["records"] * fmt.RECORD.size
        hashes_end = header["hashes_offset"] + header["hashes"] * fmt.HASH_SIZE
        if max(records_end, hashes_end) > header_at or header.get("kind") not in ("full", "incremental"):
            raise self._corrupt("the header is impossible (kind, or tables larger than the file)", header_at)
        return header

    def _parse_header(self, text: bytes, offset: int) -> dict[str, Any]:
        try:
            header = dict(json.loads(text.decode("utf-8")))
        except (ValueError, TypeError, RecursionError) as error:
            raise self._corrupt("the header is not readable", offset) from error
        known = (fmt.FORMAT_NAME, fmt.FORMAT_VERSION, "blake3")
        found = tuple(header.get(name) for name in ("format", "version", "hash"))
        if found != known:
            raise self._corrupt(
                "format {!r} version {!r} hash {!r} cannot be read by this version".format(*found), offset
            )
        return header

    def _read_geometry(self) -> fmt.Geometry:
        geometry = fmt.Geometry(self.header["disk_size"], self.header["block_size"], self.header["segment_size"])
        try:
            geometry.check()
        except ValueError as error:
            raise self._corrupt(f"the header is impossible ({error})", self._header_at) from error
        return geometry

    def _read_records(self) -> RecordTable:
        offset, count = self.header["records_offset"], self.header["records"]
        table = self._pread(count * fmt.RECORD.size, offset)
        if fmt.digest(table) != self.header.get("records_hash"):
            raise self._corrupt("the segment records do not have the hash that was recorded", offset)
        return RecordTable(table)

    def _check_records(self) -> array[int]:
        """Check that the records fit disk and file, whoever wrote them; return the segment of each."""
        starts = array("Q")
        data_end, segments = self.header["records_offset"], self.geometry.segments
        every = (1 << (self.geometry.segment_size // self.geometry.block_size)) - 1
        last = self.geometry.mask(segments - 1)
        expected = hashes = 0
        for index, record in enumerate(self.records):
            whole = last if record.segment == segments - 1 else every
            good = record.segments > 0 and expected <= record.segment and record.end <= segments
            good = good and not record.stored & ~whole and not record.zero & ~every and record.first_hash == hashes
            good = good and record.offset + record.length <= data_end and bool(record.length or not record.stored)
            if record.segments > 1:
                good = good and record.stored == 0 and record.zero == every
            if self.is_full:
                good = good and record.segment == expected and record.covered & whole == whole
            if not good:
                offset = self.header["records_offset"] + index * fmt.RECORD.size
                raise self._corrupt(f"record {index} does not fit the disk or the file", offset)
            starts.append(record.segment)
            expected = record.end
            hashes += fmt.bit_count(record.hashed)
        if hashes != self.header["hashes"] or (self.is_full and expected != segments):
            raise self._corrupt("the segment records do not match the header", self._header_at)
        return starts

    def _check_hash_table(self) -> None:
        hasher = blake3.blake3()
        done, total = 0, self.header["hashes"]
        step = _CHUNK // fmt.HASH_SIZE
        while done < total:
            # A chunk must not cross the boundary between two frames of hashes.
            boundary = (done // fmt.HASHES_PER_FRAME + 1) * fmt.HASHES_PER_FRAME
            end = min(done + step, total, boundary)
            hasher.update(self._hash_run(done, end))
            done = end
        if hasher.hexdigest() != self.header.get("hashes_hash"):
            raise self._corrupt("the block hashes are not what was recorded", self.header["hashes_offset"])

    def _pread(self, length: int, offset: int) -> bytes:
        parts = []
        while length:
            try:
                part = os.pread(self._descriptor, length, offset)
            except OSError as error:
                raise self._corrupt(f"cannot be read ({error.strerror})", offset) from error
            if not part:
                raise self._corrupt("the file ends too early", offset)
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _corrupt(self, what: str, offset: int) -> CorruptVaultError:
        return CorruptVaultError(f"{self.path} is damaged at offset {offset}: {what}", path=self.path, offset=offset)
