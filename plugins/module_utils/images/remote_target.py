# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""A disk image on a server (dom0) that is written over ssh by the program that is sent there."""

from __future__ import annotations

import bisect
import contextlib
import itertools
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Callable, TypeVar

from ..errors import ServerError, SourceError, TargetError
from .channel import Channel
from .dom0_files import SPAN
from .dom0_write import DIGEST
from .remote import BATCH_SPANS, RemoteImage, Server
from .server_image import image_name
from .spans import split_spans
from .target import Bytes, Written, digest, not_what_was_written
from .types import Span

_WINDOW = 8 * 1024 * 1024  # bytes on their way that no answer has come for
_DEPTH = 64  # requests, likewise
_STEP = 1024 * 1024  # what one request looks at
_Item = TypeVar("_Item")


class RemoteTarget:
    """A raw image on a server, open for writing; a context manager, made by C(new_remote_image) or with a path.

    Data that is there already, as after an interrupted restore, is found by its hash on the server and not sent.
    """

    concurrent = False

    def __init__(self, server: Server, path: str, size: int, *, create: bool = False) -> None:
        self.server = server
        self.path = path
        self.name = image_name(path, server.name)
        self.size = size
        self.kept = 0
        self._handles: dict[Channel, int] = {}
        self._channels: list[Channel] = []
        self._turn = itertools.count()
        self._open: deque[tuple[Channel, int, Callable[[bytes, Mapping[str, Any]], None]]] = deque()
        self._on_the_way = 0
        self._late: deque[tuple[int, bytes]] = deque()
        if server.method != "python":
            raise TargetError(
                f"Cannot write {self.name}: there is no Python on the server; restore through a path or by import",
                path=path,
            )
        # This one holds the lock.
        header = self._prepare(server.connection.control, create=create, lock=True)
        if int(header["size"]) != size:
            self.close()
            raise TargetError(
                f"Cannot restore to {self.name}: it has {header['size']} bytes, the disk {size}", path=path
            )
        self._data: list[Span] = [] if create else self._allocated()
        self.fresh = not self._data
        self._starts = [span.start for span in self._data]

    def __enter__(self) -> RemoteTarget:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the image on the server."""
        connection = self.server.connection
        for channel in self._channels:
            connection.give_back(channel)
        for channel in connection.open_channels():
            handle = self._handles.pop(channel, None)
            if handle is not None:
                with contextlib.suppress(ServerError):  # then nothing is open any more
                    channel.ask({"do": "close", "handle": handle})
        self._channels, self._handles = [], {}

    def write(self, offset: int, data: Bytes) -> None:
        """Write data if it is not there already."""
        content = bytes(data)
        if not self._overlaps(offset, offset + len(content)):
            self._write(offset, content)
            return

        def answered(same: bytes, _header: Mapping[str, Any]) -> None:
            if same == b"\1":
                self.kept += len(content)
            else:
                self._late.append((offset, content))

        self._submit({"do": "compare"}, DIGEST.pack(offset, offset + len(content), digest(content)), answered, content)

    def clear(self, spans: Iterable[Span]) -> None:
        """Let spans be zeros."""
        for batch in batched(self._within_data(spans), BATCH_SPANS):
            self._submit({"do": "clear", "write": True}, _packed(batch), _nothing)

    def flush(self) -> None:
        """Wait until all is written, and durable."""
        self._settle()
        # One file, whichever of its handles is asked.
        self._submit({"do": "sync"}, b"", _nothing)
        self._settle()

    def verify(self, written: Iterable[Written], zeros: Iterable[Span]) -> None:
        """Let the server read everything again; only hashes cross the wire."""
        for batch in batched(written, 64):

            def compared(same: bytes, _header: Mapping[str, Any], batch: list[Written] = batch) -> None:
                for item, good in zip(batch, same):
                    if not good:
                        raise not_what_was_written(self.name, item.start)

            self._submit({"do": "compare"}, b"".join(DIGEST.pack(*item) for item in batch), compared)
        self._data = self._allocated()
        self._starts = [span.start for span in self._data]
        for spans in batched(self._within_data(zeros), BATCH_SPANS):

            def cleared(_data: bytes, header: Mapping[str, Any]) -> None:
                if header["cleared"]:
                    raise not_what_was_written(self.name, int(header["first"]))

            self._submit({"do": "clear", "write": False}, _packed(spans), cleared)
        self._settle()

    def finish(self) -> None:
        """Leave the image as it is: it has its name."""

    # --- requests ----------------------------------------------------------------------------------------------------

    def _write(self, offset: int, data: bytes) -> None:
        self._submit({"do": "write", "offset": offset}, data, _nothing)

    def _submit(
        self,
        request: Mapping[str, Any],
        payload: bytes,
        done: Callable[[bytes, Mapping[str, Any]], None],
        held: bytes = b"",
    ) -> None:
        """Send a request on one of the channels; take earlier answers when too much is on the way."""
        channel = self._channel()
        channel.send({**request, "handle": self._handles[channel]}, payload)
        size = len(payload) + len(held)
        self._open.append((channel, size, done))
        self._on_the_way += size
        while self._on_the_way > _WINDOW or len(self._open) > _DEPTH:
            self._take()
        if self._late:
            self._write(*self._late.popleft())

    def _settle(self) -> None:
        while self._open or self._late:
            if self._late:
                self._write(*self._late.popleft())
            else:
                self._take()

    def _take(self) -> None:
        channel, size, done = self._open.popleft()
        self._on_the_way -= size
        parts = []
        header: Mapping[str, Any] = {}
        for frame in channel.answer(self._channels):
            parts.append(frame.payload)
            header = frame.header or header
        self._check(header, "write")
        done(b"".join(parts), header)

    def _channel(self) -> Channel:
        number = next(self._turn) % self.server.settings.streams
        if number >= len(self._channels):
            channel = self.server.connection.borrow()
            self._channels.append(channel)
            self._prepare(channel, create=False, lock=False)
        return self._channels[number]

    def _prepare(self, channel: Channel, *, create: bool, lock: bool) -> Mapping[str, Any]:
        request = {"do": "target", "create": create, "lock": lock, "size": self.size}
        header = channel.ask(request, os.fsencode(self.path)).header or {}
        self._check(header, "create" if create else "open")
        self._handles[channel] = int(header["handle"])
        return header

    def _check(self, header: Mapping[str, Any], verb: str) -> None:
        if "error" in header:
            error = header["error"]
            at = f" at offset {error['offset']}" if error.get("offset") is not None else ""
            raise TargetError(
                f"Cannot {verb} {self.name}{at}: {error.get('text')}",
                path=self.path,
                server=self.server.name,
                errno=error.get("errno"),
            )

    # --- what is there -----------------------------------------------------------------------------------------------

    def _allocated(self) -> list[Span]:
        """Return what may be other than zeros."""
        try:
            with RemoteImage(self.server, self.path) as image:
                return image.data_spans()
        except SourceError as error:
            raise TargetError(f"Cannot restore to {self.name}: {error.message}", path=self.path) from error

    def _overlaps(self, start: int, end: int) -> bool:
        index = bisect.bisect_left(self._starts, end)
        return index > 0 and self._data[index - 1].end > start

    def _within_data(self, spans: Iterable[Span]) -> Iterator[Span]:
        return (part for part in split_spans(spans, _STEP) if self._overlaps(*part))


@contextlib.contextmanager
def new_remote_image(server: Server, path: str, size: int) -> Iterator[RemoteTarget]:
    """Give an empty image on a server; when an error ends the block, it is removed there."""
    with RemoteTarget(server, path, size, create=True) as target:
        try:
            yield target
        except BaseException:
            # Also when the connection is gone: then the message of the error stays the first one.
            with contextlib.suppress(ServerError, SourceError):
                server.ask(f"remove {target.name}", path, {"do": "remove"}, os.fsencode(path))
            raise


def batched(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Yield the items in lists of at most C(size)."""
    source = iter(items)
    while batch := list(itertools.islice(source, size)):
        yield batch


def _packed(spans: Iterable[Span]) -> bytes:
    return b"".join(SPAN.pack(*span) for span in spans)


def _nothing(_data: bytes, _header: Mapping[str, Any]) -> None:
    """Need nothing of an answer that is no error."""
