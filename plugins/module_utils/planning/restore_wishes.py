# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What a restore of a VM is asked for, read and checked key by key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._reading import Problems, problem_details, problem_text
from ..errors import InvalidInputError
from .reading import did_you_mean, quoted

# Which wishes make sense in which modes only.
_ONLY_FOR = {
    "name": ("new",),
    "server_pool": ("new",),
    "server": ("new",),
    "vm": ("attach",),
    "confirm": ("in_place",),
    "stop": ("in_place", "attach"),
}
MAPPED = ("storage_repositories", "networks", "server_pools", "servers", "os_types")


@dataclass(frozen=True)
class Wishes:
    """What the VM of a restore is to be. Storage repositories, networks, pools and servers are names or ids.

    C(vm) is the VM that gets disks more, by name or id. C(mapping) gives, for each of C(MAPPED), the new one for an old
    one. C(confirm) is the name of the VM whose disks may be replaced, C(stop) whether a VM may be shut down for it.
    C(import_address) is where servers reach the proxy, for what it cannot write itself.
    """

    mode: str = "new"
    name: str | None = None
    vm: str | None = None
    storage_repository: str | None = None
    server_pool: str | None = None
    server: str | None = None
    mac: str = "auto"
    slots: tuple[int, ...] | None = None
    mapping: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    confirm: str | None = None
    stop: bool = False
    start: bool = False
    import_address: str | None = None

    def mapped(self, kind: str, old_id: str | None, old_name: str | None) -> str | None:
        """Return what an old object becomes by the mapping, if it says so."""
        table = self.mapping.get(kind, {})
        return table.get(old_id or "") or table.get(old_name or "")


def read_mapping(value: Any) -> dict[str, dict[str, str]]:
    """Return a mapping as C(Wishes) has it; raise C(InvalidInputError) with all problems."""
    problems = Problems()
    found: dict[str, dict[str, str]] = {}
    if not isinstance(value, Mapping):
        problems.add("mapping", value, "must be a mapping with " + ", ".join(MAPPED))
        value = {}
    for kind, table in value.items():
        if kind not in MAPPED:
            problems.add(
                f"mapping.{kind}", table, f"is unknown{did_you_mean(str(kind), MAPPED)}; there are {', '.join(MAPPED)}"
            )
        elif not isinstance(table, Mapping):
            problems.add(f"mapping.{kind}", table, "must be a mapping of old names or ids to new ones")
        else:
            found[kind] = {}
            for old, new in table.items():
                if not isinstance(new, str) or not new:
                    problems.add(f"mapping.{kind}.{old}", new, "must be a name or an id")
                else:
                    found[kind][str(old)] = new
    if problems.found:
        raise InvalidInputError(problem_text("The mapping", problems.found), **problem_details(problems.found))
    return found


def check_wishes(wishes: Wishes) -> None:
    """Raise C(InvalidInputError) for wishes that contradict each other."""
    for name, modes in _ONLY_FOR.items():
        value = getattr(wishes, name)
        if value and wishes.mode not in modes:
            raise InvalidInputError(
                f"{name}: {quoted(str(value))} has no meaning for mode: {wishes.mode}; it is for {' and '.join(modes)}",
                option=name,
            )
    if wishes.mode == "attach" and wishes.vm is None:
        raise InvalidInputError("vm is missing: mode: attach needs the name or id of a VM", option="vm")
    if wishes.slots is not None and not wishes.slots:
        raise InvalidInputError("slots must not be an empty list: leave it out to restore all disks", option="slots")
