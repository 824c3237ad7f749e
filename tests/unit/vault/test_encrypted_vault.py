# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An encrypted vault from its first full to its last restore: with the collection, and with its two scripts alone."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from unit.transfer.builders import ticking
from unit.vault.builders import add_point, noise, restored, write_image
from unit.vault.chains import FILE, SIZE
from unit.vault.storage.test_keys import PRIVATE, PUBLIC

from ansible_collections.ovm.backup.plugins.module_utils.errors import VaultKeyError
from ansible_collections.ovm.backup.plugins.module_utils.vault import format as fmt
from ansible_collections.ovm.backup.plugins.module_utils.vault.access import VaultAccess
from ansible_collections.ovm.backup.plugins.module_utils.vault.encrypting import keys_of
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client, Vault
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.cipher import content_size
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.key_changes import add_recipient, save_keys
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.mounts import unmount
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.recipients import parse_key
from ansible_collections.ovm.backup.plugins.module_utils.vault.synthetic_full import (
    SyntheticRequest,
    make_synthetic_full,
)
from ansible_collections.ovm.backup.plugins.module_utils.vault.verification_run import survey, verify_targets

pytestmark = pytest.mark.usefixtures("no_sync")
KEY = base64.b64encode(b"K" * 32).decode()
ACCESS = VaultAccess(encryption_key=KEY)
# What tells about VMs, and what is stored of zstd's and our form.
TELLING = [
    b"payroll",
    b"vcpus",
    b"0004fb00",
    b"point.json",
    b"repository one",
    bytes.fromhex("28b52ffd"),
    b"header_hash",
]


class Estate(NamedTuple):
    vault: Vault
    client: Client
    points: list[Point]
    states: list[bytes]

    @property
    def root(self) -> Path:
        return Path(self.vault.path)

    def file(self, number: int) -> Path:
        return Path(self.client.directory, self.points[number].id, FILE)


@pytest.fixture
def estate(tmp_path: Path) -> Iterator[Estate]:
    """A full, two increments, and what consolidates them."""
    path = str(tmp_path / "vault")
    vault = Vault.create(path, ACCESS, encrypted=True, clock=lambda: 1.0)
    client = vault.prepare_client("web01")
    vault.register(client, vm_id="0004fb0000060000aa", vm_name="payroll", now=1.0)
    data = bytearray(noise(4 * 2048) + bytes(20 * 2048) + noise(SIZE - 24 * 2048, 1))
    points: list[Point] = []
    states: list[bytes] = []
    for number in range(3):
        data[number * 1024 : number * 1024 + 512] = noise(512, number + 10)
        image = write_image(tmp_path / "raw", bytes(data))
        points.append(add_point(client, image, base=points[-1] if points else None, now=1000.0 + number))
        states.append(bytes(data))
    request = SyntheticRequest(client.name, "a test")
    points.append(make_synthetic_full(vault, request, clock=ticking(2000.0), workers=1).point)
    yield Estate(vault, client, points, [*states, states[-1]])
    unmount(path)


def problems(estate: Estate) -> list[tuple[str | None, str | None, str]]:
    """Verify all, and return what is wrong."""
    due = survey(estate.vault).due(now=9000.0, max_age=None, share=None)
    outcomes = verify_targets(estate.vault, due, clock=lambda: 9000.0, workers=1)
    assert [outcome.target.point.id for outcome in outcomes] == [point.id for point in estate.points]
    found = [outcome.verification for outcome in outcomes if outcome.verification is not None]
    return [(one.point, one.file, one.message) for result in found for one in result.problems]


def test_every_point_is_verified_and_comes_back_and_nothing_tells_of_it(estate: Estate) -> None:
    assert problems(estate) == []
    assert [restored(estate.client, point) for point in estate.points] == estate.states
    plain = {"vault.json", "keys.json", "restore.py", "decrypt.py"}
    stored = {path: path.read_bytes() for path in estate.root.rglob("*") if path.is_file() and path.name not in plain}
    assert len([path for path in stored if path.name == "point.json"]) == 4
    assert [(path, word) for path, data in stored.items() for word in TELLING if word in data] == []
    assert {data[:8] for data in stored.values()} == {b"OVMCRYPT"}
    sizes = {str(path): content_size(len(data)) for path, data in stored.items()}
    assert [sizes[str(estate.file(n))] for n in range(4)] == [point.disks[0].file_size for point in estate.points]


def test_lock_is_encrypted_and_kept_out_of_others_hands(estate: Estate) -> None:
    with estate.client.lock(owner="backup on proxy", run_id="20261123T010203Z-0a1b2c3d-4e5f60", vm_name="payroll"):
        stored = (Path(estate.client.directory) / "lock.json").read_bytes()
        status = Vault.open(estate.vault.path, ACCESS).client("web01").lock(owner="", run_id="").status()
    assert b"payroll" not in stored and b"proxy" not in stored
    assert status is not None and (status["vm_name"], status["alive"]) == ("payroll", True)
    assert not (Path(estate.client.directory) / "lock.json").exists()


def test_vault_opens_with_its_key_only(estate: Estate) -> None:
    with pytest.raises(VaultKeyError, match="is encrypted, and no key was given"):
        Vault.open(estate.vault.path)
    with pytest.raises(VaultKeyError, match="does not open the vault"):
        Vault.open(estate.vault.path, VaultAccess(encryption_key=base64.b64encode(b"W" * 32).decode()))
    settings = estate.root / "vault.json"
    document = json.loads(settings.read_text())
    del document["encryption"]  # whoever can write there wants the next backup to be plain
    settings.write_text(json.dumps(document))
    with pytest.raises(VaultKeyError, match="is not encrypted, but a key was given"):
        Vault.open(estate.vault.path, ACCESS)


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def test_verification_finds_what_was_changed_or_exchanged(estate: Estate) -> None:
    flip(estate.file(0), 5000)
    ((point, file, message), *others) = problems(estate)
    assert (point, file) == (estate.points[0].id, FILE)
    assert f"{estate.file(0)} is damaged at offset 72: what is stored there is not what was written" in message
    assert {(point, file) for point, file, _message in others} <= {(estate.points[0].id, FILE)}


def test_verification_finds_files_that_have_changed_places(estate: Estate) -> None:
    first, second, spare = estate.file(0), estate.file(3), estate.root / "spare"
    first.rename(spare)
    second.rename(first)
    spare.rename(second)
    found = {(point, file) for point, file, _message in problems(estate)}
    assert {(estate.points[0].id, FILE), (estate.points[3].id, FILE)} <= found


def test_manifest_that_was_changed_or_planted_is_damaged(estate: Estate) -> None:
    manifests = [Path(estate.client.directory, point.id, "point.json") for point in estate.points]
    flip(manifests[0], 100)
    manifests[1].write_text('{"format": "ovm.backup recovery point"}')
    shutil.copy(manifests[3], manifests[2])
    points, damaged = estate.client.scan()
    assert [point.id for point in points] == [estate.points[3].id]
    assert [bad.id for bad in damaged] == [point.id for point in estate.points[:3]]
    assert "is damaged at offset 72: what is stored there is not what was written" in damaged[0].error
    assert "is damaged at offset 0: it is no encrypted file" in damaged[1].error
    assert f"it belongs to recovery point {estate.points[3].id}" in damaged[2].error


# --- without the collection ------------------------------------------------------------------------------------------


def decrypt(
    estate: Estate, *arguments: str, key: str | None = KEY, given: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the script of the vault where nothing of ours can be imported: -I ignores the environment's paths."""
    shutil.copy(estate.root / "decrypt.py", estate.root.parent)
    command = [sys.executable, "-I", "decrypt.py", "--vault", str(estate.root), *arguments]
    environment = {"PATH": os.environ["PATH"], **({"OVM_VAULT_ENCRYPTION_KEY": key} if key else {})}
    return subprocess.run(
        command,
        cwd=estate.root.parent,
        env=environment,
        input=given,
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )


def test_vault_is_decrypted_and_restored_without_the_collection(estate: Estate, tmp_path: Path) -> None:
    told = estate.root / "restore.py"
    refused = subprocess.run([sys.executable, "-I", told], capture_output=True, text=True, check=False, timeout=60)
    assert refused.stderr.endswith("is encrypted: decrypt it first, with decrypt.py that lies beside this\n")
    checked = decrypt(estate)
    assert (checked.stderr, checked.stdout) == ("", "The key opens the vault. Its clients:\nweb01\n")
    done = decrypt(estate, str(tmp_path / "plain"))
    assert (done.returncode, done.stderr) == (0, "")
    plain = tmp_path / "plain"
    images = tmp_path / "images"
    for number, point in enumerate(estate.points):
        shutil.rmtree(images, ignore_errors=True)
        images.mkdir()
        command = [sys.executable, "-I", "-S", str(plain / "restore.py"), "web01", point.id, str(images)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        assert (images / FILE.removesuffix(".zst")).read_bytes() == estate.states[number]
    path = plain / "clients/web01" / estate.points[3].id / FILE
    full = subprocess.run(["zstd", "-dc", path], check=True, capture_output=True, timeout=60)
    assert full.stdout == estate.states[3]
    vault = Vault.open(str(plain))
    assert [point.id for point in vault.client("web01").scan()[0]] == [point.id for point in estate.points]
    assert fmt.digest(restored(vault.client("web01"), estate.points[2])) == fmt.digest(estate.states[2])


def test_offline_key_decrypts_one_client_with_a_kept_copy_of_the_keys(estate: Estate, tmp_path: Path) -> None:
    keys = keys_of(estate.vault.path)
    save_keys(keys, add_recipient(keys, "safe", parse_key(PUBLIC, "public_key", public=True), 5.0))
    other = estate.vault.prepare_client("other")
    estate.vault.register(other, vm_id="0004fb0000060000bb", vm_name="other", now=1.0)
    (estate.root / "keys.json").rename(tmp_path / "keys.json")
    arguments = ["--keys", "keys.json", "--key-file", "-", "plain", "web01"]
    done = decrypt(estate, *arguments, key=None, given=PRIVATE)
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in (tmp_path / "plain/clients").iterdir()] == ["web01"]
    assert decrypt(estate, *arguments, key=None, given=PRIVATE).stderr.startswith("decrypt.py: plain is there and not")


def test_damaged_file_is_named_and_left_out(estate: Estate, tmp_path: Path) -> None:
    flip(estate.file(1), 300)
    done = decrypt(estate, "plain")
    assert done.returncode == 1
    assert f"{estate.file(1)} is damaged at offset 72: it is not what was written there\n" in done.stdout
    assert done.stderr == "decrypt.py: The files named above are damaged, and left out\n"
    there = {path.relative_to(tmp_path / "plain") for path in (tmp_path / "plain").rglob("*.zst*")}
    assert len(there) == 3
    cut = estate.file(2).read_bytes()
    estate.file(2).write_bytes(cut[:72] + cut[72 : 72 + 65552])
    assert decrypt(estate, "again").stdout.count("is damaged at offset") >= 1


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (None, "Give the key: --key-file FILE, or the environment variable OVM_VAULT_ENCRYPTION_KEY"),
        ("secret", "The key is neither 32 bytes in base64 nor the private half of an X25519 key"),
        (base64.b64encode(b"W" * 32).decode(), "does not open this vault, which opens with: "),
    ],
)
def test_wrong_key_is_told_and_not_shown(estate: Estate, tmp_path: Path, key: str | None, message: str) -> None:
    found = decrypt(estate, "plain", key=key)
    assert found.returncode == 1
    assert message in found.stderr and (key or "-") not in found.stderr.replace("--key-file", "")
    assert not (tmp_path / "plain").exists()


def test_forged_keys_are_not_believed(estate: Estate) -> None:
    document = json.loads((estate.root / "keys.json").read_text())
    document["recipients"][0]["name"] = "other"
    (estate.root / "keys.json").write_text(json.dumps(document))
    assert "it is not what the holder of a key has written" in decrypt(estate).stderr
