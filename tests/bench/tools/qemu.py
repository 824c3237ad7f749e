# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""qemu-img: one compressed qcow2 per full; it has no increments of files at rest."""

from __future__ import annotations

from pathlib import Path

from ..install import need_programs, version
from ..measure import Step
from .base import FULL, RESTORE, Place, Tool


class QemuImg(Tool):
    """``qemu-img convert -c`` with zstd."""

    name = "qemu-img"
    restores = "base"

    def install(self, directory: Path) -> str:
        need_programs({"qemu-img": "qemu-utils"})
        return f"{version('qemu-img', '--version').split(' (')[0]}, convert -c, zstd"

    def step(self, operation: str, place: Place) -> Step | None:
        file = str(place.repository / "full.qcow2")
        convert = ["qemu-img", "convert"]
        if operation == FULL:
            image = str(self.image(operation, place))
            return Step([*convert, "-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type=zstd", image, file])
        if operation == RESTORE:
            return Step([*convert, "-f", "qcow2", "-O", "raw", file, str(place.target / "disk.img")])
        return None
