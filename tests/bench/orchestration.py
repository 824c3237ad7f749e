# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure what a backup costs besides its data: CPU seconds and calls of the manager for each VM.

The playbook backs up a simulated estate of running VMs on OCFS2 with tiny disks twice. The second run, in which nothing
has changed, is measured: all that it costs, from planning to the report, divided by the number of VMs. The CPU is that
of ansible-playbook and all that it starts, without the simulator's, with the settings that the guide on runs advises.
What ansible-core needs alone for as many tasks that do nothing, as many of them starts of a module, is measured beside
it for a single VM. Runs in the stage, where the collection is.
"""

from __future__ import annotations

import argparse
import collections
import json
import re
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from playbooks.bench import Bench, everything
from simulator.testing import running

SIZES = (1, 10, 50)  # VMs of the subclient
FORKS = 4  # VMs at a time
_ID = re.compile(r"/(0004fb|[0-9]{13}|[0-9a-f]{32})[^/?]*")


def estate(vms: int) -> str:
    """Return an estate of running VMs, each with one disk of 1 MiB, spread over four storage repositories."""
    places = 4
    disk = {"size": 1, "data": 0}
    document: dict[str, Any] = {
        "name": "orchestration",
        "networks": [{"id": "10238073c2", "name": "vm-net", "roles": ["MANAGEMENT", "VIRTUAL_MACHINE"]}],
        "pools": [{"name": "pool1", "virtual_ip": "192.0.2.10"}],
        "servers": [{"name": "ovs1.example.com", "ip": "192.0.2.11", "pool": "pool1"}],
        "repositories": [{"name": f"repo-{number}", "storage": "iscsi"} for number in range(places)],
        "physical_disks": [],
        "isos": [],
        "vms": [
            {
                "name": f"vm{number:03}",
                "repository": f"repo-{number % places}",
                "server": "ovs1.example.com",
                "disks": [{"name": f"vm{number:03}-sys", **disk}],
            }
            for number in range(vms)
        ],
    }
    return json.dumps(document)  # JSON is YAML


def used() -> float:
    """Return the CPU seconds of the children of this process that have ended, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def counting(folder: Path) -> tuple[str, Path]:
    """Return an interpreter that notes each of its starts, and the file in which it does."""
    noted, interpreter = folder / "starts", folder / "python"
    noted.touch()
    interpreter.write_text(f'#!/bin/sh\necho >> {noted}\nexec {sys.executable} "$@"\n', encoding="utf-8")
    interpreter.chmod(0o755)
    return str(interpreter), noted


def nothing(folder: Path, tasks: int, starts: int) -> str:
    """Write a playbook with so many tasks that do nothing, and return its path.

    So many of them start a module. It is always the same one, whose file is made once: in a real run they are of
    several kinds.
    """
    nothing = {"name": "Do nothing", "ansible.builtin.set_fact": {"nothing": True}}
    start = {"name": "Start a module that does nothing", "ansible.builtin.ping": {}}
    wanted = [nothing] * (tasks - starts) + [start] * starts
    play = {"name": "Nothing", "hosts": "localhost", "gather_facts": False, "tasks": wanted}
    (folder / "nothing.yml").write_text(json.dumps([play]), encoding="utf-8")
    return str(folder / "nothing.yml")


def measure(vms: int, *, directory: Path | None = None) -> dict[str, Any]:
    """Back up so many VMs twice; return what the second run took for each of them.

    C(cpu) is CPU seconds and C(calls) calls of the manager for each VM, C(wall) seconds of the whole run. C(paths) are
    the calls of the run by kind. C(floor) is what ansible-core alone needs for one VM: C(tasks) and the C(starts) of
    modules among them, C(cpu) and C(wall) of as many that do nothing.
    """
    with tempfile.TemporaryDirectory(dir=directory) as name:
        folder = Path(name)
        (folder / "estate.yml").write_text(estate(vms), encoding="utf-8")
        with running(str(folder / "estate.yml"), state_dir=folder / "simulator") as simulator:
            # Where nothing is buffered, Python reads each module byte by byte.
            bench = Bench(simulator, folder / "bench", surroundings={"PYTHONUNBUFFERED": ""})
            bench.make_vault()
            bench.subclients = {"all": everything()}
            options = ("--forks", str(FORKS))
            interpreter, noted = counting(folder)
            bench.backup("all", *options, ansible_python_interpreter=interpreter)
            starts = len(noted.read_text(encoding="utf-8").splitlines())
            simulator.clear_calls()
            cpu, wall = used(), time.monotonic()
            outcome = bench.backup("all", *options)
            cpu, wall = used() - cpu, time.monotonic() - wall
            calls = simulator.calls()
            bench.check_settled()
            points = [bench.points(f"vm{number:03}") for number in range(vms)]
            assert all([point["type"] for point in found] == ["full", "incremental"] for found in points)
            assert all(disk["statistics"]["changed"] == 0 for found in points for disk in found[1]["disks"])
            floor: dict[str, float] = {}
            if vms == 1:
                tasks = outcome.output.count("\nTASK [")
                least, began = used(), time.monotonic()
                bench.run(nothing(folder, tasks, starts))
                took = {"cpu": used() - least, "wall": time.monotonic() - began}
                floor = {"tasks": tasks, "starts": starts, **took}
    kinds = collections.Counter(f"{call['method']} {_ID.sub('/*', call['path'])}" for call in calls)
    found = {"vms": vms, "cpu": cpu / vms, "calls": len(calls) / vms, "wall": wall, "paths": dict(kinds.most_common())}
    return {**found, "floor": floor}


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", type=int, nargs="*", default=SIZES, help="numbers of VMs")
    parser.add_argument("--paths", action="store_true", help="show which calls they are")
    options = parser.parse_args()
    print("  VMs   CPU s per VM   manager calls per VM   wall s in all")
    for vms in options.sizes:
        found = measure(vms)
        print(f"{vms:5} {found['cpu']:14.2f} {found['calls']:22.1f} {found['wall']:15.1f}", flush=True)
        floor = found["floor"]
        if floor:
            cost = f"{floor['cpu']:14.2f} {0:22.1f} {floor['wall']:15.1f}"
            print(f"      {cost}  ansible-core alone: {floor['tasks']} tasks, {floor['starts']} starts of a module")
        if options.paths:
            for kind, number in found["paths"].items():
                print(f"      {number:5} {kind}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
