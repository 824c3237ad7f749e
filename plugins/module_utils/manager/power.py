# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Stopping a VM in good order for its backup, and starting it again whatever happened (ovm-rest-api 9.3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import (
    ConflictError,
    JobFailedError,
    JobTimeoutError,
    ManagerError,
    ManagerResponseError,
    ManagerUnreachableError,
    PowerStateError,
)
from .answers import SESSION_CAPS
from .jobs import CONFLICT_TYPES
from .objects import flag, object_name, text

if TYPE_CHECKING:
    from .client import ManagerClient

_POLL = 2.0  # seconds between two looks at the state
_SETTLE = 30.0  # seconds that the manager may take to show a state which a finished job has brought about
_ABORT_LIMIT = 60.0  # seconds for the end of an aborted job
_ATTEMPTS = 3  # of what failed on a server: a start may find another one, a stop an agent that is there again
_START_AGAIN = CONFLICT_TYPES | {"SERVER"}
_AGENT_PAUSE = 15.0  # seconds, longer from time to time; the agent of a server takes about a minute to restart


@dataclass(frozen=True)
class PowerChange:
    """What became of a VM. C(duration) is seconds; C(killed) means that the guest had no chance to shut down."""

    vm_id: str
    vm_name: str
    before: str
    after: str
    changed: bool
    killed: bool
    duration: float


def stop_vm(
    client: ManagerClient, vm_id: str, *, timeout: float, kill: bool = False, kill_within: float = math.inf
) -> PowerChange:
    """Shut the guest down in good order and wait until the VM is STOPPED; ``timeout`` is seconds.

    A guest may ignore the request, and then its job runs for ever (ovm-rest-api 4.4): at the limit the job is aborted
    and, only if ``kill`` allows it, the VM is powered off. Otherwise PowerStateError is raised, with the state that the
    VM has then. Raises NotFoundError, too. SUSPENDED VMs are refused: their memory would be lost.

    No guest is powered off that has not had the whole time since it was asked, nor one whose request somebody else has
    withdrawn, or may never have arrived. One that was asked so late that this time ends after ``kill_within`` seconds
    is not powered off either. One that somebody else has asked is asked by us if that request is withdrawn.
    """
    return _Stop(client, vm_id, timeout, kill, kill_within).run()


def start_vm(client: ManagerClient, vm_id: str, *, timeout: float) -> PowerChange:
    """Bring a VM to RUNNING and wait until it is; ``timeout`` is seconds.

    Nothing is done to a VM that runs. One that is just stopping is waited for, then started; a suspended one is
    resumed. What may pass (C(may_pass)) is waited out, too. Raises PowerStateError and NotFoundError.
    """
    return _Start(client, vm_id, timeout).run()


def may_pass(error: ManagerError) -> bool:
    """Whether patience may help: no connection, an error page of the application server, something that is busy."""
    if isinstance(error, ManagerResponseError):
        # Sessions end by themselves, those of this run too; with which status they are refused is not known.
        return (error.details.get("status") or 0) >= 500 or error.details.get("error_code") in SESSION_CAPS
    return isinstance(error, (ConflictError, ManagerUnreachableError))


def foresee_stop(client: ManagerClient, vm_id: str) -> PowerChange:
    """Return what stop_vm would come to if the guest obeys; only reads, and raises what stop_vm would raise at once."""
    stop = _Stop(client, vm_id, 0.0, False)
    state = stop.read()
    if state not in ("STARTING", "STOPPED"):
        stop.check(state)
    stop.changed = state in ("RUNNING", "STARTING")
    return stop.done("STOPPED")


def foresee_start(client: ManagerClient, vm_id: str) -> PowerChange:
    """Return what start_vm would come to; only reads, and raises what start_vm would raise at once."""
    start = _Start(client, vm_id, 0.0)
    state = start.read()
    start.check(state)
    start.changed = state in ("STOPPED", "STOPPING", "SUSPENDED")
    return start.done("RUNNING")


class _Change:
    """What stopping and starting have in common."""

    def __init__(self, client: ManagerClient, vm_id: str, timeout: float) -> None:
        self.client = client
        self.vm_id = vm_id
        self.timeout = timeout
        self.started = client.clock()
        self.name = vm_id
        self.before = ""
        self.changed = False
        self.killed = False
        self.vm: Mapping[str, Any] = {}

    def read(self) -> str:
        self.vm = self.client.get("Vm", self.vm_id)
        self.name = object_name(self.vm) or self.vm_id
        state = text(self.vm, "vmRunState")
        self.before = self.before or state
        return state

    def remaining(self) -> float:
        return max(0.0, self.started + self.timeout - self.client.clock())

    def settle(self, wanted: tuple[str, ...], limit: float) -> str:
        """Read the state until it is one of ``wanted`` or ``limit`` seconds are over; return the last one."""
        deadline = self.client.clock() + limit
        while True:
            state = self.read()
            if state in wanted or self.client.clock() >= deadline:
                return state
            self.client.sleep(min(_POLL, max(0.1, deadline - self.client.clock())))

    def done(self, after: str) -> PowerChange:
        return PowerChange(
            vm_id=self.vm_id,
            vm_name=self.name,
            before=self.before,
            after=after,
            changed=self.changed,
            killed=self.killed,
            duration=self.client.clock() - self.started,
        )

    def failed(self, message: str, state: str, cause: ManagerError | None = None) -> PowerStateError:
        facts = {
            key: value for key, value in (cause.details if cause else {}).items() if key.startswith(("job_", "error_"))
        }
        facts = {"vm_id": self.vm_id, "vm_name": self.name, "state": state, "asked": self.changed, **facts}
        return PowerStateError(f'VM "{self.name}" {message}', **facts)


class _Stop(_Change):
    def __init__(
        self, client: ManagerClient, vm_id: str, timeout: float, kill: bool, kill_within: float = math.inf
    ) -> None:
        super().__init__(client, vm_id, timeout)
        self.kill_allowed = kill
        self.kill_until = self.started + kill_within
        self.asked_at: float | None = None  # when the manager took the request, for which the VM may have been too busy

    def run(self) -> PowerChange:
        state = self.read()
        if state in ("STARTING", "STOPPING"):  # somebody else is at it, and may think better of it
            state = self.settle(("RUNNING", "STOPPED"), self.remaining())
        if state == "STOPPED":
            return self.done(state)
        self.check(state)
        # Whom we ask without time to wait would go down when nobody counts on it any more.
        cause = self.ask_guest() if state == "RUNNING" and self.remaining() > 0 else None
        # Nor is a guest waited for that goes on running and was not asked.
        wanted = ("STOPPED",) if self.asked_at is not None else ("RUNNING", "STOPPED")
        state = self.settle(wanted, self.patience(cause))
        if self.may_kill(cause, state):
            state = self.kill()
        if state == "STOPPED":
            return self.done(state)
        # The VM must not be left on its way down: what it is doing is found out before we say so.
        state = self.settle(("RUNNING", "STOPPED"), _SETTLE)
        if state == "STOPPED":
            return self.done(state)
        raise self.failed(self.refusal(state, cause), state, cause) from cause

    def check(self, state: str) -> None:
        """Raise PowerStateError for a state from which a VM cannot be shut down."""
        if state not in ("RUNNING", "STOPPING"):
            raise self.failed(f"is {state}: it can be shut down only while it is RUNNING.", state)

    def remaining(self) -> float:
        if not self.kill_allowed or self.asked_at is None:
            return super().remaining()
        return max(super().remaining(), min(self.asked_at + self.timeout, self.kill_until) - self.client.clock())

    def patience(self, cause: ManagerError | None) -> float:
        """Return for how long the VM is given to be STOPPED, once its request has come to an end."""
        if cause is None:
            return self.remaining() if self.asked_at is None else max(_SETTLE, self.remaining())
        # The manager could not have it shut down, perhaps because the guest knows no such request: before it is powered
        # off, whoever works in it has the time that is promised.
        return self.remaining() if self.kill_allowed and self.failed_for_good(cause) else 0.0

    def may_kill(self, cause: ManagerError | None, state: str) -> bool:
        """Whether the VM may be powered off: its time is over, and it did not use it."""
        if not self.kill_allowed or self.too_late() or state not in ("RUNNING", "STOPPING"):
            return False
        if self.asked_at is None or isinstance(cause, ManagerUnreachableError):
            return state == "STOPPING"  # else the guest may never have been asked
        return cause is None or isinstance(cause, JobTimeoutError) or self.failed_for_good(cause)

    def too_late(self) -> bool:
        """Whether nothing may be powered off any more. That moment itself may be the end of a time cut short."""
        return self.client.clock() >= self.kill_until

    @staticmethod
    def failed_for_good(cause: ManagerError) -> bool:
        """Whether the stop was refused or failed, other than for what somebody else does with the VM."""
        theirs = CONFLICT_TYPES | {"ABORT"}
        return isinstance(cause, JobFailedError) and cause.details.get("error_type") not in theirs

    def refusal(self, state: str, cause: ManagerError | None) -> str:
        if cause is not None and not isinstance(cause, JobTimeoutError):
            return f"was not shut down and is {state}: {cause.message}"
        if cause is not None:
            what = "The request was withdrawn"
        elif self.changed:
            what = "The job of the manager ended well"
        elif state == "STOPPING":
            what = "Somebody else has asked it to stop"
        else:
            what = f"It was {self.before} all that time and was not asked"
        why = ", for which it was too late" if self.kill_allowed and self.too_late() else ""
        return f"did not shut down in {self.timeout:g} s and is {state}. {what}; it was not powered off by force{why}."

    def ask_guest(self) -> ManagerError | None:
        """Submit the orderly stop and wait for it. Returns why it did not work, None if it did."""
        limit, failures = self.busy_limit(), 0
        while True:
            cause = self.ask_once(max(0.0, limit - self.client.clock()))
            kind = cause.details.get("error_type") if isinstance(cause, JobFailedError) else None
            pause = 0.0
            if kind in CONFLICT_TYPES and self.client.clock() < limit:
                # Rolled back because somebody else's job held the VM: nobody has asked the guest yet.
                pause = _POLL
            elif kind == "SERVER":
                # Nor has anybody if the server could not be told. Of a short time a part is left for the guest.
                failures += 1
                pause = min(_AGENT_PAUSE * failures, self.remaining() / 2) if failures < _ATTEMPTS else 0.0
                limit = self.busy_limit()
            if not pause or self.read() != "RUNNING":
                return cause
            self.client.sleep(pause)

    def busy_limit(self) -> float:
        """Return until when somebody else's job may be in the way of a request that is made now."""
        return self.client.clock() + min(self.client.conflict_timeout, self.remaining())

    def ask_once(self, conflict_timeout: float) -> ManagerError | None:
        """Do that once; C(conflict_timeout) are the seconds for which the VM may be too busy to be asked."""
        try:
            job = self.client.submit("PUT", "Vm", self.vm_id, "stop", conflict_timeout=conflict_timeout)
        except (ConflictError, JobFailedError) as error:  # busy, or against a rule: the state has changed perhaps
            return error
        except ManagerUnreachableError as error:
            if error.details.get("outcome") != "unknown":
                raise
            self.changed, self.asked_at = True, self.client.clock()
            return self.watch_unknown(error)
        self.changed, self.asked_at = True, self.client.clock()
        try:
            self.client.wait(job, timeout=self.remaining())
        except JobFailedError as error:
            return error
        except JobTimeoutError as error:
            self.client_abort(job)
            return error
        except BaseException:  # also an interruption: a stop that nobody waits for would take the VM down later
            self.client_abort(job)
            raise
        return None

    def client_abort(self, job: Mapping[str, Any]) -> None:
        try:
            self.client.abort(job, timeout=_ABORT_LIMIT)
        except ManagerError:
            return  # what counts is the state of the VM, which is read next

    def watch_unknown(self, error: ManagerUnreachableError) -> ManagerError | None:
        """The answer to the stop got lost. Returns the error if the VM shows no sign of stopping, else None."""
        state = self.settle(("STOPPING", "STOPPED"), min(_SETTLE, self.remaining()))
        if state not in ("STOPPING", "STOPPED"):
            return error
        state = self.settle(("STOPPED",), self.remaining())
        return None if state == "STOPPED" else error

    def kill(self) -> str:
        self.changed = True
        limit = min(self.client.conflict_timeout, self.kill_until - self.client.clock())
        try:
            job = self.client.submit("PUT", "Vm", self.vm_id, "kill", conflict_timeout=max(0.0, limit))
            self.client.wait(job, timeout=_ABORT_LIMIT)
            self.killed = True
        except JobFailedError as error:
            state = self.read()
            if state != "STOPPED":
                raise self.failed(f"could not be powered off and is {state}: {error.message}", state, error) from error
        return self.settle(("STOPPED",), _SETTLE)


class _Start(_Change):
    failures = 0  # jobs that failed

    def run(self) -> PowerChange:
        trouble: ManagerError | None = None
        while True:
            try:
                state, trouble = self.read(), None
                if state == "RUNNING" and self.at_rest():
                    return self.done(state)
                if state in ("STOPPED", "SUSPENDED"):
                    self.submit("start" if state == "STOPPED" else "resume", state)
                    continue
                self.check(state)
            except ManagerError as error:
                if not may_pass(error):
                    raise
                trouble = error
            if self.remaining() <= 0:
                if trouble is not None:
                    raise trouble
                raise self.failed(f"is {state} and did not come to RUNNING in {self.timeout:g} s.", state)
            self.client.sleep(min(_POLL, self.remaining()))

    def check(self, state: str) -> None:
        """Raise PowerStateError for a state from which a VM cannot come to RUNNING."""
        if state not in ("RUNNING", "STARTING", "STOPPED", "STOPPING", "SUSPENDED"):
            raise self.failed(f"is {state or 'in no known state'}: it cannot be started.", state)

    def at_rest(self) -> bool:
        """Whether no job holds the running VM. One does, for a while: it may be a stop that has just begun."""
        deadline = self.client.clock() + min(_SETTLE, self.remaining())
        while flag(self.vm, "locked") and self.client.clock() < deadline:
            self.client.sleep(_POLL)
            if self.read() != "RUNNING":
                return False
        return True

    def submit(self, action: str, state: str) -> None:
        """Start or resume. A failure that may pass is left to the next round; what counts is the state seen there."""
        self.changed = True
        try:
            job = self.client.submit("PUT", "Vm", self.vm_id, action, conflict_timeout=0.0)  # busy: next round
            self.client.wait(job, timeout=max(self.remaining(), 1.0))
        except JobTimeoutError as error:
            raise self.failed(
                f"did not come to RUNNING in {self.timeout:g} s: {error.message}", state, error
            ) from error
        except JobFailedError as error:
            if self.read() in ("RUNNING", "STARTING"):
                return
            self.failures += 1
            passing = error.details.get("error_type") in _START_AGAIN and self.failures < _ATTEMPTS
            if not passing or self.remaining() <= 0:
                raise self.failed(f"could not be started and is {state}: {error.message}", state, error) from error
            self.client.sleep(min(_POLL * self.failures, self.remaining()))
