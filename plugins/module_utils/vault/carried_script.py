# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The scripts that a vault carries, so that its disks can be restored where nothing of ours is installed."""

from __future__ import annotations

import inspect
import os
import re

from .files import read_file, write_file
from .storage.failures import vault_errors

RESTORE, DECRYPT = "restore.py", "decrypt.py"
_OURS = {
    RESTORE: b"Restore disks out of the vault in which this script lies",
    DECRYPT: b"Decrypt the vault in which this script lies",
}
_VERSION = re.compile(rb"^VERSION = ([0-9]{1,9})\b", re.MULTILINE)


def script(name: str = RESTORE) -> bytes:
    """Return the script that this version of the collection puts into vaults under this name."""
    # Whoever opens a vault imports this file, and few of them need what the scripts import.
    from . import decrypt_script, restore_script

    scripts = {RESTORE: restore_script, DECRYPT: decrypt_script}
    return inspect.getsource(scripts[name]).encode("utf-8")


def is_script(path: str) -> bool:
    """Return whether a file is such a script, of whatever version."""
    ours = _OURS.get(os.path.basename(path))
    return ours is not None and ours in (_read(path) or b"")


def due_scripts(vault: str, *, encrypted: bool) -> list[str]:
    """Return the paths of the scripts of a vault that are missing, older than ours, or not as they were written.

    Only an encrypted vault carries that which decrypts.
    """
    names = [RESTORE, DECRYPT] if encrypted else [RESTORE]
    return [path for path in (os.path.join(vault, name) for name in names) if _is_due(path)]


def carry_scripts(vault: str, *, encrypted: bool) -> None:
    """Write the scripts into a vault that are due, each in one step."""
    for path in due_scripts(vault, encrypted=encrypted):
        write_file(path, script(os.path.basename(path)))


def _is_due(path: str) -> bool:
    found, name = _read(path), os.path.basename(path)
    return found != script(name) and _version(found) <= _version(script(name))


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
