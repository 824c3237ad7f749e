# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exchanging what the slots of a VM hold: all or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils import errors
from ansible_collections.ovm.backup.plugins.module_utils.manager.restored_disks import (
    WantedDisk,
    ensure_disk,
    remove_disks_of_run,
)
from ansible_collections.ovm.backup.plugins.module_utils.manager.slots import map_disk

RUN = "restore-1"


@pytest.fixture
def rac02(simulator: Any) -> str:
    return str(simulator.find("Vm", "rac02")["id"]["value"])


@pytest.fixture
def held(simulator: Any) -> str:
    return str(simulator.find("VirtualDisk", "rac02-sys")["id"]["value"])


@pytest.fixture
def new(simulator: Any, connected: Any, rac02: str, held: str) -> Iterator[str]:
    """A new disk; afterwards the VM has its old one in slot 0 as it was, and the new one goes."""
    before = mappings(simulator, rac02)
    repository_id = simulator.find("Repository", "repo-fc")["id"]["value"]
    made, _changed = ensure_disk(connected, WantedDisk("new", repository_id, 8192), run_id=RUN)
    assert made is not None
    yield made.id
    simulator.clear_faults()
    map_disk(connected, rac02, 0, held)
    assert mappings(simulator, rac02) == before
    assert remove_disks_of_run(connected, RUN)


def mappings(simulator: Any, vm_id: str) -> dict[int, tuple[str | None, str]]:
    found = simulator._get(f"/Vm/{vm_id}/VmDiskMapping")
    return {item["diskTarget"]: ((item["virtualDiskId"] or {}).get("value"), item["diskWriteMode"]) for item in found}


def mapping_of(simulator: Any, disk_id: str) -> str:
    return str(simulator._get(f"/VirtualDisk/{disk_id}")["vmDiskMappingIds"][0]["value"])


def test_a_disk_is_mapped_as_the_one_before_it(simulator: Any, connected: Any, rac02: str, held: str, new: str) -> None:
    connected.modify("VmDiskMapping", mapping_of(simulator, held), {"diskWriteMode": "READ_ONLY"})
    assert map_disk(connected, rac02, 0, new, check=True) == (held, True)
    assert map_disk(connected, rac02, 0, new) == (held, True)
    assert mappings(simulator, rac02)[0] == (new, "READ_ONLY")
    assert map_disk(connected, rac02, 0, new) == (new, False)
    connected.modify("VmDiskMapping", mapping_of(simulator, new), {"diskWriteMode": "READ_WRITE"})


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"job": "mapping.create"}, errors.JobFailedError),
        ({"job": "mapping.create", "leftovers": True}, errors.JobFailedError),
        ({"job": "mapping.delete", "leftovers": True}, errors.JobFailedError),
        ({"action": "reset", "method": "DELETE", "when": "after"}, errors.ManagerUnreachableError),
        ({"action": "reset", "method": "POST", "when": "before"}, errors.ManagerUnreachableError),
        ({"action": "reset", "method": "POST", "when": "after"}, errors.ManagerUnreachableError),
    ],
)
def test_the_old_disk_is_back_after_a_failure(
    simulator: Any, connected: Any, rac02: str, held: str, new: str, fault: dict[str, Any], kind: type[Exception]
) -> None:
    simulator.fault(**fault)
    with pytest.raises(kind):
        map_disk(connected, rac02, 0, new)
    simulator.wait_for_jobs()
    assert mappings(simulator, rac02)[0] == (held, "READ_WRITE")


def test_what_could_not_be_given_back_is_told(simulator: Any, connected: Any, rac02: str, held: str, new: str) -> None:
    simulator.job_fault("mapping.create", times=2)
    with pytest.raises(errors.JobFailedError, match=f"Slot 0 held virtual disk {held} before, and could not be given"):
        map_disk(connected, rac02, 0, new)
    assert 0 not in mappings(simulator, rac02)


def test_a_slot_that_was_changed_meanwhile_is_left_alone(
    simulator: Any, connected: Any, rac02: str, held: str, new: str
) -> None:
    simulator.clear_calls()
    for expected, message in (
        ([], f"Slot 0 of VM .* holds virtual disk {held} now, not nothing as it did"),
        (["a.img", "b.img"], f"holds virtual disk {held} now, not virtual disk a.img or virtual disk b.img"),
    ):
        with pytest.raises(errors.InvalidInputError, match=message):
            map_disk(connected, rac02, 0, new, expected=expected)
    with pytest.raises(errors.InvalidInputError, match="Slot 9 of VM .* holds nothing now, not virtual disk a.img"):
        map_disk(connected, rac02, 9, new, expected=["a.img"])
    assert simulator.calls(writing=True) == []
    assert map_disk(connected, rac02, 0, new, expected=[held]) == (held, True)
    assert map_disk(connected, rac02, 0, new, expected=[held]) == (new, False)  # as a repeated restore asks


def test_what_is_so_already_may_be_asked_of_a_running_vm(simulator: Any, connected: Any) -> None:
    rac01 = str(simulator.find("Vm", "rac01")["id"]["value"])
    there = mappings(simulator, rac01)[0][0]
    assert there is not None
    assert map_disk(connected, rac01, 0, there) == (there, False)
    assert map_disk(connected, rac01, 9, None) == (None, False)


def test_bad_input_touches_nothing(simulator: Any, connected: Any, rac02: str) -> None:
    db01_sys = simulator.find("VirtualDisk", "db01-sys")["id"]["value"]
    for disk_id, message in (
        ("gone.img", "has no virtual disk 'gone.img'"),
        (simulator.find("VirtualDisk", "install.iso")["id"]["value"], "is a CD, no disk"),
        (db01_sys, "is mapped already and cannot be shared: unmap it there first"),
    ):
        for check in (True, False):
            with pytest.raises(errors.InvalidInputError, match=message):
                map_disk(connected, rac02, 0, disk_id, check=check)
    rac01 = simulator.find("Vm", "rac01")["id"]["value"]
    with pytest.raises(errors.PowerStateError, match="is RUNNING: its disks are changed only while it is stopped"):
        map_disk(connected, rac01, 1, None)
    simulator.set_state(rac01, "STOPPED")
    with pytest.raises(errors.InvalidInputError, match="holds a physical disk: it is not replaced"):
        map_disk(connected, rac01, 1, None)
    simulator.set_state(rac01, "RUNNING")
    assert simulator.calls(writing=True) == []


def test_a_shared_disk_is_mapped_once_more(simulator: Any, connected: Any) -> None:
    vote = simulator.find("VirtualDisk", "rac-vote")["id"]["value"]
    files01 = simulator.find("Vm", "files01")["id"]["value"]
    simulator.set_state(files01, "STOPPED")
    assert map_disk(connected, files01, 5, vote) == (None, True)
    assert map_disk(connected, files01, 5, None) == (vote, True)
