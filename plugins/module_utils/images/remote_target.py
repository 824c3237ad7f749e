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
from .remote import RemoteImage, Server, batches
from .server_image import image_name
from .spans import split_spans
from .target import Bytes, Written, check_size, digest, not_what_was_written
from .types import Span

_WINDOW = 8 * 1024 * 1024  # bytes on their way that no answer has come for
_DEPTH = 64  # requests, likewise
_STEP = 1024 * 1024  # what is looked at or not, as a whole
# What one request looks at. The server says nothing meanwhile, and its storage may be slow.
_REQUEST = 64 * 1024 * 1024
# Times C(stall_timeout) for what the server has in its memory to reach the storage: nobody hears of that meanwhile. If
# the network or the server is gone, ssh itself notices.
_LASTING = 10
_PATIENCE = 100  # tenths of a second for what an interrupted restore has left to end
_Item = TypeVar("_Item")


class RemoteTarget:
    """A raw image on a server, open for writing; a context manager.

    Data that is there already, as after an interrupted restore, is found by its hash on the server and not sent. With
    C(create) it is a new image, which has its name only from C(finish) on: without that the server removes it, also
    when nobody is there any more to ask for it. C(patience): tenths of a second for another restore of it to end.
    """

    concurrent = False

    def __init__(
        self, server: Server, path: str, size: int, *, create: bool = False, patience: int = _PATIENCE
    ) -> None:
        self.server = server
        self.path = path
        self.name = image_name(path, server.name)
        self.size = size
        self.kept = 0
        self._create = create
        # The server says nothing meanwhile.
        self._patience = max(1, min(patience, int(server.settings.stall_timeout * 5)))
        self._there = f"{path}.restoring" if create else path
        self._handles: dict[Channel, int] = {}
        self._channels: list[Channel] = []
        self._turn = itertools.count()
        self._open: deque[tuple[Channel, int, int, Callable[[bytes, Mapping[str, Any]], None]]] = deque()
        self._on_the_way = 0
        self._late: deque[tuple[int, bytes]] = deque()
        require_python(server, path)
        # This one holds the lock.
        header = self._prepare(server.connection.control, first=True)
        try:
            check_size(self.name, path, int(header["size"]), size)
            self._data: list[Span] = [] if create else self._allocated()
        except BaseException:
            self.close()
            raise
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
        for batch in batches(self._within_data(spans), _REQUEST):
            self._submit({"do": "clear", "write": True}, _packed(batch), _nothing)

    def flush(self) -> None:
        """Wait until all is written, and durable."""
        self._settle()
        # Each of its handles: NFS tells that data was lost on its way only to the one that it came by.
        for channel in self._channels or [self._channel()]:
            self._submit({"do": "sync"}, b"", _nothing, channel=channel, times=_LASTING)
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
        for spans in batches(self._within_data(zeros), _REQUEST):

            def cleared(_data: bytes, header: Mapping[str, Any]) -> None:
                if header["cleared"]:
                    raise not_what_was_written(self.name, int(header["first"]))

            self._submit({"do": "clear", "write": False}, _packed(spans), cleared)
        self._settle()

    def room(self) -> int:
        """Return how many bytes of data the image can take."""
        free, _size = self._asked(lambda: self.server.free_space(os.path.dirname(self.path)))
        return free + sum(span.end - span.start for span in self._data)

    def finish(self) -> None:
        """Give a new image its name."""
        if self._create:
            control = self.server.connection.control
            request = {"do": "finish", "handle": self._handles[control]}
            self._check(control.ask(request, os.fsencode(self.path)).header or {}, "create")
            self._create, self._there = False, self.path

    # --- requests ----------------------------------------------------------------------------------------------------

    def _write(self, offset: int, data: bytes) -> None:
        self._submit({"do": "write", "offset": offset}, data, _nothing)

    def _submit(
        self,
        request: Mapping[str, Any],
        payload: bytes,
        done: Callable[[bytes, Mapping[str, Any]], None],
        held: bytes = b"",
        *,
        channel: Channel | None = None,
        times: int = 1,
    ) -> None:
        """Send a request on one of the channels; take earlier answers when too much is on the way."""
        channel = channel or self._channel()
        channel.send({**request, "handle": self._handles[channel]}, payload)
        size = len(payload) + len(held)
        self._open.append((channel, size, times, done))
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
        channel, size, times, done = self._open.popleft()
        self._on_the_way -= size
        parts = []
        header: Mapping[str, Any] = {}
        for frame in channel.answer(self._channels, times=times):
            parts.append(frame.payload)
            header = frame.header or header
        self._check(header, "write")
        done(b"".join(parts), header)

    def _channel(self) -> Channel:
        number = next(self._turn) % self.server.settings.streams
        if number >= len(self._channels):
            channel = self.server.connection.borrow()
            self._channels.append(channel)
            self._prepare(channel, first=False)
        return self._channels[number]

    def _prepare(self, channel: Channel, *, first: bool) -> Mapping[str, Any]:
        """Let a channel have the image open; the first one locks it, and makes it if that is wanted."""
        there = os.fsencode(self._there)
        if first and self._create:
            request = {"do": "create", "size": self.size, "lock": self._patience}
            frame = channel.ask(request, there + b"\0" + os.fsencode(self.path))
        else:
            frame = channel.ask({"do": "target", "lock": self._patience if first else 0}, there)
        header = frame.header or {}
        self._check(header, "create" if self._create else "open")
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

        def look() -> list[Span]:
            with RemoteImage(self.server, self._there) as image:
                return image.data_spans()

        return self._asked(look)

    def _asked(self, look: Callable[[], _Item]) -> _Item:
        try:
            return look()
        except SourceError as error:
            raise TargetError(f"Cannot restore to {self.name}: {error.message}", path=self.path) from error

    def _overlaps(self, start: int, end: int) -> bool:
        index = bisect.bisect_left(self._starts, end)
        return index > 0 and self._data[index - 1].end > start

    def _within_data(self, spans: Iterable[Span]) -> Iterator[Span]:
        return (part for part in split_spans(spans, _STEP) if self._overlaps(*part))


def require_python(server: Server, path: str) -> None:
    """Raise C(TargetError) for a server that only tools can read."""
    if server.method != "python":
        raise TargetError(
            f"Cannot write {image_name(path, server.name)}: there is no Python on the server; restore through a path "
            "or by import",
            path=path,
        )


def batched(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Yield the items in lists of at most C(size)."""
    source = iter(items)
    while batch := list(itertools.islice(source, size)):
        yield batch


def _packed(spans: Iterable[Span]) -> bytes:
    return b"".join(SPAN.pack(*span) for span in spans)


def _nothing(_data: bytes, _header: Mapping[str, Any]) -> None:
    """Need nothing of an answer that is no error."""
