# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""A disk of a recovery point over HTTP, for a manager that imports it (ovm-rest-api 14.5): while a block of code runs.

Under a path that nobody can guess, because it is served without a password. Every block is checked before it is sent;
at the first that is not what was backed up the connection is closed, so nobody takes a part for the whole.
"""

from __future__ import annotations

import contextlib
import http.server
import re
import secrets
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import quote

from ..errors import OvmBackupError, TargetError
from ..images.types import Span
from ..vault.chain import DiskChain
from ..vault.random_access import DiskReader
from .changes import total, widened
from .disk_backup import Progress

_STEP = 1024 * 1024
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_NAME = re.compile(r"[^A-Za-z0-9._-]")


class ServedDisk:
    """A disk that is served: C(url) is where, C(sent) how many bytes of it went out."""

    def __init__(self, reader: DiskReader, path: str, progress: Progress | None = None) -> None:
        self.reader = reader
        self._progress = progress
        self.path = path
        self.url = ""
        self._parts: list[Span] = []
        self._failure: Exception | None = None
        self._lock = threading.Lock()

    @property
    def sent(self) -> int:
        """Return how many bytes of the disk went out. What was fetched twice counts once."""
        with self._lock:
            return total(self._parts)

    def add(self, start: int, end: int) -> None:
        """Count what was sent."""
        with self._lock:
            self._parts = widened(sorted([*self._parts, Span(start, end)]), 1, self.reader.size)
            if self._progress is not None:
                self._progress(total(self._parts), self.reader.size)

    def fail(self, error: Exception) -> None:
        """Keep what stopped the serving; the first is the reason of all others."""
        with self._lock:
            self._failure = self._failure or error

    def check(self) -> None:
        """Raise what stopped the serving, such as C(CorruptVaultError)."""
        if self._failure is not None:
            raise self._failure

    def check_complete(self) -> None:
        """Raise for an import that did not take all of the disk, each byte of it right."""
        self.check()
        if self.sent < self.reader.size:
            raise TargetError(
                f"The import took {self.sent} of {self.reader.size} bytes and was called complete: the virtual disk "
                "was removed",
                path=self.url,
            )


@contextlib.contextmanager
def serve_disk(
    chain: DiskChain,
    name: str,
    *,
    content_hash: str,
    address: str,
    port: int = 0,
    listen: str | None = None,
    progress: Progress | None = None,
) -> Iterator[ServedDisk]:
    """Serve a disk at an address, by default on any free port, as long as the block runs.

    C(listen) is the address of this host where it listens, if others reach it under C(address), as behind NAT.
    C(progress) gets how many bytes of the disk went out, and its size.
    Raises C(CorruptVaultError) when the tables of the chain do not give the disk with that hash, C(TargetError) when
    there can be no server at that address.
    """
    if chain.content_hash() != content_hash:
        raise chain.another_disk()
    served = ServedDisk(
        DiskReader(chain), f"/{secrets.token_urlsafe(24)}/{_NAME.sub('_', name) or 'disk'}.img", progress
    )
    try:
        server = _Server((listen or address, port), served)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise TargetError(f"Cannot serve a disk at {listen or address}:{port}: {reason}", path=address) from error
    served.url = f"http://{address}:{server.server_port}{quote(served.path)}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.end()


class _Server(http.server.ThreadingHTTPServer):
    # Nothing may read the chain once it is closed: the end waits for the threads.
    daemon_threads = False

    def __init__(self, address: tuple[str, int], served: ServedDisk) -> None:
        self.served = served
        self.connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def end(self) -> None:
        """Hang up on everybody who is still there, and close."""
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread, and know of it."""
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """Keep what is nobody's fault but ours: standard error belongs to the module. That clients vanish is usual."""
        error = sys.exc_info()[1]
        if isinstance(error, Exception) and not isinstance(error, OSError):
            self.served.fail(error)


class _Handler(http.server.BaseHTTPRequestHandler):
    timeout = 60  # seconds without a sign of the other side
    server_version = "ovm.backup"
    sys_version = ""

    def do_GET(self) -> None:
        """Send the disk, or a part of it."""
        part = self._head()
        if part is None:
            return
        served = self._served
        offset, end = part
        try:
            while offset < end:
                data = served.reader.read(offset, min(_STEP, end - offset))
                # First: who has the last byte may come at once and ask whether that was all.
                served.add(offset, offset + len(data))
                self.wfile.write(data)
                offset += len(data)
        except OvmBackupError as error:
            served.fail(error)
            self.close_connection = True
        except OSError:
            self.close_connection = True  # whoever fetched it is gone

    def do_HEAD(self) -> None:
        """Tell how large it is."""
        self._head()

    def log_message(self, *_arguments: object) -> None:
        """Say nothing: standard error belongs to the module."""

    @property
    def _served(self) -> ServedDisk:
        return cast(_Server, self.server).served

    def _head(self) -> tuple[int, int] | None:
        """Send the head of an answer; return what of the disk is wanted, nothing if that is none of it."""
        size = self._served.reader.size
        if not secrets.compare_digest(self.path.encode(), quote(self._served.path).encode()):
            self.send_error(404)
            return None
        start, end = 0, size
        wanted = _RANGE.fullmatch(self.headers.get("Range", ""))
        if wanted is not None:
            start = int(wanted[1])
            end = min(int(wanted[2]) + 1 if wanted[2] else size, size)
            if start >= end:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{size}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return None
        self.send_response(206 if wanted is not None else 200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(end - start))
        self.send_header("Accept-Ranges", "bytes")
        if wanted is not None:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.end_headers()
        return start, end
