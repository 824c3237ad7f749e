# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The quick start, command by command as it stands in the guide, against a simulator."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from playbooks.bench import COLLECTIONS
from simulator.testing import running

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "docsite" / "rst" / "quickstart.rst"
BLOCK = re.compile(r"^\.\. code-block:: shell\n\n((?:   .*\n|\n)+)", re.MULTILINE)
# What the clone of the reader has, and the tests have already.
PREPARES = ("make stage\n", "mkdir -p build/first/group_vars\n", "cd build/first\n")


def commands() -> str:
    """Return the commands of the section on the simulator."""
    section = GUIDE.read_text(encoding="utf-8").split("\nAt a real site\n")[0]
    found = "\n".join(re.sub(r"^   ", "", block, flags=re.MULTILINE) for block in BLOCK.findall(section))
    for line in PREPARES:
        assert line in found
        found = found.replace(line, "")
    return re.sub(r"^export PATH=.*\n", "", found, flags=re.MULTILINE)


def test_quick_start_does_what_it_says(tmp_path: Path, images_cache: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    # Only for speed, as in all of these tests.
    (tmp_path / "ansible.cfg").write_text("[defaults]\ninternal_poll_interval = 0.01\n", encoding="utf-8")
    foreign = ("ANSIBLE_", "OVM_", "PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    with running("minimal", images_cache=images_cache) as simulator:
        settings = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_HOME": str(tmp_path / "home"),
            "ANSIBLE_REMOTE_TEMP": str(tmp_path / "temporary"),
            "OVM_URL": simulator.url,
            "OVM_USER": simulator.user,
            "OVM_PASSWORD": simulator.password,
            "OVM_CA_PATH": simulator.ca,
            "OVM_REPOSITORIES_PATH": str(simulator.repositories),
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands()],
            cwd=tmp_path,
            env={**kept, **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        assert simulator.find("Vm", "restored-db01")["vmRunState"] == "RUNNING"
    assert "failed=0" in done.stdout and "[WARNING]" not in done.stdout
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["0-db01-sys.img", "1-db01-data.img"]
