# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Checking a whole disk file: all that a reader of the vault relies on, and all that a plain Zstandard decoder does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from .._libraries import zstandard
from ..errors import CorruptVaultError, PointNotFoundError
from . import format as fmt
from .disk_reader import DiskFile
from .files import file_entry
from .pool import OrderedPool

# A file with more damage than this is not read to its end: that may take hours on a failing storage.
PROBLEM_LIMIT = 10
# A frame of zeros is much smaller; the limit keeps a damaged size from filling the memory.
_ZERO_FRAME_LIMIT = 16 * 1024
_CHUNK = 128 * 1024
_BLOCK_HEADER = 3
_RLE = 1


@dataclass(frozen=True)
class FileCheck:
    """What is wrong with a disk file, as (offset, message); no offset where there is no file.

    C(readable) says whether the tables are good, so that the content of the disk can be computed from them.
    """

    problems: tuple[tuple[int | None, str], ...]
    bytes_read: int
    readable: bool


def check_disk_file(
    path: str,
    header_hash: str,
    size: int,
    *,
    progress: Callable[[int], None] | None = None,
    workers: int | None = None,
) -> FileCheck:
    """Read a whole disk file and compare it with what its manifest says. C(progress) gets the bytes of each step.

    Every byte counts: blocks against their hashes, frames of zeros against zeros, frames against the seek table. Raises
    C(VaultError) when the file cannot be opened for a reason that says nothing about the data.
    """
    try:
        with DiskFile(path, header_hash, whole=True) as file:
            if file.size != size:
                return FileCheck(((min(file.size, size), _wrong_size(path, file.size, size)),), 0, False)
            check = _Check(file, progress)
            check.run(workers)
            return FileCheck(tuple(check.problems), check.bytes_read, True)
    except PointNotFoundError as error:
        return FileCheck(((None, error.message),), 0, False)
    except CorruptVaultError as error:
        # The size tells more than what follows from it.
        found = _size_of(path)
        if found is not None and found != size:
            return FileCheck(((min(found, size), _wrong_size(path, found, size)),), 0, False)
        return FileCheck(((error.details.get("offset"), error.message),), 0, False)


def _size_of(path: str) -> int | None:
    try:
        return file_entry(path).size
    except OSError:
        return None


def _wrong_size(path: str, found: int, size: int) -> str:
    return f"{path} has {found} bytes instead of {size}"


class _SeekTable:
    """The seek table as it should be, compared with that of the file as it grows: it may be too large to hold."""

    def __init__(self, file: DiskFile) -> None:
        self._file = file
        self._at = file.seek_table
        self._buffer = bytearray(fmt.SKIPPABLE.pack(fmt.MAGIC_SEEK_TABLE, file.size - self._at - fmt.SKIPPABLE.size))
        self._entries = 0
        self.wrong: int | None = None

    def add(self, size: int, decompressed: int) -> None:
        """Tell of the next frame."""
        self._buffer += fmt.SEEK_ENTRY.pack(size, decompressed)
        self._entries += 1
        if len(self._buffer) >= _CHUNK:
            self._compare()

    def finish(self) -> int | None:
        """Return the offset of the first byte that is not as it should be, now that all frames are known."""
        self._buffer += fmt.SEEK_FOOTER.pack(self._entries, 0, fmt.MAGIC_SEEKABLE)
        self._compare()
        return self.wrong if self._at == self._file.size else self._file.seek_table

    def _compare(self) -> None:
        wanted = self._buffer[: self._file.size - self._at]
        found = self._file.raw(self._at, len(wanted))
        if self.wrong is None and found != wanted:
            self.wrong = self._at + next(number for number, byte in enumerate(wanted) if byte != found[number])
        self._at += len(self._buffer)
        self._buffer.clear()


class _Check:
    """One pass over a file. C(_frame) runs in threads, everything else in the caller's."""

    def __init__(self, file: DiskFile, progress: Callable[[int], None] | None) -> None:
        self._file = file
        self._geometry = file.geometry
        self._progress = progress
        self._seek = _SeekTable(file)
        self._seek_known = True
        self._known_zeros: dict[bytes, int] = {}
        self.problems: list[tuple[int, str]] = []
        self.bytes_read = 0

    def run(self, workers: int | None) -> None:
        """Check everything, up to the limit of problems."""
        end = 0
        with OrderedPool(self._frame_done, workers) as pool:
            for record in self._file.records:
                if len(self.problems) >= PROBLEM_LIMIT:
                    break
                if record.length and record.offset != end:
                    self._add(record.offset, f"the frame of segment {record.segment} does not follow the one before it")
                end = record.offset + record.length if record.length else end
                if record.stored:
                    self._announce(record)
                    pool.submit(self._frame, record)
                elif self._file.is_full:
                    # Without all frames it is not known what the seek table has to say.
                    self._seek_known &= self._good(lambda: self._zero_run(record))  # noqa: B023 - called at once
                    self._count(record.length)
        complete = len(self.problems) < PROBLEM_LIMIT
        if complete:
            self._good(lambda: self._tables(end))
            self._count(self._file.size - end)
        self.problems.sort()
        if not complete:
            offset, message = self.problems[-1]
            self.problems[-1] = (offset, f"{message}. The rest of the file was not read")

    def _announce(self, record: fmt.Record) -> None:
        """Note what the seek table has to say of a frame with data."""
        if self._file.is_full and record.stored != self._geometry.mask(record.segment):
            self._add(record.offset, f"the frame of segment {record.segment} lacks blocks")
        raw = self._geometry.mask_length(record.segment, record.stored)
        self._seek.add(min(record.length, 0xFFFFFFFF), raw)

    def _frame(self, record: fmt.Record) -> tuple[int, CorruptVaultError | None]:
        try:
            if record.length > 2 * self._geometry.segment_size + _ZERO_FRAME_LIMIT:
                raise self._error(record.offset, f"the frame of segment {record.segment} has an impossible size")
            frame = self._file.checked_frame(record)
            if _frame_length(frame) != len(frame):
                raise self._error(
                    record.offset, f"the frame of segment {record.segment} is not one frame with a checksum"
                )
        except CorruptVaultError as error:
            return record.length, error
        return record.length, None

    def _frame_done(self, result: tuple[int, CorruptVaultError | None]) -> None:
        length, error = result
        if error is not None and len(self.problems) < PROBLEM_LIMIT:
            self.problems.append((error.details["offset"], error.message))
        self._count(length)

    def _zero_run(self, record: fmt.Record) -> None:
        """Check the frames of a run of zeros, which readers of the vault pass over and C(zstd -dc) does not."""
        size = self._geometry.segment_size
        wanted = min(record.segments * size, self._geometry.size - record.segment * size)
        at = fetched = record.offset
        end = record.offset + record.length
        buffer = b""
        while at < end:
            if len(buffer) < _ZERO_FRAME_LIMIT and fetched < end:
                more = self._file.raw(fetched, min(_CHUNK, end - fetched))
                buffer, fetched = buffer + more, fetched + len(more)
            length = _frame_length(buffer[:_ZERO_FRAME_LIMIT])
            raw = self._zeros(buffer[:length]) if length else None
            if length is None or raw is None:
                raise self._error(at, f"the zeros of segment {record.segment} are not readable as such")
            self._seek.add(length, raw)
            buffer, at, wanted = buffer[length:], at + length, wanted - raw
        if wanted:
            raise self._error(record.offset, f"the run of zeros of segment {record.segment} has a wrong size")

    def _zeros(self, frame: bytes) -> int | None:
        """Return how many zeros a frame holds, or nothing if it holds anything else."""
        if frame not in self._known_zeros:
            found = _count_zeros(frame)
            if found is None:
                return None
            # There are few different ones; of a file where that is not so, not all are kept.
            if len(self._known_zeros) >= 64:
                self._known_zeros.clear()
            self._known_zeros[frame] = found
        return self._known_zeros[frame]

    def _tables(self, end: int) -> None:
        """Check what lies behind the data: that every decoder passes over it, and that the seek table is right."""
        header = self._file.header
        at = self._skippable(end, fmt.MAGIC_RECORDS, header["records"] * fmt.RECORD.size)
        left = header["hashes"]
        while True:
            step = min(left, fmt.HASHES_PER_FRAME)
            at = self._skippable(at, fmt.MAGIC_HASHES, step * fmt.HASH_SIZE)
            left -= step
            if not left:
                break
        if self._file.digest_count is not None:
            at = self._skippable(at, fmt.MAGIC_DIGESTS, self._file.digest_count * fmt.HASH_SIZE)
        if self._seek_known:
            self._seek_table(at)

    def _seek_table(self, at: int) -> None:
        """Check the heads of header and seek table, which follow the other tables, and the table itself."""
        table = self._file.seek_table
        if table <= at + fmt.SKIPPABLE.size:
            raise self._error(at, "the frames of the file are not those of its seek table")
        self._skippable(at, fmt.MAGIC_HEADER, table - at - fmt.SKIPPABLE.size)
        wrong = self._seek.finish()
        if wrong is not None:
            raise self._error(wrong, "the seek table is not that of the frames")

    def _skippable(self, at: int, magic: int, size: int) -> int:
        """Check the head of a skippable frame; return the offset behind the frame."""
        if self._file.raw(at, fmt.SKIPPABLE.size) != fmt.SKIPPABLE.pack(magic, size):
            raise self._error(at, f"there is no skippable frame {magic:#x} of {size} bytes")
        self._seek.add(fmt.SKIPPABLE.size + size, 0)
        return at + fmt.SKIPPABLE.size + size

    def _good(self, check: Callable[[], None]) -> bool:
        try:
            check()
        except CorruptVaultError as error:
            self.problems.append((error.details["offset"], error.message))
            return False
        return True

    def _add(self, offset: int, what: str) -> None:
        self.problems.append((offset, self._error(offset, what).message))

    def _error(self, offset: int, what: str) -> CorruptVaultError:
        path = self._file.path
        return CorruptVaultError(f"{path} is damaged at offset {offset}: {what}", path=path, offset=offset)

    def _count(self, length: int) -> None:
        self.bytes_read += length
        if self._progress is not None and length:
            self._progress(length)


def _frame_length(data: bytes) -> int | None:
    """Return the length of the Zstandard frame with which C(data) begins, if it is all there and has a checksum."""
    try:
        at = zstandard.frame_header_size(data)
        if not zstandard.get_frame_parameters(data).has_checksum:
            return None
    except zstandard.ZstdError:
        return None
    last = False
    while not last:
        head = int.from_bytes(data[at : at + _BLOCK_HEADER], "little")
        last = bool(head & 1)
        at += _BLOCK_HEADER + (1 if head >> 1 & 3 == _RLE else head >> 3)
        if at > len(data):
            return None
    return at + 4 if at + 4 <= len(data) else None


def _count_zeros(frame: bytes) -> int | None:
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    total = 0
    try:
        # In small steps: a few bytes may stand for 128 KiB each.
        for start in range(0, len(frame), 32):
            raw = decompressor.decompress(frame[start : start + 32])
            if raw != bytes(len(raw)):
                return None
            total += len(raw)
        return total if zstandard.frame_content_size(frame) == total else None
    except zstandard.ZstdError:
        return None
