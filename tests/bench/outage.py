# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure the outage of one simulated VM on NFS with one pass and with two, by the playbook itself.

The same VM, with the same data, is backed up in full into two new vaults. While the guest shuts down it writes a file,
so the second pass has something to do. Needs the stage (``make bench-outage``); makes its data where it is told to.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from playbooks.bench import Bench, only, wait_until
from simulator import guest
from simulator.testing import Simulator, running

VM = "bench01"
ESTATE = """\
name: outage
networks:
  - {{id: 10238073c2, name: vm-net, roles: [MANAGEMENT, VIRTUAL_MACHINE]}}
pools:
  - {{name: pool1, virtual_ip: 192.0.2.10}}
servers:
  - {{name: ovs1.example.com, ip: 192.0.2.11, pool: pool1}}
repositories:
  - {{name: repo-nfs-1, storage: nfs, host: nfs01.example.com, export: /export/ovm, share_path: repo1}}
physical_disks: []
isos: []
vms:
  - name: bench01
    repository: repo-nfs-1
    server: ovs1.example.com
    disks:
      - {{name: bench01-sys, size: {size}, data: {data}}}
"""


def backup(simulator: Simulator, directory: Path, *, two_pass: bool, changed: int) -> dict[str, float]:
    """Back the VM up in full into a new vault; return what was measured."""
    bench = Bench(simulator, directory)
    bench.make_vault()
    bench.subclients = {"one": only(VM, two_pass=two_pass)}
    simulator.ignore_shutdown(VM)
    playbook = bench.start("backup", subclient="one")
    wait_until(lambda: bench.state_of(VM) == "STOPPING" or playbook.process.poll() is not None, "the guest shuts down")
    guest.write_file(bench.images(VM)[0], "/srv/changed.bin", guest.noise(changed, directory.name))
    simulator.ignore_shutdown(VM, False)
    outcome = playbook.wait()
    if outcome.code:
        raise SystemExit(outcome.output)
    [point] = bench.points(VM)
    durations = point["durations"]
    return {
        "outage": bench.job()["vms"][VM]["outage"],
        "in_outage": durations.get("second_pass", durations["transfer"]),
        "total": durations["transfer"],
        "stored": float(sum(disk["file_size"] for disk in point["disks"])),
    }


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="is emptied")
    parser.add_argument("--data", type=int, default=1024, help="MiB of files of the guest, half of which compress well")
    parser.add_argument("--changed", type=int, default=8, help="MiB that the guest writes between the passes")
    parser.add_argument("--runs", type=int, default=3, help="of each kind, in turn")
    options = parser.parse_args()
    directory = options.directory.absolute()
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    estate = directory / "estate.yml"
    estate.write_text(ESTATE.format(size=options.data * 3 // 2, data=options.data), encoding="utf-8")
    found: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    print(f"{options.data} MiB of data, {options.changed} MiB changed, {options.runs} runs of each kind")
    print("passes   outage  of which transfer   transfer in all")
    try:
        with running(str(estate), state_dir=directory / "simulator", images_cache=directory / "images") as simulator:
            for number in range(options.runs):
                for two_pass in (False, True):
                    folder = directory / f"{number}-{'two' if two_pass else 'one'}"
                    result = backup(simulator, folder, two_pass=two_pass, changed=options.changed << 20)
                    shutil.rmtree(folder)
                    found[two_pass].append(result)
                    name = "two" if two_pass else "one"
                    row = f"{result['outage']:7.1f} s {result['in_outage']:16.2f} s {result['total']:15.2f} s"
                    print(f"{name:6} {row}", flush=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    one, two = (
        {key: statistics.median(run[key] for run in found[two_pass]) for key in ("outage", "in_outage")}
        for two_pass in (False, True)
    )
    print(f"medians: outage {one['outage']:.1f} s with one pass, {two['outage']:.1f} s with two")
    print(f"the transfer in the outage is {one['in_outage'] / two['in_outage']:.1f} times as long with one pass")
    return 0


if __name__ == "__main__":
    sys.exit(main())
