# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module virtual_disk against the simulator: made once, found again, removed only by its own restore."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simulator.testing import Simulator

MIB = 1 << 20
RUN = "restore-1"


@pytest.fixture
def args(manager: dict[str, Any], simulator: Simulator) -> dict[str, Any]:
    repository_id = simulator.find("Repository", "repo-iscsi-1")["id"]["value"]
    vm_id = simulator.find("Vm", "db01")["id"]["value"]
    return {**manager, "run_id": RUN, "vm_id": vm_id, "name": "new", "repository_id": repository_id, "size": MIB}


@pytest.fixture(autouse=True)
def nothing_left(simulator: Simulator) -> Iterator[None]:
    before = {disk["id"]["value"] for disk in simulator._get("/VirtualDisk")}
    yield
    assert {disk["id"]["value"] for disk in simulator._get("/VirtualDisk")} == before


def test_a_disk_is_made_once_and_removed(
    succeed: Any, foresee: Any, fail: Any, args: dict[str, Any], simulator: Simulator
) -> None:
    assert foresee("virtual_disk", args) == {"changed": True, "virtual_disk": None}
    made = succeed("virtual_disk", args)
    disk = made["virtual_disk"]
    assert made["changed"]
    assert disk == {
        "id": disk["id"],
        "name": "new",
        "size": MIB,
        "repository_id": args["repository_id"],
        "path": f"/VirtualDisks/{disk['id']}",
        "run_id": RUN,
    }
    image = simulator.repositories / args["repository_id"] / "VirtualDisks" / disk["id"]
    assert (image.stat().st_size, image.stat().st_blocks) == (MIB, 0)
    assert succeed("virtual_disk", args) == {"changed": False, "virtual_disk": disk}
    # Of another restore it is another one.
    other = succeed("virtual_disk", {**args, "run_id": "restore-2"})["virtual_disk"]["id"]

    which = {key: args[key] for key in ("url", "user", "password", "ca_path", "run_id")}
    absent = {**which, "virtual_disk_id": other, "state": "absent"}
    assert "is of run restore-2" in fail("virtual_disk", absent)["msg"]
    assert succeed("virtual_disk", {**absent, "foreign": True})["changed"]
    assert foresee("virtual_disk", {**which, "state": "absent"})["changed"]
    assert succeed("virtual_disk", {**which, "state": "absent"})["changed"]
    assert not image.exists()
    assert not succeed("virtual_disk", {**which, "state": "absent"})["changed"]


def test_a_released_disk_is_nobodys(succeed: Any, fail: Any, args: dict[str, Any], simulator: Simulator) -> None:
    disk_id = succeed("virtual_disk", args)["virtual_disk"]["id"]
    which = {**args, "virtual_disk_id": disk_id}
    assert succeed("virtual_disk", {**which, "state": "released"}) == {"changed": True, "virtual_disk": None}
    assert not succeed("virtual_disk", {**which, "state": "released"})["changed"]
    assert simulator._get(f"/VirtualDisk/{disk_id}")["description"] == "Restored by ovm.backup."
    assert "was not made by a restore" in fail("virtual_disk", {**which, "state": "absent"})["msg"]
    assert succeed("virtual_disk", {**which, "state": "absent", "foreign": True})["changed"]


def test_a_disk_is_released_whatever_the_manager_knows_of_its_space(
    succeed: Any, args: dict[str, Any], simulator: Simulator
) -> None:
    disk_id = succeed("virtual_disk", args)["virtual_disk"]["id"]
    which = {**args, "virtual_disk_id": disk_id}
    simulator.fault(job="filesystem.refresh")
    assert succeed("virtual_disk", {**which, "state": "released"})["changed"]
    assert succeed("virtual_disk", {**which, "state": "absent", "foreign": True})["changed"]


def test_a_mapped_disk_is_never_removed(fail: Any, args: dict[str, Any], simulator: Simulator) -> None:
    mapped = next(disk for disk in simulator._get("/VirtualDisk") if disk["name"] == "db01-sys")["id"]["value"]
    found = fail("virtual_disk", {**args, "virtual_disk_id": mapped, "state": "absent", "foreign": True})
    assert found["msg"] == f"Virtual disk db01-sys ({mapped}) is mapped to a VM: it is not removed"


def test_a_disk_is_imported_from_a_url(
    succeed: Any, fail: Any, args: dict[str, Any], tmp_path: Path, simulator: Simulator
) -> None:
    content = b"a disk" + bytes(4090)
    (tmp_path / "disk.img").write_bytes(content)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(tmp_path))

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/disk.img"
        wrong = fail("virtual_disk", {**args, "source_url": url})["msg"]
        disk = succeed("virtual_disk", {**args, "source_url": url, "size": 4096})["virtual_disk"]
        server.shutdown()
    assert wrong == f"Oracle VM Manager imported 4096 bytes from 127.0.0.1 where {MIB} were expected."
    assert (disk["name"], disk["size"], disk["run_id"]) == ("new", 4096, RUN)
    image = simulator.repositories / args["repository_id"] / "VirtualDisks" / disk["id"]
    assert image.read_bytes() == content
    assert succeed("virtual_disk", {**args, "state": "absent"})["changed"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 1000}, "size must be a positive multiple of 4096, not 1000"),
        ({"run_id": "a b"}, "run id"),
        ({"repository_id": "0004"}, "repository_id: Oracle VM Manager has no storage repository '0004'"),
        ({"size": None}, "size must be a positive multiple of 4096, not None"),
        ({"name": ""}, "name is empty"),
        (
            {"source_url": "file:///etc/passwd"},
            "source_url has to name a host and begin with http, https, ftp, not with file",
        ),
    ],
)
def test_what_cannot_be_is_refused(fail: Any, args: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    assert message in fail("virtual_disk", {**args, **changes})["msg"]
