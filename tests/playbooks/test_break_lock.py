# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run that breaks locks breaks those in its way, and no others."""

from __future__ import annotations

from playbooks.bench import Bench, only, wait_until

SLOW = {"ovm_backup_compression_level": 19}


def test_run_of_another_subclient_is_left_alone(bench: Bench) -> None:
    bench.subclients = {"slow": only("big01"), "other": only("old01")}
    playbook = bench.start("backup", subclient="slow", **SLOW)
    wait_until(lambda: list((bench.vault / "clients").glob("big01/*/*.img.zst*")), "the VM is being read")
    playbook.freeze()
    clones, lock = bench.clones(), bench.locks()["big01"]
    assert len(clones) == 1
    bench.backup("other", ovm_backup_break_lock=True)
    assert bench.clones() == clones
    assert bench.locks()["big01"] == lock
    playbook.freeze(False)
    assert playbook.wait().code == 0
    assert {job["subclient"]: job["status"] for job in bench.jobs()} == {"slow": "Completed", "other": "Completed"}
