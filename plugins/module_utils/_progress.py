# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""How far a long module is, in a small file that the action plugin on the control node reads.

The module makes the directory of the file and removes it, so that whatever ends a module ends that, too. Trouble with
the file is never trouble of the module.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Callable

# What is worked on, the bytes done and the bytes in all: what the engine calls.
Report = Callable[[str, int, int], None]

WRITE_SECONDS = 1.0
# The rate is that of the last half minute: long enough for a steady number, short enough to tell what is so now.
WINDOW_SECONDS = 30.0


def progress_options() -> dict[str, Any]:
    """Return the options of the documentation fragment C(progress)."""
    return {"progress_file": {"type": "path"}}


class Rate:
    """Bytes per second over the last C(WINDOW_SECONDS)."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, now: float, done: int) -> float | None:
        """Take what is done by now; return the rate, or nothing while there is too little to go by."""
        if self._samples and (now < self._samples[-1][0] or done < self._samples[-1][1]):
            self._samples.clear()  # the clock was set back, or the work began again
        self._samples.append((now, done))
        # One sample from before the window stays, so that the window is covered as a whole.
        while len(self._samples) > 2 and self._samples[1][0] <= now - WINDOW_SECONDS:
            self._samples.popleft()
        since, before = self._samples[0]
        return (done - before) / (now - since) if now > since else None


class StatusFile:
    """The file of one run of a module, or nothing at all without a C(path)."""

    def __init__(
        self, path: str | None, *, vm: str, run_id: str | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._about = {"run_id": run_id, "vm": vm, "started": clock()}
        self._clock = clock
        self._lock = threading.Lock()
        self._made: bool | None = None
        self._phase: str | None = None
        self._rate = Rate()
        self._written: float | None = None

    def phase(self, verb: str) -> Report | None:
        """Return what the engine is to call while it does what the verb says, or nothing if nobody wants to know."""
        path = self._path
        if path is None:
            return None

        def report(what: str, done: int, total: int) -> None:
            self._report(path, f"{verb} {what}", done, total)

        return report

    def _report(self, path: str, phase: str, done: int, total: int) -> None:
        with self._lock:
            now = self._clock()
            if phase != self._phase:
                self._phase, self._rate = phase, Rate()
                self._rate.add(now, done)
            if self._written is not None and 0 <= now - self._written < WRITE_SECONDS:
                return
            self._written = now
            rate = self._rate.add(now, done)
            status = {**self._about, "phase": phase, "done": done, "total": total, "rate": rate, "updated": now}
            self._write(path, status)

    def _write(self, path: str, status: dict[str, Any]) -> None:
        # Full disk, no rights: the work goes on all the same.
        with contextlib.suppress(OSError, ValueError):
            if self._made is None:
                # It lies where all may write. Made by us and new, or somebody else could have put a link into it.
                self._made = False
                os.mkdir(os.path.dirname(path), 0o700)
                self._made = True
            if self._made:
                temporary = f"{path}.new"
                with open(temporary, "w", encoding="ascii") as file:
                    file.write(json.dumps(status) + "\n")
                os.replace(temporary, path)

    def remove(self) -> None:
        """Leave nothing behind."""
        with self._lock:
            if self._path is not None and self._made:
                shutil.rmtree(os.path.dirname(self._path), ignore_errors=True)
            self._made = False


@contextlib.contextmanager
def status_file(path: str | None, *, vm: str, run_id: str | None = None) -> Iterator[StatusFile]:
    """Say how far the block is, in the file that the option C(progress_file) names."""
    status = StatusFile(path, vm=vm, run_id=run_id)
    try:
        yield status
    finally:
        status.remove()


def parse_status(text: str) -> dict[str, Any] | None:
    """Return the status that a file held, or nothing if it is not whole and plausible.

    The text may have other lines around it, as the shells of some hosts greet whoever logs in.
    """
    for line in reversed(text.splitlines()):
        try:
            status = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(status, dict) and _plausible(status):
            return status
    return None


def _plausible(status: dict[str, Any]) -> bool:
    def count(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0

    rate = status.get("rate")
    return (
        isinstance(status.get("vm"), str)
        and isinstance(status.get("phase"), str)
        and count(status.get("done"))
        and count(status.get("total"))
        and (rate is None or (isinstance(rate, (int, float)) and math.isfinite(rate) and rate >= 0))
    )
