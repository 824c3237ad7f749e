# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run can be asked for: a type that is not offered everywhere, the restart of a job, limits."""

from __future__ import annotations

import pytest
from unit.planning.estate import client, disk, group, plan, vm

from ansible_collections.ovm.backup.plugins.module_utils.errors import InvalidInputError
from ansible_collections.ovm.backup.plugins.module_utils.planning.state import LastJob

IS_RUNNING = "the VM is running, all its disks are on storage repository 'iscsi1' (OCFS2 on iSCSI)"


def test_differential_only_where_the_site_offers_it() -> None:
    guest = vm("guest")
    expected = (
        r"^backup_type: 'differential' is offered only where the additional setting bEnableVSADifferentialBackup is "
        r"on: set ovm_backup_additional_settings: \{bEnableVSADifferentialBackup: true\}, or use full, incremental or "
        r"synthetic_full$"
    )
    for settings in ({}, {"bEnableVSADifferentialBackup": False}):
        with pytest.raises(InvalidInputError, match=expected):
            plan(guest, run={"backup_type": "differential", "settings": settings})
        with pytest.raises(InvalidInputError, match=expected):
            plan(guest, run={"settings": settings}, backup_type="differential")
        run = {"settings": settings, "backup_type": "full"}
        assert plan(guest, run=run, backup_type="differential").requested_type == "full"
    on = {"bEnableVSADifferentialBackup": True}
    (found,) = plan(guest, clients=[client(guest)], run={"settings": on}, backup_type="differential").vms
    assert (found.requested_type, found.type, found.disks[0].base) == ("differential", "differential", "P0")
    (first,) = plan(guest, run={"settings": on}, backup_type="differential").vms
    assert (first.requested_type, first.type, first.type_reason) == ("differential", "full", "first backup of this VM")


JOB = LastJob(
    "J1",
    "full",
    {f"id-{name}": name for name in "abcd"},
    {"id-a": "Completed", "id-b": "Failed", "id-c": "Skipped", "id-d": "Completed with warnings"},
)


def test_restart_does_only_what_failed() -> None:
    guests = [vm(name) for name in "abcde"]
    clients = [client(item) for item in guests]
    found = plan(*guests, clients=clients, last_job=JOB, run={"restart": True}, max_age="1w")
    assert found.requested_type == "full"  # that of the job
    assert {item.vm_name: (item.action, item.reason) for item in found.vms} == {
        "b": ("backup", f"{IS_RUNNING}; it failed in job J1, which is restarted"),
        "a": ("current", "it has the status Completed in job J1, which is restarted for what failed there"),
        "c": ("current", "it has the status Skipped in job J1, which is restarted for what failed there"),
        "d": (
            "current",
            "it has the status Completed with warnings in job J1, which is restarted for what failed there",
        ),
        "e": ("current", "it was not in job J1, which is restarted for what failed there"),
    }
    other = plan(*guests, last_job=JOB, run={"restart": True, "backup_type": "incremental"})
    assert other.requested_type == "incremental"
    with pytest.raises(InvalidInputError, match=r"^restart_job: subclient 'prod' has no finished job: run it without$"):
        plan(*guests, run={"restart": True})


def test_places_that_a_vm_needs() -> None:
    guest, off = vm("a", disk(0, "fc1"), disk(1, "iscsi1"), disk(2, "fc1")), vm("b", state="STOPPED", server_id=None)
    limits = {"clones": 2, "repository": 1, "server": 2, "proxy": 3}
    found = plan(guest, off, vm("c", state="SUSPENDED"), run=group("p1", "p2"), limits=limits)
    assert {item.vm_name: [(slot.name, slot.limit) for slot in item.slots] for item in found.vms} == {
        "a": [("repository-id-fc1", 1), ("repository-id-iscsi1", 1), ("server-id-server1", 2), ("proxy-p1", 3)],
        "b": [("repository-id-iscsi1", 1), ("proxy-p2", 3)],
        "c": [],
    }
    assert [item.slots for item in plan(guest).vms] == [()]
