# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""restic: chunks by content, a pack store, always encrypted."""

from __future__ import annotations

from pathlib import Path

from ..install import from_newer_debian, need_programs, program, version
from ..measure import Step, run
from .base import FULL, INCREMENTAL, RESTORE, UNCHANGED, VERIFY, PipeTool, Place


class Restic(PipeTool):
    """It reads the image as a file, or from standard input, where it does not look for what it knows of the file."""

    def __init__(self, name: str, *, stdin: bool = False) -> None:
        self.name = name
        self._stdin = stdin
        self._program = ""

    def install(self, directory: Path) -> str:
        newer = from_newer_debian(directory, "restic")
        if newer is not None:
            self._program = str(newer / "usr/bin/restic")
        else:
            need_programs({"restic": "restic"})
            self._program = program("restic") or ""
        told = version(self._program, "version").split(" compiled")[0]
        return f"{told}, compression auto" + (", --stdin" * self._stdin)

    def begin(self, place: Place) -> None:
        self._run(place, "init")

    def from_pipe(self, name: str, place: Place, source: Path | None) -> Step:
        options = ["backup", "--quiet", "--compression", "auto", "--stdin", "--stdin-filename", "disk.img"]
        return self._step(place, *options, source=source)

    def step(self, operation: str, place: Place) -> Step | None:
        if operation in (FULL, INCREMENTAL, UNCHANGED):
            image = self.image(operation, place)
            if self._stdin:
                return self.from_pipe(operation, place, image)
            return self._step(place, "backup", "--quiet", "--compression", "auto", str(image))
        if operation == RESTORE:
            return self._step(place, "restore", "--quiet", "latest", "--sparse", "--target", str(place.target))
        if operation == VERIFY:
            return self._step(place, "check", "--quiet", "--read-data")
        return None

    def _step(self, place: Place, *arguments: str, source: Path | None = None) -> Step:
        environment = {
            "RESTIC_REPOSITORY": str(place.repository),
            "RESTIC_CACHE_DIR": str(place.scratch),
            "RESTIC_PASSWORD": "bench",
            "TMPDIR": str(place.scratch),
        }
        return Step([self._program, *arguments], environment, source)

    def _run(self, place: Place, *arguments: str) -> None:
        run(self._step(place, "--quiet", *arguments))
