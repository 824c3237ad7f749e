# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Which runs are dead, and how that is known.

No process watches a run. What it leaves in the vault tells of it: the locks that it holds, its job, and the records of
the VMs that it has finished. A run is dead when one of these is so, and none of its locks is alive:

* its job is closed,
* a lock of it has run out, which it would have renewed, and nothing was heard of it after that: a run goes on with
  other VMs, or tries again, when one of its modules was interrupted and ended its lease,
* it has given no sign of life for longer than a limit: no lock, no record of a VM, nothing but an open job or none.

A lock that cannot be read may be anybody's. While there is one, no run is taken for dead.
"""

from __future__ import annotations

import calendar
import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import CorruptVaultError, PointNotFoundError
from .files import entries
from .jobs import JobStore, vault_of_run
from .points import Vault
from .storage.failures import vault_errors
from .summary import format_seconds

# Whoever is done with a client and leaves what it owes gives its lock a lease below this: no sign of death.
_GIVEN_UP = 1.0
# Seconds by which the last sign of a run that is dead may seem to be later than the end of its lease: the clocks of
# proxies, control node and the vault's server agree within a few seconds.
_MARGIN = 5.0
_SHOWN = ("run_id", "owner", "host", "heartbeat", "lease", "alive", "vm_id", "vm_name", "manager_id")


@dataclass(frozen=True)
class Held:
    """A lock of a client as it was found. C(alive): its run may be at work; C(run_id): nothing if it is unreadable."""

    client: str
    run_id: str | None
    alive: bool
    status: dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """Whether a run is dead, and the proof, or what stands against it."""

    dead: bool
    reason: str


def read_locks(vault: Vault, owner: str = "") -> list[Held]:
    """Return the locks of all clients, by client."""
    found = [(client, client.lock(owner=owner, run_id="").status()) for client in vault.client_folders()]
    return [
        Held(client.name, status.get("run_id") or None, bool(status["alive"]), status)
        for client, status in found
        if status is not None
    ]


def describe_locks(vault: Vault, owner: str) -> list[dict[str, Any]]:
    """Return the locks of all clients in plain types."""
    locks = read_locks(vault, owner)
    return [
        {
            "client": lock.client,
            **{key: lock.status.get(key) for key in _SHOWN},
            "given_up": _is_given_up(lock),
            "lived_on": lived_on(vault, lock.run_id, locks),
            "vm_stopped": bool((lock.status.get("debts") or {}).get("vm_stopped")),
        }
        for lock in locks
    ]


def judge(vault: Vault, run_id: str, locks: Sequence[Held], *, now: float, limit: float) -> Verdict:
    """Return whether a run of this vault is dead. C(limit): seconds without a sign of life.

    C(locks) have to be read after what the run is judged for: then a run that still had that had its lock, too.
    """
    unreadable = next((lock for lock in locks if lock.alive and lock.run_id is None), None)
    if unreadable is not None:
        return Verdict(False, f"the lock of client {unreadable.client} cannot be read: it may be that of this run")
    own = [lock for lock in locks if lock.run_id == run_id]
    alive = next((lock for lock in own if lock.alive), None)
    if alive is not None:
        return Verdict(False, f"the run may be at work: it has the lock of client {alive.client}")
    job = _job(vault, run_id)
    if job is not None and job["state"] == "finished":
        return Verdict(True, "the job of the run is finished")
    ran_out = next((lock for lock in own if not _is_given_up(lock)), None)
    lock_state = "has no lock"
    if ran_out is not None:
        if not lived_on(vault, run_id, locks):
            return Verdict(True, f"the lock of the run on client {ran_out.client} ran out")
        lock_state = f"went on after its lock on client {ran_out.client} had run out"
    silent = now - max([last_sign(vault, run_id, job), *map(_heartbeat, own)])
    state = "its job is open" if job is not None else "it has no readable job"
    text = f"the run {lock_state}, {state}, and the last sign of it is {format_seconds(silent)} old"
    if silent > limit:
        return Verdict(True, text)
    return Verdict(False, f"{text}; it counts as dead after {format_seconds(limit)}")


def lived_on(vault: Vault, run_id: str | None, locks: Sequence[Held]) -> bool:
    """Return whether a run has been heard of after its locks ran out: then they do not tell that it is dead."""
    own = [lock for lock in locks if run_id is not None and lock.run_id == run_id]
    ends = [_heartbeat(lock) + _number(lock, "lease") for lock in own if not _is_given_up(lock)]
    if run_id is None or not ends:
        return False
    return max([*map(_heartbeat, own), *_records(vault, run_id)]) > max(ends) + _MARGIN


def last_sign(vault: Vault, run_id: str, job: dict[str, Any] | None) -> float:
    """Return when a run was last heard of by its job: its start, or the newest record of a VM. Epoch seconds."""
    signs = [_time_of(run_id)]
    if job is not None and isinstance(job.get("started"), (int, float)):
        signs.append(float(job["started"]))
    return max([*signs, *_records(vault, run_id)])


def _records(vault: Vault, run_id: str) -> list[float]:
    """Return when the records of the VMs of a run were written. Not to know it is an error: it proves no death."""
    folder = os.path.join(vault.path, "jobs", run_id)
    with vault_errors("list", folder), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return [entry.modified for entry in entries(folder)]
    return []


def _is_given_up(lock: Held) -> bool:
    return 0 < _number(lock, "lease") < _GIVEN_UP


def _heartbeat(lock: Held) -> float:
    return _number(lock, "heartbeat")


def _number(lock: Held, key: str) -> float:
    value = lock.status.get(key)
    return float(value) if isinstance(value, (int, float)) else 0.0


def _job(vault: Vault, run_id: str) -> dict[str, Any] | None:
    try:
        return JobStore(vault).read(run_id)
    except (PointNotFoundError, CorruptVaultError):
        return None


def _time_of(run_id: str) -> float:
    vault_of_run(run_id)
    return float(calendar.timegm(time.strptime(run_id[:16], "%Y%m%dT%H%M%SZ")))
