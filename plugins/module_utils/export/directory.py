# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The directory of an export: it gets its name when everything in it is complete and durable.

C(export.json), written last, lists its files with sizes and hashes. By it we know what is ours: only a directory that
holds such a list, and nothing that is not on it, is ever replaced or cleared away.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Callable

from .._libraries import blake3
from ..errors import CorruptVaultError, InvalidInputError, TargetError, VaultWriteError
from ..images.target import target_errors
from ..vault.files import read_json, sync_directory, write_file, write_json

MISSING, CURRENT, DIFFERENT = "missing", "current", "different"
LIST = "export.json"
_FORMAT = "ovm.backup export"
_BEGUN = "ovm.backup export that was begun"
_REPLACED = "ovm.backup export that was replaced"
_STEP = 4 * 1024 * 1024
# Tables of the images, documents and the report.
_SPARE = 4 * 1024 * 1024

Progress = Callable[[str, int, int], None]


class ExportDirectory:
    """A directory that holds an export, or will."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._parent = os.path.dirname(path)

    def state(self, identity: Mapping[str, Any], *, progress: Progress | None = None) -> str:
        """Return whether the export is there; raise C(InvalidInputError) where none can be.

        What is there is read and compared with the list.
        """
        if not os.path.isdir(self._parent):
            raise InvalidInputError(f"{self.path} cannot be made: there is no directory {self._parent}", path=self.path)
        if not os.path.lexists(self.path):
            return MISSING
        if os.path.islink(self.path) or not os.path.isdir(self.path):
            raise InvalidInputError(f"{self.path} exists and is not a directory: name another one", path=self.path)
        names = self._names(self.path)
        if not names:
            return MISSING
        # One that was to be replaced and is still there is as good as any.
        document = _list_of(self.path, _FORMAT) or _list_of(self.path, _REPLACED)
        listed = {} if document is None else {entry["name"]: entry for entry in document["files"]}
        strange = sorted(names - {*listed, LIST})
        if document is None or strange:
            what = strange[0] if strange else LIST
            raise InvalidInputError(
                f"{self.path} holds {what}, which no export has put there: name another directory", path=self.path
            )
        if document["identity"] != identity or names != {*listed, LIST}:
            return DIFFERENT
        same = all(_is_same(os.path.join(self.path, name), entry, progress) for name, entry in listed.items())
        return CURRENT if same else DIFFERENT

    def check_room(self, needed: int) -> None:
        """Raise C(TargetError) when there is no room for so many bytes, or for the directories that are needed."""
        for way in (f"{self.path}.exporting", f"{self.path}.replaced"):
            if os.path.lexists(way) and not _is_ours(way, self.path):
                told = f"{way} is in the way. It is not left from an export: move it"
                raise TargetError(f"Cannot export to {self.path}: {told}", path=way)
        with target_errors("look at", self._parent):
            found = os.statvfs(self._parent)
        free = found.f_bavail * found.f_frsize + _size_of(f"{self.path}.exporting")
        if needed + _SPARE > free:
            raise TargetError(
                f"Cannot export to {self.path}: {needed + _SPARE} bytes are needed, {free} are free in {self._parent}",
                path=self.path,
            )

    @contextlib.contextmanager
    def new(self, identity: Mapping[str, Any]) -> Iterator[NewExport]:
        """Make an export under another name. Unless the block publishes it, nothing of it is left."""
        temporary = f"{self.path}.exporting"
        descriptor = _claim(temporary, self.path)
        try:
            made = NewExport(temporary, self.path, identity)
            yield made
        except BaseException:
            _clear(temporary, self.path)
            raise
        finally:
            os.close(descriptor)

    @staticmethod
    def _names(path: str) -> set[str]:
        with target_errors("list", path):
            return set(os.listdir(path))


class NewExport:
    """An export that is being written."""

    def __init__(self, temporary: str, final: str, identity: Mapping[str, Any]) -> None:
        self._temporary = temporary
        self._final = final
        self._identity = identity

    def path(self, name: str) -> str:
        """Return where a file is written for now."""
        return os.path.join(self._temporary, name)

    def add(self, name: str, data: bytes) -> None:
        """Write a small file."""
        with _as_target(self.path(name)):
            write_file(self.path(name), data)

    def publish(self, attention: Sequence[Mapping[str, Any]]) -> None:
        """Give the directory its name, in place of an earlier export."""
        names = sorted(set(os.listdir(self._temporary)) - {LIST})
        files = [_entry(self._temporary, name) for name in names]
        document = {
            "format": _FORMAT,
            "version": 1,
            "path": self._final,
            "identity": self._identity,
            "files": files,
            "attention": list(attention),
        }
        with _as_target(self._temporary):
            write_json(self.path(LIST), document)
            sync_directory(self._temporary)
        replaced = f"{self._final}.replaced"
        with target_errors("create", self._final):
            if os.path.isdir(self._final) and os.listdir(self._final):
                _clear(replaced, self._final)
                with _as_target(self._final):
                    _mark(self._final, _REPLACED)
                os.rename(self._final, replaced)
            os.rename(self._temporary, self._final)
        _clear(replaced, self._final)
        with _as_target(self._final):
            sync_directory(os.path.dirname(self._final))


def _claim(path: str, final: str) -> int:
    """Make an empty directory that is ours, locked; what a killed export left in it is removed."""
    with target_errors("create", path):
        try:
            os.mkdir(path, 0o700)
            fresh = True
        except FileExistsError:
            fresh = False
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TargetError(f"Cannot create {path}: another export is writing it", path=path) from error
        except OSError:
            pass  # a file system without locks
        if not fresh:
            if not _is_ours(path, final):
                raise TargetError(f"Cannot create {path}: it exists and is not left from an export", path=path)
            _empty(path)
        with _as_target(path):
            write_json(os.path.join(path, LIST), {"format": _BEGUN, "path": final, "identity": {}, "files": []})
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _empty(path: str) -> None:
    """Remove the files of a directory, its list last: by it the rest is known as ours."""
    with target_errors("remove", path):
        for name in sorted(os.listdir(path), key=lambda name: name == LIST):
            found = os.path.join(path, name)
            if stat.S_ISREG(os.lstat(found).st_mode):
                os.unlink(found)


def _size_of(path: str) -> int:
    """Return how many bytes the files in what a killed export has left take: they are removed first."""
    with target_errors("look at", path), contextlib.suppress(FileNotFoundError):
        found = [entry.stat(follow_symlinks=False) for entry in os.scandir(path)]
        return sum(one.st_blocks * 512 for one in found if stat.S_ISREG(one.st_mode))
    return 0


def _mark(path: str, kind: str) -> None:
    """Give the list of an export another kind."""
    name = os.path.join(path, LIST)
    write_json(name, {**read_json(name), "format": kind})


def _is_ours(path: str, final: str) -> bool:
    """Return whether a directory is left from an export, or empty, as it is for the first moment of one."""
    with target_errors("look at", path):
        return not os.path.islink(path) and os.path.isdir(path) and (not os.listdir(path) or _is_left_over(path, final))


def _is_left_over(path: str, final: str) -> bool:
    """Return whether a directory is one that was to become C(final) or was that, and not an export of that name."""
    return any(
        found is not None and found["path"] == final != path
        for found in (_list_of(path, kind) for kind in (_BEGUN, _REPLACED, _FORMAT))
    )


def _clear(path: str, final: str) -> None:
    """Remove a directory of ours, with what is in it; a missing one is fine, and so is one that is not ours."""
    if os.path.isdir(path) and _is_left_over(path, final):
        _empty(path)
        with contextlib.suppress(OSError):
            os.rmdir(path)


def _list_of(path: str, kind: str) -> dict[str, Any] | None:
    """Return the list of a directory, if it is one."""
    try:
        document = read_json(os.path.join(path, LIST))
        if document["format"] != kind:
            return None
        for entry in document["files"]:
            if not isinstance(entry["name"], str) or "/" in entry["name"] or entry["name"] in ("", ".", ".."):
                return None
            int(entry["size"])
            str(entry["blake3"])
        return {"path": document["path"], "identity": document["identity"], "files": document["files"]}
    except (OSError, CorruptVaultError, KeyError, TypeError, ValueError):
        return None


def _entry(directory: str, name: str) -> dict[str, Any]:
    path = os.path.join(directory, name)
    return {"name": name, "size": os.path.getsize(path), "blake3": _digest(path, None)}


def _is_same(path: str, entry: Mapping[str, Any], progress: Progress | None) -> bool:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(found.st_mode) or found.st_size != entry["size"]:
        return False
    return _digest(path, progress) == str(entry["blake3"])


def _digest(path: str, progress: Progress | None) -> str:
    total, hasher, done = os.path.getsize(path), blake3.blake3(), 0
    with target_errors("read", path), open(path, "rb") as file:
        while piece := file.read(_STEP):
            hasher.update(piece)
            done += len(piece)
            if progress is not None:
                progress(os.path.basename(path), done, total)
    return str(hasher.hexdigest())


@contextlib.contextmanager
def _as_target(path: str) -> Iterator[None]:
    """Say of a failure to write that it is the target's, not the vault's."""
    try:
        yield
    except VaultWriteError as error:
        reason = error.__cause__.strerror if isinstance(error.__cause__, OSError) else error.message
        raise TargetError(f"Cannot write {path}: {reason}", path=path, errno=error.details.get("errno")) from error
