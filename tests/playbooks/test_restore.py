# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook restore: a VM beside the old one, in place, and everything taken back when it does not come off."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from playbooks.bench import Bench, only, settled, wait_until
from simulator.testing import Simulator

VM = "db 01"
CLIENT = "db_01"


@pytest.fixture(scope="module")
def backup(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, Path]:
    """A backup of a VM, made once, and copies of its disks as they were then."""
    made = Bench(simulator, tmp_path_factory.mktemp("saved") / "bench")
    made.make_vault()
    with settled(made):
        made.subclients = {"db": only(VM)}
        made.backup("db")
    folder = made.directory / "then"
    folder.mkdir()
    for slot, image in made.images(VM).items():
        shutil.copyfile(image, folder / str(slot))
    return made, folder


@pytest.fixture
def saved(bench: Bench, backup: tuple[Bench, Path]) -> Iterator[Path]:
    """The backup for one test, and the disks of the VM as they were then."""
    first, folder = backup
    bench.take_vault(first)
    for slot, image in bench.images(VM).items():
        shutil.copyfile(folder / str(slot), image)
    yield folder
    # The bench checks that nothing is left: what a restore leaves on purpose is removed like that of a user.
    for vm in bench.simulator.state()["vms"].values():
        if vm["name"] == "db-restored":
            bench.simulator.set_state(vm["name"], "STOPPED")
            bench.simulator.delete_vm(vm["name"], disks=True)


def same(bench: Bench, vm: str, then: Path) -> bool:
    images = bench.images(vm)
    assert sorted(images) == sorted(int(path.name) for path in then.iterdir())
    return all(filecmp.cmp(image, then / str(slot), shallow=False) for slot, image in images.items())


def test_a_vm_is_restored_beside_the_old_one_and_runs(bench: Bench, saved: Path, tmp_path: Path) -> None:
    # As at a site where the storage repository has another name.
    mapping = tmp_path / "mapping.yml"
    mapping.write_text("storage_repositories: {repo-iscsi-1: repo-nfs-1}\n")
    options = {"client": CLIENT, "vm_name": "db-restored", "mapping_file": str(mapping), "start": "true"}
    before, calls = bench.listed(), len(bench.simulator.calls(writing=True))
    bench.run("restore", "--check", **options)
    assert (bench.listed(), len(bench.simulator.calls(writing=True))) == (before, calls)

    done = bench.run("restore", **options)
    assert same(bench, "db-restored", saved)
    old, new = bench.simulator.find("Vm", VM), bench.simulator.find("Vm", "db-restored")
    assert new["vmRunState"] == "RUNNING"
    for field in ("memory", "cpuCount", "vmDomainType", "osType", "bootOrder", "serverPoolId"):
        assert new[field] == old[field]
    assert (old["repositoryId"]["name"], new["repositoryId"]["name"]) == ("repo-iscsi-1", "repo-nfs-1")
    [folder] = {image.parent.parent for image in bench.images("db-restored").values()}
    assert folder.name == new["repositoryId"]["value"]
    assert new["description"] == "Restored by ovm.backup."
    macs = {nic["macAddress"]: nic["vmId"]["value"] for nic in bench.peek("/VirtualNic")}
    assert len([mac for mac, vm_id in macs.items() if vm_id == new["id"]["value"]]) == len(new["virtualNicIds"])
    assert done.changed["localhost"] > 0

    again = bench.run("restore", code=2, client=CLIENT, vm_name="db-restored")
    assert "there is a VM 'db-restored'" in again.messages["localhost"]
    bench.simulator.set_state("db-restored", "STOPPED")


def test_a_vm_is_restored_in_place(bench: Bench, saved: Path) -> None:
    images = bench.images(VM)
    images[0].write_bytes(b"ruined" + images[0].read_bytes()[6:])
    refused = bench.run("restore", code=2, client=CLIENT, mode="in_place")
    assert "pass its name in confirm" in refused.messages["localhost"]
    assert "is RUNNING: stop it, or pass stop: true" in refused.messages["localhost"]

    options = {"client": CLIENT, "mode": "in_place", "confirm": VM, "stop": "true"}
    bench.run("restore", slots=[0], **options)
    assert same(bench, VM, saved)
    assert bench.state_of(VM) == "RUNNING"
    assert not images[0].exists()
    assert bench.images(VM)[1] == images[1], "the other disk is the one that it was"

    # Killed in the middle of the exchange, and repeated.
    images = bench.images(VM)
    playbook = bench.start("restore", **options)
    wait_until(lambda: bench.images(VM).get(0) not in (None, images[0]), "the exchange of the first disk")
    playbook.kill()
    bench.simulator.wait_for_jobs()
    assert bench.state_of(VM) == "STOPPED"
    bench.run("restore", **options)
    assert same(bench, VM, saved)
    assert bench.state_of(VM) == "RUNNING"
    assert not any(image.exists() for image in images.values())
    bench.objects = bench.listed()


def test_a_disk_is_given_to_another_vm(bench: Bench, saved: Path) -> None:
    # Also where the proxy can write nothing: then the manager fetches it.
    bench.run(
        "restore",
        client=CLIENT,
        mode="attach",
        attach_to="old01",
        slots=[1],
        import_address="127.0.0.1",
        ovm_backup_repositories_path="/nowhere",
    )
    images = bench.images("old01")
    assert sorted(images) == [0, 1]
    assert filecmp.cmp(images[1], saved / "1", shallow=False)
    assert bench.state_of("old01") == "STOPPED"
    # The VM belongs to other tests, too.
    vm_id = bench.simulator.find("Vm", "old01")["id"]["value"]
    [mapping] = [
        one for one in bench.peek("/VmDiskMapping") if one["vmId"]["value"] == vm_id and one["diskTarget"] == 1
    ]
    session = bench.simulator.session()
    for path in (
        f"Vm/{vm_id}/VmDiskMapping/{mapping['id']['value']}",
        f"VirtualDisk/{mapping['virtualDiskId']['value']}",
    ):
        assert session.delete(f"{bench.simulator.url}/{path}").ok
        wait_until(lambda: not bench.simulator.state()["jobs"], "the end of the job")
    assert sorted(bench.images("old01")) == [0]


@pytest.mark.parametrize(
    ("mode", "faults"),
    [
        ("new", [("nic.create", "SERVER", 0)]),
        # A start is tried again where that may help: not against a rule.
        ("in_place", [("mapping.create", "SERVER", 1), ("vm.start", "RULE", 0)]),
    ],
)
def test_everything_is_taken_back_when_it_fails(
    bench: Bench, saved: Path, mode: str, faults: list[tuple[str, str, int]]
) -> None:
    images, before = bench.images(VM), bench.listed()
    options = {"vm_name": "db-restored"} if mode == "new" else {"confirm": VM, "stop": "true"}
    for job, error_type, skip in faults:
        bench.simulator.job_fault(job, error_type=error_type, skip=skip)
        found = bench.run("restore", code=2, client=CLIENT, mode=mode, **options)
        assert error_type in found.output
        listed = bench.listed()
        # Mappings are made anew.
        assert {**listed, "VmDiskMapping": len(listed["VmDiskMapping"])} == {
            **before,
            "VmDiskMapping": len(before["VmDiskMapping"]),
        }
        bench.objects = listed
        assert bench.images(VM) == images
        assert bench.state_of(VM) == "RUNNING"


@pytest.mark.parametrize(("mode", "skip"), [("new", 4), ("in_place", 5)])
def test_all_was_done_but_not_all_marks_came_off(bench: Bench, saved: Path, mode: str, skip: int) -> None:
    # Each of the two disks is marked with its id, then as done.
    bench.simulator.fault("error", method="PUT", path="/VirtualDisk/*", skip=skip, message="not now")
    options = {"client": CLIENT, "mode": mode, "start": "true"}
    options |= {"vm_name": "db-restored"} if mode == "new" else {"confirm": VM, "stop": "true"}
    failed = bench.run("restore", code=2, **options)
    assert "not now" in failed.output
    restored = "db-restored" if mode == "new" else VM
    assert same(bench, restored, saved)
    assert bench.state_of(restored) == "RUNNING"
    # The guest is at work: repeated, the restore only does what is left.
    images = bench.images(restored)
    for image in images.values():
        image.write_bytes(b"guest" + image.read_bytes()[5:])
    bench.run("restore", **options)
    assert bench.images(restored) == images
    assert all(image.read_bytes()[:5] == b"guest" for image in images.values())
    assert not any("ovm.backup/1" in (disk["description"] or "") for disk in bench.peek("/VirtualDisk"))
    bench.objects = bench.listed() if mode == "in_place" else bench.objects


def test_what_stands_in_the_way_is_named_at_once(bench: Bench, saved: Path, tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.yml"
    mapping.write_text("networks: {vm-net: dr-net}\nserver_pools: {pool1: pool9}\n")
    before = bench.simulator.calls(writing=True)
    options = {"vm_name": "db-restored", "mapping_file": str(mapping), "storage_repository": "repo-x"}
    found = bench.run("restore", code=2, client=CLIENT, **options).messages["localhost"]
    for part in ("no storage repository 'repo-x'", "no network 'dr-net'", "no server pool 'pool9'"):
        assert part in found
    assert bench.simulator.calls(writing=True) == before
    mapping.write_text("network: {a: b}\n")
    found = bench.run("restore", code=2, client=CLIENT, mapping_file=str(mapping)).messages["localhost"]
    assert "mapping.network" in found
