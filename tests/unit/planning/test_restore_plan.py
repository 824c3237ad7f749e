# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a restore will do, and what a repeated one knows of the first: a pure function of facts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from unit.planning.estate import disk, inventory, vm
from unit.vault.builders import describe

from ansible_collections.ovm.backup.plugins.module_utils.errors import InvalidInputError
from ansible_collections.ovm.backup.plugins.module_utils.manager.clone_records import Purpose
from ansible_collections.ovm.backup.plugins.module_utils.manager.inventory import Inventory, Nic, Vm
from ansible_collections.ovm.backup.plugins.module_utils.manager.networks import Network
from ansible_collections.ovm.backup.plugins.module_utils.manager.restored_survey import Made, MadeDisk
from ansible_collections.ovm.backup.plugins.module_utils.planning.access import Access
from ansible_collections.ovm.backup.plugins.module_utils.planning.restore_plan import plan_restore
from ansible_collections.ovm.backup.plugins.module_utils.planning.restore_plan_types import RestorePlan
from ansible_collections.ovm.backup.plugins.module_utils.planning.restore_wishes import Wishes
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point, PointDisk

GIB = 1 << 30
POINT = "20261123T010203Z-0001"
NETWORKS = {"net1": Network("net1", "vm-net", True), "net2": Network("net2", "storage", False)}
IN_PLACE = Wishes(mode="in_place", confirm="db", stop=True)
ATTACH = Wishes(mode="attach", vm="helper")
NEW = Wishes(name="again")


def saved_disk(slot: int, **changes: Any) -> PointDisk:
    values: dict[str, Any] = {
        "slot": slot,
        "disk_id": f"disk-{slot}.img",
        "name": f"disk{slot}",
        "size": GIB,
        "type": "full",
        "reason": "",
        "base": None,
        "file": f"{slot}.img.zst",
        "file_size": 1,
        "header_hash": "",
        "content_hash": f"hash{slot}",
        "repository": "iscsi1",
        "statistics": {},
    }
    return PointDisk(**{**values, **changes})


def point(*disks: PointDisk, **changes: Any) -> Point:
    names: Any = SimpleNamespace(id=POINT, sequence=1, name="db")
    values = {"vm_id": "id-db", "vm_name": "db", "skipped_disks": (), **changes}
    return describe(names, names, disks or (saved_disk(0), saved_disk(1)), **values)


def document(**fields: Any) -> dict[str, Any]:
    named = {"value": "id-iscsi1", "name": "iscsi1"}
    return {
        "vm": {"memory": 512, "serverPoolId": {"value": "id-pool1"}, "repositoryId": named, **fields},
        "virtual_disks": [{"id": {"value": f"disk-{slot}.img"}, "repositoryId": named} for slot in (0, 1)],
        "virtual_nics": [
            {
                "id": {"value": "nic"},
                "macAddress": "00:21:F6:AA:00:01",
                "networkId": {"value": "net1", "name": "vm-net"},
            }
        ],
    }


def estate(*vms: Vm) -> Inventory:
    """The database and a helper, unless others are given; all storage repositories can be written on a path."""
    found = inventory(*(vms or (vm("db", disk(0), disk(1)), vm("helper", disk(0), state="STOPPED"))))
    servers = {key: replace(one, server_pool_id="id-pool1") for key, one in found.servers.items()}
    return replace(found, servers=servers)


def plan(wishes: Wishes, where: Inventory | None = None, **changes: Any) -> RestorePlan:
    where = where or estate()
    values: dict[str, Any] = {"needed": {0: 100, 1: 200}, **changes}
    given = values.pop("point", None) or point()
    access = values.pop("access", Access(mounted=frozenset(where.repositories)))
    return plan_restore(given, values.pop("document", document()), where, NETWORKS, wishes, access, **values)


def problems(wishes: Wishes, where: Inventory | None = None, **changes: Any) -> list[str]:
    with pytest.raises(InvalidInputError) as caught:
        plan(wishes, where, **changes)
    found: list[str] = caught.value.details["problems"]
    return found


def made_by(first: RestorePlan, *, done: bool = False, **changes: Any) -> Made:
    """Return the disks that the restore of a plan makes, with their marks."""
    disks = {}
    for one in first.disks:
        values = {"run_id": first.run_id, "on_disk": 0, "mapped": False, **changes}
        made = MadeDisk(
            id=f"new-{one.slot}.img",
            name=one.name,
            source_vm_id="id-db",
            repository_id=one.repository_id,
            purpose=Purpose(**{**one.purpose, "done": done}),
            **values,
        )
        disks[made.id] = made
    return Made(disks=disks)


def without(made: Made, left: Collection[str]) -> Made:
    """Return the same when the marks of all disks but these are gone."""
    return replace(made, disks={key: one for key, one in made.disks.items() if key in left})


# --- a repeated restore ----------------------------------------------------------------------------------------------


def test_killed_before_the_exchange_in_place() -> None:
    first = plan(IN_PLACE)
    assert (first.stop, first.start, first.was_running) == (True, True, True)
    assert [(one.previous, one.made, one.exchanged) for one in first.disks] == [
        ("disk-0.img", None, False),
        ("disk-1.img", None, False),
    ]
    # It had shut the VM down already.
    stopped = estate(vm("db", disk(0), disk(1), state="STOPPED"))
    again = plan(IN_PLACE, stopped, made=made_by(first))
    assert again.run_id == first.run_id
    assert (again.stop, again.start, again.was_running) == (False, True, True)
    assert [(one.previous, one.made, one.exchanged) for one in again.disks] == [
        ("disk-0.img", "new-0.img", False),
        ("disk-1.img", "new-1.img", False),
    ]
    assert [one.purpose for one in again.disks] == [one.purpose for one in first.disks]
    # Without what the first one has noted, it would stay off.
    assert not plan(IN_PLACE, stopped).start


def test_killed_in_the_middle_of_the_exchange_in_place() -> None:
    first = plan(replace(IN_PLACE, storage_repository="iscsi2"))
    half = estate(vm("db", disk(0, "iscsi2", id="new-0.img"), disk(1), state="STOPPED"))
    again = plan(replace(IN_PLACE, storage_repository="iscsi2"), half, made=made_by(first))
    assert (again.run_id, again.start) == (first.run_id, True)
    assert [(one.previous, one.exchanged) for one in again.disks] == [("disk-0.img", True), ("disk-1.img", False)]


def test_killed_between_taking_the_old_disk_out_and_putting_the_new_one_in() -> None:
    first = plan(IN_PLACE)
    empty = estate(vm("db", disk(1), state="STOPPED"))
    again = plan(IN_PLACE, empty, made=made_by(first))
    assert [(one.previous, one.held, one.exchanged) for one in again.disks] == [
        ("disk-0.img", None, False),
        ("disk-1.img", "disk-1.img", False),
    ]
    assert [one.purpose for one in again.disks] == [one.purpose for one in first.disks]


def test_so_was_a_disk_that_lay_elsewhere_when_it_was_backed_up() -> None:
    # The saved configuration says iscsi1, the VM had it on fc1: now that its slot is empty, only the new disk tells.
    first = plan(IN_PLACE, estate(vm("db", disk(0, "fc1"), disk(1))))
    assert first.disks[0].repository_id == "id-fc1"
    empty = estate(vm("db", disk(1), state="STOPPED"))
    again = plan(IN_PLACE, empty, made=made_by(first))
    assert (again.run_id, again.start) == (first.run_id, True)
    assert [(one.previous, one.made) for one in again.disks] == [
        ("disk-0.img", "new-0.img"),
        ("disk-1.img", "new-1.img"),
    ]
    # Neither a disk of another recovery point nor one that somebody wants elsewhere now.
    later = replace(point(), id="later")
    [problem] = problems(IN_PLACE, empty, made=made_by(first), point=later)
    assert "is not finished" in problem
    [problem] = problems(replace(IN_PLACE, storage_repository="iscsi2"), empty, made=made_by(first))
    assert "is not finished" in problem


def test_a_mapping_is_applied_once() -> None:
    wishes = replace(IN_PLACE, mapping={"storage_repositories": {"iscsi1": "iscsi2", "id-iscsi2": "fc1"}})
    first = plan(wishes)
    half = estate(vm("db", disk(0, "iscsi2", id="new-0.img"), disk(1), state="STOPPED"))
    assert plan(wishes, half, made=made_by(first)).run_id == first.run_id


def test_killed_when_all_was_done_in_place() -> None:
    first = plan(IN_PLACE)
    settings = {"vm": {"memory": 512}}
    on = estate(vm("db", disk(0, id="new-0.img"), disk(1, id="new-1.img"), document=settings))
    again = plan(IN_PLACE, on, made=made_by(first))
    assert (again.complete, again.stop, again.vm_id) == (True, False, "id-db")
    # Nothing is written any more: no way is needed, and no room.
    nothing = replace(on, repositories={key: replace(one, free_size=0) for key, one in on.repositories.items()})
    assert plan(IN_PLACE, nothing, made=made_by(first), access=Access()).complete
    assert [(one.previous, one.made) for one in again.disks] == [
        ("disk-0.img", "new-0.img"),
        ("disk-1.img", "new-1.img"),
    ]


@pytest.mark.parametrize("memory", [512, 1024])
def test_a_vm_that_was_started_with_half_of_it_is_left_alone(memory: int) -> None:
    first = plan(IN_PLACE)
    second = disk(1) if memory == 512 else disk(1, id="new-1.img")
    on = estate(vm("db", disk(0, id="new-0.img"), second, document={"vm": {"memory": memory}}))
    [problem] = problems(IN_PLACE, on, made=made_by(first))
    assert "is RUNNING with disks that this restore has put into its slots" in problem


def test_the_disks_of_another_restore_are_not_taken_for_those_of_the_vm() -> None:
    older = made_by(plan(IN_PLACE), run_id="restore-other")
    half = estate(vm("db", disk(0, id="new-0.img"), disk(1), state="STOPPED"))
    [problem] = problems(IN_PLACE, half, made=older)
    assert f"slot 0 of the VM holds a disk of another restore of recovery point {POINT}" in problem
    assert "(restore-other): repeat that one first" in problem


def test_two_restores_in_place_of_one_vm_are_not_made_at_once() -> None:
    older = made_by(plan(IN_PLACE), run_id="restore-other")
    [problem] = problems(IN_PLACE, made=older)
    assert problem == (
        f"another restore of recovery point {POINT} to VM 'db' is not finished (restore-other): wait for it if it "
        "still works, else repeat it with the same options, or remove its virtual disks by that id"
    )
    # Nor when it has exchanged a disk already, and another one is wanted.
    half = estate(vm("db", disk(0, id="new-0.img"), disk(1), state="STOPPED"))
    [problem] = problems(replace(IN_PLACE, slots=(1,)), half, made=older)
    assert "is not finished (restore-other)" in problem
    # It writes to no disk of the VM, and to no other VM.
    assert plan(NEW, made=older).run_id
    assert plan(ATTACH, estate(vm("helper", disk(0), state="STOPPED")), made=older).run_id


@pytest.mark.parametrize("mapped", [False, True], ids=["before", "after"])
def test_killed_while_disks_were_attached(mapped: bool) -> None:
    running = estate(vm("helper", disk(0)))
    wishes = replace(ATTACH, stop=True)
    first = plan(wishes, running)
    assert [one.target_slot for one in first.disks] == [1, 2]
    disks = (disk(0), disk(1, id="new-0.img")) if mapped else (disk(0),)
    again = plan(wishes, estate(vm("helper", *disks, state="STOPPED")), made=made_by(first))
    assert (again.run_id, again.start) == (first.run_id, True)
    assert [(one.target_slot, one.exchanged) for one in again.disks] == [(1, mapped), (2, False)]


def test_a_slot_that_was_taken_meanwhile_is_not_used() -> None:
    first = plan(ATTACH)
    taken = estate(vm("helper", disk(0), disk(1, id="other.img"), state="STOPPED"))
    assert [one.target_slot for one in plan(ATTACH, taken, made=made_by(first)).disks] == [3, 2]


def test_killed_while_a_new_vm_was_made() -> None:
    first = plan(NEW)
    nic = Nic("nic2", "00:21:f6:aa:00:01", "net1")
    made = vm("again", disk(0, id="new-0.img"), state="STOPPED", nics=(nic,))
    traces = replace(made_by(first), vms={"id-again": first.run_id})
    again = plan(NEW, estate(made), made=traces)
    assert (again.run_id, again.nics) == (first.run_id, first.nics)
    # One that was started has to have all.
    on = replace(made, state="RUNNING")
    [problem] = problems(NEW, estate(on), made=traces)
    assert "which this restore has made, is RUNNING already" in problem
    whole = replace(on, disks=(*on.disks, disk(1, id="new-1.img")))
    done = plan(NEW, estate(whole), made=traces)
    assert (done.complete, done.vm_id) == (True, "id-again")


def test_what_was_written_already_needs_no_space_again() -> None:
    small = estate()
    repositories = {key: replace(one, free_size=150) for key, one in small.repositories.items()}
    small = replace(small, repositories=repositories)
    [problem] = problems(IN_PLACE, small)
    assert problem == "300 bytes of data are needed in storage repository 'iscsi1', 150 are free"
    names = {key: replace(one, free_size=None) for key, one in small.repositories.items()}
    first = plan(IN_PLACE, replace(small, repositories=names))
    assert plan(IN_PLACE, small, made=made_by(first, on_disk=80)).needed == 300


@pytest.mark.parametrize("state", ["RUNNING", "STOPPED"])
@pytest.mark.parametrize("left", [("new-0.img", "new-1.img"), ("new-1.img",)], ids=["vm", "disk"])
def test_killed_while_the_marks_of_a_new_vm_were_taken_off(left: tuple[str, ...], state: str) -> None:
    first = plan(NEW)
    done = without(made_by(first, done=True), left)
    vms = (vm("again", disk(0, id="new-0.img"), disk(1, id="new-1.img"), state=state), vm("db", disk(0)))
    again = plan(NEW, estate(*vms), made=done)
    assert (again.run_id, again.complete, again.vm_id) == (first.run_id, True, "id-again")
    assert [one.made for one in again.disks if one.made] == [*left]
    # The same before the first mark was taken off.
    marked = replace(made_by(first, done=True), vms={"id-again": first.run_id})
    assert plan(NEW, estate(*vms), made=marked).complete
    # Nobody has done it all, and somebody else made the VM.
    [problem] = problems(NEW, estate(*vms), made=without(made_by(first), left))
    assert "there is a VM 'again' (id-again) already" in problem


@pytest.mark.parametrize("state", ["RUNNING", "STOPPED"])
def test_killed_while_the_marks_were_taken_off_in_place(state: str) -> None:
    first = plan(IN_PLACE)
    done = without(made_by(first, done=True), ["new-1.img"])
    restored = vm("db", disk(0, id="new-0.img"), disk(1, id="new-1.img"), state=state)
    again = plan(IN_PLACE, estate(restored), made=done)
    assert (again.run_id, again.complete, again.stop) == (first.run_id, True, False)
    # What has no mark any more is new, and no disk that was replaced.
    assert [(one.made, one.previous) for one in again.disks] == [(None, None), ("new-1.img", "disk-1.img")]
    # The guest may have worked before somebody switched it off.
    assert plan(IN_PLACE, estate(restored), made=made_by(first, done=True)).complete
    # Whatever somebody has set meanwhile.
    changed = replace(restored, state="RUNNING", document={"vm": {"memory": 1}})
    assert plan(IN_PLACE, estate(changed), made=made_by(first, done=True)).complete


def test_killed_while_the_marks_of_attached_disks_were_taken_off() -> None:
    first = plan(ATTACH)
    done = without(made_by(first, done=True), ["new-1.img"])
    helper = vm("helper", disk(0), disk(1, id="new-0.img"), disk(2, id="new-1.img"), state="STOPPED")
    again = plan(ATTACH, estate(helper), made=done)
    assert (again.run_id, again.complete) == (first.run_id, True)
    assert [one.made for one in again.disks] == [None, "new-1.img"]


# --- its id ----------------------------------------------------------------------------------------------------------


def test_another_target_is_another_restore() -> None:
    wishes = [
        NEW,
        replace(NEW, name="other"),
        replace(NEW, storage_repository="iscsi2"),
        replace(NEW, server="server1"),
        replace(NEW, slots=(0,)),
        IN_PLACE,
        replace(IN_PLACE, storage_repository="iscsi2"),
        ATTACH,
        replace(ATTACH, vm="db", stop=True),
    ]
    assert len({plan(one).run_id for one in wishes}) == len(wishes)
    # However it is called.
    assert plan(replace(ATTACH, vm="id-helper")).run_id == plan(ATTACH).run_id
    mapping = {"storage_repositories": {"iscsi1": "iscsi2"}}
    assert plan(replace(NEW, mapping=mapping)).run_id == plan(replace(NEW, storage_repository="id-iscsi2")).run_id
    later = plan(NEW, point=replace(point(), id="later"))
    assert later.run_id != plan(NEW).run_id


# --- what stands in the way ------------------------------------------------------------------------------------------


def test_a_server_of_another_pool_is_refused() -> None:
    where = estate()
    servers = {**where.servers, "id-server2": replace(where.servers["id-server2"], server_pool_id="id-pool2")}
    found = problems(replace(NEW, server="server2"), replace(where, servers=servers))
    assert "server 'server2' is in server pool 'pool2', not in 'pool1': pass another server or server_pool" in found


@pytest.mark.parametrize("wishes", [NEW, replace(NEW, server="server1"), IN_PLACE])
def test_a_storage_repository_that_the_vm_could_not_reach_is_refused(wishes: Wishes) -> None:
    where = estate()
    hidden = replace(where.repositories["id-iscsi1"], server_ids=("id-elsewhere",))
    [problem] = problems(wishes, replace(where, repositories={**where.repositories, hidden.id: hidden}))
    to = "server 'server1'" if wishes.server else "any server of server pool 'pool1'"
    assert problem.startswith(f"storage repository 'iscsi1' is not presented to {to}: ")


def test_mac_addresses_are_the_same_in_any_case() -> None:
    holder = vm("db", disk(0), nics=(Nic("n", "00:21:f6:aa:00:01", "net1"),))
    assert [nic["mac"] for nic in plan(NEW, estate(holder)).nics] == [None]
    [problem] = problems(replace(NEW, mac="keep"), estate(holder))
    assert problem == "network card 00:21:F6:AA:00:01: VM 'db' has this address: pass mac: new or auto"
    assert [nic["mac"] for nic in plan(NEW).nics] == ["00:21:F6:AA:00:01"]


def test_an_os_type_that_the_manager_does_not_know_is_refused() -> None:
    known = frozenset({"Oracle Linux 7", "Other Linux"})
    odd = document(osType="Oracle Linux 77")
    [problem] = problems(NEW, document=odd, os_types=known)
    assert "knows no osType 'Oracle Linux 77' (did you mean 'Oracle Linux 7'?): pass mapping.os_types" in problem
    mapped = replace(NEW, mapping={"os_types": {"Oracle Linux 77": "Other Linux"}})
    assert plan(mapped, document=odd, os_types=known).definition["osType"] == "Other Linux"
    assert plan(NEW, document=odd).definition["osType"] == "Oracle Linux 77"  # the manager does not tell


@pytest.mark.parametrize("state", ["SUSPENDED", "STARTING", "UNKNOWN"])
def test_a_vm_that_neither_runs_nor_is_stopped_is_refused(state: str) -> None:
    [problem] = problems(IN_PLACE, estate(vm("db", disk(0), disk(1), state=state)))
    assert problem == f"VM 'db' is {state}: let it run or stop it first"


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (disk(0, kind="physical"), "slot 0 of the VM holds a physical disk now: it is not replaced"),
        (disk(0, kind="cdrom"), "slot 0 of the VM holds a cdrom disk now: it is not replaced"),
        (disk(0, shared=True), "disk 'disk0' in slot 0 is shared with other VMs"),
    ],
)
def test_what_is_no_disk_of_the_vm_alone_is_not_replaced(held: Any, message: str) -> None:
    assert problems(IN_PLACE, estate(vm("db", held, disk(1)))) == [message]


def test_everything_is_named_at_once() -> None:
    odd = point(saved_disk(0, size=5), saved_disk(1, repository="gone", disk_id="x"))
    found = problems(replace(NEW, server_pool="pool9"), point=odd)
    assert len(found) == 3
    for part in ("no server pool 'pool9'", "its storage repository 'gone'", "has 5 bytes, no multiple of 4096"):
        assert any(part in problem for problem in found)


def test_a_vm_that_is_gone_and_names_that_exist() -> None:
    assert "any more: restore it as a new one" in problems(IN_PLACE, estate(vm("other")))[0]
    assert "the disks of VM 'db' would be replaced: pass its name in confirm, where 'x' stands" in problems(
        replace(IN_PLACE, confirm="x")
    )
    assert "there is a VM 'db' (id-db) already: pass another name, or mode: in_place" in problems(Wishes())


# --- what is done ----------------------------------------------------------------------------------------------------


def test_disks_of_one_name_are_told_apart() -> None:
    same = point(saved_disk(0, name="data"), saved_disk(1, name="data"), skipped_disks=({"slot": 5},))
    found = plan(NEW, point=same)
    assert [one.name for one in found.disks] == ["data (slot 0)", "data (slot 1)"]
    assert found.notes == ("disks in the slots 5 were not backed up and are not restored",)


def test_some_disks_leave_the_settings_alone() -> None:
    assert plan(IN_PLACE).definition == {"memory": 512}
    some = plan(replace(IN_PLACE, slots=(1,)))
    assert (some.definition, [one.slot for one in some.disks]) == ({}, [1])
    assert "it has no disk in slot 7; it has 0, 1" in problems(replace(IN_PLACE, slots=(1, 7)))


def test_a_disk_that_cannot_be_written_is_imported() -> None:
    where = estate()
    given = (point(), document(), where, NETWORKS)
    with pytest.raises(InvalidInputError, match="nothing can be written there"):
        plan_restore(*given, NEW, Access(), needed={})
    found = plan_restore(*given, replace(NEW, import_address="proxy1"), Access(), needed={})
    assert {one.source for one in found.disks} == {"import"}
