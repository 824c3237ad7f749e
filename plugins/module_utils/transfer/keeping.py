# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Whether the clone that was read stays as the reference clone of the next backup."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import OvmBackupError
from ..images.types import DiskImage
from .request import BackupRequest


@dataclass(frozen=True)
class Keeping:
    """C(keep): the clone of this run stays; C(obsolete): an older reference clone is of no use any more."""

    keep: bool
    reason: str
    obsolete: bool


def decide_keeping(
    request: BackupRequest,
    images: Collection[DiskImage],
    doubts: Collection[str],
    types: Collection[str],
    *,
    compared: bool,
) -> Keeping:
    """Decide for a backup that has read C(images). C(doubts): why some of them can be no reference.

    C(compared): maps were compared with those of the reference clone, so that is still good.
    """
    plan: Mapping[str, Any] = request.plan
    if request.clone is None:
        return Keeping(False, "the VM was read itself", True)
    if not request.keep_reference:
        return Keeping(False, "no reference clone is kept (reference_clone: remove)", True)
    if doubts:
        return Keeping(False, next(iter(doubts)), True)
    for image in images:
        try:
            free, size = image.free_space()
        except (OSError, OvmBackupError) as error:
            return Keeping(False, f"how much is free where {image.name} lies cannot be told: {error}", True)
        if free * 100 < size * request.reference_space:
            text = f"{free} of {size} bytes are free where {image.name} lies, less than {request.reference_space} %"
            return Keeping(False, f"{text} (reference_space)", True)
    if set(types) == {"differential"} and not compared:
        return Keeping(False, "the next differential does not build on this recovery point", True)
    if set(types) == {"differential"}:
        # The next differential builds on the same full.
        return Keeping(False, f"the clone of full recovery point {plan['reference']['point_id']} stays", False)
    return Keeping(True, "the next increment compares its extent maps with it", True)
