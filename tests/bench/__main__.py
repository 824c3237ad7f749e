# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure, print tables, write ``build/bench.json``: what ``make bench`` runs."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import table, targets
from .ground import CLUSTER, GIB, Ground, ground, place_of
from .growth import grow, label
from .install import Unavailable
from .isolation import isolated
from .measure import median
from .ocfs2 import measure_ocfs2
from .rounds import Comparison, compare
from .tools import all_tools
from .tools.base import Tool
from .tools.ovm import STAGE
from .workload import prepare

MIB = 1 << 20
_ORCHESTRATION = """
import json, sys
from bench.orchestration import measure
print(json.dumps(measure(int(sys.argv[1]))))
"""


def options() -> argparse.Namespace:
    """Return what is to be measured."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    names = ",".join(tool.name for tool in all_tools())
    parser.add_argument("--rounds", type=int, default=3, help="of everything, in turn (3)")
    parser.add_argument("--size", type=int, default=4096, help="MiB of the disk to compare with (4096)")
    parser.add_argument("--tools", default=names, help=f"some of {names}")
    parser.add_argument("--growth", default="1,4,16,64", help="GiB of the disks of the growth curves; empty for none")
    parser.add_argument("--bed", type=int, default=1024, help="MiB of the disk on the bed, 0 for no bed (1024)")
    parser.add_argument("--vms", default="1,10,50", help="VMs of the subclients of the orchestration; empty for none")
    where = "where images and repositories lie while it runs: auto is memory if there is much to spare (auto)"
    parser.add_argument("--ground", choices=("auto", "memory", "disk"), default="auto", help=where)
    parser.add_argument("--build", type=Path, default=Path("build"), help="where everything goes (build)")
    parser.add_argument("--quick", action="store_true", help="a disk of 256 MiB, one round, small growth: some minutes")
    if "--quick" in sys.argv:
        parser.set_defaults(size=256, rounds=1, growth="1,4", bed=256, vms="1,3")
    chosen = parser.parse_args()
    chosen.growth = [int(size) * GIB for size in chosen.growth.split(",") if size]
    chosen.vms = tuple(int(count) for count in chosen.vms.split(",") if count)
    unknown = set(chosen.tools.split(",")) - set(names.split(","))
    if unknown:
        parser.error(f"--tools: there is no {', '.join(sorted(unknown))}; there are {names}")
    return chosen


def installed(names: Sequence[str], directory: Path, result: Comparison) -> list[Tool]:
    """Return the tools that can be used here."""
    found = []
    for tool in all_tools():
        if tool.name in names:
            try:
                result.versions[tool.name] = tool.install(directory)
            except Unavailable as error:
                result.missing[tool.name] = str(error)
            else:
                found.append(tool)
    return found


def numbers(result: Comparison, changed: dict[str, int | None]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the medians of all rounds."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for operation, tools in result.rounds.items():
        for tool, rounds in tools.items():
            values = median(rounds).as_dict()
            extents = changed.get(tool) if operation == "incremental" else rounds[-1].extra.get("changed_extents")
            if extents:
                values["changed_extents"] = extents
            found.setdefault(operation, {})[tool] = values
    return found


def orchestrate(counts: Sequence[int], found: dict[str, dict[str, dict[str, Any]]], result: Comparison) -> None:
    """Measure what a VM costs besides its data: the playbooks run in the stage, where the collection is."""
    place = STAGE / "ansible_collections/ovm/backup"
    environment = {"PYTHONPATH": f"{place / 'tests'}:{STAGE}", "ANSIBLE_COLLECTIONS_PATH": str(STAGE)}
    for count in counts:
        done = subprocess.run(
            [sys.executable, "-c", _ORCHESTRATION, str(count)],
            check=False,
            cwd=place,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        operation = f"orchestration_{count}_vms"
        if done.returncode:
            print(f"{operation} failed: {done.stderr[-2000:]}", flush=True)
            result.missing[operation] = f"failed: {done.stderr[-200:]}"
            continue
        measured = json.loads(done.stdout.splitlines()[-1])
        found[operation] = {"ovm": {name: measured[name] for name in ("vms", "wall", "cpu", "calls")}}
        if measured["floor"]:
            found[operation]["ansible-core alone"] = {"calls": 0, **measured["floor"]}
        print(f"  {operation:22} {measured['cpu']:.2f} s CPU and {measured['calls']:.1f} calls per VM", flush=True)


def work(chosen: argparse.Namespace, file: Path) -> int:
    """Measure everything and report it."""
    started = time.monotonic()
    directory = chosen.build.absolute() / "bench"
    result = Comparison()
    tools = installed(chosen.tools.split(","), directory / "tools", result)
    workload = prepare(directory, chosen.size * MIB)
    text = [
        f"{platform.machine()}, {os.cpu_count()} processors, Linux {platform.release()}, "
        f"Python {platform.python_version()}",
        f"disk of {workload.size // MIB} MiB with {workload.files} files, {workload.data / 1e6:.0f} MB; a day changes "
        f"{workload.changed / 1e6:.1f} MB of it ({workload.changed / workload.data:.1%}); {chosen.rounds} rounds",
    ]
    print("\n".join([*text, *table.tools(result.versions, result.missing)]), flush=True)
    with ground(directory, file, 96 * GIB) as place:
        changed = _lay(place, workload)
        text += _about(place, changed, file)
        compare(tools, place, workload, chosen.rounds, result)
        grow(place, chosen.growth, chosen.rounds, result)
        if chosen.bed:
            measure_ocfs2(place, prepare(directory, chosen.bed * MIB), chosen.tools.split(","), chosen.rounds, result)
    found = numbers(result, changed)
    orchestrate(chosen.vms, found, result)
    verdicts = targets.judge(found, _targets(chosen), {"changed_extents": place.reason, **result.missing})
    text += ["", *table.tools(result.versions, result.missing), *table.operations(found, os.cpu_count() or 1)]
    text += [*table.growth(found), *table.orchestration(found), *table.targets(verdicts)]
    # Later rounds find the load that the earlier ones have made.
    if next(iter(result.loads), 0.0) > (os.cpu_count() or 1):
        text.append("The machine was busy with other things: seconds of wall, and ratios of them, are not worth much.")
    text.append(f"{time.monotonic() - started:.0f} s in all")
    print("\n".join(["", *text]))
    (directory / "report.txt").write_text("\n".join([*text, ""]), encoding="utf-8")
    _write(chosen.build / "bench.json", found)
    details = {
        "about": text[:3],
        "versions": result.versions,
        "missing": result.missing,
        "loads": result.loads,
        "targets": [verdict.as_dict() for verdict in verdicts],
        "rounds": {
            operation: {tool: [{**one.as_dict(), **one.extra} for one in rounds] for tool, rounds in tools.items()}
            for operation, tools in result.rounds.items()
        },
    }
    _write(directory / "details.json", details)
    return 0


def _lay(place: Ground, workload: Any) -> dict[str, int | None]:
    """Put the images in place; return the changed extents that each way to read an increment meets."""
    place.lay(workload)
    if not place.maps:
        return {}
    return {"ovm": place.changed("day"), "ovm-1mib": place.changed("coarse")}


def _about(place: Ground, changed: dict[str, int | None], file: Path) -> list[str]:
    if not place.maps:
        return [f"no extent maps: {place.reason}"]
    return [
        f"images and repositories on an XFS {'in memory' if file.is_relative_to('/dev/shm') else 'on the disk'}",
        f"changed extents: {(changed['ovm'] or 0) / 1e6:.1f} MB on XFS, {(changed['ovm-1mib'] or 0) / 1e6:.1f} MB "
        f"where every write makes a cluster of {CLUSTER // MIB} MiB anew",
    ]


def _targets(chosen: argparse.Namespace) -> list[targets.Target]:
    sizes = [label(size) for size in chosen.growth] or ["1gib", "64gib"]
    return targets.targets((sizes[0], sizes[-1]), chosen.vms or (1, 10, 50))


def _write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def main() -> int:
    """Run as a program."""
    chosen = options()
    directory = chosen.build.absolute() / "bench"
    temporary = directory / "tmp"
    directory.mkdir(parents=True, exist_ok=True)
    file = place_of(directory, chosen.size * MIB * 5 // 2 + GIB, chosen.ground)

    def tidy() -> None:
        file.unlink(missing_ok=True)
        for left in (directory / "ground", temporary):
            shutil.rmtree(left, ignore_errors=True)

    tidy()
    temporary.mkdir()
    os.environ["TMPDIR"] = str(temporary)
    # Whoever uses a tool written in Python compiles it once.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    return isolated(lambda: work(chosen, file), tidy)


if __name__ == "__main__":
    sys.exit(main())
