# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The manager's objects and actions, on top of a session: lists, objects, writes that wait for their job."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Callable

from ..errors import ConflictError, JobFailedError, ManagerError, ManagerResponseError, ManagerUnreachableError
from .jobs import CONFLICT_TYPES, is_job, is_over, wait_for_job
from .objects import object_id, text
from .session import ConnectionSettings, ManagerSession

_READY_LIMIT = 180.0  # seconds; a manager that starts takes minutes (ovm-rest-api 6)
_CONFLICT_LIMIT = 120.0  # seconds; as long as an ordinary job of somebody else holds an object
_LONGEST_PAUSE = 10.0  # seconds
_SEEN_LIMIT = 60.0  # seconds; a manager that is started again does not answer for minutes (ovm-rest-api 6)
_RUN_STATES = frozenset({"STARTING", "RUNNING", "STOPPING", "STOPPED"})

Job = dict[str, Any]
Objects = list[dict[str, Any]]  # named here because inside the class, list is a method


class ManagerClient:
    """One manager, one session. C(job_timeout) and C(conflict_timeout) are seconds."""

    def __init__(
        self,
        session: ManagerSession,
        *,
        job_timeout: float = 3600.0,
        conflict_timeout: float = _CONFLICT_LIMIT,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        progress: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        self.session = session
        self.job_timeout = job_timeout
        self.conflict_timeout = conflict_timeout
        self.clock = clock
        self.sleep = sleep
        self.progress = progress
        self._manager: dict[str, Any] | None = None
        self._manager_id: str | None = None

    # --- reading ---

    def list(self, kind: str) -> Objects:
        """Return all objects of a type; there is no paging (ovm-rest-api 2.2)."""
        return self._objects(self.session.request("GET", kind), f"GET /{kind}")

    def get(self, kind: str, object_id_: str) -> dict[str, Any]:
        """Return one object. Raises NotFoundError."""
        answer = self.session.request("GET", kind, object_id_)
        if not isinstance(answer, dict):
            raise ManagerResponseError(f"Oracle VM Manager did not answer with an object to GET /{kind}/{object_id_}.")
        return answer

    def children(self, kind: str, object_id_: str, child: str) -> Objects:
        """Return the objects of type ``child`` that belong to an object. Raises NotFoundError."""
        answer = self.session.request("GET", kind, object_id_, child)
        return self._objects(answer, f"GET /{kind}/{object_id_}/{child}")

    def info(self, *, timeout: float = _READY_LIMIT) -> dict[str, Any]:
        """Return the Manager object, once it says that it is RUNNING (ovm-rest-api 6).

        Raises ManagerUnreachableError if it does not within ``timeout`` seconds.
        """
        deadline = self.clock() + timeout
        while True:
            found = self.list("Manager")
            if len(found) != 1:
                raise ManagerResponseError(f"GET /Manager gave {len(found)} objects where one was expected.")
            state = text(found[0], "managerRunState")
            if state == "RUNNING":
                self._manager = found[0]
                self._manager_id = text(found[0], "managerUuid") or object_id(found[0])
                return found[0]
            if state not in _RUN_STATES:
                raise ManagerResponseError(f"Oracle VM Manager reports the unknown run state {state!r}.", state=state)
            if self.clock() >= deadline:
                raise ManagerUnreachableError(
                    f"Oracle VM Manager at {self.session.settings.url} is {state}, not RUNNING, since {timeout:g} s.",
                    url=self.session.settings.url,
                    state=state,
                )
            self.sleep(1.0)

    @property
    def manager(self) -> dict[str, Any]:
        """The Manager object as it was when the client connected."""
        return self.info() if self._manager is None else self._manager

    @property
    def manager_id(self) -> str:
        """The UUID of the manager; asked once."""
        if self._manager_id is None:
            self.info()
        return self._manager_id or ""

    def seen(self, *, now: float) -> dict[str, Any]:
        """Return a note that this manager runs, which another process on this host may take for true for a minute."""
        return {"id": self.manager_id, "url": self.session.settings.url, "host": platform.node(), "time": now}

    def trust(self, seen: Mapping[str, Any], *, now: float) -> bool:
        """Take such a note for true, unless it is of elsewhere or too old; then the manager has to be asked."""
        here = {"url": self.session.settings.url, "host": platform.node()}
        known = all(seen.get(key) == value for key, value in here.items()) and isinstance(seen.get("id"), str)
        at = seen.get("time")
        if known and isinstance(at, (int, float)) and 0 <= now - at < _SEEN_LIMIT:
            self._manager_id = str(seen["id"])
            return True
        return False

    # --- writing ---

    def submit(
        self,
        method: str,
        *segments: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        conflict_timeout: float | None = None,
    ) -> Job:
        """Send a write and return its job, which may not have ended.

        A write that is refused because the object is busy has not been carried out; it is repeated until
        C(conflict_timeout) is over, then ConflictError is raised.
        """
        action = f"{method} /{'/'.join(segments)}"
        for pause in self._pauses(self.conflict_timeout if conflict_timeout is None else conflict_timeout):
            try:
                answer = self.session.request(method, *segments, query=query, body=body)
                break
            except ConflictError:
                if pause is None:
                    raise
                self.sleep(pause)
        if not is_job(answer):
            raise ManagerResponseError(
                f"Oracle VM Manager did not answer with a job to {action}. Whether it was carried out is unknown.",
                outcome="unknown",
            )
        return dict(answer)

    def wait(
        self, job: Mapping[str, Any], *, timeout: float | None = None, seen: Callable[[], bool] | None = None
    ) -> Job:
        """Wait for a job of C(submit) and return it finished; see wait_for_job."""
        limit = self.job_timeout if timeout is None else timeout
        return wait_for_job(
            self.session, job, timeout=limit, clock=self.clock, sleep=self.sleep, progress=self.progress, seen=seen
        )

    def run(
        self,
        method: str,
        *segments: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        timeout: float | None = None,
        repeatable: bool = False,
        seen: Callable[[], bool] | None = None,
    ) -> Job:
        """Send a write, wait for its job and return the finished job; ``seen`` as for wait_for_job.

        ``repeatable`` is for writes that do no harm when done twice (delete, modify): then a job that failed because
        another one held the object is submitted again, too.
        """
        for pause in self._pauses(self.conflict_timeout):
            try:
                return self.wait(self.submit(method, *segments, query=query, body=body), timeout=timeout, seen=seen)
            except JobFailedError as error:
                if not repeatable or pause is None or error.details.get("error_type") not in CONFLICT_TYPES:
                    raise
                self.sleep(pause)
        raise AssertionError("unreachable")

    def modify(
        self, kind: str, object_id_: str, changes: Mapping[str, Any], *, conflict_timeout: float | None = None
    ) -> Job:
        """Read an object, change fields of it and send it back whole, unknown fields included (ovm-rest-api 18.5).

        Done again from the reading on if the object was locked or changed in between.
        """
        for pause in self._pauses(self.conflict_timeout if conflict_timeout is None else conflict_timeout):
            try:
                current = self.get(kind, object_id_)
                body = {**current, **changes}
                return self.wait(self.submit("PUT", kind, object_id_, body=body, conflict_timeout=0.0))
            except ConflictError:
                if pause is None:
                    raise
            except JobFailedError as error:
                if pause is None or error.details.get("error_type") not in CONFLICT_TYPES:
                    raise
            self.sleep(pause)
        raise AssertionError("unreachable")

    def abort(self, job: Mapping[str, Any], *, timeout: float = 60.0) -> Job:
        """Abort a job (ovm-rest-api 4.2) and return it once it is over, however it ended.

        The answer to the abort itself is not documented and not looked at. Raises JobTimeoutError if the job goes on.
        """
        refused: ManagerError | None = None
        try:
            self.session.request("PUT", "Job", object_id(job), "abort")
        except ManagerError as error:  # most often: it has ended in the meantime; only its state counts
            refused = error
        try:
            return self.wait(job, timeout=timeout)
        except JobFailedError:
            current = self.get("Job", object_id(job))
            if is_over(current):
                return current
            raise
        except ManagerError as error:
            raise error from refused

    def _pauses(self, limit: float) -> Iterator[float | None]:
        """Yield growing pauses in seconds until ``limit`` is over, then None for the last try."""
        deadline, pause = self.clock() + limit, 1.0
        while True:
            remaining = deadline - self.clock()
            if remaining <= 0:
                yield None
                return
            yield min(pause, remaining)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    @staticmethod
    def _objects(answer: Any, action: str) -> Objects:
        if not isinstance(answer, list) or not all(isinstance(item, dict) for item in answer):
            raise ManagerResponseError(f"Oracle VM Manager did not answer with a list of objects to {action}.")
        return answer


@contextmanager
def connect(
    settings: ConnectionSettings,
    *,
    job_timeout: float = 3600.0,
    conflict_timeout: float = _CONFLICT_LIMIT,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    progress: Callable[[Mapping[str, Any]], None] | None = None,
    seen: Mapping[str, Any] | None = None,
    now: Callable[[], float] = time.time,
    **session_options: Any,
) -> Iterator[ManagerClient]:
    """Log in, wait until the manager is RUNNING, hand out a client, close the session in the end.

    C(seen) is what ManagerClient.seen has returned; then this need not be asked once more.

    C(session_options) go to ManagerSession (attempts, pause, rng, note, adapter).
    """
    with ManagerSession(settings, sleep=sleep, **session_options) as session:
        client = ManagerClient(
            session,
            job_timeout=job_timeout,
            conflict_timeout=conflict_timeout,
            clock=clock,
            sleep=sleep,
            progress=progress,
        )
        if seen is None or not client.trust(seen, now=now()):
            client.info()
        yield client
