# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook verify: what is bad is named and fails, and the next backup does not build on it."""

from __future__ import annotations

import time
from pathlib import Path

from playbooks.bench import Bench, only

VM = "old01"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)


def test_damage_is_found_and_not_built_upon(bench: Bench) -> None:
    bench.subclients = {"old": only(VM, max_age="1d", verify={"max_age": "1d"})}
    bench.backup("old")
    [point] = bench.points(VM)
    path = bench.vault / "clients" / VM / point["id"] / point["disks"][0]["file"]
    flip(path)
    tree = bench.tree()
    due = bench.run("verify", "--check", subclient="old")
    name = f"VM {VM!r} (client {VM}), recovery point {point['id']}"
    assert due.shown == [["1 recovery point of 1 client: 1 due", f"Due: {name}: it was never verified"]]
    assert bench.tree() == tree

    found = bench.run("verify", code=2, subclient="old")
    [[counts, bad]] = found.shown
    assert counts.startswith("1 recovery point of 1 client: 1 bad; ")
    assert bad.startswith(f"Bad: {name}: {path} is damaged at offset 0: ")
    assert found.messages == {"localhost": f"1 recovery point is bad; {bad}"}

    tree = bench.tree()
    [[client, _titles, _rule, line, _empty, total]] = bench.run(
        "points", "--check", client="ol?01", verification="bad,never", complete=False, pinned="false", types=["full"]
    ).shown
    assert (client, line.split()[0]) == (f"Client {VM}, VM {VM}:", point["id"])
    assert f" bad, {time.strftime('%Y-')}" in line
    assert f"  cannot be restored: recovery point {point['id']} was found bad by a verification: {path} is " in line
    assert total.startswith("1 recovery point of 1 client, ")
    assert bench.tree() == tree

    # Although it is younger than max_age.
    bench.backup("old")
    reason = f"newest recovery point is damaged: recovery point {point['id']} was found bad by a verification: "
    assert bench.job()["vms"][VM]["reason"].startswith(reason)
    assert [one["type"] for one in bench.points(VM)] == ["full", "full"]
    newest = bench.run("verify", client=VM, point="latest")
    assert newest.shown[0][0].startswith("1 recovery point of 1 client: 1 good; ")
    flip(path)
    again = bench.run("verify", max_age="1d")
    assert again.shown[0][0].startswith("2 recovery points of 1 client: 1 good; ")


def test_unknown_subclient(bench: Bench) -> None:
    bench.subclients = {"old": only(VM)}
    found = bench.run("verify", code=2, subclient="odl")
    assert found.messages == {"localhost": "There is no subclient 'odl'. Defined are: old."}
