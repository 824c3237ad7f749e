# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The S3 server for whoever tests with it: one for all tests of a process, with a bucket that is empty at first."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.s3 import S3Storage
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.s3_client import Bucket, make_client
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.s3_settings import S3Settings, parse_place
from s3.faults import FaultProxy, faulty
from s3.server import ACCESS_KEY, SECRET_KEY, Server, missing_programs, serve

BUCKET = "vaults"
# This one holds each object for a day.
LOCKED_BUCKET = "locked-vaults"
_NUMBERS = itertools.count(1)
# For pytest, the same fixture is another one in each file that imports it.
_SERVERS: list[Server] = []


def settings_for(endpoint: str, **changes: Any) -> S3Settings:
    """Return settings for a server that runs for the tests."""
    values = {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY, "addressing_style": "path", **changes}
    return S3Settings(endpoint_url=endpoint, **values)


def new_root(bucket: str = BUCKET) -> str:
    """Return the address of a vault that nobody has used yet."""
    return f"s3://{bucket}/proxies {next(_NUMBERS)}/vault"


def storage_at(root: str, endpoint: str, *, clock: Callable[[], float] | None = None, **sizes: int) -> S3Storage:
    """Return the storage at an address, with other sizes than usual."""
    client = make_client(settings_for(endpoint))
    place = parse_place(root)
    return S3Storage(Bucket(client, place.bucket, place.prefix, endpoint), root, clock=clock, **sizes)


def without_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let the library not wait before it tries again; return the list of how long it would have, which grows."""
    taken: list[float] = []
    clock = SimpleNamespace(sleep=taken.append, time=time.time, monotonic=time.monotonic)
    monkeypatch.setattr("botocore.endpoint.time", clock)
    return taken


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Return a running server."""
    missing = missing_programs()
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (tests/s3/packages.sh installs them for root)")
    if not _SERVERS:
        _SERVERS.append(_start(tmp_path_factory.mktemp("s3") / "ceph"))
    return _SERVERS[0]


def _start(directory: Path) -> Server:
    running = contextlib.ExitStack()
    server = running.enter_context(serve(directory))
    atexit.register(running.close)
    client = make_client(settings_for(server.endpoint))
    client.create_bucket(Bucket=BUCKET)
    # Now, because a gateway that follows a killed one takes its time to make buckets.
    client.create_bucket(Bucket=LOCKED_BUCKET, ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}
    client.put_object_lock_configuration(
        Bucket=LOCKED_BUCKET, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    return server


@pytest.fixture
def s3_storage(s3_server: Server) -> S3Storage:
    """Return the storage of a vault of its own."""
    root = new_root()
    return S3Storage.connect(root, settings_for(s3_server.endpoint))


@pytest.fixture
def s3_faults(s3_server: Server) -> Iterator[FaultProxy]:
    """Return a proxy in front of the server that makes faults."""
    with faulty(s3_server.endpoint) as proxy:
        yield proxy
