# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Files of a recovery point on their way from one vault to another, and the note of how far an interrupted copy came.

All access to files that a copy needs, and that no other part of the vault has, is here.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Callable

from ..errors import CorruptVaultError, PointNotFoundError
from . import format as fmt
from .disk_check import check_disk_file
from .disk_reader import DiskFile
from .files import (
    create_file,
    new_file,
    open_file,
    read_errors,
    read_file,
    read_json_if_whole,
    remove_file,
    sync_with_parent,
    unreadable,
    write_json,
)
from .manifest import MANIFEST_NAME, Point, parse_point
from .pool import OrderedPool
from .storage.failures import vault_errors

# How a disk file that was copied is checked: its tables against the manifest, or all of its data.
HEADER, FULL = "header", "full"
NOTE_NAME = "copying.json"
_CHUNK = 4 * 1024 * 1024


@dataclass
class CopyNote:
    """What a copy has finished of a recovery point that is not published yet; it lies beside the client's points.

    C(manifest) is the hash of what the source says of the point, C(files) are the disk files that are whole, with how
    they were checked. A file counts only if it is still there: another run may have cleared the folder away.
    """

    source: str
    point: str
    manifest: str
    files: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, source: str, point: Point) -> CopyNote:
        """Return the note of a copy that begins."""
        return cls(source, point.id, fmt.digest(fmt.canonical(point.as_dict())))

    def is_about(self, other: CopyNote) -> bool:
        """Return whether both are about the same point of the same vault."""
        return (self.source, self.point, self.manifest) == (
            other.source,
            other.point,
            other.manifest,
        )

    def save(self, directory: str) -> None:
        """Write it into the folder of the client."""
        write_json(os.path.join(directory, NOTE_NAME), asdict(self))


def read_note(directory: str) -> CopyNote | None:
    """Return the note in the folder of a client, or nothing; one that is damaged is none.

    Raises C(VaultError) for one that cannot be read at this moment: what it tells of would be cleared away.
    """
    document = read_json_if_whole(os.path.join(directory, NOTE_NAME))
    try:
        files: Mapping[str, str] = document["files"]
        source, point, manifest = (str(document[key]) for key in ("source", "point", "manifest"))
        return CopyNote(source, point, manifest, {str(name): str(how) for name, how in files.items()})
    except (KeyError, TypeError, AttributeError):
        return None


def remove_note(directory: str) -> None:
    """Remove the note; a missing one is fine."""
    remove_file(os.path.join(directory, NOTE_NAME))


def send(source: str, target: str, size: int, *, progress: Callable[[int], None], workers: int | None) -> None:
    """Copy a file of C(size) bytes; C(progress) gets the bytes of each step. What a failure leaves is removed.

    Raises C(PointNotFoundError) and C(CorruptVaultError) for a source that is missing or has another size,
    C(VaultError) for one that cannot be read now, C(VaultWriteError) for the target.
    """
    with read_errors(source):
        opened = open_file(source)
    with contextlib.closing(opened) as reader:
        found = reader.size
        if found != size:
            raise CorruptVaultError(
                f"{source} has {found} bytes instead of {size}", path=source, offset=min(found, size)
            )

        def read(offset: int) -> bytes:
            wanted = min(_CHUNK, size - offset)
            with read_errors(source, offset):
                data = reader.pread(wanted, offset)
            if len(data) != wanted:
                raise CorruptVaultError(f"{source} ends at offset {offset + len(data)}", path=source, offset=offset)
            return data

        remove_file(target)
        writer = new_file(target, size)

        def write(data: bytes) -> None:
            with vault_errors("write", target):
                writer.write(data)
            progress(len(data))

        try:
            with OrderedPool(write, workers) as pool:
                for offset in range(0, size, _CHUNK):
                    pool.submit(read, offset)
            with vault_errors("write", target):
                writer.finish()
        finally:
            writer.abort()


def problem_of_file(
    path: str, header_hash: str, size: int, how: str, *, progress: Callable[[int], None], workers: int | None
) -> str | None:
    """Return what is wrong with a disk file, or nothing; a missing one is wrong, too.

    Raises C(VaultError) when it cannot be opened for a reason that says nothing about the data.
    """
    if how == FULL:
        check = check_disk_file(path, header_hash, size, progress=progress, workers=workers)
        return check.problems[0][1] if check.problems else None
    try:
        with DiskFile(path, header_hash, whole=True) as file:
            return None if file.size == size else f"{path} has {file.size} bytes instead of {size}"
    except (PointNotFoundError, CorruptVaultError) as error:
        return error.message


def publish_copy(source: str, target: str, point: Point) -> None:
    """Make a point exist in another vault: the manifest of the folder C(source), word for word, is written last.

    A later version may have written more into it than this one knows of, and its hash covers all.
    """
    path = os.path.join(source, MANIFEST_NAME)
    try:
        data = read_file(path)
        same = parse_point(json.loads(data)) == point
    except FileNotFoundError as error:
        raise PointNotFoundError(f"There is no recovery point in {source}", path=source) from error
    except OSError as error:
        raise unreadable(path, error) from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        same = False
    if not same:
        raise CorruptVaultError(f"{path} is not what it was when the copy began", path=path, offset=0)
    sync_with_parent(target)
    create_file(os.path.join(target, MANIFEST_NAME), data)
