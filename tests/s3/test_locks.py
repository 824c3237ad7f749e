# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Object lock, turns with a lease, and conditional removal."""

from __future__ import annotations

import base64
import datetime
import hashlib
from typing import Any

import pytest
from botocore.stub import Stubber

from ansible_collections.ovm.backup.plugins.module_utils.errors import VaultError
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.s3 import S3Storage
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.s3_client import Abilities
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.s3_turn import LEASE_SECONDS, S3Turn
from s3.faults import Fault, FaultProxy
from s3.fixtures import LOCKED_BUCKET, new_root, settings_for, storage_at
from s3.server import Server

PART = 5 << 20

# --- turns -----------------------------------------------------------------------------------------------------------


def test_the_turn_of_a_dead_process_is_taken_when_its_lease_is_over(s3_server: Server) -> None:
    root = new_root()
    now = 0.0
    dead, next_one = (storage_at(root, s3_server.endpoint, clock=lambda: now) for _number in range(2))
    path = f"{root}/turns/repository"
    turn: Any = dead.turn(path)
    made = dead.state(path)
    assert made is not None
    turn._stop.set()  # as if its process were dead: nobody renews it
    now = made.modified + LEASE_SECONDS
    assert next_one.turn(path) is None
    now += 1
    taken: Any = next_one.turn(path)
    assert isinstance(taken, S3Turn)
    # Whoever wakes up too late does not get it back, and does not take it away from the next.
    assert turn.renew() is False
    turn.release()
    assert next_one.state(path) is not None
    taken.release()
    assert next_one.state(path) is None


def test_a_turn_that_is_renewed_stays(s3_server: Server) -> None:
    root = new_root()
    now = 0.0
    storage = storage_at(root, s3_server.endpoint, clock=lambda: now)
    path = f"{root}/turns/repository"
    turn: Any = storage.turn(path)
    before = storage.state(path)
    assert turn.renew() is True
    after = storage.state(path)
    assert before is not None and after is not None
    assert (after.modified >= before.modified, after.etag == before.etag) == (True, False)
    now = after.modified + LEASE_SECONDS
    assert storage.turn(path) is None
    turn.release()


def test_the_clock_of_the_storage_counts(s3_server: Server) -> None:
    storage = storage_at(new_root(), s3_server.endpoint)
    storage.write(f"{storage.root}/x", b"1")
    assert storage._bucket.now() == pytest.approx(storage.entry(f"{storage.root}/x").modified, abs=5)


# --- a storage that can remove on a condition ------------------------------------------------------------------------


def test_a_file_is_removed_on_a_condition_where_the_storage_can() -> None:
    """The answers stand in for a storage with conditional DELETE (Amazon's): this Ceph has none."""
    storage = storage_at("s3://bucket/vault", "http://127.0.0.1:1")
    storage._bucket._abilities = Abilities(quotes=True, delete=True, complete=True)
    moment = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
    key = {"Bucket": "bucket", "Key": "vault/lock.json"}

    class Content:
        def read(self) -> bytes:
            return b"mine"

        def close(self) -> None:
            return

    with Stubber(storage._bucket.client) as stubber:
        for refused in (True, False):
            found = {"Body": Content(), "ETag": '"abc"', "LastModified": moment, "Metadata": {}}
            stubber.add_response("get_object", found, key)
            asked = {**key, "IfMatch": '"abc"'}
            if refused:
                stubber.add_client_error("delete_object", "PreconditionFailed", "", 412, expected_params=asked)
            else:
                stubber.add_response("delete_object", {}, asked)
        assert storage.discard("s3://bucket/vault/lock.json", b"mine") is False
        assert storage.discard("s3://bucket/vault/lock.json", b"mine") is True
        stubber.assert_no_pending_responses()


# --- object lock -----------------------------------------------------------------------------------------------------


@pytest.fixture
def locked() -> str:
    """Return a vault in a bucket that holds each object for a day."""
    return new_root(LOCKED_BUCKET)


def test_a_bucket_whose_versions_break_conditions_is_refused(s3_server: Server) -> None:
    storage = S3Storage.connect(new_root(LOCKED_BUCKET), settings_for(s3_server.endpoint))
    with pytest.raises(VaultError, match=r"ignores or .* If-None-Match .*older Ceph does so in buckets with versions"):
        storage.create(f"{storage.root}/vault.json", b"{}")


def test_what_is_written_has_a_digest_without_which_amazon_locks_nothing(s3_server: Server) -> None:
    storage = storage_at(new_root(), s3_server.endpoint, smallest_part=PART)
    requests: list[tuple[str, Any]] = []
    storage._bucket.client.meta.events.register(
        "before-send.s3", lambda request, **_details: requests.append((request.method, request.headers))
    )
    storage.write(f"{storage.root}/small", b"{}")
    for name, size in (("one part", 10), ("parts", PART + 10)):
        writer = storage.new(f"{storage.root}/{name}")
        writer.write(bytes(size))
        writer.finish()
        assert storage.entry(f"{storage.root}/{name}").size == size
    digests = [headers.get("Content-MD5") for method, headers in requests if method == "PUT"]
    assert None not in digests
    for content in (b"{}", bytes(10), bytes(PART)):
        assert base64.b64encode(hashlib.md5(content).digest()) in digests


def test_a_held_object_is_hidden_but_not_lost(locked: str, s3_server: Server) -> None:
    storage = S3Storage.connect(locked, settings_for(s3_server.endpoint))
    path = f"{locked}/point.json"
    storage.write(path, b"{}")
    until = storage.held_until(path)
    assert until == pytest.approx(storage.entry(path).modified + 86400, abs=10)
    later = storage_at(locked, s3_server.endpoint, clock=lambda: (until or 0) + 1)
    assert later.held_until(path) is None
    storage.remove(path)
    assert storage.names(locked) == []
    assert storage.held_until(path) is None
    client = storage._bucket.client
    found = client.list_object_versions(Bucket=LOCKED_BUCKET, Prefix=storage._key(path))
    assert len(found["Versions"]) == len(found["DeleteMarkers"]) == 1


def test_a_legal_hold_has_no_end(locked: str, s3_server: Server) -> None:
    storage = S3Storage.connect(locked, settings_for(s3_server.endpoint))
    storage.write(f"{locked}/point.json", b"{}")
    hold = {"Status": "ON"}
    key = storage._key(f"{locked}/point.json")
    storage._bucket.client.put_object_legal_hold(Bucket=LOCKED_BUCKET, Key=key, LegalHold=hold)
    assert storage.held_until(f"{locked}/point.json") == float("inf")


def test_a_bucket_without_object_lock_is_asked_once(s3_faults: FaultProxy) -> None:
    storage = storage_at(new_root(), s3_faults.endpoint)
    assert [storage.held_until(f"{storage.root}/{name}") for name in "abc"] == [None, None, None]
    assert s3_faults.count() == 1


@pytest.mark.parametrize("held", [True, False])
def test_a_removal_that_is_refused_says_why(locked: str, s3_faults: FaultProxy, held: bool) -> None:
    root = locked if held else new_root()
    storage = S3Storage.connect(root, settings_for(s3_faults.endpoint))
    storage.write(f"{root}/a/disk", b"x")
    s3_faults.add(Fault("answer", "DELETE", times=1, status=403, code="AccessDenied"))
    with pytest.raises(PermissionError) as caught:
        storage.remove(f"{root}/a/disk")
    until = storage.held_until(f"{root}/a/disk")
    day = "" if until is None else datetime.datetime.fromtimestamp(until, datetime.UTC).strftime("%F %T")
    text = f"it is under object lock until {day} UTC" if held else "the credentials do not allow this: see the policy"
    assert str(caught.value.strerror).startswith(text)
