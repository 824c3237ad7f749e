# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One playbook that backs up one subclient after the other: each run is about its own VMs only."""

from __future__ import annotations

import json
from pathlib import Path

from playbooks.bench import Bench, only

VM = "bigfiles01"


def test_subclients_one_after_the_other(bench: Bench, tmp_path: Path) -> None:
    bench.subclients = {
        "nfs": only(VM, two_pass=False, max_age="1h"),
        "none": only("nobody", allow_empty=True),
        "both": only(VM, "web01", two_pass=False, reference_clone="remove"),
    }
    names = ("nfs", "nfs", "none", "both")
    plays = [
        {
            "name": f"Back up {name}",
            "ansible.builtin.import_playbook": "ovm.backup.backup",
            "vars": {"subclient": name},
        }
        for name in names
    ]
    site = tmp_path / "site.yml"
    site.write_text(json.dumps(plays), encoding="utf-8")
    outcome = bench.run(str(site))
    found = [(job["subclient"], {vm["vm_name"]: vm["status"] for vm in job["vms"]}) for job in bench.jobs()]
    assert found == [("nfs", {VM: "Completed"}), ("both", {VM: "Completed", "web01": "Completed"})]
    # Once for each job that it is in.
    calls = [call["path"] for call in bench.simulator.calls(writing=True)]
    assert sum(path.endswith("/stop") for path in calls) == 2
    assert len(bench.points(VM)) == 2
    # What the first run noted of the VM is not told of the second one.
    first, second = ({vm["vm_name"]: vm for vm in job["vms"]}[VM] for job in bench.jobs())
    assert first["finished"] <= second["started"]
    job = bench.job()["id"]
    assert {f"{VM} (VM)", f"{VM} (VM, job {job})", f"web01 (VM, job {job})"} <= set(outcome.changed)
