# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the integration targets with ansible-test, from the staged collection.

Usage: python integration.py --build BUILD --python X.Y [--venv VENV] [--modules PYTHON] [TARGET...]

The targets find in integration_config.yml what they cannot know: the interpreter that has all requirements, where
the simulator can be imported from, and a directory that keeps disk images between the targets of a run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from tools.nbdkit import why_not

TARGETS = Path("tests/integration/targets")
SERVING = "nbdkit"  # the alias of the targets that serve recovery points


def main() -> int:
    """Run as a program, in the staged collection."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--python", required=True)
    parser.add_argument("--venv", type=Path, help="the environment that runs Ansible, unless it is BUILD/venv")
    parser.add_argument("--modules", help="VERSION@PATH of another interpreter, for the modules alone")
    parser.add_argument("targets", nargs="*")
    arguments = parser.parse_args()

    if not any(TARGETS.glob("*/tasks/main.y*ml")) and not any(TARGETS.glob("*/runme.sh")):
        print(f"There are no integration targets in {TARGETS} yet: nothing to run.")
        return 0
    images = arguments.build / "cache" / "images"
    images.mkdir(parents=True, exist_ok=True)
    configuration = {
        "ovm_test_python": str((arguments.venv or arguments.build / "venv") / "bin" / "python"),
        "ovm_test_pythonpath": str(Path("tests").absolute()),
        "ovm_test_images": str(images),
    }
    # JSON is YAML.
    path = TARGETS.parent / "integration_config.yml"
    path.write_text(json.dumps(configuration, indent=2) + "\n", encoding="utf-8")
    where = ["--python", arguments.python]
    if arguments.modules:
        where = [
            "--controller",
            f"origin:python={arguments.python}",
            "--target",
            f"controller:python={arguments.modules}",
        ]
    command = ["ansible-test", "integration", "--color", "no", *where]
    reason = why_not((arguments.modules or arguments.python).split("@")[0])
    if reason:
        print(f"The targets with the alias {SERVING} are left out: {reason}.", flush=True)
        command += ["--exclude", f"{SERVING}/"]
    command += arguments.targets
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
