# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks with an encrypted vault, whose key is in the environment as AWX injects it."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest
from unit.programs import files_with, recorded, recording
from unit.vault.kinds import KEY

from ansible_collections.ovm.backup.plugins.module_utils.vault.access import VaultAccess
from ansible_collections.ovm.backup.plugins.module_utils.vault.boot_test_record import SCREENSHOT_NAME
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault
from bootable.guest import GuestUnavailable, install_packages
from playbooks.bench import Bench, only
from simulator import guest

VM = "old01"
VARIABLE = "OVM_VAULT_ENCRYPTION_KEY"


@pytest.fixture
def vault(bench: Bench, tmp_path: Path) -> Vault:
    """An encrypted vault that the playbooks are told to use; each program that they start is written down."""
    made = Vault.create(str(bench.directory / "encrypted"), VaultAccess(encryption_key=KEY), encrypted=True)
    bench.subclients = {"old": only(VM, retention={"keep_last": 1})}
    bench.variables = {
        "ovm_backup_vault": made.path,
        "ovm_backup_force": True,
        "ovm_backup_reports": {"html": str(tmp_path / "reports")},
    }
    bench.more_environment = {VARIABLE: KEY, "ANSIBLE_ASYNC_DIR": str(tmp_path / "async")}
    (tmp_path / "reports").mkdir()
    return made


def test_the_life_of_an_encrypted_vault(bench: Bench, vault: Vault, tmp_path: Path) -> None:
    try:
        install_packages()
    except GuestUnavailable as problem:
        pytest.skip(f"no boot test: {problem}")
    bench.wrapper = recording("trace")
    outcomes = [bench.backup("old")]
    [image] = bench.images(VM).values()
    guest.write_file(image, "/srv/new.bin", guest.noise(200_000, VM))
    outcomes.append(bench.backup("old"))
    # The full is older than what is kept, and stays because the incremental needs it.
    outcomes.append(bench.run("retention", subclient="old"))
    points = vault.client(VM).scan()[0]
    assert [point.type for point in points] == ["full", "incremental"]
    outcomes.append(bench.run("verify"))
    assert outcomes[-1].shown[0][0].startswith("2 recovery points of 1 client: 2 good; ")
    # Its disk has no boot loader: that is what is waited for.
    outcomes.append(bench.run("boot_test", client=VM, pattern="(?i)no bootable|boot failed"))
    outcomes.append(bench.run("export", client=VM, directory=str(tmp_path / "exported")))
    exported = tmp_path / "exported" / f"0-{VM}-sys.qcow2"
    subprocess.run(["qemu-img", "compare", str(exported), str(image)], check=True, capture_output=True)
    outcomes.append(bench.run("report"))
    pages = [path.read_text(encoding="utf-8") for path in (tmp_path / "reports").iterdir()]
    assert [page for page in pages if "its console says" in page and "data:image/png;base64," in page]
    picture = Path(vault.client(VM).directory, points[1].id, SCREENSHOT_NAME)
    assert picture.read_bytes().startswith(b"OVMCRYPT")

    traces = list(bench.directory.glob("run-*/trace"))
    assert len(traces) == len(outcomes)
    programs = [program for trace in traces for program in recorded(trace)]
    names = {program.name for program in programs}
    assert names >= {"ansible-playbook", "nbdkit", "qemu-system-x86_64"}
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
    bench.more_environment = {VARIABLE: key} if key else {}
    before = {path: path.read_bytes() for path in Path(vault.path).rglob("*") if path.is_file()}
    outcome = bench.backup("old", code=2)
    [told] = outcome.messages.values()
    assert message.format(vault=vault.path) in told
    assert key is None or key not in outcome.output
    assert bench.simulator.calls(writing=True) == []
    assert {path: path.read_bytes() for path in Path(vault.path).rglob("*") if path.is_file()} == before
