# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The script that every vault carries, so that its disks can be restored where nothing of ours is installed."""

from __future__ import annotations

import inspect
import os
import re

from . import restore_script
from .files import read_file, vault_errors, write_file

SCRIPT_NAME = "restore.py"
_VERSION = re.compile(rb"^VERSION = ([0-9]{1,9})\b", re.MULTILINE)
_OURS = b"Restore disks out of the vault in which this script lies"


def script() -> bytes:
    """Return the script that this version of the collection puts into vaults."""
    return inspect.getsource(restore_script).encode("utf-8")


def script_path(vault: str) -> str:
    """Return where the script lies in a vault."""
    return os.path.join(vault, SCRIPT_NAME)


def is_script(path: str) -> bool:
    """Return whether a file is such a script, of whatever version."""
    content = _read(path)
    return content is not None and _OURS in content


def script_is_due(vault: str) -> bool:
    """Return whether the script of a vault is missing, older than ours, or not as it was written."""
    found = _read(script_path(vault))
    return found != script() and _version(found) <= restore_script.VERSION


def carry_script(vault: str) -> bool:
    """Write the script into a vault where it is due, in one step; return whether it was."""
    if not script_is_due(vault):
        return False
    write_file(script_path(vault), script())
    return True


def _read(path: str) -> bytes | None:
    """Return the file, or nothing where there is none; an I/O error is an error, not an absence."""
    with vault_errors("read", path):
        try:
            return read_file(path, 1 << 20)
        except FileNotFoundError:
            return None


def _version(content: bytes | None) -> int:
    found = _VERSION.search(content or b"")
    return int(found[1]) if found else 0
