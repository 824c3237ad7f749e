# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An archive in the form that the kernel unpacks as its first file system: no device nodes, no root, the same bytes."""

from __future__ import annotations

import stat
from collections.abc import Mapping


def archive(files: Mapping[str, tuple[int, bytes]]) -> bytes:
    """Return an archive (form C(newc)) of files by path, each with its mode and content; directories come along.

    The content of a symbolic link is where it leads.
    """
    entries: dict[str, tuple[int, bytes]] = {}
    for path, entry in sorted(files.items()):
        parts = path.split("/")
        for depth in range(1, len(parts)):
            entries.setdefault("/".join(parts[:depth]), (stat.S_IFDIR | 0o755, b""))
        entries[path] = entry
    found = [_entry(number, path, *entry) for number, (path, entry) in enumerate(entries.items(), 1)]
    return b"".join([*found, _entry(0, "TRAILER!!!", 0, b"")])


def _entry(number: int, path: str, mode: int, content: bytes) -> bytes:
    name = path.encode() + b"\0"
    # inode, mode, owner, group, links, time, size, device and its own, length of the name, sum
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return _padded(head) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
