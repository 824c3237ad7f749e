# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulated manager with the bed as its server: what it does to its storage repository happens on real OCFS2."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bed.bed import Bed
from bed.machine import mounts
from simulator.testing import Simulator, SimulatorError, running

MIB = 1 << 20


@pytest.fixture(scope="module")
def simulator(bed_file: Path) -> Iterator[Simulator]:
    with running("minimal", speed=0, job_seconds=1, bed=bed_file) as started:
        yield started


@pytest.fixture(scope="module")
def done(simulator: Simulator) -> Callable[..., str]:
    """A write that must succeed: returns the id of what it made."""
    session = simulator.session()

    def send(method: str, path: str, body: Any = None) -> str:
        response = session.request(method, simulator.url + path, json=body)
        assert response.status_code == 201, response.text
        job = simulator.finish(session, response.json())
        assert (job["jobRunState"], job["error"]) == ("SUCCESS", {"message": None, "type": None})
        return job["resultId"]["value"] if job["resultId"] else ""

    return send


def disk_path(simulator: Simulator, bed: Bed, name: str) -> str:
    return bed.image(simulator.find("VirtualDisk", name)["id"]["value"])


def test_repository_lies_on_the_bed(simulator: Simulator, bed: Bed) -> None:
    repository = simulator.find("Repository", "repo-iscsi-1")
    assert repository["id"]["value"] == bed.repository_id()
    assert simulator.find("Server", "ovs1.example.com")["ipAddress"] == "127.0.0.1"
    nfs = simulator.find("Repository", "repo-nfs-1")["id"]["value"]
    assert mounts(Path(bed.info["run_dir"])) == [str(simulator.repositories / bed.repository_id())]
    assert (simulator.repositories / nfs / "VirtualDisks").is_dir()
    assert bed.run(["cat", f"{bed.repository()}/.ovsrepo"]).text.splitlines()[1] == "OVS_REPO_ALIAS=repo-iscsi-1"
    vm = simulator.find("Vm", "db01")["id"]["value"]
    assert "OVM_simple_name = 'db01'" in bed.run(["cat", f"{bed.repository()}/VirtualMachines/{vm}/vm.cfg"]).text
    system = disk_path(simulator, bed, "db01-sys")
    assert bed.stat(system)["size"] == 8 * MIB
    assert bed.run(["blkid", "-o", "value", "-s", "TYPE", system]).text == "ext4"


def test_thin_clone_is_a_reflink(simulator: Simulator, bed: Bed, done: Callable[..., str]) -> None:
    vm = simulator.find("Vm", "db01")
    pool = vm["serverPoolId"]["value"]
    clone = done("PUT", f"/Vm/{vm['id']['value']}/clone?serverPoolId={pool}")
    mappings = [
        simulator.session().get(f"{simulator.url}/VmDiskMapping/{ref['value']}").json()
        for ref in simulator.session().get(f"{simulator.url}/Vm/{clone}").json()["vmDiskMappingIds"]
    ]
    copied = {
        item["name"]: item["virtualDiskId"] for item in mappings if item["virtualDiskId"]["name"] != "Empty CDROM"
    }
    assert len(copied) == 2
    for name in ("db01-sys", "db01-data"):
        source = disk_path(simulator, bed, name)
        target = bed.image(next(ref["value"] for ref in copied.values() if ref["name"].startswith(name)))
        places = {extent[1] for extent in bed.extents(source)}
        assert places and places == {extent[1] for extent in bed.extents(target)}
        assert bed.stat(source)["inode"] != bed.stat(target)["inode"]
    # What the guest writes is seen on the path of the simulator at once, and not in the clone.
    source = disk_path(simulator, bed, "db01-sys")
    bed.write(source, MIB, b"new" * 100)
    local = simulator.repositories / bed.repository_id() / "VirtualDisks" / Path(source).name
    assert local.read_bytes()[MIB : MIB + 3] == b"new"
    done("DELETE", f"/Vm/{clone}")
    for ref in copied.values():
        done("DELETE", f"/VirtualDisk/{ref['value']}")
        assert ref["value"] not in bed.names(f"{bed.repository()}/VirtualDisks")


def test_disks_are_made_and_measured_on_the_bed(simulator: Simulator, bed: Bed, done: Callable[..., str]) -> None:
    body = {"name": "new", "size": 16 * MIB, "diskType": "VIRTUAL_DISK"}
    disk = done("POST", f"/Repository/{bed.repository_id()}/VirtualDisk?sparse=true", body)
    assert bed.stat(bed.image(disk))["size"] == 16 * MIB
    bed.write(bed.image(disk), 5 * MIB, b"x")
    done("PUT", f"/FileSystem/{simulator.find('Repository', 'repo-iscsi-1')['fileSystemId']['value']}/refresh")
    assert simulator.find("VirtualDisk", "new")["onDiskSize"] == MIB
    done("DELETE", f"/VirtualDisk/{disk}")
    assert disk not in bed.names(f"{bed.repository()}/VirtualDisks")


def test_only_one_simulator_at_a_time(simulator: Simulator, bed_file: Path) -> None:
    with pytest.raises(SimulatorError, match="exit code 2"), running("minimal", bed=bed_file):
        pass


@pytest.fixture
def second_repository(bed: Bed, bed_file: Path, tmp_path: Path) -> Path:
    """The bed as if it had only its second repository, which no other simulator uses here."""
    file = tmp_path / "bed.json"
    info = json.loads(bed_file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**info, "repositories": info["repositories"][1:]}), encoding="utf-8")
    return file


def left(bed: Bed) -> list[str]:
    return bed.run(f"find {bed.repository(1)} -type f").text.split()


def test_killed_simulator_leaves_no_mount_and_the_next_one_nothing(
    bed: Bed, second_repository: Path, tmp_path: Path
) -> None:
    before = mounts(Path(bed.info["run_dir"]))
    with running("minimal", bed=second_repository, state_dir=tmp_path / "first") as killed:
        assert len(mounts(Path(bed.info["run_dir"]))) == len(before) + 1
        killed.process.kill()
        killed.process.wait()
        while mounts(Path(bed.info["run_dir"])) != before:
            pass  # sshfs is told by the kernel
    assert left(bed) != []
    with running("minimal", bed=second_repository, state_dir=tmp_path / "second"):
        assert len(mounts(Path(bed.info["run_dir"]))) == len(before) + 1
    assert mounts(Path(bed.info["run_dir"])) == before
    assert left(bed) == []
    assert not (tmp_path / "second/OVS/Repositories" / bed.repository_id(1)).exists()
