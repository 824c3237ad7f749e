# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The plan of a backup run: a pure function of subclient, inventory of the manager, state of the vault, and time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Callable

from ..errors import InvalidInputError, NothingSelectedError
from ..manager.inventory import Disk, Inventory, Vm
from ..vault.manifest import CLOCK_TOLERANCE
from .access import Access, check_access, unknown_addresses
from .additional_settings import check_offered
from .backup_type import SYNTHETIC_FULL, TypeDecision, combine_types, decide_disk_type
from .consolidation import plan_consolidation
from .content import Selected, Selection, select
from .dealing import Proxies, deal, without_way
from .disks import DiskChoice, choose_disks, disk_label
from .durations import format_duration
from .method import MethodDecision, decide_method
from .names import assign_clients, client_name
from .order import Candidate, round_robin
from .outage import plan_outage
from .plan_types import ChangeDetection, DiskPlan, Named, Plan, VmPlan
from .reading import problem_details, problem_text, quoted
from .reference import Changes, choose_reference
from .state import ClientState, LastJob, VaultState
from .subclient import Subclient, checked_backup_type

_ACTIONS = ("backup", "current", "fail", "skip")  # in run order


def _nobody(_vm: Vm) -> bool:
    return False


def make_plan(
    subclient: Subclient,
    inventory: Inventory,
    vault: VaultState,
    *,
    now: float,
    backup_type: str | None = None,
    force: bool = False,
    restart: bool = False,
    proxies: Proxies | None = None,
    settings: Mapping[str, bool] | None = None,
    is_ours: Callable[[Vm], bool] = _nobody,
) -> Plan:
    """Return what a backup run of the subclient does at the time C(now) (epoch seconds).

    C(backup_type) overrides the subclient's, C(force) backs up whatever the age of the newest recovery point is,
    C(restart) backs up only what the job C(vault.last_job) did not, C(settings) are the additional settings of the
    site, C(is_ours) tells the clones that we made ourselves, which are no VMs to back up. Without C(proxies) it is
    localhost alone. For synthetic fulls the VMs that have a recovery point are consolidated, the others get their first
    backup; runs that do not need the content are planned by C(plan_synthetic_fulls).

    Raises C(NothingSelectedError) if a rule, a group or the whole content selects nothing and the subclient does not
    allow that, C(InvalidInputError) for a backup type that is wrong or not offered, for an empty list of proxies, for
    the source ssh without settings for it, and if there is no job to restart.
    """
    restarted = restarted_job(subclient, vault) if restart else None
    proxies = proxies if proxies is not None else Proxies.alike(["localhost"], Access())
    requested = checked_run(subclient, backup_type, proxies.names, settings or {}, restarted)
    for access in proxies.access.values():
        check_access(subclient.source, access)
    vms = tuple(sorted((vm for vm in inventory.vms.values() if not is_ours(vm)), key=lambda vm: vm.id))
    selection = select(subclient.content, subclient.exclude_vms, vms, inventory)
    warnings = [*open_jobs(restarted), *selection.warnings]
    if selection.empty and not subclient.allow_empty:
        text = problem_text(f"subclient {quoted(subclient.name)}", selection.empty)
        text += ("; " if len(selection.empty) == 1 else "\n") + "set allow_empty: true if that is intended"
        raise NothingSelectedError(text, subclient=subclient.name, **problem_details(selection.empty))
    warnings.extend(str(problem) for problem in selection.empty)
    unknown = (warning for access in proxies.access.values() for warning in unknown_addresses(access, inventory))
    warnings.extend(dict.fromkeys(unknown))

    states = vault.by_vm()
    planner = _Planner(subclient, inventory, states, _assign(vms, states), requested, force, restarted, now, is_ours)
    planned = [planner.plan_vm(item) for item in selection.selected]
    planned = [without_way(item, subclient.source, inventory, proxies) for item in planned]
    if planned and all(item.action == "skip" for item in planned):
        warnings.append("the content selects no VM that can be backed up")
    return dataclasses.replace(
        empty_plan(subclient, requested),
        last_job=vault.last_job.id if vault.last_job is not None else None,
        new=_new(selection, vault.last_job),
        gone=_gone(selection, vault.last_job),
        vms=tuple(deal(_in_run_order(planned, states), proxies, subclient, inventory)),
        excluded=tuple(sorted(selection.excluded, key=lambda item: (item.vm_name, item.vm_id))),
        warnings=tuple(warnings),
    )


def restarted_job(subclient: Subclient, vault: VaultState) -> LastJob:
    """Return the job that is restarted; raise C(InvalidInputError) if there is none."""
    if vault.last_job is None:
        raise InvalidInputError(
            f"restart_job: subclient {quoted(subclient.name)} has no finished job: run it without", key="restart_job"
        )
    return vault.last_job


def open_jobs(restarted: LastJob | None) -> list[str]:
    """Return a warning for each job that is later than the one that is restarted and was never closed."""
    if restarted is None:
        return []
    why = f"is later than {restarted.id}, which is restarted, and is not closed: what failed in it is not repeated"
    return [f"job {job_id} of this subclient {why}" for job_id in restarted.open_after]


def judge_restart(job: LastJob, vm_id: str) -> tuple[bool, str]:
    """Return whether a VM failed in the job that is restarted, and what follows from that, as a reason."""
    if vm_id in job.failed:
        return True, f"it failed in job {job.id}, which is restarted"
    status = job.statuses.get(vm_id)
    what = f"has the status {status} in" if status is not None else "was not in"
    return False, f"it {what} job {job.id}, which is restarted for what failed there"


def checked_run(
    subclient: Subclient,
    backup_type: str | None,
    proxies: Sequence[str],
    settings: Mapping[str, bool],
    restarted: LastJob | None = None,
) -> str:
    """Return the type that is asked for; raise C(InvalidInputError) for a run that cannot be."""
    if not proxies:
        raise InvalidInputError("proxies: one proxy at least is needed to run backups", key="proxies")
    if backup_type is None and restarted is not None:
        backup_type = restarted.requested_type
    requested = checked_backup_type(backup_type) if backup_type is not None else subclient.backup_type
    check_offered(requested, settings)
    return requested


def empty_plan(subclient: Subclient, requested: str) -> Plan:
    """Return what stands in every plan of a subclient, whatever its VMs are."""
    return Plan(
        subclient=subclient.name,
        requested_type=requested,
        max_age=subclient.max_age,
        shutdown_timeout=subclient.shutdown_timeout,
        kill=subclient.kill,
        max_outage=subclient.max_outage,
        two_pass=subclient.two_pass,
        change_detection=ChangeDetection(
            subclient.reference_clone == "keep", subclient.reference_space, subclient.sample
        ),
        vms=(),
        limits=subclient.limits,
        retries=subclient.retries,
        retry_delay=subclient.retry_delay,
        max_failed_percent=subclient.max_failed_percent,
    )


def _new(selection: Selection, last_job: LastJob | None) -> tuple[Named, ...]:
    if last_job is None:
        return ()
    names = {item.vm.id: item.vm.name for item in selection.selected}
    return _named({vm_id: name for vm_id, name in names.items() if vm_id not in last_job.vms})


def _gone(selection: Selection, last_job: LastJob | None) -> tuple[Named, ...]:
    selected = {item.vm.id for item in selection.selected}
    before = last_job.vms if last_job is not None else {}
    return _named({vm_id: name for vm_id, name in before.items() if vm_id not in selected})


def _named(names: Mapping[str, str]) -> tuple[Named, ...]:
    return tuple(Named(vm_id, name) for vm_id, name in sorted(names.items(), key=lambda item: (item[1], item[0])))


def _assign(vms: Sequence[Vm], states: Mapping[str, ClientState]) -> dict[str, str]:
    """Return the clients of all VMs of the manager, not only of the selected ones.

    So runs of several subclients at the same time cannot give one name to two VMs. Templates come last: they never
    get a client in the vault and must not take a name from a VM.
    """
    known = {vm_id: state.client for vm_id, state in states.items()}
    clients = assign_clients((vm for vm in vms if not vm.is_template), known)
    return {**clients, **assign_clients((vm for vm in vms if vm.is_template), {**known, **clients})}


def _in_run_order(planned: Sequence[VmPlan], states: Mapping[str, ClientState]) -> list[VmPlan]:
    by_id = {item.vm_id: item for item in planned}
    candidates = [
        Candidate(
            item.vm_id,
            item.vm_name,
            (item.disks[0].repository_id if item.disks else None) or "",
            states[item.vm_id].protected_at if item.vm_id in states else None,
        )
        for item in planned
        if item.action == "backup"
    ]
    backups = [by_id[candidate.vm_id] for candidate in round_robin(candidates)]
    others = [item for item in planned if item.action != "backup"]
    others.sort(key=lambda item: (_ACTIONS.index(item.action), item.vm_name, item.vm_id))
    return [*backups, *others]


@dataclass(frozen=True)
class _Planner:
    """What all VMs of a plan have in common."""

    subclient: Subclient
    inventory: Inventory
    states: Mapping[str, ClientState]
    clients: Mapping[str, str]
    requested: str
    force: bool
    restarted: LastJob | None  # the job of which only what it did not do is done
    now: float
    is_ours: Callable[[Vm], bool]

    def plan_vm(self, item: Selected) -> VmPlan:
        vm = item.vm
        state = self.states.get(vm.id)
        if self.requested == SYNTHETIC_FULL and not vm.is_template and state is not None and state.can_be_consolidated:
            due, why = judge_restart(self.restarted, vm.id) if self.restarted is not None else (True, "")
            found = plan_consolidation(state, selected_by=item.selected_by, due=due, why=why)
            return dataclasses.replace(found, vm_name=vm.name)
        choice = choose_disks(vm, self.subclient.exclude_disks, self.inventory)
        disks = () if vm.is_template else choice.wanted
        types = [(disk, self._type(disk, state)) for disk in disks]
        total = combine_types(types) if types else TypeDecision(self.requested, "not backed up")
        outage = plan_outage(self._decide(vm, choice, state), self.subclient, state, total.type, self.now)
        decision = outage.decision
        warnings = [*self._name_warnings(vm), *(() if vm.is_template else choice.warnings), *decision.warnings]
        repositories = (self._repository_name(disk) for disk in disks)
        reference = choose_reference(
            vm,
            types,
            state,
            self.inventory,
            method=decision.method,
            policy=self.subclient.reference_clone,
            is_ours=self.is_ours,
        )
        return VmPlan(
            vm_id=vm.id,
            vm_name=vm.name,
            client=self.clients[vm.id],
            new_client=state is None and decision.action == "backup",
            selected_by=item.selected_by,
            action=decision.action,
            method=decision.method,
            reason=decision.reason,
            requested_type=self.requested,
            type=total.type,
            type_reason=total.reason,
            disks=tuple(self._disk_plan(disk, found, reference.changes[disk.id]) for disk, found in types),
            skipped_disks=() if vm.is_template else choice.skipped,
            repositories=tuple(dict.fromkeys(name for name in repositories if name is not None)),
            expected_outage=outage.expected,
            outage_until=outage.until,
            pause=decision.pause,
            reference=reference.reference,
            reference_reason=reference.reason,
            warnings=tuple(warnings),
        )

    def _type(self, disk: Disk, state: ClientState | None) -> TypeDecision:
        return decide_disk_type(disk, self.requested, state, self.subclient.max_increments)

    def _decide(self, vm: Vm, choice: DiskChoice, state: ClientState | None) -> MethodDecision:
        if vm.is_template:
            return MethodDecision("skip", "skip", "templates are not backed up")
        if not choice.wanted:
            return MethodDecision("skip", "skip", _no_disk_reason(choice))
        policy, consistency = self.subclient.nfs_policy, self.subclient.consistency
        how = decide_method(vm, choice.wanted, self.inventory, policy, consistency)
        is_current, due, warnings = self._judge(vm, state)
        if is_current:
            # Nothing is done, so what stands in the way of a backup now is no failure.
            warnings = (*warnings, *_unprotected(choice.wanted, state))
            return MethodDecision("current", how.method, due, warnings, how.pause)
        reason = f"{how.reason}; {due}" if how.action == "backup" else how.reason
        return dataclasses.replace(how, reason=reason, warnings=(*warnings, *how.warnings))

    def _judge(self, vm: Vm, state: ClientState | None) -> tuple[bool, str, tuple[str, ...]]:
        """Return whether nothing is to be done for a VM now, why (not), and warnings."""
        if self.restarted is None:
            return self._judge_age(state)
        failed, reason = judge_restart(self.restarted, vm.id)
        return not failed, reason, ()

    def _judge_age(self, state: ClientState | None) -> tuple[bool, str, tuple[str, ...]]:
        """Return whether the newest recovery point is young enough, why (not), and warnings."""
        if state is None or state.newest_point is None:
            return False, "it has no recovery point yet", ()
        if not state.newest_healthy:
            return False, f"its newest recovery point {state.newest_point} is damaged", ()
        if state.distrust is not None:
            return False, f"its newest recovery point {state.newest_point} is not trusted", ()
        if state.newest_created is None:
            return False, f"the age of its newest recovery point {state.newest_point} is not known", ()
        age = self.now - state.newest_created
        if age < -CLOCK_TOLERANCE:
            text = f"its newest recovery point {state.newest_point} lies {format_duration(-age)} in the future"
            return False, text, (f"{text}: check the clocks of the proxies",)
        text = f"its newest recovery point {state.newest_point} is {format_duration(max(age, 0.0))} old"
        if self.force:
            return False, f"{text}, but a backup now is forced", ()
        if not self.subclient.max_age:
            return False, text, ()
        limit = format_duration(self.subclient.max_age)
        if max(age, 0.0) < self.subclient.max_age:
            return True, f"{text}, younger than the {limit} that are allowed", ()
        return False, f"{text}, allowed are less than {limit}", ()

    def _name_warnings(self, vm: Vm) -> list[str]:
        """Say it if a new client gets a name that nobody would look for."""
        client = self.clients[vm.id]
        if vm.is_template or vm.id in self.states or client == client_name(vm.name):
            return []
        return [
            f"the client is named {quoted(client)}, because {quoted(client_name(vm.name))} is taken or no folder name"
        ]

    def _repository_name(self, disk: Disk) -> str | None:
        repository = self.inventory.repositories.get(disk.repository_id or "")
        return repository.name if repository is not None else None

    def _disk_plan(self, disk: Disk, decision: TypeDecision, changes: Changes) -> DiskPlan:
        return DiskPlan(
            slot=disk.slot,
            disk_id=disk.id,
            name=disk.name,
            size=disk.size,
            repository_id=disk.repository_id,
            repository=self._repository_name(disk),
            path=disk.path,
            type=decision.type,
            type_reason=decision.reason,
            base=decision.base,
            changes=changes.method,
            changes_reason=changes.reason,
        )


def _no_disk_reason(choice: DiskChoice) -> str:
    if not choice.skipped:
        return "the VM has no virtual disk"
    left_out = "; ".join(f"{disk_label(disk)}: {disk.reason}" for disk in choice.skipped)
    return f"the VM has no virtual disk left to back up: {left_out}"


def _unprotected(disks: Sequence[Disk], state: ClientState | None) -> list[str]:
    protected = {disk.id for disk in state.disks} if state is not None else set()
    return [
        f"{disk_label(disk)} is not in the newest recovery point; it comes into the next one"
        for disk in disks
        if disk.id not in protected
    ]
