# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Hot clones for the backup: made, found again after a crash, removed (ovm-rest-api 11, 14.2).

A clone is made through a clone definition of its run, with one thin clone mapping per wanted virtual disk to the
disk's own storage repository; physical disks, CDs and NICs stay out. The definition records the id of the clone job as
soon as it is known, the clone is renamed and marked as soon as it exists. So at every moment a clone that exists can
be traced to us by ids; what cannot be traced is never touched.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable

from ..errors import JobFailedError, JobTimeoutError, NotFoundError, OwnershipError, PowerStateError
from .clone_making import CloneMaking, Turn, mark_clone, no_turn
from .clone_records import Clone, CloneDisk, check_run_id, read_mark
from .clone_removal import raise_all, remove_definitions, remove_proven
from .clone_survey import Item, Proven, Survey, WantedDisk, mapped_copies, missing_from
from .jobs import is_job, is_over
from .objects import object_name, reference, text

if TYPE_CHECKING:
    from .client import ManagerClient
    from .inventory import Inventory, Vm

__all__ = [
    "Clone",
    "CloneDisk",
    "Removal",
    "Trace",
    "check_clonable",
    "ensure_clone",
    "find_leftovers",
    "find_traces",
    "is_ours",
    "ours_among",
    "remove_clone",
    "remove_leftovers",
]


def is_ours(vm: Vm) -> bool:
    """Whether a VM is a clone that is marked as ours; a copy of such a clone is not."""
    mark = read_mark(vm.description, "clone")
    return mark is not None and mark.own_id == vm.id


def ours_among(client: ManagerClient, inventory: Inventory) -> Callable[[Vm], bool]:
    """Return what tells our clones in an inventory, also one that another run has made and had not marked yet.

    For some seconds that looks like any VM that is switched off, under a name of the manager (ovm-rest-api 11.2). It
    costs nothing unless there is a VM of such a name, and one without the number that has a clone definition.
    """
    sources: dict[str, list[str]] = {}
    for vm in inventory.vms.values():
        if vm.document["vm"].get("vmCloneDefinitionIds") != []:
            sources.setdefault(vm.name, []).append(vm.id)
    candidates: dict[str, set[str]] = {}  # by source
    for vm in inventory.vms.values():
        name, dot, digits = vm.name.rpartition(".")
        if dot and digits.isdecimal() and vm.state == "STOPPED" and not is_ours(vm):
            for source_id in sources.get(name, ()):
                candidates.setdefault(source_id, set()).add(vm.id)
    found: set[str] = set()
    for source_id, ids in candidates.items():
        survey = Survey(client, source_id)
        # One that is gone by now, after it was read, has been removed with its proof.
        found |= ids & {clone.id for clone in survey.our_clones(source_id)} | ids - set(survey.vms)
    return lambda vm: vm.id in found or is_ours(vm)


def ensure_clone(
    client: ManagerClient,
    vm_id: str,
    *,
    run_id: str,
    slots: Collection[int] | None = None,
    turn: Turn = no_turn,
    survey: Survey | None = None,
) -> tuple[Clone, bool]:
    """Return the hot clone of a VM for a run, and whether it was created just now.

    A whole clone that the run already has is adopted, also one that is not yet renamed; a part of one is removed first.
    ``slots`` limits the virtual disks, default all; the clone job runs inside of ``turn``. ``survey`` is what the
    caller has read of this VM a moment ago. If anything goes wrong, an interruption included, all that was made is
    removed; what could not be removed is added to the error's message and to its detail C(clean_up_errors).

    Raises NotFoundError (no such VM), InvalidInputError (no such disks), PowerStateError (the VM is not RUNNING),
    JobFailedError (the manager refuses the clone) and the other errors of the manager.
    """
    check_run_id(run_id)
    limit = frozenset(slots) if slots is not None else None
    survey = survey or Survey(client, vm_id)
    source = survey.source(vm_id)
    wanted = survey.wanted(vm_id, limit)
    if survey.our_definitions(vm_id, run_id) or survey.our_clones(vm_id, run_id):
        survey = _after_running_jobs(client, survey, vm_id, run_id)
        adopted = _adopt(client, survey, vm_id, run_id, wanted)
        if adopted is not None:
            return adopted, False
        survey = Survey(client, vm_id)
        source = survey.source(vm_id)
    _check_running(source, vm_id)
    return CloneMaking(client, survey, source, wanted, run_id, turn).make(), True


def check_clonable(survey: Survey, vm_id: str, slots: Collection[int] | None = None) -> None:
    """Raise what ensure_clone would raise at once for a VM that has no clone of the run; nothing but reads."""
    survey.wanted(vm_id, frozenset(slots) if slots is not None else None)
    _check_running(survey.source(vm_id), vm_id)


def find_leftovers(client: ManagerClient, vm_id: str | None = None) -> list[Clone]:
    """Return all clones that are provably ours, of one VM or of all, sorted by source VM, run and id.

    For all VMs it costs four list calls, and one for each definition whose clone is not marked. Clones that another run
    is using now are among them: the caller decides by run id what is left over.
    """
    survey = Survey(client, vm_id)
    return [survey.describe(clone) for clone in survey.our_clones(vm_id)]


@dataclass(frozen=True)
class Trace:
    """What a run has on the manager of one VM, all of it provably ours. C(vm_name): nothing if the VM is gone.

    C(clones) come with their run states; C(definitions) are the ids of clone definitions.
    """

    vm_id: str
    vm_name: str | None
    run_id: str
    clones: tuple[tuple[Clone, str], ...]
    definitions: tuple[str, ...]


def find_traces(client: ManagerClient) -> list[Trace]:
    """Return what all runs have on the manager, sorted by source VM and run; the cost is that of find_leftovers."""
    survey = Survey(client)
    clones: dict[tuple[str, str], list[tuple[Clone, str]]] = {}
    definitions: dict[tuple[str, str], list[str]] = {}
    for proven in survey.our_clones():
        entry = (survey.describe(proven), text(proven.vm, "vmRunState"))
        clones.setdefault((proven.vm_id, proven.run_id), []).append(entry)
    for definition_id, mark in survey.our_definitions():
        definitions.setdefault((mark.vm_id, mark.run_id), []).append(definition_id)
    return [
        Trace(
            vm_id,
            object_name(survey.vms[vm_id]) if vm_id in survey.vms else None,
            run_id,
            tuple(clones.get((vm_id, run_id), ())),
            tuple(definitions.get((vm_id, run_id), ())),
        )
        for vm_id, run_id in sorted({*clones, *definitions})
    ]


def remove_clone(client: ManagerClient, clone_id: str, *, vm_id: str | None = None) -> bool:
    """Remove a clone with its disks and definitions; False if nothing of it was there.

    Raises OwnershipError unless the clone is provably ours (and of source ``vm_id``, if given), PowerStateError if it
    is not STOPPED, and the errors of the manager; the removal can then be repeated.
    """
    survey = Survey(client)
    if clone_id not in survey.vms:
        return _remove_trace(client, survey, clone_id, vm_id)
    proven = next((clone for clone in survey.our_clones() if clone.id == clone_id), None)
    if proven is None or vm_id not in (None, proven.vm_id):
        name = object_name(survey.vms[clone_id])
        whose = "of ours" if proven is None else f"of VM {vm_id}"
        raise OwnershipError(
            f'VM "{name}" ({clone_id}) cannot be proved to be a clone {whose}; it is not touched.',
            vm_id=clone_id,
            vm_name=name,
        )
    remove_proven(client, survey, proven)
    return True


@dataclass(frozen=True)
class Removal:
    """What C(remove_leftovers) did, or with C(check) would do. C(changed): something went, if only a definition.

    C(in_use) are clones with their run states that somebody has started; they are still there, kept or not. C(told) is
    why a clone was removed that should have stayed.
    """

    changed: bool = False
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    in_use: tuple[tuple[Clone, str], ...] = ()
    told: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what an administrator should know."""
        found = list(self.told)
        for clone, state in self.in_use:
            use = f'the clone "{clone.name}" ({clone.id}) of run {clone.run_id} is {state}: somebody uses it'
            kept = clone.id in self.kept
            found.append(f"{use}, so it cannot serve the next backup" if kept else f"{use}, so it was not removed")
        return tuple(found)

    def then(self, later: Removal) -> Removal:
        """Return what this and a later one did together."""
        kept = tuple(clone_id for clone_id in self.kept if clone_id not in later.removed)
        in_use = tuple(dict.fromkeys(self.in_use + later.in_use))
        removed, changed = self.removed + later.removed, self.changed or later.changed
        return Removal(changed, removed, kept, in_use, self.told + later.told)


def remove_leftovers(
    client: ManagerClient,
    vm_id: str,
    *,
    of_run: Callable[[str], bool],
    keep: Collection[str] = (),
    own_run: str | None = None,
    keep_own: bool = False,
    check: bool = False,
    survey: Survey | None = None,
) -> Removal:
    """Remove all that the runs for which ``of_run`` holds have left of a VM: clones, then clone definitions.

    The clones of other runs in ``keep`` stay, and with ``keep_own`` that of ``own_run``, unless the VM is gone: then no
    backup needs them. One that somebody has started stays, too, and is told of. A clone job that still runs is waited
    for, since its clone would appear afterwards; if it does not end within the job timeout, it is aborted. With
    ``check`` nothing but reads is done, to tell what can be known. ``survey`` as for ensure_clone.

    Raises PowerStateError if the clone of ``own_run`` has to go and is not STOPPED, for that is what the run has read,
    and the errors of the manager; the removal can then be repeated.
    """
    survey = survey or Survey(client, vm_id)
    needed = vm_id in survey.vms
    runs = {mark.run_id for _definition_id, mark in survey.our_definitions(vm_id)}
    runs |= {clone.run_id for clone in survey.our_clones(vm_id)}
    changed = False
    removed: list[str] = []
    kept: list[str] = []
    in_use: list[tuple[Clone, str]] = []
    for run_id in sorted(run_id for run_id in runs if of_run(run_id)):
        if not check:
            survey = _after_running_jobs(client, survey, vm_id, run_id, abort=True)
        proof = False  # whether the definitions have to stay, as all that tells whose a clone is
        for proven in survey.our_clones(vm_id, run_id):
            state = text(proven.vm, "vmRunState")
            stays = needed and (keep_own if run_id == own_run else proven.id in keep)
            used = state != "STOPPED" and (stays or run_id != own_run)
            kept += [proven.id] if stays else []
            in_use += [(survey.describe(proven), state)] if used else []
            if stays or used:
                proof = proof or not proven.marked
                continue
            if not check:
                remove_proven(client, survey, proven, definitions=False)
            removed.append(proven.id)
        found = [] if proof else survey.our_definitions(vm_id, run_id)
        changed = changed or bool(found)
        if found and not check:
            errors = remove_definitions(client, survey, vm_id, run_id)
            raise_all(errors, f"The clone definitions of run {run_id} could not be removed: ")
    return Removal(changed or bool(removed), tuple(removed), tuple(kept), tuple(in_use))


def _check_running(source: Item, vm_id: str) -> None:
    state = text(source, "vmRunState")
    if state != "RUNNING":
        name = object_name(source)
        raise PowerStateError(
            f'VM "{name}" is {state}: only a RUNNING VM is hot cloned; one that is STOPPED is backed up without.',
            vm_id=vm_id,
            vm_name=name,
            state=state,
        )


def _after_running_jobs(
    client: ManagerClient, survey: Survey, vm_id: str, run_id: str, *, abort: bool = False
) -> Survey:
    """Wait for clone jobs that an interrupted attempt of the run has left running; return the state after that.

    With ``abort``, one that does not end within the job timeout is aborted; otherwise JobTimeoutError is raised.
    A job may also have ended after the VMs were read: then its clone is missing from what was read, and is read again.
    """
    stale = False
    for definition_id, mark in survey.our_definitions(vm_id, run_id):
        job_id = survey.job_of(definition_id, mark)
        if job_id is None:
            continue
        try:
            job = client.get("Job", job_id)
        except NotFoundError:
            continue
        if not is_job(job):
            continue
        if not is_over(job):
            stale = True
            try:
                client.wait(job)
            except JobFailedError:
                continue  # then there is nothing to adopt
            except JobTimeoutError:
                if not abort:
                    raise
                client.abort(job)
        stale = stale or reference(job, "resultId") not in survey.vms
    return Survey(client, survey.vm_id) if stale else survey


def _adopt(
    client: ManagerClient, survey: Survey, vm_id: str, run_id: str, wanted: tuple[WantedDisk, ...]
) -> Clone | None:
    """Return the first whole clone of the run and remove every other trace of it."""
    adopted: Clone | None = None
    for proven in survey.our_clones(vm_id, run_id):
        clone = survey.describe(proven)
        if adopted is None and text(proven.vm, "vmRunState") == "STOPPED" and missing_from(clone, wanted) is None:
            adopted = clone if proven.marked else _finish(client, survey, proven, clone)
        else:
            remove_proven(client, survey, proven, definitions=adopted is None)
    if adopted is None:
        errors = remove_definitions(client, survey, vm_id, run_id)
        raise_all(errors, f"The clone definitions of run {run_id} could not be removed: ")
    return adopted


def _finish(client: ManagerClient, survey: Survey, proven: Proven, clone: Clone) -> Clone:
    name = object_name(survey.source(proven.vm_id))
    disks = mapped_copies(survey.mappings_of(proven.id), {disk.slot: disk.source_disk_id for disk in clone.disks})
    renamed = mark_clone(client, proven.id, vm_id=proven.vm_id, vm_name=name, run_id=proven.run_id, disks=disks)
    return Clone(clone.id, renamed, clone.vm_id, clone.run_id, clone.disks)


def _remove_trace(client: ManagerClient, survey: Survey, clone_id: str, vm_id: str | None) -> bool:
    """Remove the definitions whose job made a clone that is gone: the rest of a removal that was interrupted."""
    removed = False
    for definition_id, mark in survey.our_definitions(vm_id):
        job_id = survey.job_of(definition_id, mark)
        try:
            job = client.get("Job", job_id) if job_id else {}
        except NotFoundError:
            continue
        if is_job(job) and reference(job, "resultId") == clone_id:
            client.run("DELETE", "Vm", mark.vm_id, "VmCloneDefinition", definition_id, repeatable=True)
            removed = True
    return removed
