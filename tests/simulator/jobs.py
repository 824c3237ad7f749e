# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs: queued, run in simulated time, locked, failed and aborted as the manager does (ovm-rest-api 4).

The engine has no thread of its own. :meth:`Jobs.settle` carries everything out that is due at a moment; it is
called before each request and by a ticker of the server. A job's work is a generator: it yields the seconds that
its next step takes, returns the reference of what it made, and raises JobFailure to fail. A generator that is
closed (abort) must undo what it did in ``finally`` or ``except GeneratorExit``.
"""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass, field
from typing import Any

from .clock import Clock
from .errors import ApiError, JobFailure
from .faults import Faults, JobFault
from .store import Obj, Ref, Store
from .switches import Switches

Work = Generator[float, None, Ref | None]
FOREVER = math.inf


@dataclass
class Run:
    """One unfinished job."""

    job: Obj
    kind: str
    locks: frozenset[Ref]
    serial: frozenset[Ref]
    wake: float
    fault: JobFault | None
    work: Work = field(init=False)
    started: bool = False
    children: list[Obj] = field(default_factory=list)
    log: list[str] = field(default_factory=list)


class Jobs:
    """All jobs of the manager."""

    def __init__(self, store: Store, clock: Clock, switches: Switches, faults: Faults, job_seconds: float) -> None:
        self._store = store
        self._clock = clock
        self._switches = switches
        self._faults = faults
        self.job_seconds = job_seconds
        self.time = clock.now()
        self._runs: list[Run] = []
        self._last_id = 0
        self._transcripts: dict[str, list[str]] = {}
        self.on_change: Callable[[], None] = lambda: None

    # -- submission ------------------------------------------------------------------------------------------

    def submit(
        self,
        kind: str,
        name: str,
        description: str,
        work: Callable[[Run], Work],
        *,
        user: str,
        locks: Collection[Ref] = (),
        serial: Collection[Ref] = (),
    ) -> Obj:
        """Queue a job. GEN_000029 if one of ``locks`` is held; ``serial`` only makes it wait for its turn."""
        self.refuse_locked(locks)
        now = self.time
        job = self._new_job(name, description, user, now)
        if not self._switches["serial_repositories"]:
            serial = ()
        # A tenth of a job's time passes before a worker picks it up.
        wake = now + self.job_seconds / 10
        run = Run(job, kind, frozenset(locks), frozenset(serial), wake, self._faults.take_job(kind, name))
        run.work = self._faulted(run, work)
        self._runs.append(run)
        return job

    def refuse_locked(self, refs: Collection[Ref]) -> None:
        """GEN_000029 if an unfinished job holds one of these objects."""
        for ref in refs:
            obj = self._store.find(ref)
            if obj is not None and self.locked(ref):
                raise locked_error(obj)

    def locked(self, ref: Ref) -> bool:
        """Whether an unfinished job holds the object (a repository only while its job runs)."""
        return any(ref in run.locks or (run.started and ref in run.serial) for run in self._runs)

    def _new_job(self, name: str, description: str, user: str, now: float, parent: Ref | None = None) -> Obj:
        self._last_id = max(self._last_id + 1, round(now * 1000))
        job = self._store.add("Job", str(self._last_id), 0, name=name, description=description)
        job.fields.update(
            resultId=None,
            jobRunState="CREATED",
            jobSummaryState="CREATED",
            done=False,
            summaryDone=False,
            jobGroup=False,
            error=None,
            progressMessage=None,
            latestSummaryProgressMessage=None,
            extraInfo=None,
            parentJobId=parent,
            user=user,
            abortedByUser=None,
            startTime=round(now * 1000),
            endTime=None,
        )
        return job

    def _faulted(self, run: Run, work: Callable[[Run], Work]) -> Work:
        fault = run.fault
        if fault is not None and fault.never_ends:
            while True:
                yield FOREVER
        if fault is not None and not fault.leftovers:
            yield self.job_seconds
            raise JobFailure(fault.error_type, fault.message)
        result = yield from work(run)
        if fault is not None:
            raise JobFailure(fault.error_type, fault.message)
        return result

    # -- children --------------------------------------------------------------------------------------------

    def begin_child(self, run: Run, name: str) -> Obj:
        """A child job that runs at once; the parent shows CHILD_RUNNING meanwhile."""
        child = self._new_job(name, name, run.job["user"], self.time, parent=run.job.ref)
        _set_state(child, "RUNNING")
        run.children.append(child)
        _set_state(run.job, "CHILD_RUNNING")
        return child

    def end_child(self, run: Run, child: Obj, result: Ref | None) -> None:
        """The child is done; the parent goes on."""
        self._finish(child, "SUCCESS", result=result)
        _set_state(run.job, "RUNNING")

    # -- running ---------------------------------------------------------------------------------------------

    def settle(self, now: float | None = None) -> None:
        """Carry out everything that is due until now, in order of time."""
        until = self._clock.now() if now is None else now
        while True:
            run = self._next_due(until)
            if run is None:
                break
            self.time = max(self.time, run.wake)
            if not run.started:
                self._start(run)
            else:
                self._step(run)
        self.time = max(self.time, until)
        self._expire(until)

    def next_wake(self) -> float | None:
        """When the next step is due, for tests with a manual clock."""
        waits = [run.wake for run in self._runs if run.wake < FOREVER and (run.started or not self._blocked(run))]
        return min(waits, default=None)

    def _next_due(self, until: float) -> Run | None:
        due = [run for run in self._runs if run.wake <= until and (run.started or not self._blocked(run))]
        return min(due, key=lambda run: run.wake, default=None)

    def _blocked(self, run: Run) -> bool:
        """Whether an earlier job holds, or waits for, what this one needs."""
        for other in self._runs:
            if other is run:
                return False
            if run.serial & (other.serial | other.locks) or run.locks & other.serial:
                return True
        return False

    def _expire(self, until: float) -> None:
        limit = self._switches["queue_lock_seconds"]
        for run in list(self._runs):
            deadline = run.job["startTime"] / 1000 + limit
            if limit > 0 and not run.started and deadline <= until and self._blocked(run):
                self._end(run, "FAILURE", error=("LOCK", "Could not acquire the lock of an object in time"))

    def _start(self, run: Run) -> None:
        run.started = True
        # A job that waited starts when its turn comes, not at the time it asked for.
        run.wake = self.time
        _set_state(run.job, "RUNNING")
        run.log.append(f"{round(self.time * 1000)} RUNNING {run.job.name}")
        self._step(run)

    def _step(self, run: Run) -> None:
        try:
            seconds = next(run.work)
        except StopIteration as stop:
            self._end(run, "SUCCESS", result=stop.value)
        except JobFailure as failure:
            self._end(run, "FAILURE", error=(failure.error_type, failure.message))
        except ApiError as refused:
            self._end(run, "FAILURE", error=("WS_API", f"ovm.mgr.ws.model.WsException: {refused.code}: {refused.text}"))
        except Exception as problem:
            traceback.print_exc(file=sys.stderr)
            self._end(run, "FAILURE", error=("INTERNAL", f"{type(problem).__name__}: {problem}"))
        else:
            run.wake = self.time + seconds
        self.on_change()

    def _end(
        self,
        run: Run,
        state: str,
        *,
        result: Ref | None = None,
        error: tuple[str, str] | None = None,
        by: str | None = None,
    ) -> None:
        self._runs.remove(run)
        for child in run.children:
            if not child["done"]:
                self._finish(child, state, error=error, by=by)
        self._finish(run.job, state, result=result, error=error, by=by)
        run.log.append(f"{round(self.time * 1000)} {state} {error[1] if error else ''}".rstrip())
        self._transcripts[run.job.id] = run.log
        if state == "FAILURE":
            self._event(run)
        self._forget_old()
        self.on_change()

    def _finish(
        self,
        job: Obj,
        state: str,
        *,
        result: Ref | None = None,
        error: tuple[str, str] | None = None,
        by: str | None = None,
    ) -> None:
        _set_state(job, state)
        job.fields.update(
            done=True, summaryDone=True, endTime=round(self.time * 1000), resultId=result, abortedByUser=by
        )
        job["error"] = {"message": error[1], "type": error[0]} if error else None

    def _event(self, run: Run) -> None:
        target = next((ref for ref in run.locks if self._store.find(ref)), run.job.ref)
        moment = round(self.time * 1000)
        self._store.add(
            "Event",
            str(len(self._store.all("Event")) + 1),
            0,
            name="Job Failed",
            acknowledgeable=True,
            acknowledged=False,
            associatedObjectId=target,
            createTime=moment,
            modifyTime=moment,
            eventSeverity="WARNING",
            eventType="job.construct.fail",
            summary=f"{run.job.name} failed",
        )

    def _forget_old(self) -> None:
        finished = [job for job in self._store.all("Job") if job["done"]]
        for job in finished[: max(0, len(finished) - self._switches["job_retention"])]:
            self._store.remove(job.ref)
            self._transcripts.pop(job.id, None)

    # -- what the API offers ---------------------------------------------------------------------------------

    def abort(self, job: Obj, user: str) -> None:
        """End an unfinished job as FAILURE of type ABORT; its work undoes itself."""
        run = next((item for item in self._runs if item.job is job), None)
        if run is None:
            raise ApiError("GEN_000012", f"Job {job.name} is not running, it cannot be aborted")
        run.work.close()
        self._end(run, "FAILURE", error=("ABORT", "Job aborted by user"), by=user)

    def abort_where(self, kind: str, ref: Ref, user: str) -> bool:
        """Abort the unfinished jobs of a kind on an object; whether there were any."""
        found = [run.job for run in self._runs if run.kind == kind and ref in run.locks]
        for job in found:
            self.abort(job, user)
        return bool(found)

    def active(self) -> list[Obj]:
        """Unfinished jobs."""
        return [run.job for run in self._runs]

    def running_kinds(self) -> list[dict[str, Any]]:
        """For the control interface: what is going on."""
        return [{"id": run.job.id, "kind": run.kind, "started": run.started} for run in self._runs]

    def transcript(self, job: Obj) -> str:
        """The text log of a job."""
        run = next((item for item in self._runs if item.job is job), None)
        lines = run.log if run else self._transcripts.get(job.id, [])
        return "\n".join([f"Job {job.id}: {job.name}", *lines]) + "\n"


def locked_error(obj: Obj) -> ApiError:
    """GEN_000029 with the text of ovm-rest-api 5.2."""
    text = f"Object {obj.name or obj.id} of type {obj.type} could not be modified as it was locked when it was fetched."
    return ApiError("GEN_000029", text)


def _set_state(job: Obj, state: str) -> None:
    job["jobRunState"] = state
    job["jobSummaryState"] = state
