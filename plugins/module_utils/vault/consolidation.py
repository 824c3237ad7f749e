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
from .disk_writer import DiskWriter, FrameCompressor
from .pool import OrderedPool

# Called with the bytes of the disk that are done and its size.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class MergeResult:
    """What a merge came to: the hash of the whole disk, where the files hold all of it, and what became of the frames.

    C(copied) frames were taken as they are, C(repacked) frames were compressed anew.
    """

    content_hash: str | None
    copied: int
    repacked: int


class _Merged(NamedTuple):
    """A segment that is ready to be written. C(frame) is empty when there is nothing but zeros or nothing at all."""

    resolved: ResolvedSegment
    stored: int
    zero: int
    hashes: bytes
    frame: bytes
    copied: bool


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
                pool.put(_Merged(resolved, 0, resolved.zero, b"", b"", False))
    content_hash = merge.content.hexdigest() if merge.content is not None else None
    return MergeResult(content_hash, merge.copied, merge.repacked)


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
        self._chain = overlay if isinstance(overlay, DiskChain) else None
        self.content = ContentHash(self._geometry) if self._chain is not None else None
        self.copied = 0
        self.repacked = 0

    def pack(self, resolved: ResolvedSegment) -> _Merged:
        """Return a segment as one frame: that of a file if it is just what is wanted, else a new one."""
        whole = self._geometry.mask(resolved.segment)
        data = whole & ~resolved.zero & ~resolved.missing
        # In a full the frames give the whole disk, zeros included.
        stored = whole if self._writer.full else data
        hashes = b"".join(value for _block, value in sorted(self._overlay.block_hashes(resolved).items()))
        source = next((piece for piece in resolved.pieces if _supplies(piece, stored, data)), None)
        if source is not None and data:
            frame = source.file.verified_frame(source.record)
        else:
            frame = self._compress(resolved, stored) if data else b""
        return _Merged(resolved, stored, resolved.zero, hashes, frame, source is not None)

    def _compress(self, resolved: ResolvedSegment, stored: int) -> bytes:
        blocks = self._overlay.read_blocks(resolved)
        parts = []
        for block in fmt.bits(stored):
            parts.append(blocks.get(block) or bytes(self._geometry.block_length(resolved.segment, block)))
        return self._compressor.compress(b"".join(parts))

    def store(self, item: _Merged) -> None:
        """Write a segment, or a run of zeros, in order."""
        resolved = item.resolved
        if item.frame or (resolved.pieces and item.zero):
            self._writer.add_frame(resolved.segment, item.stored, item.zero, item.hashes, item.frame)
        elif item.zero:
            self._writer.add_zeros(resolved.segment, resolved.segments)
        if item.frame:
            self.copied += item.copied
            self.repacked += not item.copied
        if self._chain is not None and self.content is not None:
            self._chain.add_to(self.content, resolved)
        if self._progress is not None:
            size = self._geometry.size
            self._progress(min(resolved.end * self._geometry.segment_size, size), size)


def _supplies(piece: Piece, stored: int, data: int) -> bool:
    """Return whether the frame of a piece holds the blocks in C(stored), and all of those in C(data) are its own."""
    record = piece.record
    return record.stored == stored and record.hashed == data and piece.mask & record.hashed == data
