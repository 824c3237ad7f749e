# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ansible-builder makes of the collection, and ansible-navigator without an execution environment.

No image is built: that needs a registry. The build context and all that goes into it are what builder would use.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from playbooks.bench import COLLECTIONS

ROOT = Path(__file__).resolve().parents[2]


def run(directory: Path, program: str, *arguments: str) -> str:
    """Run a tool of the virtual environment in a directory of its own and return what it prints."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "OVM_"))}
    environment = {
        **kept,
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_HOME": str(directory / "home"),
        "HOME": str(directory),
        "LC_ALL": "C.UTF-8",
        "TERM": "dumb",
    }
    done = subprocess.run(
        [str(Path(sys.executable).with_name(program)), *arguments],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built collection."""
    directory = tmp_path_factory.mktemp("artifact")
    run(directory, "ansible-galaxy", "collection", "build", str(ROOT), "--output-path", str(directory))
    [found] = directory.glob("ovm-backup-*.tar.gz")
    return found


def test_build_context(artifact: Path, tmp_path: Path) -> None:
    """The definition names the artifact of this version, and builder accepts all of it."""
    shutil.copy(ROOT / "execution-environment.yml", tmp_path)
    shutil.copy(artifact, tmp_path)
    output = run(tmp_path, "ansible-builder", "create", "--output-filename", "Containerfile")
    assert "Complete! The build context can be found at" in output
    context = tmp_path / "context"
    collections = yaml.safe_load((context / "_build" / "requirements.yml").read_text(encoding="utf-8"))["collections"]
    assert collections == [{"name": artifact.name, "type": "file"}]
    assert (context / "_build" / artifact.name).is_file()
    assert 'EE_BASE_IMAGE="oraclelinux:9"' in (context / "Containerfile").read_text(encoding="utf-8")


def test_what_the_image_gets(artifact: Path, tmp_path: Path) -> None:
    """The artifact carries the lists, and they hold the libraries and programs of all features."""
    installed = tmp_path / "ansible_collections" / "ovm" / "backup"
    installed.mkdir(parents=True)
    subprocess.run(["tar", "-xzf", artifact, "-C", installed], check=True)
    found = yaml.safe_load(run(tmp_path, "ansible-builder", "introspect", str(tmp_path)))
    libraries = {re.split("[ <>=]", line)[0] for line in found["python"]}
    assert libraries == {"requests", "zstandard", "blake3", "boto3", "cryptography"}
    programs = {line.split()[0] for line in found["system"]}
    assert {"openssh-clients", "openssh-client", "nbdkit"} <= programs


def test_navigator(tmp_path: Path) -> None:
    """It runs a playbook on the machine itself."""
    content = [{"name": "Make a vault", "ansible.builtin.import_playbook": "ovm.backup.vault"}]
    (tmp_path / "vault.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
    inventory = {"all": {"hosts": {"localhost": {"ansible_connection": "local"}}}}
    inventory["all"]["hosts"]["localhost"]["ansible_python_interpreter"] = sys.executable
    (tmp_path / "inventory.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
    arguments = ["--ee", "false", "--mode", "stdout", "--playbook-artifact-enable", "false", "-i", "inventory.yml"]
    output = run(
        tmp_path, "ansible-navigator", "run", "vault.yml", *arguments, "-e", f"ovm_backup_vault={tmp_path / 'vault'}"
    )
    assert "failed=0" in output
    assert (tmp_path / "vault" / "vault.json").is_file()
