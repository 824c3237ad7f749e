# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Removing recovery points so that at no moment a half one can be seen.

The manifest goes first: a point whose removal is interrupted must not look like one that lost its files. What is left
of it then is like what an interrupted backup leaves, and the next writer clears it away.
"""

from __future__ import annotations

import os

from .files import names, remove_file, remove_tree, rename_file
from .manifest import MANIFEST_NAME
from .pins import PIN_NAME

# The manifest of a point whose removal has begun and can still be taken back.
HIDDEN_NAME = f".{MANIFEST_NAME}.expired"


def remove_point(directory: str, manifest: str = MANIFEST_NAME) -> bool:
    """Remove a folder of a point with all that it holds, published or not; a missing one is fine.

    Return whether the folder is gone; it stays as long as somebody on this host reads the point, on NFS.
    """
    remove_file(os.path.join(directory, manifest))
    return remove_tree(directory)


def expire_point(directory: str) -> bool:
    """Remove a published point, but not if it has been pinned in this moment; return whether it was removed."""
    _rename(directory, MANIFEST_NAME, HIDDEN_NAME)
    if _put_back(directory):
        return False
    # Without its manifest there is no such point any more, whether the folder has to stay for a reader or not.
    remove_point(directory, HIDDEN_NAME)
    return True


def clear_away(directory: str) -> bool:
    """Remove a folder without manifest, or put back the manifest of a pinned point; return whether it is gone.

    What has to stay for a reader is no news for each run that tries again.
    """
    return not _put_back(directory) and remove_point(directory, HIDDEN_NAME)


def is_kept(directory: str) -> bool:
    """Return whether a folder holds a hidden point that is pinned: that is not cleared away, but published again."""
    found = names(directory)
    return PIN_NAME in found and HIDDEN_NAME in found


def _put_back(directory: str) -> bool:
    """Publish a hidden point again if it is pinned."""
    if not is_kept(directory):
        return False
    _rename(directory, HIDDEN_NAME, MANIFEST_NAME)
    return True


def _rename(directory: str, old: str, new: str) -> None:
    rename_file(os.path.join(directory, old), os.path.join(directory, new))
