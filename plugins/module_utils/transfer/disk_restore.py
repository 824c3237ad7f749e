# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""A disk as of a recovery point back into a raw image: sparse, verified, whole or not there."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import CorruptVaultError, InvalidInputError, TargetError
from ..images.local import LocalImage
from ..vault.chain import DiskChain, ResolvedSegment
from ..vault.content_hash import ContentHash, hash_blocks
from ..vault.format import Geometry
from ..vault.pool import OrderedPool
from .changes import widened
from .disk_backup import Progress


@dataclass(frozen=True)
class RestoredImage:
    """What was written. C(written) counts the bytes of blocks with data, C(size) is that of the image."""

    path: str
    size: int
    written: int
    content_hash: str


@contextlib.contextmanager
def target_errors(verb: str, path: str) -> Iterator[None]:
    """Turn an C(OSError) of a write into a C(TargetError) that names the path and the reason."""
    try:
        yield
    except OSError as error:
        reason = "no space is left there" if error.errno == errno.ENOSPC else error.strerror
        raise TargetError(f"Cannot {verb} {path}: {reason}", path=path, errno=error.errno) from error


def data_size(chain: DiskChain) -> int:
    """Return how many bytes of the disk are not in blocks of zeros, without reading data."""
    geometry = chain.geometry
    return sum(
        geometry.mask_length(resolved.segment, geometry.mask(resolved.segment) & ~resolved.zero)
        for resolved in chain.segments()
        if resolved.pieces
    )


def check_target(path: str, chain: DiskChain, *, promised: int = 0) -> int:
    """Return how many bytes of data the image will take.

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
    needed = data_size(chain)
    together = promised + needed
    with target_errors("look at", directory):
        found = os.statvfs(directory)
    free = found.f_bavail * found.f_frsize
    if together > free:
        others = f", {promised} more for other images" if promised else ""
        raise TargetError(
            f"Cannot restore to {path}: {needed} bytes of data are needed{others}, {free} are free in {directory}",
            path=path,
        )
    return needed


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
    _refuse_existing(path, overwrite)
    check_target(path, chain)
    temporary = f"{path}.restoring"
    # Open, and so locked, until it has its name or is gone.
    descriptor = _open_temporary(temporary)
    try:
        writer = _Writer(chain, descriptor, temporary, progress)
        writer.run(workers)
        if writer.content.hexdigest() != content_hash:
            newest = chain.files[0].path
            raise CorruptVaultError(
                f"{newest} and its bases give another disk than the manifest says", path=newest, offset=0
            )
        with target_errors("write", temporary):
            os.fsync(descriptor)
        _refuse_existing(path, overwrite)  # a restore may take hours
        with target_errors("create", path):
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        os.close(descriptor)
    _sync_name(path)
    return RestoredImage(path, chain.geometry.size, writer.written, content_hash)


def _refuse_existing(path: str, overwrite: bool) -> None:
    if os.path.lexists(path) and not overwrite:
        raise InvalidInputError(f"{path} exists: name another file, or allow it to be overwritten", path=path)


def _open_temporary(path: str) -> int:
    """Return a file, locked against other restores; what a killed one left behind is used again."""
    with target_errors("create", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        with target_errors("create", path):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                ours = os.path.samestat(os.fstat(descriptor), os.stat(path))
            except (BlockingIOError, FileNotFoundError):
                ours = False
            except OSError as error:
                if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                    raise
                ours = True  # a file system without locks
        if not ours:
            raise TargetError(f"Cannot create {path}: another restore is writing it", path=path)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise TargetError(f"Cannot create {path}: it exists and is not a regular file", path=path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _sync_name(path: str) -> None:
    """Make the name of the image durable, where the file system can."""
    with contextlib.suppress(OSError):
        directory = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


class _Filled(NamedTuple):
    """What was written up to the segment C(end), and what it adds to the state of the disk."""

    end: int
    written: int
    term: int


class _Writer:
    """Reads, checks and writes the segments; C(_fill) runs in threads, each at its own place in the file."""

    def __init__(self, chain: DiskChain, descriptor: int, path: str, progress: Progress | None) -> None:
        self._chain = chain
        self._descriptor = descriptor
        self._path = path
        self._progress = progress
        self.content = ContentHash(chain.geometry)
        self.written = 0

    def run(self, workers: int | None) -> None:
        """Write the whole disk."""
        with target_errors("write", self._path):
            os.fchmod(self._descriptor, 0o600)
            os.ftruncate(self._descriptor, 0)  # a killed restore may have left something
            os.ftruncate(self._descriptor, self._chain.geometry.size)
        with OrderedPool(self._done, workers) as pool:
            for resolved in self._chain.segments():
                if resolved.pieces:
                    pool.submit(self._fill, resolved)
                else:
                    pool.put(_Filled(resolved.end, 0, 0))

    def _fill(self, resolved: ResolvedSegment) -> _Filled:
        geometry = self._chain.geometry
        start, written = resolved.segment * geometry.segment_size, 0
        for run in self._chain.read_runs(resolved):
            self._write(run.data, start + run.block * geometry.block_size)
            written += len(run.data)
        term = self.content.term(resolved.segment, self._chain.block_hashes(resolved))
        return _Filled(resolved.end, written, term)

    def _write(self, view: memoryview, offset: int) -> None:
        with target_errors("write", self._path):
            while view:
                done = os.pwrite(self._descriptor, view, offset)
                view = view[done:]
                offset += done

    def _done(self, item: _Filled) -> None:
        self.written += item.written
        self.content.add_term(item.term)
        if self._progress is not None:
            size = self._chain.geometry.size
            self._progress(min(item.end * self._chain.geometry.segment_size, size), size)
