# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an operation of a tool costs, measured in a fresh process."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

_MEDIANS = ("wall", "cpu", "busy", "stolen", "rss", "read", "stored")
_LAUNCHER = Path(__file__).with_name("launcher.py")


class CommandFailed(Exception):
    """A command that is measured has failed; the text is its last output."""


@dataclass(frozen=True)
class Step:
    """A command to measure. C(source) becomes its standard input, C(changes) its environment."""

    command: Sequence[str | Path]
    environment: Mapping[str, str] = field(default_factory=dict)
    source: Path | None = None
    directory: Path | None = None


@dataclass(frozen=True)
class Measured:
    """Seconds and bytes.

    C(read) is what was asked of the kernel, or, where a tool says it, what it read of the disk. C(busy) is what all
    processors of the machine worked meanwhile, for the tool, for the kernel that writes for it, and for others;
    C(stolen) is what their host kept them from.
    """

    wall: float
    cpu: float
    rss: int
    read: int | None = None
    stored: int | None = None
    durable: float = 0.0
    busy: float = 0.0
    stolen: float = 0.0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return what stands in the report."""
        seconds = {name: round(getattr(self, name), 3) for name in ("wall", "cpu", "busy", "stolen")}
        numbers = {**seconds, "rss": self.rss, "stored": self.stored}
        return numbers if self.read is None else {**numbers, "read": self.read}


def measure(step: Step, field_directory: Path) -> tuple[Measured, str]:
    """Run a step; return what it cost, and its standard output."""
    with tempfile.TemporaryDirectory(prefix="measure-") as place:
        result = Path(place) / "result.json"
        source = str(step.source or os.devnull)
        launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), str(result), str(field_directory), source]
        done = subprocess.run(
            [*launcher, *map(str, step.command)],
            check=False,
            env={**os.environ, **step.environment},
            cwd=step.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
        if done.returncode:
            told = (done.stderr.strip() or done.stdout.strip())[-2000:]
            raise CommandFailed(f"{' '.join(map(str, step.command))}: exit code {done.returncode}\n{told}")
        return Measured(**json.loads(result.read_text(encoding="utf-8"))), done.stdout


def run(step: Step) -> None:
    """Run a step that is not measured."""
    with open(step.source or os.devnull, "rb") as source:
        done = _run(step, source)
    if done.returncode:
        raise CommandFailed(f"{' '.join(map(str, step.command))}: exit code {done.returncode}\n{done.stdout[-2000:]}")


def _run(step: Step, source: IO[bytes]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, step.command)),
        check=False,
        env={**os.environ, **step.environment},
        cwd=step.directory,
        stdin=source,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def median(rounds: Sequence[Measured]) -> Measured:
    """Return the median of each number; of what is counted, that of the rounds which have it."""

    def middle(name: str) -> Any:
        found = [value for value in (getattr(one, name) for one in rounds) if value is not None]
        return statistics.median(found) if found else None

    return replace(rounds[-1], **{name: middle(name) for name in _MEDIANS})


def stored_bytes(directory: Path) -> int:
    """Return the size of all files below a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
