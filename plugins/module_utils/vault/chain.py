# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Disk files laid over each other, newest wins; with a full below them that is a disk as of a recovery point."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Callable, NamedTuple, TypeVar

from ..errors import CorruptVaultError
from . import format as fmt
from .content_hash import ContentHash
from .disk_reader import BlockRun, DiskFile

_Self = TypeVar("_Self", bound="Overlay")
# Before the first record of a file, and behind the last.
_NOTHING = fmt.Record(0, 0, 0, 0, 0, 0, 0, fmt.NO_HASH)
_BEHIND = fmt.Record(1 << 63, 1, 0, 0, 0, 0, 0, fmt.NO_HASH)


class Piece(NamedTuple):
    """The blocks in C(mask) come from C(record) of C(file)."""

    mask: int
    file: DiskFile
    record: fmt.Record


class ResolvedSegment(NamedTuple):
    """Where each block of a segment lies; C(segments) > 1 only for a run that is wholly zero or wholly missing.

    C(missing) are the blocks that no file says anything about.
    """

    segment: int
    segments: int
    zero: int
    pieces: tuple[Piece, ...]
    missing: int = 0

    @property
    def end(self) -> int:
        """Return the number of the first segment after this one."""
        return self.segment + self.segments


class _Cursor:
    """A way upwards through the records of a file: C(record) is the first that ends behind the segment asked for.

    Behind the last there is none, and C(start) and C(end) are further than any segment.
    """

    def __init__(self, file: DiskFile, segment: int) -> None:
        self.file = file
        self._records = file.records.since(segment)
        self.record = _NOTHING
        self.start = self.end = -1

    def advance(self, segment: int) -> None:
        """Go on to the first record that ends behind C(segment)."""
        while self.end <= segment:
            self.record = next(self._records, _BEHIND)
            self.start, self.end = self.record.segment, self.record.end


class Overlay:
    """Disk files, newest first, that need not hold the whole disk; a context manager that closes them."""

    def __init__(self, files: Sequence[DiskFile]) -> None:
        self.files = tuple(files)
        self.geometry = self.files[0].geometry
        for file in self.files:
            if file.geometry != self.geometry:
                raise CorruptVaultError(
                    f"{file.path} describes a disk of {file.geometry.size} bytes, "
                    f"{self.files[0].path} one of {self.geometry.size}",
                    path=file.path,
                    offset=0,
                )

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all files."""
        for file in self.files:
            file.close()

    @property
    def content_state(self) -> str:
        """Return the state of the disk as the newest file and all that it builds on give it."""
        return self.files[0].content_state

    def segments(self, start: int = 0) -> Iterator[ResolvedSegment]:
        """Yield the whole disk from segment C(start) on, in order, without gaps."""
        if not 0 <= start < self.geometry.segments:
            raise IndexError(f"segment {start} of a disk of {self.geometry.segments} segments")
        cursors = [_Cursor(file, start) for file in self.files]
        segment, total = start, self.geometry.segments
        while segment < total:
            resolved = self._resolve(segment, cursors)
            yield resolved
            segment = resolved.end

    def at(self, segment: int) -> ResolvedSegment:
        """Return one segment (and, in a run of zeros, what follows it)."""
        return next(self.segments(segment))

    def read_blocks(self, resolved: ResolvedSegment, only: int = -1) -> dict[int, bytes]:
        """Return the blocks of a segment (those in the mask C(only)) that are not zero, each checked by its hash."""
        found: dict[int, bytes] = {}
        for piece in resolved.pieces:
            wanted = piece.mask & ~piece.record.zero & only
            if wanted:
                found.update(piece.file.read(piece.record, wanted))
        return found

    def read_runs(self, resolved: ResolvedSegment) -> list[BlockRun]:
        """Return the same as C(read_blocks) without copies: blocks that follow each other and lie in one frame."""
        found: list[BlockRun] = []
        for piece in resolved.pieces:
            wanted = piece.mask & ~piece.record.zero
            if wanted:
                found += piece.file.read_runs(piece.record, wanted)
        return found

    def block_hashes(self, resolved: ResolvedSegment) -> dict[int, bytes]:
        """Return block number to hash for the blocks of a segment that are not zero."""
        found: dict[int, bytes] = {}
        for piece in resolved.pieces:
            found.update(piece.file.block_hashes(piece.record, piece.mask))
        return found

    def _resolve(self, segment: int, cursors: Sequence[_Cursor]) -> ResolvedSegment:
        remaining = whole = self.geometry.mask(segment)
        zero = 0
        pieces = []
        limit = self.geometry.segments
        for cursor in cursors:
            if cursor.end <= segment:
                cursor.advance(segment)
            if cursor.start > segment:
                if cursor.start < limit:
                    limit = cursor.start
                continue
            record = cursor.record
            limit = min(limit, cursor.end)
            claim = record.covered & remaining
            if not claim:
                continue
            if claim == whole and not record.stored:
                return ResolvedSegment(segment, limit - segment, whole, ())
            limit = segment + 1
            zero |= claim & record.zero
            pieces.append(Piece(claim, cursor.file, record))
            remaining &= ~claim
            if not remaining:
                break
        if zero == whole:
            return ResolvedSegment(segment, 1, whole, ())
        return ResolvedSegment(segment, limit - segment, zero, tuple(pieces), remaining)


class DiskChain(Overlay):
    """The files of a disk as of a recovery point: the last is a full, so no block is missing."""

    def __init__(self, files: Sequence[DiskFile]) -> None:
        super().__init__(files)
        if not self.files[-1].is_full:
            raise CorruptVaultError(
                f"{self.files[-1].path} is the start of a chain but not a full", path=self.files[-1].path, offset=0
            )

    def table_state(self, below: str | None = None) -> str:
        """Return the state of the whole disk as the hash tables give it.

        C(below) is the state that the files under the newest give: then nothing is looked at but what that one changes.
        """
        content = ContentHash(self.geometry, below)
        if below is None or len(self.files) == 1:
            for resolved in self.segments():
                content.add(resolved.segment, self.block_hashes(resolved))
            return content.state
        newest, base = self.files[0], DiskChain(self.files[1:])
        for record in newest.records:
            segment = record.segment
            while segment < record.end:
                resolved = base.at(segment)
                before = base.block_hashes(resolved)
                content.remove(segment, {block: before[block] for block in before if record.covered >> block & 1})
                segment = resolved.end
            content.add(record.segment, newest.block_hashes(record))
        return content.state

    def content_hash(self, below: str | None = None) -> str:
        """Return the hash of the whole disk as the hash tables give it; C(below) is as for C(table_state)."""
        return ContentHash(self.geometry, self.table_state(below)).hexdigest()

    def another_disk(self) -> CorruptVaultError:
        """Return the error for a chain whose content hash is not that of the manifest."""
        newest = self.files[0].path
        return CorruptVaultError(
            f"{newest} and its bases give another disk than the manifest says", path=newest, offset=0
        )

    def _resolve(self, segment: int, cursors: Sequence[_Cursor]) -> ResolvedSegment:
        resolved = super()._resolve(segment, cursors)
        if resolved.missing:
            last = self.files[-1]
            raise CorruptVaultError(
                f"{last.path} is damaged: blocks {resolved.missing:#x} of segment {segment} are nowhere in the chain",
                path=last.path,
                offset=0,
            )
        return resolved


def open_chain(paths: Sequence[tuple[str, str]]) -> DiskChain:
    """Open the files (path, header hash) of a chain, newest first."""
    return _open(paths, DiskChain)


def open_overlay(paths: Sequence[tuple[str, str]]) -> Overlay:
    """Open files (path, header hash), newest first, that need not hold the whole disk."""
    return _open(paths, Overlay)


def _open(paths: Sequence[tuple[str, str]], kind: Callable[[Sequence[DiskFile]], _Self]) -> _Self:
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(DiskFile(path, header_hash)) for path, header_hash in paths]
        opened = kind(files)
        stack.pop_all()
        return opened
