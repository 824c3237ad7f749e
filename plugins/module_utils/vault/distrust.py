# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The mark of a client whose changes were not found as they should have been: until its next full nothing builds on it.

C(distrust.json) beside the recovery points of the client.
"""

from __future__ import annotations

import os

from .files import read_json, remove_file, unreadable, write_json

NAME = "distrust.json"


def mark_distrusted(directory: str, reason: str, *, now: float) -> None:
    """Ask for a full, because of C(reason); durable when it returns. Raises C(VaultWriteError)."""
    write_json(os.path.join(directory, NAME), {"reason": reason, "time": now})


def read_distrust(directory: str) -> str | None:
    """Return why the next backup of a client has to be a full, or nothing."""
    path = os.path.join(directory, NAME)
    try:
        document = read_json(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from error
    # Whatever is in it: that it exists is what counts.
    reason = document.get("reason") if isinstance(document, dict) else None
    return str(reason or "the mark does not say why")


def clear_distrust(directory: str) -> None:
    """Remove the mark: all disks of the client have been stored in full since."""
    remove_file(os.path.join(directory, NAME))
