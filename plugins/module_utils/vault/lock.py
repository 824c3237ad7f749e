# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The lock of a client: one run at a time, seen by every host that shares the vault.

The lock is an object made exclusively. A run takes it before it clones or stops the VM and gives it back at the very
end, so it outlives the processes of the run: what counts is its lease, which every step of the run renews. While a
process of the run transfers data, it renews the lease by a heartbeat and stands in the lock too, so that two processes
of one run cannot write at once.

A lock is taken over when its run is provably gone: its lease has expired, or the process that held it without a lease
is dead (same boot of the same host, same process id space). Otherwise it is reported, and can be broken knowingly. A
writer that lost its lock notices before it publishes.

A run notes in the lock what it owes: a VM that it stopped and has to start. Whoever takes the lock over inherits that.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import VaultLockedError, VaultWriteError
from .processes import is_dead_process, this_process
from .storage.failures import vault_errors
from .storage.mounts import storage_of

HEARTBEAT_SECONDS = 30.0
STALE_SECONDS = 300.0
# How often a lock that changes hands while we look at it is looked at again.
_ATTEMPTS = 5
_PROCESS_KEYS = ("pid", "boot", "process_start")
_VM_KEYS = ("vm_id", "vm_name", "manager_id")


def _parse(content: bytes | None) -> dict[str, Any]:
    try:
        document = json.loads((content or b"").decode("utf-8"))
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def owes(holder: Mapping[str, Any]) -> bool:
    """Return whether a dead run's lock has something to be settled: a debt, or a VM that may have a clone."""
    debts = holder.get("debts")
    return bool(holder.get("vm_id")) or (isinstance(debts, dict) and any(debts.values()))


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


class ClientLock:
    """The lock of one client's folder, for one run.

    As a context manager it is held by this process, with a heartbeat; inside a run that has the lock already it joins
    in and leaves the lock to the run. C(hold) and C(release) are for the run. Taking it raises C(VaultLockedError) that
    says who holds it and since when. C(taken_over) tells of a dead run's lock. C(hand_over) takes the lock away from
    processes of this run that cannot be reached any more: should they be alive, they find that they have lost it.
    """

    def __init__(
        self,
        directory: str,
        *,
        owner: str,
        run_id: str,
        vm_id: str | None = None,
        vm_name: str | None = None,
        manager_id: str | None = None,
        break_lock: bool = False,
        hand_over: bool = False,
        clock: Callable[[], float] = time.time,
        heartbeat: float = HEARTBEAT_SECONDS,
    ) -> None:
        self.directory = directory
        self._path = os.path.join(directory, "lock.json")
        self._client = os.path.basename(directory)
        self._break = break_lock
        self._hand_over = hand_over
        self._clock = clock
        self._heartbeat = heartbeat
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._joined = False
        self._storage = storage_of(directory)
        self._document: dict[str, Any] = {
            "owner": owner,
            "run_id": run_id,
            "vm_id": vm_id,
            "vm_name": vm_name,
            "manager_id": manager_id,
            "host": platform.node(),
            "debts": {},
        }
        self._process = this_process()
        self.taken_over: dict[str, Any] | None = None

    def __enter__(self) -> ClientLock:
        self._joined = self._take(self._process)
        self._thread = threading.Thread(target=self._beat, name="vault-lock-heartbeat", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if not self._joined:
            # A lock that cannot be removed is taken over later: its process will be gone.
            with contextlib.suppress(VaultWriteError, VaultLockedError):
                self.give_back()
        elif self._mine():
            for key in _PROCESS_KEYS:
                self._document.pop(key, None)
            if kind is not None and not issubclass(kind, Exception):
                self._document["lease"] = 1.0  # interrupted, and the run with it: the next one need not wait
            with contextlib.suppress(Exception):
                self._renew()

    @property
    def debts(self) -> dict[str, Any]:
        """Return what this run owes, what it inherited included."""
        return dict(self._document["debts"])

    def status(self) -> dict[str, Any] | None:
        """Return who holds the lock, with C(alive) (whether that run may be at work), or nothing if it is free.

        All that is known of one that cannot be read at this moment is C(late), and that it may be anybody's.
        """
        try:
            found = self._content_found()
        except OSError:
            return {"alive": True, "late": True}
        return None if found is None else self._described(found)

    @property
    def held(self) -> bool:
        """Return whether this run has the lock."""
        return self._is_of_run(self._holder())

    def hold(self, lease: float, debts: Mapping[str, Any] | None = None) -> bool:
        """Take the lock for the whole run, or renew it, for C(lease) seconds; return whether it was taken just now.

        C(debts) replace what the lock says the run owes, nothing leaves them as they are.
        """
        self._document["lease"] = lease
        joined = self._take({})
        self._document["lease"] = lease
        if debts is not None:
            self._document["debts"] = dict(debts)
        self._renew()
        return not joined

    def foresee(self) -> bool:
        """Return what C(hold) would return, and refuse as it would, but write nothing; then ask for C(debts)."""
        found = self._on_disk()
        if found is None:
            return True
        holder = self._described(found)
        if not (self._is_joinable(holder) or self._is_handed_over(holder)):
            if holder["alive"] and not self._break:
                raise self._refusal(holder)
            self.taken_over = holder
        self._document["debts"] = holder.get("debts") or {}
        return self.taken_over is not None

    def release(self) -> bool:
        """Give the lock back; return whether it was ours to give. What cannot be read now may be: that is an error."""
        for _attempt in range(_ATTEMPTS):
            found = self._on_disk()
            holder = _parse(found)
            # Any process of the run may give back what the run holds; a lock without lease belongs to one process.
            if not found or not (self._is_mine(holder) or (self._is_of_run(holder) and "lease" in holder)):
                return False
            with vault_errors("remove", self._path):
                if self._storage.discard(self._path, found):
                    return True
        raise self._refusal(self._holder())

    def give_back(self) -> None:
        """Release the lock; but if a dead run had it and left something to be settled, it is that run's again.

        Then its lease is over, so whoever settles what dead runs have left finds it.
        """
        left = {**(self.taken_over or {}), "debts": self.debts}
        if self.taken_over is None or not owes(left):
            self.release()
            return
        if "lease" not in left or not self._is_gone(left):
            # Of a process that may be looked for on another host, or broken knowingly.
            left = {**{key: left[key] for key in left if key not in _PROCESS_KEYS}, "lease": 0.0}
        self._replace(json.dumps(left, sort_keys=True).encode("utf-8"))

    def written(self) -> float:
        """Return when the lock was last written, by the clock of the vault's storage."""
        with vault_errors("look at", self._path):
            return self._storage.entry(self._path).modified

    def check(self) -> None:
        """Raise C(VaultLockedError) when the lock is no longer ours, because somebody broke it."""
        self._require(self._on_disk())

    def _require(self, found: bytes | None) -> None:
        holder = _parse(found)
        if self._is_mine(holder):
            return
        if found is not None:
            raise self._refusal(holder)
        raise VaultLockedError(
            f"The lock of client {self._client}, which this run ({self._document['run_id']}) held, was removed by "
            "somebody else: nothing more is written",
            path=self._path,
            holder={},
        )

    def _take(self, process: Mapping[str, Any]) -> bool:
        """Make the lock, join our own run's (then return true), or take over that of a dead run."""
        first: dict[str, Any] | None = None
        own, before = dict(self._document), self.taken_over
        for _attempt in range(_ATTEMPTS):
            now = self._clock()
            self._document = {**own, **process, "since": now, "heartbeat": now}
            self.taken_over = before
            found = self._on_disk()
            if found is None:
                if self._create():
                    self._hand_over = False
                    return False
                continue  # another one made it in this moment
            holder = _parse(found)
            joins = self._is_joinable(holder)
            if joins:
                kept = {key: holder[key] for key in holder if key not in _PROCESS_KEYS}
                self._document = {**kept, **process, "heartbeat": now}
            else:
                # Only the lock that was there at first is broken, not one that another run takes meanwhile.
                first = holder if first is None else first
                broken = self._break and holder.get("run_id") == first.get("run_id")
                if not (broken or self._is_handed_over(holder) or self._is_gone(holder)):
                    raise self._refusal(holder)
                self._inherit(holder)
            with vault_errors("lock", self._path):
                if self._storage.swap(self._path, found, self._content()):
                    self._hand_over = False  # done: from now on it is renewed
                    return joins
        self.taken_over = before
        raise self._refusal(self._holder())

    def _is_joinable(self, holder: Mapping[str, Any]) -> bool:
        """Return whether the lock is held by this run, and by no other process of it."""
        if self._hand_over or not self._is_of_run(holder) or "lease" not in holder:
            return False
        return not holder.get("pid") or is_dead_process(holder)

    def _is_handed_over(self, holder: Mapping[str, Any]) -> bool:
        return self._hand_over and self._is_of_run(holder) and "lease" in holder

    def _create(self) -> bool:
        with vault_errors("lock", self._path):
            try:
                self._storage.create(self._path, self._content())
            except FileExistsError:
                return False
        return True

    def _content(self) -> bytes:
        return json.dumps(self._document, sort_keys=True).encode("utf-8")

    def _renew(self) -> None:
        """Write the lock again; raise C(VaultLockedError) when it is somebody else's by now."""
        self._document["heartbeat"] = self._clock()
        self._replace(self._content())

    def _replace(self, content: bytes) -> None:
        # Other processes of the run may do the same at the same time.
        for _attempt in range(_ATTEMPTS):
            found = self._on_disk()
            self._require(found)
            with vault_errors("write", self._path):
                if self._storage.swap(self._path, found or b"", content):
                    return
        raise self._refusal(self._holder())

    def _inherit(self, holder: dict[str, Any]) -> None:
        """Take over what a dead run owed, and what that run had inherited itself."""
        if not self._is_of_run(holder):
            self.taken_over = holder
        debts = holder.get("debts")
        owed = debts if isinstance(debts, dict) else {}
        self._document["debts"] = {**self._document["debts"], **{key: owed[key] for key in owed if owed[key]}}
        # Should this run die as well, whoever settles that has to know of which VM it is.
        if holder.get("vm_id") and not self._document.get("vm_id"):
            self._document.update({key: holder.get(key) for key in _VM_KEYS})

    def _beat(self) -> None:
        while not self._stop.wait(self._heartbeat):
            # What cannot be read now may be read the next time; only a lock of another ends this.
            found = self._readable()
            if found != b"" and not self._is_mine(_parse(found)):
                return
            # A full or unreachable vault is found by the writer; a missed heartbeat only makes the lock look older.
            with contextlib.suppress(Exception):
                self._renew()

    def _on_disk(self) -> bytes | None:
        """Return the content of the lock, or nothing when there is none; raise C(VaultWriteError), for then it may be
        anybody's.
        """
        with vault_errors("read", self._path):
            return self._content_found()

    def _readable(self) -> bytes | None:
        """Return the same, but no bytes when it cannot be read at this moment."""
        try:
            return self._on_disk()
        except VaultWriteError:
            return b""

    def _content_found(self) -> bytes | None:
        """Return the content of the lock, or nothing when there is none; raise C(OSError)."""
        try:
            return self._storage.read(self._path)
        except FileNotFoundError:
            return None

    def _described(self, found: bytes) -> dict[str, Any]:
        holder = _parse(found)
        return {**holder, "alive": not self._is_gone(holder)}

    def _holder(self) -> dict[str, Any]:
        return _parse(self._readable())

    def _mine(self) -> bool:
        return self._is_mine(self._holder())

    def _is_mine(self, holder: Mapping[str, Any]) -> bool:
        # By the time too: a lock that was handed over to another process of the run is not the one that it was.
        keys = ["owner", "run_id", "host", "since"]
        if "lease" not in self._document:
            keys += ["pid", "process_start"]
        return bool(holder) and all(holder.get(key) == self._document.get(key) for key in keys)

    def _is_of_run(self, holder: Mapping[str, Any]) -> bool:
        return bool(holder.get("run_id") == self._document["run_id"])

    def _is_gone(self, holder: dict[str, Any]) -> bool:
        if "lease" in holder:
            return self._clock() > _number(holder.get("heartbeat")) + _number(holder["lease"])
        return is_dead_process(holder)

    def _refusal(self, holder: dict[str, Any]) -> VaultLockedError:
        age = max(0.0, self._clock() - _number(holder.get("heartbeat")))
        process = f", process {holder['pid']}" if holder.get("pid") else ""
        text = (
            f"Client {self._client} is locked by run {holder.get('run_id', 'unknown')} "
            f"({holder.get('owner', 'unknown')}) on {holder.get('host', 'an unknown host')}{process}, "
            f"last heard of {age:.0f} s ago"
        )
        if "lease" in holder:
            left = max(0.0, _number(holder["lease"]) - age)
            text += f". Wait until it has ended; if it is dead, its lock ends in {left:.0f} s or by break_lock: true"
        elif age > STALE_SECONDS:
            text += ". The lock is stale: make sure that this run is dead, then break the lock (break_lock: true)"
        else:
            text += ". Wait until that run has ended"
        return VaultLockedError(text, path=self._path, holder=holder)
