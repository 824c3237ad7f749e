# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make the virtual environment of the project and install what the requirement files list.

Usage: python3 environment.py VENV STAMP REQUIREMENTS...
       python3 environment.py --fits     exit code 0 if this interpreter can be what the environment is made of

The stamp's name holds a checksum of the requirement files and of the interpreter's name: when it exists, there is
nothing to do. Runs on any Python 3 as far as the message that tells which one is needed.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import subprocess
import sys

LOWEST = (3, 11)
PARTS = ("ensurepip", "venv")  # what Debian has in python3-venv, which system-packages.sh installs


def fits() -> bool:
    """Tell whether an environment can be made of the interpreter that runs this."""
    return sys.version_info >= LOWEST and all(map(importlib.util.find_spec, PARTS))


def works(python: str, interpreter: str) -> bool:
    """Tell whether the environment is one of this interpreter, still starts and has pip."""
    if not os.path.exists(python) or os.path.realpath(python) != os.path.realpath(interpreter):
        return False
    return subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0


def build(venv: str, stamp: str, requirements: list[str], interpreter: str = sys.executable) -> None:
    """Create the environment if it is missing or broken, install the requirements, leave the stamp."""
    python = os.path.join(venv, "bin", "python")
    if not works(python, interpreter):
        print(f"Creating the virtual environment {venv}")
        subprocess.run([interpreter, "-m", "venv", "--clear", venv], check=True)
    print(f"Installing {', '.join(requirements)} into {venv} (the first time takes a minute or two)", flush=True)
    command = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    for path in requirements:
        command += ["-r", path]
    subprocess.run(command, check=True)
    for name in os.listdir(venv):
        if name.startswith(".ready-"):
            os.unlink(os.path.join(venv, name))
    with open(stamp, "w", encoding="utf-8"):
        pass


def make_ready(venv: str, stamp: str, requirements: list[str], interpreter: str = sys.executable) -> None:
    """Build the environment unless its stamp is there; one process at a time."""
    os.makedirs(os.path.dirname(venv), exist_ok=True)
    with open(venv + ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(stamp):
            build(venv, stamp, requirements, interpreter)
        os.utime(stamp)


def main() -> int:
    """Run as a program."""
    if sys.argv[1:] == ["--fits"]:
        return 0 if fits() else 1
    if sys.version_info < LOWEST:
        wanted = ".".join(str(part) for part in LOWEST)
        print(f"Python {wanted} or newer is needed, {sys.executable} is {sys.version.split()[0]}.", file=sys.stderr)
        print(f"Name another one, for example: make PYTHON=python{wanted} test", file=sys.stderr)
        return 1
    venv, stamp, *requirements = sys.argv[1:]
    try:
        make_ready(venv, stamp, requirements)
    except subprocess.CalledProcessError as error:
        print(f"The virtual environment could not be made: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
