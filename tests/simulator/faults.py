# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults that tests inject: into the answers to requests, and into jobs (ovm-rest-api 17.12)."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from itertools import count
from typing import Any

# What a request fault may do.
REQUEST_ACTIONS = frozenset(
    """unauthorized html_500 reset locked stale_generation delay error truncate not_json missing_worker""".split()
)
_ids = count(1)


@dataclass
class RequestFault:
    """The next ``times`` requests that match, after ``skip`` of them, do not get what they ask for.

    ``method``: a method or ``*``. ``path``: a shell pattern over the path below the base URI, e.g. ``/Vm/*/clone``.
    ``when``: ``before`` (the request has no effect) or ``after`` (it takes effect, only the answer is spoilt).
    ``times`` 0: until removed.
    """

    action: str
    method: str = "*"
    path: str = "*"
    times: int = 1
    skip: int = 0
    when: str = "before"
    seconds: float = 0.0
    status: int = 500
    code: str = "GEN_000000"
    message: str = "injected"
    hits: int = 0
    id: int = field(default_factory=lambda: next(_ids))

    def matches(self, method: str, path: str) -> bool:
        """Whether a request is meant; counts those to be skipped."""
        if self.method not in ("*", method) or not fnmatchcase(path, self.path):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        return True


@dataclass
class JobFault:
    """The next ``times`` jobs of a kind (a shell pattern, e.g. ``vm.clone``) fail or never end.

    ``name``: a shell pattern over the name of the job, e.g. ``Clone Vm: db01``.
    ``leftovers``: false (nothing is done), true (everything is done, only the job says FAILURE) or, for
    ``vm.clone``, ``disks`` (the cloned disks stay, the VM does not come about).
    """

    job: str
    name: str = "*"
    error_type: str = "SERVER"
    message: str = "OVMAPI_4010E injected failure"
    leftovers: bool | str = False
    never_ends: bool = False
    times: int = 1
    skip: int = 0
    hits: int = 0
    id: int = field(default_factory=lambda: next(_ids))


class Faults:
    """The faults in force."""

    def __init__(self) -> None:
        self._requests: list[RequestFault] = []
        self._jobs: list[JobFault] = []
        self.full_repositories: set[str] = set()

    def add(self, definition: dict[str, Any]) -> int:
        """Put a fault in force; with ``job`` it concerns jobs, else requests. ValueError if it makes no sense."""
        try:
            if "job" in definition:
                fault: RequestFault | JobFault = JobFault(**definition)
                self._jobs.append(fault)  # type: ignore[arg-type]
            else:
                fault = RequestFault(**definition)
                if fault.action not in REQUEST_ACTIONS:
                    raise ValueError(f"no fault {fault.action!r}; there are: {', '.join(sorted(REQUEST_ACTIONS))}")
                self._requests.append(fault)
        except TypeError as problem:
            raise ValueError(re.sub(r"^.*__init__\(\) ", "", str(problem))) from None
        return fault.id

    def remove(self, fault_id: int | None = None) -> None:
        """Remove one fault, or all of them with all other trouble."""
        self._requests = [item for item in self._requests if fault_id is not None and item.id != fault_id]
        self._jobs = [item for item in self._jobs if fault_id is not None and item.id != fault_id]
        if fault_id is None:
            self.full_repositories.clear()

    def take_request(self, method: str, path: str) -> RequestFault | None:
        """The fault that this request meets; it is used up by that."""
        for fault in self._requests:
            if fault.matches(method, path):
                fault.hits += 1
                if fault.times and fault.hits >= fault.times:
                    self._requests.remove(fault)
                return fault
        return None

    def take_job(self, kind: str, name: str) -> JobFault | None:
        """The fault that a new job of this kind and name meets."""
        for fault in self._jobs:
            if not (fnmatchcase(kind, fault.job) and fnmatchcase(name, fault.name)):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            fault.hits += 1
            if fault.times and fault.hits >= fault.times:
                self._jobs.remove(fault)
            return fault
        return None

    def as_list(self) -> list[dict[str, Any]]:
        """All faults in force."""
        return [*map(asdict, self._requests), *map(asdict, self._jobs)]
