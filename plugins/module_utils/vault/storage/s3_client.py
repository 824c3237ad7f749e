# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""One bucket, asked for what a vault needs: conditional writes that know what became of a lost answer."""

from __future__ import annotations

import base64
import contextlib
import email.utils
import errno
import hashlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from ..._libraries import boto3, botocore_config, botocore_exceptions
from ...errors import VaultError
from ..text import held_text
from .s3_errors import MISSING, as_os_error, code_of, is_failed_condition, is_missing, s3_errors, status_of
from .s3_settings import S3Settings

# Which write made an object: so a try that came through without an answer is not taken for that of another.
TOKEN = "ovm-write"
# Connections that are kept: for the threads of several disks that are read or written at once.
CONNECTIONS = 32
# With the pauses of the library, which grow, this bridges half a minute.
_ATTEMPTS = 7
_CONTENT_TRIES = 4
_CONNECT_TIMEOUT, _READ_TIMEOUT = 15, 60
# How often a write that runs into another one is begun anew.
_CONFLICTS = 5
# What is known of the storage, so that not every process has to try it.
PROBE_NAME = ".ovm-backup-s3.json"
_PROBE_VERSION = 1


class Stored(NamedTuple):
    """An object: its content, and what names this state of it."""

    data: bytes
    etag: str
    token: str
    modified: float


@dataclass(frozen=True)
class Abilities:
    """What a storage makes of conditions, as tried out.

    C(quotes): whether If-Match wants the ETag in its quotation marks, as it is defined, or without (older Ceph).
    C(delete): a DELETE heeds If-Match. C(complete): the end of a multipart upload heeds If-None-Match.
    """

    quotes: bool
    delete: bool
    complete: bool


def make_client(settings: S3Settings) -> Any:
    """Return a client of the library. Threads may share it."""
    session = boto3.session.Session(
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=settings.secret_access_key,
        aws_session_token=settings.session_token,
    )
    region = settings.region or (None if settings.endpoint_url is None else "us-east-1")
    options: dict[str, Any] = {"addressing_style": settings.addressing_style}
    client = session.client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name=region or session.region_name or "us-east-1",
        verify=(settings.ca_path or True) if settings.validate_certs else False,
        config=botocore_config.Config(
            signature_version="s3v4",
            s3=options,
            connect_timeout=_CONNECT_TIMEOUT,
            read_timeout=_READ_TIMEOUT,
            max_pool_connections=CONNECTIONS,
            tcp_keepalive=True,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            # The checksums that the library adds by default are unknown to many servers, what _add_digest adds to none.
            # The hashes in the vault guard the content from the proxy on.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            user_agent_extra="ovm.backup",
        ),
    )
    for operation in ("PutObject", "UploadPart"):
        client.meta.events.register(f"before-parameter-build.s3.{operation}", _add_digest)
    return client


def _add_digest(params: dict[str, Any], **_details: Any) -> None:
    """Add Content-MD5: Amazon's storage takes nothing without a digest into a bucket whose default retention locks it.

    Over TLS it costs less than the SHA-256 with which the library signs a content that has none.
    """
    body = params["Body"]
    with body.getbuffer() if hasattr(body, "getbuffer") else memoryview(body) as content:
        digest = hashlib.md5(content, usedforsecurity=False).digest()
    params["ContentMD5"] = base64.b64encode(digest).decode("ascii")


class Bucket:
    """Objects of a bucket by key. C(path) in the methods is only for messages.

    All raise C(OSError); C(FileNotFoundError) where there is no such object.
    """

    def __init__(self, client: Any, name: str, prefix: str, endpoint: str) -> None:
        self.client = client
        self.name = name
        self.prefix = prefix
        self._endpoint = endpoint
        self._abilities: Abilities | None = None
        self._probing = threading.Lock()
        self._locks: bool | None = None
        self._ahead = 0.0
        client.meta.events.register("after-call.s3", self._look_at_clock)

    def now(self) -> float:
        """Return the time by the clock of the storage, as its last answer gave it."""
        return time.time() + self._ahead

    def _look_at_clock(self, http_response: Any, **_details: Any) -> None:
        with contextlib.suppress(Exception):
            date = email.utils.parsedate_to_datetime(http_response.headers["Date"])
            self._ahead = date.timestamp() - time.time()

    # --- objects -----------------------------------------------------------------------------------------------------

    def get(self, key: str, path: str, byte_range: str | None = None) -> tuple[bytes, dict[str, Any]]:
        """Return an object, or a range of it, and the answer. A range of an empty object is empty."""
        options = {} if byte_range is None else {"Range": f"bytes={byte_range}"}
        tries = 1
        while True:
            with s3_errors(path):
                try:
                    answer = self.client.get_object(Bucket=self.name, Key=key, **options)
                except Exception as error:
                    if code_of(error) == "InvalidRange":
                        return b"", self.head(key, path)
                    raise
                try:
                    with contextlib.closing(answer["Body"]) as body:
                        return bytes(body.read()), answer
                except Exception as error:
                    # A connection that breaks in the middle of the content is beyond the library's own retries.
                    if tries == _CONTENT_TRIES or as_os_error(error, path) is None:
                        raise
                    tries += 1

    def head(self, key: str, path: str) -> dict[str, Any]:
        """Return what is known of an object."""
        with s3_errors(path):
            try:
                answer: dict[str, Any] = self.client.head_object(Bucket=self.name, Key=key)
            except Exception as error:
                if is_missing(error):
                    # The answer to HEAD has no text: a missing bucket looks the same.
                    self.client.head_bucket(Bucket=self.name)
                raise
            return answer

    def stored(self, key: str, path: str) -> Stored:
        """Return a small object with what names its state."""
        data, answer = self.get(key, path)
        return Stored(data, answer["ETag"], token_of(answer), answer["LastModified"].timestamp())

    def put(self, key: str, data: bytes, path: str) -> None:
        """Write an object, whatever is there."""
        with s3_errors(path):
            self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def put_new(self, key: str, data: Any, path: str, token: str | None = None) -> bool:
        """Write an object if there is none; return whether this did it. C(data) is bytes or a C(BytesIO)."""
        self.abilities(path)
        return self._put_if(key, data, path, {"IfNoneMatch": "*"}, token)

    def put_over(self, key: str, etag: str, data: bytes, path: str) -> bool:
        """Replace an object that is still in the state that C(etag) names; return whether this did it."""
        return self._put_if(key, data, path, {"IfMatch": self._condition(etag, path)}, None)

    def delete_if(self, key: str, etag: str, path: str) -> bool:
        """Remove an object that is still in that state; only for a storage that can."""
        with s3_errors(path):
            try:
                self.client.delete_object(Bucket=self.name, Key=key, IfMatch=self._condition(etag, path))
            except Exception as error:
                if not (is_failed_condition(error) or is_missing(error)):
                    raise
                return False
        return True

    def _put_if(self, key: str, data: Any, path: str, condition: dict[str, str], token: str | None) -> bool:
        token = token or new_token()
        with s3_errors(path):
            for attempt in range(_CONFLICTS):
                try:
                    if hasattr(data, "seek"):
                        data.seek(0)
                    self.client.put_object(Bucket=self.name, Key=key, Body=data, Metadata={TOKEN: token}, **condition)
                    return True
                except Exception as error:
                    if is_missing(error) and "IfMatch" in condition:
                        return False
                    if not is_failed_condition(error):
                        raise
                    # Of two tries the first may have come through without an answer.
                    if self.has_token(key, token, path):
                        return True
                    if code_of(error) != "ConditionalRequestConflict" or attempt == _CONFLICTS - 1:
                        return False
        return False

    def has_token(self, key: str, token: str, path: str) -> bool:
        """Return whether an object is there that was written with this token."""
        try:
            return token_of(self.head(key, path)) == token
        except FileNotFoundError:
            return False

    def _condition(self, etag: str, path: str) -> str:
        bare = etag.strip('"')
        return f'"{bare}"' if self.abilities(path).quotes else bare

    # --- what the storage can ----------------------------------------------------------------------------------------

    def abilities(self, path: str) -> Abilities:
        """Return what the storage can, tried once per vault; raise C(VaultError) when locks would be worthless."""
        with self._probing:
            if self._abilities is None:
                self._abilities = self._recall() or self._probe(path)
            return self._abilities

    def _recall(self) -> Abilities | None:
        try:
            found = json.loads(self.get(self.prefix + PROBE_NAME, PROBE_NAME)[0])
            if found["version"] == _PROBE_VERSION and found["endpoint"] == self._endpoint:
                return Abilities(**found["abilities"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return None

    def _probe(self, path: str) -> Abilities:
        key = f"{self.prefix}{PROBE_NAME}.{new_token()}"
        try:
            with s3_errors(path):
                found = self._try_out(key, path)
        finally:
            with contextlib.suppress(Exception):
                self.client.delete_object(Bucket=self.name, Key=key)
        document = {"version": _PROBE_VERSION, "endpoint": self._endpoint, "abilities": asdict(found)}
        self.put(self.prefix + PROBE_NAME, json.dumps(document, sort_keys=True).encode(), path)
        return found

    def _try_out(self, key: str, path: str) -> Abilities:
        client, at = self.client, {"Bucket": self.name, "Key": key}

        def refused(request: Callable[[], Any], *, unknown: bool = True) -> bool:
            """Return whether the condition was heeded. C(unknown): what to make of a storage that knows it not."""
            try:
                request()
            except Exception as error:
                if code_of(error) == "NotImplemented":
                    return unknown
                if not is_failed_condition(error):
                    raise
                return True
            return False

        old: str = client.put_object(**at, Body=b"one")["ETag"]
        if not refused(lambda: client.put_object(**at, Body=b"two", IfNoneMatch="*"), unknown=False):
            raise _unsafe(path, "If-None-Match")
        # A state that the object had, and has no more: a server that only looks whether there is one accepts it.
        new: str = client.put_object(**at, Body=b"three")["ETag"]
        if not refused(lambda: client.put_object(**at, Body=b"four", IfMatch=old), unknown=False):
            raise _unsafe(path, "If-Match")
        quotes = not refused(lambda: client.put_object(**at, Body=b"five", IfMatch=f'"{new.strip(chr(34))}"'))
        if not quotes and refused(lambda: client.put_object(**at, Body=b"five", IfMatch=new.strip('"'))):
            raise _unsafe(path, "If-Match")
        complete = refused(lambda: self._complete_over(at), unknown=False)
        form = old if quotes else old.strip('"')
        delete = refused(lambda: client.delete_object(**at, IfMatch=form), unknown=False)
        return Abilities(quotes, delete, complete)

    def _complete_over(self, at: dict[str, str]) -> None:
        upload = self.client.create_multipart_upload(**at)["UploadId"]
        try:
            part = self.client.upload_part(**at, UploadId=upload, PartNumber=1, Body=b"six")["ETag"]
            parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
            self.client.complete_multipart_upload(**at, UploadId=upload, MultipartUpload=parts, IfNoneMatch="*")
        except Exception:
            with contextlib.suppress(Exception):
                self.client.abort_multipart_upload(**at, UploadId=upload)
            raise

    def is_own(self, key: str) -> bool:
        """Return whether an object is about the storage itself, and no file of the vault."""
        return key.startswith(self.prefix + PROBE_NAME)

    # --- keys --------------------------------------------------------------------------------------------------------

    def pages(self, method: str, path: str, **options: Any) -> Iterator[dict[str, Any]]:
        """Yield the answers of a request that gives its results in pages."""
        with s3_errors(path):
            yield from self.client.get_paginator(method).paginate(Bucket=self.name, **options)

    def delete_all(self, keys: list[str], path: str, now: float) -> None:
        """Remove up to 1,000 objects; what is not there is fine."""
        with s3_errors(path):
            wanted = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
            failed = self.client.delete_objects(Bucket=self.name, Delete=wanted).get("Errors", [])
        for error in failed:
            if error.get("Code") in MISSING:
                continue
            made = as_os_error(botocore_exceptions.ClientError({"Error": error}, "DeleteObjects"), path)
            if isinstance(made, PermissionError):
                raise self.refusal(error["Key"], path, now, made)
            raise made or OSError(errno.EREMOTEIO, "it could not be removed", path)

    # --- object lock -------------------------------------------------------------------------------------------------

    def held_until(self, key: str, path: str, now: float) -> float | None:
        """Return until when object lock holds an object, or nothing, also of one that is gone."""
        if not self._may_lock(path):
            return None
        try:
            found = self.head(key, path)
        except FileNotFoundError:
            return None
        if found.get("ObjectLockLegalHoldStatus") == "ON":
            return float("inf")
        until = found.get("ObjectLockRetainUntilDate")
        return None if until is None or until.timestamp() <= now else float(until.timestamp())

    def refusal(self, key: str, path: str, now: float, error: OSError) -> PermissionError:
        """Return why an object cannot be removed: object lock, or what the C(error) says."""
        with contextlib.suppress(OSError):
            until = self.held_until(key, path, now)
            if until is not None:
                return PermissionError(errno.EACCES, f"it is {held_text(until)}", path)
        return PermissionError(errno.EACCES, error.strerror, path)

    def _may_lock(self, path: str) -> bool:
        """Return whether the bucket has object lock, as far as we may know: asked once."""
        if self._locks is None:
            with s3_errors(path):
                try:
                    answer = self.client.get_object_lock_configuration(Bucket=self.name)
                    self._locks = answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled"
                except Exception as error:
                    busy = status_of(error) >= 500 or status_of(error) == 429
                    if code_of(error) == "NoSuchBucket" or not code_of(error) or busy:
                        raise
                    # Each object is asked where the credentials do not allow to ask the bucket.
                    self._locks = code_of(error) == "AccessDenied"
        return self._locks


def _unsafe(path: str, header: str) -> VaultError:
    return VaultError(
        f"The object storage of {path} ignores or does not know the condition {header} of a write. Without it two runs "
        "could hold the same lock and destroy each other's backups: use a storage that has conditional writes (older "
        "Ceph does so in buckets with versions, and has them in others), or a vault in a directory",
        path=path,
    )


def new_token() -> str:
    """Return a name for one write, unlike any other."""
    return uuid.uuid4().hex


def token_of(answer: dict[str, Any]) -> str:
    """Return which write made an object, or nothing."""
    return str(answer.get("Metadata", {}).get(TOKEN, ""))
