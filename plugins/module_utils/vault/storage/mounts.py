# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Which storage keeps which path, for this process: as a mount table does for file systems.

A process works on one vault, or on two when it copies. A path says by itself where it is, so what works on recovery
points need not carry a storage along with each of them.
"""

from __future__ import annotations

import threading

from .directory import DirectoryStorage
from .interface import Storage

_DIRECTORY = DirectoryStorage()
_MOUNTED: dict[str, Storage] = {}
_LOCK = threading.Lock()


def root_of(path: str) -> str:
    """Return the path of a vault in the form by which it is known here: without a slash at its end."""
    return path.rstrip("/")


def mount(root: str, storage: Storage) -> None:
    """Have C(storage) keep all that is at and below C(root), in place of what kept it before."""
    with _LOCK:
        _MOUNTED[root_of(root)] = storage


def unmount(root: str) -> None:
    """Forget what keeps C(root): it is in a directory, if anywhere."""
    with _LOCK:
        _MOUNTED.pop(root_of(root), None)


def storage_of(path: str) -> Storage:
    """Return the storage that keeps a path; what is not mounted is in a directory of this host."""
    if not _MOUNTED:
        return _DIRECTORY
    with _LOCK:
        roots = [root for root in _MOUNTED if path == root or path.startswith(root + "/")]
        return _MOUNTED[max(roots, key=len)] if roots else _DIRECTORY
