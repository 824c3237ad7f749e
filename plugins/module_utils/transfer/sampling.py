# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""A random part of what extent maps call unchanged, read again and compared with what the vault has of it.

It costs little and finds what no reasoning about maps can: a kernel, a storage array or an administrator that does not
do what we think.
"""

from __future__ import annotations

import bisect
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from .._libraries import blake3
from ..errors import ChangeDetectionError
from ..images.types import DiskImage, Span
from ..vault.chain import DiskChain
from ..vault.format import Geometry
from .changes import Changes, complement, total

# So many at least, however small the disk or the share is, unless the share is 0.
_FEWEST_BLOCKS = 16


@dataclass(frozen=True)
class Sample:
    """Blocks of the disk, ascending: C(spans) of what is unchanged, C(zeros) of what reads as zeros now."""

    spans: tuple[Span, ...]
    zeros: tuple[Span, ...] = ()

    @property
    def size(self) -> int:
        """Return its bytes."""
        return total(self.spans) + total(self.zeros)


def draw_sample(
    data: Sequence[Span], changes: Changes, geometry: Geometry, *, percent: float, chance: random.Random
) -> Sample:
    """Draw whole blocks at random of what holds data (C(data)) and is in none of the changes.

    Also of what became zeros, and some of all that is said to be: a hole that is none is the worst error of a map.
    """
    if not percent:
        return Sample(())
    touched = sorted([*changes.data, *changes.zeros])
    empty = complement(data, geometry.size)
    zeros = {*_draw(changes.zeros, geometry, percent, chance), *_draw(empty, geometry, 0.0, chance)}
    unchanged = _common(data, complement(touched, geometry.size)) if touched else data
    same = _draw(unchanged, geometry, percent, chance)
    return Sample(tuple(same), tuple(sorted(zeros)))


def _draw(spans: Sequence[Span], geometry: Geometry, percent: float, chance: random.Random) -> list[Span]:
    """Draw a share of the whole blocks in spans, a few at least."""
    block = geometry.block_size
    ends: list[int] = []  # of the candidates, one after the other, in blocks
    lasts: list[int] = []  # where each of them ends on the disk
    count = 0
    for start, end in spans:
        first, last = -(-start // block), end // block
        if first < last:
            count += last - first
            ends.append(count)
            lasts.append(last)
    if not count:
        return []
    wanted = min(max(math.ceil(count * percent / 100), _FEWEST_BLOCKS), count)
    found = []
    for number in sorted(chance.sample(range(count), wanted)):
        index = bisect.bisect_right(ends, number)
        start = (lasts[index] - (ends[index] - number)) * block
        found.append(Span(start, start + block))
    return found


def check_sample(image: DiskImage, base: DiskChain, sample: Sample) -> None:
    """Raise C(ChangeDetectionError) when a block is not what the base holds of it, or no zeros where they should be."""
    geometry = base.geometry
    zeros = bytes(geometry.block_size)
    for piece in image.read(sample.spans, step=geometry.block_size):
        segment, offset = divmod(piece.offset, geometry.segment_size)
        resolved = base.at(segment)
        known = base.block_hashes(resolved).get(offset // geometry.block_size) if resolved.pieces else None
        found = None if piece.data == zeros else blake3.blake3(piece.data).digest()
        if found != known:
            raise _untrue(image, piece.offset, "other data than the last backup", "is unchanged")
    for piece in image.read(sample.zeros, step=geometry.block_size):
        if piece.data != zeros:
            raise _untrue(image, piece.offset, "data", "holds none")


def _untrue(image: DiskImage, offset: int, what: str, claim: str) -> ChangeDetectionError:
    return ChangeDetectionError(
        f"The image {image.name} holds {what} at offset {offset}, although its extent map says that it {claim}: the "
        "map cannot be trusted, so the next backup of this VM is a full",
        path=image.name,
        offset=offset,
    )


def _common(left: Sequence[Span], right: Sequence[Span]) -> list[Span]:
    """Return what is in a span of both."""
    found = []
    first = second = 0
    while first < len(left) and second < len(right):
        start = max(left[first].start, right[second].start)
        end = min(left[first].end, right[second].end)
        if start < end:
            found.append(Span(start, end))
        if left[first].end < right[second].end:
            first += 1
        else:
            second += 1
    return found
