# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""One HTTPS session with Oracle VM Manager: authentication, trust, safe retries, typed errors.

* C(trust_env) of requests is off. It would let ~/.netrc replace our credentials, REQUESTS_CA_BUNDLE our CA, and send
  the administration of a virtual machine farm through whatever HTTPS_PROXY says. The manager is reached directly.
* Credentials go out as Basic only while there is no cookie; then the cookies of the session do (ovm-rest-api 1.2). An
  expired cookie wins over a Basic header (1.3), so a 401 drops the cookies before the one repetition.
* URIs are built from our own base and percent-encoded ids. Redirects and the C(uri) of objects are never followed.
* Reads are repeated after connection loss and 502-504. A write is repeated only if it was never sent; if its outcome
  is unknown, ManagerUnreachableError says so with the detail C(outcome) = "unknown".
"""

from __future__ import annotations

import base64
import json
import random
import re
import ssl
import time
import warnings
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable
from urllib.parse import quote, urlencode

from .._libraries import requests
from ..errors import AuthenticationError, ManagerCertificateError, ManagerError, ManagerUnreachableError
from .answers import NOT_LOGGED_IN, error_from, is_error, is_session_cap, parse
from .settings import ConnectionSettings

if TYPE_CHECKING:
    from requests.adapters import BaseAdapter

_JSON = {"Accept": "application/json", "Content-Type": "application/json"}  # always both (ovm-rest-api 1.4)
_GATEWAY = frozenset({502, 503, 504})
_OBJECT = re.compile(r"^(<[^>]*>|HTTPS?Connection(Pool)?\([^)]*\)|None): ")
_CONNECT_LIMIT = 30.0  # seconds; longer than any handshake, shorter than the wait for an answer

__all__ = ["ConnectionSettings", "ManagerSession"]


class ManagerSession:
    """A session; a context manager that closes it.

    ``attempts`` caps the tries of one request, ``pause`` (seconds) doubles between them up to 8 s and is spread by
    ``rng`` (0..1) so that many proxies do not return at once. ``note`` is told about every repetition.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        *,
        attempts: int = 5,
        pause: float = 0.5,
        sleep: Callable[[float], None] = time.sleep,
        rng: Callable[[], float] = random.random,
        note: Callable[[str], None] | None = None,
        adapter: BaseAdapter | None = None,
    ) -> None:
        self.settings = settings
        self._attempts = max(1, attempts)
        self._pause = pause
        self._sleep = sleep
        self._rng = rng
        self._note = note or (lambda _text: None)
        self._http = requests.Session()
        self._http.trust_env = False
        self._http.adapters.clear()  # nothing but https
        self._http.mount("https://", adapter or _adapter(settings.fingerprint))
        self._verify: bool | str = settings.ca_path or settings.validate_certs
        if not settings.validate_certs or (settings.fingerprint and not settings.ca_path):
            self._verify = False  # with a fingerprint the adapter checks the certificate itself

    def __repr__(self) -> str:
        return f"ManagerSession({self.settings!r})"

    def __enter__(self) -> ManagerSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. There is no documented logout (ovm-rest-api 1.2)."""
        self._http.close()

    def request(
        self,
        method: str,
        *segments: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        repeat: bool = True,
    ) -> Any:
        """Send one request and return the parsed JSON of its answer, None for an empty one.

        ``segments`` are the parts of the path below the base, each percent-encoded here. ``repeat`` false makes one
        try only (for callers that poll anyway). Raises AuthenticationError, NotFoundError, ConflictError,
        JobFailedError (a rule of the manager forbids it), ManagerResponseError, ManagerCertificateError and
        ManagerUnreachableError.
        """
        path = "".join(f"/{quote(segment, safe='')}" for segment in segments)
        action = f"{method} {path}"
        url = f"{self.settings.url}{path}"
        if query:
            url += "?" + urlencode({key: _query_value(value) for key, value in query.items() if value is not None})
        data = None if body is None else json.dumps(body).encode("utf-8")
        attempt = 1
        while True:
            try:
                return self._once(method, url, data, action)
            except ManagerUnreachableError as error:
                safe = error.details.get("outcome") != "unknown"
                if not (repeat and safe and attempt < self._attempts):
                    raise
                pause = min(self._pause * 2 ** (attempt - 1), 8.0) * (0.5 + self._rng())
                self._note(f"{error.message} Next try in {pause:.1f} s.")
                self._sleep(pause)
                attempt += 1

    def _once(self, method: str, url: str, data: bytes | None, action: str) -> Any:
        """One request, with a second login if the session has expired: a refused request was not carried out."""
        with_cookies = len(self._http.cookies) > 0
        status, value, is_json = self._send(method, url, data, action)
        if with_cookies and _logged_out(status, value):
            self._http.cookies.clear()
            status, value, is_json = self._send(method, url, data, action)
        if is_session_cap(status, value):
            raise error_from(action, status, value)
        if _logged_out(status, value):
            self._http.cookies.clear()
            raise AuthenticationError(
                f"Oracle VM Manager at {self.settings.url} refused the user name or password of "
                f"user {self.settings.user!r}.",
                status=status,
                url=self.settings.url,
                user=self.settings.user,
            )
        if status in _GATEWAY:
            raise self._unreachable(method, action, f"HTTP status {status}: {_shown(value)}", status=status)
        if is_error(status, value):
            error = error_from(action, status, value)
            if method != "GET" and status >= 500 and error.details.get("error_code") is None:
                error.details["outcome"] = "unknown"  # a page of the application server tells nothing about the write
            raise error
        if not is_json:
            error = error_from(action, status, value)
            error.details["outcome"] = "unknown" if method != "GET" else None
            raise error
        return value

    def _send(self, method: str, url: str, data: bytes | None, action: str) -> tuple[int, Any, bool]:
        headers = dict(_JSON)
        if not len(self._http.cookies):
            headers["Authorization"] = f"Basic {self._token()}"
        limit = self.settings.request_timeout
        try:
            with warnings.catch_warnings():
                # Only this session was told not to check; other users of urllib3 in the process keep their warning.
                warnings.filterwarnings("ignore", message="Unverified HTTPS request")
                answer = self._http.request(
                    method,
                    url,
                    data=data,
                    headers=headers,
                    timeout=(min(limit, _CONNECT_LIMIT), limit),
                    allow_redirects=False,
                    verify=self._verify,
                )
        except requests.exceptions.SSLError as error:
            raise self._certificate_error(method, action, error) from error
        except requests.exceptions.RequestException as error:
            raise self._unreachable(method, action, _reason(error), unsent=_unsent(error)) from error
        content = answer.content if 200 <= answer.status_code <= 299 else self._scrubbed(answer.content)
        is_json, value = parse(content, answer.headers.get("Content-Type", ""))
        return answer.status_code, value, is_json

    def _token(self) -> str:
        return base64.b64encode(f"{self.settings.user}:{self.settings.password}".encode()).decode("ascii")

    def _scrubbed(self, body: bytes) -> bytes:
        """Take our credentials out of an error page: it may echo the request."""
        for secret in (self._token(), self.settings.password):
            if len(secret) >= 4:  # a shorter one would eat ordinary text
                body = body.replace(secret.encode("utf-8"), b"********")
        return body

    def _unreachable(
        self, method: str, action: str, reason: str, *, unsent: bool = False, status: int | None = None
    ) -> ManagerUnreachableError:
        unknown = method != "GET" and not unsent
        message = f"Lost Oracle VM Manager at {self.settings.url} during {action}: {reason}"
        if unsent:
            message = f"Cannot reach Oracle VM Manager at {self.settings.url}: {reason}"
        message = message.rstrip(".") + "."
        if unknown:
            message += " Whether the request was carried out is unknown."
        return ManagerUnreachableError(
            message, url=self.settings.url, action=action, status=status, outcome="unknown" if unknown else None
        )

    def _certificate_error(self, method: str, action: str, error: Exception) -> ManagerError:
        cause = _cause(error, ssl.CertificateError)
        words = str(error)
        pinned = "Fingerprints did not match" in words
        if (
            cause is None
            and not pinned
            and "CertificateError" not in words
            and "certificate verify failed" not in words
        ):
            # The TLS connection itself broke. Whether before or after the request was sent is not known.
            return self._unreachable(method, action, _reason(error))
        reason = str(cause) if cause is not None and not pinned else _innermost(error)
        help_text = "Check fingerprint." if pinned else "Give its CA (ca_path) or its SHA-256 fingerprint."
        return ManagerCertificateError(
            f"The TLS certificate of Oracle VM Manager at {self.settings.url} is not trusted: "
            f"{reason.rstrip('.')}. {help_text}",
            url=self.settings.url,
        )


def _adapter(fingerprint: str | None) -> BaseAdapter:
    """Return an adapter that does no retries of its own and pins the certificate if a fingerprint is given."""

    class Adapter(requests.adapters.HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, assert_fingerprint=fingerprint, **kwargs)

    return Adapter(max_retries=0)


def _query_value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _logged_out(status: int, value: Any) -> bool:
    return status == 401 or (isinstance(value, Mapping) and value.get("errorCode") == NOT_LOGGED_IN)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("message") or "")
    return value if isinstance(value, str) else ""


def _causes(error: BaseException) -> list[BaseException]:
    """Return the error and everything inside it: requests and urllib3 wrap in C(args), C(reason) and C(__cause__)."""
    found: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        entry = waiting.pop(0)
        if isinstance(entry, BaseException) and entry not in found:
            found.append(entry)
            waiting += [*entry.args, getattr(entry, "reason", None), entry.__cause__, entry.__context__]
    return found


def _cause(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    return next((entry for entry in _causes(error) if isinstance(entry, kind)), None)


def _unsent(error: BaseException) -> bool:
    """Whether the connection never stood, so that nothing was sent: refused, no route, name unknown, no handshake."""
    names = {kind.__name__ for entry in _causes(error) for kind in type(entry).__mro__}
    return bool(names & {"NewConnectionError", "ConnectTimeout", "ConnectTimeoutError", "ConnectionRefusedError"})


def _innermost(error: BaseException) -> str:
    """Return the most specific text, without the representation of the object that urllib3 begins its own with."""
    causes = [entry for entry in _causes(error) if not isinstance(entry, requests.exceptions.RequestException)]
    os_errors = [entry for entry in causes if isinstance(entry, OSError) and entry.strerror]
    if os_errors:
        return str(os_errors[0].strerror)
    texts = [
        str(entry) for entry in causes if str(entry) and not any(isinstance(arg, BaseException) for arg in entry.args)
    ]
    return _OBJECT.sub("", texts[-1]) if texts else type(error).__name__


def _reason(error: BaseException) -> str:
    if isinstance(error, requests.exceptions.Timeout):
        return "it did not answer in time"
    return _innermost(error)
