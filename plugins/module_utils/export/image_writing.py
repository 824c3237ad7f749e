# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""A disk as of a recovery point into a qcow2 image, straight from the vault, and the proof that it is that disk."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import CorruptVaultError, TargetError
from ..transfer.disk_backup import Progress
from ..vault.chain import DiskChain, ResolvedSegment
from ..vault.content_hash import ContentHash, hash_blocks
from ..vault.pool import OrderedPool
from .qcow2 import Qcow2Target


class _Filled(NamedTuple):
    end: int
    written: int
    term: int


def write_image(
    chain: DiskChain,
    target: Qcow2Target,
    content_hash: str,
    *,
    verify: bool,
    progress: Progress | None = None,
    workers: int | None = None,
) -> int:
    """Write the disk and finish the image; return how many bytes of the disk were not zeros.

    Every block is compared with its hash before it is written, the disk as a whole before the image is finished, and
    with C(verify) everything again as it is read back from the image.
    """
    geometry, content = chain.geometry, ContentHash(chain.geometry)
    total = 0

    def fill(resolved: ResolvedSegment) -> _Filled:
        start, written = resolved.segment * geometry.segment_size, 0
        for run in chain.read_runs(resolved):
            target.write(start + run.block * geometry.block_size, run.data)
            written += len(run.data)
        return _Filled(resolved.end, written, content.term(resolved.segment, chain.block_hashes(resolved)))

    def done(item: _Filled) -> None:
        nonlocal total
        total += item.written
        content.add_term(item.term)
        if progress is not None:
            progress(min(item.end * geometry.segment_size, geometry.size), geometry.size)

    with OrderedPool(done, workers) as pool:
        for resolved in chain.segments():
            if resolved.pieces:
                pool.submit(fill, resolved)
            else:
                pool.put(_Filled(resolved.end, 0, 0))
    if content.hexdigest() != content_hash:
        newest = chain.files[0].path
        raise CorruptVaultError(
            f"{newest} and its bases give another disk than the manifest says", path=newest, offset=0
        )
    target.finish()
    if verify and _hash_of(chain, target, workers) != content_hash:
        raise TargetError(
            f"{target.path} does not hold what was written: read back, it is another disk", path=target.path
        )
    return total


def _hash_of(chain: DiskChain, target: Qcow2Target, workers: int | None) -> str:
    """Return the content hash of what the image holds. Nothing but the image is asked where it has data."""
    geometry = chain.geometry
    content = ContentHash(geometry)

    def read(segment: int) -> int:
        data = target.read(segment * geometry.segment_size, geometry.segment_length(segment))
        return content.term(segment, hash_blocks(data, geometry.block_size)) if data else 0

    with OrderedPool(content.add_term, workers) as pool:
        for segment in range(geometry.segments):
            if target.has_data(segment * geometry.segment_size, geometry.segment_length(segment)):
                pool.submit(read, segment)
    return content.hexdigest()
