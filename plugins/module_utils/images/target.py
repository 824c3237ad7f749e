# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Where the image of a disk is written: what a restore needs of it, wherever that is."""

from __future__ import annotations

import contextlib
import errno
import hashlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol, Union

from ..errors import TargetError
from .types import Span

Bytes = Union[bytes, bytearray, memoryview]


class Written(NamedTuple):
    """A run of bytes that was written, by the SHA-256 of what should be there."""

    start: int
    end: int
    digest: bytes


class DiskTarget(Protocol):
    """A raw image that a disk is written to.

    C(concurrent): several threads may write at once; else one thread does. C(fresh): nothing was in it, so all that is
    not written reads as zeros. C(kept) counts the bytes that were right already, and were not written again.

    Everything raises C(TargetError) if the image, or the space for it, is not there any more, and C(ServerError) if its
    server cannot be reached.
    """

    name: str
    size: int
    concurrent: bool
    fresh: bool
    kept: int

    def write(self, offset: int, data: Bytes) -> None:
        """Write data (at most a segment) if it is not there already."""

    def clear(self, spans: Iterable[Span]) -> None:
        """Let spans be zeros."""

    def flush(self) -> None:
        """Wait until all is written, and durable."""

    def verify(self, written: Iterable[Written], zeros: Iterable[Span]) -> None:
        """Read everything again; raise C(TargetError) for the first place that is not what was written."""

    def finish(self) -> None:
        """Give the image its name, where it is a new one."""


def digest(data: Bytes) -> bytes:
    """Return the SHA-256 of data: what Python 2.6 on a server can compute, too."""
    return hashlib.sha256(data).digest()


def not_what_was_written(name: str, offset: int) -> TargetError:
    """Return the error of a verification."""
    return TargetError(
        f"{name} does not hold at offset {offset} what was written there: its storage is damaged, or somebody else "
        "writes to it",
        path=name,
        offset=offset,
    )


def check_size(name: str, path: str, found: int, wanted: int) -> None:
    """Raise C(TargetError) unless an image has the size of the disk."""
    if found != wanted:
        raise TargetError(f"Cannot restore to {name}: it has {found} bytes, the disk {wanted}", path=path)


def in_use(name: str, user: str) -> TargetError:
    """Return the error for an image that somebody else has open."""
    return TargetError(f"Cannot open {name}: {user} has it open: stop what uses it, such as a VM", path=name)


@contextlib.contextmanager
def target_errors(verb: str, path: str) -> Iterator[None]:
    """Turn an C(OSError) of a write into a C(TargetError) that names the path and the reason."""
    try:
        yield
    except OSError as error:
        reason = "no space is left there" if error.errno == errno.ENOSPC else error.strerror
        raise TargetError(f"Cannot {verb} {path}: {reason}", path=path, errno=error.errno) from error
