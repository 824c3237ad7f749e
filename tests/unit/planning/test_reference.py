# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the clone of the last backup can tell what has changed since."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.planning.estate import client, disk, inventory, plan, vm

from ansible_collections.ovm.backup.plugins.module_utils.manager.clone_records import Mark
from ansible_collections.ovm.backup.plugins.module_utils.manager.clones import is_ours
from ansible_collections.ovm.backup.plugins.module_utils.manager.inventory import Vm
from ansible_collections.ovm.backup.plugins.module_utils.planning.plan_types import VmPlan
from ansible_collections.ovm.backup.plugins.module_utils.planning.reference import Reference
from ansible_collections.ovm.backup.plugins.module_utils.planning.state import ClientState

IDENTITY = {"file_system": "ocfs2", "uuid": "u", "inode": 5, "size": 1, "mtime": 2, "ctime": 3}
GUEST = vm("guest", disk(0), disk(1, "fc1"))
FOUND = Reference("id-clone", "RUN", "P1")
STILL = "the clone of recovery point P1 is still there"
COMPARED = ("extent_maps", "compared with the clone of recovery point P1")


def mark(**changes: Any) -> str:
    values = {"kind": "clone", "manager_id": "manager", "vm_id": GUEST.id, "run_id": "RUN", "own_id": "id-clone"}
    return Mark(**{**values, **changes}).description()


def clone(*, marked: str | None = None, **fields: Any) -> Vm:
    """Return the reference clone of the guest, as it is when nobody has touched it."""
    disks = [
        disk(slot, where, id=f"copy-{slot}.img", path=f"/VirtualDisks/copy-{slot}.img")
        for slot, where in ((0, "iscsi1"), (1, "fc1"))
    ]
    values = {"id": "id-clone", "state": "STOPPED", "description": mark() if marked is None else marked}
    return vm("guest.ovm-backup.RUN", *fields.pop("disks", disks), **{**values, **fields})


def image(slot: int, where: str, **changes: Any) -> dict[str, Any]:
    values = {"clone_id": "id-clone", "repository_id": f"id-{where}", "path": f"/VirtualDisks/copy-{slot}.img"}
    return {**values, "identity": IDENTITY, **changes}


def state(*images: dict[str, Any] | None, field: str = "image", **fields: Any) -> ClientState:
    """Return the client of the guest, whose disks were read from these images."""
    known = client(GUEST, **fields)
    told = images or (image(0, "iscsi1"), image(1, "fc1"))
    disks = tuple(dataclasses.replace(one, **{field: what}) for one, what in zip(known.disks, told, strict=False))
    return dataclasses.replace(known, disks=disks)


def planned(guest: Vm, *others: Vm, known: ClientState | None, **settings: Any) -> VmPlan:
    run = {"is_ours": is_ours, **settings.pop("run", {})}
    found = plan(guest, *others, clients=[known] if known else (), run=run, **settings)
    return next(item for item in found.vms if item.vm_id == guest.id)


def changes(found: VmPlan) -> list[tuple[str, str]]:
    return [(one.changes, one.changes_reason) for one in found.disks]


def test_usable() -> None:
    found = planned(GUEST, clone(), known=state())
    assert (found.reference, found.reference_reason) == (FOUND, STILL)
    assert changes(found) == [COMPARED, COMPARED]


GONE = "the reference clone of recovery point P1 is gone from the manager"
NOT_OURS = "'guest.ovm-backup.RUN' was the reference clone of recovery point P1 and can no longer be proved to be ours"


@pytest.mark.parametrize(
    ("others", "known", "reason"),
    [
        ([], state(), GONE),
        ([clone(state="RUNNING")], state(), "the reference clone of recovery point P1 is RUNNING: somebody uses it"),
        ([clone(state="SUSPENDED")], state(),
            "the reference clone of recovery point P1 is SUSPENDED: somebody uses it"),
        ([clone(state="TEMPLATE")], state(), "the reference clone of recovery point P1 is TEMPLATE: somebody uses it"),
        ([clone(marked="")], state(), NOT_OURS),
        ([clone(marked=mark(vm_id="id-other"))], state(), NOT_OURS),
        ([clone(marked=mark(manager_id="other"))], state(), NOT_OURS),
        ([clone(marked=mark(own_id="id-first"))], state(), NOT_OURS),  # a clone of our clone
        ([clone()], state(None, None), "recovery point P1 does not tell which images it was read from"),
        ([clone()], state(image(0, "iscsi1"), None), "recovery point P1 does not tell which images it was read from"),
        ([clone()], state(image(0, "iscsi1", clone_id=None), image(1, "fc1", clone_id=None)),
            "recovery point P1 was not read from a clone that was kept"),
        ([clone()], state(image(0, "iscsi1"), image(1, "fc1", clone_id="id-2")),
            "the disks build on recovery points that were read from different clones"),
    ],
)  # fmt: skip
def test_not_usable(others: list[Vm], known: ClientState, reason: str) -> None:
    found = planned(GUEST, *others, known=known, exclude={"vms": []})
    assert (found.type, found.reference, found.reference_reason) == ("incremental", None, reason)
    assert changes(found) == [("hash", reason)] * 2


def test_policy_and_method() -> None:
    found = planned(GUEST, clone(), known=state(), reference_clone="remove")
    assert (found.reference, found.reference_reason) == (None, "no clone is kept (reference_clone: remove)")
    found = planned(dataclasses.replace(GUEST, state="STOPPED"), clone(), known=state())
    reason = "the disks are read from the VM itself, not from a clone"
    assert (found.method, found.reference, found.reference_reason) == ("cold", None, reason)
    assert changes(found) == [("hash", reason)] * 2
    found = planned(dataclasses.replace(GUEST, state="STARTING"), clone(), known=state())
    assert (found.action, found.reference, found.reference_reason) == ("skip", None, "the VM is not backed up")


def test_fulls_need_none() -> None:
    everything = ("all", "a full reads the whole disk")
    for known, backup_type in ((None, "incremental"), (state(), "full"), (state(distrust="x"), "incremental")):
        found = planned(GUEST, clone(), known=known, backup_type=backup_type)
        assert (found.reference, found.reference_reason) == (None, "all disks are backed up in full")
        assert changes(found) == [everything] * 2


def test_disks_one_by_one() -> None:
    """What is wrong with one disk leaves the others as they are."""
    guest = dataclasses.replace(GUEST, disks=(disk(0), disk(1, "fc1"), disk(2)))
    found = planned(guest, clone(), known=state())
    assert found.reference == FOUND
    assert changes(found) == [COMPARED, COMPARED, ("all", "a full reads the whole disk")]

    moved = dataclasses.replace(GUEST, disks=(disk(0), disk(1, "iscsi2")))
    found = planned(moved, clone(), known=state())
    assert (found.reference, found.reference_reason) == (FOUND, STILL)
    assert changes(found) == [COMPARED, ("hash", "disk 'disk1' (slot 1) was moved to another storage repository")]

    mapped = clone()
    mapped = dataclasses.replace(mapped, disks=(mapped.disks[0], dataclasses.replace(mapped.disks[1], shared=True)))
    found = planned(GUEST, mapped, known=state())
    reason = "the image of disk 'disk1' (slot 1) in the reference clone is mapped to other VMs too"
    assert changes(found) == [COMPARED, ("hash", reason)]

    found = planned(GUEST, clone(), known=state(image(0, "iscsi1"), image(1, "fc1", identity=None)))
    reason = "recovery point P1 does not tell the state of the image of disk 'disk1' (slot 1)"
    assert changes(found) == [COMPARED, ("hash", reason)]


def test_a_clone_without_any_of_the_images() -> None:
    found = planned(GUEST, clone(disks=[disk(0, path="/VirtualDisks/x.img")]), known=state())
    reasons = [f"the reference clone no longer has the image of disk 'disk{slot}' (slot {slot})" for slot in (0, 1)]
    assert (found.reference, found.reference_reason) == (None, "; ".join(reasons))
    assert changes(found) == [("hash", reason) for reason in reasons]


def test_differentials_are_compared_with_the_clone_of_the_full() -> None:
    on = {"settings": {"bEnableVSADifferentialBackup": True}}
    known = state(field="full_image")
    found = planned(GUEST, clone(), known=known, run=on, backup_type="differential")
    assert found.reference == Reference("id-clone", "RUN", "P0")
    found = planned(GUEST, clone(), known=known)
    assert found.reference_reason == "recovery point P1 does not tell which images it was read from"


def test_the_reference_clone_is_no_vm_to_back_up() -> None:
    found = plan(GUEST, clone(), clients=[state()], run={"is_ours": is_ours})
    assert [item.vm_id for item in found.vms] == [GUEST.id]


ODD = st.sampled_from([None, "", 0, [], {}, "id-clone", "id-other", "/VirtualDisks/copy-0.img", "id-iscsi1"])
IMAGES = st.none() | st.dictionaries(st.sampled_from(["clone_id", "repository_id", "path", "identity"]), ODD)


@given(
    images=st.tuples(IMAGES | st.just(image(0, "iscsi1")), IMAGES | st.just(image(1, "fc1"))),
    there=st.booleans(),
    power=st.sampled_from(["STOPPED", "RUNNING", "STOPPING", "new"]),
    marked=st.sampled_from([None, "", mark(vm_id="id-other")]),
    policy=st.sampled_from(["keep", "remove"]),
)
def test_a_reference_is_only_what_is_proved(
    images: tuple[Any, Any], there: bool, power: str, marked: str | None, policy: str
) -> None:
    """Whatever a manifest holds: the clone exists, is ours, is off, and has an image of each disk that relies on it."""
    others = [clone(state=power, marked=marked)] if there else []
    found = planned(GUEST, *others, known=state(*images), reference_clone=policy)
    assert found.reference_reason
    by_maps = [one for one in found.disks if one.changes == "extent_maps"]
    assert (found.reference is None) == (not by_maps)
    if by_maps:
        assert (there, power, marked, policy) == (True, "STOPPED", None, "keep")
        assert found.reference == FOUND
        kept = {(one.repository_id, one.path) for one in inventory(*others).vms["id-clone"].disks}
        for one in by_maps:
            told = images[one.slot]
            assert (told["repository_id"], told["path"]) in kept
            assert told["identity"]
            assert told["repository_id"] == one.repository_id
