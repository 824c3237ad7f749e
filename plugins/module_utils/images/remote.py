# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.
"""Disk images on a server (dom0), read over ssh by the program that is sent there."""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

from ..errors import ServerError, SourceError
from .channel import Channel, Frame
from .connection import Connection, NoPython
from .dom0 import FIEMAP_EXTENT_LAST
from .dom0_program import EXTENT, PAYLOAD_LIMIT, SPAN
from .spans import split_spans
from .ssh import SshSettings
from .types import MAPPED_FILE_SYSTEMS, DiskImage, Extent, ExtentMap, Identity, MapUnavailable, Piece, Span
from .words import pieces_of

BATCH_BYTES = 4 * 1024 * 1024  # what one request reads, at least one step
BATCH_SPANS = 4096
DIFFER_BATCHES = 8  # times more where the server compares: little of it comes back
_UNWRITTEN = 0x800


class Server:
    """A server that has storage repositories mounted; a context manager that holds the connection to it.

    C(address) is its host or C(host:port), C(name) is for messages. C(client) is the program of the ssh client.
    Raises C(ServerError)s, each of which says what would be right.
    """

    def __init__(self, settings: SshSettings, address: str, name: str, *, client: str = "ssh") -> None:
        self.settings = settings
        self.name = name
        self.connection = Connection(settings, address, name, client=client)

    def __enter__(self) -> Server:
        self.connect()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def connect(self) -> None:
        """Connect now, not only when something is asked for."""
        try:
            self.connection.control  # noqa: B018
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the connection and all that was started for it."""
        self.connection.close()

    def open_image(self, path: str) -> RemoteImage:
        """Open a disk image."""
        return RemoteImage(self, path)

    def read_file(self, path: str, limit: int) -> bytes:
        """Return a small file, such as a C(vm.cfg), whole; C(SourceError) if it has more than C(limit) bytes."""
        where = f"{path} on server {self.name}"
        limit = min(limit, PAYLOAD_LIMIT)
        answer = self.ask(f"read {where}", path, {"do": "file", "limit": limit}, os.fsencode(path))
        if len(answer.payload) > limit:
            raise SourceError(f"Cannot read {where}: it has more than {limit} bytes", path=path, server=self.name)
        return answer.payload

    def free_space(self, path: str) -> tuple[int, int]:
        """Return the free bytes of the file system that holds the path, and its size."""
        answer = self.ask(f"look at {path} on server {self.name}", path, {"do": "space"}, os.fsencode(path))
        return int(answer.header["free"]), int(answer.header["size"])

    def load(self) -> float:
        """Return the load of the server now, per processor."""
        header = self.ask("look at the load", "", {"do": "hello"}).header
        return float(header["load"]) / max(1, int(header["processors"]))

    def ask(self, what: str, path: str, request: Mapping[str, Any], payload: bytes = b"") -> Answer:
        """Ask for something short; C(what) completes the sentence "Cannot ...". Raises C(SourceError)."""
        return Answer.of(self.connection.control.ask(request, payload), what, path, self.name)


class Answer:
    """An answer that is not an error."""

    def __init__(self, header: Mapping[str, Any], payload: bytes) -> None:
        self.header = header
        self.payload = payload

    @classmethod
    def of(cls, frame: Frame, what: str, path: str, server: str) -> Answer:
        """Return the answer of a frame that ends one; raise C(SourceError) if it is an error."""
        header = frame.header or {}
        if "error" in header:
            fail(header["error"], what, path, server)
        return cls(header, frame.payload)


def fail(error: Mapping[str, Any], what: str, path: str, server: str) -> NoReturn:
    """Raise C(SourceError) for an error that the program tells."""
    offset = error.get("offset")
    at = f" at offset {offset}" if offset is not None else ""
    raise SourceError(
        f"Cannot {what}{at}: {error.get('text')}",
        path=path,
        server=server,
        offset=offset,
        errno=error.get("errno"),
    )


class RemoteImage:
    """A raw disk image on a server, open for reading; a context manager."""

    def __init__(self, server: Server, path: str) -> None:
        self.server = server
        self.path = path
        self.name = f"{path} on server {server.name}"
        self.bytes_read = 0
        self._before = self._open(server.connection.control)
        self.size = int(self._before["size"])
        if not self._before["regular"] or not self.size:
            self.close()
            what = "is empty" if self._before["regular"] else "is not a regular file"
            raise SourceError(f"The image {self.name} {what}: it cannot be a disk", path=path, server=server.name)

    def __enter__(self) -> RemoteImage:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the image on the server, so that the space of one that is removed there comes free."""
        for channel in self.server.connection.open_channels():
            handle = channel.handles.pop(self, None)
            if handle is not None:
                with contextlib.suppress(ServerError):  # then nothing is open any more
                    channel.ask({"do": "close", "handle": handle})

    def identity(self) -> Identity:
        """Return which file it is now; C(MapUnavailable) if its file system cannot be told from another."""
        try:
            now = self._state()
        except SourceError as error:
            raise MapUnavailable(error.message) from error
        if not now["uuid"]:
            raise MapUnavailable(f"the file system of {self.name} ({now['file_system']}) does not tell its UUID")
        return Identity.parse(now)

    def extents(self) -> ExtentMap:
        """Return the map of the image as it is now; C(MapUnavailable) if the file system has none to trust."""
        kind = self._before["file_system"]
        if kind not in MAPPED_FILE_SYSTEMS:
            raise MapUnavailable(f"the file system {kind} has no clones that share extents")
        return self._map()

    def data_spans(self) -> list[Span]:
        """Return what may hold data, ascending and without overlaps; all else is zeros."""
        try:
            return spans_with_data(self._map())
        except MapUnavailable:
            return [Span(0, self.size)]  # the server does not send the zeros

    def read(self, spans: Iterable[Span], *, step: int) -> Iterator[Piece]:
        """Yield the bytes of all spans in order, cut at the multiples of C(step)."""
        return self._pieces(batches(spans, max(step, BATCH_BYTES)), {"do": "read"}, step, [self])

    def read_differing(self, reference: DiskImage, spans: Iterable[Span], *, step: int, block: int) -> Iterator[Piece]:
        """Yield the blocks of spans that differ from those of C(reference); all, if the server is not to compare."""
        if not isinstance(reference, RemoteImage) or not self._may_compare(reference):
            return self.read(spans, step=step)
        works = batches(spans, max(step, BATCH_BYTES) * DIFFER_BATCHES)
        return self._pieces(works, {"do": "differ", "block": block}, step, [self, reference])

    def free_space(self) -> tuple[int, int]:
        """Return the free bytes of the file system that holds the image, and its size."""
        return self.server.free_space(self.path)

    def check_unchanged(self) -> None:
        """Raise C(SourceError) when the image was written to since it was opened."""
        before, now = self._before, self._state()
        if any(now[key] != before[key] for key in ("device", "inode", "size", "mtime")):
            raise SourceError(
                f"The image {self.name} changed while it was read ({before['size']} bytes, then {now['size']}): "
                "something writes to it, so the copy would not be consistent",
                path=self.path,
                server=self.server.name,
            )

    def _may_compare(self, reference: RemoteImage) -> bool:
        policy = self.server.settings.compare
        if reference.server is not self.server or policy == "proxy":
            return False
        return policy == "server" or self.server.load() <= self.server.settings.max_load

    def _open(self, channel: Channel) -> Mapping[str, Any]:
        what = f"open the image {self.name}"
        frame = channel.ask({"do": "open"}, os.fsencode(self.path))
        header = Answer.of(frame, what, self.path, self.server.name).header
        channel.handles[self] = int(header["handle"])
        return header

    def _prepare(self, channel: Channel) -> None:
        """Let a channel have the image open, and no other file that took its place."""
        if self in channel.handles:
            return
        now = self._open(channel)
        if any(now[key] != self._before[key] for key in ("device", "inode")):
            raise SourceError(
                f"The image {self.name} was replaced while it was read", path=self.path, server=self.server.name
            )

    def _state(self) -> Mapping[str, Any]:
        what = f"look at the image {self.name}"
        return self.server.ask(what, self.path, {"do": "state"}, os.fsencode(self.path)).header

    def _map(self) -> ExtentMap:
        connection = self.server.connection
        handle = connection.control.handles[self]
        frame = connection.control.ask({"do": "map", "handle": handle}, os.fsencode(self.path))
        header = frame.header or {}
        if "error" in header:
            raise MapUnavailable(f"the file system gives no extent map: {header['error']['text']}")
        try:
            packed = zlib.decompress(frame.payload)
            extents = tuple(Extent(*item) for item in EXTENT.iter_unpack(packed))
        except (zlib.error, ValueError) as error:
            raise MapUnavailable(f"the extent map came damaged: {error}") from error
        if len(extents) != header["extents"]:
            raise MapUnavailable("the extent map came incomplete")
        return ExtentMap(int(header["size"]), extents)

    def _pieces(
        self, works: Iterable[list[Span]], request: Mapping[str, Any], step: int, images: list[RemoteImage]
    ) -> Iterator[Piece]:
        def prepare(channel: Channel) -> None:
            for image in images:
                image._prepare(channel)

        def send(channel: Channel, work: list[Span]) -> None:
            names = ("handle", "reference")
            handles = {name: channel.handles[image] for name, image in zip(names, images)}
            channel.send({**request, **handles}, b"".join(SPAN.pack(*span) for span in work))

        for work, frames in self.server.connection.deal(works, prepare, send):
            yield from pieces_of(split_spans(work, step), self._data(frames))

    def _data(self, frames: Iterator[Frame]) -> Iterator[bytes]:
        for frame in frames:
            if frame.header is None:
                yield frame.payload
            elif "error" in frame.header:
                self._fail(frame.header["error"])
            else:
                self.bytes_read += int(frame.header["read"])

    def _fail(self, error: Mapping[str, Any]) -> NoReturn:
        if error.get("ends"):
            raise SourceError(
                f"The image {self.name} ends at offset {error['offset']}, but had {self.size} bytes when it was "
                "opened: it was truncated while it was read",
                path=self.path,
                server=self.server.name,
                offset=error["offset"],
            )
        fail(error, f"read the image {self.name}", self.path, self.server.name)


def batches(spans: Iterable[Span], size: int) -> Iterator[list[Span]]:
    """Yield the same spans in lists that one request can have, cut at multiples of C(size) where they are long."""
    batch: list[Span] = []
    total = 0
    for span in split_spans(spans, size):
        length = span.end - span.start
        if batch and (total + length > size or len(batch) >= BATCH_SPANS):
            yield batch
            batch, total = [], 0
        batch.append(span)
        total += length
    if batch:
        yield batch


def spans_with_data(extents: ExtentMap) -> list[Span]:
    """Return what of a file may not be zeros."""
    found: list[Span] = []
    items = [Span(item.logical, item.logical + item.length) for item in extents.extents if not item.flags & _UNWRITTEN]
    last = extents.extents[-1] if extents.extents else None
    if last is not None and not last.flags & FIEMAP_EXTENT_LAST:
        items.append(Span(last.logical + last.length, extents.size))  # nobody says that there is nothing more
    for start, end in items:
        end = min(end, extents.size)
        if found and found[-1].end >= start:
            found[-1] = Span(found[-1].start, max(found[-1].end, end))
        elif start < end:
            found.append(Span(start, end))
    return found


__all__ = ["NoPython", "RemoteImage", "Server"]
