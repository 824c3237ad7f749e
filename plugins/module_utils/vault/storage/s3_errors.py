# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What object storage and the way to it can answer, as errors of the operating system that say what to do."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from typing import Any

from ..._libraries import botocore_exceptions

# For what says nothing of the content of an object, as C(EIO) would.
_NO_ANSWER = errno.EREMOTEIO
# Codes of S3 and what follows from them. The names differ between servers, so several mean the same.
_CODES: dict[str, tuple[int, str]] = {
    "NoSuchBucket": (_NO_ANSWER, "there is no such bucket: create it, or correct the address of the vault"),
    "InvalidBucketName": (_NO_ANSWER, "the storage does not accept this name of a bucket"),
    "NoSuchUpload": (
        _NO_ANSWER,
        "somebody gave this upload up, or the storage did: it took longer than a rule of the bucket lets it",
    ),
    "InvalidAccessKeyId": (errno.EACCES, "the storage does not know this access_key_id"),
    "SignatureDoesNotMatch": (
        errno.EACCES,
        "the secret_access_key does not belong to the access_key_id (or a proxy on the way changes requests)",
    ),
    "ExpiredToken": (errno.EACCES, "the credentials have expired: get new ones (session_token) and run again"),
    "TokenRefreshRequired": (errno.EACCES, "the credentials have expired: get new ones (session_token) and run again"),
    "InvalidToken": (errno.EACCES, "the storage does not accept the session_token"),
    "RequestTimeTooSkewed": (
        errno.EACCES,
        "the clock of this host and that of the storage differ by more than 15 minutes: set the clock (NTP)",
    ),
    "RequestExpired": (
        errno.EACCES,
        "the clock of this host and that of the storage differ by more than 15 minutes: set the clock (NTP)",
    ),
    "AuthorizationHeaderMalformed": (_NO_ANSWER, "the bucket is in another region: set the option region"),
    "IllegalLocationConstraintException": (
        _NO_ANSWER,
        "the bucket is in another region: set the option region",
    ),
    "PermanentRedirect": (
        _NO_ANSWER,
        "the bucket is at another endpoint: set the options endpoint_url and region",
    ),
    "AccessDenied": (errno.EACCES, "the credentials do not allow this: see the policy in the guide"),
    "AllAccessDisabled": (errno.EACCES, "the storage has disabled all access to the bucket"),
    "AccountProblem": (errno.EACCES, "the storage refuses this account"),
    "QuotaExceeded": (errno.EDQUOT, "the quota of the bucket or of its owner is used up"),
    "EntityTooLarge": (errno.EFBIG, "the storage does not take a part or an object of this size"),
    "InsufficientStorage": (errno.ENOSPC, "the storage is full"),
    "StorageFull": (errno.ENOSPC, "the storage is full"),
    "XMinioStorageFull": (errno.ENOSPC, "the storage is full"),
    "NotImplemented": (_NO_ANSWER, "the storage does not know this request"),
    "InvalidObjectState": (_NO_ANSWER, "the object is in an archive class: bring it back before you read it"),
    "KMS.DisabledException": (errno.EACCES, "the storage cannot use the key that encrypts the bucket"),
}
_THROTTLED = ("SlowDown", "ServiceUnavailable", "Throttling", "ThrottlingException", "RequestLimitExceeded", "503")
_THROTTLED_TEXT = (
    "the storage is overloaded or limits requests, also after several tries: run again later, or with fewer at a time"
)
_BY_STATUS = {
    401: (errno.EACCES, "the storage does not accept the credentials"),
    403: (errno.EACCES, "the credentials do not allow this: see the policy in the guide"),
    507: (errno.ENOSPC, "the storage is full"),
}
MISSING = ("NoSuchKey", "404", "NotFound", "NoSuchVersion")
FAILED_CONDITION = ("PreconditionFailed", "412", "ConditionalRequestConflict")


def code_of(error: BaseException) -> str:
    """Return what S3 calls an error, or nothing for one that is not an answer of the storage."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def status_of(error: BaseException) -> int:
    """Return the HTTP status of an error, 0 if there is none."""
    response = getattr(error, "response", None)
    metadata: Any = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    return int(metadata.get("HTTPStatusCode") or 0)


def is_missing(error: BaseException) -> bool:
    """Return whether the object is not there. A missing bucket is another matter."""
    return code_of(error) in MISSING


def is_failed_condition(error: BaseException) -> bool:
    """Return whether the storage refused a request because its condition does not hold (any more)."""
    return code_of(error) in FAILED_CONDITION or status_of(error) == 412


@contextlib.contextmanager
def s3_errors(path: str) -> Iterator[None]:
    """Turn what the library raises into an C(OSError) about a path; all else passes as it is."""
    try:
        yield
    except Exception as error:
        known = as_os_error(error, path)
        if known is None:
            raise
        # Not "from error": what the library says may hold parts of a request.
        raise known from None


def as_os_error(error: BaseException, path: str) -> OSError | None:
    """Return the C(OSError) for an exception of the library, or nothing if it is not one."""
    if isinstance(error, botocore_exceptions.ClientError):
        number, text = _answer(error)
    elif isinstance(error, (botocore_exceptions.BotoCoreError, botocore_exceptions.HTTPClientError)):
        number, text = _way(error)
    else:
        return None
    if number == errno.ENOENT:
        return FileNotFoundError(number, text, path)
    return OSError(number, text, path)


def _answer(error: BaseException) -> tuple[int, str]:
    code, status = code_of(error), status_of(error)
    if is_missing(error):
        return errno.ENOENT, "there is no such object"
    if code in _CODES:
        return _CODES[code]
    if code in _THROTTLED or status in (429, 503):
        return _NO_ANSWER, _THROTTLED_TEXT
    if status == 301:
        return _CODES["PermanentRedirect"]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    response: Any = getattr(error, "response", {})
    message = response.get("Error", {}).get("Message") or ""
    if status >= 500:
        return _NO_ANSWER, f"the storage has failed ({code or status}), also after several tries"
    return _NO_ANSWER, f"the storage refuses this: {code or status}{': ' if message else ''}{message}"


def _way(error: BaseException) -> tuple[int, str]:
    exceptions = botocore_exceptions
    text = str(error)
    if isinstance(error, exceptions.SSLError):
        if "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text:
            reason = text.rpartition("certificate verify failed:")[2].partition(" (_ssl")[0].strip() or "unknown"
            return (
                _NO_ANSWER,
                f"the certificate of the storage is not trusted ({reason}): give the CA that signed it (ca_path)",
            )
        return _NO_ANSWER, "TLS with the storage fails: is the endpoint_url one for https?"
    if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
        return errno.EACCES, "there are no credentials: set access_key_id and secret_access_key"
    if isinstance(error, exceptions.CredentialRetrievalError):
        return errno.EACCES, "the credentials of the proxy could not be had or renewed"
    if isinstance(error, exceptions.ConnectTimeoutError):
        return errno.ETIMEDOUT, "no connection to the storage within the time limit: check endpoint_url and firewall"
    if isinstance(error, exceptions.ReadTimeoutError):
        return errno.ETIMEDOUT, "the storage did not answer within the time limit, also after several tries"
    if isinstance(error, exceptions.ProxyConnectionError):
        return (
            _NO_ANSWER,
            "the HTTP proxy on the way to the storage does not answer: check HTTPS_PROXY and NO_PROXY",
        )
    if isinstance(error, exceptions.EndpointConnectionError):
        return errno.ECONNREFUSED, "no connection to the storage: check endpoint_url, name resolution and firewall"
    if isinstance(error, (exceptions.NoRegionError, exceptions.InvalidRegionError)):
        return _NO_ANSWER, "set the option region"
    if isinstance(error, exceptions.HTTPClientError):
        return errno.ECONNRESET, "the connection to the storage broke, also after several tries"
    return _NO_ANSWER, f"the request to the storage could not be made ({type(error).__name__})"
