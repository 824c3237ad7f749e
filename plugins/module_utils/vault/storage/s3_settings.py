# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Where a bucket is, who we are there, and how its certificate is trusted."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

from ..._certificates import check_ca
from ...errors import InvalidInputError

SCHEME = "s3://"
ADDRESSING_STYLES = ("auto", "path", "virtual")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{1,253}[A-Za-z0-9]\Z")
# The longest key is 1,024 bytes; the rest is for the names of the vault.
_PREFIX_BYTES = 400


class Place(NamedTuple):
    """A bucket, and what the keys of a vault in it begin with: nothing, or names with slashes between and after."""

    bucket: str
    prefix: str


@dataclass(frozen=True)
class S3Settings:
    """How to reach object storage. Everything is checked on creation; neither errors nor C(repr) hold a secret.

    Without C(endpoint_url) it is Amazon's. Without C(access_key_id) the AWS libraries look for credentials as they do
    everywhere: environment, files of the user, role of the machine. C(ca_path) is a file or a directory of CAs that are
    trusted in place of the usual ones. C(addressing_style): the bucket as the first part of the C(path), as the first
    part of the host name (C(virtual)), or what the library thinks fit (C(auto)).
    """

    endpoint_url: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    ca_path: str | None = None
    validate_certs: bool = True
    addressing_style: str = "auto"

    def __post_init__(self) -> None:
        if self.endpoint_url is not None:
            object.__setattr__(self, "endpoint_url", _checked_endpoint(self.endpoint_url))
        if self.region is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9\-]*", self.region):
            raise InvalidInputError(
                f"{self.region!r} is not the name of a region: it has letters, digits and hyphens, as us-east-1.",
                option="region",
            )
        for name, value in (("access_key_id", self.access_key_id), ("secret_access_key", self.secret_access_key)):
            if value is not None and (not value or value != value.strip()):
                raise InvalidInputError(
                    f"The option {name} for object storage is empty, or begins or ends with a blank.", option=name
                )
        if (self.access_key_id is None) != (self.secret_access_key is None):
            missing = "secret_access_key" if self.secret_access_key is None else "access_key_id"
            raise InvalidInputError(
                "Object storage needs both access_key_id and secret_access_key, or neither of them: then the "
                f"credentials of the proxy are used. {missing} is missing.",
                option=missing,
            )
        if self.session_token is not None and self.access_key_id is None:
            raise InvalidInputError(
                "A session_token belongs to an access_key_id and a secret_access_key, which are missing.",
                option="session_token",
            )
        if self.addressing_style not in ADDRESSING_STYLES:
            raise InvalidInputError(
                f"The addressing_style must be one of {', '.join(ADDRESSING_STYLES)}, not {self.addressing_style!r}.",
                option="addressing_style",
            )
        if self.ca_path is not None:
            check_ca(self.ca_path)


def parse_place(url: str) -> Place:
    """Return bucket and prefix of C(s3://bucket/prefix)."""
    hint = "Give s3://BUCKET or s3://BUCKET/PREFIX."
    if not url.startswith(SCHEME):
        raise InvalidInputError(f"{url!r} is not the address of a vault in object storage. {hint}", option="vault")
    bucket, _slash, path = url[len(SCHEME) :].partition("/")
    if "@" in bucket:
        raise InvalidInputError(
            "The address of a vault in object storage must not hold credentials; they are options of their own. "
            + hint,
            option="vault",
        )
    if not _BUCKET.match(bucket):
        raise InvalidInputError(f"{bucket!r} is not the name of a bucket. {hint}", option="vault")
    parts = path.rstrip("/").split("/") if path.rstrip("/") else []
    if any(part in ("", ".", "..") for part in parts) or re.search(r"[\x00-\x1f\x7f?#]", path):
        raise InvalidInputError(
            f"The prefix {path!r} has an empty part, '.', '..', '?', '#' or a control character. {hint}",
            option="vault",
        )
    prefix = "".join(f"{part}/" for part in parts)
    if len(prefix.encode("utf-8", "replace")) > _PREFIX_BYTES:
        raise InvalidInputError(f"The prefix is longer than {_PREFIX_BYTES} bytes. {hint}", option="vault")
    return Place(bucket, prefix)


def _checked_endpoint(url: str) -> str:
    hint = "Give https://HOST, or https://HOST:PORT."
    given = url.strip()
    shown = given.rpartition("@")[2]  # credentials in the URL must not come back in our message
    try:
        parts = urlsplit(given)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidInputError(f"{shown!r} is not the endpoint of object storage: {error}. {hint}") from None
    if "@" in parts.netloc:
        raise InvalidInputError(
            f"The endpoint {shown!r} must not hold credentials; they are options of their own.", option="endpoint_url"
        )
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidInputError(f"{shown!r} is not the endpoint of object storage. {hint}", option="endpoint_url")
    if parts.query or parts.fragment:
        raise InvalidInputError(f"The endpoint {shown!r} must not have '?' or '#'. {hint}", option="endpoint_url")
    return given.rstrip("/")
