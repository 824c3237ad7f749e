# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The files of a guest: walking through directories whose names and depth somebody else has chosen."""

from __future__ import annotations

import contextlib
import itertools
import posixpath
import stat
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from ..errors import GuestFileError, InvalidInputError
from .appliance import shown
from .libguestfs import Status


class Source(Protocol):
    """Mounted file systems. Paths are absolute and bytes; no method follows a link at the end of one."""

    def status(self, path: bytes) -> Status:
        """Return what the file system says of a path."""

    def directory(self, path: bytes) -> Iterator[tuple[bytes, Status]]:
        """Iterate over the names in a directory."""

    def link(self, path: bytes) -> bytes:
        """Return where a symbolic link points to."""

    def content(self, path: bytes) -> contextlib.AbstractContextManager[int]:
        """Open a file; the value is a descriptor to read its content from."""


class GuestFile(NamedTuple):
    """A file of any kind."""

    path: bytes
    status: Status

    @property
    def kind(self) -> str:
        """Return C(file), C(directory), C(link) or C(other)."""
        kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
        return kinds.get(stat.S_IFMT(self.status.mode), "other")

    def as_dict(self, source: Source) -> dict[str, Any]:
        """Return plain JSON types. Bytes of a name that are no text are shown as C(\\xff)."""
        status = self.status
        return {
            "path": shown(self.path),
            "type": self.kind,
            "size": status.size,
            "mode": f"{stat.S_IMODE(status.mode):04o}",
            "uid": status.uid,
            "gid": status.gid,
            "mtime": status.mtime / 1e9,
            "link": shown(source.link(self.path)) if self.kind == "link" else None,
        }


def guest_paths(paths: Sequence[str]) -> list[bytes]:
    """Return paths in the form in which they are used; raise C(InvalidInputError) for those that are none."""
    found = []
    for path in paths:
        if not path.startswith("/") or "\0" in path or ".." in path.split("/"):
            raise InvalidInputError(
                f"{path!r} is not a path in a guest: it has to begin with / and must not hold .. or a zero byte",
                option="paths",
            )
        found.append(posixpath.normpath(path).replace("//", "/", 1).encode("utf-8", "surrogateescape"))
    return list(dict.fromkeys(found))


def walk(source: Source, path: bytes) -> Iterator[GuestFile]:
    """Yield a file and, if it is a directory, all that is below it, each directory before its content."""
    top = GuestFile(path, source.status(path))
    yield top
    # Hostile trees are deeper than a program may call itself.
    below = [_content(source, top)]
    while below:
        found = next(below[-1], None)
        if found is None:
            below.pop()
            continue
        yield found
        below.append(_content(source, found))


def list_files(
    source: Source, paths: Sequence[bytes], *, recurse: bool, limit: int
) -> tuple[list[dict[str, Any]], bool]:
    """Return the files at these paths, of a directory its content, and whether there are more than C(limit)."""

    def every() -> Iterator[GuestFile]:
        for path in paths:
            top = GuestFile(path, source.status(path))
            if top.kind != "directory":
                yield top
            elif recurse:
                yield from itertools.islice(walk(source, path), 1, None)
            else:
                yield from _content(source, top)

    found = list(itertools.islice(every(), limit + 1))
    return [one.as_dict(source) for one in found[:limit]], len(found) > limit


def _content(source: Source, top: GuestFile) -> Iterator[GuestFile]:
    if top.kind == "directory":
        for name, status in source.directory(top.path):
            # No kernel lets that through. But the one that has told of it is the guest's prey, if anything is.
            if name in (b".", b"..") or b"/" in name:
                raise GuestFileError(
                    f"{shown(top.path)} in the guest holds a file of the name {shown(name)}, which no file can have: "
                    "its file system is damaged, or made to do harm",
                    path=shown(top.path),
                )
            yield GuestFile(posixpath.join(top.path, name), status)
