# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A recovery point behind a real nbdkit: what clients get, what is left behind, and what is said when it fails."""

from __future__ import annotations

import json
import os
import select
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.guest.conftest import DATA, needs_nbdkit, on_all_kinds
from unit.transfer.builders import Estate
from unit.vault.builders import KIB, MIB
from unit.vault.kinds import BUCKET, ENCRYPTED, KEY, PLAIN, access_options

from ansible_collections.ovm.backup.plugins.module_utils.errors import (
    CorruptVaultError,
    InvalidInputError,
    PointNotFoundError,
    ServingError,
    VaultError,
)
from ansible_collections.ovm.backup.plugins.module_utils.guest import serving
from ansible_collections.ovm.backup.plugins.module_utils.guest.serving import serve_point
from ansible_collections.ovm.backup.plugins.module_utils.vault.access import VaultAccess
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault
from s3.faults import Fault, FaultProxy
from s3.fixtures import s3_faults

__all__ = ["s3_faults"]


@pytest.fixture(autouse=True)
def directories(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the private directories are made; none of them may stay. The path of a socket has to be short."""
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        monkeypatch.setattr(serving, "_short_directory", lambda: made)
        yield Path(made)


def ask(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def copied(uri: str, target: Path) -> bytes:
    ask("nbdcopy", uri, str(target))
    return target.read_bytes()


@needs_nbdkit
@on_all_kinds
def test_all_disks_of_a_point(estate: Estate, point: Point, tmp_path: Path, directories: Path) -> None:
    with serve_point(estate.client, point) as served:
        process = served._process.pid
        assert stat.S_IMODE(os.stat(served.directory).st_mode) == 0o700
        assert copied(served.uri(0), tmp_path / "0") == estate.image(0).read_bytes()
        assert copied(served.uri(2), tmp_path / "2") == DATA
        exports = json.loads(ask("nbdinfo", "--json", "--list", served.uri()))["exports"]
        assert [(one["export-name"], one["description"], one["export-size"]) for one in exports] == [
            ("0", f"web 01, recovery point {point.id}, slot 0: system", 2 * MIB),
            ("2", f"web 01, recovery point {point.id}, slot 2: data", len(DATA)),
        ]
        assert {one["is_read_only"] for one in exports} == {one["can_multi_conn"] for one in exports} == {True}
        assert {one["block_size_preferred"] for one in exports} == {64 * KIB}
        holes = json.loads(ask("nbdinfo", "--json", "--map", served.uri(2)))
        assert [(one["offset"], one["length"], one["description"]) for one in holes] == [
            (0, 64 * KIB, "data"),
            (64 * KIB, MIB, "hole,zero"),
            (MIB + 64 * KIB, 64 * KIB, "data"),
            (MIB + 128 * KIB, len(DATA) - MIB - 128 * KIB, "hole,zero"),
        ]
        # Who names no export gets the first disk.
        assert json.loads(ask("qemu-img", "info", "--output=json", served.uri()))["virtual-size"] == 2 * MIB
        served.check()
        assert [one.as_dict(served.socket) for one in served.disks] == [
            {"slot": 0, "name": "system", "size": 2 * MIB, "uri": served.uri(0)},
            {"slot": 2, "name": "data", "size": len(DATA), "uri": served.uri(2)},
        ]
    assert os.listdir(directories) == []
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


@needs_nbdkit
@pytest.mark.parametrize("estate", [ENCRYPTED], indirect=True)
@pytest.mark.parametrize(
    "access",
    [
        VaultAccess(encryption_key=KEY),
        VaultAccess(encryption_key_file="keys/vault.key"),
        # It is in nbdkit's path no more, and each call of a key management may be one that somebody has to allow.
        VaultAccess(encryption_key_command="give-key once"),
    ],
    ids=["key", "file", "command"],
)
def test_key_reaches_nbdkit_however_it_was_given(
    estate: Estate, point: Point, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, access: VaultAccess
) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "vault.key").write_text(f"{KEY}\n", encoding="utf-8")
    command = folder / "give-key"
    command.write_text(f"#!/bin/sh\nmkdir '{folder}'/$1 && cat '{folder}/vault.key'\n", encoding="utf-8")
    command.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        estate.vault = Vault.open(estate.vault.path, access)
    # Of another vault: what the engine was told counts, not what is in its environment.
    monkeypatch.setenv("OVM_VAULT_ENCRYPTION_KEY", "of another vault")
    monkeypatch.setenv("OVM_VAULT_ENCRYPTION_KEY_FILE", "/of/another/vault")
    with serve_point(estate.client, point) as served:
        assert copied(served.uri(2), tmp_path / "2") == DATA
        process = Path("/proc", str(served._process.pid))
        assert KEY.encode() not in (process / "cmdline").read_bytes()
        assert b"another" not in (process / "environ").read_bytes()


@needs_nbdkit
@pytest.mark.parametrize("estate", [BUCKET], indirect=True)
def test_a_storage_that_refuses_later_is_told(
    estate: Estate, point: Point, tmp_path: Path, s3_faults: FaultProxy, request: pytest.FixtureRequest
) -> None:
    access = {**access_options(BUCKET, request), "endpoint_url": s3_faults.endpoint}
    estate.vault = Vault.open(estate.vault.path, VaultAccess.from_options(access))
    with serve_point(estate.client, point) as served:
        s3_faults.add(Fault("answer", "GET", times=1000, status=400, code="ExpiredToken"))
        with pytest.raises(subprocess.CalledProcessError):
            copied(served.uri(0), tmp_path / "0")
        with pytest.raises(VaultError, match=r"Cannot read s3://.*: the credentials have expired: get new ones"):
            served.check()


@needs_nbdkit
def test_one_slot(estate: Estate, point: Point, tmp_path: Path) -> None:
    with serve_point(estate.client, point, slots=[2]) as served:
        assert copied(served.uri(), tmp_path / "2") == DATA
        with pytest.raises(subprocess.CalledProcessError):
            ask("nbdinfo", served.uri(0))
    with pytest.raises(InvalidInputError, match="has no disk in slot 1; it has 0, 2"):
        serve_point(estate.client, point, slots=[1]).__enter__()


@needs_nbdkit
def test_it_ends_when_its_user_is_killed(estate: Estate, point: Point, directories: Path) -> None:
    program = f"""
import time
from pathlib import Path
from ansible_collections.ovm.backup.plugins.module_utils.guest import serving
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault
serving._short_directory = lambda: {str(directories)!r}
client = Vault.open({estate.vault.path!r}).client("web_01")
with serving.serve_point(client, client.point()) as served:
    print(served._process.pid, flush=True)
    time.sleep(600)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment) as user:
        assert user.stdout is not None
        nbdkit = os.pidfd_open(int(user.stdout.readline()))
        (directory,) = directories.iterdir()
        assert (directory / "socket").is_socket()
        user.kill()
    assert select.select([nbdkit], [], [], 60)[0] == [nbdkit], "nbdkit goes on"
    os.close(nbdkit)
    assert os.listdir(directories) == []


@needs_nbdkit
@pytest.mark.parametrize(("estate", "offset"), [(PLAIN, 0), (ENCRYPTED, 72)], indirect=["estate"])
def test_damage_is_reported_as_what_it_is(estate: Estate, point: Point, tmp_path: Path, offset: int) -> None:
    path = Path(estate.client.directory, str(point.disks[1].base), "2-data.img.zst")
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with serve_point(estate.client, point) as served:
        with pytest.raises(subprocess.CalledProcessError):
            copied(served.uri(2), tmp_path / "2")
        with pytest.raises(CorruptVaultError, match=f"{path} is damaged at offset {offset}: ") as damage:
            served.check()
        assert damage.value.details["path"] == str(path)
        # The other disk is as good as before.
        assert copied(served.uri(0), tmp_path / "0") == estate.image(0).read_bytes()


@needs_nbdkit
def test_what_cannot_be_opened_is_said_at_once(estate: Estate, point: Point, directories: Path) -> None:
    path = Path(estate.client.directory, str(point.disks[0].base), "0-system.img.zst")
    path.unlink()
    with pytest.raises(PointNotFoundError, match=f"{path} is missing from the vault"):
        serve_point(estate.client, point).__enter__()
    assert os.listdir(directories) == []


@needs_nbdkit
def test_nbdkit_that_was_killed(estate: Estate, point: Point) -> None:
    with serve_point(estate.client, point) as served:
        served._process.kill()
        served._process.wait()
        with pytest.raises(ServingError, match="nbdkit has ended with status -9 while it was needed"):
            served.check()


def test_nbdkit_is_missing(estate: Estate, point: Point, monkeypatch: pytest.MonkeyPatch, directories: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name, path: None)
    with pytest.raises(ServingError) as missing:
        serve_point(estate.client, point).__enter__()
    assert missing.value.as_failure() == {"kind": "ServingError", "package": "nbdkit"}
    assert "install the packages nbdkit and nbdkit-plugin-python (Debian)" in missing.value.message
    assert os.listdir(directories) == []


@pytest.mark.parametrize(
    ("says", "message", "details"),
    [
        # What nbdkit 1.32 says.
        (
            "nbdkit: error: cannot open plugin 'python': /usr/lib/nbdkit/plugins/nbdkit-python-plugin.so: cannot open "
            "shared object file: No such file or directory\nUse 'nbdkit --help' or read the manual page.",
            "nbdkit has no plugin for Python: install the package nbdkit-plugin-python (Debian) or "
            "nbdkit-python-plugin (Oracle Linux)",
            {"package": "nbdkit-plugin-python"},
        ),
        ("nbdkit: error: no room\nmore", "nbdkit does not start: nbdkit: error: no room", {}),
        ("", "nbdkit does not start: it says nothing", {}),
    ],
)
def test_nbdkit_does_not_start(
    estate: Estate,
    point: Point,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    directories: Path,
    says: str,
    message: str,
    details: dict[str, Any],
) -> None:
    stand_in = tmp_path / "nbdkit"  # a program that ends as nbdkit would
    stand_in.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{says}\nEND\nexit 1\n", encoding="utf-8")
    stand_in.chmod(0o755)
    monkeypatch.setattr(serving, "find_nbdkit", lambda: str(stand_in))
    with pytest.raises(ServingError) as failure:
        serve_point(estate.client, point).__enter__()
    assert failure.value.message == message
    failure.value.details.pop("output")
    assert failure.value.details == details
    assert os.listdir(directories) == []


def test_a_path_that_is_too_long(estate: Estate, point: Point, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(serving, "find_nbdkit", lambda: "nbdkit")
    monkeypatch.setattr(serving, "_short_directory", lambda: str(deep))
    with pytest.raises(ServingError, match="is too long for a socket in it: use one of at most 100 bytes"):
        serve_point(estate.client, point).__enter__()
    assert os.listdir(deep) == []
