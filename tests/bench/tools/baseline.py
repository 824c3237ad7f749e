# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The least that a full or an increment can cost: zstd level 1 and BLAKE3 over what they store.

In one process, which is the least of CPU, and in as many as there are processors, which is the least of wall.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ..measure import Step
from .base import FULL, INCREMENTAL, Place, Tool

_PROGRAM = Path(__file__).with_name("baseline_run.py")


class Baseline(Tool):
    """The engine's own libraries, without the engine."""

    def __init__(self, name: str, *, processes: int = 1) -> None:
        self.name = name
        self._processes = processes

    def install(self, directory: Path) -> str:
        import blake3
        import zstandard

        how = f"{self._processes} processes" if self._processes > 1 else "one process"
        return f"python zstandard {zstandard.__version__} level 1, blake3 {blake3.__version__}, {how}"

    def step(self, operation: str, place: Place) -> Step | None:
        if operation not in (FULL, INCREMENTAL):
            return None
        changes = [place.workload.changes] if operation == INCREMENTAL else []
        image, target = self.image(operation, place), place.repository / operation
        return Step([sys.executable, _PROGRAM, str(self._processes), image, target, *changes])
