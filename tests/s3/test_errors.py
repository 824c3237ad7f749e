# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What users read when object storage refuses, fails or is not there; never the secret."""

from __future__ import annotations

import itertools
import re
import socket
from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.errors import VaultError
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.s3 import S3Storage
from s3.faults import Fault, FaultProxy
from s3.fixtures import new_root, settings_for
from s3.server import SECRET_KEY, Server

_USERS = itertools.count(1)


def failure(root: str, endpoint: str, call: str = "read", **changes: Any) -> OSError:
    storage = S3Storage.connect(root, settings_for(endpoint, **changes))
    with pytest.raises(OSError) as caught:
        if call == "write":
            storage.write(f"{root}/vault.json", b"{}")
        else:
            getattr(storage, call)(f"{root}/vault.json")
    assert caught.value.filename == f"{root}/vault.json"
    assert SECRET_KEY not in f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"
    return caught.value


def text(error: OSError) -> str:
    return f"{type(error).__name__}: {error.strerror}"


# --- from the real server --------------------------------------------------------------------------------------------


def test_wrong_credentials(s3_server: Server) -> None:
    assert text(failure(new_root(), s3_server.endpoint, access_key_id="NOBODY")) == (
        "PermissionError: the storage does not know this access_key_id"
    )
    assert text(failure(new_root(), s3_server.endpoint, secret_access_key="wrong")) == (
        "PermissionError: the secret_access_key does not belong to the access_key_id (or a proxy on the way changes "
        "requests)"
    )


@pytest.mark.parametrize("call", ["read", "write", "entry", "open", "entries"])
def test_a_missing_bucket_is_not_a_missing_file(s3_server: Server, call: str) -> None:
    assert text(failure(new_root("no-such-bucket"), s3_server.endpoint, call)) == (
        "OSError: there is no such bucket: create it, or correct the address of the vault"
    )


def test_a_bucket_of_somebody_else(s3_server: Server) -> None:
    s3_server.add_user("stranger", "STRANGER", "other-secret")
    error = failure(new_root(), s3_server.endpoint, "write", access_key_id="STRANGER", secret_access_key="other-secret")
    assert text(error) == "PermissionError: the credentials do not allow this: see the policy in the guide"


def test_a_quota(s3_server: Server) -> None:
    s3_server.add_user("poor", "POOR", "poor-secret")
    s3_server.set_quota("poor", 10)
    mine = settings_for(s3_server.endpoint, access_key_id="POOR", secret_access_key="poor-secret")
    storage = S3Storage.connect(new_root("poor-bucket"), mine)
    storage._bucket.client.create_bucket(Bucket="poor-bucket")
    with pytest.raises(OSError, match="the quota of the bucket or of its owner is used up"):
        storage.write(f"{storage.root}/x", b"x" * 10_000)


def test_tls(s3_server: Server) -> None:
    assert re.fullmatch(
        r"OSError: the certificate of the storage is not trusted \(.*issuer.*\): give the CA that signed it "
        r"\(ca_path\)",
        text(failure(new_root(), s3_server.secure_endpoint)),
    )
    assert text(failure(new_root(), s3_server.endpoint.replace("http:", "https:"))) == (
        "OSError: TLS with the storage fails: is the endpoint_url one for https?"
    )


def test_nobody_there(pauses: list[float]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        error = failure(new_root(), f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert text(error) == (
        "ConnectionRefusedError: no connection to the storage: check endpoint_url, name resolution and firewall"
    )
    assert len(pauses) == 6


# --- as told by the proxy --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "ExpiredToken", "PermissionError: the credentials have expired: get new ones (session_token)"),
        (
            403,
            "RequestTimeTooSkewed",
            "PermissionError: the clock of this host and that of the storage differ by more than 15 minutes",
        ),
        (400, "AuthorizationHeaderMalformed", "OSError: the bucket is in another region: set the option region"),
        (403, "AccessDenied", "PermissionError: the credentials do not allow this: see the policy in the guide"),
        (503, "SlowDown", "OSError: the storage is overloaded or limits requests, also after several tries"),
        (500, "InternalError", "OSError: the storage has failed (InternalError), also after several tries"),
        (507, "XMinioStorageFull", "OSError: the storage is full"),
        (403, "InvalidObjectState", "OSError: the object is in an archive class: bring it back before you read it"),
        (400, "StrangeThing", "OSError: the storage refuses this: StrangeThing: as told"),
    ],
)
def test_what_the_storage_says(s3_faults: FaultProxy, status: int, code: str, expected: str) -> None:
    s3_faults.add(Fault("answer", "GET", times=100, status=status, code=code))
    assert text(failure(new_root(), s3_faults.endpoint)).startswith(expected)


def test_a_connection_that_breaks_each_time(s3_faults: FaultProxy) -> None:
    s3_faults.add(Fault("break", "GET", times=100))
    assert text(failure(new_root(), s3_faults.endpoint)) == (
        "ConnectionResetError: the connection to the storage broke, also after several tries"
    )


# --- conditions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["If-None-Match", "If-Match"])
def test_a_storage_that_ignores_conditions_is_refused(s3_faults: FaultProxy, header: str) -> None:
    s3_faults.add(Fault("accept", "PUT", header=header, times=1000))
    storage = S3Storage.connect(new_root(), settings_for(s3_faults.endpoint))
    with pytest.raises(VaultError, match=f"ignores or does not know the condition {header} of a write") as caught:
        storage.create(f"{storage.root}/vault.json", b"{}")
    assert storage.entries(storage.root) == []
    assert caught.value.details["path"] == f"{storage.root}/vault.json"
    # Neither is anything left that others would take for the result of the trial.
    assert list(storage._below(storage.root)) == []


def test_conditions_are_tried_once_for_all_processes(s3_faults: FaultProxy) -> None:
    root = new_root()
    S3Storage.connect(root, settings_for(s3_faults.endpoint)).create(f"{root}/vault.json", b"{}")
    s3_faults.reset()
    S3Storage.connect(root, settings_for(s3_faults.endpoint)).create(f"{root}/other.json", b"{}")
    assert [method for method, _path in s3_faults.requests] == ["GET", "PUT"]
    assert S3Storage.connect(root, settings_for(s3_faults.endpoint)).names(root) == ["other.json", "vault.json"]


def test_another_endpoint_is_tried_anew(s3_server: Server, s3_faults: FaultProxy) -> None:
    root = new_root()
    S3Storage.connect(root, settings_for(s3_server.endpoint)).create(f"{root}/vault.json", b"{}")
    s3_faults.add(Fault("accept", "PUT", header="If-Match", times=1000))
    with pytest.raises(VaultError, match="If-Match"):
        S3Storage.connect(root, settings_for(s3_faults.endpoint)).create(f"{root}/other.json", b"{}")
