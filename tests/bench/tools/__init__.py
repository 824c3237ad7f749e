# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tools that are measured, one module each."""

from __future__ import annotations

import os

from .base import Tool
from .baseline import Baseline
from .benji import Benji
from .borg import Borg
from .ovm import Ovm
from .qemu import QemuImg
from .restic import Restic
from .zstd import Zstd


def all_tools() -> list[Tool]:
    """Return them in the order of the report: ours first."""
    return [
        Ovm("ovm"),
        Ovm("ovm-1mib", day="coarse", copy_of="ovm"),
        Ovm("ovm-hash", maps=False, copy_of="ovm"),
        Baseline("zstd1+blake3"),
        Baseline("zstd1+blake3-all", processes=os.cpu_count() or 1),
        Restic("restic"),
        Restic("restic-stdin", stdin=True),
        Borg(),
        Benji(),
        QemuImg(),
        Zstd(),
    ]
