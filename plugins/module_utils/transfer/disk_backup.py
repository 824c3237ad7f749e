# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""One disk into one disk file: read what may have changed, hash it, store what differs from the base."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ..images.types import DiskImage, Piece, Span
from ..vault.chain import DiskChain, ResolvedSegment
from ..vault.content_hash import ContentHash, hash_blocks
from ..vault.disk_writer import NO_FRAME, DiskWriter, Frame, FrameCompressor
from ..vault.format import Geometry, bits, mask_of
from ..vault.pool import OrderedPool
from .changes import Changes, complement, widened
from .work import Work, plan_work

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Comparison:
    """What two extent maps say: only C(changes) can differ from C(reference), the image that the base was read from."""

    reference: DiskImage
    changes: Changes


@dataclass(frozen=True)
class DiskResult:
    """What the transfer of a disk came to. Bytes, before compression for C(changed)."""

    content_hash: str
    content_state: str
    read: int
    changed: int


class _Encoded(NamedTuple):
    """A segment after hashing and compression, or a run of zeros; C(added) and C(removed) are for the content hash."""

    segment: int
    segments: int
    zeros: bool
    stored: int = 0
    zero: int = 0
    stored_hashes: bytes = b""
    frame: Frame = NO_FRAME
    changed: int = 0
    added: int = 0
    removed: int = 0


def backup_disk(
    image: DiskImage,
    writer: DiskWriter,
    geometry: Geometry,
    compressor: FrameCompressor,
    *,
    base: DiskChain | None = None,
    comparison: Comparison | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
    watch: Callable[[], None] | None = None,
    at_rest: bool = True,
) -> DiskResult:
    """Transfer a disk: all of it without C(base), else what differs from it.

    With C(comparison), which needs a base, nothing else is looked at than the changes that it names. C(progress) is
    called with the bytes done and the size of the disk, C(watch) before each read: it may raise. A disk that is not
    C(at_rest) may be written to meanwhile. The writer is not finished here.
    """
    if image.size != geometry.size or (base is not None and base.geometry != geometry):
        raise ValueError(f"{image.name} has {image.size} bytes, that does not fit {tuple(geometry)} or the base")
    if comparison is None:
        data = widened(image.data_spans(), geometry.block_size, geometry.size)
        pieces = image.read(data, step=geometry.segment_size)
        changes = Changes(tuple(data), tuple(complement(data, geometry.size)))
    else:
        changes = comparison.changes
        pieces = image.read_differing(
            comparison.reference, changes.data, step=geometry.segment_size, block=geometry.block_size
        )
    transfer = _Transfer(writer, geometry, compressor, base, fresh=comparison is None, progress=progress)
    read_before = image.bytes_read
    # In this order: work that has failed must not leave a connection with half an answer.
    with contextlib.closing(pieces), OrderedPool(transfer.store, workers) as pool:
        for work in plan_work(_watched(pieces, watch), changes.zeros, geometry, base):
            if work.zero_run:
                pool.put(transfer.zero_run(work))
            else:
                pool.submit(transfer.encode, work)
    if at_rest:
        image.check_unchanged()
    content = transfer.content
    return DiskResult(content.hexdigest(), content.state, image.bytes_read - read_before, transfer.changed)


def _watched(pieces: Iterator[Piece], watch: Callable[[], None] | None) -> Iterator[Piece]:
    while True:
        if watch is not None:
            watch()
        piece = next(pieces, None)
        if piece is None:
            return
        yield piece


class _Transfer:
    """The state of one disk's transfer; C(encode) runs in threads, everything else in the caller's.

    C(fresh): every block of the disk is looked at, so its hash is made anew; else it is the base's, with what changed.
    """

    def __init__(
        self,
        writer: DiskWriter,
        geometry: Geometry,
        compressor: FrameCompressor,
        base: DiskChain | None,
        *,
        fresh: bool,
        progress: Progress | None,
    ) -> None:
        self._writer = writer
        self._geometry = geometry
        self._compressor = compressor
        self._base = base
        self._fresh = fresh
        self._progress = progress
        self.content = ContentHash(geometry, None if fresh or base is None else base.content_state)
        self.changed = 0

    def zero_run(self, work: Work) -> _Encoded:
        """Return what is to be stored for whole segments that are zeros and were so or are in no base."""
        known = work.base is not None
        return _Encoded(work.segment, work.segments, True, zero=0 if known else self._geometry.mask(work.segment))

    def encode(self, work: Work) -> _Encoded:
        """Hash the blocks of a segment, compare them with the base and compress those to be stored."""
        geometry, segment, size = self._geometry, work.segment, self._geometry.block_size
        raw, touched = self._assemble(work)
        known = self._known(work.base)
        hashes = hash_blocks(raw, size, bits(touched))
        zero = touched & ~mask_of(hashes)
        changed = mask_of(block for block, value in hashes.items() if known.get(block) != value)
        changed |= zero & mask_of(known)
        added = removed = 0
        if self._fresh:
            added = self.content.term(segment, hashes)
        elif changed:
            added = self.content.term(segment, {block: hashes[block] for block in bits(changed & ~zero)})
            removed = self.content.term(segment, {block: known[block] for block in bits(changed) if block in known})
        whole = geometry.mask(segment)
        if self._base is None:
            changed = whole
        item = _Encoded(segment, 1, changed == whole == zero, zero=changed & zero, added=added, removed=removed)
        if item.zeros or not changed:
            return item
        # In a full the frames give the whole disk, zeros included.
        stored = whole if self._base is None else changed & ~zero
        if not stored:
            return item
        data = raw if stored == whole else b"".join(raw[block * size : (block + 1) * size] for block in bits(stored))
        return item._replace(
            stored=stored,
            stored_hashes=b"".join(hashes[block] for block in bits(stored & ~zero)),
            frame=self._compressor.compress(data),
            changed=len(data),
        )

    def _known(self, resolved: ResolvedSegment | None) -> Mapping[int, bytes]:
        if self._base is None or resolved is None or not resolved.pieces:
            return {}
        return self._base.block_hashes(resolved)

    def _assemble(self, work: Work) -> tuple[bytes | bytearray, int]:
        """Return the segment as it is now, as far as blocks were touched, and the mask of these.

        What was not read of a block that was touched comes from the base.
        """
        geometry = self._geometry
        begin, length = work.segment * geometry.segment_size, geometry.segment_length(work.segment)
        if len(work.pieces) == 1 and len(work.pieces[0].data) == length:
            return work.pieces[0].data, geometry.mask(work.segment)
        spans = [Span(piece.offset, piece.offset + len(piece.data)) for piece in work.pieces]
        touched, partly = _touched([*spans, *work.zeros], geometry, work.segment)
        if touched == geometry.mask(work.segment) and not partly:
            parts = [(piece.offset, piece.data) for piece in work.pieces]
            parts += [(span.start, bytes(span.end - span.start)) for span in work.zeros]
            return b"".join(data for _offset, data in sorted(parts)), touched
        raw = bytearray(length)
        if partly and self._base is not None and work.base is not None:
            for block, content in self._base.read_blocks(work.base, partly).items():
                raw[block * geometry.block_size : block * geometry.block_size + len(content)] = content
        for span in work.zeros:
            raw[span.start - begin : span.end - begin] = bytes(span.end - span.start)
        for piece in work.pieces:
            raw[piece.offset - begin : piece.offset - begin + len(piece.data)] = piece.data
        return raw, touched

    def store(self, item: _Encoded) -> None:
        """Write a segment, in order."""
        if item.zeros:
            if item.zero:
                self._writer.add_zeros(item.segment, item.segments)
        elif item.stored | item.zero:
            self._writer.add_frame(item.segment, item.stored, item.zero, item.stored_hashes, item.frame)
        self.content.add_term(item.added)
        self.content.remove_term(item.removed)
        self.changed += item.changed
        if self._progress is not None:
            end = (item.segment + item.segments) * self._geometry.segment_size
            self._progress(min(end, self._geometry.size), self._geometry.size)


def _touched(spans: list[Span], geometry: Geometry, segment: int) -> tuple[int, int]:
    """Return the masks of the blocks of a segment that the spans touch, and of those that they do not cover wholly."""
    begin, size = segment * geometry.segment_size, geometry.block_size
    covered: dict[int, int] = {}
    for span in spans:
        position = span.start - begin
        end = span.end - begin
        while position < end:
            block = position // size
            step = min((block + 1) * size, end)
            covered[block] = covered.get(block, 0) + step - position
            position = step
    touched = partly = 0
    for block, count in covered.items():
        touched |= 1 << block
        if count < geometry.block_length(segment, block):
            partly |= 1 << block
    return touched, partly
