# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""How much a run may do at once: clone jobs, and VMs at work in a storage repository, on a server, on a proxy."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .reading import Problems, read_count, read_mapping


@dataclass(frozen=True)
class Limits:
    """C(0) is no limit.

    C(clones) are the clone jobs of a storage repository at one time: one, because that is what Oracle VM is known to
    stand (ovm-rest-api 11.2, 22). The others count VMs from the lock of the client to the end of the clean-up.
    """

    clones: int = 1
    repository: int = 0
    server: int = 0
    proxy: int = 0


@dataclass(frozen=True)
class Slot:
    """A place that a VM needs before it is worked on: one of C(limit) that all runs with the vault share."""

    name: str
    limit: int


def read_limits(value: Any, key: str, problems: Problems) -> Limits | None:
    """Read the key C(limits) of a subclient."""
    names = tuple(field.name for field in dataclasses.fields(Limits))
    mapping = read_mapping(value, key, names, problems)
    if mapping is None:
        return None
    given = {str(name): mapping[name] for name in names if mapping.get(name) is not None}
    counts = {name: read_count(number, f"{key}.{name}", problems) for name, number in given.items()}
    return Limits(**{name: number for name, number in counts.items() if number is not None})


def slots_of(
    limits: Limits, *, repository_ids: Iterable[str], server_ids: Iterable[str], proxy: str
) -> tuple[Slot, ...]:
    """Return the places that a VM needs: also those of servers that it is only read through."""
    wanted = [(f"repository-{item}", limits.repository) for item in dict.fromkeys(repository_ids)]
    wanted += [(f"server-{item}", limits.server) for item in dict.fromkeys(server_ids)]
    wanted.append((f"proxy-{proxy}", limits.proxy))
    return tuple(Slot(name, limit) for name, limit in wanted if limit)
