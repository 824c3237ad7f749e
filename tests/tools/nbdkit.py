# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What serving a recovery point needs, for the tests that do it for real."""

from __future__ import annotations

import re
import shutil
import subprocess


def why_not(python: str) -> str:
    """Return why nothing can be served where the modules run on this version of Python, or nothing.

    The plugin runs in nbdkit's own Python and shares the compiled libraries of the modules', which another version
    cannot load.
    """
    if not all(map(shutil.which, ("nbdkit", "nbdcopy", "nbdinfo", "qemu-img"))):
        return "needs the packages nbdkit, nbdkit-plugin-python, libnbd-bin and qemu-utils"
    told = subprocess.run(["nbdkit", "--dump-plugin", "python"], check=False, capture_output=True, text=True).stdout
    match = re.search(r"^python_version=(\d+\.\d+)", told, re.M)
    own = match[1] if match else "missing"
    return "" if own == python else f"nbdkit's Python is {own}, which cannot load the libraries of Python {python}"
