# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A proxy between the tests and the S3 server that counts requests and, when told, makes faults.

What it answers by itself (throttling, expired credentials) stands in for a server in that state: status, code and
shape are those of S3's documentation. All else comes from the real server.
"""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

# These belong to one connection, or are set anew.
_HOP = ("connection", "expect", "keep-alive", "transfer-encoding", "content-length", "date", "server")


@dataclass
class Fault:
    """What happens to the next C(times) requests that fit.

    C(kind): C(answer) (C(status) and C(code), the server is not asked), C(break) (the connection ends before the server
    is asked), C(lose) (the server does it, but the connection ends without an answer), C(cut) (the answer ends after
    C(after) bytes of its content), C(accept) (success if the request has the header C(header), whatever that demands;
    the server is not asked). The last one stands in for a server that ignores a condition: conditions are signed, so
    they cannot be left out on the way.
    """

    kind: str
    method: str = ""
    query: str | None = None  # a name that the query must have; "" for a request without a query
    times: int = 1
    status: int = 503
    code: str = "SlowDown"
    header: str = ""
    after: int = 0

    def fits(self, method: str, query: str) -> bool:
        names = parse_qs(query, keep_blank_values=True)
        # The library says by this what it is about to do.
        names.pop("x-id", None)
        if self.method and self.method != method:
            return False
        return self.query is None or (self.query in names if self.query else not names)


class FaultProxy:
    """The proxy while it runs. C(requests) are method and path of each request that came."""

    def __init__(self, target: str) -> None:
        self.target = urlsplit(target)
        self.requests: list[tuple[str, str]] = []
        self.faults: list[Fault] = []
        self.lock = threading.Lock()
        self.endpoint = ""

    def add(self, fault: Fault) -> None:
        """Let a fault happen."""
        with self.lock:
            self.faults.append(fault)

    def count(self, method: str = "") -> int:
        """Return how many requests came, of one method or of all."""
        with self.lock:
            return sum(not method or one == method for one, _path in self.requests)

    def reset(self) -> None:
        """Forget faults and requests."""
        with self.lock:
            self.faults.clear()
            self.requests.clear()

    def took(self, method: str, path: str, headers: Message) -> list[Fault]:
        """Note a request; return what happens to it."""
        query = urlsplit(path).query
        with self.lock:
            self.requests.append((method, path))
            fitting = [
                fault
                for fault in self.faults
                if fault.times and fault.fits(method, query) and (not fault.header or fault.header in headers)
            ]
            for fault in fitting:
                fault.times -= 1
            return fitting


@contextlib.contextmanager
def faulty(target: str) -> Iterator[FaultProxy]:
    """Run a proxy in front of a server."""
    proxy = FaultProxy(target)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            self.behind = http.client.HTTPConnection(proxy.target.hostname or "", proxy.target.port, timeout=30)

        def finish(self) -> None:
            self.behind.close()
            with contextlib.suppress(OSError):
                super().finish()

        def log_message(self, format: str, *args: object) -> None:
            pass

        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            faults = proxy.took(self.command, self.path, self.headers)
            kinds = {fault.kind: fault for fault in faults}
            if "answer" in kinds:
                self.answer(kinds["answer"])
                return
            if "accept" in kinds:
                self.accept()
                return
            if "break" in kinds:
                self.close_connection = True
                return
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
            if body or self.command in ("PUT", "POST"):
                headers["Content-Length"] = str(len(body))
            try:
                self.behind.request(self.command, self.path, body=body or None, headers=headers)
                answer = self.behind.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException):
                self.behind.close()
                self.close_connection = True
                return
            if "lose" in kinds:
                self.close_connection = True
                return
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in _HOP or name.lower() == "date":
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
            if length is not None and answer.status != 204:
                self.send_header("Content-Length", length)
            self.end_headers()
            if "cut" in kinds:
                content = content[: kinds["cut"].after]
                self.close_connection = True
            if self.command != "HEAD":
                self.wfile.write(content)

        def accept(self) -> None:
            self.send_response_only(200)
            self.send_header("ETag", '"0123456789abcdef0123456789abcdef"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def answer(self, fault: Fault) -> None:
            text = f"<?xml version='1.0'?><Error><Code>{fault.code}</Code><Message>as told</Message></Error>"
            content = b"" if self.command == "HEAD" else text.encode()
            self.send_response_only(fault.status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = serve

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    proxy.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
