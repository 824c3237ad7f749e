# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""A little space that a vault keeps for the removal of recovery points.

Whoever removes has to write a lock first. In a file system without one free block that fails, and with it the only way
to get free blocks.
"""

from __future__ import annotations

import contextlib
import os
import secrets

from ..errors import VaultError
from .files import exists, file_size, new_file, remove_file
from .storage.mounts import storage_of

RESERVE_NAME = "reserve"
# Bytes. A lock takes two blocks for a moment, which are 1 MiB in the coarsest file systems.
_SIZE = 4 << 20
# What is left to backups where there is little.
_LEFT = 64 << 20


def keep_reserve(vault: str) -> None:
    """Set the space aside if that has not been done. Does nothing in a bucket, and while there is no room for it."""
    path = os.path.join(vault, RESERVE_NAME)
    with contextlib.suppress(VaultError, OSError):
        free = storage_of(path).free_space(vault)
        if free is None or free < _SIZE + _LEFT:
            return
        if exists(path):
            if file_size(path) >= _SIZE:
                return
            remove_file(path)  # of a process that was killed
        file = new_file(path, _SIZE)
        try:
            file.write(secrets.token_bytes(_SIZE))  # zeros would take no space in some file systems
            file.finish()
        except BaseException:
            file.abort()
            raise


def give_up_reserve(vault: str) -> bool:
    """Free the space; return whether any had been set aside."""
    path = os.path.join(vault, RESERVE_NAME)
    if not exists(path):
        return False
    remove_file(path)
    return True
