# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The lock of a client: one writer at a time, seen by every host that shares the vault.

The lock is an object made exclusively, with owner, host, process and a heartbeat. A lock whose process is provably gone
(same boot of the same host, same process id space) is taken over. Any other old lock is reported and stays until
somebody breaks it knowingly, because a host that cannot be seen may still be writing.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
from collections.abc import Callable
from typing import Any

from ..errors import VaultLockedError
from .files import vault_errors, write_file

HEARTBEAT_SECONDS = 30.0
STALE_SECONDS = 300.0


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        # Process ids mean something only inside their name space: two containers of one host have different ones.
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _process_start(pid: int) -> str | None:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # The name of the program, in parentheses, may hold blanks; the start time is the 20th field after it.
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


class ClientLock:
    """A context manager that holds the lock of one client's folder and keeps its heartbeat going.

    Entering raises C(VaultLockedError) that says who holds it and since when. C(taken_over) then tells of a lock that
    was left by a process that is gone.
    """

    def __init__(
        self,
        directory: str,
        *,
        owner: str,
        run_id: str,
        break_lock: bool = False,
        clock: Callable[[], float] = time.time,
        heartbeat: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._path = os.path.join(directory, "lock.json")
        self._client = os.path.basename(directory)
        self._break = break_lock
        self._clock = clock
        self._heartbeat = heartbeat
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._document: dict[str, Any] = {
            "owner": owner,
            "run_id": run_id,
            "host": platform.node(),
            "pid": os.getpid(),
            "boot": _boot_id(),
            "process_start": _process_start(os.getpid()),
        }
        self.taken_over: dict[str, Any] | None = None

    def __enter__(self) -> ClientLock:
        now = self._clock()
        self._document.update(since=now, heartbeat=now)
        if not self._create():
            holder = self._holder()
            if not (self._break or self._is_gone(holder)):
                raise self._refusal(holder)
            self.taken_over = holder
            if not (self._set_aside(holder) and self._create()):
                raise self._refusal(self._holder())
        self._thread = threading.Thread(target=self._beat, name="vault-lock-heartbeat", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._mine():
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def check(self) -> None:
        """Raise C(VaultLockedError) when the lock is no longer ours, because somebody broke it."""
        if not self._mine():
            raise self._refusal(self._holder())

    def _create(self) -> bool:
        with vault_errors("lock", self._path):
            try:
                descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            except FileExistsError:
                return False
            with os.fdopen(descriptor, "wb") as file:
                file.write(json.dumps(self._document, sort_keys=True).encode("utf-8"))
                file.flush()
                os.fsync(file.fileno())
        return True

    def _set_aside(self, holder: dict[str, Any]) -> bool:
        """Remove the lock of C(holder), but not one that somebody else made in the meantime."""
        aside = f"{self._path}.{self._document['pid']}.{self._document['since']}"
        with vault_errors("remove", self._path):
            try:
                os.rename(self._path, aside)
            except FileNotFoundError:
                return True
            with open(aside, "rb") as file:
                same = file.read() == json.dumps(holder, sort_keys=True).encode("utf-8") or not holder
            if not same:
                with contextlib.suppress(FileExistsError):
                    os.link(aside, self._path)
            os.unlink(aside)
        return same

    def _beat(self) -> None:
        while not self._stop.wait(self._heartbeat):
            if not self._mine():
                return
            self._document["heartbeat"] = self._clock()
            # A full or unreachable vault is found by the writer; a missed heartbeat only makes the lock look older.
            with contextlib.suppress(Exception):
                write_file(self._path, json.dumps(self._document, sort_keys=True).encode("utf-8"))

    def _holder(self) -> dict[str, Any]:
        try:
            with open(self._path, "rb") as file:
                document = json.loads(file.read().decode("utf-8"))
            return document if isinstance(document, dict) else {}
        except (OSError, ValueError):
            return {}

    def _mine(self) -> bool:
        holder = self._holder()
        keys = ("owner", "run_id", "host", "pid", "process_start", "since")
        return bool(holder) and all(holder.get(key) == self._document.get(key) for key in keys)

    def _is_gone(self, holder: dict[str, Any]) -> bool:
        boot = self._document["boot"]
        same_place = boot and holder.get("boot") == boot and holder.get("host") == self._document["host"]
        if not same_place or not isinstance(holder.get("pid"), int):
            return False
        return _process_start(holder["pid"]) != holder.get("process_start")

    def _refusal(self, holder: dict[str, Any]) -> VaultLockedError:
        age = max(0.0, self._clock() - float(holder.get("heartbeat") or 0.0))
        text = (
            f"Client {self._client} is locked by run {holder.get('run_id', 'unknown')} "
            f"({holder.get('owner', 'unknown')}) on {holder.get('host', 'an unknown host')}, "
            f"process {holder.get('pid', 'unknown')}, last heartbeat {age:.0f} s ago"
        )
        if age > STALE_SECONDS:
            text += ". The lock is stale: make sure that this run is dead, then break the lock (break_lock: true)"
        else:
            text += ". Wait until that run has ended"
        return VaultLockedError(text, path=self._path, holder=holder)
