# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The engine of this collection."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..ground import Ground
from ..measure import Step, run
from .base import FULL, INCREMENTAL, RESTORE, SYNTHETIC, UNCHANGED, VERIFY, Place, Tool

_PROGRAM = Path(__file__).resolve().parents[1] / "engine.py"
STAGE = Path(os.environ.get("OVM_BENCH_STAGE", "build/stage")).absolute()


def engine(operation: str, vault: Path, **options: object) -> Step:
    """Return the command for an operation of the engine."""
    settings = [f"{name}={value}" for name, value in options.items()]
    return Step([sys.executable, _PROGRAM, operation, vault, *settings], {"PYTHONPATH": str(STAGE)})


class Ovm(Tool):
    """C(maps): extent maps say what may have changed. C(day) is the image that an increment reads."""

    def __init__(self, name: str, *, maps: bool = True, day: str = "day", copy_of: str | None = None) -> None:
        self.name = name
        self.copy_of = copy_of
        self._maps = maps
        self._day = day
        self._differs = (INCREMENTAL,) if maps else (INCREMENTAL, UNCHANGED)

    def install(self, directory: Path) -> str:
        version = (STAGE / "ansible_collections/ovm/backup/galaxy.yml").read_text(encoding="utf-8")
        number = next(line.split()[1] for line in version.splitlines() if line.startswith("version:"))
        how = "extent maps" if self._maps else "hashes only"
        return f"ovm.backup {number}, zstd level 1, {how}" + (", clusters of 1 MiB" * (self._day == "coarse"))

    def unsuitable(self, ground: Ground) -> str | None:
        return ground.reason if self._maps and self.copy_of is not None and not ground.maps else None

    def begin(self, place: Place) -> None:
        if self.copy_of is None:
            place.repository.rmdir()
            run(engine("create", place.repository))

    def step(self, operation: str, place: Place) -> Step | None:
        if self.copy_of is not None and operation not in self._differs:
            return None  # the same as without this setting
        if operation in (FULL, INCREMENTAL, UNCHANGED):
            image = self.image(operation, place)
            if operation == FULL:
                return engine("full", place.repository, image=image)
            method = "extent_maps" if self._maps and place.ground.maps else "hash"
            return engine("incremental", place.repository, image=image, method=method)
        if operation == RESTORE:
            return engine("restore", place.repository, target=place.target)
        if operation in (VERIFY, SYNTHETIC):
            return engine(operation, place.repository)
        return None

    def image(self, operation: str, place: Place) -> Path:
        if operation == INCREMENTAL:
            return place.ground.image(self._day)
        return super().image(operation, place)

    def told(self, output: str) -> Mapping[str, Any]:
        lines = output.strip().splitlines()
        return json.loads(lines[-1]) if lines else {}
