# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The files of a vault, wherever it is: written whole, durable, and read with errors that say what to do."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Collection, Iterator
from typing import Any

from ..errors import CorruptVaultError, PointNotFoundError, VaultError, VaultWriteError
from .storage.directory import TEMPORARY
from .storage.failures import vault_errors
from .storage.interface import Entry, Reader, Turn, Writer
from .storage.mounts import storage_of

# What the reading of a file that has to be there ends in when something else is in its place, or nothing.
_DAMAGE = (errno.ENOENT, errno.EIO, errno.ELOOP, errno.ENOTDIR, errno.EISDIR)


def read_failure(path: str, error: OSError, offset: int = 0) -> VaultError:
    """Return what an error of reading a file says: it is missing, or damaged, or cannot be read at this moment."""
    if isinstance(error, FileNotFoundError):
        return PointNotFoundError(f"{path} is missing from the vault", path=path)
    if error.errno == errno.EIO:
        text = f"{path} is damaged at offset {offset}: cannot be read ({error.strerror})"
        return CorruptVaultError(text, path=path, offset=offset)
    # Too many open files, a missing permission or a lost connection say nothing about the data.
    return VaultError(f"Cannot read {path}: {error.strerror}", path=path, errno=error.errno)


def unreadable(path: str, error: OSError, verb: str = "read") -> VaultError:
    """Return what an error of reading a small file says that has to be there: it is damaged, or not to be had now."""
    text = f"Cannot {verb} {path}: {error.strerror}"
    if is_damage(error):
        return CorruptVaultError(text, path=path, offset=0)
    return VaultError(text, path=path, errno=error.errno)


def is_damage(error: OSError) -> bool:
    """Return whether an error of looking at a file that has to be there tells of it, and not only of this moment."""
    return error.errno in _DAMAGE


@contextlib.contextmanager
def read_errors(path: str, offset: int = 0) -> Iterator[None]:
    """Turn an C(OSError) of a read into what C(read_failure) makes of it."""
    try:
        yield
    except OSError as error:
        raise read_failure(path, error, offset) from error


def exists(path: str) -> bool:
    """Return whether there is such a file or folder; an I/O error is an error, not an absence."""
    with vault_errors("look at", path):
        try:
            storage_of(path).entry(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
    return True


def is_folder(path: str) -> bool:
    """Return whether there is such a folder; an I/O error is an error, not an absence."""
    with vault_errors("look at", path):
        try:
            return storage_of(path).entry(path).is_folder
        except (FileNotFoundError, NotADirectoryError):
            return False


def file_entry(path: str) -> Entry:
    """Return what is known of a file without reading it; raise C(OSError)."""
    return storage_of(path).entry(path)


def file_size(path: str) -> int:
    """Return the size of a file in bytes."""
    with vault_errors("look at", path):
        return storage_of(path).entry(path).size


def entries(path: str) -> list[Entry]:
    """Return what is in a folder, by name; raise C(OSError)."""
    return storage_of(path).entries(path)


def listing(path: str) -> list[str]:
    """Return the names in a folder, sorted; raise C(OSError)."""
    return storage_of(path).names(path)


def names(path: str) -> list[str]:
    """Return the names in a folder, sorted; none for a missing one. Raises C(VaultWriteError)."""
    with vault_errors("list", path):
        try:
            return listing(path)
        except (FileNotFoundError, NotADirectoryError):
            return []


def read_file(path: str, limit: int | None = None) -> bytes:
    """Return a small file, or its first C(limit) bytes; raise C(OSError)."""
    return storage_of(path).read(path, limit)


def open_file(path: str) -> Reader:
    """Open a file for reading anywhere in it; raise C(OSError)."""
    return storage_of(path).open(path)


def new_file(path: str, expected_size: int | None = None) -> Writer:
    """Begin a large file; C(expected_size) is about how many bytes it may become at most."""
    with vault_errors("create", path):
        return storage_of(path).new(path, expected_size)


def rename_file(old: str, new: str) -> None:
    """Give a file another name, durably."""
    with vault_errors("rename", old):
        storage_of(old).rename(old, new)


def take_turn(path: str) -> Turn | None:
    """Take the turn of a path, or return nothing while another process has it."""
    with vault_errors("open", path):
        return storage_of(path).turn(path)


def scratch_directory(path: str) -> str:
    """Return a directory of this host for what does not stay in memory while a file is written."""
    return storage_of(path).scratch(path)


def held_until(path: str) -> float | None:
    """Return until when nobody can remove a file for good (seconds since 1970, infinity for no end), or nothing."""
    with vault_errors("look at", path):
        return storage_of(path).held_until(path)


def drop_unfinished(path: str, minimum_age: float, spared: Collection[str], *, check: bool) -> list[str]:
    """Remove what was begun below a folder and never finished, where its entries do not show it; return the paths.

    C(spared) are folders in which nothing is removed.
    """
    with vault_errors("clear", path):
        return storage_of(path).drop_unfinished(path, minimum_age, spared, check=check)


def free_space(directory: str) -> int | None:
    """Return how many bytes may be written into a folder, or nothing where there is no such limit."""
    with vault_errors("look at", directory):
        return storage_of(directory).free_space(directory)


def require_space(refusal: str, directory: str, needed: int) -> None:
    """Raise C(VaultWriteError), which begins with the C(refusal), when there is no room for so many bytes."""
    free = free_space(directory)
    if free is not None and needed > free:
        raise VaultWriteError(
            f"{refusal}: up to {needed} bytes are needed, {free} are free in {directory}. Free space there or let "
            "recovery points expire",
            path=directory,
            errno=errno.ENOSPC,
        )


def sync_with_parent(path: str) -> None:
    """Make the entries of a folder durable, and its own."""
    sync_directory(path)
    sync_directory(os.path.dirname(path))


def sync_directory(path: str) -> None:
    """Make the entries of a folder durable."""
    with vault_errors("sync", path):
        storage_of(path).sync(path)


def write_file(path: str, data: bytes) -> None:
    """Replace a small file in one step: readers see the old or the new content, also after a crash."""
    with vault_errors("write", path):
        storage_of(path).write(path, data)


def create_file(path: str, data: bytes) -> None:
    """Make a small file durably; one that is there already is an error."""
    with vault_errors("create", path):
        storage_of(path).create(path, data)


def write_json(path: str, document: Any) -> None:
    """Replace a JSON file in one step."""
    write_file(path, _as_json(document))


def create_json(path: str, document: Any) -> None:
    """Make a JSON file, once: where there is one, that is an error."""
    create_file(path, _as_json(document))


def _as_json(document: Any) -> bytes:
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    # Half of a surrogate pair, which a name from outside may hold, becomes a JSON escape.
    return text.encode("utf-8", "backslashreplace")


def read_json(path: str) -> Any:
    """Return the content of a JSON file; raise C(CorruptVaultError) if it is not JSON, C(OSError) if not readable."""
    data = read_file(path)
    try:
        return json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        offset = getattr(error, "pos", getattr(error, "start", 0))
        raise CorruptVaultError(
            f"{path} is damaged at offset {offset}: it is not JSON ({error})", path=path, offset=offset
        ) from error


def read_json_if_whole(path: str) -> Any:
    """Return the content of a JSON file, or nothing for one that is missing or damaged.

    Raises C(VaultError) for one that cannot be read at this moment: nobody may act as if it were not there.
    """
    try:
        return read_json(path)
    except OSError as error:
        if not is_damage(error):
            raise unreadable(path, error) from error
    except CorruptVaultError:
        pass
    return None


def make_directory(path: str) -> None:
    """Make a folder and its entry durable; an existing one is fine."""
    with vault_errors("create", path):
        storage_of(path).make_folder(path)


def remove_file(path: str) -> None:
    """Remove a file durably; a missing one is fine."""
    with vault_errors("remove", path), contextlib.suppress(FileNotFoundError):
        storage_of(path).remove(path)


def remove_tree(path: str) -> bool:
    """Remove a folder with all that it holds; a missing one is fine.

    Return whether it is gone: on NFS, files that a process of this host still reads stay in it until they are closed.
    """
    with vault_errors("remove", path):
        return storage_of(path).remove_folder(path)


def awaits_readers(path: str) -> bool:
    """Return whether a folder holds nothing but files that were removed and are still being read."""
    with vault_errors("look at", path):
        return storage_of(path).awaits_readers(path)


def remove_empty_directory(path: str) -> None:
    """Remove a folder durably; one that holds something is an error."""
    with vault_errors("remove", path):
        storage_of(path).remove_empty_folder(path)


def file_label(path: str) -> str:
    """Return a file of a recovery point as people name it: client, point and file."""
    return "/".join(path.split("/")[-3:])


def is_temporary(name: str) -> bool:
    """Return whether a file of this name is one that is being written, or whose writing was interrupted."""
    return name.startswith(".") and name.endswith(TEMPORARY)


def total_size(path: str) -> int:
    """Return the bytes of a file, or of all files below a folder; what vanishes meanwhile counts nothing."""
    try:
        entry = file_entry(path)
        if not entry.is_folder:
            return entry.size
        return sum(total_size(os.path.join(path, one.name)) if one.is_folder else one.size for one in entries(path))
    except OSError:
        return 0
