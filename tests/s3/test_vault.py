# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A vault in a bucket from its first file to the last: backup, increment, verification, restore, synthetic full."""

from __future__ import annotations

import time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from unit.transfer.builders import MOMENT, NEXT_RUN, RUN, Estate, disk, incremental, ticking, vm_plan
from unit.vault.builders import MIB, noise

from ansible_collections.ovm.backup.plugins.module_utils.errors import (
    NotAVaultError,
    VaultError,
    VaultLockedError,
    VaultWriteError,
)
from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_restore import plan_images, restore_images
from ansible_collections.ovm.backup.plugins.module_utils.vault.access import VaultAccess
from ansible_collections.ovm.backup.plugins.module_utils.vault.expiry import Expiration
from ansible_collections.ovm.backup.plugins.module_utils.vault.leftovers import Cleaner
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault
from ansible_collections.ovm.backup.plugins.module_utils.vault.retention import RetentionPolicy
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.mounts import storage_of
from ansible_collections.ovm.backup.plugins.module_utils.vault.synthetic_full import (
    SyntheticRequest,
    make_synthetic_full,
)
from ansible_collections.ovm.backup.plugins.module_utils.vault.turns import turns
from ansible_collections.ovm.backup.plugins.module_utils.vault.verification_run import survey, verify_targets
from s3.faults import Fault, FaultProxy
from s3.fixtures import new_root
from s3.server import ACCESS_KEY, SECRET_KEY, Server

BLOCK = 64 * 1024
LATER = MOMENT + 86400.0
LARGE = noise(9 * MIB, seed=3)  # is sent in parts


def access_to(endpoint: str) -> VaultAccess:
    return VaultAccess(
        endpoint_url=endpoint, access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY, addressing_style="path"
    )


def estate_at(directory: Path, endpoint: str) -> Estate:
    """Return an estate whose vault is in a bucket."""
    estate = Estate(directory)
    estate.vault = Vault.create(new_root(), access_to(endpoint), clock=lambda: 1.0)
    estate.write(1, LARGE)
    return estate


@pytest.fixture
def estate(tmp_path: Path, s3_server: Server) -> Estate:
    return estate_at(tmp_path, s3_server.endpoint)


def two_disks() -> dict[str, object]:
    return vm_plan(disk(0), disk(1, "data"))


def restored(estate: Estate, point: Point, target: Path) -> list[bytes]:
    plans = plan_images(estate.client, point, str(target))
    restore_images(estate.client, point, plans)
    return [(target / name).read_bytes() for name in ("0-system.img", "1-data.img")]


def images(estate: Estate) -> list[bytes]:
    return [estate.image(number).read_bytes() for number in (0, 1)]


def test_a_vm_goes_into_the_bucket_and_comes_back(estate: Estate, s3_server: Server, tmp_path: Path) -> None:
    first = backup_vm(estate.vault, estate.request(two_disks()), clock=ticking()).point
    before = images(estate)
    estate.change(0, MIB, noise(BLOCK, seed=7))
    estate.change(1, 5 * MIB, noise(BLOCK, seed=8))
    plan = incremental(two_disks())
    second = backup_vm(estate.vault, estate.request(plan, run_id=NEXT_RUN), clock=ticking(MOMENT + 60)).point
    assert [item.statistics["changed"] for item in second.disks] == [BLOCK, BLOCK]

    # As another host finds it.
    estate.vault = Vault.open(estate.vault.path, access_to(s3_server.endpoint))
    assert [client.name for client in estate.vault.clients()] == ["web_01"]
    outcomes = verify_targets(estate.vault, survey(estate.vault).targets, clock=ticking(LATER), workers=2)
    assert [(outcome.target.point.id, outcome.status) for outcome in outcomes] == [
        (first.id, "good"),
        (second.id, "good"),
    ]
    assert restored(estate, first, tmp_path / "first") == before
    assert restored(estate, second, tmp_path / "second") == images(estate)

    made = make_synthetic_full(
        estate.vault, SyntheticRequest(client="web_01", owner="a test"), clock=ticking(LATER), workers=2
    ).point
    assert (made.type, made.consolidates) == ("synthetic_full", second.id)
    keep = Expiration(RetentionPolicy(keep_last=1), LATER + 60, ZoneInfo("UTC"), "a test", RUN)
    done = keep.run(estate.client)
    assert ([decision.point.id for decision in done.expired], done.failed, done.skipped) == (
        [first.id, second.id],
        None,
        None,
    )
    assert restored(estate, made, tmp_path / "made") == images(estate)
    assert storage_of(estate.vault.path).names(estate.client.directory) == [made.id, "client.json"]
    assert storage_of(estate.vault.path).uploads(estate.vault.path) == []  # type: ignore[attr-defined]


def test_two_runs_do_not_work_on_one_client(estate: Estate) -> None:
    backup_vm(estate.vault, estate.request(two_disks()), clock=ticking())
    lock = estate.client.lock(owner="another", run_id="20261123T010203Z-ffffffff-ffffff")
    lock.hold(600.0)
    with pytest.raises(VaultLockedError, match="is locked by run 20261123T010203Z-ffffffff-ffffff"):
        backup_vm(estate.vault, estate.request(incremental(two_disks()), run_id=NEXT_RUN), clock=ticking(LATER))
    assert lock.release()
    backup_vm(estate.vault, estate.request(incremental(two_disks()), run_id=NEXT_RUN), clock=ticking(LATER))
    assert len(estate.client.scan()[0]) == 2


def test_a_client_whose_lock_was_given_back_is_no_leftover(estate: Estate) -> None:
    lock = estate.vault.prepare_client("never backed up").lock(owner="a test", run_id=RUN)
    lock.hold(600.0)
    assert lock.release()
    cleaner = Cleaner(estate.vault, owner="a test", run_id=NEXT_RUN, limit=60.0, clock=time.time, check=False)
    assert cleaner.run().leftovers == []


def test_turns_are_had_one_after_the_other(estate: Estate) -> None:
    with (
        turns(estate.vault, {"repository one": 1}, limit=0),
        pytest.raises(VaultLockedError, match="did not leave"),
        turns(estate.vault, {"repository one": 1}, limit=0),
    ):
        raise AssertionError("two at once")
    with turns(estate.vault, {"repository one": 1}, limit=0):
        pass


def test_a_storage_that_ignores_conditions_gets_no_vault(s3_faults: FaultProxy) -> None:
    s3_faults.add(Fault("accept", "PUT", header="If-Match", times=1000))
    with pytest.raises(VaultError, match="ignores or does not know the condition If-Match of a write"):
        Vault.create(new_root(), access_to(s3_faults.endpoint))


def test_only_one_makes_the_vault(s3_server: Server) -> None:
    root = new_root()
    first = Vault.create(root, access_to(s3_server.endpoint))
    with pytest.raises(NotAVaultError, match="holds other things"):
        Vault.create(root, access_to(s3_server.endpoint))
    assert Vault.open(root, access_to(s3_server.endpoint)).id == first.id


def test_a_backup_that_loses_its_storage_leaves_no_point(tmp_path: Path, s3_faults: FaultProxy) -> None:
    estate = estate_at(tmp_path, s3_faults.endpoint)
    s3_faults.add(Fault("answer", "PUT", "partNumber", times=1000, status=400, code="ExpiredToken"))
    with pytest.raises(VaultWriteError, match=r"Cannot write s3://.*: the credentials have expired: get new ones"):
        backup_vm(estate.vault, estate.request(two_disks()), clock=ticking())
    assert estate.client.scan() == ([], [])
    assert storage_of(estate.vault.path).uploads(estate.vault.path) == []  # type: ignore[attr-defined]
    s3_faults.reset()
    point = backup_vm(estate.vault, estate.request(two_disks(), run_id=NEXT_RUN), clock=ticking(LATER)).point
    assert restored(estate, point, tmp_path / "restored") == images(estate)
