# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All tools in turn, several times: what disturbs one disturbs all."""

from __future__ import annotations

import functools
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .ground import Ground
from .measure import CommandFailed, Measured, measure, stored_bytes
from .spans import claim_memory, same_content, warm
from .tools.base import FULL, INCREMENTAL, OPERATIONS, RESTORE, SYNTHETIC, Place, Tool
from .workload import Workload

# What an operation fills with what it writes, at most, as a share of the data of the disk: the page cache, and as much
# again where the ground is in memory.
WRITES = {FULL: 1.0, INCREMENTAL: 0.25, RESTORE: 2.0, SYNTHETIC: 1.0}
Rounds = dict[str, dict[str, list[Measured]]]  # operation, tool


@dataclass
class Comparison:
    """What the rounds came to. C(missing) says of tools that are not in it why, C(versions) which the others are,
    C(loads) how busy the machine was at the beginning of each round.
    """

    rounds: Rounds = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    loads: list[float] = field(default_factory=list)


def compare(tools: Sequence[Tool], ground: Ground, workload: Workload, rounds: int, result: Comparison) -> None:
    """Measure all operations of all tools."""
    able = list(tools)
    for tool in tools:
        reason = tool.unsuitable(ground)
        if reason is not None:
            result.missing[tool.name] = reason
            able.remove(tool)
    families = [[tool, *(copy for copy in able if copy.copy_of == tool.name)] for tool in able if not tool.copy_of]
    for number in range(rounds):
        load = os.getloadavg()[0]
        result.loads.append(load)
        print(f"round {number + 1} of {rounds}, load {load:.1f}", flush=True)
        # Nobody is always the first, and nobody always comes after the same one.
        turn = number % max(1, len(families))
        for family in families[turn:] + families[:turn]:
            _round([tool for tool in family if tool in able], able, ground, workload, result)


def _round(family: list[Tool], able: list[Tool], ground: Ground, workload: Workload, result: Comparison) -> None:
    """Let a tool, and those that go on with its repository, do everything once; all that they store goes then."""
    places = {tool.name: _place(tool, ground, workload) for tool in family}
    for operation in OPERATIONS:
        for tool in family:
            if tool not in able or (operation == FULL and tool.copy_of):
                continue
            if operation == FULL:
                _try(tool, able, result, functools.partial(tool.begin, places[tool.name]))
            if operation == INCREMENTAL and tool.copy_of:
                _try(tool, able, result, functools.partial(_copy, places, tool.copy_of, tool.name))
        for tool in family:
            if tool in able and not (operation == FULL and tool.copy_of):
                _try(tool, able, result, functools.partial(_one, tool, operation, places[tool.name], result))
    for place in places.values():
        for directory in (place.repository, place.scratch, place.target):
            shutil.rmtree(directory, ignore_errors=True)


def _place(tool: Tool, ground: Ground, workload: Workload) -> Place:
    parts = {part: ground.fresh(f"{tool.name}-{part}") for part in ("repository", "scratch", "target")}
    return Place(ground, workload, **parts)


def _copy(places: Mapping[str, Place], source: str, target: str) -> None:
    """Let a tool go on with the repository of another one."""
    if not places[source].repository.exists():
        raise CommandFailed(f"there is no repository of {source}")
    places[source].ground.copy_tree(places[source].repository, places[target].repository)


def _try(tool: Tool, able: list[Tool], result: Comparison, work: Callable[[], None]) -> None:
    """Do something with a tool; one that fails is reported, and measured no further."""
    try:
        work()
    except CommandFailed as error:
        print(f"{tool.name} failed: {error}", flush=True)
        result.missing[tool.name] = f"failed: {error}"
        able.remove(tool)


def _one(tool: Tool, operation: str, place: Place, result: Comparison) -> None:
    tool.prepare(operation, place)
    step = tool.step(operation, place)
    if step is None:
        return
    before = stored_bytes(place.repository)
    # All find what they read in the page cache: how fast a disk is should not count.
    warm(tool.image(operation, place), *(path for path in place.repository.rglob("*") if path.is_file()))
    claim_memory(int(WRITES.get(operation, 0.0) * place.workload.data))
    measured, output = measure(step, place.ground.directory)
    told = tool.told(output)
    if operation == RESTORE:
        _check_restored(tool, place)
    stored = stored_bytes(place.repository) - before
    measured = replace(measured, stored=stored, read=told.get("read", measured.read), extra=told)
    result.rounds[operation][tool.name].append(measured)
    report(operation, tool.name, measured)


def report(operation: str, tool: str, measured: Measured) -> None:
    """Print one measurement."""
    print(
        f"  {operation:15} {tool:15} {measured.wall:7.2f} s {measured.cpu:7.2f} s CPU {measured.rss / 2**20:6.0f} MiB "
        f"{(measured.stored or 0) / 1e6:8.1f} MB stored",
        flush=True,
    )


def _check_restored(tool: Tool, place: Place) -> None:
    image = place.ground.image(tool.restores)
    restored = tool.restored(place)
    if not same_content(image, restored):
        raise CommandFailed(f"{restored} is not {image}")
    for path in place.target.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
