# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Content rules: which VM is in a subclient, by which rule; which VM and which disk a filter takes out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Callable

from ..manager.inventory import Disk, Inventory, Vm
from .patterns import Pattern
from .reading import Problem, did_you_mean, quoted

# The manager's names of vmRunState (ovm-rest-api 9.1).
POWER_STATES = ("RUNNING", "STOPPED", "SUSPENDED", "STARTING", "STOPPING", "TEMPLATE")
OPERATORS = ("equals", "not_equals")


def _repository_names(ids: Iterable[str | None], inventory: Inventory) -> Iterator[str]:
    for repository_id in dict.fromkeys(item for item in ids if item):
        yield repository_id
        if repository_id in inventory.repositories:
            yield inventory.repositories[repository_id].name


def _repositories(vm: Vm, inventory: Inventory) -> Iterator[str]:
    virtual = (disk.repository_id for disk in vm.disks if disk.kind == "virtual")
    return _repository_names([vm.repository_id, *virtual], inventory)


def _server(vm: Vm, inventory: Inventory) -> Iterator[str]:
    if vm.server_id:
        yield vm.server_id
        if vm.server_id in inventory.servers:
            yield inventory.servers[vm.server_id].name


def _server_pool(vm: Vm, inventory: Inventory) -> Iterator[str]:
    if vm.server_pool_id:
        yield vm.server_pool_id
        if vm.server_pool_id in inventory.server_pools:
            yield inventory.server_pools[vm.server_pool_id]


# The texts of a VM that a rule compares: it matches if any of them fits.
_VALUES: dict[str, Callable[[Vm, Inventory], Iterable[str]]] = {
    "name": lambda vm, inventory: (vm.name,),
    "id": lambda vm, inventory: (vm.id,),
    "repository": _repositories,
    "server": _server,
    "server_pool": _server_pool,
    "guest_os": lambda vm, inventory: (vm.os_type,),
    "power_state": lambda vm, inventory: (vm.state,),
    "tag": lambda vm, inventory: vm.tags,
    "domain_type": lambda vm, inventory: (vm.domain_type,),
    "template": lambda vm, inventory: ("true" if vm.is_template else "false",),
}
FIELDS = tuple(_VALUES)
DISK_FIELDS = ("name", "slot", "repository")


@dataclass(frozen=True)
class Rule:
    """One field of a VM compared with patterns. C(key) is its path in the definition."""

    key: str
    field: str
    patterns: tuple[Pattern, ...]
    negated: bool = False

    def matches(self, vm: Vm, inventory: Inventory) -> bool:
        return any(self.fits(pattern, vm, inventory) for pattern in self.patterns) is not self.negated

    def fits(self, pattern: Pattern, vm: Vm, inventory: Inventory) -> bool:
        return any(pattern.matches(value) for value in _VALUES[self.field](vm, inventory))

    def __str__(self) -> str:
        return f"{self.field} {'not_equals' if self.negated else 'equals'} {_listed(self.patterns)}"


@dataclass(frozen=True)
class Group:
    """Rules of which a VM has to match all, or any."""

    key: str
    rules: tuple[Rule, ...]
    match_any: bool = False

    def reason(self, vm: Vm, inventory: Inventory) -> str | None:
        """Return by which rules the VM matches, with their key path; C(None) if it does not."""
        if self.match_any:
            for rule in self.rules:
                if rule.matches(vm, inventory):
                    return f"{rule.key}: {rule}"
            return None
        if all(rule.matches(vm, inventory) for rule in self.rules):
            return f"{self.key}: {' and '.join(str(rule) for rule in self.rules)}"
        return None


@dataclass(frozen=True)
class DiskFilter:
    """One field of a disk compared with patterns, or with slots: a disk that matches is taken out."""

    key: str
    field: str
    patterns: tuple[Pattern, ...] = ()
    slots: tuple[int, ...] = ()

    def matches(self, disk: Disk, inventory: Inventory) -> bool:
        if self.field == "slot":
            return disk.slot in self.slots
        values = [disk.name] if self.field == "name" else _repository_names([disk.repository_id], inventory)
        return any(pattern.matches(value) for value in values for pattern in self.patterns)

    def __str__(self) -> str:
        values = ", ".join(map(str, self.slots)) if self.field == "slot" else _listed(self.patterns)
        return f"{self.key}: {self.field} equals {values}"


@dataclass(frozen=True)
class Selected:
    """A VM that the content identifies, and by which rule."""

    vm: Vm
    selected_by: str


@dataclass(frozen=True)
class Excluded:
    """A VM that the content identifies and a filter takes out."""

    vm_id: str
    vm_name: str
    selected_by: str
    excluded_by: str


@dataclass(frozen=True)
class Selection:
    """What a content selects: C(empty) are the rules and groups that select nothing, C(warnings) lesser doubts."""

    selected: tuple[Selected, ...]
    excluded: tuple[Excluded, ...]
    empty: tuple[Problem, ...]
    warnings: tuple[str, ...]


def select(
    content: tuple[Group, ...], exclude: tuple[Group, ...], vms: tuple[Vm, ...], inventory: Inventory
) -> Selection:
    """Return which of the VMs are in, which of those a filter takes out, and which rules select nothing."""
    selected: list[Selected] = []
    excluded: list[Excluded] = []
    for vm in vms:
        selected_by = _first_reason(content, vm, inventory)
        if selected_by is None:
            continue
        excluded_by = _first_reason(exclude, vm, inventory)
        if excluded_by is None:
            selected.append(Selected(vm, selected_by))
        else:
            excluded.append(Excluded(vm.id, vm.name, selected_by, excluded_by))
    empty = [problem for group in content for problem in _selects_nothing(group, vms, inventory)]
    if not selected and not empty:
        empty.append(Problem("exclude.vms", None, "takes out every VM that the content selects"))
    warnings = [text for group in content for rule in group.rules for text in _idle_values(rule, vms, inventory)]
    return Selection(tuple(selected), tuple(excluded), tuple(empty), tuple(warnings))


def _first_reason(groups: tuple[Group, ...], vm: Vm, inventory: Inventory) -> str | None:
    reasons = (group.reason(vm, inventory) for group in groups)
    return next((reason for reason in reasons if reason is not None), None)


def _selects_nothing(group: Group, vms: tuple[Vm, ...], inventory: Inventory) -> list[Problem]:
    """Return the rules of a group that match no VM; if each matches one, whether the group as a whole selects none."""
    problems = [
        Problem(rule.key, _values(rule), f"{rule} matches no VM of the manager{_hint(rule, vms, inventory)}")
        for rule in group.rules
        if not rule.negated and not any(rule.matches(vm, inventory) for vm in vms)
    ]
    if not problems and not any(group.reason(vm, inventory) for vm in vms):
        text = " and ".join(str(rule) for rule in group.rules)
        problems.append(Problem(group.key, None, f"no VM of the manager matches the whole group: {text}"))
    return problems


def _idle_values(rule: Rule, vms: tuple[Vm, ...], inventory: Inventory) -> Iterator[str]:
    """Name the values of a rule that match no VM, if others of its values do."""
    idle = [pattern for pattern in rule.patterns if not any(rule.fits(pattern, vm, inventory) for vm in vms)]
    if len(idle) < len(rule.patterns) and not rule.negated:
        for pattern in idle:
            yield f"{rule.key}: {rule.field} {quoted(pattern.text)} matches no VM of the manager"


def _hint(rule: Rule, vms: tuple[Vm, ...], inventory: Inventory) -> str:
    """Return what the user may have meant: names that the manager has."""
    if rule.field == "template":
        return ""
    actual = sorted({value for vm in vms for value in _VALUES[rule.field](vm, inventory)})
    for pattern in rule.patterns:
        if "[" in pattern.text and pattern.text.casefold() in (value.casefold() for value in actual):
            return f" ({quoted(pattern.text)} exists, but [ ] is a set of characters: write [[] for a bracket itself)"
        hint = did_you_mean(pattern.text, actual)
        if hint:
            return hint
    return ""


def _values(rule: Rule) -> list[str]:
    return [pattern.text for pattern in rule.patterns]


def _listed(patterns: tuple[Pattern, ...]) -> str:
    return " or ".join(quoted(pattern.text) for pattern in patterns)
