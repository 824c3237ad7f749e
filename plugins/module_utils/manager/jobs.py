# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Waiting for the manager's jobs (ovm-rest-api 4).

Every write is answered by a job. A job is over when C(summaryDone) says that it and its children are; it succeeded
only if its C(jobRunState) is SUCCESS. An abort is a FAILURE with the error type ABORT.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Callable

from ..errors import (
    JobFailedError,
    JobTimeoutError,
    ManagerError,
    ManagerResponseError,
    ManagerUnreachableError,
    NotFoundError,
)
from .answers import excerpt, find_code
from .objects import object_id, object_name, references, text
from .session import ManagerSession

SUCCESS, FAILURE = "SUCCESS", "FAILURE"
_UNFINISHED = frozenset({"NONE", "CREATED", "RUNNING", "CHILD_QUEUED", "CHILD_RUNNING"})

# A job that failed for one of these was rolled back because of somebody else's work (ovm-rest-api 18.4).
CONFLICT_TYPES = frozenset({"LOCK", "OBJECT_OUT_OF_DATE", "OBJECT_DIRTY"})

_FIRST_PAUSE, _PAUSE, _LONGEST_PAUSE = 0.2, 1.0, 10.0  # seconds; a small job takes about 0.8 s (ovm-rest-api 4.4)
_OTHER_LOOKS = 3  # so that the error of a job that fails is not missed for long
_BAD_ANSWERS = 5  # error pages in a row that a wait survives: a manager that restarts shows some


def is_job(item: Any) -> bool:
    """Tell a Job from other answers."""
    return isinstance(item, Mapping) and bool(object_id(item)) and isinstance(item.get("jobRunState"), str)


def describe(job: Mapping[str, Any]) -> str:
    """Return C(job 1582725527174 "Clone Vm: app01") for messages."""
    name = object_name(job)
    return f'job {object_id(job)} "{name}"' if name else f"job {object_id(job)}"


def is_over(job: Mapping[str, Any]) -> bool:
    """Whether the job and its children have ended, well or badly. Raises ManagerResponseError for an unknown state."""
    state = job.get("jobRunState")
    if state not in _UNFINISHED and state not in (SUCCESS, FAILURE):
        raise ManagerResponseError(
            f"Oracle VM Manager reports the state {state!r} for {describe(job)}, which is not a known state. "
            "Whether the job has ended is unknown.",
            job_id=object_id(job),
            job_name=object_name(job),
            state=str(state),
            outcome="unknown",
        )
    done = job.get("summaryDone")
    return bool(job.get("done")) if done is None else done is True


def succeeded(job: Mapping[str, Any]) -> bool:
    """Whether a job that is over did its work, its children too (ovm-rest-api 4.1)."""
    return job.get("jobRunState") == SUCCESS and job.get("jobSummaryState") != FAILURE


def wait_for_job(
    session: ManagerSession,
    job: Mapping[str, Any],
    *,
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    progress: Callable[[Mapping[str, Any]], None] | None = None,
    seen: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Wait until the job is over and return it; ``timeout`` is seconds, ``progress`` sees every state that is read.

    ``seen`` is for a caller that has to look at the object anyway: its first looks take the place of those at the job.
    Once it is true, the job has done its work and is returned as it was last read.

    Connection loss is waited out until the time limit. Raises JobFailedError; JobTimeoutError, whose details hold the
    last known C(state) (the job is not aborted); ManagerResponseError if the job has an unknown state or has vanished.
    """
    deadline = clock() + timeout
    current = dict(job)
    pause, bad_answers = _FIRST_PAUSE, 0
    looks = _OTHER_LOOKS if seen is not None else 0
    lost: ManagerError | None = None
    while True:
        if lost is None:
            if progress is not None:
                progress(current)
            if is_over(current):
                if not succeeded(current):
                    raise failure(session, current)
                return current
        remaining = deadline - clock()
        if remaining <= 0:
            raise _timeout(current, timeout, lost) from lost
        sleep(min(pause, remaining))
        pause = min(pause * 2, _PAUSE) if pause < _PAUSE else min(pause * 1.5, _LONGEST_PAUSE)
        if seen is not None and looks > 0:
            looks -= 1
            if seen():
                return current
            continue
        try:
            current, lost, bad_answers = _read(session, current), None, 0
        except ManagerUnreachableError as error:
            lost = error
        except ManagerResponseError as error:
            bad_answers += 1
            if error.details.get("status", 0) < 500 or bad_answers >= _BAD_ANSWERS:
                raise
            lost = error


def _read(session: ManagerSession, job: Mapping[str, Any]) -> dict[str, Any]:
    try:
        answer = session.request("GET", "Job", object_id(job), repeat=False)
    except NotFoundError as error:
        raise ManagerResponseError(
            f"Oracle VM Manager no longer knows {describe(job)}. How it ended is unknown.",
            job_id=object_id(job),
            job_name=object_name(job),
            outcome="unknown",
        ) from error
    if not is_job(answer):
        raise ManagerResponseError(
            f"Oracle VM Manager answered with something else than a job when asked for {describe(job)}.",
            job_id=object_id(job),
            job_name=object_name(job),
        )
    return dict(answer)


def _timeout(job: Mapping[str, Any], timeout: float, lost: ManagerError | None) -> JobTimeoutError:
    state = text(job, "jobRunState")
    last = f"Its last known state is {state}"
    if lost is not None:
        last += f"; since then the manager could not be asked: {lost.message}"
    return JobTimeoutError(
        f"Oracle VM Manager did not finish {describe(job)} in {timeout:g} s. {last.rstrip('.')}. "
        "It may still be running.",
        job_id=object_id(job),
        job_name=object_name(job),
        state=state,
        timeout=timeout,
    )


def failure(session: ManagerSession, job: Mapping[str, Any]) -> JobFailedError:
    """Return the error for a job that is over without success; where it gives no reason, with that of its child."""
    message, kind = _reason(job)
    for child_id in references(job, "childJobIds") if not message else ():
        try:
            child = session.request("GET", "Job", child_id, repeat=False)
        except ManagerError:
            continue  # only an explanation is lost
        if is_job(child) and not succeeded(child):
            message, child_kind = _reason(child)
            kind = kind or child_kind
        if message:
            break
    by = text(job, "abortedByUser")
    aborted = f" (aborted by {by})" if by else ""
    shown = excerpt(message.encode()) or "it gives no reason"
    return JobFailedError(
        f"Oracle VM Manager could not finish {describe(job)}{aborted}: {shown}",
        job_id=object_id(job),
        job_name=object_name(job),
        error_type=kind,
        error_code=find_code(message),
        reason=message or None,
    )


def _reason(job: Mapping[str, Any]) -> tuple[str, str | None]:
    error = job.get("error")
    if not isinstance(error, Mapping):
        return "", None
    return text(error, "message"), text(error, "type") or None
