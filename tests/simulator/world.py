# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything that one simulated manager is made of."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from .clock import Clock
from .errors import ApiError, JobFailure, server_command, web_service
from .faults import Faults
from .jobs import Jobs
from .storage import Storage
from .store import Obj, Ref, Store
from .switches import Switches


class World:
    """The manager's state: objects, jobs, storage, faults, switches, time."""

    def __init__(
        self,
        state_dir: Path,
        *,
        clock: Clock | None = None,
        job_seconds: float = 0.2,
        shutdown_seconds: float | None = None,
    ) -> None:
        self.state_dir = state_dir
        self.clock = clock or Clock()
        self.switches = Switches()
        self.faults = Faults()
        self.store = Store()
        self.jobs = Jobs(self.store, self.clock, self.switches, self.faults, job_seconds)
        self.storage = Storage(state_dir / "OVS" / "Repositories", self.store)
        self.shutdown_seconds = 2 * job_seconds if shutdown_seconds is None else shutdown_seconds
        self.ignore_shutdown: set[str] = set()
        self.read_only = False
        self.counters: dict[str, int] = {}
        self._synced = -1
        self.jobs.on_change = self.sync

    @property
    def now(self) -> float:
        """The time of what is happening, seconds since the epoch."""
        return self.jobs.time

    @property
    def manager(self) -> Obj:
        return self.store.all("Manager")[0]

    def settle(self) -> None:
        """Carry out what is due, and bring the files in line."""
        self.jobs.settle()
        self.sync()

    def sync(self) -> None:
        """Write vm.cfg and the like if an object changed."""
        if self._synced != self.store.version:
            self._synced = self.store.version
            self.storage.sync()

    # -- helpers of the actions ------------------------------------------------------------------------------

    def repositories_of(self, refs: Collection[Ref | None]) -> set[Ref]:
        """Those of the references that are set, as a set."""
        return {ref for ref in refs if ref is not None}

    def file_system_kind(self, repository: Ref) -> str:
        """``ocfs2`` or ``nfs`` (ovm-rest-api 8.6)."""
        repo = self.store.get(*repository)
        fs = self.store.find(repo["fileSystemId"])
        return "ocfs2" if fs is not None and fs["storageElementId"] is not None else "nfs"

    def worker(self, repository: Ref) -> Obj:
        """A running server that has the repository; WORKER_SERVER_000001 if there is none."""
        repo = self.store.get(*repository)
        for ref in repo["presentedServerIds"]:
            server = self.store.find(ref)
            if server is not None and server["serverRunState"] == "RUNNING" and not server["maintenanceMode"]:
                return server
        raise web_service("WORKER_SERVER_000001", f"No worker server was found for repository {repo.name}")

    def check_space(self, repository: Ref, command: str) -> Obj:
        """The server that writes into the repository; the job fails if it is full."""
        server = self.worker(repository)
        if repository.id in self.faults.full_repositories:
            reason = "No space left on device"
            raise server_command(command, server.name, server["ipAddress"], reason, self.now)
        return server

    def rule_checks(self, check: Any) -> None:
        """Run a check at submission if rules are enforced there (switch rule_violations)."""
        if self.switches["rule_violations"] == "http":
            try:
                check()
            except JobFailure as failure:
                raise ApiError(failure.code, failure.message, kind="conflict") from None

    def next_number(self, counter: str, taken: Collection[int], first: int, rule: str) -> int:
        """Lowest free number, or the next of a counter (rows 11 and 12 of section 21)."""
        number = first if rule == "lowest" else self.counters.get(counter, first)
        while number in taken:
            number += 1
        self.counters[counter] = number + 1
        return number
