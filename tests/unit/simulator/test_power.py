# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Life cycle of a VM (ovm-rest-api 9.3)."""

from __future__ import annotations

from typing import Any


def state(client: Any, name: str) -> str:
    return str(client.simulator.find("Vm", name)["vmRunState"])


def test_stop_takes_time_and_start_brings_it_back(client: Any) -> None:
    path = f"/Vm/{client.id('Vm', 'db01')}"
    client.submit("PUT", f"{path}/stop")
    client.simulator.advance(0.5)
    assert state(client, "db01") == "STOPPING"
    client.simulator.advance(2)
    stopped = client.simulator.find("Vm", "db01")
    assert (stopped["vmRunState"], stopped["currentDomainId"], stopped["sslVncPort"]) == ("STOPPED", -1, None)
    client.submit("PUT", f"{path}/start")
    client.simulator.advance(0.5)
    assert state(client, "db01") == "STARTING"
    client.simulator.advance(1)
    started = client.simulator.find("Vm", "db01")
    assert (started["vmRunState"], started["currentMemory"]) == ("RUNNING", 1027)
    assert started["sslVncPort"].startswith("69")


def test_wrong_states_end_in_failure(client: Any) -> None:
    kind, message = client.failed("PUT", f"/Vm/{client.id('Vm', 'db01')}/start")
    assert kind == "RULE"
    assert "Virtual Machine: db01, is not STOPPED. It is RUNNING." in message
    assert client.failed("PUT", f"/Vm/{client.id('Vm', 'files01')}/stop")[0] == "RULE"


def test_suspend_resume_restart_kill(client: Any) -> None:
    path = f"/Vm/{client.id('Vm', 'db01')}"
    client.done("PUT", f"{path}/suspend")
    assert state(client, "db01") == "SUSPENDED"
    client.done("PUT", f"{path}/resume")
    client.done("PUT", f"{path}/restart")
    assert state(client, "db01") == "RUNNING"
    client.done("PUT", f"{path}/kill")
    assert state(client, "db01") == "STOPPED"


def test_a_guest_that_ignores_shutdown(client: Any) -> None:
    client.simulator.ignore_shutdown("db01")
    path = f"/Vm/{client.id('Vm', 'db01')}"
    job = client.submit("PUT", f"{path}/stop")
    client.simulator.advance(1000)
    assert client.get(f"/Job/{job['id']['value']}")["jobRunState"] == "RUNNING"
    assert state(client, "db01") == "STOPPING"
    assert client.refused("PUT", f"{path}/kill") == (409, "GEN_000029")
    client.submit("PUT", f"/Job/{job['id']['value']}/abort")
    assert state(client, "db01") == "RUNNING"
    client.done("PUT", f"{path}/kill")
    assert state(client, "db01") == "STOPPED"


def test_kill_may_take_over_from_stop_by_a_switch(client: Any) -> None:
    client.simulator.set_switch("kill_during_stop", "allow")
    client.simulator.ignore_shutdown("db01")
    path = f"/Vm/{client.id('Vm', 'db01')}"
    job = client.submit("PUT", f"{path}/stop")
    client.simulator.advance(10)
    client.done("PUT", f"{path}/kill")
    assert state(client, "db01") == "STOPPED"
    assert client.get(f"/Job/{job['id']['value']}")["error"]["type"] == "ABORT"


def test_a_guest_may_give_in_later(client: Any) -> None:
    client.simulator.ignore_shutdown("db01")
    job = client.submit("PUT", f"/Vm/{client.id('Vm', 'db01')}/stop")
    client.simulator.advance(100)
    client.simulator.ignore_shutdown("db01", False)
    assert client.simulator.finish(client.session, job)["jobRunState"] == "SUCCESS"
    assert state(client, "db01") == "STOPPED"


def test_delete_needs_a_stopped_vm_and_keeps_its_disks(client: Any) -> None:
    path = f"/Vm/{client.id('Vm', 'app 01')}"
    assert "is not STOPPED. It is RUNNING." in client.failed("DELETE", path)[1]
    client.simulator.set_state("app 01", "STOPPED")
    config = client.get(path)["vmConfigFileMountedPath"].removeprefix("/OVS/Repositories/")
    assert (client.simulator.repositories / config).exists()
    client.done("DELETE", path)
    assert client.refused("GET", path) == (404, "GEN_000002")
    disk = client.simulator.find("VirtualDisk", "app01-sys")
    assert disk["vmDiskMappingIds"] == []
    assert not (client.simulator.repositories / config).exists()
    client.done("DELETE", f"/Repository/{disk['repositoryId']['value']}/VirtualDisk/{disk['id']['value']}")
    mounted = disk["mountedPath"].removeprefix("/OVS/Repositories/")
    assert not (client.simulator.repositories / mounted).exists()
