# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The numbers for Prometheus, read by the parser of its own library."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from unit.reporting.builders import DAMAGE, DAY, HOSTILE, MOMENT, add_client, add_job, job_id, made, planned, verify

from ansible_collections.ovm.backup.plugins.module_utils.reporting.history import read_history
from ansible_collections.ovm.backup.plugins.module_utils.reporting.prometheus import METRICS, STATUSES, prometheus_text
from ansible_collections.ovm.backup.plugins.module_utils.vault import jobs
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault

PREFIX = "ovm_backup_"
Labels = tuple[tuple[str, str], ...]


def samples(vault: Vault) -> dict[str, dict[Labels, float]]:
    """Return all samples by the metric's name without its prefix and by the values of the labels."""
    found: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(prometheus_text(read_history(vault))):
        assert family.type == "gauge"
        assert family.documentation == METRICS[family.name]
        for sample in family.samples:
            assert sample.name == family.name
            values = found.setdefault(family.name.removeprefix(PREFIX), {})
            labels = tuple(sample.labels.values())
            assert labels not in values, "two samples with the same labels"
            values[labels] = sample.value
    return found


TEXT = f"""\
# HELP ovm_backup_job_last_status Status of the newest job of a subclient: 0 completed, 1 with warnings, 2 with errors, 3 failed.
# TYPE ovm_backup_job_last_status gauge
ovm_backup_job_last_status{{subclient="nightly"}} 0
# HELP ovm_backup_job_last_end_timestamp_seconds When the newest job of a subclient ended.
# TYPE ovm_backup_job_last_end_timestamp_seconds gauge
ovm_backup_job_last_end_timestamp_seconds{{subclient="nightly"}} 1795396323.25
# HELP ovm_backup_job_last_success_timestamp_seconds When the newest job of a subclient ended in which no VM failed.
# TYPE ovm_backup_job_last_success_timestamp_seconds gauge
ovm_backup_job_last_success_timestamp_seconds{{subclient="nightly"}} 1795396323.25
# HELP ovm_backup_job_duration_seconds How long the newest job of a subclient took.
# TYPE ovm_backup_job_duration_seconds gauge
ovm_backup_job_duration_seconds{{subclient="nightly"}} 600.25
# HELP ovm_backup_job_bytes_read Bytes of disks that the newest job of a subclient read.
# TYPE ovm_backup_job_bytes_read gauge
ovm_backup_job_bytes_read{{subclient="nightly"}} 5497558138880
# HELP ovm_backup_job_bytes_stored Bytes that the newest job of a subclient stored in the vault.
# TYPE ovm_backup_job_bytes_stored gauge
ovm_backup_job_bytes_stored{{subclient="nightly"}} 7
# HELP ovm_backup_job_vms VMs of the newest job of a subclient by their status.
# TYPE ovm_backup_job_vms gauge
ovm_backup_job_vms{{subclient="nightly",status="Completed with warnings"}} 0
ovm_backup_job_vms{{subclient="nightly",status="Completed"}} 1
ovm_backup_job_vms{{subclient="nightly",status="Failed"}} 0
ovm_backup_job_vms{{subclient="nightly",status="Skipped"}} 0
# HELP ovm_backup_vm_selected 1 if the newest job of the subclient has the VM, 0 if only earlier ones had it.
# TYPE ovm_backup_vm_selected gauge
ovm_backup_vm_selected{{vm="db01",client="db01",subclient="nightly"}} 1
# HELP ovm_backup_vm_last_status What the newest job of the subclient did to the VM: -1 skipped, 0 completed, 1 with warnings, 2 with errors, 3 failed.
# TYPE ovm_backup_vm_last_status gauge
ovm_backup_vm_last_status{{vm="db01",client="db01",subclient="nightly"}} 0
# HELP ovm_backup_vm_last_success_timestamp_seconds From when the newest good recovery point of the VM is, whichever subclient made it; 0 if there is none.
# TYPE ovm_backup_vm_last_success_timestamp_seconds gauge
ovm_backup_vm_last_success_timestamp_seconds{{vm="db01",client="db01",subclient="nightly"}} {MOMENT:.0f}
# HELP ovm_backup_vm_outage_seconds How long the newest job of the subclient kept the VM stopped.
# TYPE ovm_backup_vm_outage_seconds gauge
ovm_backup_vm_outage_seconds{{vm="db01",client="db01",subclient="nightly"}} 12.5
# HELP ovm_backup_vm_stored_bytes Bytes that all recovery points of the VM take in the vault.
# TYPE ovm_backup_vm_stored_bytes gauge
ovm_backup_vm_stored_bytes{{vm="db01",client="db01",subclient="nightly"}} STORED
# HELP ovm_backup_vm_verification_ok 0 if a verification found a recovery point of the VM damaged, else 1.
# TYPE ovm_backup_vm_verification_ok gauge
ovm_backup_vm_verification_ok{{vm="db01",client="db01",subclient="nightly"}} 1
# HELP ovm_backup_vm_verification_timestamp_seconds When a recovery point of the VM was verified last.
# TYPE ovm_backup_vm_verification_timestamp_seconds gauge
ovm_backup_vm_verification_timestamp_seconds{{vm="db01",client="db01",subclient="nightly"}} {MOMENT + DAY:.0f}
# HELP ovm_backup_damaged_job_records Records of jobs in the vault that cannot be read.
# TYPE ovm_backup_damaged_job_records gauge
ovm_backup_damaged_job_records 0
"""  # noqa: E501 - lines as they are written


def test_whole_text(vault: Vault) -> None:
    client, points = add_client(Path(vault.path), "db01")
    verify(client, points[0])
    record = {"point": made(read=5 << 40, stored=7), "stopped_at": MOMENT + 2, "running_at": MOMENT + 14.5}
    add_job(vault, 0, (planned("db01"), record), duration=600.25)
    assert prometheus_text(read_history(vault)) == TEXT.replace("STORED", str(points[0].stored))
    assert set(samples(vault)) == {name.removeprefix(PREFIX) for name in METRICS}


def test_empty_vault(vault: Vault) -> None:
    assert samples(vault) == {"damaged_job_records": {(): 0.0}}


def test_every_status_has_a_number() -> None:
    assert set(STATUSES) == {*jobs._VM_STATUSES, jobs.WITH_ERRORS}
    good = {status for status, code in STATUSES.items() if code < 2}
    assert good == {jobs.SKIPPED, jobs.COMPLETED, jobs.WITH_WARNINGS}


def test_several_subclients_and_states(vault: Vault) -> None:
    directory = Path(vault.path)
    client, points = add_client(directory, "db01", points=2)
    verify(client, points[1], problem=DAMAGE)
    add_client(directory, "gone01")
    skipped = (planned("template", action="skip", reason="templates are not backed up"), {})
    add_job(vault, 0, (planned("db01"), {"point": made()}), (planned("gone01"), {"point": made()}), skipped)
    failed = (planned("new01"), {"failure": "the vault is full"})
    add_job(vault, 1, (planned("db01"), {"failure": "full"}), failed, skipped)
    add_job(vault, 2, (planned("db01"), {"point": made(), "warnings": ["w"]}), subclient="gold")
    (directory / "jobs" / f"{job_id(3)}.json").write_text("{")
    found = samples(vault)
    assert found["job_last_status"] == {("gold",): 1, ("nightly",): 3}
    assert found["job_last_success_timestamp_seconds"] == {
        ("gold",): MOMENT + 2 * DAY + 600,
        ("nightly",): MOMENT + 600,
    }
    db01_gold, db01 = ("db01", "db01", "gold"), ("db01", "db01", "nightly")
    gone01, new01, template = (name_of("gone01"), name_of("new01"), name_of("template"))
    assert found["vm_selected"] == {db01_gold: 1, db01: 1, gone01: 0, new01: 1, template: 1}
    assert found["vm_last_status"] == {db01_gold: 1, db01: 3, gone01: 0, new01: 3, template: -1}
    # The second point of db01 was found damaged; nobody promised a backup of a template.
    assert found["vm_last_success_timestamp_seconds"] == {db01_gold: MOMENT, db01: MOMENT, gone01: MOMENT, new01: 0}
    assert found["vm_verification_ok"] == {db01_gold: 0, db01: 0}
    assert found["damaged_job_records"] == {(): 1}


def name_of(vm: str) -> Labels:
    return (vm, vm, "nightly")


def test_hostile_names(vault: Vault) -> None:
    hostile = [HOSTILE, 'back\\slash"quote', "new\nline", "half \ud83d pair", 'x"} 1\nevil 2', "tab\tand\u2028more"]
    vms = [(planned(name, f"client{number}"), {"point": made()}) for number, name in enumerate(hostile)]
    add_job(vault, 0, *vms, subclient='a"b\\c\n{}')
    found = samples(vault)
    shown = {labels[1]: labels[0] for labels in found["vm_last_status"]}
    assert shown == {
        "client0": "<script>alert('x')</script> \"&\\ \ufffdgnp.exe",
        "client1": 'back\\slash"quote',
        "client2": "new line",
        "client3": "half \ufffd pair",
        "client4": 'x"} 1 evil 2',
        "client5": "tab\ufffdand\ufffdmore",
    }
    assert found["job_last_status"] == {('a"b\\c {}',): 0}
    assert set(found) <= {name.removeprefix(PREFIX) for name in METRICS}


def test_unknown_status_of_a_later_version(vault: Vault, tmp_path: Path) -> None:
    add_job(vault, 0, (planned("db01"), {"point": made()}))
    path = Path(vault.path) / "jobs" / f"{job_id(0)}.json"
    path.write_text(path.read_text().replace('"status": "Completed"', '"status": "Aborted"'))
    assert samples(vault)["job_last_status"] == {("nightly",): 3}
