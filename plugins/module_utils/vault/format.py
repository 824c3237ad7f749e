# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The disk file, byte by byte: constants, records, frames, seek table and trailer.

A disk file is a Zstandard file in the seekable format::

    data frames ...          independent frames; in a full they give, one after the other, the raw disk
    skippable 0x184D2A50     segment records, RECORD.size bytes each, ascending by segment
    skippable 0x184D2A51     BLAKE3 hashes, 32 bytes each, of the stored blocks that are not zero (split in several
                             frames when there are more than HASHES_PER_FRAME of them)
    skippable 0x184D2A53     BLAKE3 of each HASHES_PER_DIGEST of these hashes, so that some can be read and trusted
    skippable 0x184D2A52     header, JSON: sizes, counts, the state of the disk, and the BLAKE3 of the tables
    skippable 0x184D2A5E     seek table of the Zstandard seekable format

The disk is cut in segments of 1 MiB, a segment in blocks of 64 KiB (both stand in the header). A data frame holds
blocks of one segment. A record says which blocks of its segment the frame holds and which are zeros; a block in neither
mask is not in this file and comes from the base point.
"""

from __future__ import annotations

import functools
import json
import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

from .._libraries import blake3

FORMAT_NAME = "ovm.backup disk"
FORMAT_VERSION = 1
BLOCK_SIZE = 64 * 1024
SEGMENT_SIZE = 1024 * 1024
HASH_SIZE = 32
HASHES_PER_FRAME = 8 * 1024 * 1024
HASHES_PER_DIGEST = 2048
# A reader holds a few segments in memory: a file that claims larger ones is not ours.
SEGMENT_LIMIT = 64 * 1024 * 1024

MAGIC_RECORDS = 0x184D2A50
MAGIC_HASHES = 0x184D2A51
MAGIC_HEADER = 0x184D2A52
MAGIC_DIGESTS = 0x184D2A53
MAGIC_SEEK_TABLE = 0x184D2A5E
MAGIC_SEEKABLE = 0x8F92EAB1

SKIPPABLE = struct.Struct("<II")  # magic, size of the content
SKIPPABLE_SIZE = struct.calcsize("<II")
SEEK_ENTRY = struct.Struct("<II")  # compressed size, size of what it decompresses to
SEEK_FOOTER = struct.Struct("<IBI")  # number of frames, descriptor (0: no checksums), MAGIC_SEEKABLE
RECORD = struct.Struct("<IIQQQQQ32s")
NO_HASH = bytes(HASH_SIZE)


class Record(NamedTuple):
    """What a disk file knows of a segment, or of a run of segments that are wholly zero.

    C(stored) and C(zero) are bit masks over the blocks of the segment. In a full a data frame holds its whole segment,
    so C(zero) may overlap C(stored): such a block need not be read. C(first_hash) is the index of the hash of the first
    block that is stored and not zero; the hashes of the others follow. C(frame_hash) is the BLAKE3 of the frame as it
    lies in the file, C(NO_HASH) where no block is stored.
    """

    segment: int
    segments: int
    offset: int
    length: int
    stored: int
    zero: int
    first_hash: int
    frame_hash: bytes

    @property
    def end(self) -> int:
        """Return the number of the first segment after this record."""
        return self.segment + self.segments

    @property
    def covered(self) -> int:
        """Return the mask of the blocks whose content this record gives."""
        return self.stored | self.zero

    @property
    def hashed(self) -> int:
        """Return the mask of the blocks that have a hash."""
        return self.stored & ~self.zero


class Geometry(NamedTuple):
    """How a disk of C(size) bytes is cut."""

    size: int
    block_size: int = BLOCK_SIZE
    segment_size: int = SEGMENT_SIZE

    @property
    def segments(self) -> int:
        """Return the number of segments, the last of which may be short."""
        return -(-self.size // self.segment_size)

    def segment_length(self, segment: int) -> int:
        """Return the length of a segment in bytes."""
        return min(self.segment_size, self.size - segment * self.segment_size)

    def blocks(self, segment: int) -> int:
        """Return the number of blocks of a segment."""
        return -(-self.segment_length(segment) // self.block_size)

    def mask(self, segment: int) -> int:
        """Return the mask that has a bit for every block of a segment."""
        return (1 << self.blocks(segment)) - 1

    def block_length(self, segment: int, block: int) -> int:
        """Return the length of a block in bytes: the last one of the disk may be short."""
        return min(self.block_size, self.segment_length(segment) - block * self.block_size)

    def mask_length(self, segment: int, mask: int) -> int:
        """Return the length of the blocks in a mask together."""
        length = bit_count(mask) * self.block_size
        last = self.blocks(segment) - 1
        if mask >> last & 1:
            length -= self.block_size - self.block_length(segment, last)
        return length

    def check(self) -> None:
        """Raise C(ValueError) when a mask of 64 bits or a table of records could not describe this disk."""
        if min(self) <= 0 or self.segment_size % self.block_size or self.segment_size > SEGMENT_LIMIT:
            raise ValueError(f"sizes do not fit each other: {tuple(self)}")
        # All records have to fit in one skippable frame, whose size is a 32 bit number.
        if self.segment_size // self.block_size > 64 or self.segments > 0xFFFFFFFF // RECORD.size:
            raise ValueError(f"more blocks than a record can describe: {tuple(self)}")


@functools.lru_cache(maxsize=4096)
def bits(mask: int) -> tuple[int, ...]:
    """Return the numbers of the bits that are set, ascending."""
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return tuple(found)


@functools.lru_cache(maxsize=4096)
def runs(mask: int) -> tuple[tuple[int, int], ...]:
    """Return the runs of bits that are set, ascending, each as its first number and its length."""
    found: list[tuple[int, int]] = []
    for bit in bits(mask):
        if found and sum(found[-1]) == bit:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((bit, 1))
    return tuple(found)


def up_to(mask: int, wanted: int) -> int:
    """Return the bits of a mask that come before, or at, the last of those which are C(wanted) too."""
    return mask & ((1 << (mask & wanted).bit_length()) - 1)


def mask_of(numbers: Iterable[int]) -> int:
    """Return the mask with these bits set."""
    mask = 0
    for number in numbers:
        mask |= 1 << number
    return mask


def bit_count(mask: int) -> int:
    """Return how many bits are set (int.bit_count is not in Python 3.9)."""
    return bin(mask).count("1")


def skippable(magic: int, content: bytes) -> bytes:
    """Return C(content) as a skippable frame, which any Zstandard decoder passes over."""
    return SKIPPABLE.pack(magic, len(content)) + content


def canonical(document: Any) -> bytes:
    """Return the one JSON text of a document that is hashed and stored."""
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    # Half of a surrogate pair, which a name from outside may hold, becomes a JSON escape.
    return text.encode("utf-8", "backslashreplace")


def digest(data: bytes) -> str:
    """Return the BLAKE3 hash as hexadecimal text."""
    return blake3.blake3(data).hexdigest()
