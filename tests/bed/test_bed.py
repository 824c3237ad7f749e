# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bed is what its README says: users, algorithms, clones, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bed import machine
from bed.bed import Bed, BedError, GuestError
from bed.layout import HERE, USER_NO_PYTHON, USER_PLAIN, USER_SUDO, base_directory, is_locked

MIB = 1 << 20


def over_ssh(bed: Bed, command: str, user: str = "root", *, legacy: bool = False) -> subprocess.CompletedProcess[str]:
    words = bed.ssh_command(command, user=user, legacy=legacy)
    return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def test_repositories_are_ocfs2_with_large_clusters(bed: Bed) -> None:
    mounted = [line.split()[:3] for line in bed.run("grep ocfs2 /proc/mounts").text.splitlines()]
    assert [[path, kind] for _device, path, kind in mounted] == [
        [bed.repository(0), "ocfs2"],
        [bed.repository(1), "ocfs2"],
    ]
    assert bed.run(["stat", "-f", "-c", "%s", bed.repository()]).text == "4096"
    path = bed.image("one-byte-at-the-end")
    bed.create(path, MIB)
    bed.write(path, MIB - 1, b"x")
    assert bed.stat(path)["allocated"] == MIB
    bed.remove(path)
    assert bed.run("ls /OVS/Repositories/*").text.split()[1:6] == [
        "Assemblies",
        "ISOs",
        "Templates",
        "VirtualDisks",
        "VirtualMachines",
    ]


def test_both_repositories_are_file_systems_of_their_own(bed: Bed) -> None:
    identifiers = {bed.run(f"blkid -s UUID -o value /dev/ubd{letter}").text for letter in "ab"}
    assert len(identifiers) == 2
    bed.create(bed.image("source"), MIB)
    with pytest.raises(GuestError) as caught:
        bed.reflink(bed.image("source"), bed.image("target", 1))
    assert caught.value.errno == "EXDEV"
    bed.remove(bed.image("source"))


def test_python_is_an_old_one_and_the_only_one(bed: Bed) -> None:
    assert bed.agent("ping").startswith("2.7.")
    assert bed.run("which python").text == "/usr/bin/python"
    assert bed.run("which python3 perl", check=False).output == b""


def test_users(bed: Bed) -> None:
    assert over_ssh(bed, "id -u", USER_SUDO).stdout == "1000\n"
    assert over_ssh(bed, "sudo -n id -u", USER_SUDO).stdout == "0\n"
    refused = over_ssh(bed, "sudo -n id -u", USER_PLAIN)
    assert (refused.returncode, refused.stderr) == (1, "sudo: a password is required\n")
    bare = over_ssh(bed, "id -u; python -c pass; which dd filefrag reflink", USER_NO_PYTHON)
    tools = ["/opt/plain/bin/dd", "/opt/plain/bin/filefrag", "/opt/plain/bin/reflink"]
    assert bare.stdout.split() == ["0", *tools]
    assert "python: command not found" in bare.stderr


def test_legacy_server_speaks_only_old_algorithms(bed: Bed) -> None:
    assert over_ssh(bed, "echo $SSH_CONNECTION", legacy=True).stdout.split()[3] == "2253"
    words = bed.ssh_command("true")
    words[words.index("-p") + 1] = str(bed.legacy_port)
    refused = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert refused.returncode == 255
    assert "no matching host key type found. Their offer: ssh-rsa" in refused.stderr


def test_clone_shares_space_and_keeps_its_bytes(bed: Bed, folder: str) -> None:
    disk, clone = f"{folder}/disk", f"{folder}/clone"
    bed.create(disk, 64 * MIB)
    bed.write_noise(disk, 0, 20 * MIB)
    before = bed.digest(disk)
    free = int(bed.run(["stat", "-f", "-c", "%f", folder]).text)
    bed.reflink(disk, clone)
    assert free - int(bed.run(["stat", "-f", "-c", "%f", folder]).text) < MIB // 4096 * 4
    changed = bed.scribble(disk, 5, end=20 * MIB)
    assert bed.digest(clone) == before
    assert bed.differing(clone, disk) == changed
    with pytest.raises(GuestError) as caught:
        bed.reflink(disk, clone)
    assert caught.value.errno == "EEXIST"


@pytest.mark.parametrize("how", ["buffered", "direct", "sync", "fsync", "mmap"])
def test_ways_to_write(bed: Bed, folder: str, how: str) -> None:
    disk, clone = f"{folder}/disk", f"{folder}/clone"
    bed.create(disk, 16 * MIB)
    bed.write_noise(disk, 0, 16 * MIB)
    bed.reflink(disk, clone)
    chosen = bed.scribble(disk, 3, how=how, seed=how)
    assert len(chosen) == 3
    assert bed.differing(clone, disk) == chosen
    moved = {extent[0] // MIB for extent in set(bed.extents(disk)) - set(bed.extents(clone))}
    assert {offset // MIB for offset in chosen} <= moved | {number - 1 for number in moved}


def test_other_changes(bed: Bed, folder: str) -> None:
    disk, clone = f"{folder}/disk", f"{folder}/clone"
    bed.create(disk, 8 * MIB)
    bed.write(disk, 0, b"a" * MIB)
    bed.allocate(disk, 4 * MIB, MIB)
    unwritten = 0x800
    assert [(extent[0], bool(extent[3] & unwritten)) for extent in bed.extents(disk)] == [(0, False), (4 * MIB, True)]
    bed.reflink(disk, clone)
    bed.punch(disk, 0, MIB)
    assert bed.read(disk, 0, 4) == b"\0\0\0\0"
    bed.revert(disk, clone)
    assert bed.read(disk, 0, 4) == b"aaaa"
    assert bed.extents(disk)[0][1] == bed.extents(clone)[0][1]
    bed.replace_by_copy(disk)
    assert bed.differing(clone, disk) == []
    assert bed.extents(disk)[0][1] != bed.extents(clone)[0][1]
    bed.truncate(disk, 10 * MIB)
    assert bed.stat(disk)["size"] == 10 * MIB


def test_fetch(bed: Bed, folder: str, tmp_path: Path) -> None:
    bed.create(f"{folder}/disk", 3 * MIB)
    bed.write(f"{folder}/disk", MIB, b"hello")
    bed.fetch(f"{folder}/disk", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"\0" * MIB + b"hello" + b"\0" * (2 * MIB - 5)


def processes_of(run_dir: str) -> list[int]:
    """Processes of this machine whose command names the directory of a bed."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if run_dir.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            pass
    return [pid for pid in found if pid != os.getpid()]


OWNER = """
import sys
from bed.bed import running
from bed.machine import Options
with running(Options(disks=1, memory="256M"), own=True) as bed:
    print(bed.info["run_dir"], flush=True)
    sys.stdin.read()
"""


def test_bed_ends_with_its_killed_owner_and_the_next_start_cleans_up(bed: Bed) -> None:
    mounted = Path("/proc/self/mounts").read_text(encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", OWNER]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as owner:
        assert owner.stdout is not None
        run_dir = Path(owner.stdout.readline().strip())
        assert processes_of(str(run_dir)) != []
        owner.kill()
        while is_locked(run_dir / "lock"):
            pass
        assert processes_of(str(run_dir)) == []
        assert (run_dir / "bed.json").exists()
        machine.sweep(base_directory())
        assert not run_dir.exists()
    assert Path("/proc/self/mounts").read_text(encoding="utf-8") == mounted
    assert bed.run("echo alive").text == "alive"


def test_only_one_bed_by_a_name(bed: Bed) -> None:
    assert machine.start(Path(bed.info["run_dir"]).name) == bed.info


def test_session_that_ended_says_so(bed: Bed) -> None:
    agent = bed.new_agent()
    with pytest.raises(BedError, match="the session with the bed has ended: without a reason"):
        agent("run", command="kill $PPID")
    with pytest.raises(BedError, match="the session with the bed has ended: earlier"):
        agent("ping")
    agent.close()


def test_map_without_its_clone_is_worthless(bed: Bed, folder: str) -> None:
    """Why the clone of the last backup has to be kept: without it, writes go in place and maps tell nothing."""
    disk, first, second = f"{folder}/disk", f"{folder}/first", f"{folder}/second"
    bed.create(disk, 8 * MIB)
    bed.write_noise(disk, 0, 8 * MIB)
    bed.reflink(disk, first)
    places, content = [extent[:3] for extent in bed.extents(first)], bed.digest(first)
    bed.remove(first)
    bed.write_noise(disk, 3 * MIB, MIB, seed="other")
    bed.reflink(disk, second)
    assert [extent[:3] for extent in bed.extents(second)] == places
    assert bed.digest(second) != content
