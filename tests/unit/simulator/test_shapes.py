# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulator's objects have the keys and value types of real managers' (shapes.json)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import simulator
from simulator.derive_shapes import type_name
from simulator.testing import Simulator, running

SHAPES: dict[str, Any] = json.loads((Path(simulator.__file__).parent / "shapes.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module", params=["3.4", "3.3"])
def estate(request: pytest.FixtureRequest, images_cache: Path) -> Iterator[tuple[Simulator, Any, str]]:
    """A sample estate in which every type has an object: a definition with mappings, an export, jobs, an event."""
    version = request.param
    options = {"speed": 0, "job_seconds": 1, "images_cache": images_cache, "switch": [f"version={version}"]}
    with running("sample", **options) as started:
        session = started.session()

        def run(method: str, path: str, body: Any = None) -> str:
            response = session.request(method, started.url + path, json=body)
            job = started.finish(session, response.json())
            return str(job["resultId"]["value"]) if job["resultId"] else ""

        vm = started.find("Vm", "mail01")
        vm_id = vm["id"]["value"]
        definition = run("POST", f"/Vm/{vm_id}/VmCloneDefinition", {"name": "d"})
        disk = started.find("VirtualDisk", "mail01-sys")
        mapping = {
            "cloneType": "THIN_CLONE",
            "vmDiskMappingId": disk["vmDiskMappingIds"][0],
            "repositoryId": disk["repositoryId"],
        }
        run("POST", f"/VmCloneDefinition/{definition}/VmCloneStorageMapping", mapping)
        network = {"virtualNicId": vm["virtualNicIds"][0], "networkId": started.find("Network", "vm-net")["id"]}
        run("POST", f"/VmCloneDefinition/{definition}/VmCloneNetworkMapping", network)
        server = started.find("Server", "ovs1.example.com")
        export = {"name": "e", "clientHostname": "backup01", "repositoryId": disk["repositoryId"]}
        run("POST", f"/Server/{server['id']['value']}/RepositoryExport", export)
        run("PUT", f"/Vm/{vm_id}/clone?serverPoolId={vm['serverPoolId']['value']}")
        run("DELETE", f"/Vm/{vm_id}")  # fails, so there is an event
        session.put(f"{started.url}/Vm/{vm_id}/stop")
        yield started, session, version


def allowed(key: str, types: list[str], found: str) -> bool:
    """Whether a value's type agrees with what is known of the key."""
    if found == "null" and key in ("absolutePath", "mountedPath"):
        return True  # no empty drive of a 3.4 manager was captured; a 3.3 one has no path either
    if found in types or (found == "list" and any(item.startswith("list") for item in types)):
        return True
    if found.startswith("list of") and types in (["list"], ["list", "null"]):
        return True  # only empty ones were captured
    # A reference that was null in all captured objects, as clusterId in a pool without cluster.
    return "null" in types and len(types) == 1 and key.endswith("Id") and found == "SimpleId"


def compare(obj: dict[str, Any], shape: dict[str, Any], relaxed: dict[str, Any] | None = None) -> None:
    assert list(obj) == list(shape)
    for key, value in obj.items():
        types = shape[key]["types"]
        if relaxed and key not in ("error", "latestSummaryProgressMessage", "userData", "resourceGroupIds"):
            types = sorted({*types, *relaxed[key]["types"]})
        found = type_name(value)
        assert allowed(key, types, found), f"{obj['id']['type']} {obj['name']}: {key} is {value!r}, known: {types}"
        if found == "object":
            assert list(value) == shape[key]["keys"], key


@pytest.mark.parametrize("type_", sorted(set(SHAPES) - {"Job"}))
def test_objects_look_like_real_ones(estate: tuple[Simulator, Any, str], type_: str) -> None:
    started, session, version = estate
    forms = SHAPES[type_]
    shape = forms.get("any any") or forms[f"any {version}"]
    objects = session.get(f"{started.url}/{type_}").json()
    assert objects, f"the estate has no {type_}"
    for obj in objects:
        compare(obj, shape)
    # One is fetched as in the list (the generation of the manager's clock apart), by the path in its own uri.
    single = session.get(objects[0]["id"]["uri"]).json()
    if type_ != "Manager":
        assert single == objects[0]
    compare(single, shape)


def test_jobs_differ_between_get_and_list(estate: tuple[Simulator, Any, str]) -> None:
    started, session, _unused = estate
    get, listed = SHAPES["Job"]["get any"], SHAPES["Job"]["list any"]
    jobs = session.get(f"{started.url}/Job").json()
    for job in jobs:
        if job["jobRunState"] == "SUCCESS":
            compare(job, listed, relaxed=get)
        single = session.get(f"{started.url}/Job/{job['id']['value']}").json()
        compare(single, get)
    assert {job["jobRunState"] for job in jobs} >= {"SUCCESS", "FAILURE", "CREATED"}


def test_ids_are_escaped_as_by_the_manager(estate: tuple[Simulator, Any, str]) -> None:
    started, session, _unused = estate
    uris = {item["uri"] for item in session.get(f"{started.url}/FileServerPlugin/id").json()}
    assert f"{started.url}/FileServerPlugin/oracle.ocfs2.OCFS2.OCFS2Plugin%20(0.1.0-42.1)" in uris
    mount = session.get(f"{started.url}/FileSystemMount").json()[0]
    assert "_mount_%2FOVS%2FRepositories%2F0004fb" in mount["id"]["uri"]
    assert mount["id"]["value"].count(":") == 15
    assert mount["id"]["uri"].count(":") == 15 + 2
    assert session.get(mount["id"]["uri"]).json() == mount
