# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks against the simulated manager whose server is the bed: ssh, real reflinks, and the reference clone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bed.bed import Bed
from bed.hot_clones import digest
from playbooks.bench import Bench, only
from simulator.testing import Simulator, running

MIB = 1 << 20


@pytest.fixture(scope="module")
def simulator(bed_file: Path) -> Iterator[Simulator]:
    with running("minimal", job_seconds=0.02, bed=bed_file) as started:
        yield started


@pytest.fixture
def bench(simulator: Simulator, bed: Bed, tmp_path: Path) -> Bench:
    """A bench whose proxy sees no storage repository: it has to go through the server."""
    made = Bench(simulator, tmp_path / "bench")
    made.make_vault()
    (tmp_path / "nothing").mkdir()
    made.variables = {
        "ovm_backup_ssh": bed.ssh_settings(),
        "ovm_backup_repositories_path": str(tmp_path / "nothing"),
    }
    made.subclients = {"db": only("db01")}
    return made


def newest(bench: Bench) -> dict[str, Any]:
    return bench.points("db01")[-1]


def found(point: dict[str, Any]) -> list[tuple[str, str]]:
    return [(disk["changes"]["method"], disk["changes"]["reason"]) for disk in point["disks"]]


def write(bench: Bench, bed: Bed, data: bytes) -> None:
    """Let the guest write into the free space of its first disk."""
    bed.write(bed.image(bench.images("db01")[0].name), 6 * MIB, data)


def clone_id(bench: Bench) -> str:
    """Return the id of the only clone that there is."""
    (name,) = bench.clones()
    return str(bench.simulator.find("Vm", name)["id"]["value"])


def test_life_of_a_reference_clone(bench: Bench, bed: Bed, tmp_path: Path) -> None:
    bench.backup("db")
    first = newest(bench)
    assert (first["type"], [method for method, _reason in found(first)]) == ("full", ["all", "all"])
    assert {disk["image"]["clone_id"] for disk in first["disks"]} == {clone_id(bench)}
    assert bench.job()["vms"]["db01"]["status"] == "Completed"

    # An increment reads what the maps call changed, and its clone takes the place of the reference.
    write(bench, bed, b"second")
    outcome = bench.backup("db")
    second = newest(bench)
    assert second["type"] == "incremental"
    assert {method for method, _reason in found(second)} == {"extent_maps"}
    assert [disk["changes"]["candidate"] for disk in second["disks"]] == [MIB, 0]
    assert {disk["image"]["clone_id"] for disk in second["disks"]} == {clone_id(bench)}
    assert clone_id(bench) != first["disks"][0]["image"]["clone_id"]
    assert "ovs1.example.com" in str(outcome.shown[0])
    bench.run("janitor")
    assert clone_id(bench) == second["disks"][0]["image"]["clone_id"]

    # Somebody starts it: it is not touched, and not believed.
    bench.simulator.set_state(clone_id(bench), "RUNNING")
    write(bench, bed, b"third!")
    bench.backup("db")
    third = newest(bench)
    assert [method for method, _reason in found(third)] == ["hash", "hash"]
    assert "RUNNING" in found(third)[0][1]
    assert len(bench.clones()) == 2
    assert bench.job()["vms"]["db01"]["status"] == "Completed with warnings"

    # When it is stopped again it goes; the one that was made meanwhile is used.
    bench.simulator.set_state(second["disks"][0]["image"]["clone_id"], "STOPPED")
    write(bench, bed, b"fourth")
    bench.backup("db")
    fourth = newest(bench)
    assert {method for method, _reason in found(fourth)} == {"extent_maps"}
    assert {disk["image"]["clone_id"] for disk in fourth["disks"]} == {clone_id(bench)}

    # Somebody deletes it.
    bench.simulator.delete_vm(clone_id(bench), disks=True)
    write(bench, bed, b"fifth!")
    bench.backup("db")
    fifth = newest(bench)
    assert [method for method, _reason in found(fifth)] == ["hash", "hash"]
    assert "gone" in found(fifth)[0][1]

    # What is restored is what the clone holds.
    target = tmp_path / "restored"
    bench.run("restore_image", client="db01", directory=str(target))
    mappings = {disk["image"]["path"].rsplit("/", 1)[1]: disk["file"] for disk in fifth["disks"]}
    for image, file in mappings.items():
        assert digest(target / f"{file.removesuffix('.img.zst')}.img") == bed.digest(bed.image(image))

    # The policy takes it away.
    bench.subclients = {"db": only("db01", reference_clone="remove")}
    bench.backup("db")
    assert bench.clones() == []
    assert newest(bench)["clone"]["keep"] is False
