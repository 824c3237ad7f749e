# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Disk images on a server (dom0), read over ssh by the program that is sent there."""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

from ..errors import ServerError, SourceError
from .channel import Channel, Frame
from .connection import Connection, NoPython
from .dom0_files import SPAN
from .dom0_program import EXTENT, PAYLOAD_LIMIT
from .server_image import ServerImage, image_name
from .spans import split_spans
from .ssh import SshSettings
from .tool_image import ToolImage, Tools
from .types import DiskImage, Extent, ExtentMap, MapUnavailable, Pieces, Span
from .words import pieces_of

BATCH_BYTES = 4 * 1024 * 1024  # what one request reads, at least one step
BATCH_SPANS = 4096
DIFFER_BATCHES = 8  # times more where the server compares: little of it comes back


class Server:
    """A server that has storage repositories mounted; a context manager that holds the connection to it.

    C(address) is its host or C(host:port), C(name) is for messages. C(client) is the program of the ssh client.
    Raises C(ServerError)s, each of which says what would be right.
    """

    def __init__(self, settings: SshSettings, address: str, name: str, *, client: str = "ssh") -> None:
        self.settings = settings
        self.name = name
        self.connection = Connection(settings, address, name, client=client)
        self._tools: Tools | None = None  # where there is no Python

    def __enter__(self) -> Server:
        self.connect()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def connect(self) -> None:
        """Connect now, not only when something is asked for."""
        try:
            try:
                self.connection.control  # noqa: B018
            except NoPython:
                self._tools = Tools(self.connection)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the connection and all that was started for it."""
        self.connection.close()

    @property
    def method(self) -> str:
        """Return by what the server is read: C(python), or C(tools) where there is none."""
        return "tools" if self._tools is not None else "python"

    def open_image(self, path: str) -> DiskImage:
        """Open a disk image."""
        return RemoteImage(self, path) if self._tools is None else ToolImage(self._tools, path, self.name)

    def read_file(self, path: str, limit: int) -> bytes:
        """Return a small file, such as a C(vm.cfg), whole; C(SourceError) if it has more than C(limit) bytes."""
        where = image_name(path, self.name)
        limit = min(limit, PAYLOAD_LIMIT)
        if self._tools is not None:
            data = self._tools.read_file(path, limit)
        else:
            data = self.ask(f"read {where}", path, {"do": "file", "limit": limit}, os.fsencode(path)).payload
        if len(data) > limit:
            raise SourceError(f"Cannot read {where}: it has more than {limit} bytes", path=path, server=self.name)
        return data

    def free_space(self, path: str) -> tuple[int, int]:
        """Return the free bytes of the file system that holds the path, and its size."""
        if self._tools is not None:
            return self._tools.free_space(path)
        answer = self.ask(f"look at {image_name(path, self.name)}", path, {"do": "space"}, os.fsencode(path))
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


class RemoteImage(ServerImage):
    """A raw disk image on a server, open for reading; a context manager."""

    def __init__(self, server: Server, path: str) -> None:
        self.server = server
        super().__init__(path, server.name, self._open(server.connection.control, path, server.name))
        self.check_disk()

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

    def read(self, spans: Iterable[Span], *, step: int) -> Pieces:
        """Yield the bytes of all spans in order, cut at the multiples of C(step)."""
        return self._pieces(batches(spans, max(step, BATCH_BYTES)), {"do": "read"}, step, [self])

    def read_differing(self, reference: DiskImage, spans: Iterable[Span], *, step: int, block: int) -> Pieces:
        """Yield the blocks of spans that differ from those of C(reference); all, if the server is not to compare."""
        if not isinstance(reference, RemoteImage) or not self._may_compare(reference):
            return self.read(spans, step=step)
        works = batches(spans, max(step, BATCH_BYTES) * DIFFER_BATCHES)
        return self._pieces(works, {"do": "differ", "block": block}, step, [self, reference])

    def free_space(self) -> tuple[int, int]:
        """Return the free bytes of the file system that holds the image, and its size."""
        return self.server.free_space(self.path)

    def _may_compare(self, reference: RemoteImage) -> bool:
        policy = self.server.settings.compare
        if reference.server is not self.server or policy == "proxy":
            return False
        return policy == "server" or self.server.load() <= self.server.settings.max_load

    def _open(self, channel: Channel, path: str, server: str) -> Mapping[str, Any]:
        frame = channel.ask({"do": "open"}, os.fsencode(path))
        header = Answer.of(frame, f"open the image {image_name(path, server)}", path, server).header
        channel.handles[self] = int(header["handle"])
        return header

    def _prepare(self, channel: Channel) -> None:
        """Let a channel have the image open, and no other file that took its place."""
        if self in channel.handles:
            return
        now = self._open(channel, self.path, self.server_name)
        if any(now[key] != self._before[key] for key in ("device", "inode")):
            raise self.error(f"The image {self.name} was replaced while it was read")

    def state(self) -> Mapping[str, Any]:
        what = f"look at the image {self.name}"
        return self.server.ask(what, self.path, {"do": "state"}, os.fsencode(self.path)).header

    def extent_map(self) -> ExtentMap:
        connection = self.server.connection
        handle = connection.control.handles[self]
        frame = connection.control.ask({"do": "map", "handle": handle}, os.fsencode(self.path))
        header = frame.header or {}
        if "error" in header:
            raise MapUnavailable(f"the file system gives no extent map: {header['error']['text']}")
        try:
            packed = zlib.decompress(frame.payload)
            extents = tuple(Extent(*item) for item in EXTENT.iter_unpack(packed))
        except (zlib.error, struct.error) as error:
            raise MapUnavailable(f"the extent map came damaged: {error}") from error
        if len(extents) != header["extents"]:
            raise MapUnavailable("the extent map came incomplete")
        return ExtentMap(int(header["size"]), extents, int(header["allocated"]))

    def _pieces(
        self, works: Iterable[list[Span]], request: Mapping[str, Any], step: int, images: list[RemoteImage]
    ) -> Pieces:
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
            raise self.ends_early(int(error["offset"]))
        fail(error, f"read the image {self.name}", self.path, self.server_name)


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
