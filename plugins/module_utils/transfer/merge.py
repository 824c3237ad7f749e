# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The end of a recovery point made in steps: its passes become one file for each disk, then it is published."""

from __future__ import annotations

import dataclasses
import os
import time
from typing import Callable

from ..errors import CorruptVaultError
from ..vault.chain import open_chain, open_overlay
from ..vault.consolidation import merge_disk_files
from ..vault.disk_reader import DiskFile
from ..vault.disk_writer import DiskWriter, FrameCompressor
from ..vault.drafts import FIRST, SECOND, Draft, FirstPassDisk, base_files
from ..vault.files import vault_errors
from ..vault.format import Geometry, bits
from ..vault.lock import ClientLock
from ..vault.manifest import Point, PointDisk
from ..vault.points import Client


def publish_draft(
    client: Client, lock: ClientLock, draft: Draft, *, level: int = 1, clock: Callable[[], float] = time.time
) -> Point:
    """Make the recovery point of a draft exist and return it. C(level) is for what has to be compressed anew."""
    point = draft.point
    if point is None:
        raise ValueError("the draft has no manifest yet")
    if draft.second:
        started = clock()
        compressor = FrameCompressor(level)
        disks = tuple(
            _merged(client, draft, disk, compressor) if disk.disk_id in draft.second else disk for disk in point.disks
        )
        completed = clock()
        merge = round(completed - started, 3)
        durations = {**point.durations, "transfer": round(point.durations["transfer"] + merge, 3), "merge": merge}
        point = dataclasses.replace(point, disks=disks, durations=durations, completed=completed)
    draft.strip()
    lock.check()
    draft.writer.publish(point)
    return point


def _merged(client: Client, draft: Draft, disk: PointDisk, compressor: FrameCompressor) -> PointDisk:
    """Return the disk as its file of both passes holds it, which is made and compared with what was read."""
    first = next(item for item in draft.disks if item.disk_id == disk.disk_id)
    path = os.path.join(draft.writer.directory, disk.file)
    header_hash = _merge(draft, disk, first, path, compressor)
    with open_chain([(path, header_hash), *base_files(client, disk.base, disk.disk_id)]) as chain:
        if chain.content_hash() != disk.content_hash:
            raise CorruptVaultError(
                f"{path} does not give the disk that was read: the two passes do not fit each other",
                path=path,
                offset=0,
            )
        statistics = {**disk.statistics, "changed": _stored_data(chain.files[0]), "stored": chain.files[0].size}
        return dataclasses.replace(disk, file_size=chain.files[0].size, header_hash=header_hash, statistics=statistics)


def _merge(draft: Draft, disk: PointDisk, first: FirstPassDisk, path: str, compressor: FrameCompressor) -> str:
    files = [(draft.path(SECOND, disk.file), disk.header_hash), (draft.path(FIRST, first.file), first.header_hash)]
    with open_overlay(files) as overlay:
        if not overlay.files[0].records:
            # Nothing was changed between the passes.
            with vault_errors("rename", files[1][0]):
                os.rename(files[1][0], path)
            return first.header_hash
        kind = "incremental" if first.base is not None else "full"
        writer = DiskWriter(path, Geometry(first.size), kind, compressor)
        try:
            merge_disk_files(overlay, writer, compressor)
            return writer.finish().header_hash
        finally:
            writer.abort()


def _stored_data(file: DiskFile) -> int:
    """Return the bytes of the disk that a file holds as data."""
    return sum(
        file.geometry.block_length(record.segment, block) for record in file.records for block in bits(record.stored)
    )
