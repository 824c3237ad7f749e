# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Call sequences of clients that others wrote and ran against real managers.

Written from the clients' public sources in the style of each: what they send and what they insist on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from simulator.testing import Simulator, running

JSON = {"Accept": "application/json", "Content-Type": "application/json"}


@pytest.fixture(scope="module")
def manager(images_cache: Path) -> Iterator[Simulator]:
    """In real time, as those clients wait with the clock on the wall."""
    with running("minimal", job_seconds=0.01, images_cache=images_cache) as started:
        yield started


def test_fence_ovm(manager: Simulator) -> None:
    """Name to id by the list, PUT must give exactly 201, then the state is polled; SUSPENDED counts as off."""

    def send(method: str, command: str, expected: int) -> Any:
        url = manager.url + "/" + command
        auth = (manager.user, manager.password)
        response = requests.request(method, url, headers=JSON, auth=auth, verify=manager.ca, timeout=10)
        assert response.status_code == expected
        return response.json()

    def power() -> str:
        machine = next(vm for vm in send("GET", "Vm", 200) if vm["name"] == "app 01")
        return "off" if machine["vmRunState"] in ("STOPPED", "SUSPENDED") else "on"

    def fence(action: str, wanted: str) -> None:
        machine = next(vm for vm in send("GET", "Vm", 200) if vm["name"] == "app 01")
        send("PUT", f"Vm/{machine['id']['value']}/{action}", 201)
        deadline = time.monotonic() + 10
        while power() != wanted:
            assert time.monotonic() < deadline

    assert power() == "on"
    fence("stop", "off")
    fence("start", "on")


def test_python_ovmclient(manager: Simulator) -> None:
    """The literal body ``null``, Python's truth values in the query, jobs waited for by ``done``."""
    session = requests.Session()
    session.trust_env = False  # CA settings of the environment would beat the CA of the test
    session.auth = (manager.user, manager.password)
    session.verify = manager.ca
    session.headers.update(JSON)

    def rest(method: str, path: str, data: Any = None, params: Any = None) -> Any:
        response = session.request(method, manager.url + "/" + path, data=json.dumps(data), params=params)
        assert response.ok, response.text
        return response.json()

    def wait(job: Any) -> Any:
        while not rest("GET", f"Job/{job['id']['value']}")["done"]:
            time.sleep(0.005)
        job = rest("GET", f"Job/{job['id']['value']}")
        assert job["jobRunState"] == "SUCCESS", job["error"]
        return job["resultId"]

    assert rest("GET", "Manager")[0]["managerRunState"].upper() == "RUNNING"
    repository = next(item for item in rest("GET", "Repository") if item["name"] == "repo-nfs-1")["id"]
    pool = rest("GET", "ServerPool/id")[0]
    network = rest("GET", "Network/id")[0]
    path = f"Repository/{repository['value']}/VirtualDisk"
    disk = {"diskType": "VIRTUAL_DISK", "size": 1 << 20, "shareable": False, "name": "dummy"}
    disk_id = wait(rest("POST", path, disk, {"sparse": True}))
    machine = {"name": "vm1", "description": "", "vmDomainType": "XEN_HVM", "repositoryId": repository}
    machine.update(serverPoolId=pool, memory=512, cpuCount=1)
    vm_id = wait(rest("POST", "Vm", machine))
    mapping = {"virtualDiskId": disk_id, "storageElementId": None, "diskTarget": 0, "diskWriteMode": "READ_WRITE"}
    wait(rest("POST", f"Vm/{vm_id['value']}/VmDiskMapping", {**mapping, "emulatedBlockDevice": False}))
    nic_id = wait(rest("POST", f"Vm/{vm_id['value']}/VirtualNic", {"networkId": network}))
    assert nic_id["name"].startswith("00:21:f6:")
    wait(rest("PUT", f"Vm/{vm_id['value']}/start"))
    wait(rest("PUT", f"Vm/{vm_id['value']}/kill"))
    clone = {"serverPoolId": pool["value"], "repositoryId": None, "vmCloneDefinitionId": None, "createTemplate": True}
    template = wait(rest("PUT", f"Vm/{vm_id['value']}/clone", None, clone))
    assert rest("GET", f"Vm/{template['value']}")["vmRunState"] == "TEMPLATE"
    assert rest("GET", "VirtualDisk/virtualDiskGetEmptyCdrom")["id"]["value"] == "EMPTY_CDROM"
    assert "Other Linux" in rest("GET", "Vm/SupportedOsTypes")["strings"]
    wait(rest("DELETE", f"Vm/{vm_id['value']}"))


def test_go_ovm_helper(manager: Simulator) -> None:
    """Basic on every request and no cookies, a charset on input, redundant query parameters, ids of type and value."""

    def call(method: str, path: str, query: dict[str, str] | None = None, body: Any = None) -> Any:
        headers = {"Accept": "application/json", "Content-Type": "application/json; charset=utf-8"}
        auth = (manager.user, manager.password)
        url = manager.url + "/" + path
        data = None if body is None else json.dumps(body)
        response = requests.request(
            method, url, headers=headers, auth=auth, verify=manager.ca, params=query, data=data, timeout=10
        )
        assert 200 <= response.status_code < 300, response.text
        return response.json()

    def wait(job: Any) -> str:
        identifier = job["id"]["value"]
        while True:
            job = call("GET", f"Job/{identifier}")
            if job["done"]:
                assert job["jobRunState"] == "SUCCESS", job["error"]
                return str(job["resultId"]["value"]) if job["resultId"] else ""

    model = "com.oracle.ovm.mgr.ws.model."
    vm = next(item for item in call("GET", "Vm") if item["name"] == "db01")
    vm_id, pool = vm["id"]["value"], vm["serverPoolId"]["value"]
    disk = next(item for item in call("GET", "VirtualDisk") if item["name"] == "db01-sys")
    definition = wait(call("POST", f"Vm/{vm_id}/VmCloneDefinition", None, {"name": "go", "description": "go"}))
    mapping = {
        "name": "go",
        "cloneType": "THIN_CLONE",
        "vmDiskMappingId": {"value": disk["vmDiskMappingIds"][0]["value"], "type": model + "VmDiskMapping"},
        "vmCloneDefinitionId": {"value": definition, "type": model + "VmCloneDefinition"},
        "repositoryId": {"value": disk["repositoryId"]["value"], "type": model + "Repository"},
    }
    path = f"VmCloneDefinition/{definition}/VmCloneStorageMapping"
    storage = wait(call("POST", path, {"vmCloneDefinitionId": definition}, mapping))
    query = {"vmId": vm_id, "serverPoolId": pool, "repositoryId": disk["repositoryId"]["value"]}
    query.update(vmCloneDefinitionId=definition, createTemplate="false")
    clone = wait(call("PUT", f"Vm/{vm_id}/clone", query))
    fresh = call("GET", f"Vm/{clone}")
    wait(call("PUT", f"Vm/{clone}", None, {**fresh, "name": "go01"}))
    assert call("GET", f"Vm/{clone}")["name"] == "go01"
    wait(call("DELETE", f"VmCloneDefinition/{definition}/VmCloneStorageMapping/{storage}"))
    wait(call("DELETE", f"Vm/{vm_id}/VmCloneDefinition/{definition}"))
    disk_mapping = call("GET", f"Vm/{clone}/VmDiskMapping/id")[0]["value"]
    disk_id = call("GET", f"VmDiskMapping/{disk_mapping}/VirtualDisk")["id"]["value"]
    wait(call("DELETE", f"Vm/{clone}/VmDiskMapping/{disk_mapping}"))
    repository = disk["repositoryId"]["value"]
    query = {"repositoryId": repository, "virtualDiskId": disk_id}
    wait(call("DELETE", f"Repository/{repository}/VirtualDisk/{disk_id}", query))
    wait(call("DELETE", f"Vm/{clone}"))


def test_powershell(manager: Simulator) -> None:
    """References are followed by path, job ids asked for by time, the answer's type compared."""
    session = requests.Session()
    session.trust_env = False  # CA settings of the environment would beat the CA of the test
    session.auth = (manager.user, manager.password)
    session.verify = manager.ca
    session.headers.update(JSON)
    response = session.get(manager.url + "/Vm/id")
    assert response.headers["Content-Type"] == "application/json"
    for vm in response.json():
        for mapping in session.get(f"{manager.url}/Vm/{vm['value']}/VmDiskMapping").json():
            disk = session.get(f"{manager.url}/VmDiskMapping/{mapping['id']['value']}/VirtualDisk").json()
            assert disk["id"] == mapping["virtualDiskId"]
    repository = session.get(manager.url + "/Repository").json()[0]
    system = session.get(f"{manager.url}/Repository/{repository['id']['value']}/FileSystem").json()
    assert system["id"] == repository["fileSystemId"]
    begin = session.get(manager.url + "/Manager").json()[0]["managerTime"] - 3_600_000
    assert session.get(f"{manager.url}/Job/id?startTime={begin}&maxJobs=100").status_code == 200


def test_ansible_ovm(manager: Simulator) -> None:
    """The base joined with a slash too many, ``{id, name}`` alone to rename, file systems refreshed."""
    session = requests.Session()
    session.trust_env = False  # CA settings of the environment would beat the CA of the test
    session.auth = (manager.user, manager.password)
    session.verify = manager.ca
    session.headers.update(JSON)
    base = manager.url.replace("/ovm/core", "//ovm/core")

    def wait(response: requests.Response) -> Any:
        job = response.json()
        while not job["summaryDone"]:
            job = session.get(f"{base}/Job/{job['id']['value']}").json()
        assert job["jobRunState"] == "SUCCESS", job["error"]
        return job

    vm = next(item for item in session.get(base + "/Vm").json() if item["name"] == "files01")
    body = {"id": {"value": vm["id"]["value"], "type": vm["id"]["type"]}, "name": "files09"}
    wait(session.put(f"{base}/Vm/{vm['id']['value']}", data=json.dumps(body)))
    renamed = session.get(f"{base}/Vm/{vm['id']['value']}").json()
    assert (renamed["name"], renamed["memory"]) == ("files09", vm["memory"])
    body["name"] = "files01"
    wait(session.put(f"{base}/Vm/{vm['id']['value']}", data=json.dumps(body)))
    for system in session.get(base + "/FileSystem/id").json():
        wait(session.put(f"{base}/FileSystem/{system['value']}/refresh"))
    pool, reference = vm["serverPoolId"]["value"], json.dumps(vm["id"])
    wait(session.put(f"{base}/ServerPool/{pool}/removeVm", data=reference))
    gone = session.get(f"{base}/Vm/{vm['id']['value']}").json()
    assert (gone["serverPoolId"], gone["serverId"]) == (None, None)
    assert session.get(f"{base}/ServerPool/{pool}").json()["unassignedVmIds"] == [vm["id"]]
    wait(session.put(f"{base}/ServerPool/{pool}/addVm", data=reference))


def test_commvault(manager: Simulator) -> None:
    """POST /login, then the cookie alone; it follows uris; 401 for a dead cookie even with Basic."""
    session = requests.Session()
    session.trust_env = False  # CA settings of the environment would beat the CA of the test
    session.verify = manager.ca
    session.headers.update(JSON)
    login = session.post(manager.url + "/login", auth=(manager.user, manager.password))
    assert (login.status_code, login.content) == (200, b"")
    assert list(session.cookies.keys()) == ["JSESSIONID"]
    manager_object = session.get(manager.url + "/Manager").json()[0]
    assert manager_object["managerRunState"] == "RUNNING"
    for server in session.get(manager.url + "/Server").json():
        for reference in server["vmIds"]:
            assert session.get(reference["uri"]).json()["serverId"] == server["id"]
    manager.expire_sessions()
    assert session.get(manager.url + "/Vm").status_code == 401
    session.auth = (manager.user, manager.password)
    assert session.get(manager.url + "/Vm").status_code == 401
    session.cookies.clear()
    assert session.get(manager.url + "/Vm").status_code == 200


def test_a_client_that_encodes_nearly_everything(manager: Simulator) -> None:
    """fog-oracle encodes all but letters, digits and ``_.-``: colons, slashes, spaces, parentheses."""
    session = manager.session()
    for type_ in ("FileSystemMount", "FileServerPlugin", "StorageArray", "Server", "StorageInitiator"):
        for reference in session.get(f"{manager.url}/{type_}/id").json():
            found = session.get(f"{manager.url}/{type_}/{quote(reference['value'], safe='')}")
            assert found.json()["id"] == reference
