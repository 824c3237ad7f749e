# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks with a vault in a bucket of a real S3 server."""

from __future__ import annotations

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.vault.access import VaultAccess
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault
from playbooks.bench import Bench, only
from s3.fixtures import new_root, s3_server
from s3.server import ACCESS_KEY, SECRET_KEY, Server

__all__ = ["s3_server"]
VM = "old01"


@pytest.fixture
def vault(bench: Bench, s3_server: Server) -> str:
    """Return the address of a vault that the playbooks are told to use; they make it themselves."""
    root = new_root()
    bench.subclients = {"old": only(VM)}
    bench.variables = {
        "ovm_backup_vault": root,
        "ovm_backup_vault_access": {
            "endpoint_url": s3_server.endpoint,
            "access_key_id": ACCESS_KEY,
            "secret_access_key": SECRET_KEY,
            "addressing_style": "path",
        },
    }
    return root


def test_the_life_of_a_vault_in_a_bucket(bench: Bench, vault: str, s3_server: Server) -> None:
    outcomes = [bench.run("vault"), bench.backup("old"), bench.run("verify")]
    assert outcomes[2].shown[0][0].startswith("1 recovery point of 1 client: 1 good; ")
    target = bench.directory / "restored"
    outcomes.append(bench.run("restore_image", client=VM, directory=str(target)))
    access = VaultAccess.from_options(bench.variables["ovm_backup_vault_access"])
    [point] = Vault.open(vault, access).client(VM).scan()[0]
    assert [path.stat().st_size for path in target.glob("*.img")] == [disk.size for disk in point.disks]
    assert not list(bench.vault.glob("clients/*"))
    assert not [outcome for outcome in outcomes if SECRET_KEY in outcome.output]
