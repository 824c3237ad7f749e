# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What planning learns from a real vault."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit.planning.estate import disk
from unit.transfer.builders import NEXT_RUN, RUN
from unit.vault.builders import add_point, fail_to_read, make_client, noise, read_from_images, write_image

from ansible_collections.ovm.backup.plugins.module_utils.errors import CorruptVaultError, NotAVaultError, VaultError
from ansible_collections.ovm.backup.plugins.module_utils.planning.backup_type import TypeDecision, decide_disk_type
from ansible_collections.ovm.backup.plugins.module_utils.planning.state import (
    ClientState,
    GoodPoint,
    VaultDisk,
    VaultState,
)
from ansible_collections.ovm.backup.plugins.module_utils.planning.vault_reader import (
    read_coverage_state,
    read_vault_state,
)
from ansible_collections.ovm.backup.plugins.module_utils.vault.distrust import mark_distrusted
from ansible_collections.ovm.backup.plugins.module_utils.vault.jobs import JobStore, new_job
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client, Vault
from ansible_collections.ovm.backup.plugins.module_utils.vault.verification_record import (
    Problem,
    Verification,
    write_verification,
)

SIZE = 4096
DISK = "0004fb00001200001.img"
WEB = ClientState("web01", "vm-web", vm_name="web01")


def web01(point: Point, *disks: VaultDisk, healthy: bool = True, **changes: Any) -> ClientState:
    """Return what is expected of the client with a newest point."""
    values = {"newest_point": point.id, "newest_created": point.created, "newest_healthy": healthy, "disks": disks}
    return replace(WEB, **{**values, "subclients": frozenset({"all"}), **changes})


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return make_client(tmp_path / "vault", "web01", "vm-web")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write_image(tmp_path / "image", noise(SIZE))


def state(client: Client) -> ClientState:
    """Return what is read of the only client."""
    found = read_vault_state(Vault.open(os.path.dirname(os.path.dirname(client.directory))))
    assert len(found.clients) == 1
    return found.clients[0]


def two_points(client: Client, image: Path) -> tuple[Point, Point]:
    full = add_point(client, image, created=1000.0)
    return full, add_point(client, image, base=full, now=2000.0, created=2000.0, parent=full.id)


def test_empty_vault(tmp_path: Path) -> None:
    assert read_vault_state(Vault.create(str(tmp_path / "vault"))) == VaultState()


def test_client_without_points(client: Client) -> None:
    assert state(client) == WEB
    assert state(client).protected_at is None


def test_newest_point(client: Client, image: Path) -> None:
    full, second = two_points(client, image)
    assert state(client) == web01(second, VaultDisk(DISK, 0, SIZE, True, full.id, True, 1))
    assert state(client).protected_at == 2000.0
    assert full.id < second.id
    third = add_point(client, image, base=second, now=3000.0, created=3000.0)
    assert state(client) == web01(third, VaultDisk(DISK, 0, SIZE, True, full.id, True, 2))
    # Such as a differential: it builds on the full, but is the third point after it.
    fourth = add_point(client, image, base=full, now=4000.0, created=4000.0)
    assert state(client) == web01(fourth, VaultDisk(DISK, 0, SIZE, True, full.id, True, 3))
    fifth = add_point(client, image, now=5000.0, created=5000.0, subclient="other")
    disk = VaultDisk(DISK, 0, SIZE, True, fifth.id, True, 0)
    assert state(client) == web01(fifth, disk, newest_is_full=True, subclients=frozenset({"all", "other"}))


def test_images_that_the_points_were_read_from(client: Client, image: Path) -> None:
    full, second = two_points(client, image)
    of_full, of_second = ({"clone_id": name, "path": "/x"} for name in ("clone1", "clone2"))
    read_from_images(client, full, {0: of_full})
    read_from_images(client, second, {0: of_second})
    (found,) = state(client).disks
    assert (found.image, found.full_image) == (of_second, of_full)


def test_mark_of_distrust(client: Client, image: Path) -> None:
    two_points(client, image)
    assert state(client).distrust is None
    mark_distrusted(client.directory, "disk 0 at offset 5", now=1.0)
    found = state(client)
    assert (found.distrust, found.newest_healthy, found.protected_at) == ("disk 0 at offset 5", True, None)


def test_all_clients_in_order(client: Client, image: Path, tmp_path: Path) -> None:
    other = make_client(tmp_path / "vault", "db01", "vm-db")
    point = add_point(other, image, created=5.0)
    os.mkdir(tmp_path / "vault" / "clients" / "locked only")  # a client that never came to be
    found = read_vault_state(Vault.open(str(tmp_path / "vault")))
    assert found.clients == (
        web01(
            point,
            VaultDisk(DISK, 0, SIZE, True, point.id, True, 0),
            client="db01",
            vm_id="vm-db",
            vm_name="db01",
            newest_is_full=True,
        ),
        WEB,
    )
    assert list(found.by_vm()) == ["vm-web", "vm-db"]  # the one that was never protected first


@pytest.mark.parametrize("which", ["newest", "base"])
@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_file_of_the_chain_is_gone(client: Client, image: Path, which: str, damage: str) -> None:
    full, second = two_points(client, image)
    point = second if which == "newest" else full
    path = Path(client.directory) / point.id / point.disks[0].file
    if damage == "missing":
        path.unlink()
    else:
        os.truncate(path, path.stat().st_size - 1)
    found = state(client)
    full_healthy = which == "newest"
    what = f"{path}: No such file or directory"
    if damage == "truncated":
        what = f"{path} has {point.stored - 1} bytes instead of {point.stored}"
    wanted = VaultDisk(DISK, 0, SIZE, False, full.id, full_healthy, 1, what, None if full_healthy else what)
    assert found == web01(second, wanted, healthy=False)
    assert found.protected_at is None


def test_newest_manifest_is_damaged(client: Client, image: Path) -> None:
    _full, second = two_points(client, image)
    (Path(client.directory) / second.id / "point.json").write_text("{}")
    assert state(client) == replace(WEB, newest_point=second.id, subclients=frozenset({"all"}))
    assert state(client).protected_at is None


def test_an_older_manifest_is_damaged(client: Client, image: Path) -> None:
    """The chain of the newest point leads there; a full that came after it does not."""
    full, second = two_points(client, image)
    path = Path(client.directory) / full.id / "point.json"
    path.write_text("{}")
    what = f"{path} is damaged: its content does not have the hash that it gives"
    assert state(client) == web01(second, VaultDisk(DISK, 0, SIZE, False, problem=what), healthy=False)
    third = add_point(client, image, now=3000.0, created=3000.0)
    assert state(client) == web01(third, VaultDisk(DISK, 0, SIZE, True, third.id, True, 0), newest_is_full=True)


def verified(client: Client, point: Point, *problems: Problem) -> None:
    found = Verification(9.0, not problems, problems, 0, 0.0, {}, "run")
    write_verification(os.path.join(client.directory, point.id), found)


def decide(client: Client, requested: str = "incremental") -> TypeDecision:
    """Return the type of the next backup of the client's disk, as the plan decides it."""
    found = state(client)
    item = found.disks[0]
    return decide_disk_type(disk(item.slot, id=item.id, size=item.size), requested, found)


@pytest.mark.parametrize("which", ["newest", "base"])
def test_a_point_that_a_verification_found_bad_is_no_base(client: Client, image: Path, which: str) -> None:
    full, second = two_points(client, image)
    point = second if which == "newest" else full
    verified(client, point, Problem(point.id, point.disks[0].file, 7, "block 3 is damaged"))
    what = f"recovery point {point.id} was found bad by a verification: block 3 is damaged"
    assert decide(client) == TypeDecision("full", f"newest recovery point is damaged: {what}")
    assert state(client).protected_at is None
    # A differential builds on the full.
    differential = decide(client, "differential")
    if which == "newest":
        assert (differential.type, differential.base) == ("differential", full.id)
    else:
        assert differential == TypeDecision("full", f"full recovery point {full.id} is damaged: {what}")
    # A full does not build on it; and a later good result clears it.
    third = add_point(client, image, now=3000.0, created=3000.0)
    assert (state(client).newest_point, state(client).protected_at) == (third.id, 3000.0)
    verified(client, point)
    assert client.problem_of(second) is None


def test_a_file_that_was_found_damaged_with_a_point_that_builds_on_it(client: Client, image: Path) -> None:
    full, second = two_points(client, image)
    verified(client, second, Problem(full.id, full.disks[0].file, 7, "block 3 is damaged"))
    third = add_point(client, image, base=second, now=3000.0, created=3000.0)
    assert decide(client).reason.endswith(f"{second.id} was found bad by a verification: block 3 is damaged")
    assert client.problem_of(third) is not None


def test_a_verification_of_a_base_counts_for_what_is_needed_of_it(client: Client, image: Path) -> None:
    full, second = two_points(client, image)
    verified(client, full, Problem(full.id, "vm.cfg", 0, "another hash"), Problem(full.id, "1-other.img.zst", 0, "x"))
    assert client.problem_of(second) is None
    what = f"recovery point {full.id} was found bad by a verification: another hash"
    assert client.problem_of(full) == what
    # The newest one is no good protection without its vm.cfg, but its disk can be built upon.
    verified(client, second, Problem(second.id, "vm.cfg", 0, "another hash"))
    assert decide(client).type == "incremental"
    assert (state(client).newest_healthy, state(client).protected_at) == (False, None)


def test_a_result_that_cannot_be_read_says_nothing(client: Client, image: Path) -> None:
    full, second = two_points(client, image)
    (Path(client.directory) / full.id / "verification.json").write_text("{")
    assert client.problem_of(second) is None


def test_a_result_that_cannot_be_read_now_costs_a_full(
    client: Client, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = add_point(client, image)
    path = os.path.join(client.directory, point.id, "verification.json")
    opened = open

    def late(name: Any, *arguments: Any, **options: Any) -> Any:
        if str(name) == path:
            raise TimeoutError(errno.ETIMEDOUT, "Connection timed out", name)
        return opened(name, *arguments, **options)

    monkeypatch.setattr("builtins.open", late)
    found = state(client)
    assert (found.newest_healthy, [one.healthy for one in found.disks]) == (False, [False])
    assert found.disks[0].problem == f"Cannot read {path}: Connection timed out"


def test_an_unpublished_point_does_not_count(client: Client, image: Path) -> None:
    _full, second = two_points(client, image)
    client.new_point(now=3000.0)
    assert state(client).newest_point == second.id


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", " is damaged at offset 1: it is not JSON"),
        (b"[]", " is damaged: it does not name a VM"),
        (b"{}", " is damaged: it does not name a VM"),
    ],
)
def test_a_client_that_does_not_say_whose_it_is(client: Client, content: bytes, message: str) -> None:
    """To plan without it could give its VM a second client, so nothing is planned."""
    path = Path(client.directory) / "client.json"
    path.write_bytes(content)
    with pytest.raises(CorruptVaultError) as damage:
        state(client)
    assert damage.value.message.startswith(f"{path}{message}")


def test_a_client_that_cannot_be_read(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(client.directory) / "client.json"
    path.unlink()
    path.mkdir()
    monkeypatch.setattr(os.path, "isfile", lambda _path: True)
    with pytest.raises(CorruptVaultError) as damage:
        state(client)
    assert damage.value.message == f"Cannot read {path}: Is a directory"


def test_a_record_of_a_job_that_cannot_be_read_now(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be of any subclient, so it fails no plan; what failed in an older job is not restarted instead of it."""
    vault = Vault.open(client.vault_path)
    store = JobStore(vault)
    for run_id in (RUN, NEXT_RUN):
        empty = {"subclient": "nightly", "requested_type": "full", "warnings": [], "vms": []}
        store.start(new_job(run_id, empty, now=1.0))
        store.finish(run_id, now=2.0)
    fail_to_read(monkeypatch, f"{NEXT_RUN}.json")
    last = read_vault_state(vault, "nightly").last_job
    assert last is not None and last.id == RUN
    for options in ({}, {"job_id": NEXT_RUN}):
        with pytest.raises(VaultError) as failure:
            read_vault_state(vault, "nightly", restart=True, **options)
        assert failure.value.message == f"Cannot read {store.path(NEXT_RUN)}: Connection timed out"


def test_a_vault_without_clients_folder(client: Client) -> None:
    vault = Vault.open(os.path.dirname(os.path.dirname(client.directory)))
    os.rename(os.path.join(vault.path, "clients"), os.path.join(vault.path, "moved"))
    with pytest.raises(NotAVaultError) as failure:
        read_vault_state(vault)
    assert failure.value.message == f"Cannot list {vault.path}/clients: No such file or directory"


def newest_good(client: Client) -> GoodPoint | None:
    vault = Vault.open(os.path.dirname(os.path.dirname(client.directory)))
    (found,) = read_coverage_state(vault).clients
    assert found == state(client)
    assert found.vm_name == "web01"
    return found.newest_good


def test_newest_good_point(client: Client, image: Path) -> None:
    assert newest_good(client) is None
    full, second = two_points(client, image)
    common = ("powered_off", "all", "0004fb0000010000bb", ("0004fb00001200001.img",))
    assert newest_good(client) == GoodPoint(second.id, 2000.0, second.type, *common)
    (Path(client.directory) / second.id / "point.json").write_text("{}")
    assert newest_good(client) == GoodPoint(full.id, 1000.0, "full", *common)
    (Path(client.directory) / full.id / full.disks[0].file).unlink()
    assert newest_good(client) is None
