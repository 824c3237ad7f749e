# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""One disk into one disk file: read what may have data, hash it, store what differs from the base."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ..vault.chain import DiskChain, ResolvedSegment
from ..vault.content_hash import ContentHash, hash_blocks
from ..vault.disk_writer import NO_FRAME, DiskWriter, Frame, FrameCompressor
from ..vault.format import Geometry
from ..vault.pool import OrderedPool
from .source import ImageSource, Run

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class DiskResult:
    """What the transfer of a disk came to. Bytes, before compression for C(changed)."""

    content_hash: str
    content_state: str
    read: int
    changed: int


class _Work(NamedTuple):
    """Segments to look at: one with data, or a run that the source knows to be zeros."""

    segment: int
    segments: int
    data: bool
    base: ResolvedSegment | None


class _Encoded(NamedTuple):
    """A segment after hashing and compression: C(term) is that of all its blocks, C(hashes) are those to be stored."""

    segment: int
    segments: int
    zeros: bool
    stored: int
    zero: int
    term: int
    hashes: bytes
    frame: Frame
    changed: int


def backup_disk(
    source: ImageSource,
    writer: DiskWriter,
    geometry: Geometry,
    compressor: FrameCompressor,
    *,
    base: DiskChain | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
    watch: Callable[[], None] | None = None,
    at_rest: bool = True,
) -> DiskResult:
    """Transfer a disk: all of it without C(base), else what differs from it.

    C(progress) is called with the bytes done and the size of the disk, C(watch) before each read: it may raise. A disk
    that is not C(at_rest) may be written to meanwhile. The writer is not finished here.
    """
    if source.size != geometry.size or (base is not None and base.geometry != geometry):
        raise ValueError(f"{source.path} has {source.size} bytes, that does not fit {tuple(geometry)} or the base")
    transfer = _Transfer(writer, geometry, compressor, base, progress)
    with OrderedPool(transfer.store, workers) as pool:
        for work in _plan_work(source, geometry, base):
            if not work.data:
                pool.put(transfer.zeros(work))
                continue
            if watch is not None:
                watch()
            raw = source.read(work.segment * geometry.segment_size, geometry.segment_length(work.segment))
            transfer.read += len(raw)
            pool.submit(transfer.encode, work, raw)
    if at_rest:
        source.check_unchanged()
    return DiskResult(transfer.content.hexdigest(), transfer.content.state, transfer.read, transfer.changed)


def _plan_work(source: ImageSource, geometry: Geometry, base: DiskChain | None) -> Iterator[_Work]:
    for run in source.runs(geometry):
        if base is None:
            yield from _split(run, None)
            continue
        segment = run.segment
        while segment < run.end:
            resolved = base.at(segment)
            part = Run(segment, min(resolved.end, run.end) - segment, run.data)
            yield from _split(part, resolved)
            segment = part.end


def _split(run: Run, resolved: ResolvedSegment | None) -> Iterator[_Work]:
    if run.data:
        for segment in range(run.segment, run.end):
            yield _Work(segment, 1, True, resolved)
    else:
        yield _Work(run.segment, run.segments, False, resolved)


class _Transfer:
    """The state of one disk's transfer; C(encode) runs in threads, everything else in the caller's."""

    def __init__(
        self,
        writer: DiskWriter,
        geometry: Geometry,
        compressor: FrameCompressor,
        base: DiskChain | None,
        progress: Progress | None,
    ) -> None:
        self._writer = writer
        self._geometry = geometry
        self._compressor = compressor
        self._base = base
        self._progress = progress
        self.content = ContentHash(geometry)
        self.read = 0
        self.changed = 0

    def zeros(self, work: _Work) -> _Encoded:
        """Return what is to be stored for segments that are zeros now."""
        if work.base is None:
            return self._zero_run(work)
        whole = self._geometry.mask(work.segment)
        if not work.base.pieces:
            return self._zero_run(work)._replace(zero=0)
        vanished = whole & ~work.base.zero
        return self._zero_run(work)._replace(zero=vanished, zeros=vanished == whole)

    def _zero_run(self, work: _Work) -> _Encoded:
        zero = self._geometry.mask(work.segment)
        return _Encoded(work.segment, work.segments, True, 0, zero, 0, b"", NO_FRAME, 0)

    def encode(self, work: _Work, raw: bytes) -> _Encoded:
        """Hash the blocks of a segment, compare them with the base and compress those to be stored."""
        geometry, segment, size = self._geometry, work.segment, self._geometry.block_size
        whole = geometry.mask(segment)
        hashes = hash_blocks(raw, size)
        zero = whole & ~sum(1 << block for block in hashes)
        term = self.content.term(segment, hashes)
        if self._base is None or work.base is None:
            if zero == whole:
                return _Encoded(segment, 1, True, 0, zero, term, b"", NO_FRAME, 0)
            kept = b"".join(hashes.values())
            return _Encoded(segment, 1, False, whole, zero, term, kept, self._compressor.compress(raw), len(raw))
        known = self._base.block_hashes(work.base)
        stored = {block: value for block, value in hashes.items() if known.get(block) != value}
        vanished = zero & sum(1 << block for block in known)
        if vanished == whole:
            return _Encoded(segment, 1, True, 0, zero, term, b"", NO_FRAME, 0)
        data = b"".join(raw[block * size : (block + 1) * size] for block in stored)
        frame = self._compressor.compress(data) if data else NO_FRAME
        mask = sum(1 << block for block in stored)
        return _Encoded(segment, 1, False, mask, vanished, term, b"".join(stored.values()), frame, len(data))

    def store(self, item: _Encoded) -> None:
        """Write a segment, in order."""
        self.content.add_term(item.term)
        if item.zeros:
            if item.zero:
                self._writer.add_zeros(item.segment, item.segments)
        elif item.stored | item.zero:
            self._writer.add_frame(item.segment, item.stored, item.zero, item.hashes, item.frame)
        self.changed += item.changed
        if self._progress is not None:
            end = (item.segment + item.segments) * self._geometry.segment_size
            self._progress(min(end, self._geometry.size), self._geometry.size)
