# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Turns in object storage: an object that whoever has the turn renews, and anybody may take when it is too old."""

from __future__ import annotations

import contextlib
import json
import platform
import threading
from typing import Callable, Protocol

from .s3_client import Stored, new_token

# Who dies keeps others waiting for so long.
LEASE_SECONDS = 60.0
RENEWAL_SECONDS = 15.0


class Objects(Protocol):
    """What turns need of their storage."""

    def state(self, path: str) -> Stored | None:
        """Return an object with what names its state, or nothing."""

    def make(self, path: str, data: bytes) -> bool:
        """Make an object; return false if there is one."""

    def follow(self, path: str, found: Stored, data: bytes | None) -> bool:
        """Replace (or remove) an object that is still in this state; return whether this did it."""


class S3Turn:
    """The turn of a path, renewed by a thread until it is given back."""

    def __init__(self, objects: Objects, path: str, token: str) -> None:
        self._objects = objects
        self._path = path
        self._token = token
        self._renewals = 0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._keep, name="s3-turn", daemon=True)
        self._thread.start()

    def renew(self) -> bool:
        """Make the lease new; return false when another has the turn by now."""
        with self._lock:
            found = self._objects.state(self._path)
            if found is None or _token(found.data) != self._token:
                return False
            self._renewals += 1
            return self._objects.follow(self._path, found, _content(self._token, self._renewals))

    def release(self) -> None:
        """Give the turn to the next. What cannot be removed becomes too old soon."""
        self._stop.set()
        self._thread.join()
        with self._lock, contextlib.suppress(OSError):
            found = self._objects.state(self._path)
            if found is not None and _token(found.data) == self._token:
                self._objects.follow(self._path, found, None)

    def _keep(self) -> None:
        while not self._stop.wait(RENEWAL_SECONDS):
            # A storage that does not answer now may do so in time the next time.
            with contextlib.suppress(OSError):
                if not self.renew():
                    return


def take_turn(objects: Objects, path: str, clock: Callable[[], float]) -> S3Turn | None:
    """Take a turn, or return nothing while another process has it."""
    token = new_token()
    content = _content(token, 0)
    if objects.make(path, content):
        return S3Turn(objects, path, token)
    found = objects.state(path)
    # It was given back in this moment: whoever asks again gets it.
    if found is None or clock() <= found.modified + LEASE_SECONDS:
        return None
    return S3Turn(objects, path, token) if objects.follow(path, found, content) else None


def _content(token: str, renewals: int) -> bytes:
    # Each renewal has another content, and so another ETag: two processes cannot replace the same state.
    return json.dumps({"turn": token, "host": platform.node(), "renewals": renewals}, sort_keys=True).encode()


def _token(content: bytes) -> str:
    try:
        return str(json.loads(content)["turn"])
    except (ValueError, KeyError, TypeError):
        return ""
