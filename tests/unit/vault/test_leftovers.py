# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What dead runs leave in a vault, and that nothing else is removed."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from unit.vault.builders import NFS, add_point, make_client, noise, stored_tree, unlink_on_nfs, write_image

from ansible_collections.ovm.backup.plugins.module_utils.errors import VaultLockedError, VaultWriteError
from ansible_collections.ovm.backup.plugins.module_utils.vault import leftovers
from ansible_collections.ovm.backup.plugins.module_utils.vault.jobs import JobStore, new_job, new_job_id
from ansible_collections.ovm.backup.plugins.module_utils.vault.leftovers import Cleaner, leftover_lines
from ansible_collections.ovm.backup.plugins.module_utils.vault.lock import ClientLock
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client, Vault

NOW = time.time()  # that of the locks, whose clock is the real one
DAY = 86400.0
PLAN: dict[str, Any] = {"subclient": "all", "requested_type": "full", "warnings": [], "vms": []}


@pytest.fixture
def client(tmp_path: Path) -> Client:
    """A client with one recovery point."""
    made = make_client(tmp_path / "vault")
    add_point(made, write_image(tmp_path / "image", noise(4096)))
    return made


@pytest.fixture
def vault(client: Client) -> Vault:
    return Vault.open(os.path.dirname(os.path.dirname(client.directory)))


def clean(vault: Vault, *, check: bool = False, limit: float = DAY, now: float = NOW) -> dict[str, Any]:
    """Clean a vault."""
    run_id = new_job_id(vault.id, now)
    cleaner = Cleaner(vault, owner="a test", run_id=run_id, limit=limit, clock=lambda: now, check=check)
    return cleaner.run().as_dict()


def both(vault: Vault, **options: Any) -> dict[str, Any]:
    """Clean a vault after a look that must foresee it and write nothing; what is left then is nothing."""
    before = {name: os.lstat(os.path.join(vault.path, name)).st_mtime_ns for name in stored_tree(vault.path)}
    foreseen = clean(vault, check=True, **options)
    assert before == {name: os.lstat(os.path.join(vault.path, name)).st_mtime_ns for name in stored_tree(vault.path)}
    assert clean(vault, **options) == foreseen
    assert clean(vault, **options)["leftovers"] == []
    return foreseen


def paths(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(item["kind"], item["path"]) for item in found["leftovers"]]


def half_point(client: Client, size: int = 100) -> str:
    """Leave a recovery point that is not published."""
    writer = client.new_point(now=2000.0)
    Path(writer.directory, "0-system.img.zst").write_bytes(b"x" * size)
    return f"clients/{client.name}/{writer.id}"


def dead_lock(client: Client, **changes: Any) -> Path:
    """Leave the lock of a run whose lease is over."""
    vault_id = Vault.open(os.path.dirname(os.path.dirname(client.directory))).id
    lock = client.lock(owner="a run", run_id=new_job_id(vault_id, NOW - 7200), vm_id=changes.pop("vm_id", None))
    lock.hold(1.0, changes.pop("debts", None))
    path = Path(client.directory, "lock.json")
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "heartbeat": NOW - 7200, **changes}))
    return path


def old(path: Path, age: float = 2 * DAY) -> Path:
    os.utime(path, (NOW - age, NOW - age))
    return path


def open_job(vault: Vault, age: float) -> str:
    run_id = new_job_id(vault.id, NOW - age)
    JobStore(vault).start(new_job(run_id, PLAN, now=NOW - age))
    return run_id


def test_a_clean_vault(vault: Vault, client: Client) -> None:
    assert both(vault) == {"leftovers": [], "kept": [], "bytes": 0}
    assert len(client.scan()[0]) == 1


def test_half_points(vault: Vault, client: Client) -> None:
    """One of a dead first pass of a two-pass backup looks no other."""
    first, second = half_point(client, 100), half_point(client, 50)
    found = both(vault)
    assert paths(found) == [("point", first), ("point", second)]
    assert found["bytes"] == 150
    assert found["leftovers"][0] == {
        "kind": "point",
        "path": first,
        "reason": "a recovery point that was never published, or whose removal was interrupted",
        "client": "web01",
        "run_id": None,
        "bytes": 100,
    }
    assert len(client.scan()[0]) == 1
    assert client.lock(owner="x", run_id="y").status() is None


def test_a_point_that_is_still_read_on_nfs(vault: Vault, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can remove it now, so nobody is told of it before it goes."""
    folder = half_point(client)
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", unlink_on_nfs)
        assert paths(clean(vault, check=True)) == [("point", folder)]
        for check in (False, True, False):
            assert clean(vault, check=check)["leftovers"] == []
        assert stored_tree(os.path.join(vault.path, folder)) == [NFS]
        assert client.lock(owner="x", run_id="y").status() is None
    assert paths(clean(vault)) == [("point", folder)]
    assert client.unpublished() == []


def test_a_living_run(vault: Vault, client: Client) -> None:
    half = half_point(client)
    run_id = new_job_id(vault.id, NOW)
    lock = client.lock(owner="a run", run_id=run_id)
    lock.hold(1800.0)
    Path(client.directory, ".client.json.new").touch()
    before = stored_tree(vault.path)
    found = clean(vault)
    assert found["kept"] == [{"path": half, "reason": f"run {run_id} has the lock of the client and may be filling it"}]
    assert (found["leftovers"], stored_tree(vault.path)) == ([], before)


def test_uploads_of_living_runs_are_spared(vault: Vault, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    other = make_client(Path(vault.path), "web02", "0004fb0000060000bb")
    client.lock(owner="a run", run_id=new_job_id(vault.id, NOW)).hold(1800.0)
    dead_lock(other)
    spared: list[str] = []
    monkeypatch.setattr(leftovers, "drop_unfinished", lambda _path, _age, living, **_check: spared.extend(living) or [])
    clean(vault)
    assert spared == [client.directory]


def test_a_run_that_takes_the_lock_meanwhile(vault: Vault, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    half = half_point(client)

    def taken(_self: ClientLock, _lease: float) -> bool:
        raise VaultLockedError("Client web01 is locked by run X")

    monkeypatch.setattr(ClientLock, "hold", taken)
    found = clean(vault)
    assert found["kept"] == [{"path": "clients/web01", "reason": "Client web01 is locked by run X"}]
    assert (found["leftovers"], (Path(vault.path) / half).exists()) == ([], True)


def test_a_point_that_is_published_while_the_lock_is_waited_for(
    vault: Vault, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = half_point(client)
    hold = ClientLock.hold

    def published(self: ClientLock, lease: float) -> bool:
        os.link(Path(client.directory, client.scan()[0][0].id, "point.json"), Path(vault.path, half, "point.json"))
        return hold(self, lease)

    monkeypatch.setattr(ClientLock, "hold", published)
    assert clean(vault)["leftovers"] == []
    assert (Path(vault.path) / half / "0-system.img.zst").exists()


def test_a_point_that_was_pinned_while_it_was_removed_is_put_back(vault: Vault, client: Client) -> None:
    (point,) = client.scan()[0]
    folder = Path(client.directory, point.id)
    (folder / "point.json").rename(folder / ".point.json.expired")
    (folder / "pin.json").write_text('{"note": "keep it"}')
    assert client.scan()[0] == []
    assert both(vault) == {"leftovers": [], "kept": [], "bytes": 0}
    assert client.scan()[0] == [point]


def test_a_point_that_is_pinned_while_it_is_cleared_away(
    vault: Vault, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    (point,) = client.scan()[0]
    folder = Path(client.directory, point.id)
    (folder / "point.json").rename(folder / ".point.json.expired")
    remove = Client.remove_unpublished

    def pinned(self: Client) -> list[str]:
        (folder / "pin.json").write_text('{"note": "keep it"}')
        return remove(self)

    monkeypatch.setattr(Client, "remove_unpublished", pinned)
    assert clean(vault) == {"leftovers": [], "kept": [], "bytes": 0}
    assert client.scan()[0] == [point]


@pytest.mark.parametrize("owed", [{"debts": {"vm_stopped": True}}, {"vm_id": "0004fb"}])
def test_a_dead_lock_that_owes_something_stays(vault: Vault, client: Client, owed: dict[str, Any]) -> None:
    lock = dead_lock(client, **owed)
    document = json.loads(lock.read_text())
    half = half_point(client)
    found = both(vault)
    assert paths(found) == [("point", half)]
    assert found["leftovers"][0]["run_id"] == document["run_id"]
    assert json.loads(lock.read_text()) == document


def test_a_dead_lock_that_owes_nothing_goes(vault: Vault, client: Client) -> None:
    lock = dead_lock(client)
    assert paths(both(vault)) == [("lock", "clients/web01/lock.json")]
    assert not lock.exists()


def test_files_whose_writing_was_interrupted(vault: Vault, client: Client) -> None:
    point = Path(client.directory, client.scan()[0][0].id)
    names = [
        Path(vault.path, ".vault.json.new"),
        Path(vault.path, "jobs", ".x.json.new"),
        Path(client.directory, ".client.json.new"),
        Path(client.directory, ".lock.json.0123.new"),
        point / ".pin.json.new",
    ]
    for name in names:
        name.touch()
        old(name)
    fresh = [
        Path(vault.path, "jobs", ".y.json.new"),
        Path(client.directory, ".outages.json.new"),
        point / ".verification.json.new",
    ]
    for name in fresh:
        name.touch()
    found = both(vault)
    assert [item["path"] for item in found["leftovers"]] == sorted(os.path.relpath(name, vault.path) for name in names)
    assert not any(name.exists() for name in names)
    assert all(name.exists() for name in fresh)


def test_empty_folders_of_clients(vault: Vault) -> None:
    gone, fresh = (Path(vault.prepare_client(name).directory) for name in ("gone", "fresh"))
    old(gone)
    assert paths(both(vault)) == [("client", "clients/gone")]
    assert (gone.exists(), fresh.exists()) == (False, True)


def test_jobs(vault: Vault, client: Client) -> None:
    fresh, silent, done, dead = (open_job(vault, age) for age in (60.0, 3 * DAY, 2 * DAY, 120.0))
    Path(vault.path, "jobs", "of somebody else.json").write_text("{}")
    Path(vault.path, "jobs", f"{new_job_id(vault.id, NOW)}.json").write_text("{")
    JobStore(vault).finish(done, now=NOW)
    Path(vault.path, "jobs", done).mkdir()  # a run died while it closed its job
    never, records = new_job_id(vault.id, NOW - 5), new_job_id(vault.id, NOW - 6)
    Path(vault.path, "jobs", never).mkdir()
    old(Path(vault.path, "jobs", never))
    Path(vault.path, "jobs", records).mkdir()
    Path(vault.path, "jobs", records, "vm.json").write_text("{}")
    lock = dead_lock(client, vm_id="0004fb")
    lock.write_text(json.dumps({**json.loads(lock.read_text()), "run_id": dead}))
    found = both(vault)
    assert {path: kind for kind, path in paths(found)} == {
        f"jobs/{silent}.json": "job",
        f"jobs/{done}": "job_folder",
        f"jobs/{never}": "job_folder",
        f"jobs/{dead}.json": "job",
    }
    assert [item["reason"] for item in found["leftovers"] if item["run_id"] == dead] == [
        "an open job: the lock of the run on client web01 ran out"
    ]
    assert len(found["kept"]) == 3  # the fresh one, the damaged one, records without a job
    states = {run_id: JobStore(vault).read(run_id)["state"] for run_id in (fresh, silent, done, dead)}
    assert states == {fresh: "running", silent: "finished", done: "finished", dead: "finished"}


def test_what_cannot_be_removed(vault: Vault, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    half_point(client)
    lock = dead_lock(client, debts={"vm_stopped": True})
    document = json.loads(lock.read_text())

    def refuse(_self: Client) -> list[str]:
        raise VaultWriteError("Cannot remove it: the vault is mounted read-only")

    monkeypatch.setattr(Client, "remove_unpublished", refuse)
    with pytest.raises(VaultWriteError):
        clean(vault)
    assert json.loads(lock.read_text()) == document


def test_lines() -> None:
    item = {"path": "clients/a/b", "reason": "half\na point", "bytes": 2048}
    found = {"leftovers": [item, {**item, "bytes": 0}], "kept": [{"path": "jobs/x", "reason": "alive"}]}
    assert leftover_lines(found) == [
        "leftover: clients/a/b, half a point (2.0 KiB)",
        "leftover: clients/a/b, half a point",
        "kept: jobs/x: alive",
    ]
    assert len(leftovers.KINDS) == 6
