# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What restores make: proved by ids, made once, taken back; the fixture proves that each test leaves nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils import errors
from ansible_collections.ovm.backup.plugins.module_utils.manager import restored, restored_disks, restored_vms
from ansible_collections.ovm.backup.plugins.module_utils.manager.clone_records import Mark, Purpose, read_mark
from ansible_collections.ovm.backup.plugins.module_utils.manager.restored import release
from ansible_collections.ovm.backup.plugins.module_utils.manager.restored_disks import (
    WantedDisk,
    ensure_disk,
    remove_disks_of_run,
    remove_restored_disk,
)
from ansible_collections.ovm.backup.plugins.module_utils.manager.restored_survey import (
    restore_lines,
    unfinished_restores,
)
from ansible_collections.ovm.backup.plugins.module_utils.manager.restored_vms import (
    WantedVm,
    change_vm,
    ensure_vm,
    find_vm,
    remove_vm,
    supported_os_types,
)

RUN = "restore-1"
NET = "10238073c2"
MAC = "00:21:f6:00:00:01"
NOWHERE = "http://127.0.0.1:9/secret/disk.img"


def writes(simulator: Any) -> list[str]:
    return [f"{call['method']} {call['path'].split('/')[-1]}" for call in simulator.calls(writing=True)]


def identify(simulator: Any, kind: str, name: str) -> str:
    return str(simulator.find(kind, name)["id"]["value"])


def definition_of(simulator: Any, **changes: Any) -> dict[str, Any]:
    known = {
        "repositoryId": identify(simulator, "Repository", "repo-nfs"),
        "serverPoolId": identify(simulator, "ServerPool", "pool1"),
        "serverId": identify(simulator, "Server", "ovs1.example.com"),
        "vmDomainType": "XEN_HVM_PV_DRIVERS",
        "memory": 2048,
        "description": "Order database",
        "generation": 7,
    }
    return {**known, **changes}


@pytest.fixture
def wanted(simulator: Any) -> WantedDisk:
    return WantedDisk("new", identify(simulator, "Repository", "repo-nfs"), 8192)


@pytest.fixture
def disk_id(connected: Any, wanted: WantedDisk) -> Any:
    """A disk of the run, which goes afterwards."""
    made, changed = ensure_disk(connected, wanted, run_id=RUN)
    assert made is not None and changed
    yield made.id
    remove_disks_of_run(connected, RUN)


@pytest.fixture
def vm(simulator: Any, connected: Any, disk_id: str) -> Any:
    """A VM of the run with one disk and two NICs, which goes afterwards."""
    nics = [(None, NET), (MAC, NET)]
    made, changed = ensure_vm(connected, WantedVm("again", definition_of(simulator), [(0, disk_id)], nics), run_id=RUN)
    assert made is not None and changed
    yield made
    remove_vm(connected, RUN)


class Death(BaseException):
    """The end of the process."""


def die(*_args: Any, **_kwargs: Any) -> Any:
    raise Death


# --- proof -----------------------------------------------------------------------------------------------------------


def test_a_disk_is_marked_with_its_own_id(simulator: Any, connected: Any, wanted: WantedDisk, disk_id: str) -> None:
    item = simulator.find("VirtualDisk", "new")
    expected = Mark("restore", connected.manager_id, "", RUN, own_id=disk_id)
    assert read_mark(item["description"], "restore") == expected
    again, changed = ensure_disk(connected, wanted, run_id=RUN)
    assert (again and again.id, changed) == (disk_id, False)
    assert sum(entry == "POST VirtualDisk" for entry in writes(simulator)) == 1
    with pytest.raises(errors.InvalidInputError, match="has 8192 bytes, not 4096: remove it, or use another run_id"):
        ensure_disk(connected, WantedDisk("new", wanted.repository_id, 4096), run_id=RUN)


def test_a_disk_remembers_what_it_is_for(simulator: Any, connected: Any, wanted: WantedDisk, db01: str) -> None:
    first = Purpose(1, "20261123T010203Z-0001", db01, "old.img", was_running=True)
    made, _changed = ensure_disk(connected, replace(wanted, purpose=first, vm_id=db01), run_id=RUN)
    assert made is not None
    [found] = unfinished_restores(connected)
    assert found == {
        "run_id": RUN,
        "point": first.point,
        "source_vm_id": db01,
        "vm_id": db01,
        "vm_name": "db01",
        "vm_state": "RUNNING",
        "was_running": True,
        "made_vms": [],
        "disks": [
            {
                "id": made.id,
                "name": "new",
                "repository_id": wanted.repository_id,
                "mapped": False,
                "slot": 1,
                "previous": "old.img",
            }
        ],
    }
    [line] = restore_lines([{**found, "vm_state": "STOPPED"}])
    assert line == (
        f"unfinished: restore {RUN} has made virtual disk {made.id}; VM db01 ran before and is stopped. If it works no "
        f"more, repeat the restore of recovery point {first.point}: it goes on, or takes all back."
    )
    # A repeated restore that finds another slot notes that.
    later = replace(wanted, purpose=replace(first, slot=2), vm_id=db01)
    assert ensure_disk(connected, later, run_id=RUN) == (made, False)
    assert unfinished_restores(connected)[0]["disks"][0]["slot"] == 2
    remove_disks_of_run(connected, RUN)
    assert unfinished_restores(connected) == []


def test_a_copy_of_a_disk_is_not_ours(simulator: Any, connected: Any, wanted: WantedDisk, disk_id: str) -> None:
    target = {"type": "com.oracle.ovm.mgr.ws.model.Repository", "value": wanted.repository_id}
    job = connected.run("PUT", "VirtualDisk", disk_id, "clone", query={"cloneType": "SPARSE_COPY"}, body=target)
    copy = job["resultId"]["value"]
    assert RUN in connected.get("VirtualDisk", copy)["description"]
    with pytest.raises(errors.InvalidInputError, match="was not made by a restore"):
        remove_restored_disk(connected, copy, run_id=RUN)
    assert remove_disks_of_run(connected, RUN)
    assert connected.get("VirtualDisk", copy)["name"] == "new (2)"
    remove_restored_disk(connected, copy, run_id=RUN, foreign=True)


def test_a_clone_of_a_vm_is_not_ours(simulator: Any, connected: Any, vm: Any) -> None:
    query = {"serverPoolId": definition_of(simulator)["serverPoolId"]}
    copy = connected.run("PUT", "Vm", vm.id, "clone", query=query)["resultId"]["value"]
    assert RUN in connected.get("Vm", copy)["description"]
    with pytest.raises(errors.InvalidInputError, match="was not made by run restore-1: it is not removed"):
        remove_vm(connected, RUN, vm_id=copy)
    assert remove_vm(connected, RUN) == vm.id
    assert find_vm(connected, RUN) == (None, False)
    assert not release(connected, "Vm", copy, run_id=RUN)
    simulator.delete_vm(copy, disks=True)


def test_a_disk_in_use_and_a_cd_stay(simulator: Any, connected: Any, vm: Any, disk_id: str) -> None:
    assert not remove_disks_of_run(connected, RUN)
    with pytest.raises(errors.InvalidInputError, match="is mapped to a VM"):
        remove_restored_disk(connected, disk_id, run_id=RUN)
    for cd in (identify(simulator, "VirtualDisk", "install.iso"), "EMPTY_CDROM"):
        with pytest.raises(errors.InvalidInputError, match="is a CD: it is not removed"):
            remove_restored_disk(connected, cd, run_id=RUN, foreign=True)


# --- trouble ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["reset", "truncate", "html_500"])
def test_lost_answers_are_followed_up(simulator: Any, connected: Any, wanted: WantedDisk, action: str) -> None:
    simulator.fault(action, method="POST", path="/Repository/*/VirtualDisk", when="after")
    simulator.fault(action, method="POST", path="/Vm", when="after")
    disk, changed = ensure_disk(connected, wanted, run_id=RUN)
    assert disk is not None and changed
    made, changed = ensure_vm(connected, WantedVm("again", definition_of(simulator)), run_id=RUN)
    assert made is not None and changed
    assert find_vm(connected, RUN) == (made.id, True)
    entries = writes(simulator)
    assert (entries.count("POST VirtualDisk"), entries.count("POST Vm")) == (1, 1)
    remove_vm(connected, RUN)
    remove_disks_of_run(connected, RUN)


@pytest.mark.parametrize("fault", [{"leftovers": True}, {"never_ends": True}, {}])
def test_what_does_not_come_off_is_taken_back(
    simulator: Any, connected: Any, wanted: WantedDisk, fault: dict[str, Any]
) -> None:
    connected.job_timeout = 5.0
    error: type[Exception] = errors.JobTimeoutError if "never_ends" in fault else errors.JobFailedError
    for kind in ("disk.create", "disk.import", "vm.create"):
        if kind == "disk.import" and fault.get("leftovers"):
            continue  # nothing proves whose the disk of a failed import is
        simulator.job_fault(kind, **fault)
        with pytest.raises(error):
            if kind == "vm.create":
                ensure_vm(connected, WantedVm("again", definition_of(simulator)), run_id=RUN)
            else:
                url = NOWHERE if kind == "disk.import" else None
                ensure_disk(connected, WantedDisk("new", wanted.repository_id, 8192, url=url), run_id=RUN)
    assert simulator.state()["jobs"] == []


def test_what_cannot_be_marked_is_taken_back(simulator: Any, connected: Any, wanted: WantedDisk) -> None:
    simulator.fault("error", method="PUT", path="/V*/*", times=0, code="GEN_000023", status=400)
    with pytest.raises(errors.ManagerResponseError, match="GEN_000023"):
        ensure_disk(connected, wanted, run_id=RUN)
    with pytest.raises(errors.ManagerResponseError, match="GEN_000023"):
        ensure_vm(connected, WantedVm("again", definition_of(simulator)), run_id=RUN)
    # And if not even that works, it is said.
    simulator.fault("error", method="DELETE", times=1, code="GEN_000023", status=400)
    with pytest.raises(
        errors.ManagerResponseError, match=r"\.img was made for it and could not be removed: "
    ) as caught:
        ensure_disk(connected, wanted, run_id=RUN)
    assert len(caught.value.details["clean_up_errors"]) == 1
    assert remove_disks_of_run(connected, RUN)


def test_a_lost_import_is_told(simulator: Any, connected: Any, wanted: WantedDisk) -> None:
    simulator.fault("reset", method="PUT", path="/Repository/*/importVirtualDisk", when="before")
    with pytest.raises(errors.ManagerUnreachableError, match="its disk is in storage repository") as caught:
        ensure_disk(connected, WantedDisk("new", wanted.repository_id, None, url=NOWHERE), run_id=RUN)
    assert "secret/disk.img" not in caught.value.message


def test_a_process_that_died_is_gone_on_with(
    simulator: Any, connected: Any, wanted: WantedDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    want_vm = WantedVm("again", definition_of(simulator))
    with monkeypatch.context() as patch:
        for module in (restored_disks, restored_vms):
            patch.setattr(module, "claim", die)
        with pytest.raises(Death):
            ensure_disk(connected, wanted, run_id=RUN)
        with pytest.raises(Death):
            ensure_vm(connected, want_vm, run_id=RUN)
    disk, vm = simulator.find("VirtualDisk", "new")["id"]["value"], identify(simulator, "Vm", "again")
    assert find_vm(connected, RUN) == (vm, False)
    for run_again in (True, False):  # the first call finishes it, the second has nothing to do
        found, changed = ensure_disk(connected, wanted, run_id=RUN)
        assert (found and found.id, changed) == (disk, run_again)
        made, changed = ensure_vm(connected, want_vm, run_id=RUN)
        assert (made and made.id, changed) == (vm, run_again)
    remove_vm(connected, RUN)
    remove_disks_of_run(connected, RUN)


def test_an_interruption_while_the_manager_works_leaves_nothing(
    connected: Any, wanted: WantedDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restored, "result_of", die)
    with pytest.raises(Death):
        ensure_disk(connected, wanted, run_id=RUN)


# --- the VM ----------------------------------------------------------------------------------------------------------


def test_missing_nics_are_made(simulator: Any, connected: Any, vm: Any, disk_id: str) -> None:
    path = f"/Vm/{vm.id}/VirtualNic"
    fixed = next(nic for nic in simulator._get(path) if nic["macAddress"] == MAC)["id"]["value"]
    connected.run("DELETE", "Vm", vm.id, "VirtualNic", fixed)
    want = WantedVm("again", definition_of(simulator), [(0, disk_id)], [(None, NET), (MAC.upper(), NET)])
    assert ensure_vm(connected, want, run_id=RUN, check=True)[1]
    again, changed = ensure_vm(connected, want, run_id=RUN)
    assert changed and again is not None
    assert [nic for nic in again.nics if nic[0] == MAC] == [(MAC, NET)]
    assert len(again.nics) == 2
    assert ensure_vm(connected, want, run_id=RUN) == (again, False)


def test_the_saved_description_comes_back(simulator: Any, connected: Any, vm: Any) -> None:
    marked = connected.get("Vm", vm.id)["description"]
    assert marked.startswith("Order database ovm.backup/1 {")
    saved = {"description": marked.replace("Order", "Old order"), "memory": 1024}
    assert change_vm(connected, vm.id, saved)
    assert not change_vm(connected, vm.id, saved)
    assert find_vm(connected, RUN) == (vm.id, True)
    assert release(connected, "Vm", vm.id, run_id=RUN)
    item = connected.get("Vm", vm.id)
    assert (item["description"], item["memory"]) == ("Old order database", 1024)
    simulator.delete_vm(vm.id, disks=False)


def test_settings_that_had_no_value_lose_it_again(simulator: Any, connected: Any, vm: Any) -> None:
    connected.modify("Vm", vm.id, {"keymapName": None, "memory": 1024})
    previous = change_vm(connected, vm.id, {"keymapName": "de", "memory": 2048})
    assert previous == {"keymapName": None, "memory": 1024}
    assert change_vm(connected, vm.id, previous) == {"keymapName": "de", "memory": 2048}
    assert connected.get("Vm", vm.id)["keymapName"] is None
    # What may have been changed is known, although the answer is lost.
    simulator.fault("error", method="PUT", path="/Vm/*", times=0, code="GEN_000023", status=400)
    with pytest.raises(errors.ManagerResponseError) as caught:
        change_vm(connected, vm.id, {"memory": 2048})
    assert caught.value.details["previous"] == {"memory": 1024}


def test_the_vm_of_a_run_is_the_one_that_is_wanted(simulator: Any, connected: Any, vm: Any) -> None:
    elsewhere = identify(simulator, "Repository", "repo-fc")
    for name, changes, message in (
        ("other", {}, "name is 'again', not 'other'"),
        ("again", {"repositoryId": elsewhere}, f"definition.repositoryId is '.*', not '{elsewhere}'"),
    ):
        with pytest.raises(errors.InvalidInputError, match=message):
            ensure_vm(connected, WantedVm(name, definition_of(simulator, **changes)), run_id=RUN)
    more = WantedVm("again", definition_of(simulator, memory=4096))
    assert [ensure_vm(connected, more, run_id=RUN)[1] for _round in range(2)] == [True, False]
    assert connected.get("Vm", vm.id)["memory"] == 4096


def test_the_manager_tells_which_os_types_there_are(connected: Any) -> None:
    assert "Oracle Linux 7" in supported_os_types(connected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"definition": {"serverPoolId": None}}, "definition.serverPoolId is missing"),
        (
            {"definition": {"serverPoolId": "gone"}},
            "definition.serverPoolId: Oracle VM Manager has no server pool 'gone'",
        ),
        ({"definition": {"repositoryId": "gone"}}, "definition.repositoryId: .* has no storage repository 'gone'"),
        ({"definition": {"serverId": "gone"}}, "definition.serverId: Oracle VM Manager has no server 'gone'"),
        ({"name": ""}, "name is empty"),
        ({"disks": [(0, "gone.img")]}, "has no virtual disk 'gone.img'"),
        ({"disks": [(0, "EMPTY_CDROM")]}, "is a CD, no disk"),
        ({"disks": [(-1, "db01-sys")]}, "slot has to be from 0 to 1000000, not -1"),
        ({"disks": [(1, "a"), (1, "b")]}, "a slot can hold one disk"),
        ({"disks": [(0, "db01-sys")]}, "is mapped already and cannot be shared"),
        ({"nics": [(None, "gone")]}, r"Network gone is not on this manager; there are vm-net \(10238073c2\)"),
        ({"nics": [(MAC, NET), (MAC, NET)]}, "it is given twice"),
        ({"nics": [("db01", NET)]}, "cannot be used: VM 0004fb"),
    ],
)
def test_bad_input_touches_nothing(simulator: Any, connected: Any, changes: dict[str, Any], message: str) -> None:
    values = {"name": "again", "disks": [], "nics": [], **changes}
    values["definition"] = definition_of(simulator, **changes.get("definition", {}))
    names = {"db01-sys": identify(simulator, "VirtualDisk", "db01-sys")}
    values["disks"] = [(slot, names.get(which, which)) for slot, which in values["disks"]]
    taken = simulator._get(f"/Vm/{identify(simulator, 'Vm', 'db01')}/VirtualNic")[0]["macAddress"]
    values["nics"] = [(taken if mac == "db01" else mac, network) for mac, network in values["nics"]]
    for check in (True, False):
        with pytest.raises(errors.OvmBackupError, match=message):
            ensure_vm(connected, WantedVm(**values), run_id=RUN, check=check)
    assert writes(simulator) == []
