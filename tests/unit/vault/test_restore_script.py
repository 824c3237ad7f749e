# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The script that the vault carries restores without anything of ours: no collection, no site packages, only zstd."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from unit.transfer.builders import ticking
from unit.vault.builders import MIB, add_point, make_client, noise, write_image, write_sparse
from unit.vault.chains import DAMAGES, FILE, break_manifest, file_of, flip, forge, make_chain

from ansible_collections.ovm.backup.plugins.module_utils.errors import NotAVaultError
from ansible_collections.ovm.backup.plugins.module_utils.images.local import LocalImage
from ansible_collections.ovm.backup.plugins.module_utils.transfer.disk_backup import backup_disk
from ansible_collections.ovm.backup.plugins.module_utils.vault import restore_script
from ansible_collections.ovm.backup.plugins.module_utils.vault.carried_script import (
    carry_scripts,
    due_scripts,
    script,
)
from ansible_collections.ovm.backup.plugins.module_utils.vault.disk_writer import FrameCompressor
from ansible_collections.ovm.backup.plugins.module_utils.vault.format import Geometry
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client, Vault
from ansible_collections.ovm.backup.plugins.module_utils.vault.synthetic_full import (
    SyntheticRequest,
    make_synthetic_full,
)

pytestmark = pytest.mark.usefixtures("no_sync")
NOT_CHECKED = "BLAKE3 hashes are not checked: there is no Python module blake3"


class Bare:
    """A machine with Python and zstd only, to which the script has been copied out of the vault."""

    def __init__(self, directory: Path, vault: Path) -> None:
        self.vault = vault
        self.directory = directory / "elsewhere"
        self.bin = directory / "bin"
        self.images = directory / "images"
        for path in (self.directory, self.bin, self.images):
            path.mkdir()
        shutil.copy(vault / "restore.py", self.directory)
        (self.bin / "zstd").symlink_to(str(shutil.which("zstd")))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        # -I and -S: neither the environment nor site packages, so none of the modules that the tests have.
        command = [sys.executable, "-I", "-S", "restore.py", "--vault", str(self.vault), *arguments]
        return subprocess.run(
            command, cwd=self.directory, env={"PATH": str(self.bin)}, capture_output=True, text=True, check=False
        )

    def restored(self, client: str, point: str) -> bytes:
        done = self.run(client, point, str(self.images))
        path = self.images / FILE.removesuffix(".zst")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[0] == NOT_CHECKED
        assert os.listdir(self.images) == [path.name]
        content = path.read_bytes()
        path.unlink()
        return content

    def refusal(self, *arguments: str) -> str:
        """Return what the script says, after it has shown that nothing is left of what it did."""
        before = sorted(os.listdir(self.images))
        done = self.run(*arguments)
        assert (done.returncode, sorted(os.listdir(self.images))) == (1, before)
        assert "Traceback" not in done.stderr
        return done.stderr.strip().removeprefix("restore.py: ")


class History(NamedTuple):
    client: Client
    states: dict[str, bytes]
    points: list[Point]


@pytest.fixture
def history(tmp_path: Path) -> History:
    """A full, two incrementals, a differential, a synthetic full, an incremental on it; with zeros that come and go."""
    client = make_client(tmp_path / "vault", "web01 \u00e4")
    vault = Vault.open(str(tmp_path / "vault"))
    data = bytearray(noise(9 * 2048) + bytes(40 * 2048) + noise(2048 + 700, 1))
    states: dict[str, bytes] = {}
    points: list[Point] = []
    changes: list[tuple[int, bytes, int | None]] = [
        (0, b"", None),
        (512, noise(512, 2) + bytes(512) + noise(3000, 3), 0),
        (2048, bytes(5 * 2048), 1),
        (30 * 2048, noise(100, 4), 0),
        (len(data) - 600, noise(600, 5), -1),
    ]
    for number, (start, content, base) in enumerate(changes):
        if base == -1:
            request = SyntheticRequest(client.name, "a test")
            points.append(make_synthetic_full(vault, request, clock=ticking(2000.0), workers=1).point)
            states[points[-1].id] = bytes(data)
        data[start : start + len(content)] = content
        image = write_image(tmp_path / "raw", bytes(data))
        below = points[base] if base is not None else None
        points.append(add_point(client, image, base=below, now=1000.0 + number))
        states[points[-1].id] = bytes(data)
    return History(client, states, points)


@pytest.fixture
def bare(tmp_path: Path, history: History) -> Bare:
    return Bare(tmp_path, tmp_path / "vault")


def test_every_point_comes_back_bit_by_bit(history: History, bare: Bare) -> None:
    for point, content in history.states.items():
        assert bare.restored(history.client.name, point) == content
    assert bare.restored(history.client.name, "latest") == history.states[history.points[-1].id]
    # What a synthetic full consolidates may be gone.
    for point in history.points[:4]:
        shutil.rmtree(Path(history.client.directory, point.id))
    for point in history.points[4:]:
        assert bare.restored(history.client.name, point.id) == history.states[point.id]


def test_hashes_are_checked_where_they_can_be(
    history: History, bare: Bare, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["restore.py", "--vault", str(bare.vault), history.client.name, "latest", str(bare.images)]
    monkeypatch.setattr(sys, "argv", arguments)
    # Signals belong to whoever runs the tests.
    monkeypatch.setattr(restore_script.signal, "signal", lambda *_signal: None)
    restore_script.main()
    assert capsys.readouterr().out.splitlines()[0] == "BLAKE3 hashes are checked"
    image = bare.images / FILE.removesuffix(".zst")
    assert image.read_bytes() == history.states[history.points[-1].id]
    image.unlink()
    forge(history.client, history.points[-1], content_hash="00" * 32)
    with pytest.raises(SystemExit) as caught:
        restore_script.main()
    assert str(caught.value) == (f"restore.py: {image} is not the disk that was backed up: it has another hash")
    manifest = break_manifest(history.client, history.points[-1])
    with pytest.raises(SystemExit) as caught:
        restore_script.main()
    assert str(caught.value).startswith(f"restore.py: {manifest} is damaged")
    assert os.listdir(bare.images) == []


def test_many_frames_sparsely_through_one_process(tmp_path: Path) -> None:
    """A disk of 320 MiB with the sizes that are written in earnest; its data are far more than pipes hold."""
    client = make_client(tmp_path / "vault")
    pieces = {number * 2 * MIB: noise(70_000, number) for number in range(150)}
    image = write_sparse(tmp_path / "raw", 320 * MIB + 700, {**pieces, 320 * MIB: b"end"})
    writer = client.new_point(now=1000.0)
    with LocalImage(str(image)) as source:
        name, file = writer.disk_writer(0, "system", Geometry(source.size), "full")
        result = backup_disk(source, file, Geometry(source.size), FrameCompressor())
        summary = file.finish(result.content_state)
    template = add_point(client, write_image(tmp_path / "other", b"x"), now=1001.0)
    changes = {"size": source.size, "file": name, "file_size": summary.size, "header_hash": summary.header_hash}
    shutil.move(Path(writer.directory, name), Path(client.directory, template.id, name))
    forge(client, template, **changes, content_hash=result.content_hash)
    bare = Bare(tmp_path, tmp_path / "vault")
    counting = tmp_path / "started"
    (bare.bin / "zstd").unlink()
    (bare.bin / "zstd").write_text(f'#!/bin/sh\necho >> {counting}\nexec {shutil.which("zstd")} "$@"\n')
    (bare.bin / "zstd").chmod(0o755)
    done = bare.run("web01", "latest", str(bare.images))
    assert (done.returncode, done.stderr) == (0, "")
    path = bare.images / FILE.removesuffix(".zst")
    assert subprocess.run(["cmp", path, image], check=False).returncode == 0
    assert path.stat().st_blocks * 512 < 40 * MIB
    assert counting.read_text() == "\n"


# The hashes of the blocks with their digests, and the seek table but for its last entry, are of no use to the script.
USELESS = {"hashes", "head of the hashes", "digests", "head of the digests", "seek table"}


@pytest.mark.parametrize("damage", sorted({*DAMAGES} - USELESS))
def test_damage_is_named_and_nothing_is_left(tmp_path: Path, damage: str) -> None:
    client, points = make_chain(tmp_path, 2)
    bare = Bare(tmp_path, tmp_path / "vault")
    path = file_of(client, points[0])
    flip(path, DAMAGES[damage](path)[0])
    said = bare.refusal("web01", points[1].id, str(bare.images))
    assert said.startswith(f"{path} is damaged: ")
    if damage == "frame":
        assert "zstd cannot decompress the frame at offset 0 or one soon after it: " in said
        assert "checksum" in said or "orrupt" in said


Change = Callable[[Client, list[Point], Bare], None]


def _other_disk(client: Client, points: list[Point], _bare: Bare) -> None:
    forge(client, points[0], disk_id="another")


REFUSALS: dict[str, tuple[list[str], Change | None, str]] = {
    "client": (["nobody"], None, "There is no client 'nobody' in {vault}; without arguments this script lists them"),
    "way out": (["..", "latest"], None, "'..' is not the name of a file or folder in the vault"),
    "point": (["web01", "x"], None, "Client web01 has no recovery point 'x'; the newest is {points[1].id}"),
    "slot": (["web01", "latest", "{images}", "--slot", "7"], None, "{points[1].id} has no disk in slot 7; it has 0"),
    "no directory": (["web01", "latest", "{images}/a"], None, "{images}/a is not a directory: make it first"),
    "exists": (
        ["web01", "latest", "{images}"],
        lambda _client, _points, bare: (bare.images / "0-system.img").touch(),
        "{images}/0-system.img exists: move it away or name another directory, nothing is overwritten",
    ),
    "unfinished": (
        ["web01", "latest", "{images}"],
        lambda _client, _points, bare: (bare.images / "0-system.img.restoring").touch(),
        "{images}/0-system.img.restoring exists: move it away or name another directory, nothing is overwritten",
    ),
    "no zstd": (
        ["web01", "latest", "{images}"],
        lambda _client, _points, bare: (bare.bin / "zstd").unlink(),
        "The program zstd is not in the PATH: install the package zstd",
    ),
    "no vault": (
        ["web01"],
        lambda _client, _points, bare: (bare.vault / "vault.json").unlink(),
        "Cannot read {vault}/vault.json: No such file or directory",
    ),
    "no file": (
        ["web01", "latest", "{images}"],
        lambda client, points, _bare: file_of(client, points[0]).unlink(),
        "Cannot read {base}: No such file or directory",
    ),
    "short": (
        ["web01", "latest", "{images}"],
        lambda client, points, _bare: os.truncate(file_of(client, points[0]), 9),
        "{base} is damaged: it has 9 bytes instead of {points[0].disks[0].file_size}",
    ),
    "no base": (
        ["web01", "latest", "{images}"],
        lambda client, points, _bare: shutil.rmtree(Path(client.directory, points[0].id)),
        "Client web01 has no recovery point '{points[0].id}'; the newest is {points[1].id}",
    ),
    "other disk": (
        ["web01", "latest", "{images}"],
        _other_disk,
        "{points[0].id} is damaged: {points[1].id} builds on its disk 0004fb00001200001.img",
    ),
    "hostile": (
        ["web01", "latest", "{images}"],
        lambda client, points, _bare: forge(client, points[1], file="../x.zst"),
        "'../x.zst' is not the name of a file or folder in the vault",
    ),
    "no manifest": (
        ["web01", "latest"],
        lambda client, points, _bare: (Path(client.directory, points[1].id, "point.json").write_text("{}"), None)[1],
        "{manifest} is damaged, or has a format that this script does not know",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be(tmp_path: Path, case: str) -> None:
    client, points = make_chain(tmp_path, 2)
    bare = Bare(tmp_path, tmp_path / "vault")
    arguments, change, message = REFUSALS[case]
    if change is not None:
        change(client, points, bare)
    known = {
        "vault": bare.vault, "images": bare.images, "points": points, "base": file_of(client, points[0]),
        "manifest": Path(client.directory, points[1].id, "point.json"),
    }  # fmt: skip
    assert bare.refusal(*(text.format(**known) for text in arguments)) == message.format(**known)


def test_interrupted_it_leaves_nothing(tmp_path: Path) -> None:
    make_chain(tmp_path, 1)
    bare = Bare(tmp_path, tmp_path / "vault")
    (bare.bin / "zstd").unlink()
    (bare.bin / "zstd").write_text("#!/bin/sh\nkill -TERM $PPID\nwhile read -r line; do :; done\n")
    (bare.bin / "zstd").chmod(0o755)
    assert bare.refusal("web01", "latest", str(bare.images)) == "ended by a signal, nothing is left behind"


def test_it_lists_what_there_is(history: History, bare: Bare) -> None:
    name, newest = history.client.name, history.points[-1]
    assert bare.run().stdout == f"{name}  6 recovery points  newest {newest.id}\n"
    lines = bare.run(name).stdout.splitlines()
    assert [line.split()[0] for line in lines] == [point.id for point in history.points]
    assert lines[-1] == f"{newest.id}  1970-01-01 00:16:40 UTC  incremental  powered_off  web 01 \u00e4"
    assert bare.run(name, newest.id).stdout == f"slot 0  system  {newest.disks[0].size} bytes  incremental  {FILE}\n"


# --- how it gets into vaults -----------------------------------------------------------------------------------------


def test_a_vault_gets_the_script_and_a_newer_one_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault, path = str(tmp_path / "vault"), tmp_path / "vault" / "restore.py"
    Vault.create(vault)
    assert path.read_bytes() == script()
    assert due_scripts(vault, encrypted=False) == []
    for other in (script() + b"# cut", b"", script().replace(b"VERSION = 1", b"VERSION = 0")):
        path.write_bytes(other)
        assert due_scripts(vault, encrypted=False) == [str(path)]
        carry_scripts(vault, encrypted=False)
        assert path.read_bytes() == script()
    path.unlink()
    carry_scripts(vault, encrypted=False)
    assert path.read_bytes() == script()
    newer = script().replace(b"VERSION = 1", b"VERSION = 2")
    path.write_bytes(newer)
    assert due_scripts(vault, encrypted=False) == []
    carry_scripts(vault, encrypted=False)
    assert path.read_bytes() == newer
    assert sorted(os.listdir(vault)) == ["clients", "jobs", "restore.py", "vault.json"]


def test_a_script_that_an_interrupted_creation_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "restore.py").write_bytes(script())
    (tmp_path / ".restore.py.0a1b.new").write_bytes(b"")
    Vault.create(str(tmp_path))
    (tmp_path / "vault.json").unlink()
    (tmp_path / "restore.py").write_bytes(b"mine")
    with pytest.raises(NotAVaultError, match=r"holds other things \(restore.py\)"):
        Vault.create(str(tmp_path))
