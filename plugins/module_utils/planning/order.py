# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The order of VMs in a run: round robin over storage repositories, the least recently protected first in each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """A VM that waits for its backup."""

    vm_id: str
    vm_name: str
    repository_id: str  # of its first disk that is backed up
    protected_at: float | None  # epoch seconds of the newest healthy recovery point; None: never protected

    @property
    def urgency(self) -> tuple[float, str, str]:
        """Sorts the least recently protected first; equals by name, then id."""
        return (float("-inf") if self.protected_at is None else self.protected_at, self.vm_name, self.vm_id)


def round_robin(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the candidates in the order of their backups.

    Each round takes the most urgent VM of every storage repository that has one left, so neighbours load different
    storage while more than one repository has VMs left, and an interrupted run does not starve the same VMs again.
    """
    queues: dict[str, list[Candidate]] = {}
    for candidate in sorted(candidates, key=lambda item: item.urgency):
        # The most urgent VM of all opens the first queue, and so on: the queues are in order, too.
        queues.setdefault(candidate.repository_id, []).append(candidate)
    rounds = max((len(queue) for queue in queues.values()), default=0)
    return [queue[number] for number in range(rounds) for queue in queues.values() if number < len(queue)]
