# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Put the collection awx.awx into a directory of collections, out of the Python package "ansible".

Usage: python awx_collection.py DIRECTORY

The package holds some hundred collections; to install it would take minutes and half a gigabyte for this one.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PART = "ansible_collections/awx/awx/"


def main() -> int:
    """Run as a program."""
    directory = Path(sys.argv[1])
    if (directory / PART / "MANIFEST.json").is_file():
        return 0
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--disable-pip-version-check"]
        subprocess.run([*command, "--dest", place, "ansible"], check=True)
        [wheel] = Path(place).glob("ansible-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            members = [name for name in archive.namelist() if name.startswith(PART)]
            # What tells that it is complete comes last.
            members.sort(key=lambda name: name.endswith("MANIFEST.json"))
            archive.extractall(directory, members)
    return 0


if __name__ == "__main__":
    sys.exit(main())
