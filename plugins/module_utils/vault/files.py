# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Small files of the vault: written whole, durable, and read with errors that say what to do."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator
from typing import Any

from ..errors import CorruptVaultError, VaultWriteError

_REASONS = {
    errno.ENOSPC: "the vault is full: free space there or let recovery points expire",
    errno.EDQUOT: "the quota of the vault is used up",
    errno.EROFS: "the vault is mounted read-only",
    errno.EACCES: "this user may not write there",
    errno.EPERM: "this user may not write there",
}


@contextlib.contextmanager
def vault_errors(verb: str, path: str) -> Iterator[None]:
    """Turn an C(OSError) of a write into a C(VaultWriteError) that names the path and the reason."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        raise VaultWriteError(f"Cannot {verb} {path}: {reason}", path=path, errno=error.errno) from error


def exists(path: str) -> bool:
    """Return whether there is such a file; an I/O error is an error, not an absence."""
    with vault_errors("look at", path):
        try:
            os.lstat(path)
        except FileNotFoundError:
            return False
    return True


def file_size(path: str) -> int:
    """Return the size of a file in bytes."""
    with vault_errors("look at", path):
        return os.stat(path).st_size


def free_space(directory: str) -> int:
    """Return how many bytes may be written into a directory."""
    with vault_errors("look at", directory):
        found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def require_space(refusal: str, directory: str, needed: int) -> None:
    """Raise C(VaultWriteError), which begins with the C(refusal), when there is no room for so many bytes."""
    free = free_space(directory)
    if needed > free:
        raise VaultWriteError(
            f"{refusal}: up to {needed} bytes are needed, {free} are free in {directory}. Free space there or let "
            "recovery points expire",
            path=directory,
            errno=errno.ENOSPC,
        )


def sync_directory(path: str) -> None:
    """Make the entries of a directory durable."""
    with vault_errors("sync", path):
        descriptor = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            # Some network file systems cannot sync directories, and need not.
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(descriptor)


def write_file(path: str, data: bytes, *, temporary: str | None = None) -> None:
    """Replace a small file in one step: readers see the old or the new content, also after a crash.

    C(temporary) is its name until it is complete, for a file that several processes may write at once.
    """
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, temporary or f".{name[:200]}.new")
    with vault_errors("write", path):
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    sync_directory(directory)


def write_json(path: str, document: Any) -> None:
    """Replace a JSON file in one step."""
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    # Half of a surrogate pair, which a name from outside may hold, becomes a JSON escape.
    write_file(path, text.encode("utf-8", "backslashreplace"))


def read_json(path: str) -> Any:
    """Return the content of a JSON file; raise C(CorruptVaultError) if it is not JSON, C(OSError) if not readable."""
    with open(path, "rb") as file:
        data = file.read()
    try:
        return json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        offset = getattr(error, "pos", getattr(error, "start", 0))
        raise CorruptVaultError(
            f"{path} is damaged at offset {offset}: it is not JSON ({error})", path=path, offset=offset
        ) from error


def make_directory(path: str) -> None:
    """Make a directory and its entry durable; an existing one is fine."""
    path = os.path.abspath(path)
    with vault_errors("create", path):
        os.makedirs(path, exist_ok=True)
    sync_directory(os.path.dirname(path))


def remove_file(path: str) -> None:
    """Remove a file durably; a missing one is fine."""
    with vault_errors("remove", path), contextlib.suppress(FileNotFoundError):
        os.unlink(path)
        sync_directory(os.path.dirname(path))


def remove_tree(path: str) -> None:
    """Remove a directory with all that it holds; a missing one is fine."""
    if os.path.lexists(path):
        with vault_errors("remove", path):
            shutil.rmtree(path)
        sync_directory(os.path.dirname(path))
