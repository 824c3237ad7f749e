# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a timer starts is a backup: the command of a unit is run as systemd would run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from unit.planning.unit_files import command

from playbooks.bench import Bench, Outcome, only

# Everything that means something to systemd, to a shell, to Ansible or to YAML.
NAME = "-büro 50% '{{ 1 }}' \"$HOME\" \\ /#: x"


def test_the_command_of_a_unit_backs_up_its_subclient(bench: Bench, tmp_path: Path) -> None:
    units = tmp_path / "units"
    units.mkdir()
    bench.subclients = {NAME: {**only("web01"), "schedule": [{"calendar": "22:00", "backup_type": "full"}]}}
    outcome = bench.run(
        "schedule",
        schedule_path=str(units),
        schedule_manage_units=False,
        schedule_directory=str(bench.directory / "run-1"),
        schedule_inventory="inventory.yml",
        schedule_ansible_playbook=str(Path(sys.executable).with_name("ansible-playbook")),
        schedule_options=["--extra-vars=@variables.json", "--check"],
    )
    assert outcome.changed == {"localhost": 1}
    assert outcome.shown[-1][0].startswith(f"{NAME}: full backup, 22:00 UTC, next ")
    [service] = units.glob("*.service")
    arguments = command(service.read_text(encoding="utf-8"), runtime=str(tmp_path))
    (tmp_path / "ovm-backup").mkdir()  # RuntimeDirectory=
    done = subprocess.run(
        arguments,
        cwd=bench.directory / "run-1",
        env=bench.environment(bench.directory / "run-1", "x"),
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert Outcome(0, done.stdout).shown[0][0].startswith(f"Plan for subclient {NAME}, full asked for: 1 back up")
    assert "[WARNING]" not in done.stderr
    assert [os.path.splitext(name)[1] for name in os.listdir(tmp_path / "ovm-backup")] == [".lock"]
