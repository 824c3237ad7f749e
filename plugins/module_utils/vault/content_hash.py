# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The state of a disk as one hash, whatever files it is spread over.

C(content_hash) is the BLAKE3 of the BLAKE3 hashes of all blocks of the disk in order, zeros included. Two recovery
points have the same value exactly when their disks are equal, so a restore, a synthetic full and a verification all
check against the same number, and it costs nothing more than the hashes that are made anyway.
"""

from __future__ import annotations

from .._libraries import blake3
from .format import HASH_SIZE, Geometry

_RUN = 256


class ContentHash:
    """Collects the block hashes of a disk, segment after segment."""

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self._hasher = blake3.blake3()
        self._zero = blake3.blake3(bytes(geometry.block_size)).digest()
        self._zero_segment = self._zero * (geometry.segment_size // geometry.block_size)
        self._zero_run = self._zero_segment * _RUN
        self._next = 0

    def zero_hash_of(self, length: int) -> bytes:
        """Return the hash of C(length) zero bytes."""
        if length == self._geometry.block_size:
            return self._zero
        return bytes(blake3.blake3(bytes(length)).digest())

    def add(self, segment: int, hashes: bytes) -> None:
        """Add the hashes of all blocks of one segment, 32 bytes each."""
        if segment != self._next or len(hashes) != self._geometry.blocks(segment) * HASH_SIZE:
            raise ValueError(f"segment {segment} with {len(hashes)} bytes of hashes does not follow {self._next - 1}")
        self._hasher.update(hashes)
        self._next += 1

    def add_zeros(self, segment: int, count: int) -> None:
        """Add a run of segments that are zeros."""
        if segment != self._next:
            raise ValueError(f"segment {segment} does not follow {self._next - 1}")
        end = segment + count
        last = self._geometry.segments - 1
        whole = count - 1 if end > last else count
        for _run in range(whole // _RUN):
            self._hasher.update(self._zero_run)
        self._hasher.update(self._zero_segment * (whole % _RUN))
        if end > last:
            for block in range(self._geometry.blocks(last)):
                self._hasher.update(self.zero_hash_of(self._geometry.block_length(last, block)))
        self._next = end

    def hexdigest(self) -> str:
        """Return the hash of the whole disk; raise C(ValueError) when segments are missing."""
        if self._next != self._geometry.segments:
            raise ValueError(f"{self._next} of {self._geometry.segments} segments were added")
        return str(self._hasher.hexdigest())
