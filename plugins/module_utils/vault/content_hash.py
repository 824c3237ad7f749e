# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The content of a disk as one hash, whatever files it is spread over, that can be brought up to date.

Each block that is not zero has an element: 2048 bits from BLAKE3 over its number on the disk and its hash. The state of
a disk is the sum of the elements modulo 2**2048, and C(content_hash) is the BLAKE3 of the disk's size, its block size
and the state. So an increment takes the elements of the blocks that it replaces out and puts its own in: what it costs
depends on the changes and not on the disk. Blocks of zeros have no element and cost nothing, and the order in which
blocks are added does not matter.

Why a sum will do. This is the construction that Bellare and Micciancio proposed in 1997 (AdHash), a relative of LtHash,
which adds vectors in place of numbers. Two disks with one state would be a way to make a sum of elements zero; elements
cannot be chosen, only tried. The best that is known against it, the generalised birthday attack, takes about
2**(2 * sqrt(n)) steps for sums of n bits: 2**90 for 2048, with a disk of 2**45 blocks; small disks take more. Adding
one element many times, which breaks sums of small numbers, is impossible, for the number of the block is in it and each
block is there once. Against accidents it is as good as any hash of 256 bits. And no block is ever trusted on the
strength of the sum: each has a BLAKE3 hash of its own, for which header and manifest vouch. The sum tells whether the
blocks, together, are the disk that was backed up.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable, Mapping

from .._libraries import blake3
from .format import Geometry

# What only this hash is made with; a change of the rule would get another one.
CONTEXT = "ovm.backup 2026 element of a disk's content hash"
STATE_SIZE = 256
_MASK = (1 << 8 * STATE_SIZE) - 1
_ELEMENT = struct.Struct("<Q")  # the block's number, before its hash
_SIZES = struct.Struct("<QQ")  # sizes of the disk and of a block, before the state
# A block that is not zero seldom begins with so many zeros: it is not compared as a whole.
_PROBE = bytes(16)


class ContentHash:
    """The state of a disk, from nothing but zeros or from C(state) on."""

    def __init__(self, geometry: Geometry, state: str | None = None) -> None:
        self._geometry = geometry
        self._per_segment = geometry.segment_size // geometry.block_size
        self._sum = parse_state(state) if state is not None else 0
        self._element = blake3.blake3(derive_key_context=CONTEXT)

    def term(self, segment: int, hashes: Mapping[int, bytes]) -> int:
        """Return what the blocks of a segment add to the state: C(hashes) of those that are not zero, by their number.

        It changes nothing, so threads may compute terms side by side.
        """
        first = segment * self._per_segment
        total = 0
        for block, value in hashes.items():
            element = self._element.copy()
            element.update(_ELEMENT.pack(first + block) + value)
            total += int.from_bytes(element.digest(STATE_SIZE), "little")
        return total

    def add_term(self, term: int) -> None:
        """Put blocks in by their term."""
        self._sum = (self._sum + term) & _MASK

    def remove_term(self, term: int) -> None:
        """Take blocks out by their term."""
        self._sum = (self._sum - term) & _MASK

    def add(self, segment: int, hashes: Mapping[int, bytes]) -> None:
        """Put blocks of a segment in that were zero."""
        self.add_term(self.term(segment, hashes))

    def remove(self, segment: int, hashes: Mapping[int, bytes]) -> None:
        """Take blocks of a segment out: they are zero then."""
        self.remove_term(self.term(segment, hashes))

    @property
    def state(self) -> str:
        """Return the state as hexadecimal text, little end first."""
        return self._sum.to_bytes(STATE_SIZE, "little").hex()

    def hexdigest(self) -> str:
        """Return the hash of the whole disk."""
        sizes = _SIZES.pack(self._geometry.size, self._geometry.block_size)
        return str(blake3.blake3(sizes + self._sum.to_bytes(STATE_SIZE, "little")).hexdigest())


def parse_state(text: object) -> int:
    """Return the number of a state; raise C(ValueError) for anything that no C(state) gave."""
    if isinstance(text, str) and len(text) == 2 * STATE_SIZE:
        number = int.from_bytes(bytes.fromhex(text), "little")
        if number.to_bytes(STATE_SIZE, "little").hex() == text:
            return number
    raise ValueError(f"the state of a disk is {2 * STATE_SIZE} hexadecimal digits")


@functools.lru_cache(maxsize=4)
def zeros(length: int) -> bytes:
    """Return so many zero bytes, always the same."""
    return bytes(length)


def hash_blocks(raw: bytes | bytearray, block_size: int, blocks: Iterable[int] | None = None) -> dict[int, bytes]:
    """Return the hashes of the blocks of a segment that are not zero, by their number; of C(blocks) only, if given."""
    found: dict[int, bytes] = {}
    zero = zeros(block_size)
    hasher = blake3.blake3
    with memoryview(raw) as view:
        for block in range(-(-len(raw) // block_size)) if blocks is None else blocks:
            start = block * block_size
            if raw.startswith(_PROBE, start) or len(raw) - start < len(_PROBE):
                piece = raw[start : start + block_size]
                if piece == (zero if len(piece) == block_size else bytes(len(piece))):
                    continue
            found[block] = hasher(view[start : start + block_size]).digest()
    return found
