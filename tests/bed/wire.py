# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A wire to the bed's ssh server that a test can hold still at a chosen byte, cut, and mend."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .bed import Bed

LIMIT = 300.0  # seconds that a test waits for the chosen byte
_CHUNK = 1 << 16


class Wire:
    """Passes connections on to a port of 127.0.0.1.

    Held, nothing passes in either direction and nobody is told: a server that hangs, or a network that is gone. Cut,
    all connections end, and new ones do at once: a server that was killed or stopped.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._changed = threading.Condition()
        self._way = "open"  # or "held", "cut"
        self._left: int | None = None  # bytes to the server until it is held
        self._ends: set[socket.socket] = set()
        threading.Thread(target=self._serve, daemon=True).start()

    def hold_after(self, count: int) -> None:
        """Hold still when so many bytes more have gone to the server."""
        with self._changed:
            self._left = count

    def wait_held(self) -> None:
        """Wait until the chosen byte has come."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._way == "held", LIMIT), "so much was never sent"

    def mend(self) -> None:
        """Let pass what is held, and connections again after a cut."""
        with self._changed:
            self._way, self._left = "open", None
            self._changed.notify_all()

    def cut(self) -> None:
        """End all connections."""
        with self._changed:
            self._way, self._left = "cut", None
            self._changed.notify_all()
            for end in self._ends:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End it."""
        self.cut()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _address = self._listener.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            with self._changed:
                if self._way == "cut":
                    return
                self._ends |= {client, server}
            back = threading.Thread(target=self._pump, args=(server, client, False), daemon=True)
            back.start()
            self._pump(client, server, True)
            back.join()
            with self._changed:
                self._ends -= {client, server}

    def _pump(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                if not self._may_pass(len(data) if counted else 0):
                    break
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _may_pass(self, count: int) -> bool:
        """Wait while it is held; tell whether it was not cut."""
        with self._changed:
            if self._left is not None and count:
                self._left -= count
                if self._left <= 0:
                    self._way, self._left = "held", None
                    self._changed.notify_all()
            self._changed.wait_for(lambda: self._way != "held")
            return self._way == "open"


@contextlib.contextmanager
def wire_to(bed: Bed, directory: Path) -> Iterator[tuple[Wire, dict[str, Any]]]:
    """Yield a wire to a bed, and the settings that reach the bed through it (in the form of C(ovm_backup_ssh))."""
    wire = Wire(bed.port)
    settings = bed.ssh_settings()
    known = directory / "known_hosts"
    keys = Path(settings["known_hosts"]).read_text(encoding="utf-8")
    known.write_text(keys.replace(f"[127.0.0.1]:{bed.port}", f"[127.0.0.1]:{wire.port}"), encoding="utf-8")
    try:
        yield wire, {**settings, "port": wire.port, "known_hosts": str(known)}
    finally:
        wire.close()
