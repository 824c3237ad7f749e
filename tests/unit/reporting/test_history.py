# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a vault tells of the past, also one that is damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from unit.reporting.builders import DAMAGE, DAY, MOMENT, add_client, add_job, job_id, made, planned, verify
from unit.vault.builders import add_point, fail_to_read

from ansible_collections.ovm.backup.plugins.module_utils.errors import CorruptVaultError
from ansible_collections.ovm.backup.plugins.module_utils.reporting.history import (
    ClientHistory,
    read_client,
    read_history,
)
from ansible_collections.ovm.backup.plugins.module_utils.vault import health
from ansible_collections.ovm.backup.plugins.module_utils.vault.jobs import FinishedJobs, JobStore, new_job
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault

FAILURE = {"failure": "the vault is full"}


@pytest.fixture
def directory(vault: Vault) -> Path:
    return Path(vault.path)


def night(vault: Vault, number: int, **changes: Any) -> dict[str, Any]:
    return add_job(vault, number, (planned("db01"), {"point": made()}), **changes)


# --- the jobs --------------------------------------------------------------------------------------------------------


def ids(found: FinishedJobs) -> list[str]:
    return [job["id"] for job in found.jobs]


def test_finished_jobs(vault: Vault) -> None:
    for number, subclient in ((2, "nightly"), (0, "nightly"), (1, "gold"), (3, "gold")):
        night(vault, number, subclient=subclient)
    running = {"subclient": "nightly", "requested_type": "full", "warnings": [], "vms": []}
    store = JobStore(vault)
    store.start(new_job(job_id(4), running, now=MOMENT))
    assert ids(store.finished()) == [job_id(number) for number in range(4)]
    assert ids(store.finished(limit=3)) == [job_id(number) for number in (1, 2, 3)]
    assert ids(store.finished(subclient="nightly")) == [job_id(0), job_id(2)]
    assert ids(store.finished(subclient="nightly", limit=1)) == [job_id(2)]
    assert ids(store.finished(until=job_id(1))) == [job_id(0), job_id(1)]
    assert store.finished(limit=0) == FinishedJobs((), ())
    assert store.finished(subclient="other") == FinishedJobs((), ())


def test_other_files_beside_the_jobs(vault: Vault, directory: Path) -> None:
    night(vault, 0)
    for name in ("readme.json", f"{job_id(1)}.txt", f".{job_id(1)}.json.new", f"{job_id(1)}x.json"):
        (directory / "jobs" / name).write_text("{}")
    assert JobStore(vault).finished() == FinishedJobs((JobStore(vault).read(job_id(0)),), ())


def test_vault_without_jobs(vault: Vault, directory: Path) -> None:
    assert JobStore(vault).finished() == FinishedJobs((), ())
    (directory / "jobs").rmdir()
    assert JobStore(vault).finished() == FinishedJobs((), ())
    (directory / "jobs").write_text("")
    with pytest.raises(CorruptVaultError, match="Cannot list .*/jobs: Not a directory"):
        JobStore(vault).finished()


WRONG = [
    ({"counts": None}, "counts"),
    ({"finished": "now"}, "finished"),
    ({"finished": float("nan")}, "finished"),
    ({"started": -1}, "started"),
    ({"started": 1e12}, "started"),
    ({"duration": True}, "duration"),
    ({"duration": 10**400}, "duration"),
    ({"bytes_read": -1}, "bytes_read"),
    ({"bytes_stored": 1.5}, "bytes_stored"),
    ({"warnings": [1]}, "warnings"),
    ({"counts": {"Completed": -1}}, "counts"),
    ({"vms": {}}, "vms"),
    ({"vms": ["db01"]}, "vms"),
    ({"vms": [{}]}, "vms[0].vm_id"),
]


@pytest.mark.parametrize(("change", "key"), WRONG)
def test_record_with_wrong_keys(vault: Vault, directory: Path, change: dict[str, Any], key: str) -> None:
    good = night(vault, 0)
    path = directory / "jobs" / f"{job_id(1)}.json"
    path.write_text(json.dumps({**good, "id": job_id(1), **change}))
    found = JobStore(vault).finished()
    assert found.jobs == (good,)
    assert [(bad.id, bad.error) for bad in found.damaged] == [
        (job_id(1), f"{path} is damaged: it is not the record of a finished job ({key} is missing or wrong)")
    ]


VM_KEYS = [("point", 1), ("outage", "long"), ("skipped_disks", [{"slot": "0", "reason": ""}]), ("client", None)]


@pytest.mark.parametrize(("key", "value"), VM_KEYS)
def test_record_with_a_wrong_vm(vault: Vault, directory: Path, key: str, value: Any) -> None:
    job = night(vault, 0)
    job["vms"][0][key] = value
    (directory / "jobs" / f"{job_id(0)}.json").write_text(json.dumps(job))
    [bad] = JobStore(vault).finished().damaged
    assert bad.error.endswith(f"(vms[0].{key} is missing or wrong)")


def test_record_of_another_job(vault: Vault, directory: Path) -> None:
    path = directory / "jobs" / f"{job_id(1)}.json"
    path.write_text(json.dumps(night(vault, 0)))
    [bad] = JobStore(vault).finished().damaged
    assert (bad.id, bad.error) == (job_id(1), f"{path} is damaged: it belongs to job {job_id(0)}")


# --- the clients -----------------------------------------------------------------------------------------------------


def test_client_with_good_points(directory: Path) -> None:
    client, points = add_client(directory, "db01", points=3)
    assert read_client(client) == ClientHistory(
        client="db01",
        vm_name="db01",
        vm_id="id of db01",
        points=3,
        stored=sum(point.stored for point in points),
        good=points[2],
    )


def test_newest_good_point_is_an_older_one(directory: Path) -> None:
    client, points = add_client(directory, "db01", points=3)
    folder = Path(client.directory)
    (folder / points[2].id / "point.json").write_text("{}")
    path = folder / points[1].id / points[1].disks[0].file
    path.write_bytes(path.read_bytes()[:-1])
    found = read_client(client)
    assert found.good == points[0]
    size = points[1].disks[0].file_size
    assert found.problems == (
        f"recovery point {points[2].id}: {folder / points[2].id / 'point.json'} is damaged: its content does not have "
        "the hash that it gives",
        f"recovery point {points[1].id}: {path} has {size - 1} bytes instead of {size}",
    )


def test_what_builds_on_a_bad_point_is_bad(directory: Path) -> None:
    client, points = add_client(directory, "db01", points=4)
    verify(client, points[0], at=MOMENT)
    verify(client, points[1], at=MOMENT + 5, problem=DAMAGE)
    verify(client, points[3], at=MOMENT + 3)
    found = read_client(client)
    assert found.good == points[0]
    assert found.bad == [points[1].id]
    assert found.verified_at == MOMENT + 5
    assert [(point_id, result.ok) for point_id, result in found.verified] == [
        (points[0].id, True),
        (points[1].id, False),
        (points[3].id, True),
    ]
    why = f"recovery point {points[1].id} was found bad by a verification: {DAMAGE}"
    assert found.problems == (
        why,
        f"recovery point {points[2].id}: {why}",
        f"recovery point {points[3].id}: {why}",
    )


def test_what_is_bad_is_told_of_older_points_too(directory: Path) -> None:
    client, points = add_client(directory, "db01")
    image = directory.parent / "db01.img"
    newer = add_point(client, image, now=MOMENT + DAY)
    verify(client, points[0], problem=DAMAGE)
    found = read_client(client)
    assert found.good == newer
    assert found.problems == (f"recovery point {points[0].id} was found bad by a verification: {DAMAGE}",)


@pytest.mark.parametrize("content", ["[]", "{}", "null", '{"verified_at": 1e300, "ok": true, "problems": []}'])
def test_damaged_verification_proves_nothing(directory: Path, content: str) -> None:
    client, points = add_client(directory, "db01")
    verify(client, points[0], problem=DAMAGE).write_text(content)
    found = read_client(client)
    assert (found.good, found.verified, found.problems) == (points[0], (), ())


def test_verification_that_cannot_be_read_now(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may say that the recovery point is bad, and all that builds on it: a newer full does not hide that."""
    client, points = add_client(directory, "db01", points=2)
    newer = add_point(client, directory.parent / "db01.img", now=MOMENT + 2 * DAY)
    path = verify(client, points[0])
    verify(client, newer, at=MOMENT + 7)
    fail_to_read(monkeypatch, f"{points[0].id}/verification.json")
    read: list[str] = []
    original = health.read_verification
    monkeypatch.setattr(health, "read_verification", lambda folder: (read.append(folder), original(folder))[1])
    found = read_client(client)
    why = f"it is not known whether it is in order: Cannot read {path}: Connection timed out"
    assert (found.good, found.bad, [point_id for point_id, _result in found.verified]) == (newer, [], [newer.id])
    assert found.problems == tuple(f"recovery point {point.id}: {why}" for point in points)
    assert len(read) == len(set(read)) == 3  # a storage that does not answer lets wait long enough once


def test_vault_of_which_something_cannot_be_read_now(
    vault: Vault, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, [point] = add_client(directory, "db01")
    path = verify(client, point)
    job = night(vault, 0)
    fail_to_read(monkeypatch, "verification.json")
    fail_to_read(monkeypatch, "client.json")
    history = read_history(vault)
    assert (history.jobs, history.clients[0].good, history.clients[0].verified_at) == ((job,), None, None)
    assert history.clients[0].problems == (
        f"Cannot read {client.directory}/client.json: Connection timed out",
        f"recovery point {point.id}: it is not known whether it is in order: Cannot read {path}: Connection timed out",
    )


def test_client_whose_description_is_damaged(directory: Path) -> None:
    client, points = add_client(directory, "db01")
    path = Path(client.directory) / "client.json"
    path.write_text("{}")
    found = read_client(client)
    assert (found.vm_name, found.vm_id, found.good) == ("db01", "", points[0])
    assert found.problems == (f"{path} is damaged: it does not name a VM",)


# --- both together ---------------------------------------------------------------------------------------------------


def test_history(vault: Vault, directory: Path) -> None:
    _client, points = add_client(directory, "db01")
    add_client(directory, "gone01")
    db01, new01 = planned("db01", vm_name="db01 renamed"), planned("new 01", "new_01")
    first = add_job(vault, 0, (db01, {"point": made()}), (planned("gone01"), {"point": made()}))
    second = add_job(vault, 1, (db01, {"point": made()}), (new01, FAILURE))
    other = add_job(vault, 2, (db01, FAILURE), subclient="gold")
    history = read_history(vault)
    assert history.jobs == (first, second, other)
    assert history.newest_jobs == {"gold": other, "nightly": second}
    found = {client.client: client for client in history.clients}
    assert list(found) == ["db01", "gone01", "new_01"]
    assert found["db01"].vm_name == "db01 renamed"
    assert [run.job_id for run in found["db01"].runs] == [job_id(0), job_id(1), job_id(2)]
    assert (found["db01"].selected, found["db01"].subclients) == (("gold", "nightly"), ["gold", "nightly"])
    assert found["db01"].newest_run("nightly").job_id == job_id(1)  # type: ignore[union-attr]
    assert found["db01"].newest_run("other") is None
    assert (found["gone01"].selected, found["gone01"].subclients) == ((), ["nightly"])
    assert (found["new_01"].vm_name, found["new_01"].points, found["new_01"].good) == ("new 01", 0, None)
    assert [name for name, client in found.items() if client.unprotected] == ["new_01"]
    gold = read_history(vault, subclient="gold")
    assert (gold.jobs, [client.client for client in gold.clients]) == ((other,), ["db01"])
    assert gold.clients[0].good == points[0]
    assert read_history(vault, limit=1).jobs == (other,)


def test_a_template_needs_no_point(vault: Vault) -> None:
    template = planned("template", action="skip", method="skip", reason="templates are not backed up")
    add_job(vault, 0, (template, {}), (planned("db01"), FAILURE))
    assert [(client.client, client.unprotected) for client in read_history(vault).clients] == [
        ("db01", True),
        ("template", False),
    ]


def test_point_that_no_job_tells_of(vault: Vault, directory: Path) -> None:
    add_client(directory, "db01", subclient=None)
    add_client(directory, "web01", subclient="by hand")
    assert [(client.client, client.subclients) for client in read_history(vault).clients] == [
        ("db01", []),
        ("web01", ["by hand"]),
    ]
    assert [client.client for client in read_history(vault, subclient="by hand").clients] == ["web01"]
