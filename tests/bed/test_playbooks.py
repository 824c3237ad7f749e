# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks against the simulated manager whose server is the bed: ssh, real reflinks, and the reference clone."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from unit.programs import files_with, recorded, recording

from bed.bed import Bed
from bed.hot_clones import digest
from bed.wire import Wire, wire_to
from playbooks.bench import Bench, Playbook, only, wait_until
from simulator.testing import Simulator, running

MIB = 1 << 20
# The bytes of the key can be told from others, too.
SECRET = b"This key stays on the proxy: no!"
KEY = base64.b64encode(SECRET).decode()
LOADER = "exec(r(int(r(8))))"  # what starts the program in dom0, in its command line


@pytest.fixture(scope="module")
def simulator(bed_file: Path) -> Iterator[Simulator]:
    with running("minimal", job_seconds=0.02, bed=bed_file) as started:
        yield started


def bench_over_ssh(simulator: Simulator, directory: Path, ssh: dict[str, Any]) -> Bench:
    """Return a bench whose proxy sees no storage repository: it has to go through the server."""
    made = Bench(simulator, directory / "bench")
    (directory / "nothing").mkdir()
    made.variables = {"ovm_backup_ssh": ssh, "ovm_backup_repositories_path": str(directory / "nothing")}
    return made


@pytest.fixture
def bench(simulator: Simulator, bed: Bed, tmp_path: Path) -> Bench:
    made = bench_over_ssh(simulator, tmp_path, bed.ssh_settings())
    made.make_vault()
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


# --- restores from an encrypted vault --------------------------------------------------------------------------------


@dataclass
class Saved:
    """A backup of db01 over ssh in an encrypted vault, and its disks as they were then, by slot."""

    bench: Bench
    wire: Wire
    digests: dict[int, str]
    point: str

    def digests_of(self, bed: Bed, vm: str) -> dict[int, str]:
        return {slot: bed.digest(bed.image(path.name)) for slot, path in self.bench.images(vm).items()}

    def made(self) -> set[str]:
        """Return the files of the disks that a restore has made until now."""
        return {Path(name).name for name in self.bench.listed()["images"] - self.bench.objects["images"]}

    @contextlib.contextmanager
    def held(self, bed: Bed, *options: str, **variables: Any) -> Iterator[Playbook]:
        """Yield a restore that is held in the middle of a disk, of which the server has a part. The block ends it."""
        self.wire.hold_after(MIB)
        playbook = self.bench.start("restore", *options, client="db01", **variables)
        try:
            self.wire.wait_held()
            wait_until(lambda: any(bed.stat(bed.image(name))["allocated"] for name in self.made()), "a part of a disk")
            yield playbook
        finally:
            if playbook.process.poll() is None:
                playbook.kill()
            self.wire.cut()
            self.wire.mend()


@pytest.fixture(scope="module")
def saved(simulator: Simulator, bed: Bed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    directory = tmp_path_factory.mktemp("encrypted")
    bed.run("touch /run/before")
    with wire_to(bed, directory) as (wire, ssh):
        # What is held is held for as long as a busy machine takes.
        bench = bench_over_ssh(simulator, directory, {**ssh, "stall_timeout": 600})
        bench.make_vault(KEY)
        bench.subclients = {"db": only("db01", reference_clone="remove")}
        # Both ways in which a key comes to a module.
        bench.surroundings = {"OVM_VAULT_ENCRYPTION_KEY": KEY}
        key = "{{ lookup('ansible.builtin.env', 'OVM_VAULT_ENCRYPTION_KEY') }}"
        bench.variables["ovm_backup_vault_access"] = {"encryption_key": key}
        bench.backup("db")
        [point] = (path.name for path in bench.vault.glob("clients/db01/*") if path.is_dir())
        found = Saved(bench, wire, {}, point)
        found.digests = found.digests_of(bed, "db01")
        bench.objects = bench.listed()
        yield found


def test_a_vm_is_restored_beside_the_old_one_and_no_server_learns_the_key(saved: Saved, bed: Bed) -> None:
    bench = saved.bench
    bench.wrapper = recording(str(bench.directory / "trace"))
    with saved.held(bed, "-vvv", vm_name="db01-again", start=True) as playbook:
        bench.wrapper = []
        # What runs while a disk is written, here and there.
        there = bed.run("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ", check=False).output
        here = b"".join(commands_of_all())
        saved.wire.mend()
        outcome = playbook.wait()
    assert outcome.code == 0, outcome.output

    assert saved.digests_of(bed, "db01-again") == saved.digests
    assert bench.state_of("db01-again") == "RUNNING"
    assert not set(bench.images("db01").values()) & set(bench.images("db01-again").values())

    trace = bench.directory / "trace"
    programs = recorded(trace)
    ssh = [program for program in programs if program.name == "ssh"]
    # That something is not seen means something only where other things are.
    assert [program for program in ssh if LOADER in program.arguments[-1]]
    assert LOADER in there.decode(errors="replace")
    assert b"ovm.backup.restore\0" in here
    assert '"invocation"' in outcome.output
    assert [program for program in programs if KEY in " ".join(program.environment)]
    trace.unlink()
    assert written_with(bed, "OVM_simple_name = 'db01-again'") != ""
    for secret in (KEY, SECRET.decode()):
        assert secret.encode() not in there + here
        assert secret not in outcome.output
        assert not [program for program in programs if secret in " ".join(program.arguments)]
        # The configuration of ssh may send variables to a server.
        assert not [program for program in ssh if secret in " ".join(program.environment)]
        assert written_with(bed, secret) == ""
        assert files_with(secret, bench.directory) == []

    bench.simulator.set_state("db01-again", "STOPPED")
    bench.simulator.delete_vm("db01-again", disks=True)
    assert bench.listed() == bench.objects


def commands_of_all() -> Iterator[bytes]:
    """Yield what the process list shows of each process of this machine."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                yield (folder / "cmdline").read_bytes()


def written_with(bed: Bed, text: str) -> str:
    """Return the names of the files that were written in the bed since the backup began and hold a text."""
    find = "find / '(' -path /proc -o -path /sys ')' -prune -o -type f -newer /run/before -print0"
    return bed.run(f'read -r text; {find} | xargs -0 grep -alF -e "$text"', data=f"{text}\n".encode(), check=False).text


def test_a_vm_is_restored_in_place_whatever_becomes_of_the_server(saved: Saved, bed: Bed) -> None:
    bench, simulator, ssh = saved.bench, saved.bench.simulator, saved.bench.variables["ovm_backup_ssh"]
    simulator.set_state("db01", "STOPPED")
    images = bench.images("db01")
    bed.write(bed.image(images[0].name), MIB, b"changed since the backup")
    changed = saved.digests_of(bed, "db01")
    assert changed != saved.digests
    in_place = {"mode": "in_place", "confirm": "db01"}

    # The server is killed. The manager can remove what was made.
    with saved.held(bed, **in_place) as playbook:
        saved.wire.cut()
        lost = playbook.wait()
    assert lost.code == 2, lost.output
    assert lost.messages["localhost"].startswith("The connection to server ovs1.example.com (127.0.0.1) was lost; ")
    assert "taking it back" not in lost.messages["localhost"]
    assert bench.images("db01") == images
    assert saved.digests_of(bed, "db01") == changed
    assert bench.listed() == bench.objects

    # It hangs, and the manager cannot remove anything there either. The janitor tells of what is left.
    simulator.job_fault("disk.delete", error_type="SERVER", message="no server reaches it.", times=0)
    with saved.held(bed, **in_place, ovm_backup_ssh={**ssh, "stall_timeout": 5}) as playbook:
        lost = playbook.wait()
    assert lost.code == 2, lost.output
    cause, left_over = lost.messages["localhost"].split("; taking it back: ")
    assert "Server ovs1.example.com (127.0.0.1) sent nothing for 5 seconds" in cause
    assert left_over.startswith("Not all virtual disks of run restore-")
    assert "no server reaches it" in left_over
    assert bench.images("db01") == images
    assert saved.digests_of(bed, "db01") == changed
    left = saved.made()
    assert len(left) == 2
    [[line]] = bench.run("janitor").shown
    assert all(name in line for name in left)
    assert f"repeat the restore of recovery point {saved.point}: it goes on, or takes all back" in line

    # It is back. The same restore once more takes what was left, and what would disturb it is refused meanwhile.
    simulator.clear_faults()
    with saved.held(bed, **in_place, point=saved.point) as playbook:
        past = {**in_place, "client": "db01", "ovm_backup_ssh": bed.ssh_settings()}
        same = bench.run("restore", code=2, **past)
        assert "another restore is writing it" in same.messages["localhost"]
        other = bench.run("restore", code=2, **past, slots=[0])
        told = f"another restore of recovery point {saved.point} to VM 'db01' is not finished"
        assert told in other.messages["localhost"]
        assert saved.made() == left
        saved.wire.mend()
        done = playbook.wait()
    assert done.code == 0, done.output
    assert saved.digests_of(bed, "db01") == saved.digests
    assert bench.state_of("db01") == "STOPPED"
    assert {path.name for path in bench.images("db01").values()} == left
    # Nothing is left, neither of the old disks nor a mark.
    listed = bench.listed()
    assert {kind: len(ids) for kind, ids in listed.items()} == {kind: len(ids) for kind, ids in bench.objects.items()}
    assert not set(bed.names(f"{bed.repository()}/VirtualDisks")) & {path.name for path in images.values()}
    assert not [disk for disk in bench.peek("/VirtualDisk") if "restore-" in (disk["description"] or "")]
