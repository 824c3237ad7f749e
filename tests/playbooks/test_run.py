# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way it should go, on the sample estate: full, again, changed guests, check mode, restore. One after the other."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from playbooks.bench import Bench, everything, only, settled
from simulator import guest
from simulator.testing import running

QUOTED = 'it\'s "quoted" $(reboot); 50% <done>'
# VM: client, method, status.
EXPECTED = {
    "db01": ("db01", "hot_clone", "Completed"),
    "app 01": ("app_01", "hot_clone", "Completed"),
    "web/01": ("web_01", "hot_clone", "Completed"),
    "web 01": ("web_01_2", "hot_clone", "Completed with warnings"),
    "mail01": ("mail01", "hot_clone", "Completed"),
    "erp01": ("erp01", "hot_clone", "Completed"),
    "files01": ("files01", "shutdown", "Completed"),
    "legacy01": ("legacy01", "cold", "Completed"),
    "rac01": ("rac01", "hot_clone", "Completed with warnings"),
    "rac02": ("rac02", "cold", "Completed with warnings"),
    "split01": ("split01", "shutdown", "Completed"),
    "Windows DC #1": ("Windows_DC__1", "hot_clone", "Completed"),
    "ol7-template": ("ol7-template", "skip", "Skipped"),
    QUOTED: ("it_s__quoted____reboot___50___done_", "hot_clone", "Completed"),
    "Büro Ñandú 01": ("Büro_Ñandú_01", "hot_clone", "Completed"),
    "test.01 [dev]": ("test.01_[dev]", "hot_clone", "Completed with warnings"),
    "old01": ("old01", "cold", "Completed"),
}
BACKED_UP = {vm: client for vm, (client, method, _status) in EXPECTED.items() if method != "skip"}
CHANGED = ("db01", "files01")
DAMAGED = "web/01"


@pytest.fixture(scope="module")
def sample(images_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One bench for all tests here: each goes on where the one before has ended."""
    with running("sample", images_cache=images_cache) as simulator:
        bench = Bench(simulator, tmp_path_factory.mktemp("sample") / "bench")
        bench.subclients = {
            "daily": everything(max_age="1d"),
            "changed": only(*CHANGED, DAMAGED),
            "web": only("web 01"),
        }
        bench.hosts = {"localhost": {}, "proxy-a": {}, "proxy-b": {}}
        bench.variables = {"ovm_backup_proxies": ["proxy-a", "proxy-b"]}
        with settled(bench):
            yield bench


def test_vault_is_made(sample: Bench) -> None:
    first = sample.run("vault")
    assert first.changed["localhost"] == 1
    again = sample.run("vault")
    assert again.changed["localhost"] == 0


def test_check_mode_writes_nothing(sample: Bench) -> None:
    sample.simulator.read_only()
    before = sample.tree()
    outcome = sample.backup("daily", "--check", "--diff")
    sample.simulator.read_only(False)
    assert sample.simulator.calls(writing=True) == []
    assert sample.tree() == before
    assert outcome.changed == {"localhost": 1}  # the job that would be opened
    plan = "\n".join(outcome.shown[0])
    assert plan.startswith("Plan for subclient daily, incremental asked for: 16 back up, 1 skip\n")
    assert "templates are not backed up" in plan
    for vm in EXPECTED:
        assert f". {vm}: " in plan


def test_full_run(sample: Bench) -> None:
    outcome = sample.backup("daily")
    sample.check_settled()
    job = sample.job()
    found = {name: (vm["client"], vm["method"], vm["status"]) for name, vm in job["vms"].items()}
    assert found == EXPECTED
    assert (job["status"], job["subclient"], job["requested_type"]) == (
        "Completed with warnings",
        "daily",
        "incremental",
    )
    assert job["counts"] == {"Completed": 12, "Completed with warnings": 4, "Failed": 0, "Skipped": 1}
    for name, vm in job["vms"].items():
        if name not in BACKED_UP:
            continue
        assert (vm["type"], vm["reason"]) == ("full", "first backup of this VM")
        assert (vm["outage"] is not None) == (vm["method"] == "shutdown")
        assert 0 < vm["bytes_stored"] < vm["bytes_read"]
        [point] = sample.points(vm["client"])
        assert (point["id"], point["vm_name"], point["job_id"]) == (vm["point"], name, job["id"])
        assert set(point["configuration"]) == {"vm_cfg", "vm_json"}
    summary = "\n".join(outcome.shown[-1])
    for name in EXPECTED:
        assert f"\n{name} (" in summary
    assert outcome.failed == set()


def test_physical_disk_is_reported(sample: Bench) -> None:
    rac01 = sample.job()["vms"]["rac01"]
    assert [(disk["slot"], disk["kind"], disk["reason"]) for disk in rac01["skipped_disks"]] == [
        (1, "physical", "physical disks are not backed up")
    ]
    [point] = sample.points("rac01")
    assert [disk["slot"] for disk in point["disks"]] == [0, 2]


def test_proxies_are_dealt_round_robin(sample: Bench) -> None:
    vms = sorted((vm for vm in sample.job()["vms"].values() if vm["status"] != "Skipped"), key=lambda vm: vm["order"])
    assert [vm["proxy"] for vm in vms] == ["proxy-a", "proxy-b"] * 8


def test_one_clone_job_at_a_time_in_a_repository(sample: Bench) -> None:
    clones = [call for call in sample.simulator.calls(writing=True) if call["path"].endswith("/clone")]
    assert len(clones) == sum(method == "hot_clone" for _client, method, _status in EXPECTED.values())
    assert sample.overlapping_clones() == []


def test_second_run_changes_nothing(sample: Bench) -> None:
    sample.simulator.clear_calls()
    before = sample.tree()
    outcome = sample.backup("daily")
    assert outcome.changed == {"localhost": 0}
    assert sample.simulator.calls(writing=True) == []
    # By a file that is there for a moment, the proxies of a group find out whether they see one vault.
    assert {**sample.tree(), "proxies": before["proxies"]} == before
    assert outcome.shown[0][0] == "Plan for subclient daily, incremental asked for: 16 nothing to do, 1 skip"


def test_incremental_of_changed_guests_and_full_on_a_damaged_base(sample: Bench) -> None:
    client = BACKED_UP[DAMAGED]
    [base] = sample.points(client)
    damaged = sample.vault / "clients" / client / base["id"]
    with (damaged / base["disks"][0]["file"]).open("r+b") as file:
        file.truncate(base["disks"][0]["file_size"] - 100)
    for vm in CHANGED:
        guest.write_file(sample.images(vm)[0], "/srv/new.bin", guest.noise(200_000, vm))
    sample.backup("changed")
    shutil.rmtree(damaged)  # what is damaged on purpose is not looked at any more
    sample.check_settled()
    job = sample.job()
    assert sample.statuses() == dict.fromkeys((*CHANGED, DAMAGED), "Completed")
    again = job["vms"][DAMAGED]
    assert (again["requested_type"], again["type"]) == ("incremental", "full")
    assert again["reason"].startswith("newest recovery point is damaged: ")
    for vm in CHANGED:
        full, incremental = sample.points(BACKED_UP[vm])
        assert (incremental["type"], incremental["parent"]) == ("incremental", full["id"])
        assert {disk["type"] for disk in incremental["disks"]} == {"incremental"}
        assert 200_000 < job["vms"][vm]["bytes_stored"] < sum(disk["file_size"] for disk in full["disks"])


def test_type_can_be_asked_for(sample: Bench) -> None:
    sample.backup("web", backup_type="full", ovm_backup_force=True)
    job = sample.job()
    assert job["requested_type"] == "full"
    assert {vm["type"] for vm in job["vms"].values()} == {"full"}
    assert {vm["reason"] for vm in job["vms"].values()} == {"full backup was asked for"}


def test_every_client_is_restored(sample: Bench, tmp_path: Path) -> None:
    # Each client is a host of the restore, so that one playbook restores them all.
    sample.hosts = {
        f"restore-{number}": {"client": client, "directory": str(tmp_path / client)}
        for number, client in enumerate(BACKED_UP.values())
    }
    outcome = sample.run("restore_image", ovm_backup_proxy="all")
    assert outcome.changed == {**dict.fromkeys(sample.hosts, 1), "localhost": 0}
    for vm, client in BACKED_UP.items():
        sample.check_restored(tmp_path / client, vm)
    # The point before the change is what the disks were then: it is not what they are now.
    sample.hosts = {"localhost": {}}
    [first, _second] = sample.points("db01")
    sample.run("restore_image", client="db01", directory=str(tmp_path / "before"), point=first["id"])
    with pytest.raises(AssertionError, match="is not"):
        sample.check_restored(tmp_path / "before", "db01")
