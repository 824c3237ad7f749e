# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zstd: the image as one compressed file, with both processors."""

from __future__ import annotations

from pathlib import Path

from ..install import need_programs, version
from ..measure import Step
from .base import FULL, RESTORE, VERIFY, Place, Tool


class Zstd(Tool):
    """``zstd -1 -T2``."""

    name = "zstd"
    restores = "base"

    def install(self, directory: Path) -> str:
        need_programs({"zstd": "zstd"})
        words = version("zstd", "--version").replace(",", " ").split()
        return f"zstd {next(word for word in words if word.startswith('v1'))}, -1 -T2"

    def step(self, operation: str, place: Place) -> Step | None:
        file = str(place.repository / "full.zst")
        if operation == FULL:
            return Step(["zstd", "-q", "-1", "-T2", "-o", file, str(self.image(operation, place))])
        if operation == RESTORE:
            return Step(["zstd", "-q", "-d", "--sparse", "-o", str(place.target / "disk.img"), file])
        if operation == VERIFY:
            return Step(["zstd", "-q", "-t", file])
        return None
