# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""A disk as of a recovery point back into a raw image: sparse, verified, whole or not there."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import TargetError
from ..images.local import LocalImage
from ..images.local_target import left_over, new_image, refuse_existing
from ..images.target import DiskTarget, Written, check_size, digest, target_errors
from ..images.types import Span
from ..vault.chain import DiskChain, ResolvedSegment
from ..vault.content_hash import ContentHash, hash_blocks
from ..vault.format import Geometry, runs
from ..vault.pool import OrderedPool
from .changes import widened
from .disk_backup import Progress


@dataclass(frozen=True)
class RestoredImage:
    """What was written. C(written) counts the bytes of blocks with data, C(size) is that of the image.

    C(kept) counts those that were there already, C(verified) says whether all was read again.
    """

    path: str
    size: int
    written: int
    content_hash: str
    kept: int = 0
    verified: bool = False


def data_size(chain: DiskChain) -> int:
    """Return how many bytes of the disk are not in blocks of zeros, without reading data."""
    geometry = chain.geometry
    return sum(
        geometry.mask_length(resolved.segment, geometry.mask(resolved.segment) & ~resolved.zero)
        for resolved in chain.segments()
        if resolved.pieces
    )


def check_target(path: str, chain: DiskChain, *, promised: int = 0) -> int:
    """Return how many bytes the image will take more than there is for it already, which may be less than nothing.

    Raise C(TargetError) when the directory of C(path) is missing, or has too little space for that and for what is
    C(promised) to other images. Also when C(path) is anything but a file: a device, a link or a directory is never
    replaced by an image.
    """
    directory = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    if not os.path.isdir(directory):
        raise TargetError(f"Cannot restore to {path}: the directory {directory} does not exist", path=path)
    with target_errors("look at", path), contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise TargetError(f"Cannot restore to {path}: it exists and is not a regular file", path=path)
    needed, left = data_size(chain), left_over(path)
    with target_errors("look at", directory):
        found = os.statvfs(directory)
    require_room(path, needed, found.f_bavail * found.f_frsize + left, directory, promised)
    return needed - left


def require_room(name: str, needed: int, room: int, where: str, promised: int = 0) -> None:
    """Raise C(TargetError) when there is no room for so many bytes of data and what is promised to others."""
    if needed + promised > room:
        others = f", {promised} more for other images" if promised > 0 else ""
        raise TargetError(
            f"Cannot restore to {name}: {needed} bytes of data are needed{others}, {room} are free in {where}",
            path=name,
        )


def image_hash(path: str, geometry: Geometry, *, progress: Progress | None = None) -> str | None:
    """Return the content hash of an existing image, or nothing when it is missing or of another size."""
    if not os.path.isfile(path) or os.path.getsize(path) != geometry.size:
        return None
    with LocalImage(path) as image:
        content = ContentHash(geometry)
        data = widened(image.data_spans(), geometry.segment_size, geometry.size)
        for piece in image.read(data, step=geometry.segment_size):
            content.add(piece.offset // geometry.segment_size, hash_blocks(piece.data, geometry.block_size))
            if progress is not None:
                progress(piece.offset + len(piece.data), geometry.size)
        return content.hexdigest()


def restore_disk(
    chain: DiskChain,
    path: str,
    *,
    content_hash: str,
    overwrite: bool = False,
    progress: Progress | None = None,
    workers: int | None = None,
) -> RestoredImage:
    """Write the disk to C(path), which appears only when every block was checked and written.

    Raises C(InvalidInputError) when C(path) exists and C(overwrite) is not set, C(CorruptVaultError) at the first block
    that is not what was backed up, C(TargetError) when the target does not take the data.
    """
    refuse_existing(path, overwrite)
    check_target(path, chain)
    with new_image(path, chain.geometry.size, overwrite=overwrite) as target:
        done = restore_to(chain, target, content_hash=content_hash, progress=progress, workers=workers)
        target.finish()
    return dataclasses.replace(done, path=path)


def restore_to(
    chain: DiskChain,
    target: DiskTarget,
    *,
    content_hash: str,
    verify: bool = False,
    progress: Progress | None = None,
    workers: int | None = None,
) -> RestoredImage:
    """Write the disk to a target of its size, durable, each block checked before it is written.

    What the target has already is not written again, and what it has beyond the disk's data becomes zeros. C(verify)
    reads everything again in the end. Raises C(CorruptVaultError), C(TargetError) and C(ServerError)s.
    """
    check_size(target.name, target.name, target.size, chain.geometry.size)
    if not target.fresh:
        target.clear(_zero_spans(chain))
    writer = _Writer(chain, target, progress, digests=verify)
    writer.run(workers)
    if writer.content.hexdigest() != content_hash:
        raise chain.another_disk()
    target.flush()
    if verify:
        target.verify(writer.digests, _zero_spans(chain))
    return RestoredImage(
        target.name, chain.geometry.size, writer.written - target.kept, content_hash, target.kept, verify
    )


def _zero_spans(chain: DiskChain) -> Iterator[Span]:
    """Yield what of the disk is zeros, by whole blocks; neighbours may be apart."""
    geometry = chain.geometry
    for resolved in chain.segments():
        start = resolved.segment * geometry.segment_size
        if not resolved.pieces:
            yield Span(start, min(resolved.end * geometry.segment_size, geometry.size))
            continue
        for first, count in runs(resolved.zero):
            begin = start + first * geometry.block_size
            yield Span(begin, min(begin + count * geometry.block_size, geometry.size))


class _Filled(NamedTuple):
    """What was done up to the segment C(end), and what it adds to the state of the disk.

    C(runs) are to be written still, where only one thread may; C(digests) are of all runs, where they were asked for.
    """

    end: int
    written: int
    term: int
    runs: tuple[tuple[int, memoryview], ...] = ()
    digests: tuple[Written, ...] = ()


class _Writer:
    """Reads, checks and writes the segments; C(_fill) runs in threads."""

    def __init__(self, chain: DiskChain, target: DiskTarget, progress: Progress | None, *, digests: bool) -> None:
        self._chain = chain
        self._target = target
        self._progress = progress
        self._with_digests = digests
        self.content = ContentHash(chain.geometry)
        self.written = 0
        self.digests: list[Written] = []

    def run(self, workers: int | None) -> None:
        """Write the whole disk."""
        with OrderedPool(self._done, workers) as pool:
            for resolved in self._chain.segments():
                if resolved.pieces:
                    pool.submit(self._fill, resolved)
                else:
                    pool.put(_Filled(resolved.end, 0, 0))

    def _fill(self, resolved: ResolvedSegment) -> _Filled:
        geometry = self._chain.geometry
        start = resolved.segment * geometry.segment_size
        found = tuple((start + run.block * geometry.block_size, run.data) for run in self._chain.read_runs(resolved))
        digests: tuple[Written, ...] = ()
        if self._with_digests:
            digests = tuple(Written(offset, offset + len(data), digest(data)) for offset, data in found)
        term = self.content.term(resolved.segment, self._chain.block_hashes(resolved))
        written = sum(len(data) for _offset, data in found)
        if not self._target.concurrent:
            return _Filled(resolved.end, written, term, found, digests)
        for offset, data in found:
            self._target.write(offset, data)
        return _Filled(resolved.end, written, term, (), digests)

    def _done(self, item: _Filled) -> None:
        for offset, data in item.runs:
            self._target.write(offset, data)
        self.digests += item.digests
        self.written += item.written
        self.content.add_term(item.term)
        if self._progress is not None:
            size = self._chain.geometry.size
            self._progress(min(item.end * self._chain.geometry.segment_size, size), size)
