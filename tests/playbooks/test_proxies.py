# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Several proxies, each behind a sshd of its own: dealing, limits, one that is lost, clocks, and one vault."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from playbooks.bench import Bench, Playbook, only, wait_until
from playbooks.proxy_host import ProxyHost, continue_and_wait, proxy_hosts


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[list[ProxyHost]]:
    with proxy_hosts(tmp_path / "proxies", {}, {}) as made:
        yield made


def use(bench: Bench, hosts: list[ProxyHost], *more: str) -> list[str]:
    """Put the hosts into the inventory; return the names of all that are proxies."""
    bench.hosts = {"localhost": {}, **{host.name: host.facts for host in hosts}}
    names = [*more, *(host.name for host in hosts)]
    bench.variables = {"ovm_backup_proxies": names}
    return names


def caught(playbook: Playbook, *hosts: ProxyHost) -> list[list[int]]:
    """Stop the modules of each host where they are, as soon as they read a VM, whichever host comes first."""
    found: dict[str, list[int]] = {}

    def look() -> bool:
        for host in hosts:
            if host.name not in found and (pids := list(host.transfers())):
                for pid in pids:
                    os.kill(pid, signal.SIGSTOP)
                found[host.name] = pids
        return len(found) == len(hosts) or playbook.process.poll() is not None

    wait_until(look, f"{', '.join(host.name for host in hosts)} read VMs")
    assert playbook.process.poll() is None, playbook.wait().output
    return [found[host.name] for host in hosts]


def most_clones(bench: Bench) -> int:
    """Return how many clones there were at one time, by the requests that the manager got."""
    count = most = 0
    for call in bench.simulator.calls(writing=True):
        if call["path"].endswith("/clone"):
            count += 1
        elif call["method"] == "DELETE" and "/Vm/" in call["path"]:
            count -= 1
        most = max(most, count)
    return most


def test_dealing_and_limits(bench: Bench, pair: list[ProxyHost]) -> None:
    names = use(bench, pair)
    bench.subclients = {"two": only("app/01", "web01", reference_clone="remove", limits={"clones": 0, "repository": 1})}
    bench.backup("two")
    job = bench.job()
    assert [vm["proxy"] for vm in sorted(job["vms"].values(), key=lambda vm: vm["order"])] == names
    assert job["status"] == "Completed"
    # One place in the storage repository for both proxies: a clone is gone before the next one is made.
    assert most_clones(bench) == 1
    assert list((bench.vault / "proxies").iterdir()) == []


def test_proxies_are_lost(bench: Bench, pair: list[ProxyHost]) -> None:
    names = use(bench, pair, "localhost")
    one, two = pair
    bench.subclients = {
        "three": only("app/01", "bigfiles01", "big01", two_pass=False, reference_clone="remove"),
        "again": only("bigfiles01"),
    }
    playbook = bench.start(subclient="three", ovm_backup_compression_level=19)
    # One is cut off from the network while its module goes on, later; the other one crashes.
    [alive], _dead = caught(playbook, one, two)
    assert bench.state_of("bigfiles01") == "STOPPED"
    assert {vm["vm_name"]: vm["proxy"] for vm in bench.jobs()[-1]["plan"]} == dict(
        zip(("app/01", "bigfiles01", "big01"), names, strict=True)
    )
    one.cut_off(spare=[alive])
    two.cut_off(spare=[])
    outcome = playbook.wait()

    assert outcome.code == 2, outcome.output
    job = bench.job()
    found = {name: (vm["status"], vm["proxy"]) for name, vm in job["vms"].items()}
    assert found == {
        "app/01": ("Completed", "localhost"),
        "bigfiles01": ("Failed", "localhost"),
        "big01": ("Completed with warnings", "localhost"),
    }
    assert bench.state_of("bigfiles01") == "RUNNING"
    assert job["vms"]["bigfiles01"]["reason"].startswith("Proxy proxy1 cannot be reached: ")
    went_on = "proxy {} was lost, and proxy {} went on"
    assert went_on.format("proxy2", "localhost") in job["vms"]["big01"]["warnings"]
    assert [bench.clones(), bench.locks(), len(bench.points("big01"))] == [[], {}, 1]
    # What comes back to life has lost its lock: it publishes nothing, and takes away what it has stored.
    continue_and_wait(alive)
    assert bench.points("bigfiles01") == []

    outcome = bench.backup("again")
    assert "proxy 'proxy1': it cannot be reached: " in outcome.output
    assert bench.statuses() == {"bigfiles01": "Completed"}


def test_who_takes_part(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXY_ROOT", str(bench.directory))
    shutil.copytree(bench.vault, tmp_path / "copied/vault")
    late = {"name": "late", "ahead": -600.0, "environment": {"PROXY_ROOT": str(bench.directory)}}
    copied = {"name": "copied", "environment": {"PROXY_ROOT": str(tmp_path / "copied")}}
    with proxy_hosts(tmp_path / "proxies", late, copied) as hosts:
        use(bench, hosts, "localhost")
        bench.hosts["down"] = {**hosts[0].facts, "ansible_port": 1}
        bench.variables["ovm_backup_proxies"].append("down")
        bench.variables["ovm_backup_vault"] = "$PROXY_ROOT/vault"
        bench.subclients = {"none": only("nobody", allow_empty=True), "two": only("web01", "mail01")}
        outcome = bench.backup("none", code=0)
    plan = "\n".join(outcome.shown[0])
    left_out = "; it is left out of this run, the others do its work"
    assert f"proxy 'late': its clock is 10 min behind that of 'localhost': set it, by NTP{left_out}" in plan
    assert "proxy 'copied': What the host that plans has written into the vault is not in " in plan
    assert "proxy 'down': it cannot be reached: " in plan
    assert "proxy 'localhost'" not in plan
