# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run that breaks locks breaks those in its way, and no others."""

from __future__ import annotations

import time

from ansible_collections.ovm.backup.plugins.module_utils.vault.jobs import new_job_id
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault
from playbooks.bench import Bench, only


def test_run_of_another_subclient_keeps_its_lock(bench: Bench) -> None:
    # A run between two of its steps, as while the manager makes the clone: no process stands in the lock.
    vault = Vault.open(str(bench.vault))
    client = vault.prepare_client("web01")
    vm_id = bench.simulator.find("Vm", "web01")["id"]["value"]
    run_id = new_job_id(vault.id, time.time())
    lock = client.lock(owner="a run that is alive", run_id=run_id, vm_id=vm_id, vm_name="web01")
    lock.hold(1800.0)
    before = bench.locks()
    bench.subclients = {"other": only("old01")}
    outcome = bench.backup("other", ovm_backup_break_lock=True)
    assert "Settle |" not in outcome.output
    assert bench.locks() == before
    assert lock.release()
