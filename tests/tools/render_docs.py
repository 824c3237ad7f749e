# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Render the pages of modules, roles and filter and the guides to HTML. Any warning is a failure.

Usage: render_docs.py --build BUILD, with the staged collection on ANSIBLE_COLLECTIONS_PATH
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

SETTINGS = Path(__file__).with_name("site")


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, required=True)
    build: Path = parser.parse_args().build
    sources, cache, pages = build / "cache" / "docs" / "rst", build / "cache" / "docs" / "trees", build / "docs"
    shutil.rmtree(sources, ignore_errors=True)
    # antsibull-docs insists on a directory that nobody else can write to.
    sources.parent.mkdir(parents=True, exist_ok=True)
    sources.mkdir(mode=0o700)
    for command in (
        ["antsibull-docs", "--config-file", SETTINGS / "antsibull-docs.cfg", "collection", "--use-current"]
        + ["--squash-hierarchy", "--fail-on-error", "--cleanup", "everything", "--dest-dir", sources, "ovm.backup"],
        ["sphinx-build", "-q", "-W", "--keep-going", "-b", "html", "-c", SETTINGS, "-d", cache, sources, pages],
    ):
        done = subprocess.run([str(word) for word in command], check=False)
        if done.returncode:
            return done.returncode
    print(f"Documentation: {pages / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
