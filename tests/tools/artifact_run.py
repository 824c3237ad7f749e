# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Back up and restore with the installed artifact, against a simulated manager.

Usage: PYTHONPATH=tests python artifact_run.py DIRECTORY   (its folder collections holds the installed collection)
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from simulator.testing import running

# The running VM with two disks and the stopped one of the simulator's smallest estate.
DISKS = {"db01": 2, "files01": 1}
# All that playbooks, roles and plugins may need of the installed collection, says the Ansible community package.
NEEDED = ("meta", "playbooks", "plugins", "roles")
CHANGED = re.compile(r"\bchanged=(\d+)")


def play(directory: Path, name: str, variables: dict[str, Any]) -> int:
    """Run a playbook of the collection; return the number of changes in its recap. Ends the program if it fails."""
    path = directory / "variables.json"
    path.write_text(json.dumps(variables), encoding="utf-8")
    command = ["ansible-playbook", "-i", "localhost,", "-e", f"@{path}", f"ovm.backup.{name}"]
    # Only what was installed may be found, not the work tree.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHONPATH")}
    environment.update(
        ANSIBLE_COLLECTIONS_PATH=str(directory / "collections"), ANSIBLE_COLLECTIONS_SCAN_SYS_PATH="False"
    )
    done = subprocess.run(command, cwd=directory, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{done.stdout}\nThe playbook {name} of the artifact failed with exit code {done.returncode}.")
    return sum(int(number) for number in CHANGED.findall(done.stdout))


def expect(what: str, found: object, wanted: object) -> None:
    """End the program unless the two are equal."""
    if found != wanted:
        sys.exit(f"{what}: {found!r} instead of {wanted!r}")


def strip(installed: Path) -> None:
    """Delete what the collection must be able to do without."""
    for path in installed.iterdir():
        if path.name not in NEEDED:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def main() -> int:
    """Run as a program."""
    directory = Path(sys.argv[1]).absolute()
    strip(directory / "collections" / "ansible_collections" / "ovm" / "backup")
    vault, images = directory / "vault", directory / "images"
    for old in (vault, images):
        shutil.rmtree(old, ignore_errors=True)
    images.mkdir()
    with running("minimal", job_seconds=0.02) as simulator:
        variables: dict[str, Any] = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "ovm_backup_manager": {
                "url": simulator.url,
                "user": simulator.user,
                "password": simulator.password,
                "ca_path": simulator.ca,
            },
            "ovm_backup_vault": str(vault),
            "ovm_backup_repositories_path": str(simulator.repositories),
            "ovm_backup_subclients": {
                "small": {"max_age": "1d", "content": [{"rules": [{"field": "name", "value": list(DISKS)}]}]}
            },
            "subclient": "small",
        }
        play(directory, "vault", variables)
        expect("first backup changes something", play(directory, "backup", variables) > 0, True)
        expect("changes of a second backup inside max_age", play(directory, "backup", variables), 0)
    for client, count in DISKS.items():
        target = images / client
        play(directory, "restore_image", {**variables, "client": client, "directory": str(target)})
        expect(f"disks restored of {client}", sum(1 for path in target.rglob("*.img")), count)
    print(f"The artifact backed up and restored {', '.join(DISKS)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
