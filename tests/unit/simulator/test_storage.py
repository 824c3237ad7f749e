# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disks, mappings, repositories and the files that stand for them."""

from __future__ import annotations

import ast
import hashlib
import json
import subprocess
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from simulator import guest
from simulator.images import MIB, ImageSpec, provide, tool


def on_disk(client: Any, mounted: str) -> Path:
    return Path(client.simulator.repositories / mounted.removeprefix("/OVS/Repositories/"))


def test_disks_are_created_resized_and_deleted(client: Any) -> None:
    repository = client.id("Repository", "repo-iscsi-1")
    path = f"/Repository/{repository}/VirtualDisk"
    body = {"diskType": "VIRTUAL_DISK", "name": "new", "size": 1 << 20, "shareable": False}
    assert client.refused("POST", path, {**body, "size": 1000}) == (400, "GEN_000023")
    assert client.refused("POST", path, {"name": "new"}) == (400, "GEN_000001")
    assert client.refused("POST", f"{path}?sparse=perhaps", body) == (400, "GEN_000010")
    disk_id = client.done("POST", f"{path}?sparse=true", body)
    disk = client.get(f"/VirtualDisk/{disk_id}")
    file = on_disk(client, disk["mountedPath"])
    assert disk_id.endswith(".img")
    assert (file.stat().st_size, file.stat().st_blocks, disk["onDiskSize"]) == (1 << 20, 0, 0)
    assert disk["absolutePath"] == f"/dev/mapper/3600601601234567890abcdef00000001/VirtualDisks/{disk_id}"
    full = client.get(f"/VirtualDisk/{client.done('POST', f'{path}?sparse=false', body)}")
    assert full["onDiskSize"] == 1 << 20
    client.done("PUT", f"/VirtualDisk/{disk_id}/resize?size={2 << 20}&sparse=true")
    assert file.stat().st_size == 2 << 20
    assert client.refused("PUT", f"/VirtualDisk/{disk_id}/resize?size=4096") == (400, "GEN_000015")
    client.done("DELETE", f"{path}/{disk_id}")
    assert not file.exists()
    assert client.refused("DELETE", f"{path}/{disk_id}") == (404, "GEN_000002")


def test_mapped_disks_are_not_deleted(client: Any) -> None:
    disk = client.simulator.find("VirtualDisk", "db01-sys")
    path = f"/Repository/{disk['repositoryId']['value']}/VirtualDisk/{disk['id']['value']}"
    kind, message = client.failed("DELETE", path)
    assert (kind, "db01-sys" in message) == ("RULE", True)
    wrong = client.id("Repository", "repo-nfs-1")
    assert client.refused("DELETE", f"/Repository/{wrong}/VirtualDisk/{disk['id']['value']}") == (400, "GEN_000007")


def test_mappings(client: Any) -> None:
    vm_id = client.id("Vm", "files01")
    path = f"/Vm/{vm_id}/VmDiskMapping"
    disk = client.ref("VirtualDisk", "db01-data")
    assert client.refused("POST", path, {"diskTarget": 1}) == (400, "VM_DISK_MAPPING_000003")
    wrong = {"type": "com.oracle.ovm.mgr.ws.model.Vm", "value": vm_id}
    assert client.refused("POST", path, {"virtualDiskId": wrong, "diskTarget": 1}) == (400, "GEN_000018")
    assert client.failed("POST", path, {"virtualDiskId": disk, "diskTarget": 1})[0] == "RULE"  # not shareable
    cdrom = {"type": disk["type"], "value": "EMPTY_CDROM"}
    assert client.failed("POST", path, {"virtualDiskId": cdrom, "diskTarget": 0})[0] == "RULE"  # slot in use
    mapping_id = client.done("POST", path, {"virtualDiskId": cdrom, "diskTarget": 3})
    mapping = client.get(f"/VmDiskMapping/{mapping_id}")
    assert (mapping["name"], mapping["diskWriteMode"]) == ("Mapping for disk Id (EMPTY_CDROM)", "READ_ONLY")
    changed = {**mapping, "vmId": client.ref("Vm", "db01")}
    assert client.refused("PUT", f"/VmDiskMapping/{mapping_id}", changed) == (400, "VM_DISK_MAPPING_000000")
    changed = {**mapping, "virtualDiskId": disk}
    assert client.refused("PUT", f"/VmDiskMapping/{mapping_id}", changed) == (400, "VM_DISK_MAPPING_000001")
    client.done("DELETE", f"{path}/{mapping_id}")
    assert [item["diskTarget"] for item in client.get(path)] == [0]


def test_macs_are_unique(client: Any) -> None:
    path = f"/Vm/{client.id('Vm', 'files01')}/VirtualNic"
    taken = client.get(f"/Vm/{client.id('Vm', 'db01')}/VirtualNic")[0]
    body = {"networkId": taken["networkId"], "macAddress": taken["macAddress"]}
    assert client.refused("POST", path, body) == (409, "NETWORK_000006")
    nic_id = client.done("POST", path, {"networkId": taken["networkId"]})
    assert client.get(f"/VirtualNic/{nic_id}")["macAddress"].startswith("00:21:f6:")
    client.done("DELETE", f"{path}/{nic_id}")


def test_vm_cfg_follows_the_vm(client: Any) -> None:
    vm = client.simulator.find("Vm", "db01")
    file = on_disk(client, vm["vmConfigFileMountedPath"])

    def config() -> dict[str, Any]:
        lines = (line.partition(" = ") for line in file.read_text(encoding="utf-8").splitlines())
        return {key: ast.literal_eval(value) for key, _unused, value in lines}

    before = config()
    identifier = vm["id"]["value"]
    assert (before["name"], before["OVM_simple_name"]) == (identifier, "db01")
    assert before["uuid"].replace("-", "") == identifier
    disks = {disk["name"]: disk for disk in client.get("/VirtualDisk")}
    assert before["disk"] == [
        f"file:{disks['db01-sys']['mountedPath']},xvda,w",
        f"file:{disks['db01-data']['mountedPath']},xvdb,w",
        ",xvdc:cdrom,r",
    ]
    client.done("PUT", f"/Vm/{identifier}", {"id": vm["id"], "name": 'a "b" \\ ü', "description": "it's"})
    assert (config()["OVM_simple_name"], config()["OVM_description"]) == ('a "b" \\ ü', "it's")
    client.done("DELETE", f"/Vm/{identifier}/VmDiskMapping/{vm['vmDiskMappingIds'][1]['value']}")
    assert len(config()["disk"]) == 2
    base = client.simulator.repositories / vm["repositoryId"]["value"]
    assert json.loads((base / ".ovsmeta").read_text())[disks["db01-sys"]["id"]["value"]] == {
        "OBJECT_TYPE": "VIRTUAL_DISK",
        "SIMPLE_NAME": "db01-sys",
    }
    assert "OVS_REPO_ALIAS=repo-iscsi-1\n" in (base / ".ovsrepo").read_text()


def test_sizes_are_stale_until_refreshed(client: Any) -> None:
    disk = client.simulator.find("VirtualDisk", "db01-data")
    file = on_disk(client, disk["mountedPath"])
    guest.write_file(file, "/srv/more.bin", guest.noise(1 << 20, "more"))
    assert client.get(f"/VirtualDisk/{disk['id']['value']}")["onDiskSize"] == disk["onDiskSize"]
    system = client.get(f"/Repository/{disk['repositoryId']['value']}/FileSystem")
    client.done("PUT", f"/FileSystem/{system['id']['value']}/refresh")
    assert client.get(f"/VirtualDisk/{disk['id']['value']}")["onDiskSize"] == disk["onDiskSize"] + (1 << 20)
    assert client.get(f"/FileSystem/{system['id']['value']}")["freeSize"] == system["freeSize"] - (1 << 20)


def test_files_placed_by_hand_appear_with_a_refresh(client: Any) -> None:
    repository = client.id("Repository", "repo-nfs-1")
    base = client.simulator.repositories / repository
    name = "0004fb0000120000feedfeedfeedfeed.img"
    (base / "VirtualDisks" / name).write_bytes(b"x" * 8192)
    folder = base / "VirtualMachines" / "0004fb0000060000feedfeedfeedfeed"
    folder.mkdir()
    (folder / "vm.cfg").write_text("OVM_simple_name = 'found'\nmemory = 256\nvcpus = 2\nOVM_domain_type = 'xen_pvm'\n")
    client.simulator.set_switch("refresh_discovers", False)
    client.done("PUT", f"/Repository/{repository}/refresh")
    assert client.refused("GET", f"/VirtualDisk/{name}") == (404, "GEN_000002")
    client.simulator.set_switch("refresh_discovers", True)
    client.done("PUT", f"/Repository/{repository}/refresh")
    assert client.get(f"/VirtualDisk/{name}")["size"] == 8192
    vm = client.simulator.find("Vm", "found")
    assert (vm["id"]["value"], vm["memory"], vm["cpuCount"], vm["vmDomainType"]) == (folder.name, 256, 2, "XEN_PVM")


def test_exports_and_presentation(client: Any) -> None:
    server = client.id("Server", "ovs1.example.com")
    body = {"name": "e", "clientHostname": "backup01", "repositoryId": client.ref("Repository", "repo-nfs-1")}
    path = f"/Server/{server}/RepositoryExport"
    assert client.failed("POST", path, body)[0] == "RULE"  # not OCFS2
    body["repositoryId"] = client.ref("Repository", "repo-iscsi-1")
    export = client.get(f"/RepositoryExport/{client.done('POST', path, body)}")
    assert export["repositoryPath"] == f"/OVS/Repositories/{body['repositoryId']['value']}"
    assert client.get(path) == [export]
    client.done("DELETE", f"{path}/{export['id']['value']}")
    nfs = client.id("Repository", "repo-nfs-1")
    client.done("PUT", f"/Repository/{nfs}/unpresent", client.ref("Server", "ovs1.example.com"))
    assert client.get(f"/Repository/{nfs}")["presentedServerIds"] == []
    assert len(client.get("/FileSystemMount")) == 1
    client.done("PUT", f"/Repository/{nfs}/present", client.ref("Server", "ovs1.example.com"))
    iscsi = client.id("Repository", "repo-iscsi-1")
    assert client.failed("PUT", f"/Repository/{iscsi}/unpresent", client.ref("Server", "ovs1.example.com"))[0] == "RULE"


def test_tags(client: Any) -> None:
    group = client.simulator.find("ResourceGroup", "gold")
    assert [ref["name"] for ref in group["resourceIds"]] == ["db01"]
    client.done("PUT", f"/ResourceGroup/{group['id']['value']}/addResource", client.ref("Vm", "app 01"))
    assert [ref["name"] for ref in client.simulator.find("Vm", "app 01")["resourceGroupIds"]] == ["gold"]
    client.done("PUT", f"/ResourceGroup/{group['id']['value']}/removeResource", client.ref("Vm", "app 01"))
    assert client.simulator.find("Vm", "app 01")["resourceGroupIds"] == []


def test_one_disk_can_be_cloned(client: Any) -> None:
    disk = client.simulator.find("VirtualDisk", "db01-sys")
    path = f"/VirtualDisk/{disk['id']['value']}/clone?cloneType=THIN_CLONE"
    assert client.refused("PUT", path, client.ref("Repository", "repo-nfs-1")) == (400, "VIRTUAL_DISK_000003")
    made = client.get(f"/VirtualDisk/{client.done('PUT', path, disk['repositoryId'])}")
    assert (made["name"], made["vmDiskMappingIds"]) == ("db01-sys (2)", [])
    assert on_disk(client, made["mountedPath"]).read_bytes() == on_disk(client, disk["mountedPath"]).read_bytes()
    client.simulator.set_switch("clone_open_disk", "refuse")
    assert client.failed("PUT", path, disk["repositoryId"])[0] == "RULE"


def test_disks_are_imported_over_http(client: Any, tmp_path: Path) -> None:
    (tmp_path / "disk.img").write_bytes(b"x" * 8192)

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=tmp_path))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        base = f"http://127.0.0.1:{server.server_port}"
        path = f"/Repository/{client.id('Repository', 'repo-nfs-1')}/importVirtualDisk?diskType=VIRTUAL_DISK"
        disk = client.get(f"/VirtualDisk/{client.done('PUT', path, {'urls': [base + '/disk.img'], 'proxy': None})}")
        assert (disk["name"], disk["importFileName"], disk["size"]) == ("disk.img", "disk.img", 8192)
        assert on_disk(client, disk["mountedPath"]).read_bytes() == b"x" * 8192
        kind, message = client.failed("PUT", path, {"urls": [base + "/none.img"], "proxy": None})
        assert (kind, "VIRTUAL_DISK_000001" in message) == ("WS_API", True)
        assert [item["name"] for item in client.get("/VirtualDisk") if item["importFileName"]] == ["disk.img"]
    finally:
        server.shutdown()
        server.server_close()
    assert client.refused("PUT", path, {"urls": ["file:///etc/passwd"]}) == (400, "GEN_000023")


def test_imports_never_leave_this_machine(client: Any) -> None:
    class Away(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", "http://192.0.2.1/disk.img")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    path = f"/Repository/{client.id('Repository', 'repo-nfs-1')}/importVirtualDisk?diskType=VIRTUAL_DISK"
    server = ThreadingHTTPServer(("127.0.0.1", 0), Away)
    Thread(target=server.serve_forever, daemon=True).start()
    here = f"http://127.0.0.1:{server.server_port}/disk.img"
    elsewhere = "http://192.0.2.1/disk.img"
    try:
        for url, proxy in ((elsewhere, None), (here, None), (here, "http://192.0.2.1:3128")):
            kind, message = client.failed("PUT", path, {"urls": [url], "proxy": proxy})
            assert (kind, "from 127.0.0.1 only, not from 192.0.2.1" in message) == ("WS_API", True)
    finally:
        server.shutdown()
        server.server_close()


# -- images and guests ---------------------------------------------------------------------------------------


def test_images_are_the_same_every_time_and_whole(tmp_path: Path) -> None:
    digests = []
    for number in range(2):
        target = tmp_path / f"{number}.img"
        provide(ImageSpec(8, 2, "db01"), tmp_path / f"cache{number}", target)
        digests.append(hashlib.sha256(target.read_bytes()).hexdigest())
        assert target.stat().st_size == 8 * MIB
        assert 2 * MIB <= target.stat().st_blocks * 512 < 4 * MIB
        check = subprocess.run([tool("e2fsck"), "-fn", target], capture_output=True, check=False)
        assert check.returncode == 0, check.stdout
    assert digests[0] == digests[1]
    provide(ImageSpec(8, 2, "db02"), tmp_path / "cache0", tmp_path / "other.img")
    assert hashlib.sha256((tmp_path / "other.img").read_bytes()).hexdigest() != digests[0]


def test_a_guest_changes_its_files(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    image = tmp_path / "x.img"
    provide(ImageSpec(8, 1, "app 01"), tmp_path / "cache", image)
    assert guest.read_file(image, "/etc/hostname") == b"app 01\n"
    guest.write_file(image, "/etc/hostname", b"app 02\n")
    guest.write_file(image, "/srv/it's new.bin", b"\0" * 5000)
    assert guest.read_file(image, "/etc/hostname") == b"app 02\n"
    assert guest.list_files(image, "/srv")["it's new.bin"] == 5000
    guest.remove_file(image, "/srv/data-000.bin")
    assert "data-000.bin" not in guest.list_files(image, "/srv")
    check = subprocess.run([tool("e2fsck"), "-fn", image], capture_output=True, check=False)
    assert check.returncode == 0, check.stdout
    for bad in ("/etc/nothing", "relative", "/nowhere/x", '/a"b'):
        with pytest.raises(guest.GuestError):
            guest.read_file(image, bad)
    assert guest.main(["write", str(image), "/etc/motd", "--text", "hello"]) == 0
    assert guest.main(["read", str(image), "/etc/motd"]) == 0
    assert guest.main(["write", str(image), "/srv/n.bin", "--size", "100", "--seed", "s"]) == 0
    assert guest.main(["list", str(image), "/srv"]) == 0
    output = capfd.readouterr().out
    assert output.startswith("hello")
    assert "         100 n.bin\n" in output
    assert guest.main(["read", str(image), "/etc/nothing"]) == 1
    assert guest.main(["list", str(tmp_path / "none.img")]) == 1
