# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The end of a recovery point made in steps: its passes become one file for each disk, then it is published."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from typing import Callable

from ..errors import CorruptVaultError, VaultWriteError
from ..vault.chain import open_chain, open_overlay
from ..vault.consolidation import merge_disk_files
from ..vault.disk_reader import DiskFile
from ..vault.disk_writer import FrameCompressor
from ..vault.distrust import clear_distrust
from ..vault.drafts import FINAL, FIRST, SECOND, Draft, FirstPassDisk, base_files
from ..vault.files import exists, file_size, rename_file, require_space
from ..vault.format import Geometry
from ..vault.lock import ClientLock
from ..vault.manifest import Point, PointDisk
from ..vault.points import Client


def check_merge_space(client: Client, draft: Draft) -> None:
    """Raise C(VaultWriteError) when the vault has no room to merge what the first pass has stored, before an outage.

    The disks are merged one after the other, so the largest file counts. What the second pass adds nobody knows yet.
    """
    sizes = [file_size(draft.path(FIRST, disk.file)) for disk in draft.disks]
    require_space(
        f"The passes over client {client.name} could not be merged", draft.writer.directory, max(sizes, default=0)
    )


def merge_passes(client: Client, draft: Draft, *, level: int = 1, clock: Callable[[], float] = time.time) -> None:
    """Make one file of both passes for each disk. C(level) is for what has to be compressed anew.

    The files of the passes go as soon as that of their disk is complete, and the draft says so: whoever repeats it
    after a failure goes on there.
    """
    compressor = FrameCompressor(level)
    while draft.second:
        started = clock()
        disk = next(disk for disk in _manifest(draft).disks if disk.disk_id in draft.second)
        merged = _merged(client, draft, disk, compressor)
        _note_merged(draft, merged, started, clock())
        for part in (SECOND, FIRST):
            draft.remove(part, disk.file)


def publish_draft(client: Client, lock: ClientLock, draft: Draft) -> Point:
    """Make the recovery point of a draft, whose passes are merged, exist and return it."""
    point = _manifest(draft)
    draft.strip()
    lock.check()
    draft.writer.publish(point)
    if point.is_full:
        # If that fails, one more full is made.
        with contextlib.suppress(VaultWriteError):
            clear_distrust(client.directory)
    return point


def _manifest(draft: Draft) -> Point:
    if draft.point is None:
        raise ValueError("the draft has no manifest yet")
    return draft.point


def _note_merged(draft: Draft, merged: PointDisk, started: float, completed: float) -> None:
    point, seconds = _manifest(draft), completed - started
    draft.point = dataclasses.replace(
        point,
        disks=tuple(merged if disk.disk_id == merged.disk_id else disk for disk in point.disks),
        durations={
            **point.durations,
            "transfer": round(point.durations["transfer"] + seconds, 3),
            "merge": round(point.durations.get("merge", 0.0) + seconds, 3),
        },
        completed=completed,
    )
    del draft.second[merged.disk_id]
    draft.save()


def _merged(client: Client, draft: Draft, disk: PointDisk, compressor: FrameCompressor) -> PointDisk:
    """Return the disk as its file of both passes holds it, which is made and compared with what was read."""
    first = next(item for item in draft.disks if item.disk_id == disk.disk_id)
    path = draft.path(FINAL, disk.file)
    header_hash = _merge(draft, disk, first, path, compressor)
    with open_chain([(path, header_hash), *base_files(client, disk.base, disk.disk_id)]) as chain:
        # The base is as large as the disk; its header vouches for it, so only what the new file changes is looked at.
        below = chain.files[1].content_state if len(chain.files) > 1 else None
        if chain.content_hash(below) != disk.content_hash:
            raise CorruptVaultError(
                f"{path} does not give the disk that was read: the two passes do not fit each other",
                path=path,
                offset=0,
            )
        statistics = {**disk.statistics, "changed": _stored_data(chain.files[0]), "stored": chain.files[0].size}
        return dataclasses.replace(disk, file_size=chain.files[0].size, header_hash=header_hash, statistics=statistics)


def _merge(draft: Draft, disk: PointDisk, first: FirstPassDisk, path: str, compressor: FrameCompressor) -> str:
    below = draft.path(FIRST, first.file)
    if not exists(below):
        # A killed step has renamed it; whether the file is the right one its reader will see.
        return first.header_hash
    with open_overlay([(draft.path(SECOND, disk.file), disk.header_hash), (below, first.header_hash)]) as overlay:
        if not overlay.files[0].records:
            # Nothing was changed between the passes.
            rename_file(below, path)
            return first.header_hash
        kind = "incremental" if first.base is not None else "full"
        writer = draft.disk_writer(FINAL, disk.file, Geometry(first.size), kind, compressor)
        try:
            result = merge_disk_files(overlay, writer, compressor)
            return writer.finish(result.content_state).header_hash
        finally:
            writer.abort()


def _stored_data(file: DiskFile) -> int:
    """Return the bytes of the disk that a file holds as data."""
    return sum(file.geometry.mask_length(record.segment, record.stored) for record in file.records)
