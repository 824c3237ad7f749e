# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Coverage: which VMs of the manager are protected, by which subclients, and how old their newest good point is.

A pure function of all subclients, the inventory, the state of the vault, and time. It asks what each subclient would
select, not what its last run did: a VM that was made a minute ago and is selected by nobody shows at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Callable

from ..errors import SubclientError
from ..manager.inventory import Disk, Inventory, Vm
from ..vault.manifest import CLOCK_TOLERANCE
from .content import Selection, select
from .disks import DiskChoice, SkippedDisk, choose_disks, disk_label
from .durations import format_duration
from .method import decide_method
from .reading import Problems, kind_of, problem_details, quoted
from .state import ClientState, GoodPoint, VaultState
from .subclient import Subclient

PROTECTED, LATE, NEVER = "protected", "late", "never"
UNPROTECTED, EXCLUDED, CANNOT, TEMPLATE = "unprotected", "excluded", "cannot", "template"
STATES = (UNPROTECTED, NEVER, LATE, CANNOT, EXCLUDED, PROTECTED, TEMPLATE)  # what needs attention first


@dataclass(frozen=True)
class Membership:
    """A subclient whose content identifies a VM: by which rules, and which filter takes it out again, if one does."""

    subclient: str
    selected_by: str
    excluded_by: str | None = None
    max_age: int = 0  # seconds, 0: none is promised


@dataclass(frozen=True)
class VmCoverage:
    """What protects one VM. Ages in seconds; C(promised_age) is the shortest that a subclient promises, 0 for none."""

    vm_id: str
    vm_name: str
    power_state: str
    client: str | None
    state: str
    reason: str
    selected_by: tuple[Membership, ...] = ()
    excluded_by: tuple[Membership, ...] = ()
    promised_age: int = 0
    newest_good: GoodPoint | None = None
    age: float | None = None
    physical_disks: tuple[str, ...] = ()
    skipped_disks: tuple[SkippedDisk, ...] = ()  # no subclient backs them up
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Orphan:
    """A client of the vault whose VM the manager no longer has."""

    client: str
    vm_id: str
    vm_name: str
    newest_good: GoodPoint | None
    age: float | None


@dataclass(frozen=True)
class Coverage:
    """The whole report. C(elsewhere) counts the clients whose VMs belong to other managers."""

    vms: tuple[VmCoverage, ...]
    orphans: tuple[Orphan, ...]
    our_clones: int
    elsewhere: int
    warnings: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Return how many VMs are in each state."""
        return {state: sum(vm.state == state for vm in self.vms) for state in STATES}

    def as_dict(self) -> dict[str, Any]:
        """Return the report in plain JSON types."""
        return {
            "vms": [_plain(vm) for vm in self.vms],
            "orphaned_clients": [_plain(orphan) for orphan in self.orphans],
            "counts": self.counts,
            "our_clones": self.our_clones,
            "clients_of_other_managers": self.elsewhere,
            "subclient_warnings": list(self.warnings),
        }


def parse_subclients(definitions: Mapping[str, Any]) -> tuple[Subclient, ...]:
    """Return all subclients by name; raise one C(SubclientError) that lists what is wrong with any of them."""
    found, errors = [], []
    for name in sorted(definitions, key=str):
        definition = definitions[name]
        if not isinstance(definition, Mapping):
            problems = Problems()
            problems.add("", definition, f"must be a mapping with the keys of a subclient, not {kind_of(definition)}")
            text = f"subclient {quoted(name)}: {problems.found[0]}"
            errors.append(SubclientError(text, subclient=str(name), **problem_details(problems.found)))
            continue
        try:
            found.append(Subclient.parse(name, definition))
        except SubclientError as error:
            errors.append(error)
    if errors:
        raise SubclientError("\n".join(error.message for error in errors), **errors[0].details)
    return tuple(found)


def assess(
    subclients: Sequence[Subclient],
    inventory: Inventory,
    vault: VaultState,
    *,
    now: float,
    is_ours: Callable[[Vm], bool],
    grace: int = 0,
) -> Coverage:
    """Return what protects each VM of the manager at the time C(now) (epoch seconds).

    A VM is late when its newest good recovery point is older than its promised age and C(grace) seconds. A rule that
    matches nothing is a warning: the report is about the VMs that there are.
    """
    vms = tuple(vm for vm in inventory.vms.values() if not is_ours(vm))
    selections = [
        (subclient, select(subclient.content, subclient.exclude_vms, vms, inventory)) for subclient in subclients
    ]
    states = vault.by_vm()
    judge = _Judge(inventory, states, selections, now, grace)
    covered = sorted((judge.vm(vm) for vm in vms), key=lambda vm: (STATES.index(vm.state), vm.vm_name, vm.vm_id))
    gone = [state for state in states.values() if state.vm_id not in inventory.vms]
    orphans = [state for state in gone if _manager_of(state) in (None, inventory.manager_id)]
    return Coverage(
        vms=tuple(covered),
        orphans=tuple(sorted((judge.orphan(state) for state in orphans), key=lambda orphan: orphan.client)),
        our_clones=len(inventory.vms) - len(vms),
        elsewhere=len(gone) - len(orphans),
        warnings=tuple(_doubts(selections)),
    )


def _manager_of(state: ClientState) -> str | None:
    return state.newest_good.manager_id if state.newest_good is not None else None


def _doubts(selections: Sequence[tuple[Subclient, Selection]]) -> list[str]:
    return [
        f"subclient {quoted(subclient.name)}: {text}"
        for subclient, selection in selections
        for text in (*map(str, selection.empty), *selection.warnings)
    ]


class _Judge:
    """What all VMs of a report have in common."""

    def __init__(
        self,
        inventory: Inventory,
        states: Mapping[str, ClientState],
        selections: Sequence[tuple[Subclient, Selection]],
        now: float,
        grace: int,
    ) -> None:
        self.inventory = inventory
        self.states = states
        self.now = now
        self.grace = grace
        self.selected: dict[str, list[tuple[Subclient, str]]] = {}
        self.excluded: dict[str, list[Membership]] = {}
        for subclient, selection in selections:
            for item in selection.selected:
                self.selected.setdefault(item.vm.id, []).append((subclient, item.selected_by))
            for out in selection.excluded:
                member = Membership(subclient.name, out.selected_by, out.excluded_by, subclient.max_age)
                self.excluded.setdefault(out.vm_id, []).append(member)

    def orphan(self, state: ClientState) -> Orphan:
        return Orphan(state.client, state.vm_id, state.vm_name, state.newest_good, self._age(state.newest_good))

    def vm(self, vm: Vm) -> VmCoverage:
        subclients = self.selected.get(vm.id, [])
        choices = [(one, choose_disks(vm, one.exclude_disks, self.inventory)) for one, _rule in subclients]
        protecting = [(one, choice) for one, choice in choices if choice.wanted]
        promises = [one.max_age for one, _choice in protecting if one.max_age]
        promised = min(promises, default=0)
        known = self.states.get(vm.id)
        newest = known.newest_good if known is not None else None
        state, reason = self._state(vm, bool(subclients), bool(protecting), newest, promised)
        return VmCoverage(
            vm_id=vm.id,
            vm_name=vm.name,
            power_state=vm.state,
            client=known.client if known is not None else None,
            state=state,
            reason=reason,
            selected_by=tuple(Membership(one.name, rule, max_age=one.max_age) for one, rule in subclients),
            excluded_by=tuple(self.excluded.get(vm.id, ())),
            promised_age=promised,
            newest_good=newest,
            age=self._age(newest),
            physical_disks=tuple(disk.name for disk in vm.disks if disk.kind == "physical"),
            skipped_disks=() if vm.is_template else self._left_out(vm, [choice for _one, choice in choices]),
            warnings=() if vm.is_template else tuple(self._warnings(vm, known, protecting)),
        )

    def _state(
        self, vm: Vm, selected: bool, protecting: bool, newest: GoodPoint | None, promised: int
    ) -> tuple[str, str]:
        if vm.is_template:
            return TEMPLATE, "templates are not backed up, by design"
        if not any(disk.kind == "virtual" for disk in vm.disks):
            physical = ", ".join(disk_label(disk) for disk in vm.disks if disk.kind == "physical")
            if physical:
                return CANNOT, f"the VM has physical disks only, which are not backed up: {physical}"
            return CANNOT, "the VM has no virtual disk"
        if protecting:
            return self._judge_age(newest, promised)
        if selected:
            return EXCLUDED, "every disk of the VM is taken out by the disk filters of its subclients"
        if vm.id in self.excluded:
            names = ", ".join(quoted(member.subclient) for member in self.excluded[vm.id])
            return EXCLUDED, f"the VM is taken out by the filters of {names}, and no other subclient selects it"
        return UNPROTECTED, "no subclient selects the VM"

    def _judge_age(self, newest: GoodPoint | None, promised: int) -> tuple[str, str]:
        if newest is None:
            return NEVER, "there is no good recovery point"
        age = self.now - newest.created
        text = f"the newest good recovery point {newest.id} is {format_duration(max(age, 0.0))} old"
        if age < -CLOCK_TOLERANCE:
            text = f"the newest good recovery point {newest.id} lies {format_duration(-age)} in the future"
            return LATE, f"{text}: check the clocks of the proxies"
        if not promised:
            return PROTECTED, f"{text}, no age promised"
        extra = f" and {format_duration(self.grace)} of grace" if self.grace else ""
        state = LATE if age > promised + self.grace else PROTECTED
        return state, f"{text}, promised {format_duration(promised)}{extra}"

    def _warnings(
        self, vm: Vm, known: ClientState | None, protecting: Sequence[tuple[Subclient, DiskChoice]]
    ) -> list[str]:
        found = []
        if known is not None and known.newest_point is not None and not known.newest_healthy:
            found.append(f"the newest recovery point {known.newest_point} is damaged")
        if known is not None and known.distrust is not None:
            found.append(f"change detection failed, the next backup is a full: {known.distrust}")
        for subclient, choice in protecting:
            how = decide_method(vm, choice.wanted, self.inventory, subclient.nfs_policy, subclient.consistency)
            if how.action != "backup":
                found.append(f"subclient {quoted(subclient.name)} cannot back the VM up at present: {how.reason}")
        if known is not None and known.newest_good is not None:
            wanted: dict[str, Disk] = {disk.id: disk for _one, choice in protecting for disk in choice.wanted}
            found += [
                f"{disk_label(disk)} is not in the newest good recovery point"
                for disk_id, disk in wanted.items()
                if disk_id not in known.newest_good.disk_ids
            ]
        return found

    def _left_out(self, vm: Vm, choices: Sequence[DiskChoice]) -> tuple[SkippedDisk, ...]:
        """Return the disks that none of the subclients backs up; without any subclient, those that none could."""
        choices = choices or [choose_disks(vm, (), self.inventory)]
        kept = {disk.slot for choice in choices for disk in choice.wanted}
        return tuple(disk for disk in choices[0].skipped if disk.slot not in kept)

    def _age(self, point: GoodPoint | None) -> float | None:
        return round(max(self.now - point.created, 0.0), 3) if point is not None else None


def _plain(item: VmCoverage | Orphan) -> dict[str, Any]:
    document = asdict(item)
    if document["newest_good"] is not None:
        document["newest_good"]["disk_ids"] = list(document["newest_good"]["disk_ids"])
    return {key: list(value) if isinstance(value, tuple) else value for key, value in document.items()}
