# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Put the collection awx.awx into a directory of collections, out of the Python package "ansible".

Usage: python awx_collection.py DIRECTORY

The package holds some hundred collections; to install it would take minutes and half a gigabyte for this one. Another
version of the collection in the directory is replaced.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# What the role is tested with. The guide on AWX names it, and a test compares the two.
VERSION = "24.6.1"
# The package that brings this version, and runs on each Python that the tests run on.
PACKAGE = "ansible==12.3.0"
PART = "ansible_collections/awx/awx/"


def version_in(directory: Path) -> str | None:
    """Return the version of the collection in a directory of collections, if it is there."""
    manifest = directory / PART / "MANIFEST.json"
    if not manifest.is_file():
        return None
    return str(json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"])


def main() -> int:
    """Run as a program."""
    directory = Path(sys.argv[1])
    if version_in(directory) == VERSION:
        return 0
    shutil.rmtree(directory / PART, ignore_errors=True)
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--disable-pip-version-check"]
        subprocess.run([*command, "--dest", place, PACKAGE], check=True)
        [wheel] = Path(place).glob("ansible-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            members = [name for name in archive.namelist() if name.startswith(PART)]
            # What tells that it is complete comes last.
            members.sort(key=lambda name: name.endswith("MANIFEST.json"))
            archive.extractall(directory, members)
    if version_in(directory) != VERSION:
        print(f"{PACKAGE} brings awx.awx {version_in(directory)}, not {VERSION}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
