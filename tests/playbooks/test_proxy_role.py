# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook proxy, applied to a tree of its own on this machine: for real, but for the account and the mount."""

from __future__ import annotations

import getpass
import grp
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault
from playbooks.bench import Bench

HOST_KEY = "ovs1.example.com,192.0.2.11 ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ"
MOUNT = {"source": "nas.example.com:/export/vault"}


def there(package: str) -> bool:
    """Tell whether a package of Debian is installed."""
    command = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout == "installed"


@pytest.fixture
def variables(bench: Bench) -> dict[str, Any]:
    """What a site says of its proxies, without what would change this machine: packages that are there stay so."""
    manager = urlsplit(bench.simulator.url)
    packages = [name for name in ("python3", "openssh-client") if os.geteuid() == 0 and shutil.which("dpkg-query")]
    packages = [name for name in packages if there(name) and there("python3-apt")]
    return {
        "ansible_become": False,
        "proxy_prefix": str(bench.directory / "root"),
        "proxy_user": getpass.getuser(),
        "proxy_group": grp.getgrgid(os.getegid()).gr_name,
        "proxy_manage_user": False,
        "proxy_manage_packages": bool(packages),
        "proxy_packages": packages,
        "proxy_python": "{{ ansible_playbook_python }}",
        "proxy_known_hosts": [HOST_KEY],
        "proxy_ca_certificate": "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----",
        "proxy_public_key_directory": str(bench.directory / "keys"),
        "proxy_vault": "{{ proxy_prefix }}/srv/vault",
        "proxy_vault_mount": MOUNT,
        "proxy_mount_now": False,
        "proxy_servers": [f"{manager.hostname}:{manager.port}"],
    }


def test_a_proxy_is_set_up(bench: Bench, variables: dict[str, Any]) -> None:
    root = Path(variables["proxy_prefix"])
    for name in ("etc", "srv", "opt"):
        (root / name).mkdir(parents=True)
    bare = sorted(root.rglob("*"))
    outcome = bench.run("proxy", "--check", **variables)
    assert sorted(root.rglob("*")) == bare
    foreseen = outcome.changed["localhost"]

    outcome = bench.run("proxy", **variables)
    # Check mode cannot foresee what becomes of the key, and of the public one that is fetched.
    assert outcome.changed["localhost"] >= foreseen > 5
    vault = root / "srv/vault"
    assert f"{vault} is not a vault: there is no {vault}/vault.json." in outcome.output
    key = root / "etc/ovm/backup_rsa"
    shown = subprocess.run(["ssh-keygen", "-l", "-f", str(key)], capture_output=True, text=True, check=True).stdout
    assert shown.startswith("3072 ") and shown.endswith("ovm.backup on localhost (RSA)\n")
    public = key.with_suffix(".pub").read_text(encoding="utf-8")
    assert (bench.directory / "keys/localhost.pub").read_text(encoding="utf-8") == public
    assert public.strip() in outcome.output
    modes = {str(path.relative_to(root)): oct(path.stat().st_mode & 0o777) for path in (key, key.parent, vault)}
    assert modes == {"etc/ovm/backup_rsa": "0o600", "etc/ovm": "0o750", "srv/vault": "0o700"}
    assert (root / "etc/ovm/known_hosts").read_text(encoding="utf-8") == f"{HOST_KEY}\n"
    fstab = (root / "etc/fstab").read_text(encoding="utf-8")
    assert fstab == f"nas.example.com:/export/vault {vault} nfs4 rw,hard,noatime,_netdev 0 0\n"
    python = root / "opt/ovm-backup/bin/python"
    subprocess.run([str(python), "-c", "import requests, zstandard, blake3"], check=True)

    Vault.create(str(vault))
    outcome = bench.run("proxy", **variables)
    assert (outcome.changed, "is not a vault" in outcome.output) == ({"localhost": 0}, False)
    assert bench.run("proxy", "--check", **variables).changed == {"localhost": 0}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"proxy_vault_mount": {**MOUNT, "options": "rw,soft,nolock"}},
            "proxy_vault_mount: the options nolock, soft do not fit a vault: its locks have to be those of the server, "
            "and a write must not be given up.",
        ),
        (
            {"proxy_known_hosts": ["ovs1.example.com"]},
            "proxy_known_hosts: 'ovs1.example.com' is no line of known_hosts. It has to be the address of a server, "
            "the type of its key and the key, as ssh-keyscan -t rsa prints it.",
        ),
    ],
)
def test_wrong_input(bench: Bench, variables: dict[str, Any], wrong: dict[str, Any], message: str) -> None:
    outcome = bench.run("proxy", code=2, **{**variables, **wrong})
    assert outcome.messages == {"localhost": message}
    assert not Path(variables["proxy_prefix"]).exists()
