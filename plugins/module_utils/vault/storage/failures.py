# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What a failure of a write in the vault is called, and what to do about it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from ...errors import VaultWriteError

# Of errors that tell of a vault without room.
FULL_VAULT = (errno.ENOSPC, errno.EDQUOT)
_REASONS = {
    errno.ENOSPC: "the vault is full: free space there or let recovery points expire",
    errno.EDQUOT: "the quota of the vault is used up",
    errno.EROFS: "the vault is mounted read-only",
    errno.EACCES: "this user may not write there",
    errno.EPERM: "this user may not write there",
}


@contextlib.contextmanager
def vault_errors(verb: str, path: str) -> Iterator[None]:
    """Turn an C(OSError) of a write into a C(VaultWriteError) that names the path and the reason."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        # What an object storage says tells more than the number; the words of the operating system tell less.
        if reason == os.strerror(error.errno or 0):
            reason = _REASONS.get(error.errno or 0, reason)
        raise VaultWriteError(f"Cannot {verb} {path}: {reason}", path=path, errno=error.errno) from error
