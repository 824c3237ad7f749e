# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Reading a disk file: every byte is checked against a hash before anyone sees it."""

from __future__ import annotations

import json
import threading
from typing import Any, NamedTuple

from .._libraries import blake3, zstandard
from ..errors import CorruptVaultError
from . import format as fmt
from .content_hash import parse_state, zeros
from .files import open_file, read_errors
from .record_check import RecordCheck, RecordMisfit
from .tables import RECORDS_PER_PIECE, RecordTable, Table

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


# Of a chain of many files, each thread would otherwise keep a decompressor for every file.
_LOCAL = threading.local()


class BlockRun(NamedTuple):
    """Blocks of a segment that follow each other, the number of the first and their content."""

    block: int
    data: memoryview


class DiskFile:
    """A published disk file, open for reading; threads may share it.

    Raises C(CorruptVaultError) naming file and offset for anything that is not what was written, also when
    C(header_hash) (from the manifest) is given and is another. The records are checked first. The hashes of blocks are
    checked where they are wanted, or, with C(whole), first too.
    """

    def __init__(self, path: str, header_hash: str | None = None, *, whole: bool = False) -> None:
        self.path = path
        with read_errors(path):
            self._file = open_file(path)
        try:
            self.size = self._file.size
            # Where the frames of the header and of the seek table begin.
            self._header_at = self.seek_table = 0
            self.header = self._read_header(header_hash)
            self.geometry = self._read_geometry()
            self.records = self._read_records()
            self._hashes = self._read_hashes(whole)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> DiskFile:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def is_full(self) -> bool:
        """Return whether the file holds every block of the disk."""
        return bool(self.header["kind"] == "full")

    @property
    def content_state(self) -> str:
        """Return the state of the disk as this file and what it builds on give it."""
        return str(self.header["content_state"])

    @property
    def digest_count(self) -> int | None:
        """Return the number of digests of block hashes; files from before there were any have none."""
        return _digest_count(self.header["hashes"]) if "digests_offset" in self.header else None

    def raw(self, offset: int, length: int) -> bytes:
        """Return bytes as they lie in the file, whatever they are."""
        return self._pread(length, offset)

    def hashes(self, record: fmt.Record) -> bytes:
        """Return the hashes of the blocks in C(record.hashed), 32 bytes each."""
        return self._hashes.entries(record.first_hash, record.first_hash + fmt.bit_count(record.hashed))

    def block_hashes(self, record: fmt.Record, wanted: int = -1) -> dict[int, bytes]:
        """Return block number to hash for the blocks in the mask C(wanted), or for all, that are not zero."""
        hashed = record.hashed
        if not hashed & wanted:
            return {}
        hashes, size = self.hashes(record), fmt.HASH_SIZE
        return {
            block: hashes[number * size : (number + 1) * size]
            for number, block in enumerate(fmt.bits(hashed))
            if wanted >> block & 1
        }

    def read(self, record: fmt.Record, wanted: int) -> dict[int, bytes]:
        """Return the blocks in the mask C(wanted), which the record must hold, as block number to content.

        Every block is compared with its hash. Blocks of zeros may be asked for too.
        """
        size = self.geometry.block_size
        return {
            run.block + number: bytes(run.data[start : start + size])
            for run in self.read_runs(record, wanted)
            for number, start in enumerate(range(0, len(run.data), size))
        }

    def read_runs(self, record: fmt.Record, wanted: int) -> list[BlockRun]:
        """Return the same as C(read) without copies: as few runs of blocks as there can be."""
        raw = self._decompress(record, self.frame(record), wanted)
        self._check_blocks(record, raw, wanted)
        size, view = self.geometry.block_size, memoryview(raw)
        found = []
        for first, count in fmt.runs(wanted):
            start = fmt.bit_count(record.stored & ((1 << first) - 1)) * size
            found.append(BlockRun(first, view[start : start + count * size]))
        return found

    def frame(self, record: fmt.Record) -> bytes:
        """Return the compressed frame of a record, or the frames of a run of zeros of a full, as they lie there."""
        return self._pread(record.length, record.offset)

    def verified_frame(self, record: fmt.Record) -> bytes:
        """Return the compressed frame of a record, which has the hash that was recorded."""
        frame = self.frame(record)
        self._check_frame(record, frame)
        return frame

    def checked_frame(self, record: fmt.Record) -> bytes:
        """Return the same, after a look at every block in it too."""
        frame = self.frame(record)
        # Blocks first: they tell more of where the damage is.
        self._check_blocks(record, self._decompress(record, frame), record.stored)
        self._check_frame(record, frame)
        return frame

    def _check_frame(self, record: fmt.Record, frame: bytes) -> None:
        if blake3.blake3(frame).digest() != record.frame_hash:
            raise self._corrupt(
                f"the frame of segment {record.segment} does not have the hash that was recorded", record.offset
            )

    def _check_blocks(self, record: fmt.Record, raw: bytes, wanted: int) -> None:
        hashes, size, position = self.hashes(record), self.geometry.block_size, 0
        hasher = blake3.blake3
        with memoryview(raw) as view:
            for number, block in enumerate(fmt.bits(fmt.up_to(record.stored, wanted))):
                start = number * size
                if record.zero >> block & 1:
                    good = not wanted >> block & 1 or raw[start : start + size] == zeros(min(size, len(raw) - start))
                else:
                    expected = hashes[position : position + fmt.HASH_SIZE]
                    good = not wanted >> block & 1 or hasher(view[start : start + size]).digest() == expected
                    position += fmt.HASH_SIZE
                if not good:
                    raise self._corrupt(
                        f"block {block} of segment {record.segment} does not have the hash that was recorded",
                        record.offset,
                    )

    def _decompress(self, record: fmt.Record, frame: bytes, wanted: int = -1) -> bytes:
        """Return the blocks of a frame, at least up to the last one in the mask C(wanted)."""
        expected = self.geometry.mask_length(record.segment, record.stored)
        needed = self.geometry.mask_length(record.segment, fmt.up_to(record.stored, wanted))
        decompressor = getattr(_LOCAL, "decompressor", None)
        if decompressor is None:
            decompressor = _LOCAL.decompressor = zstandard.ZstdDecompressor()
        try:
            if zstandard.frame_content_size(frame) != expected:
                raise self._corrupt(f"the frame of segment {record.segment} has a wrong size", record.offset)
            if needed < expected:
                # As fast for a part as its share of the whole. The blocks in it are compared with their hashes.
                raw = bytes(decompressor.stream_reader(frame).read(needed))
            else:
                raw = bytes(decompressor.decompress(frame, max_output_size=expected))
        except zstandard.ZstdError as error:
            raise self._corrupt(
                f"the frame of segment {record.segment} is not readable ({error})", record.offset
            ) from error
        if len(raw) != needed:
            raise self._corrupt(f"the frame of segment {record.segment} is too short", record.offset)
        return raw

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
        self._header_at, self.seek_table = header_at, table_at
        header = self._parse_header(text, header_at)
        # There are files from before there were digests.
        older = not header.keys() & {"digests_offset", "digests_hash"}
        for name in _NUMBERS if older else (*_NUMBERS, "digests_offset"):
            value = header.get(name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise self._corrupt(f"the header is impossible ({name}: {value!r})", header_at)
        records_end = header["records_offset"] + header["records"] * fmt.RECORD.size
        hashes_end = header["hashes_offset"] + header["hashes"] * fmt.HASH_SIZE
        digests_end = 0 if older else header["digests_offset"] + _digest_count(header["hashes"]) * fmt.HASH_SIZE
        if max(records_end, hashes_end, digests_end) > header_at or header.get("kind") not in ("full", "incremental"):
            raise self._corrupt("the header is impossible (kind, or tables larger than the file)", header_at)
        try:
            parse_state(header.get("content_state"))
        except ValueError as error:
            raise self._corrupt(f"the header is impossible ({error})", header_at) from error
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
        offset, count, size = self.header["records_offset"], self.header["records"], fmt.RECORD.size

        def read(first: int, last: int) -> bytes:
            return self._pread((last - first) * size, offset + first * size)

        def wrong() -> CorruptVaultError:
            return self._corrupt("the segment records do not have the hash that was recorded", offset)

        table = Table(read, count, size, RECORDS_PER_PIECE, wrong)
        records = RecordTable(table)
        check = RecordCheck(self.geometry, self.is_full, offset)
        if records.load(check) != self.header.get("records_hash"):
            raise wrong()
        try:
            hashes = check.end()
        except RecordMisfit as error:
            at = offset + error.index * size
            raise self._corrupt(f"record {error.index} does not fit the disk or the file", at) from error
        if hashes != self.header["hashes"]:
            raise self._corrupt("the segment records do not match the header", self._header_at)
        return records

    def _read_hashes(self, whole: bool) -> Table:
        # A new error each time: one that is kept would keep what it passed on its way, such as a connection.
        def wrong() -> CorruptVaultError:
            return self._corrupt("the block hashes are not what was recorded", self.header["hashes_offset"])

        table = Table(self._hash_run, self.header["hashes"], fmt.HASH_SIZE, fmt.HASHES_PER_DIGEST, wrong)
        digests = self._read_digests()
        if digests is not None and not whole:
            table.expect(digests)
        elif table.load() != self.header.get("hashes_hash") or digests not in (None, table.digests):
            raise wrong()
        return table

    def _read_digests(self) -> bytes | None:
        if self.digest_count is None:
            return None
        offset = self.header["digests_offset"]
        found = self._pread(self.digest_count * fmt.HASH_SIZE, offset)
        if fmt.digest(found) != self.header.get("digests_hash"):
            raise self._corrupt("the digests of the block hashes do not have the hash that was recorded", offset)
        return found

    def _hash_run(self, first: int, last: int) -> bytes:
        """Return hashes as they lie in the file; the frames of hashes begin with bytes that are none."""
        parts = []
        while first < last:
            frame = first // fmt.HASHES_PER_FRAME
            end = min(last, (frame + 1) * fmt.HASHES_PER_FRAME)
            offset = self.header["hashes_offset"] + first * fmt.HASH_SIZE + frame * fmt.SKIPPABLE.size
            parts.append(self._pread((end - first) * fmt.HASH_SIZE, offset))
            first = end
        return b"".join(parts)

    def _pread(self, length: int, offset: int) -> bytes:
        with read_errors(self.path, offset):
            part = self._file.pread(length, offset)
        if len(part) != length:
            raise self._corrupt("the file ends too early", offset + len(part))
        return part

    def _corrupt(self, what: str, offset: int) -> CorruptVaultError:
        return CorruptVaultError(f"{self.path} is damaged at offset {offset}: {what}", path=self.path, offset=offset)


def _digest_count(hashes: int) -> int:
    """Return how many digests there are of so many hashes."""
    return -(-hashes // fmt.HASHES_PER_DIGEST)
