# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removing clones but for those that are kept, against the simulator; its fixture proves that a test leaves nothing."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils import errors
from ansible_collections.ovm.backup.plugins.module_utils.manager import clone_making
from ansible_collections.ovm.backup.plugins.module_utils.manager.clones import (
    Clone,
    Removal,
    ensure_clone,
    find_leftovers,
    remove_leftovers,
)


def remove(connected: Any, vm_id: str, own: str = "run-9", **options: Any) -> Removal:
    return remove_leftovers(connected, vm_id, of_run=lambda _run: True, own_run=own, **options)


def clone(connected: Any, vm_id: str, run_id: str) -> Clone:
    return ensure_clone(connected, vm_id, run_id=run_id)[0]


def definitions(simulator: Any) -> list[str]:
    return sorted(entry["name"] for entry in simulator._get("/VmCloneDefinition"))


def test_reference_survives_and_the_rest_goes(simulator: Any, connected: Any, db01: str) -> None:
    old, reference, own = (clone(connected, db01, f"run-{number}") for number in (1, 2, 3))
    foreseen = remove(connected, db01, "run-3", keep=[reference.id, "unknown"], check=True)
    assert len(find_leftovers(connected)) == 3
    done = remove(connected, db01, "run-3", keep=[reference.id, "unknown"])
    assert done == foreseen == Removal(True, (old.id, own.id), (reference.id,))
    assert find_leftovers(connected) == [reference]
    assert definitions(simulator) == []  # a clone that is marked needs none
    assert remove(connected, db01, keep=[reference.id]) == Removal(False, (), (reference.id,))
    assert remove(connected, db01) == Removal(True, (reference.id,))


def test_own_clone_becomes_the_reference(connected: Any, db01: str) -> None:
    reference, own = clone(connected, db01, "run-1"), clone(connected, db01, "run-2")
    assert remove(connected, db01, "run-2", keep_own=True) == Removal(True, (reference.id,), (own.id,))
    # What the recovery points say of the own clone does not count: the backup has said that it is not kept.
    assert remove(connected, db01, "run-2", keep=[own.id]) == Removal(True, (own.id,))


def test_clone_that_somebody_has_started(simulator: Any, connected: Any, db01: str) -> None:
    old, reference, own = (clone(connected, db01, f"run-{number}") for number in (1, 2, 3))
    for made in (old, reference):
        simulator.set_state(made.id, "RUNNING")
    done = remove(connected, db01, "run-3", keep=[reference.id])
    assert (done.removed, done.kept) == ((own.id,), (reference.id,))
    assert done.notes == (
        f'the clone "{old.name}" ({old.id}) of run run-1 is RUNNING: somebody uses it, so it was not removed',
        f'the clone "{reference.name}" ({reference.id}) of run run-2 is RUNNING: somebody uses it, so it cannot serve '
        "the next backup",
    )
    again = remove(connected, db01, keep=[reference.id])
    assert (again.changed, again.notes) == (False, done.notes)
    for made in (old, reference):
        simulator.set_state(made.id, "STOPPED")
    assert remove(connected, db01).removed == (old.id, reference.id)


def test_own_clone_that_somebody_has_started(simulator: Any, connected: Any, db01: str) -> None:
    own = clone(connected, db01, "run-1")
    simulator.set_state(own.id, "RUNNING")
    with pytest.raises(errors.PowerStateError, match="is RUNNING: somebody uses it"):
        remove(connected, db01, "run-1")
    kept = remove(connected, db01, "run-1", keep_own=True)
    assert (kept.kept, len(kept.notes)) == ((own.id,), 1)
    simulator.set_state(own.id, "STOPPED")
    assert remove(connected, db01, "run-1").removed == (own.id,)


def test_clone_that_is_not_marked_keeps_its_proof(
    simulator: Any, connected: Any, db01: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a mark, only the definition tells that it is ours."""

    def die(*_args: Any) -> Any:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(clone_making.CloneMaking, "_clean_up", lambda _self, _error: [])
        patch.setattr(clone_making.CloneMaking, "_finish", die)
        with pytest.raises(SystemExit):
            ensure_clone(connected, db01, run_id="run-1")
    (left,) = find_leftovers(connected)
    assert remove(connected, db01, keep=[left.id]) == Removal(False, (), (left.id,))
    simulator.set_state(left.id, "RUNNING")
    assert remove(connected, db01).changed is False
    assert definitions(simulator) == ["ovm.backup run-1"]
    simulator.set_state(left.id, "STOPPED")
    assert remove(connected, db01) == Removal(True, (left.id,))
    assert definitions(simulator) == []


def test_vm_that_is_gone_needs_no_reference(simulator: Any, connected: Any, db01: str) -> None:
    first, second = clone(connected, db01, "run-1"), clone(connected, db01, "run-2")
    listed = connected.list

    def without_the_vm(kind: str) -> Any:
        return [item for item in listed(kind) if item["id"]["value"] != db01]

    connected.list = without_the_vm
    done = remove(connected, db01, "run-2", keep=[first.id], keep_own=True)
    assert done.removed == (first.id, second.id)


def test_reference_that_is_gone(simulator: Any, connected: Any, db01: str) -> None:
    """Somebody deleted it by hand, with its disks: nothing is left to be done."""
    reference = clone(connected, db01, "run-1")
    remove(connected, db01, keep=[reference.id])
    simulator.delete_vm(reference.id, disks=True)
    assert remove(connected, db01, keep=[reference.id]) == Removal()


def test_what_the_mark_says(simulator: Any, connected: Any, db01: str) -> None:
    made = clone(connected, db01, "run-1")
    words = simulator.find("Vm", made.name)["description"].partition(" ovm.backup/1 ")[0]
    assert words == (
        "Hot clone made by ovm.backup, which keeps it for the next backup of the VM: do not start or change it. It may "
        "be deleted; the next backup then takes longer, because it reads the whole disks and compares hashes."
    )
    remove(connected, db01)
