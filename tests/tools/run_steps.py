# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run make targets, all of them even if some fail, and close with a table of their times.

Usage: python run_steps.py --logs DIRECTORY TARGET[:LANES]...

There are two lanes, as the machines that the tests are made for have two cores; a third one gained nothing. A step that
spreads its tests over two processes says ``:2`` and runs alone. Steps begin in the order given, as lanes become free.
Each line of output begins with the name of its step; what a step said is also in a file of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

LANES = 2
TAIL = 60  # lines of a failed step that are shown again at the end
NAME_WIDTH = 12


@dataclass
class Step:
    """A make target, how many lanes it takes, and what became of it."""

    name: str
    lanes: int = 1
    begin: float = 0.0
    seconds: float = 0.0
    code: int | None = None
    lines: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """Return the word for the table."""
        return "ok" if self.code == 0 else "FAILED"


def parsed(text: str) -> Step:
    """Read TARGET or TARGET:CORES."""
    name, _colon, lanes = text.partition(":")
    return Step(name, min(int(lanes or 1), LANES))


class Runner:
    """Runs steps in lanes."""

    def __init__(self, make: str, logs: Path) -> None:
        self.make = make
        self.logs = logs
        self.ended = threading.Condition()
        self.print_lock = threading.Lock()
        self.free = LANES

    def run(self, steps: list[Step]) -> None:
        """Run all steps and return when the last one has ended."""
        waiting = list(steps)
        threads = []
        while waiting:
            with self.ended:
                self.ended.wait_for(lambda: any(step.lanes <= self.free for step in waiting))
                step = next(step for step in waiting if step.lanes <= self.free)
                self.free -= step.lanes
            waiting.remove(step)
            # Daemons: an interrupt ends this program at once, and make, which got it too, ends the steps.
            thread = threading.Thread(target=self.follow, args=(step,), daemon=True)
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()

    def follow(self, step: Step) -> None:
        """Run one step, pass on what it says, and give its lanes back."""
        step.begin = time.monotonic()
        try:
            command = [self.make, "--no-print-directory", step.name]
            with (self.logs / f"{step.name}.log").open("w", buffering=1, encoding="utf-8") as log:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    encoding="utf-8",
                    errors="replace",
                )
                assert process.stdout is not None
                self.say(step, "begins")
                self.copy(step, process.stdout, log)
                step.code = process.wait()
        finally:
            step.seconds = time.monotonic() - step.begin
            self.say(step, f"{step.verdict} after {step.seconds:.1f} s")
            with self.ended:
                self.free += step.lanes
                self.ended.notify_all()

    def copy(self, step: Step, source: IO[str], log: IO[str]) -> None:
        """Pass lines on as they come, and remember the last ones."""
        for line in source:
            log.write(line)
            step.lines = [*step.lines[-TAIL:], line.rstrip("\n")]
            with self.print_lock:
                print(f"{step.name:<{NAME_WIDTH}}| {step.lines[-1]}", flush=True)

    def say(self, step: Step, words: str) -> None:
        """Print a line of our own about a step."""
        with self.print_lock:
            print(f"{step.name:<{NAME_WIDTH}}=== {words}", flush=True)


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--logs", type=Path, required=True)
    parser.add_argument("steps", nargs="+", type=parsed)
    arguments = parser.parse_args()
    steps: list[Step] = arguments.steps
    make = os.environ.pop("MAKE", "") or "make"
    # What an outer make tells inner ones is about its own options; the steps are runs of their own.
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
        os.environ.pop(name, None)
    arguments.logs.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    Runner(make, arguments.logs).run(steps)
    failed = [step for step in steps if step.code != 0]
    for step in failed:
        print(f"\n=== the end of what {step.name} said " + "=" * 40)
        print("\n".join(step.lines))
    print("\n=== summary " + "=" * 67)
    for step in steps:
        print(f"{step.name:<{NAME_WIDTH}} {step.verdict:<6} {step.seconds:7.1f} s")
    print(f"{'all':<{NAME_WIDTH}} {'FAILED' if failed else 'ok':<6} {time.monotonic() - begin:7.1f} s")
    if failed:
        names = ", ".join(step.name for step in failed)
        print(f"Failed: {names}. Run one alone with: make {failed[0].name}. Their output: {arguments.logs}")
    sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
