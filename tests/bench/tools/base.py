# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a tool is to the benchmark."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..ground import Ground
from ..measure import Step
from ..workload import Workload

FULL, INCREMENTAL, UNCHANGED = "full", "incremental", "unchanged"
RESTORE, VERIFY, SYNTHETIC = "restore", "verify", "synthetic_full"
OPERATIONS = (FULL, INCREMENTAL, UNCHANGED, RESTORE, VERIFY, SYNTHETIC)


@dataclass(frozen=True)
class Place:
    """Where a tool works in a round. C(repository) is what counts as stored, C(scratch) is for caches and the like."""

    ground: Ground
    workload: Workload
    repository: Path
    scratch: Path
    target: Path


class Tool(ABC):
    """A tool, or one way to use it. C(restores) is the image that its last state gives back.

    C(copy_of) names the tool whose repository after the full it goes on with; it makes no full of its own.
    """

    name: str
    copy_of: str | None = None
    restores = "again"

    @abstractmethod
    def install(self, directory: Path) -> str:
        """Make it ready for use, below a directory; return its version or raise C(Unavailable)."""

    def unsuitable(self, ground: Ground) -> str | None:
        """Return why it cannot be measured on this ground."""
        return None

    def begin(self, place: Place) -> None:  # noqa: B027 - most have nothing to do
        """Prepare an empty repository; is not measured."""

    def prepare(self, operation: str, place: Place) -> None:  # noqa: B027 - most have nothing to do
        """Do what comes before an operation and is not measured."""

    @abstractmethod
    def step(self, operation: str, place: Place) -> Step | None:
        """Return the command for an operation, or nothing if the tool has none for it."""

    def told(self, output: str) -> Mapping[str, Any]:
        """Return what the tool itself says about an operation: C(read) replaces what was seen from outside."""
        return {}

    def image(self, operation: str, place: Place) -> Path:
        """Return the image that an operation reads."""
        version = {FULL: "base", INCREMENTAL: "day"}.get(operation, "again")
        return place.ground.image(version)

    def restored(self, place: Place) -> Path:
        """Return the image that a restore has made: the only large file below the target."""
        return max((path for path in place.target.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


class PipeTool(Tool):
    """One that can read a disk from its standard input, as it comes from a server."""

    @abstractmethod
    def from_pipe(self, name: str, place: Place, source: Path | None) -> Step:
        """Return the command for a backup of that; C(source) is the file to read, if it is one."""
