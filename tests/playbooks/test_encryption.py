# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks with an encrypted vault, whose key is in the environment as AWX injects it."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import pytest
from unit.programs import files_with, recorded, recording
from unit.vault.kinds import KEY

from ansible_collections.ovm.backup.plugins.module_utils.vault.access import VaultAccess
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault
from playbooks.bench import Bench, only
from simulator import guest

VM = "old01"
VARIABLE = "OVM_VAULT_ENCRYPTION_KEY"


@pytest.fixture
def vault(bench: Bench, tmp_path: Path) -> Vault:
    """An encrypted vault that the playbooks are told to use."""
    made = Vault.create(str(bench.directory / "encrypted"), VaultAccess(encryption_key=KEY), encrypted=True)
    bench.subclients = {"old": only(VM, retention={"keep_last": 1})}
    bench.variables = {
        "ovm_backup_vault": made.path,
        "ovm_backup_force": True,
        "ovm_backup_reports": {"html": str(tmp_path / "reports")},
    }
    bench.surroundings = {VARIABLE: KEY, "ANSIBLE_ASYNC_DIR": str(tmp_path / "async")}
    (tmp_path / "reports").mkdir()
    return made


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs the package qemu-utils")
def test_the_life_of_an_encrypted_vault(bench: Bench, vault: Vault, tmp_path: Path) -> None:
    outcomes = [bench.backup("old")]
    [image] = bench.images(VM).values()
    guest.write_file(image, "/srv/new.bin", guest.noise(200_000, VM))
    outcomes.append(bench.backup("old"))
    # Here each program that is started is written down, which takes its time.
    bench.wrapper = recording("trace")
    outcomes.append(bench.run("export", client=VM, directory=str(tmp_path / "exported")))
    traces = list(bench.directory.glob("run-*/trace"))
    programs = [program for trace in traces for program in recorded(trace)]
    bench.wrapper = []
    # The full is older than what is kept, and stays because the incremental needs it.
    outcomes.append(bench.run("retention", subclient="old"))
    assert [point.type for point in vault.client(VM).scan()[0]] == ["full", "incremental"]
    outcomes.append(bench.run("verify"))
    assert outcomes[-1].shown[0][0].startswith("2 recovery points of 1 client: 2 good; ")
    exported = tmp_path / "exported" / f"0-{VM}-sys.qcow2"
    subprocess.run(["qemu-img", "compare", str(exported), str(image)], check=True, capture_output=True)
    pages = [path.read_text(encoding="utf-8") for path in (tmp_path / "reports").iterdir()]
    assert pages and all(VM in page for page in pages)

    assert {"ansible-playbook"} < {program.name for program in programs} and len(traces) == 1
    assert [program for program in programs if KEY in " ".join(program.environment)]
    assert [program.arguments for program in programs if KEY in " ".join(program.arguments)] == []
    assert [path for path in files_with(KEY, tmp_path) if path not in traces] == []
    assert not [outcome for outcome in outcomes if KEY in outcome.output]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (None, "is encrypted, and no key was given. "),
        (base64.b64encode(b"W" * 32).decode(), "does not open the vault {vault}. It opens with: "),
    ],
    ids=["missing", "wrong"],
)
def test_nothing_is_touched_without_the_key(bench: Bench, vault: Vault, key: str | None, message: str) -> None:
    bench.surroundings = {VARIABLE: key} if key else {}
    before = {path: path.read_bytes() for path in Path(vault.path).rglob("*") if path.is_file()}
    outcome = bench.backup("old", code=2)
    [told] = outcome.messages.values()
    assert message.format(vault=vault.path) in told
    assert key is None or key not in outcome.output
    assert bench.simulator.calls(writing=True) == []
    assert {path: path.read_bytes() for path in Path(vault.path).rglob("*") if path.is_file()} == before
