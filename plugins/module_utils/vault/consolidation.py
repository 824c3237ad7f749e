# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Several disk files into one that says the same: frames are copied as they are where they are still wholly wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, NamedTuple

from . import format as fmt
from .chain import DiskChain, Overlay, Piece, ResolvedSegment
from .content_hash import ContentHash
from .disk_writer import NO_FRAME, DiskWriter, Frame, FrameCompressor
from .pool import OrderedPool

# Called with the bytes of the disk that are done and its size.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class MergeResult:
    """What a merge came to: state and hash of the whole disk, and what became of the frames.

    Where the files hold all of the disk, both are what their tables give; else the state is what the newest file says,
    and there is no hash. C(copied) frames were taken as they are, C(repacked) frames were compressed anew.
    """

    content_state: str
    content_hash: str | None
    copied: int
    repacked: int


class _Merged(NamedTuple):
    """A segment that is ready to be written. There is C(NO_FRAME) for nothing but zeros or nothing at all.

    C(term) is what the segment adds to the state of the disk.
    """

    resolved: ResolvedSegment
    stored: int
    zero: int
    hashes: bytes
    frame: Frame
    copied: bool
    term: int


def merge_disk_files(
    overlay: Overlay,
    writer: DiskWriter,
    compressor: FrameCompressor,
    *,
    progress: Progress | None = None,
    workers: int | None = None,
) -> MergeResult:
    """Write what the files of C(overlay) say together into one file.

    A writer of a full needs files that hold the whole disk. One of an incremental stores what they say and nothing
    else: a block that is in none of them still comes from the base. All data is checked against its hashes, also what
    is copied; raises C(CorruptVaultError) at the first that is not what was backed up. The writer is not finished here.
    """
    if overlay.geometry != writer.geometry:
        raise ValueError(f"files of {tuple(overlay.geometry)} do not fit a writer of {tuple(writer.geometry)}")
    merge = _Merge(overlay, writer, compressor, progress)
    with OrderedPool(merge.store, workers) as pool:
        for resolved in overlay.segments():
            if resolved.pieces:
                pool.submit(merge.pack, resolved)
            else:
                pool.put(_Merged(resolved, 0, resolved.zero, b"", NO_FRAME, False, 0))
    if not isinstance(overlay, DiskChain):
        return MergeResult(overlay.content_state, None, merge.copied, merge.repacked)
    return MergeResult(merge.content.state, merge.content.hexdigest(), merge.copied, merge.repacked)


class _Merge:
    """The state of one merge; C(pack) runs in threads, everything else in the caller's."""

    def __init__(
        self, overlay: Overlay, writer: DiskWriter, compressor: FrameCompressor, progress: Progress | None
    ) -> None:
        self._overlay = overlay
        self._geometry = overlay.geometry
        self._writer = writer
        self._compressor = compressor
        self._progress = progress
        self.content = ContentHash(self._geometry)
        self.copied = 0
        self.repacked = 0

    def pack(self, resolved: ResolvedSegment) -> _Merged:
        """Return a segment as one frame: that of a file if it is just what is wanted, else a new one."""
        whole = self._geometry.mask(resolved.segment)
        data = whole & ~resolved.zero & ~resolved.missing
        # In a full the frames give the whole disk, zeros included.
        stored = whole if self._writer.full else data
        hashes = dict(sorted(self._overlay.block_hashes(resolved).items()))
        source = next((piece for piece in resolved.pieces if _supplies(piece, stored, data)), None)
        frame = NO_FRAME
        if source is not None and data:
            frame = Frame(source.file.verified_frame(source.record), source.record.frame_hash)
        elif data:
            frame = self._compress(resolved, stored)
        term = self.content.term(resolved.segment, hashes)
        return _Merged(resolved, stored, resolved.zero, b"".join(hashes.values()), frame, source is not None, term)

    def _compress(self, resolved: ResolvedSegment, stored: int) -> Frame:
        blocks = self._overlay.read_blocks(resolved)
        parts = []
        for block in fmt.bits(stored):
            parts.append(blocks.get(block) or bytes(self._geometry.block_length(resolved.segment, block)))
        return self._compressor.compress(b"".join(parts))

    def store(self, item: _Merged) -> None:
        """Write a segment, or a run of zeros, in order."""
        resolved = item.resolved
        if item.frame.data or (resolved.pieces and item.zero):
            self._writer.add_frame(resolved.segment, item.stored, item.zero, item.hashes, item.frame)
        elif item.zero:
            self._writer.add_zeros(resolved.segment, resolved.segments)
        if item.frame.data:
            self.copied += item.copied
            self.repacked += not item.copied
        self.content.add_term(item.term)
        if self._progress is not None:
            size = self._geometry.size
            self._progress(min(resolved.end * self._geometry.segment_size, size), size)


def _supplies(piece: Piece, stored: int, data: int) -> bool:
    """Return whether the frame of a piece holds the blocks in C(stored), and all of those in C(data) are its own."""
    record = piece.record
    return record.stored == stored and record.hashed == data and piece.mask & record.hashed == data
