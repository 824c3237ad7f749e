# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What is said of an image that cannot be read as a disk, wherever it lies. C(name) is what the image is called."""

from __future__ import annotations


def no_disk(name: str, *, regular: bool) -> str:
    """Return what is wrong with a file that is empty or no regular one."""
    return f"The image {name} {'is empty' if regular else 'is not a regular file'}: it cannot be a disk"


def changed(name: str, before: int, now: int) -> str:
    """Return what is wrong with an image that was written to; C(before) and C(now) are its sizes in bytes."""
    return (
        f"The image {name} changed while it was read ({before} bytes, then {now}): "
        "something writes to it, so the copy would not be consistent"
    )


def ends_early(name: str, offset: int, size: int) -> str:
    """Return what is wrong with an image that has no byte at C(offset) any more."""
    return (
        f"The image {name} ends at offset {offset}, but had {size} bytes when it was opened: "
        "it was truncated while it was read"
    )


def no_uuid(name: str, file_system: str) -> str:
    """Return why an image cannot be told from another of the same number."""
    return f"the file system of {name} ({file_system}) does not tell its UUID"


def no_clones(file_system: str) -> str:
    """Return why the maps of a file system say nothing about changes."""
    return f"the file system {file_system} has no clones that share extents"
