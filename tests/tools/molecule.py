# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the molecule scenario from the staged collection.

Usage: python molecule.py --build BUILD
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

SCENARIO = Path("extensions/molecule/default")


def main() -> int:
    """Run as a program, in the staged collection."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=Path, required=True)
    arguments = parser.parse_args()

    if not (SCENARIO / "converge.yml").exists():
        print(f"There is no {SCENARIO}/converge.yml yet: nothing to run.")
        return 0
    images = arguments.build / "cache" / "images"
    images.mkdir(parents=True, exist_ok=True)
    ephemeral = arguments.build / "molecule"
    shutil.rmtree(ephemeral, ignore_errors=True)
    environment = dict(
        os.environ,
        MOLECULE_EPHEMERAL_DIRECTORY=str(ephemeral),
        NO_COLOR="1",
        OVM_TEST_PYTHON=str(arguments.build / "venv" / "bin" / "python"),
        OVM_TEST_PYTHONPATH=str(Path("tests").absolute()),
        OVM_TEST_IMAGES=str(images),
    )
    # The scenarios of a collection are found from its extensions folder.
    command = ["molecule", "test", "-s", SCENARIO.name]
    return subprocess.run(command, cwd=SCENARIO.parents[1], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
