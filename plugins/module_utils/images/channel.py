# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""A program on a server, behind one ssh client: frames to it, and frames from it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .._children import child_environment
from ..errors import ServerError, ServerToolError, ServerUnreachableError
from .dom0_program import FRAME, READY
from .ssh import SshSettings
from .ssh_errors import failure, last_lines

READ_AHEAD = 8 * 1024 * 1024  # bytes that are kept of an answer that nobody has asked for yet
_FRAME_LIMIT = 4 * 1024 * 1024
_READ = 1024 * 1024
_NOISE = 64 * 1024  # what login scripts may print
_ERRORS = 16 * 1024  # how much of standard error is kept
_GOODBYE = 2.0  # seconds for a program to end by itself
_F_SETPIPE_SZ = 1031  # fcntl has its name from Python 3.10 on


class Frame(NamedTuple):
    """A part of an answer; one with a header ends it."""

    header: Mapping[str, Any] | None
    payload: bytes


class Peer(NamedTuple):
    """Whom a channel is to, and how."""

    settings: SshSettings
    server: str  # its name, for messages
    address: str


class Process:
    """An ssh client with its three streams, none of which blocks."""

    def __init__(self, command: Sequence[str], peer: Peer) -> None:
        self.peer = peer
        self.error: ServerError | None = None  # why nothing comes any more
        self.progress = 0  # grows with all that passes
        self._outgoing: deque[memoryview] = deque()
        self._last = False  # nothing is to be sent any more
        self._stderr = b""
        # In the language of our patterns. In a session of its own: an interruption of us is no interruption of it, so
        # that we end it when we are done with it.
        environment = {**child_environment(), "LC_ALL": "C"}
        try:
            self._process = subprocess.Popen(  # pylint: disable=ansible-bad-function
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise ServerToolError(
                f"The ssh client {command[0]} cannot be started on this proxy: {error.strerror}; "
                "install the client of OpenSSH",
                server=peer.server,
                address=peer.address,
            ) from error
        streams = (self._process.stdin, self._process.stdout, self._process.stderr)
        self._stdin, self._stdout, self._errors = [stream.fileno() for stream in streams if stream is not None]
        self._open = {self._stdin, self._stdout, self._errors}
        for number in self._open:
            os.set_blocking(number, False)
        with contextlib.suppress(OSError):  # what a user may have of it is limited
            fcntl.fcntl(self._stdout, _F_SETPIPE_SZ, _READ)

    def write(self, data: bytes) -> None:
        """Have data sent when there is room for it."""
        if data:
            self._outgoing.append(memoryview(data))

    def end_input(self) -> None:
        """Tell the program that nothing more comes, once all is sent."""
        self._last = True
        if not self._outgoing:
            self._shut(self._stdin)

    def wanted(self) -> dict[int, int]:
        """Return the streams to wait for, with what to wait for."""
        found = {number: select.POLLIN for number in (self._stdout, self._errors) if number in self._open}
        if not self.has_room():
            found.pop(self._stdout, None)
        if self._outgoing and self._stdin in self._open:
            found[self._stdin] = select.POLLOUT
        return found

    def has_room(self) -> bool:
        """Tell whether more may be read."""
        return True

    def take(self, data: bytes) -> None:
        """Take what came on standard output."""

    def handle(self, number: int) -> None:
        """Do what C(wanted) asked for."""
        if number == self._stdin:
            self._send()
            return
        try:
            data = os.read(number, _READ)
        except BlockingIOError:
            return
        self.progress += len(data)
        if number == self._errors:
            self._stderr = (self._stderr + data)[-_ERRORS:]
            if not data:
                self._shut(number)
        elif data:
            self.take(data)
        else:
            self._shut(number)

    @property
    def finished(self) -> bool:
        """Tell whether nothing can come any more."""
        return self._stdout not in self._open

    @property
    def said(self) -> str:
        """Return what came on standard error."""
        return self._stderr.decode("utf-8", "replace")

    def status(self, limit: float = _GOODBYE) -> int | None:
        """Return the exit status when the client has ended by itself, or does so within C(limit) seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(limit)
        self._drain_errors()
        return self._process.returncode

    def broken(self) -> ServerError:
        """Return why nothing comes any more, after the end of the stream."""
        if self.error is None:
            self.error = failure(self.said, self.status(), *self.peer)
        return self.error

    def stalled(self, seconds: float) -> ServerError:
        """End what does not answer, and return the error for it."""
        self.kill()
        peer = self.peer
        said = last_lines(self.said)
        self.error = ServerUnreachableError(
            f"Server {peer.server} ({peer.address}) sent nothing for {seconds:g} seconds{': ' + said if said else ''}. "
            "It hangs, its storage does, or the network is gone; ssh.stall_timeout says how long is waited",
            server=peer.server,
            address=peer.address,
        )
        return self.error

    def close(self) -> None:
        """Let the program end, and see to it."""
        self._shut(self._stdin)
        self._shut(self._stdout)
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_GOODBYE)
        finally:
            self.kill()

    def kill(self) -> None:
        """End the client at once; the server ends the program when the connection is gone."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for number in list(self._open):
            self._shut(number)

    def _send(self) -> None:
        try:
            sent = os.write(self._stdin, self._outgoing[0][:_READ])
        except BlockingIOError:
            return
        except OSError:  # the end of standard output tells why
            self._outgoing.clear()
            self._shut(self._stdin)
            return
        self.progress += sent
        rest = self._outgoing.popleft()[sent:]
        if rest:
            self._outgoing.appendleft(rest)
        elif self._last and not self._outgoing:
            self._shut(self._stdin)

    def _drain_errors(self) -> None:
        while self._errors in self._open:
            before = self.progress
            self.handle(self._errors)
            if self.progress == before:
                return

    def _shut(self, number: int) -> None:
        if number in self._open:
            self._open.discard(number)
            for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
                if stream is not None and not stream.closed and stream.fileno() == number:
                    stream.close()


class Output(Process):
    """A process whose output is plain bytes."""

    def __init__(self, command: Sequence[str], peer: Peer) -> None:
        super().__init__(command, peer)
        self._held = bytearray()

    def has_room(self) -> bool:
        return len(self._held) < READ_AHEAD

    def take(self, data: bytes) -> None:
        self._held += data

    def read(self, length: int) -> bytes:
        """Return so many bytes, at most C(READ_AHEAD), less at the end of the output. Raises C(ServerError)."""
        wait_for(self, lambda: len(self._held) >= length)
        data = bytes(self._held[:length])
        del self._held[:length]
        return data


class Channel(Process):
    """A process behind which the program of dom0 runs. Requests are answered in turn."""

    def __init__(self, command: Sequence[str], program: bytes, peer: Peer) -> None:
        super().__init__(command, peer)
        self.handles: dict[object, int] = {}  # the files that are open there, by their images
        self.unanswered = 0
        self._frames: deque[Frame] = deque()
        self._held = 0
        self._buffer = bytearray()
        self._ready = False
        self.write(program)

    def send(self, header: Mapping[str, Any], payload: bytes = b"") -> None:
        """Send a request."""
        text = json.dumps(header).encode("ascii")
        self.write(FRAME.pack(len(text), len(payload)) + text + payload)
        self.unanswered += 1

    def answer(self, others: Sequence[Process] = (), *, times: int = 1) -> Iterator[Frame]:
        """Yield the frames of the next answer, and let others move on meanwhile. Raises C(ServerError).

        C(times): so many times C(stall_timeout) may pass without a sign.
        """
        while True:
            wait_for(self, lambda: bool(self._frames), others, times=times)
            if not self._frames:
                raise self.broken()
            frame = self._frames.popleft()
            self._held -= len(frame.payload)
            if frame.header is not None:
                self.unanswered -= 1
            yield frame
            if frame.header is not None:
                return

    def ask(self, header: Mapping[str, Any], payload: bytes = b"") -> Frame:
        """Send a request when none is open, and return its answer with all of its data in one."""
        self.send(header, payload)
        parts = []
        for frame in self.answer():
            parts.append(frame.payload)
        return Frame(frame.header, b"".join(parts))

    def has_room(self) -> bool:
        return self._held < READ_AHEAD

    def take(self, data: bytes) -> None:
        self._buffer += data
        if not self._ready:
            start = self._buffer.find(READY)
            if start < 0:
                if len(self._buffer) > _NOISE:
                    self._spoilt("its login scripts print too much")
                return
            del self._buffer[: start + len(READY)]
            self._ready = True
        while len(self._buffer) >= FRAME.size:
            header, payload = FRAME.unpack_from(self._buffer)
            size = FRAME.size + header + payload
            if max(header, payload) > _FRAME_LIMIT:
                self._spoilt("something else writes to its standard output")
                return
            if len(self._buffer) < size:
                return
            with memoryview(self._buffer) as view:
                text, content = bytes(view[FRAME.size : FRAME.size + header]), bytes(view[FRAME.size + header : size])
            del self._buffer[:size]
            try:
                self._frames.append(Frame(json.loads(text) if header else None, content))
            except ValueError:
                self._spoilt("something else writes to its standard output")
                return
            self._held += len(content)

    def _spoilt(self, reason: str) -> None:
        peer = self.peer
        self.error = ServerToolError(
            f"Server {peer.server} ({peer.address}) does not answer as it should: {reason}",
            server=peer.server,
            address=peer.address,
        )
        self.kill()


def wait_for(process: Process, done: Callable[[], bool], others: Sequence[Process] = (), *, times: int = 1) -> None:
    """Read and write until C(done) says so, or nothing can come any more; others move on meanwhile.

    Reading and writing go on at the same time, so that neither side can wait for the other for ever. Raises
    C(ServerUnreachableError) when nothing passes for C(stall_timeout), or so many times that.
    """
    limit = process.peer.settings.stall_timeout * times
    last, progress = time.monotonic(), process.progress
    while not done() and not process.finished:
        events = select.poll()
        owners: dict[int, Process] = {}
        for each in {id(item): item for item in (process, *others)}.values():
            for number, event in each.wanted().items():
                events.register(number, event)
                owners[number] = each
        left = limit - (time.monotonic() - last)
        if left <= 0:
            raise process.stalled(limit)
        for number, _event in events.poll(left * 1000):
            if number in owners[number].wanted():
                owners[number].handle(number)
        if process.progress != progress:
            last, progress = time.monotonic(), process.progress
