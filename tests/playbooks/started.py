# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Record every process that a playbook and its modules start, with what a process list shows of it.

All of them are started by Python, which tells its audit hooks of it: so nothing is missed, as it would be by looking at
the process list now and then.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# Runs in each Python before anything else, as the module of this name that Python looks for.
_HOOK = """
import json, os, sys

def text(value):
    if isinstance(value, (list, tuple)):
        return [text(item) for item in value]
    return os.fsdecode(value) if isinstance(value, (str, bytes, os.PathLike)) else str(value)

def hook(event, arguments):
    if event == "subprocess.Popen":
        _program, command, _folder, environment = arguments
    elif event in ("os.exec", "os.posix_spawn"):
        _program, command, environment = arguments
    elif event == "os.system":
        (command,), environment = arguments, None
    else:
        return
    environment = os.environ if environment is None else environment
    entry = {"command": text(command), "environment": {text(k): text(v) for k, v in environment.items()}}
    number = os.open(FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(number, json.dumps(entry).encode() + b"\\n")
    finally:
        os.close(number)

sys.addaudithook(hook)
"""


class Started:
    """What is started by the processes that have C(surroundings) in their environment."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        directory.mkdir()
        self._file = directory / "started"
        hook = f"FILE = {str(self._file)!r}\n{_HOOK}"
        (directory / "sitecustomize.py").write_text(hook, encoding="utf-8")
        path = [str(directory), *filter(None, [environment.get("PYTHONPATH")])]
        self.surroundings = {"PYTHONPATH": ":".join(path)}

    def all(self) -> list[dict[str, Any]]:
        """Return C(command) and C(environment) of each process."""
        if not self._file.exists():
            return []
        return [json.loads(line) for line in self._file.read_text(encoding="utf-8").splitlines()]
