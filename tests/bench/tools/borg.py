# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""borg: chunks of fixed size, which fits disks best, zstd level 1, not encrypted."""

from __future__ import annotations

from pathlib import Path

from ..install import Unavailable, need_programs, program, version, virtual_environment
from ..measure import Step, run
from .base import FULL, INCREMENTAL, RESTORE, UNCHANGED, VERIFY, PipeTool, Place

# It is built from source: Debian's packages of what it takes.
_TO_BUILD = {"cc": "build-essential", "pkg-config": "pkg-config"}
_LIBRARIES = {
    "/usr/include/sys/acl.h": "libacl1-dev",
    "/usr/include/openssl/evp.h": "libssl-dev",
    "/usr/include/lz4.h": "liblz4-dev",
    "/usr/include/zstd.h": "libzstd-dev",
    "/usr/include/xxhash.h": "libxxhash-dev",
}
_SETTINGS = ("--chunker-params", "fixed,1048576", "--compression", "zstd,1")


class Borg(PipeTool):
    """borg with the settings that suit disk images."""

    name = "borg"

    def __init__(self) -> None:
        self._program = ""

    def install(self, directory: Path) -> str:
        try:
            need_programs({**_TO_BUILD, **_LIBRARIES})
            self._program = str(virtual_environment(directory / "borg", ["borgbackup<2"]) / "bin/borg")
        except Unavailable:
            need_programs({"borg": "borgbackup"})
            self._program = program("borg") or ""
        return f"{version(self._program, '--version')}, chunks of 1 MiB, zstd,1, not encrypted"

    def begin(self, place: Place) -> None:
        run(self._step(place, "init", "--encryption=none"))

    def from_pipe(self, name: str, place: Place, source: Path | None) -> Step:
        return self._step(place, "create", *_SETTINGS, f"::{name}", "-", source=source)

    def step(self, operation: str, place: Place) -> Step | None:
        if operation in (FULL, INCREMENTAL, UNCHANGED):
            return self._step(place, "create", *_SETTINGS, f"::{operation}", str(self.image(operation, place)))
        if operation == RESTORE:
            return self._step(place, "extract", "--sparse", f"::{UNCHANGED}", directory=place.target)
        if operation == VERIFY:
            return self._step(place, "check", "--verify-data")
        return None

    def _step(self, place: Place, *arguments: str, directory: Path | None = None, source: Path | None = None) -> Step:
        environment = {
            "BORG_REPO": str(place.repository),
            "BORG_BASE_DIR": str(place.scratch),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        }
        return Step([self._program, *arguments], environment, source, directory)
