# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Talking to qemu: its protocol of JSON lines on a unix socket (QMP)."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from typing import Any, Callable

from ..errors import BootTestError

_LARGEST_LINE = 16 * 1024 * 1024


class QmpEndError(BootTestError):
    """Qemu has closed the connection: it has ended, or is about to."""


class Qmp:
    """A connection. Events that come between answers are kept until C(events) takes them."""

    def __init__(self, connection: socket.socket, *, limit: float = 30.0) -> None:
        self._connection = connection
        self._limit = limit
        self._buffer = b""
        self._events: list[dict[str, Any]] = []
        self._read(limit)  # the greeting
        self.command("qmp_capabilities")

    def command(self, name: str, **arguments: Any) -> Any:
        """Run a command and return its answer; raise C(BootTestError) for a refusal."""
        request = {"execute": name, "arguments": arguments}
        try:
            self._connection.settimeout(self._limit)
            self._connection.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise QmpEndError(f"qemu does not listen any more: {error}") from error
        while True:
            answer = self._read(self._limit)
            if answer is None:
                raise BootTestError(f"qemu does not answer {name} in {self._limit:g} s")
            if "event" in answer:
                self._events.append(answer)
            elif "error" in answer:
                raise BootTestError(f"qemu refuses {name}: {answer['error'].get('desc', answer['error'])}")
            elif "return" in answer:
                return answer["return"]

    def events(self, wait: float) -> list[dict[str, Any]]:
        """Return the events since the last call; wait that many seconds for one if there is none."""
        if not self._events:
            found = self._read(wait)
            if found is not None and "event" in found:
                self._events.append(found)
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self._connection.close()

    def _read(self, limit: float) -> dict[str, Any] | None:
        """Return the next message, or nothing if none comes in time."""
        self._connection.settimeout(max(limit, 0.001))
        while b"\n" not in self._buffer:
            try:
                piece = self._connection.recv(65536)
            except (socket.timeout, BlockingIOError):
                return None
            except OSError as error:
                raise QmpEndError(f"qemu does not talk any more: {error}") from error
            if not piece or len(self._buffer) > _LARGEST_LINE:
                raise QmpEndError("qemu has ended")
            self._buffer += piece
        line, _newline, self._buffer = self._buffer.partition(b"\n")
        try:
            message = json.loads(line)
        except ValueError as error:
            raise BootTestError("qemu says something that is not JSON") from error
        return message if isinstance(message, dict) else {}


def connect(path: str, alive: Callable[[], bool], *, limit: float = 30.0) -> Qmp:
    """Connect to the socket that qemu makes when it starts; raise C(QmpEndError) if it ends before that."""
    until = time.monotonic() + limit
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(path)
            return Qmp(connection)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            connection.close()
            if not alive():
                raise QmpEndError("qemu has ended before it was ready") from error
            if time.monotonic() > until:
                raise BootTestError(f"qemu is not ready after {limit:g} s") from error
            time.sleep(0.02)
        except BaseException:
            connection.close()
            raise
