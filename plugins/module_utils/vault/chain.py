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
from .disk_reader import DiskFile

_Self = TypeVar("_Self", bound="Overlay")


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

    def segments(self, start: int = 0) -> Iterator[ResolvedSegment]:
        """Yield the whole disk from segment C(start) on, in order, without gaps."""
        if not 0 <= start < self.geometry.segments:
            raise IndexError(f"segment {start} of a disk of {self.geometry.segments} segments")
        cursors = [file.record_index(start) for file in self.files]
        segment = start
        while segment < self.geometry.segments:
            resolved = self._resolve(segment, cursors)
            yield resolved
            segment = resolved.end

    def at(self, segment: int) -> ResolvedSegment:
        """Return one segment (and, in a run of zeros, what follows it)."""
        return next(self.segments(segment))

    def read_blocks(self, resolved: ResolvedSegment) -> dict[int, bytes]:
        """Return the blocks of a segment that are not zero, each checked against its hash."""
        found: dict[int, bytes] = {}
        for piece in resolved.pieces:
            wanted = piece.mask & ~piece.record.zero
            if wanted:
                found.update(piece.file.read(piece.record, wanted))
        return found

    def block_hashes(self, resolved: ResolvedSegment) -> dict[int, bytes]:
        """Return block number to hash for the blocks of a segment that are not zero."""
        found: dict[int, bytes] = {}
        for piece in resolved.pieces:
            wanted = piece.mask & ~piece.record.zero
            if not wanted:
                continue
            hashes = piece.file.hashes(piece.record)
            for position, block in enumerate(fmt.bits(piece.record.hashed)):
                if wanted >> block & 1:
                    found[block] = hashes[position * fmt.HASH_SIZE : (position + 1) * fmt.HASH_SIZE]
        return found

    def _resolve(self, segment: int, cursors: list[int]) -> ResolvedSegment:
        remaining = self.geometry.mask(segment)
        whole = remaining
        zero = 0
        pieces = []
        limit = self.geometry.segments
        for number, file in enumerate(self.files):
            record = self._advance(file, number, segment, cursors)
            if record is None:
                continue
            if record.segment > segment:
                limit = min(limit, record.segment)
                continue
            limit = min(limit, record.end)
            claim = record.covered & remaining
            if not claim:
                continue
            if claim == whole and not record.stored:
                return ResolvedSegment(segment, limit - segment, whole, ())
            limit = segment + 1
            zero |= claim & record.zero
            pieces.append(Piece(claim, file, record))
            remaining &= ~claim
            if not remaining:
                break
        if zero == whole:
            return ResolvedSegment(segment, 1, whole, ())
        return ResolvedSegment(segment, limit - segment, zero, tuple(pieces), remaining)

    def _advance(self, file: DiskFile, number: int, segment: int, cursors: list[int]) -> fmt.Record | None:
        records = file.records
        index = cursors[number]
        while index < len(records) and records[index].end <= segment:
            index += 1
        cursors[number] = index
        return records[index] if index < len(records) else None


class DiskChain(Overlay):
    """The files of a disk as of a recovery point: the last is a full, so no block is missing."""

    def __init__(self, files: Sequence[DiskFile]) -> None:
        super().__init__(files)
        if not self.files[-1].is_full:
            raise CorruptVaultError(
                f"{self.files[-1].path} is the start of a chain but not a full", path=self.files[-1].path, offset=0
            )

    def add_to(self, content: ContentHash, resolved: ResolvedSegment) -> None:
        """Add a segment to the hash of the whole disk without reading its data."""
        if not resolved.pieces:
            content.add_zeros(resolved.segment, resolved.segments)
            return
        hashes = self.block_hashes(resolved)
        parts = []
        for block in range(self.geometry.blocks(resolved.segment)):
            length = self.geometry.block_length(resolved.segment, block)
            parts.append(hashes[block] if block in hashes else content.zero_hash_of(length))
        content.add(resolved.segment, b"".join(parts))

    def content_hash(self) -> str:
        """Return the hash of the whole disk as the hash tables give it."""
        content = ContentHash(self.geometry)
        for resolved in self.segments():
            self.add_to(content, resolved)
        return content.hexdigest()

    def _resolve(self, segment: int, cursors: list[int]) -> ResolvedSegment:
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
