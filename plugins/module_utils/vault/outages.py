# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""How long the last backups of a client kept its VM down: a small file beside its recovery points.

It is cheap to read for every client of a plan, which the records of jobs are not. It only helps to foresee the next
outage, so a file that is missing or damaged is no history and no error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import CorruptVaultError
from .files import is_folder, read_json, write_json

FILE_NAME = "outages.json"
_KEPT = 10


@dataclass(frozen=True)
class Outage:
    """An outage that ended with a recovery point. C(seconds) it lasted, C(ended) in epoch seconds.

    C(two_pass): the disks had been read before it; C(type) is that of the recovery point.
    """

    seconds: float
    ended: float
    two_pass: bool
    type: str


def measured_outage(seconds: float, ended: float, point: Mapping[str, Any]) -> Outage:
    """Return the outage of the backup that made a recovery point (in plain JSON types)."""
    return Outage(seconds, ended, "first_pass" in point["durations"], str(point["type"]))


def read_outages(directory: str) -> tuple[Outage, ...]:
    """Return the measured outages in a client's folder, oldest first."""
    try:
        found = read_json(os.path.join(directory, FILE_NAME))["outages"]
        return tuple(
            Outage(float(one["seconds"]), float(one["ended"]), bool(one["two_pass"]), str(one["type"])) for one in found
        )
    except (OSError, CorruptVaultError, KeyError, TypeError, ValueError):
        return ()


def add_outage(directory: str, outage: Outage) -> None:
    """Add a measured outage and forget the oldest. The file is replaced whole, so no lock is needed."""
    if not is_folder(directory):
        return
    kept = (*read_outages(directory), outage)[-_KEPT:]
    write_json(os.path.join(directory, FILE_NAME), {"outages": [asdict(one) for one in kept]})
