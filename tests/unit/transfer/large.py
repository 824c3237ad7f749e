# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A sparse disk of 64 GiB in the vault, and its restore in a process of its own, whose memory is measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from unit.vault.builders import KIB, MIB, Stored, noise, open_files, store, write_sparse

SIZE = 64 * KIB * MIB
MEMORY = 150 * MIB
_CHANGED = 50 * KIB * MIB
_PIECES = 9


class LargeDisk(NamedTuple):
    """Its full and its incremental, and what it holds at which offsets; all else is a hole."""

    full: Stored
    incremental: Stored
    pieces: dict[int, bytes]

    @property
    def content_hash(self) -> str:
        return self.incremental.result.content_hash

    @property
    def data(self) -> int:
        return sum(len(content) for content in self.pieces.values())


def large_disk(directory: Path, piece: int = 3 * MIB) -> LargeDisk:
    """Back up a disk with some pieces of data far apart, and an increment to it."""
    pieces = {number * 7 * KIB * MIB + 3 * MIB: noise(piece, number) for number in range(_PIECES)}
    image = write_sparse(directory / "raw", SIZE, pieces)
    full = store(image, directory / "full.zst")
    pieces[_CHANGED] = noise(MIB)
    with image.open("r+b") as file:
        file.seek(_CHANGED)
        file.write(pieces[_CHANGED])
    with open_files([full]) as base:
        incremental = store(image, directory / "incremental.zst", base=base)
    assert incremental.result.changed == MIB
    return LargeDisk(full, incremental, pieces)


class Measured(NamedTuple):
    """What a restore said, and the most memory that its process had."""

    size: int
    written: int
    peak: int


_PROGRAM = r"""
import json, re, sys
from ansible_collections.ovm.backup.plugins.module_utils.images.local_target import existing_image
from ansible_collections.ovm.backup.plugins.module_utils.images.remote import Server
from ansible_collections.ovm.backup.plugins.module_utils.images.remote_target import RemoteTarget
from ansible_collections.ovm.backup.plugins.module_utils.images.ssh import SshSettings
from ansible_collections.ovm.backup.plugins.module_utils.transfer.disk_restore import restore_disk, restore_to
from ansible_collections.ovm.backup.plugins.module_utils.vault.chain import open_chain
links, target, content_hash, way, ssh = json.loads(sys.argv[1])
with open_chain(links) as chain:
    size = chain.geometry.size
    if way == "new":
        done = restore_disk(chain, target, content_hash=content_hash, workers=4)
    elif way == "existing":
        with existing_image(target, size) as image:
            done = restore_to(chain, image, content_hash=content_hash, verify=True, workers=4)
    else:
        with Server(SshSettings.parse(ssh), "127.0.0.1", "bed") as server, RemoteTarget(server, target, size) as image:
            done = restore_to(chain, image, content_hash=content_hash, verify=True, workers=4)
# Not ru_maxrss, which counts the memory of the process that started this one too.
peak = int(re.search(r"VmHWM:\s+(\d+) kB", open("/proc/self/status").read()).group(1))
print(json.dumps([done.size, done.written, peak * 1024]))
"""


def restored(disk: LargeDisk, target: str, way: str, ssh: dict[str, Any] | None = None) -> Measured:
    """Restore the disk to a path (C(new) or C(existing)) or over C(ssh) to an image that exists."""
    argument = json.dumps([[disk.incremental.link, disk.full.link], target, disk.content_hash, way, ssh])
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, argument],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return Measured(*json.loads(done.stdout))
