# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Virtual disks: create, delete, resize, clone, import (ovm-rest-api 10.2)."""

from __future__ import annotations

import os
import shutil
import threading
import urllib.request
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..call import Call, Reply, action, null_argument, to_ref
from ..errors import ApiError, JobFailure, rule, web_service
from ..jobs import Run, Work
from ..render import MODEL
from ..store import Obj, Ref, new_id
from ..world import World

BLOCK = 4096
# A non-sparse file takes real space of the machine that runs the simulator.
LARGEST_ALLOCATION = 1 << 30


def make_disk(world: World, repository: Ref, name: str, size: int, **values: Any) -> Obj:
    """A VirtualDisk object; its file is the caller's business."""
    kind = values.pop("diskType", "VIRTUAL_DISK")
    suffix = ".iso" if kind == "VIRTUAL_CDROM" else ".img"
    fields = {"description": "", "onDiskSize": 0, "shareable": False, "importFileName": None, **values}
    identifier = fields.pop("id", None) or new_id("VirtualDisk", suffix)
    return world.store.add(
        "VirtualDisk",
        identifier,
        name=name,
        diskType=kind,
        size=size,
        repositoryId=repository,
        assemblyVirtualDiskId=None,
        **fields,
    )


def delete_disk_file(world: World, disk: Obj) -> None:
    """Remove a disk and its file."""
    world.storage.disk(disk).unlink(missing_ok=True)
    world.store.touch(disk["repositoryId"])
    world.store.remove(disk.ref)


def check_size(value: Any) -> int:
    """A size in bytes, a positive multiple of 4096; GEN_000023 otherwise."""
    try:
        size = int(value)
    except (TypeError, ValueError):
        raise ApiError("GEN_000023", f'The value "{value}" of "size" is not valid') from None
    if isinstance(value, bool) or size <= 0 or size % BLOCK:
        raise ApiError("GEN_000023", f'The value "{value}" of "size" is not a positive multiple of {BLOCK}')
    return size


@action("POST", "Repository", "VirtualDisk")
def create(call: Call) -> Obj:
    document, world, repository = call.new_child("repositoryId"), call.world, call.obj.ref
    sparse = call.flag("sparse", default=True)
    if document.get("size") is None:
        raise null_argument("size")
    size = check_size(document["size"])
    kind = document.get("diskType") or "VIRTUAL_DISK"
    if kind != "VIRTUAL_DISK":
        raise ApiError("VIRTUAL_DISK_000000", f"A disk of type {kind} cannot be created")
    name = str(document.get("name") or "")

    def work(run: Run) -> Work:
        world.check_space(repository, "storage_plugin_create")
        yield world.jobs.job_seconds
        disk = make_disk(
            world,
            repository,
            name,
            size,
            description=document.get("description") or "",
            shareable=bool(document.get("shareable")),
        )
        path = world.storage.disk(disk)
        with path.open("wb") as file:
            file.truncate(size)
            if not sparse:
                _allocate(world, repository, file.fileno(), size)
        path.chmod(0o644)
        disk["onDiskSize"] = world.storage.allocated(path)
        world.store.touch(repository)
        return disk.ref

    return call.submit("disk.create", f"Create Virtual Disk: {name}", work, serial=[repository])


def _allocate(world: World, repository: Ref, descriptor: int, size: int) -> None:
    if size > LARGEST_ALLOCATION:
        raise JobFailure("SERVER", "The simulator allocates at most 1 GiB for a non-sparse disk")
    os.posix_fallocate(descriptor, 0, size)


@action("DELETE", "Repository", "VirtualDisk")
def delete_child(call: Call) -> Obj:
    assert call.child_id is not None
    disk = call.world.store.get("VirtualDisk", call.child_id)
    if disk["repositoryId"] != call.obj.ref:
        raise ApiError("GEN_000007", f"VirtualDisk {disk.name} does not belong to Repository {call.obj.name}")
    return _delete(call, disk)


@action("DELETE", "VirtualDisk")
def delete(call: Call) -> Obj:
    return _delete(call, call.obj)


def _delete(call: Call, disk: Obj) -> Obj:
    world = call.world
    if disk["repositoryId"] is None:
        raise ApiError("VIRTUAL_DISK_000002", "The operation is not possible on this CDROM")

    def check() -> None:
        mappings = world.store.back("VmDiskMapping", "virtualDiskId", disk.ref)
        if mappings and world.switches["delete_mapped_disk"] == "refuse":
            text = f"Cannot delete virtual disk: {disk.name}, it is mapped to a Virtual Machine or Template."
            raise rule("OVMRU_002050E", text, world.now)

    world.rule_checks(check)

    def work(run: Run) -> Work:
        check()
        world.worker(disk["repositoryId"])
        yield world.jobs.job_seconds
        for mapping in world.store.back("VmDiskMapping", "virtualDiskId", disk.ref):
            world.store.remove(mapping.ref)
        delete_disk_file(world, disk)
        return None

    name = f"Delete Virtual Disk: {disk.name}"
    return call.submit("disk.delete", name, work, locks=[disk.ref], serial=[disk["repositoryId"]])


@action("PUT", "VirtualDisk", "resize")
def resize(call: Call) -> Obj:
    disk, world = call.obj, call.world
    size = check_size(call.required("size"))
    call.flag("sparse", default=True)
    if disk["repositoryId"] is None or disk["diskType"] != "VIRTUAL_DISK":
        raise ApiError("VIRTUAL_DISK_000002", "The operation is not possible on a CDROM")
    if size < disk["size"]:
        raise ApiError("GEN_000015", f"The value {size} of size is less than the size of the disk, {disk['size']}")

    def work(run: Run) -> Work:
        world.check_space(disk["repositoryId"], "storage_plugin_resize")
        yield world.jobs.job_seconds
        with world.storage.disk(disk).open("r+b") as file:
            file.truncate(size)
        disk["size"] = size
        world.store.touch(disk.ref)
        return disk.ref

    name = f"Resize Virtual Disk: {disk.name}"
    return call.submit("disk.resize", name, work, locks=[disk.ref], serial=[disk["repositoryId"]])


def open_by_running_vm(world: World, disk: Obj) -> bool:
    """Whether a VM that is not off has this disk."""
    for mapping in world.store.back("VmDiskMapping", "virtualDiskId", disk.ref):
        vm = world.store.find(mapping["vmId"])
        if vm is not None and vm["vmRunState"] not in ("STOPPED", "TEMPLATE"):
            return True
    return False


@action("PUT", "VirtualDisk", "clone")
def clone(call: Call) -> Obj:
    disk, world = call.obj, call.world
    clone_type = call.required("cloneType")
    if clone_type not in ("THIN_CLONE", "SPARSE_COPY", "NON_SPARSE_COPY"):
        raise ApiError("CLONE_TYPE_000000", f"The clone type {clone_type} is not valid")
    if disk["repositoryId"] is None:
        raise ApiError("VIRTUAL_DISK_000002", "The operation is not possible on this CDROM")
    body = call.document()
    if str(body.get("type", "")).removeprefix(MODEL) in ("StorageElement", "StorageArray"):
        raise ApiError("GEN_000005", "The simulator does not clone virtual disks to physical disks")
    target = to_ref(world, "Repository", body, "target")
    if target is None:
        raise null_argument("target")
    source: Ref = disk["repositoryId"]
    thin = clone_type == "THIN_CLONE"
    if thin and (target != source or world.file_system_kind(source) != "ocfs2"):
        raise ApiError("VIRTUAL_DISK_000003", "A thin clone is possible only inside of an OCFS2 repository")

    def work(run: Run) -> Work:
        if open_by_running_vm(world, disk) and (not thin or world.switches["clone_open_disk"] == "refuse"):
            raise rule("OVMRU_002051E", f"Cannot clone virtual disk: {disk.name}, it is in use.", world.now)
        world.check_space(target, "storage_plugin_clone")
        yield world.jobs.job_seconds
        new = copy_disk(world, disk, target, sparse=clone_type != "NON_SPARSE_COPY")
        return new.ref

    name = f"Clone Virtual Disk: {disk.name}"
    return call.submit("disk.clone", name, work, locks=[disk.ref], serial={source, target})


def copy_disk(world: World, disk: Obj, target: Ref, *, sparse: bool = True) -> Obj:
    """A copy of a disk with its file in a repository, named by row 12 of section 21."""
    taken = set()
    for other in world.store.back("VirtualDisk", "repositoryId", target):
        digits = other.name.removeprefix(f"{disk.name} (").removesuffix(")")
        if other.name == f"{disk.name} ({digits})" and digits.isdigit():
            taken.add(int(digits))
    policy = world.switches["clone_disk_number"]
    number = world.next_number(f"disk {target.id} {disk.name}", taken, 2, policy)
    new = make_disk(
        world,
        target,
        f"{disk.name} ({number})",
        disk["size"],
        diskType=disk["diskType"],
        description=disk["description"],
        shareable=disk["shareable"] if disk["diskType"] == "VIRTUAL_CDROM" else False,
    )
    path = world.storage.disk(new)
    try:
        world.storage.copy(world.storage.disk(disk), path, sparse=sparse)
    except OSError as problem:
        world.store.remove(new.ref)
        reason = f"{problem.strerror}: {problem.filename or disk.id}"
        raise JobFailure(
            "SERVER", f"OVMAPI_4010E Attempt to send command: storage_plugin_clone failed: {reason}"
        ) from None
    new["onDiskSize"] = world.storage.allocated(path)
    world.store.touch(target)
    return new


@action("PUT", "Repository", "importVirtualDisk")
def import_disk(call: Call) -> Obj:
    document, world, repository = call.document(), call.world, call.obj.ref
    kind = call.text("diskType") or "VIRTUAL_DISK"
    if kind not in ("VIRTUAL_DISK", "VIRTUAL_CDROM"):
        raise ApiError("VIRTUAL_DISK_000000", f"The disk type {kind} is not valid")
    urls = document.get("urls") or []
    if len(urls) != 1 or urlsplit(str(urls[0])).scheme not in ("http", "https", "ftp"):
        raise ApiError("REPOSITORY_000000" if len(urls) > 1 else "GEN_000023", "One http, https or ftp URL is needed")
    url = str(urls[0])
    name = Path(urlsplit(url).path).name

    def work(run: Run) -> Work:
        server = world.check_space(repository, "import_virtual_disk")
        disk = make_disk(
            world,
            repository,
            name,
            0,
            diskType=kind,
            description=f"Import URL: {url}",
            shareable=kind == "VIRTUAL_CDROM",
            importFileName=name,
        )
        path = world.storage.disk(disk)
        download = _Download(url, document.get("proxy"), path)
        try:
            yield world.jobs.job_seconds
            while download.is_alive():
                yield 0.05
            if download.problem is not None:
                raise web_service("VIRTUAL_DISK_000001", f"Import of {url} by {server.name} failed: {download.problem}")
        except BaseException:
            download.join(5)
            path.unlink(missing_ok=True)
            world.store.remove(disk.ref)
            raise
        disk["size"] = path.stat().st_size
        disk["onDiskSize"] = world.storage.allocated(path)
        world.store.touch(repository)
        return disk.ref

    return call.submit("disk.import", f"Import Virtual Disk: {name}", work, serial=[repository])


def _check_host(url: str) -> None:
    """Not the manager's rule but ours: whatever a test asks for, the simulator connects to this machine only."""
    host = urlsplit(url).hostname or ""
    try:
        here = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        here = False
    if not here:
        raise OSError(f"the simulator fetches from 127.0.0.1 only, not from {host or 'nowhere'}")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not away from this machine."""

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str) -> Any:
        _check_host(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Download(threading.Thread):
    """Fetches a URL into a file beside the event loop."""

    def __init__(self, url: str, proxy: str | None, path: Path) -> None:
        super().__init__(daemon=True)
        self._urls = [url, *([proxy] if proxy else [])]
        # The proxy of the request, none of this machine's environment.
        proxies = {"http": proxy, "https": proxy} if proxy else {}
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies), _Redirects())
        self._path = path
        self.problem: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            for url in self._urls:
                _check_host(url)
            with self._opener.open(self._urls[0], timeout=30) as source, self._path.open("wb") as target:
                shutil.copyfileobj(source, target)
        except (OSError, ValueError) as problem:
            self.problem = problem


@action("GET", "VirtualDisk", "virtualDiskGetEmptyCdrom")
def empty_cdrom(call: Call) -> Reply:
    return Reply(call.renderer.object(call.world.store.get("VirtualDisk", "EMPTY_CDROM")))
