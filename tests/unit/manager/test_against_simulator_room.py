# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A clone for which there is no space while a reference clone is there, against the simulator."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils import errors
from ansible_collections.ovm.backup.plugins.module_utils.manager.clone_room import ensure_clone_with_room, lacks_space
from ansible_collections.ovm.backup.plugins.module_utils.manager.clones import (
    ensure_clone,
    find_leftovers,
    remove_clone,
)

# What the server of a full storage repository says (the words around it are those of ovm-rest-api 5.2).
FULL = "OVMAPI_4010E Attempt to send command: clone failed. Server error: [Errno 28] No space left on device"


def of_run_1(run_id: str) -> bool:
    return run_id == "run-1"


def test_reference_clone_goes_for_lack_of_space(simulator: Any, connected: Any, db01: str) -> None:
    reference, other = (ensure_clone(connected, db01, run_id=run)[0] for run in ("run-1", "other-vault"))
    simulator.job_fault("vm.clone", message=FULL)
    clone, created, removal = ensure_clone_with_room(connected, db01, run_id="run-2", room_of=of_run_1)
    assert created and removal.removed == (reference.id,)
    assert [found.id for found in find_leftovers(connected)] == [other.id, clone.id]
    (note,) = removal.notes
    told = (
        f"there was no space for another clone, so reference clone {reference.id} was removed, and changes are found by"
    )
    assert note.startswith(told) and "No space left on device" in note
    for left in (other, clone):
        remove_clone(connected, left.id)


def test_reference_clone_that_went_in_vain(simulator: Any, connected: Any, db01: str) -> None:
    reference, _created = ensure_clone(connected, db01, run_id="run-1")
    simulator.job_fault("vm.clone", message=FULL, times=2)
    with pytest.raises(errors.JobFailedError, match=f"Before, there was no space .* clone {reference.id} was removed"):
        ensure_clone_with_room(connected, db01, run_id="run-2", room_of=of_run_1)
    assert find_leftovers(connected) == []


@pytest.mark.parametrize("trouble", ["other", "nothing to remove", "not allowed"])
def test_reference_clone_that_does_not_go(simulator: Any, connected: Any, db01: str, trouble: str) -> None:
    reference, _created = ensure_clone(connected, db01, run_id="run-3" if trouble == "nothing to remove" else "run-1")
    simulator.job_fault("vm.clone", message="OVMAPI_4010E the server is down" if trouble == "other" else FULL)
    allowed = None if trouble == "not allowed" else of_run_1
    with pytest.raises(errors.JobFailedError, match='VM "db01" was not cloned'):
        ensure_clone_with_room(connected, db01, run_id="run-2", room_of=allowed)
    assert [found.id for found in find_leftovers(connected)] == [reference.id]
    remove_clone(connected, reference.id)


@pytest.mark.parametrize(
    ("text", "full"),
    [
        (FULL, True),
        ("OVMRU_002000E There is not enough free space in repository repo1", True),
        ("Insufficient disk space", True),
        ("OVMRU_005002E Operation not allowed- Virtual Machine: spaceship, is not STOPPED", False),
        ("", False),
    ],
)
def test_what_is_lack_of_space(text: str, full: bool) -> None:
    assert lacks_space(errors.JobFailedError(f"not cloned: {text}", reason=text)) is full
