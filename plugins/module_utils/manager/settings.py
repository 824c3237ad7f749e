# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Where the manager is, who we are there, and how its certificate is trusted."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from .._certificates import check_ca
from ..errors import InvalidInputError

BASE_PATH = "/ovm/core/wsapi/rest"
DEFAULT_PORT = 7002  # ovm-rest-api 1.1


@dataclass(frozen=True)
class ConnectionSettings:
    """How to reach one manager. ``url`` and ``fingerprint`` are normalised, everything is checked on creation.

    Trust, strictest first: C(fingerprint) pins the certificate itself, needs no CA and ignores the host name in it
    (together with C(ca_path) both must hold); C(ca_path) names the CA file or directory; else the CAs that requests
    ships are used; C(validate_certs) false accepts any certificate, unless it is pinned. C(request_timeout) is seconds
    for the connection and for each wait on data, not for a whole call.
    Raises InvalidInputError; neither it nor C(repr) ever holds the password.
    """

    url: str
    user: str
    password: str = field(repr=False)
    ca_path: str | None = None
    fingerprint: str | None = None
    validate_certs: bool = True
    request_timeout: float = 60.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", normalised_url(self.url))
        if not self.user:
            raise InvalidInputError("The user name for Oracle VM Manager is empty.", option="user")
        if ":" in self.user:  # Basic authentication has no way to write it (RFC 7617)
            raise InvalidInputError("The user name for Oracle VM Manager must not hold a colon.", option="user")
        if not self.password:
            raise InvalidInputError("The password for Oracle VM Manager is empty.", option="password")
        if not self.request_timeout > 0:
            raise InvalidInputError(
                f"The time limit of a request must be more than 0 seconds, not {self.request_timeout}.",
                option="request_timeout",
            )
        if self.fingerprint is not None:
            object.__setattr__(self, "fingerprint", normalised_fingerprint(self.fingerprint))
        if self.ca_path is not None:
            check_ca(self.ca_path)


def normalised_url(url: str) -> str:
    """Return C(https://host:port/ovm/core/wsapi/rest) for a URL, a bare host or C(host:port)."""
    given = url.strip()
    shown = given.rpartition("@")[2]  # credentials in the URL must not come back in our message
    hint = "Give https://HOST:7002, HOST or HOST:PORT."
    if not given:
        raise InvalidInputError(f"The address of Oracle VM Manager is empty. {hint}", option="url")
    try:
        parts = urlsplit(given if "://" in given else f"https://{given}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidInputError(
            f"{shown!r} is not an address of Oracle VM Manager: {error}. {hint}", option="url"
        ) from None
    if "@" in parts.netloc:
        raise InvalidInputError(
            f"The address {shown!r} of Oracle VM Manager must not hold a user name or password; "
            "they are options of their own.",
            option="url",
        )
    if parts.scheme != "https":
        raise InvalidInputError(
            f"Oracle VM Manager is reached by https only, not by {parts.scheme!r}. {hint}", option="url"
        )
    if not host or not re.fullmatch(r"[A-Za-z0-9._\-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9]+)?", host):
        raise InvalidInputError(f"{shown!r} names no host. {hint}", option="url")
    path = "/" + "/".join(part for part in parts.path.split("/") if part)
    if parts.query or parts.fragment or (path != "/" and not path.endswith(BASE_PATH)):
        raise InvalidInputError(f"The address {shown!r} may end in {BASE_PATH}, in nothing else. {hint}", option="url")
    shown_host = f"[{host}]" if ":" in host else host
    return f"https://{shown_host}:{port or DEFAULT_PORT}{path if path != '/' else BASE_PATH}"


def normalised_fingerprint(fingerprint: str) -> str:
    """Return a SHA-256 fingerprint as 64 lower-case hexadecimal digits; colons and white space may separate them."""
    digits = re.sub(r"(?i)^\s*sha-?256(\s+fingerprint)?\s*[:=]", "", fingerprint)
    digits = re.sub(r"[:\s]", "", digits).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise InvalidInputError(
            f"{fingerprint!r} is not a SHA-256 fingerprint: it has 64 hexadecimal digits, with or without colons "
            "(openssl x509 -noout -fingerprint -sha256).",
            option="fingerprint",
        )
    return digits
