# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a subclient asks of its runs: types, retries, limits, and when to stop; preview and restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playbooks.bench import Bench, only, reasons

DIFFERENTIAL = {"bEnableVSADifferentialBackup": True}


def newest(bench: Bench, client: str) -> dict[str, Any]:
    return bench.points(client)[-1]


def test_a_failure_that_passes_is_tried_again(bench: Bench) -> None:
    bench.subclients = {"one": only("web01", "old01", retries=1, retry_delay=0, limits={"server": 1, "proxy": 1})}
    bench.simulator.job_fault("vm.clone", name="Clone Vm: web01", message="OVMAPI_4010E agent is ill")
    bench.backup("one")
    job = bench.job()
    assert bench.statuses() == {"web01": "Completed with warnings", "old01": "Completed"}
    (warning,) = job["vms"]["web01"]["warnings"]
    assert warning.startswith('attempt 1 failed and was repeated: VM "web01" was not cloned. ')
    assert [path.name for path in (bench.vault / "slots").glob("*/*")] == []


def test_a_job_that_fails_too_much_stops_and_is_restarted(bench: Bench) -> None:
    names = ["app/01", "mail01", "old02"]
    bench.subclients = {"three": only(*names, max_failed_percent=30, max_age="1d")}
    bench.simulator.job_fault("vm.clone", name="Clone Vm: app/01", message="OVMAPI_4010E agent is ill")
    bench.backup("three", "--forks", "1", code=2, backup_type="full")
    first = bench.job()
    why = reasons(first)
    assert bench.statuses() == dict.fromkeys(names, "Failed")
    assert "agent is ill" in why["app/01"]
    # Those that are not begun with count as failed, too.
    stopped = "The job was stopped before this VM: %s %% of its VMs have failed, 30 %% may (max_failed_percent)"
    assert [why["mail01"], why["old02"]] == [stopped % "33.3", stopped % "66.7"]
    # Meanwhile one of them is backed up by another run: it is done all the same, because it failed in that job.
    bench.subclients["other"] = only("old02")
    bench.backup("other")
    bench.backup("three", restart_job="latest")
    second = bench.job()
    assert bench.statuses() == dict.fromkeys(names, "Completed")
    assert {vm["requested_type"] for vm in second["vms"].values()} == {"full"}
    outcome = bench.backup("three", restart_job=second["id"])
    assert set(outcome.changed.values()) == {0}
    assert outcome.shown[0][0] == "Plan for subclient three, full asked for: 3 nothing to do"


def test_types_of_runs(bench: Bench) -> None:
    bench.subclients = {"one": only("old01", max_increments=2), "two": only("old01", "old02")}
    bench.backup("one")
    assert newest(bench, "old01")["type"] == "full"
    before = bench.tree()
    refused = bench.backup("one", code=2, backup_type="differential")
    assert refused.messages["localhost"].startswith("backup_type: 'differential' is offered only where")
    assert bench.tree() == before
    bench.backup("one")
    bench.backup("one", backup_type="differential", ovm_backup_additional_settings=DIFFERENTIAL)
    full, incremental, differential = bench.points("old01")
    assert (incremental["type"], incremental["disks"][0]["base"]) == ("incremental", full["id"])
    assert (differential["type"], differential["disks"][0]["base"]) == ("differential", full["id"])
    assert differential["requested_type"] == "differential"
    assert differential["reason"] == f"changes since full recovery point {full['id']}"
    # Two may follow a full.
    bench.backup("one")
    fourth = newest(bench, "old01")
    assert (fourth["requested_type"], fourth["type"]) == ("incremental", "full")
    assert fourth["reason"] == "2 recovery points follow its last full, 2 may"
    # A synthetic full is made of the vault alone, and only if there is anything to consolidate.
    for consolidated in (False, True):
        if consolidated:
            bench.backup("one")
        before = newest(bench, "old01")
        bench.simulator.clear_calls()
        outcome = bench.backup("one", backup_type="synthetic_full")
        assert bench.simulator.calls() == []
        assert len(outcome.shown) == 2 and (" nothing to do" in outcome.shown[0][0]) is not consolidated
        made = newest(bench, "old01")
        assert (made["id"] != before["id"]) is consolidated
    assert (made["type"], made["consolidates"], made["created"]) == ("synthetic_full", before["id"], before["created"])
    assert bench.statuses() == {"old01": "Completed"}
    # A preview of another subclient writes nothing, and says what would be.
    tree = bench.tree()
    bench.simulator.clear_calls()
    outcome = bench.run("preview", "--diff", subclient="two")
    assert bench.tree() == tree
    assert bench.simulator.calls(writing=True) == []
    shown = outcome.shown[0]
    assert shown[0] == "Plan for subclient two, incremental asked for: 2 back up"
    assert {"1. old02: back up", "2. old01: back up"} <= set(shown)
    assert '"after_header": "this plan"' in outcome.output


def test_disks_that_change_between_points(bench: Bench, tmp_path: Path) -> None:
    """Each disk is decided on its own; what is restored is what there was."""
    bench.subclients = {"one": only("old01")}
    bench.backup("one")
    simulator = bench.simulator
    vm_id = simulator.find("Vm", "old01")["id"]["value"]
    image = bench.images("old01")[0]
    size = image.stat().st_size
    with image.open("r+b") as file:
        file.truncate(size + (1 << 20))
    try:
        bench.backup("one")
        point = newest(bench, "old01")
        (disk,) = point["disks"]
        assert (point["requested_type"], disk["type"], disk["base"]) == ("incremental", "full", None)
        assert disk["reason"] == f"disk resized from {size} to {size + (1 << 20)} bytes"
        assert vm_id == point["vm_id"]
        bench.run("restore_image", client="old01", directory=str(tmp_path / "grown"))
        bench.check_restored(tmp_path / "grown", "old01")
    finally:
        with image.open("r+b") as file:
            file.truncate(size)


def test_answers_that_are_left_blank_and_lists_with_blanks(bench: Bench) -> None:
    bench.hosts = {"localhost": {}, "proxy2": {}}
    bench.subclients = {"two": only("old01", "old02")}
    questions = ("backup_type", "restart_job", "ovm_backup_force", "ovm_backup_break_lock", "ovm_backup_proxies")
    bench.backup("two", **dict.fromkeys(questions, ""))
    assert {(vm["status"], vm["proxy"]) for vm in bench.job()["vms"].values()} == {("Completed", "localhost")}
    assert bench.run("janitor", apply="").shown == [["Nothing is left."]]
    bench.backup("two", ovm_backup_proxies="localhost, proxy2,")
    assert bench.job()["warnings"] == []
    assert sorted(vm["proxy"] for vm in bench.job()["vms"].values()) == ["localhost", "proxy2"]
