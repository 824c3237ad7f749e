# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Making one hot clone, and taking everything back if it does not come off."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Callable

from ..errors import JobFailedError, JobTimeoutError, ManagerError, ManagerResponseError, NotFoundError
from .clone_records import Clone, CloneDisk, Mark, MarkedDisk, clone_name, definition_name
from .clone_removal import add_problems, remove_definitions, remove_disk, remove_proven
from .clone_salvage import Attempt, find_lost_job, find_remains, job_time
from .clone_survey import Proven, Survey, WantedDisk, clone_disk, mapped_copies, missing_from
from .inventory import disk_path
from .jobs import describe, is_over
from .objects import object_id, object_name, reference, references, simple_id

if TYPE_CHECKING:
    from .client import Job, ManagerClient

_FIRST_LOOK = 0.2  # seconds; a thin clone of a small VM is often made by then
_RECORD_LIMIT = 10.0  # seconds that the note of the job id may take; the clone goes on meanwhile
_SEARCH_LIMIT = 30.0  # seconds to look for what became of a request whose answer got lost

# Called with the ids of storage repositories: the block in which nobody else clones in them.
Turn = Callable[[Collection[str]], AbstractContextManager[None]]


def no_turn(_repository_ids: Collection[str]) -> AbstractContextManager[None]:
    """Wait for nobody."""
    return nullcontext()


_HINTS = {
    "VM_CLONE_STORAGE_MAPPING_000000": "Disks can be cloned thin, and so hot, on OCFS2 storage repositories only.",
    "RULE": "A running VM can be hot cloned only while all cloned disks are on OCFS2 storage repositories.",
    "LOCK": "Another job held the VM, one of its disks or its storage repository.",
    "SERVER": "The server that had to do it failed; its storage repository may be full or not presented.",
    "ABORT": "Somebody aborted the job.",
}


class CloneMaking:
    """One attempt to clone a VM. Everything it makes is in ``self`` as soon as it is known."""

    def __init__(
        self,
        client: ManagerClient,
        survey: Survey,
        source: Mapping[str, Any],
        wanted: tuple[WantedDisk, ...],
        run_id: str,
        turn: Turn = no_turn,
    ) -> None:
        self.client = client
        self.before = survey
        self.source = source
        self.wanted = wanted
        self.run_id = run_id
        self.turn = turn
        self.vm_id = object_id(source)
        self.vm_name = object_name(source)
        self.last_job = 0  # id of our last job before the clone: ids are the time of submission (ovm-rest-api 3.3)
        self.asked = False  # the clone may have been submitted
        self.refusal: ManagerError | None = None  # what the manager said to the submission
        self.places: list[tuple[str, str]] = []  # objects whose description may hold the id of the clone job
        self.mapping: dict[str, Any] = {}  # the first of them as we made it, if that is known
        self.noted: Job | None = None  # the job that writes the note
        self.job: Job | None = None
        self.clone_id: str | None = None
        self.own_jobs: set[str] = set()  # the clone job and its children
        self.results: set[str] = set()  # what they made

    def make(self) -> Clone:
        """Make the clone. Raises as ensure_clone does, after the clean-up."""
        try:
            definition_id = self._define()
            with self.turn(self._repositories()):
                job = self._submit(definition_id)
                self._record(job)
                done = self._wait(job)
            clone = self._finish(done)
            self._drop(definition_id)
            return clone
        except BaseException as error:
            problems = self._clean_up(error)
            failure = self._explained(error)
            add_problems(failure, "Clean-up after the failed clone was not complete", problems)
            if failure is error:
                raise
            raise failure from error

    # --- the steps ---

    def _repositories(self) -> set[str]:
        """Return where the clone takes place: clones of one repository have to be serialised (ovm-rest-api 16.3)."""
        own = reference(self.source, "repositoryId")
        return {disk.repository_id for disk in self.wanted} | ({own} if own is not None else set())

    def _mark(self, kind: str, **facts: Any) -> Mark:
        return Mark(kind=kind, manager_id=self.before.manager_id, vm_id=self.vm_id, run_id=self.run_id, **facts)

    def _define(self) -> str:
        body = {"name": definition_name(self.run_id), "description": self._mark("definition").description()}
        made = self.client.run("POST", "Vm", self.vm_id, "VmCloneDefinition", body=body)
        definition_id = reference(made, "resultId")
        if definition_id is None:
            raise ManagerResponseError(f'Oracle VM Manager made no clone definition for VM "{self.vm_name}".')
        self.places.append(("VmCloneDefinition", definition_id))
        for disk in self.wanted:
            mapping = {
                "name": f"{definition_name(self.run_id)} slot {disk.slot}",
                "cloneType": "THIN_CLONE",  # the only one that a hot clone may have (ovm-rest-api 11.4)
                "vmDiskMappingId": simple_id("VmDiskMapping", disk.mapping_id),
                "vmCloneDefinitionId": simple_id("VmCloneDefinition", definition_id),
                "repositoryId": simple_id("Repository", disk.repository_id),
            }
            made = self.client.run("POST", "VmCloneDefinition", definition_id, "VmCloneStorageMapping", body=mapping)
            mapping_id = reference(made, "resultId")
            if mapping_id is not None:
                self.places.insert(0, ("VmCloneStorageMapping", mapping_id))
                self.mapping = {**mapping, "id": simple_id("VmCloneStorageMapping", mapping_id)}
        self.last_job = job_time(made)
        return definition_id

    def _submit(self, definition_id: str) -> Job:
        pool_id = reference(self.source, "serverPoolId")
        if pool_id is None:
            raise ManagerResponseError(f'VM "{self.vm_name}" belongs to no server pool, a clone of it needs one.')
        query = {"serverPoolId": pool_id, "vmCloneDefinitionId": definition_id, "createTemplate": False}
        self.asked = True
        try:
            job = self.client.submit("PUT", "Vm", self.vm_id, "clone", query=query)
        except ManagerError as error:
            if error.details.get("outcome") != "unknown":
                self.asked = False  # refused or never sent
                self.refusal = error
                raise
            found = find_lost_job(self.client, self._attempt(), limit=_SEARCH_LIMIT)
            if found is None:
                raise
            job = found
        self.job = job
        return job

    def _record(self, job: Job) -> None:
        """Note the job id in a mapping of the definition, which still is as we made it, so it need not be read.

        A help for the next run only: nothing here may end this one. Whether the note was taken is looked at only if
        the clone takes longer than a moment; the clone's own mark takes its place in the next.
        """
        if self.mapping:
            body = {**self.mapping, "description": self._note_of(job)}
            with suppress(ManagerError):
                kind, item_id = self.places[0]
                self.noted = self.client.submit("PUT", kind, item_id, body=body, conflict_timeout=0.0)
                return
        self._record_elsewhere(job)

    def _record_elsewhere(self, job: Job) -> None:
        """Note the job id wherever it is taken: the clone job may lock the definition itself."""
        description = self._note_of(job)
        for kind, item_id in self.places:
            try:
                body = {**self.client.get(kind, item_id), "description": description}
                noted = self.client.submit("PUT", kind, item_id, body=body, conflict_timeout=0.0)
                self.client.wait(noted, timeout=_RECORD_LIMIT)
                return
            except ManagerError:
                continue

    def _note_of(self, job: Job) -> str:
        return self._mark("definition", job_id=object_id(job)).description()

    def _wait(self, job: Job) -> Job:
        """Wait for the clone; after the first look make sure of the note."""
        try:
            return self.client.wait(job, timeout=_FIRST_LOOK)
        except JobTimeoutError:
            if self.noted is not None:
                try:
                    self.client.wait(self.noted, timeout=_RECORD_LIMIT)
                except ManagerError:
                    self._record_elsewhere(job)
            return self.client.wait(job)

    def _finish(self, job: Job) -> Clone:
        self.job = job
        self.clone_id = reference(job, "resultId")
        if self.clone_id is None:
            raise ManagerResponseError(
                f'Oracle VM Manager finished {describe(job)} without a result, VM "{self.vm_name}" has no clone.'
            )
        sources = {disk.slot: disk for disk in self.wanted}
        mappings = self.client.children("Vm", self.clone_id, "VmDiskMapping")
        copies = mapped_copies(mappings, {slot: disk.id for slot, disk in sources.items()})
        name = mark_clone(
            self.client,
            self.clone_id,
            vm_id=self.vm_id,
            vm_name=self.vm_name,
            run_id=self.run_id,
            disks=copies,
        )
        disks = tuple(self._copy_of(sources[slot], disk_id) for slot, _source, disk_id, _mapping in copies)
        clone = Clone(self.clone_id, name, self.vm_id, self.run_id, disks)
        missing = missing_from(clone, self.wanted)
        if missing:
            raise ManagerResponseError(
                f'The clone of VM "{self.vm_name}" is not whole: {missing}.', vm_id=self.vm_id, clone_id=self.clone_id
            )
        return clone

    def _copy_of(self, disk: WantedDisk, copy_id: str) -> CloneDisk:
        """Describe the copy of a disk.

        A thin clone has the size of its source and lies in the same storage repository (ovm-rest-api 11.4), where the
        layout says (8.2). Only if the source does not lie where the layout says, the manager is asked.
        """
        known = {"repositoryId": simple_id("Repository", disk.repository_id), "size": disk.size}
        by_layout = disk_path(disk.id, known) == disk_path(disk.id, self.before.disks[disk.id])
        return clone_disk(disk.slot, disk.id, copy_id, known if by_layout else self.client.get("VirtualDisk", copy_id))

    def _drop(self, definition_id: str) -> None:
        """Let the definition be deleted: the clone has its mark by now.

        How that ends need not be waited for: a definition that is still there goes when the clones of its run do.
        """
        with suppress(ManagerError):
            self.client.submit("DELETE", "Vm", self.vm_id, "VmCloneDefinition", definition_id)

    # --- when it goes wrong ---

    def _explained(self, error: BaseException) -> BaseException:
        """Return an error that names the VM, where the manager's own names a job."""
        if not isinstance(error, (JobFailedError, ManagerResponseError)):
            return error
        # A rule can refuse the request as well as fail its job (ovm-rest-api 4.4); other answers speak for themselves.
        ruled = isinstance(error, JobFailedError) or error is self.refusal and error.details.get("error_code")
        if not ruled:
            return error
        reasons = (str(error.details.get(key)) for key in ("error_code", "error_type"))
        hint = next((_HINTS[reason] for reason in reasons if reason in _HINTS), "")
        facts = {**error.details, "vm_id": self.vm_id, "vm_name": self.vm_name}
        return JobFailedError(f'VM "{self.vm_name}" was not cloned. {error.message} {hint}'.rstrip(), **facts)

    def _clean_up(self, error: BaseException) -> list[str]:
        """Remove everything that this attempt has made. Returns what could not be done, in words."""
        problems: list[str] = []
        try:
            if self.asked and self.job is None:  # interrupted before the answer came, or the answer got lost
                waited = isinstance(error, ManagerError)
                self.job = None if waited else find_lost_job(self.client, self._attempt(), limit=0.0)
                if self.job is None:
                    problems.append("Whether the clone was begun is unknown; no job of it was found.")
            self._end_job()
            self._read_children()
            after = Survey(self.client)
            for clone in self._made(after):
                remove_proven(self.client, after, clone)
            if self.asked:
                problems += self._remove_remains(after)
            problems += [problem.message for problem in remove_definitions(self.client, after, self.vm_id, self.run_id)]
        except ManagerError as problem:
            problems.append(problem.message)
        return problems

    def _end_job(self) -> None:
        """Make sure that the clone job is over. Raises if it goes on: then the definition, our trace, must stay."""
        if self.job is None:
            return
        try:
            self.job = self.client.get("Job", object_id(self.job))
            if not is_over(self.job):
                self.job = self.client.abort(self.job)
        except NotFoundError:
            return  # forgotten by the manager: over

    def _read_children(self) -> None:
        """Note the clone job and its children as ours, with the objects that they say they made."""
        if self.job is None:
            return
        self.own_jobs = {object_id(self.job), *references(self.job, "childJobIds")}
        jobs = [self.job, *(self.client.get("Job", child_id) for child_id in references(self.job, "childJobIds"))]
        self.results = {made for made in (reference(job, "resultId") for job in jobs) if made is not None}

    def _made(self, after: Survey) -> list[Proven]:
        """Return the clones of this attempt that ids lead to."""
        found = {clone.id: clone for clone in after.our_clones(self.vm_id, self.run_id)}
        for vm_id in sorted(self.results & set(after.vms)):
            if vm_id not in self.before.vms:
                found.setdefault(vm_id, self._proven(after, vm_id))
        return list(found.values())

    def _remove_remains(self, after: Survey) -> list[str]:
        for disk_id in sorted(self.results & set(after.disks)):
            if disk_id not in self.before.disks:
                remove_disk(self.client, disk_id)
        remains = find_remains(self.client, self._attempt(), self.own_jobs, limit=_SEARCH_LIMIT)
        if remains.doubt is not None:
            return [remains.doubt]
        now = Survey(self.client) if remains.vm_ids or remains.disk_ids else after
        for vm_id in remains.vm_ids:
            if vm_id in now.vms:
                remove_proven(self.client, now, self._proven(now, vm_id))
        for disk_id in remains.disk_ids:
            remove_disk(self.client, disk_id)
        return []

    def _proven(self, survey: Survey, vm_id: str) -> Proven:
        return Proven(survey.vms[vm_id], self.vm_id, self.run_id, False, ())

    def _attempt(self) -> Attempt:
        return Attempt(self.before, self.vm_id, self.vm_name, self.wanted, self.last_job)


def mark_clone(
    client: ManagerClient,
    clone_id: str,
    *,
    vm_id: str,
    vm_name: str,
    run_id: str,
    disks: tuple[MarkedDisk, ...],
) -> str:
    """Rename a clone and mark it as ours; return its new name."""
    name = clone_name(vm_name, run_id)
    mark = Mark("clone", client.manager_id, vm_id, run_id, own_id=clone_id, disks=disks)
    client.modify("Vm", clone_id, {"name": name, "description": mark.description()})
    return name
