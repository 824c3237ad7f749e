# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same over ssh, from real OCFS2 with clusters of 1 MiB: the bed (C(make bed)) with a hot clone of each day.

The server is an emulated one (User-Mode Linux): what it reads and sends in a second says nothing of real servers, so
only ratios count. Other tools cannot read an image on a server: they get it by ``ssh server cat``, as users would do.
Their fulls are made from a local copy, which is not measured.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import struct
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .ground import CLUSTER, Ground
from .install import Unavailable
from .measure import CommandFailed, Step, measure, run, stored_bytes
from .rounds import Comparison, report
from .spans import pieces, read_blocks
from .tools.base import Place
from .tools.borg import Borg
from .tools.ovm import Ovm, engine
from .tools.restic import Restic
from .workload import Workload

FULL, INCREMENTAL, UNCHANGED = "full_ocfs2", "incremental_ocfs2", "unchanged_ocfs2"
# Sent as the standard input of nothing: a program that writes what comes after it.
_RECEIVER = """
import os, struct, sys
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.ftruncate(handle, int(sys.argv[2]))
while True:
    head = sys.stdin.read(16)
    if not head:
        break
    offset, length = struct.unpack("<QQ", head)
    os.lseek(handle, offset, 0)
    os.write(handle, sys.stdin.read(length))
"""


@dataclass(frozen=True)
class Remote:
    """A bed with the images on it; C(bed) is what C(bed.bed.running) gives."""

    bed: Any
    workload: Workload

    def image(self, version: str) -> str:
        """Return the path of an image on the server."""
        return str(self.bed.image(f"{version}.img"))

    def put(self, blocks: Iterable[tuple[int, bytes]]) -> None:
        """Write into the disk of the guest."""
        command = shlex.join(["python", "-c", _RECEIVER, self.image("live"), str(self.workload.size)])
        with subprocess.Popen(self.bed.ssh_command(command), stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            for offset, data in blocks:
                process.stdin.write(struct.pack("<QQ", offset, len(data)) + data)
        if process.returncode:
            raise CommandFailed(f"the image cannot be written to the bed: exit code {process.returncode}")

    def lay(self) -> None:
        """Put yesterday's image, today's and today's once more there, each a clone of the disk."""
        self.put(pieces(self.workload.image))
        self.bed.reflink(self.image("live"), self.image("base"))
        self.put(read_blocks(self.workload.changes))
        self.bed.reflink(self.image("live"), self.image("day"))
        self.bed.reflink(self.image("live"), self.image("again"))

    def changed_extents(self) -> int:
        """Return the bytes of today's image that lie elsewhere than yesterday's."""
        before: dict[int, int] = {}
        for logical, physical, length, _flags in self.bed.extents(self.image("base")):
            before.update({logical + at: physical + at for at in range(0, length, CLUSTER)})
        changed = 0
        for logical, physical, length, _flags in self.bed.extents(self.image("day")):
            for at in range(0, length, CLUSTER):
                if before.get(logical + at) != physical + at:
                    changed += min(CLUSTER, length - at)
        return changed

    def engine(self, kind: str, vault: Path, version: str, compare: str) -> Step:
        """Return the command of the engine."""
        settings = {**self.bed.ssh_settings(), "compare": compare}
        method = "hash" if kind == "full" else "extent_maps"
        image = self.image(version)
        return engine(kind, vault, image=image, method=method, server="127.0.0.1", ssh=json.dumps(settings))

    def piped(self, version: str, step: Step) -> Step:
        """Return a step that reads its standard input from the server."""
        source = shlex.join(self.bed.ssh_command(f"cat {self.image(version)}"))
        command = f"set -o pipefail; {source} | {shlex.join(map(str, step.command))}"
        return replace(step, command=["bash", "-c", command])


def measure_ocfs2(ground: Ground, workload: Workload, tools: Sequence[str], rounds: int, result: Comparison) -> None:
    """Measure increments over ssh, or note why they cannot be."""
    try:
        with _bed() as bed:
            remote = Remote(bed, workload)
            remote.lay()
            _rounds(remote, ground, tools, rounds, result)
    except Unavailable as error:
        result.missing["incremental_ocfs2"] = str(error)
    except CommandFailed as error:
        print(f"OCFS2 failed: {error}", flush=True)
        result.missing["incremental_ocfs2"] = f"failed: {error}"


@contextlib.contextmanager
def _bed() -> Iterator[Any]:
    try:
        from bed.bed import BedError, running  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise Unavailable(f"no bed: {error}") from error
    try:
        with running(own=True) as bed:
            yield bed
    except BedError as error:
        raise Unavailable(f"no bed: {error}") from error


def _rounds(remote: Remote, ground: Ground, tools: Sequence[str], rounds: int, result: Comparison) -> None:
    directory = ground.fresh("ocfs2")
    vault = directory / "full"
    run(engine("create", vault))
    _measure(result, ground, FULL, "ovm", remote.engine("full", vault, "base", "auto"), vault)
    others = {tool.name: tool for tool in (Restic("restic", stdin=True), Borg()) if tool.name in tools}
    for tool in others.values():
        tool.install(ground.directory.parent / "tools")
        place = _place(tool.name, directory, ground, remote.workload)
        tool.begin(place)
        run(tool.from_pipe("full", place, remote.workload.image))
    extents = remote.changed_extents()
    for _round in range(rounds):
        for name, compare in (("ovm", "auto"), ("ovm-proxy", "proxy"), ("ovm-server", "server")):
            copy = directory / name
            ground.copy_tree(vault, copy)
            step = remote.engine("incremental", copy, "day", compare)
            _measure(result, ground, INCREMENTAL, name, step, copy, extents)
            if name == "ovm":
                step = remote.engine("incremental", copy, "again", compare)
                _measure(result, ground, UNCHANGED, name, step, copy)
        for tool in others.values():
            place = _place(tool.name, directory, ground, remote.workload)
            kept = directory / f"{tool.name}-kept"
            if not kept.exists():
                ground.copy_tree(place.repository.parent, kept)
            ground.copy_tree(kept, place.repository.parent)
            step = remote.piped("day", tool.from_pipe("day", place, None))
            _measure(result, ground, INCREMENTAL, tool.name, step, place.repository)
    shutil.rmtree(directory)


def _place(name: str, directory: Path, ground: Ground, workload: Workload) -> Place:
    parts = {part: directory / f"{name}-place" / part for part in ("repository", "scratch", "target")}
    for path in parts.values():
        path.mkdir(parents=True, exist_ok=True)
    return Place(ground, workload, **parts)


def _measure(
    result: Comparison, ground: Ground, operation: str, name: str, step: Step, stored: Path, extents: int | None = None
) -> None:
    before = stored_bytes(stored)
    measured, output = measure(step, ground.directory)
    told = Ovm(name).told(output) if name.startswith("ovm") else {}
    extra = {**told, "changed_extents": extents} if extents and told else told
    measured = replace(measured, stored=stored_bytes(stored) - before, read=told.get("read"), extra=extra)
    result.rounds[operation][name].append(measured)
    report(operation, name, measured)
