# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prepare the home directory in which the tools run, so that they leave the user's own alone.

Usage: python home.py HOME

* pip inside ansible-test sees nothing of the caller's environment but HOME: what the user configured for pip, in files
  or variables, is written to a configuration file there, with the user's cache of downloads.
* ansible-test fetches a script that installs pip into an empty virtual environment. Where that address cannot be
  reached it stops, so the script is put where it looks first; ours installs the same pip by the one that is bundled
  with the interpreter.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

BOOTSTRAP = '''"""Install the pip that is asked for into an empty environment, by the one bundled with Python."""

import ensurepip
import glob
import os
import runpy
import sys
import sysconfig

folders = [os.path.join(os.path.dirname(ensurepip.__file__), "_bundled"), sysconfig.get_config_var("WHEEL_PKG_DIR")]
wheels = [path for folder in folders if folder for path in sorted(glob.glob(os.path.join(folder, "pip-*.whl")))]
if not wheels:
    sys.exit("No bundled pip in any of %s; on Debian install python3-venv" % folders)
sys.path.insert(0, wheels[-1])
wanted = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
sys.argv[1:] = ["install", "--quiet"] + wanted
runpy.run_module("pip", run_name="__main__", alter_sys=True)
'''


def pip_configuration() -> str:
    """Return all settings of pip in force, of files and of the environment, as one configuration file."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    listing = subprocess.run([*pip, "config", "list"], check=True, capture_output=True, text=True).stdout
    sections: dict[str, dict[str, str]] = {"global": {}}
    # In the order of precedence: "global." and other sections come from files, ":env:." from variables.
    for line in sorted(listing.splitlines(), key=lambda line: line.startswith(":env:")):
        name, _separator, literal = line.partition("=")
        section, _separator, key = name.rpartition(".")
        value = str(ast.literal_eval(literal))
        sections.setdefault("global" if section == ":env:" else section, {})[key] = value
    sections["global"].pop("config-file", None)
    cache = subprocess.run([*pip, "cache", "dir"], check=False, capture_output=True, text=True)
    if cache.returncode == 0:
        sections["global"]["cache-dir"] = cache.stdout.strip()
    # Errors only: what it downloads for ansible-test tells nobody anything.
    sections["global"]["quiet"] = "2"
    lines = []
    for section, settings in sections.items():
        lines.append(f"[{section}]")
        for key, value in settings.items():
            lines.append(f"{key} = " + "\n    ".join(value.split()))
    return "\n".join(lines) + "\n"


def wanted_pip() -> str:
    """Return the version of pip that the installed ansible-test bootstraps."""
    spec = importlib.util.find_spec("ansible_test._internal.python_requirements")
    if spec is None or spec.origin is None:
        raise SystemExit("ansible-test is not installed in the virtual environment")
    found = re.search(r"\bpip='([0-9.]+)'", Path(spec.origin).read_text(encoding="utf-8"))
    if found is None:
        raise SystemExit(f"{spec.origin} no longer says which pip it wants: adapt tests/tools/home.py")
    return found.group(1)


def write(path: Path, content: str, mode: int = 0o644) -> None:
    """Write the file unless it has that content already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != content:
        path.touch(mode=mode)
        path.chmod(mode)
        path.write_text(content, encoding="utf-8")


def main() -> int:
    """Run as a program."""
    home = Path(sys.argv[1]).absolute()
    # The address of an index can hold a password.
    write(home / ".config" / "pip" / "pip.conf", pip_configuration(), mode=0o600)
    script = f"get_pip_{wanted_pip().replace('.', '_')}.py"
    write(home / ".ansible" / "test" / "cache" / script, BOOTSTRAP)
    return 0


if __name__ == "__main__":
    sys.exit(main())
