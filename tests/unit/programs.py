# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which programs a program starts, and what it tells them: strace writes each one down, so none is missed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

_TEXT = r'"(?:[^"\\]|\\.)*"'
_LIST = rf"\[((?:{_TEXT}(?:, )?)*)\]"
_CALL = re.compile(rf"execve(?:at\(\w+, |\()({_TEXT}), {_LIST}, {_LIST}")
# Longer than any argument may be: nothing is left out.
_LONGEST = 256 * 1024


class Program(NamedTuple):
    """A program that was started, or tried to. The texts are as strace writes them, with escapes."""

    name: str
    arguments: list[str]
    environment: list[str]


def recording(output: str) -> list[str]:
    """Return the words to put before a command, so that the programs are noted in a file; skip where that cannot be."""
    if shutil.which("strace") is None:
        pytest.skip("not installed: strace (tests/tools/guest-packages.sh installs it for root)")
    command = ["strace", "-f", "-qq", "-v", "-s", str(_LONGEST), "--seccomp-bpf"]
    command += ["-e", "trace=execve,execveat", "-e", "signal=none", "-o"]
    tried = subprocess.run([*command, "/dev/null", "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"strace may not look at processes here: {tried.stderr.strip()}")
    return [*command, output]


def recorded(output: Path) -> list[Program]:
    """Return what was noted."""
    found = []
    for line in output.read_text(encoding="utf-8", errors="replace").splitlines():
        if "exec" not in line or " resumed>" in line:
            continue
        call = _CALL.search(line)
        assert call is not None, line[:1000]
        arguments, environment = (re.findall(_TEXT, call[number]) for number in (2, 3))
        found.append(Program(os.path.basename(call[1].strip('"')), arguments, environment))
    return found


def files_with(secret: str, *tops: Path) -> list[Path]:
    """Return the files below some directories that hold a text."""
    found = [path for top in tops for path in top.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in found if secret.encode() in path.read_bytes()]
