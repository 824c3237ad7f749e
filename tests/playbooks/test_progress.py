# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines of progress while a transfer runs, and where there are none."""

from __future__ import annotations

import re

from playbooks.bench import Bench, only, wait_until

SLOW = {"ovm_backup_compression_level": 19, "ovm_backup_progress_interval": 0.2}
LINE = re.compile(
    r"^progress: \[bigfiles01 \(VM\) -> localhost\] bigfiles01: transfer bigfiles01-sys: \d+ %, "
    r"\d+\.\d MiB of 24\.0 MiB(, \S+ [KM]?i?B/s, .* left)?$",
    re.M,
)


def test_lines_appear_while_the_module_runs(bench: Bench) -> None:
    bench.subclients = {"files": only("bigfiles01", two_pass=False)}
    playbook = bench.start("backup", subclient="files", **SLOW)
    wait_until(lambda: list(bench.temporary.glob("*/progress.json")), "the module writes how far it is")
    playbook.freeze_transfers()
    wait_until(lambda: LINE.search(playbook.log.read_text(encoding="utf-8")), "a line is printed")
    playbook.freeze_transfers(False)
    outcome = playbook.wait()
    assert outcome.code == 0, outcome.output
    assert bench.statuses() == {"bigfiles01": "Completed"}
    lines = [line for line in outcome.output.splitlines() if line.startswith("progress:")]
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    assert len(set(lines)) == len(lines)
    assert list(bench.temporary.iterdir()) == []


def test_no_lines_if_none_are_wanted(bench: Bench) -> None:
    bench.subclients = {"files": only("bigfiles01")}
    outcome = bench.backup("files", ovm_backup_progress_interval=0)
    assert "progress:" not in outcome.output
    directory = bench.directory / "restored"
    outcome = bench.run("restore_image", client="bigfiles01", directory=str(directory), ovm_backup_progress_interval=0)
    assert "progress:" not in outcome.output
    bench.check_restored(directory, "bigfiles01")
