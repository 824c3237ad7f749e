# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Basic authentication and session cookies (ovm-rest-api 1.2, 1.3)."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping

from .clock import Clock
from .errors import ApiError
from .switches import Switches


class Sessions:
    """The manager's sessions. Times are of the simulator's clock."""

    def __init__(self, user: str, password: str, clock: Clock, switches: Switches) -> None:
        self.user = user
        self.password = password
        self._clock = clock
        self._switches = switches
        self._last_used: dict[str, float] = {}

    def expire_all(self) -> None:
        """Every cookie given out so far is dead."""
        self._last_used.clear()

    def count(self) -> int:
        """Sessions that are alive."""
        self._prune()
        return len(self._last_used)

    def authenticate(self, authorization: str | None, cookies: Mapping[str, str]) -> str | None:
        """Let a request in or raise; the value is the cookie to set, or None.

        An expired or unknown cookie is refused even beside a valid Basic header.
        """
        self._prune()
        cookie = cookies.get(self._switches["cookie_name"])
        if cookie is not None:
            if cookie in self._last_used:
                self._last_used[cookie] = self._clock.now()
                return None
            if not self._switches["basic_beats_expired_cookie"]:
                raise ApiError("AUTH_000003", "The session has expired")
        self._check_basic(authorization)
        cap = self._switches["session_cap"]
        if cap and len(self._last_used) >= cap:
            raise ApiError("GEN_000025", "Too many sessions")
        token = secrets.token_urlsafe(39)
        self._last_used[token] = self._clock.now()
        return token

    def _check_basic(self, authorization: str | None) -> None:
        if authorization is None:
            raise ApiError("AUTH_000003", "Authentication information was not supplied")
        scheme, _unused, encoded = authorization.partition(" ")
        if scheme.lower() != "basic":
            raise ApiError("AUTH_000003", "Authentication information was not supplied")
        try:
            user, _unused, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            user, password = "", ""
        same = secrets.compare_digest(user.encode(), self.user.encode())
        if not (secrets.compare_digest(password.encode(), self.password.encode()) and same):
            raise ApiError("AUTH_000005", "Invalid credentials")

    def _prune(self) -> None:
        oldest = self._clock.now() - self._switches["session_seconds"]
        for token in [token for token, used in self._last_used.items() if used < oldest]:
            del self._last_used[token]
