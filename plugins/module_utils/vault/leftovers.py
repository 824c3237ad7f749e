# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What dead runs have left in a vault, and its removal. No recovery point that was published is ever touched.

Work on a client is done under its lock. A dead run's lock that owes something, or that names a VM which may have a
clone on the manager, is put back as it was: who settles that finds it there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Callable

from ..errors import CorruptVaultError, InvalidInputError, VaultLockedError
from .files import (
    awaits_readers,
    drop_unfinished,
    entries,
    exists,
    file_entry,
    is_temporary,
    names,
    remove_empty_directory,
    remove_file,
    total_size,
)
from .jobs import JobStore, vault_of_run
from .lock import ClientLock, owes
from .manifest import MANIFEST_NAME
from .points import Client, Vault
from .removal import is_kept
from .runs import judge, read_locks
from .storage.failures import vault_errors
from .summary import format_bytes
from .text import one_line

_LEASE = 1800.0  # seconds


@dataclass(frozen=True)
class Leftover:
    """A thing that a dead run left. C(path) is relative to the vault; C(kind) is one of C(KINDS)."""

    kind: str
    path: str
    reason: str
    client: str | None = None
    run_id: str | None = None
    bytes: int = 0


@dataclass(frozen=True)
class Kept:
    """What looks like a leftover and stays, and why."""

    path: str
    reason: str


# An unpublished recovery point, a temporary file, a lock that owes nothing, an empty folder of a client,
# an open job (which is closed and not removed), a folder of a job that is closed.
KINDS = ("point", "file", "lock", "client", "job", "job_folder")


@dataclass
class Findings:
    """What was found, or with C(check=False) removed; and what was kept."""

    leftovers: list[Leftover] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types, in the order of the paths."""
        found = sorted(self.leftovers, key=lambda item: item.path)
        return {
            "leftovers": [asdict(item) for item in found],
            "kept": [asdict(item) for item in sorted(self.kept, key=lambda item: item.path)],
            "bytes": sum(item.bytes for item in found),
        }


class Cleaner:
    """Looks through a vault. With C(check) it finds the same and writes nothing.

    C(run_id) is that of the clean-up itself, for the locks; C(limit) the seconds after which something that no lock
    guards counts as left.
    """

    def __init__(
        self, vault: Vault, *, owner: str, run_id: str, limit: float, clock: Callable[[], float], check: bool
    ) -> None:
        self._vault = vault
        self._owner = owner
        self._run_id = run_id
        self._limit = limit
        self._clock = clock
        self._check = check
        self._findings = Findings()
        self._living: list[str] = []  # the folders of clients that a run works on

    def run(self) -> Findings:
        """Return what was found; raise C(VaultWriteError) for what cannot be removed."""
        self._jobs()  # first: dead locks, which go with their clients, are a part of the proof
        for client in self._vault.client_folders():
            self._client(client)
        for directory in (self._vault.path, os.path.join(self._vault.path, "jobs")):
            self._old_files(directory)
        # An upload to which nothing came for long may be of a run that reads a large disk and finds no changes.
        for path in drop_unfinished(self._vault.path, self._limit, self._living, check=self._check):
            reason = "an upload that was interrupted"
            self._findings.leftovers.append(Leftover("file", self._relative(path), reason))
        return self._findings

    # --- clients -----------------------------------------------------------------------------------------------------

    def _client(self, client: Client) -> None:
        if self._is_deserted(client):
            return
        status = self._lock(client).status()
        if status is not None and status["alive"]:
            self._living.append(client.directory)
            self._keep_for_the_living(client, status)
            return
        seen = list(self._of_client(client, status))
        if self._check or not (seen or client.unpublished()):
            self._findings.leftovers += seen
            return
        lock = self._lock(client)
        try:
            lock.hold(_LEASE)
        except VaultLockedError as error:
            self._living.append(client.directory)
            self._findings.kept.append(Kept(self._relative(client.directory), error.message))
            return
        try:
            # Looked for again: what was there before the lock was ours may have been finished since.
            taken = {**lock.taken_over, "debts": lock.debts} if lock.taken_over is not None else None
            found = list(self._of_client(client, taken))
            removed = client.remove_unpublished()
            for item in found:
                if item.kind == "file":
                    self._unlink(item.path)
                if item.kind != "point" or os.path.basename(item.path) in removed:
                    self._findings.leftovers.append(item)
        finally:
            lock.give_back()

    def _of_client(self, client: Client, status: dict[str, Any] | None) -> Iterator[Leftover]:
        """Yield what is left in the folder of a client that no living run has the lock of."""
        run_id = status.get("run_id") if status is not None else None
        for name in client.unpublished():
            path = os.path.join(client.directory, name)
            if is_kept(path):
                continue  # whoever clears away puts it back
            if self._check and awaits_readers(path):
                continue  # it goes with them; the clean-up tells of it when it went
            reason = "a recovery point that was never published, or whose removal was interrupted"
            yield Leftover("point", self._relative(path), reason, client.name, run_id, total_size(path))
        for name in names(client.directory):
            path = os.path.join(client.directory, name)
            if exists(os.path.join(path, MANIFEST_NAME)):  # what is not published goes as a whole
                yield from self._old_files_of(path, client.name)
        # Some files of a client are written without its lock.
        yield from self._old_files_of(client.directory, client.name)
        if status is not None and not owes(status):
            path = os.path.join(client.directory, "lock.json")
            reason = f"a lock of run {run_id or 'unknown'}, which is dead and owes nothing"
            yield Leftover("lock", self._relative(path), reason, client.name, run_id, 0)

    def _is_deserted(self, client: Client) -> bool:
        """Remove the folder of a client that nobody ever filled; return whether it is one."""
        if names(client.directory):
            return False
        if self._age_of(client.directory) <= self._limit:
            return True  # a run may be about to take its lock
        reason = "an empty folder: nothing was ever backed up into it"
        item = Leftover("client", self._relative(client.directory), reason, client.name)
        if not self._check:
            remove_empty_directory(client.directory)
        self._findings.leftovers.append(item)
        return True

    def _keep_for_the_living(self, client: Client, status: dict[str, Any]) -> None:
        run_id = status.get("run_id") or "unknown"
        for name in client.unpublished():
            path = self._relative(os.path.join(client.directory, name))
            self._findings.kept.append(Kept(path, f"run {run_id} has the lock of the client and may be filling it"))

    def _lock(self, client: Client) -> ClientLock:
        return client.lock(owner=self._owner, run_id=self._run_id)

    # --- jobs --------------------------------------------------------------------------------------------------------

    def _jobs(self) -> None:
        directory = os.path.join(self._vault.path, "jobs")
        with vault_errors("list", directory):
            there = entries(directory) if exists(directory) else []
        found = [entry for entry in there if not entry.name.startswith(".")]
        jobs = {entry.name[: -len(".json")] for entry in found if entry.name.endswith(".json")}
        folders = {entry.name for entry in found if entry.is_folder}
        store, states = JobStore(self._vault), {}
        for run_id in sorted(jobs | folders):
            try:
                vault_of_run(run_id)
                states[run_id] = store.read(run_id)["state"] if run_id in jobs else None
            except InvalidInputError:
                continue  # not ours
            except CorruptVaultError as error:
                self._findings.kept.append(Kept(f"jobs/{run_id}.json", error.message))
        locks = read_locks(self._vault, self._owner)
        for run_id, state in states.items():
            if state == "running":
                verdict = judge(self._vault, run_id, locks, now=self._clock(), limit=self._limit)
                if verdict.dead:
                    self._close(store, run_id, verdict.reason)
                else:
                    self._findings.kept.append(Kept(f"jobs/{run_id}.json", verdict.reason))
            elif run_id in folders:
                self._job_folder(store, run_id, state)

    def _close(self, store: JobStore, run_id: str, reason: str) -> None:
        if not self._check:
            store.finish(run_id, now=self._clock())
        self._findings.leftovers.append(Leftover("job", f"jobs/{run_id}.json", f"an open job: {reason}", None, run_id))

    def _job_folder(self, store: JobStore, run_id: str, state: str | None) -> None:
        path = os.path.join(self._vault.path, "jobs", run_id)
        if state == "finished":
            reason = "the records of the VMs of a job that is closed, which holds them"
        elif names(path):
            self._findings.kept.append(Kept(f"jobs/{run_id}", "records of VMs without the job that they belong to"))
            return
        elif self._age_of(path) <= self._limit:
            return  # a job that is being opened
        else:
            reason = "an empty folder: its job was never opened"
        item = Leftover("job_folder", f"jobs/{run_id}", reason, None, run_id, total_size(path))
        if not self._check:
            if state == "finished":
                store.finish(run_id, now=self._clock())
            else:
                remove_empty_directory(path)
        self._findings.leftovers.append(item)

    # --- files without a lock ----------------------------------------------------------------------------------------

    def _old_files(self, directory: str) -> None:
        found = list(self._old_files_of(directory, None))
        for item in found if not self._check else ():
            self._unlink(item.path)
        self._findings.leftovers += found

    def _old_files_of(self, directory: str, client: str | None) -> Iterator[Leftover]:
        """Yield the temporary files in a folder of which nobody knows who writes there: only old ones are left."""
        for name in names(directory):
            path = os.path.join(directory, name)
            if is_temporary(name) and self._age_of(path) > self._limit:
                reason = "a file whose writing was interrupted"
                yield Leftover("file", self._relative(path), reason, client, None, total_size(path))

    def _unlink(self, relative: str) -> None:
        remove_file(os.path.join(self._vault.path, relative))

    def _age_of(self, path: str) -> float:
        try:
            modified = file_entry(path).modified
        except OSError:
            return 0.0
        # A folder in a bucket has no time, and one that seems empty holds what stands for a file that was removed.
        return self._clock() - modified if modified else 0.0

    def _relative(self, path: str) -> str:
        return os.path.relpath(path, self._vault.path)


def leftover_lines(found: Mapping[str, Any]) -> list[str]:
    """Return lines of text for findings in the form of C(Findings.as_dict)."""
    lines = [
        f"leftover: {item['path']}, {item['reason']}" + (f" ({format_bytes(item['bytes'])})" if item["bytes"] else "")
        for item in found["leftovers"]
    ]
    return [one_line(text) for text in [*lines, *(f"kept: {item['path']}: {item['reason']}" for item in found["kept"])]]
