# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Room for the next clone where the reference clone of a VM has used up the free space of its storage repository.

A reference clone costs what the VM writes afterwards. It only saves the next backup work, and the next backup needs a
clone: so where no space is left, it goes.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Callable

from ..errors import JobFailedError
from .clone_making import Turn, no_turn
from .clone_records import Clone
from .clones import Removal, ensure_clone, remove_leftovers
from .objects import text

if TYPE_CHECKING:
    from .client import ManagerClient
    from .clone_survey import Survey

# The manager passes on what its server says, which is the text of the operating system (ovm-rest-api 5.2).
_NO_SPACE = re.compile(r"no space left|(not enough|insufficient|out of)\b.{0,20}\bspace|disk (is )?full", re.IGNORECASE)


def lacks_space(error: JobFailedError) -> bool:
    """Whether the manager says that a job failed because a storage repository is full."""
    return _NO_SPACE.search(text(error.details, "reason") or error.message) is not None


def ensure_clone_with_room(
    client: ManagerClient,
    vm_id: str,
    *,
    run_id: str,
    room_of: Callable[[str], bool] | None,
    slots: Collection[int] | None = None,
    turn: Turn = no_turn,
    survey: Survey | None = None,
) -> tuple[Clone, bool, Removal]:
    """Return what ensure_clone does, and what was removed for it.

    If there is no space for the clone, the other clones of the runs for which ``room_of`` holds are removed, reference
    clones too, and it is tried once more. Raises as ensure_clone does; the error says so if they were removed in vain.
    """
    try:
        clone, created = ensure_clone(client, vm_id, run_id=run_id, slots=slots, turn=turn, survey=survey)
        return clone, created, Removal()
    except JobFailedError as error:
        if room_of is None or not lacks_space(error):
            raise
        others, lack = room_of, error
    removal = remove_leftovers(client, vm_id, of_run=lambda run: run != run_id and others(run))
    if not removal.removed:
        raise lack
    told = f"there was no space for another clone, so reference clone {', '.join(removal.removed)} was removed"
    try:
        clone, created = ensure_clone(client, vm_id, run_id=run_id, slots=slots, turn=turn)
    except JobFailedError as error:
        error.add(f" Before, {told}.")
        raise
    return clone, created, replace(removal, told=(f"{told}, and changes are found by hashes: {lack.message}",))
