# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Repositories, file systems and exports (ovm-rest-api 8.1, 8.3, 12)."""

from __future__ import annotations

import ast
from typing import Any

from ..call import Call, action, null_argument, to_ref
from ..errors import ApiError, rule
from ..jobs import Run, Work
from ..store import Obj, Ref, new_id
from ..world import World
from .disks import make_disk
from .vms import make_vm


def _change_presentation(call: Call, title: str, *, present: bool) -> Obj:
    repo, world = call.obj, call.world
    server = to_ref(world, "Server", call.document(), "server")
    if server is None:
        raise null_argument("server")

    def work(run: Run) -> Work:
        yield world.jobs.job_seconds
        servers = [ref for ref in repo["presentedServerIds"] if ref != server]
        if not present:
            _refuse_used(world, repo, server)
        repo["presentedServerIds"] = [*servers, server] if present else servers
        sync_mounts(world, repo)
        world.store.touch(repo.ref, server)
        return None

    name = f"{title} Repository: {repo.name}"
    return call.submit(f"repository.{title.lower()}", name, work, locks=[repo.ref])


def _refuse_used(world: World, repo: Obj, server: Ref) -> None:
    for disk in world.store.back("VirtualDisk", "repositoryId", repo.ref):
        for mapping in world.store.back("VmDiskMapping", "virtualDiskId", disk.ref):
            vm = world.store.find(mapping["vmId"])
            if vm is not None and vm["serverId"] == server and vm["vmRunState"] not in ("STOPPED", "TEMPLATE"):
                text = f"Cannot unpresent Repository: {repo.name}, it is in use by Virtual Machine: {vm.name}."
                raise rule("OVMRU_002060E", text, world.now)


@action("PUT", "Repository", "present")
def present(call: Call) -> Obj:
    return _change_presentation(call, "Present", present=True)


@action("PUT", "Repository", "unpresent")
def unpresent(call: Call) -> Obj:
    return _change_presentation(call, "Unpresent", present=False)


def sync_mounts(world: World, repo: Obj) -> None:
    """One FileSystemMount per server to which the repository is presented (ovm-rest-api 8.3)."""
    path = f"/OVS/Repositories/{repo.id}"
    wanted = {f"{server.id}_mount_{path}": server for server in repo["presentedServerIds"]}
    for mount in world.store.all("FileSystemMount"):
        if mount["absolutePath"] == path and mount.id not in wanted:
            world.store.remove(mount.ref)
    for identifier, server in wanted.items():
        if world.store.find(Ref("FileSystemMount", identifier)) is None:
            world.store.add(
                "FileSystemMount",
                identifier,
                0,
                name=f"{world.store.get(*server).name}_{path}",
                serverId=server,
                fileSystemId=repo["fileSystemId"],
                absolutePath=path,
                sharePath=repo["sharePath"],
                options=None,
            )


def refresh_sizes(world: World, fs: Obj) -> None:
    """True sizes of a file system and of the disks in its repositories: until then they are stale."""
    used = 0
    for repo in world.store.back("Repository", "fileSystemId", fs.ref):
        for disk in world.store.back("VirtualDisk", "repositoryId", repo.ref):
            size = world.storage.allocated(world.storage.disk(disk))
            used += size
            if disk["onDiskSize"] != size:
                disk["onDiskSize"] = size
                world.store.touch(disk.ref)
    fs["freeSize"] = fs["size"] - used
    fs["refreshed"] = True
    world.store.touch(fs.ref)


@action("PUT", "FileSystem", "refresh")
def refresh_file_system(call: Call) -> Obj:
    fs, world = call.obj, call.world
    repositories = [repo.ref for repo in world.store.back("Repository", "fileSystemId", fs.ref)]

    def work(run: Run) -> Work:
        for repository in repositories:
            world.worker(repository)
        yield world.jobs.job_seconds
        refresh_sizes(world, fs)
        return fs.ref

    name = f"Refresh File System: {fs.name}"
    return call.submit("filesystem.refresh", name, work, locks=[fs.ref], serial=repositories)


@action("PUT", "Repository", "refresh")
def refresh_repository(call: Call) -> Obj:
    repo, world = call.obj, call.world

    def work(run: Run) -> Work:
        world.worker(repo.ref)
        yield world.jobs.job_seconds
        if world.switches["refresh_discovers"]:
            _discover_disks(world, repo)
            _discover_vms(world, repo)
        repo["refreshed"] = True
        world.store.touch(repo.ref)
        return repo.ref

    return call.submit("repository.refresh", f"Refresh Repository: {repo.name}", work, serial=[repo.ref])


def _discover_disks(world: World, repo: Obj) -> None:
    base = world.storage.repository(repo.id)
    found = [(path, "VIRTUAL_DISK") for path in sorted((base / "VirtualDisks").glob("*.img"))]
    found += [(path, "VIRTUAL_CDROM") for path in sorted((base / "ISOs").glob("*.iso"))]
    for path, kind in found:
        size = path.stat().st_size
        known = world.store.find(Ref("VirtualDisk", path.name))
        if known is None:
            values = {"id": path.name, "diskType": kind, "shareable": kind == "VIRTUAL_CDROM"}
            make_disk(world, repo.ref, path.name, size, onDiskSize=world.storage.allocated(path), **values)
        elif known["repositoryId"] == repo.ref and known["size"] != size:
            known["size"] = size
            world.store.touch(known.ref)


def _discover_vms(world: World, repo: Obj) -> None:
    for folder, state in (("VirtualMachines", "STOPPED"), ("Templates", "TEMPLATE")):
        for path in sorted((world.storage.repository(repo.id) / folder).glob("*/vm.cfg")):
            if world.store.find(Ref("Vm", path.parent.name)) is not None:
                continue
            values = read_config(path.read_text(encoding="utf-8"))
            vm = make_vm(world, str(values.get("OVM_simple_name", path.parent.name)), repositoryId=repo.ref)
            world.store.remove(vm.ref)
            fields = {**vm.fields, "vmRunState": state, "memory": values.get("memory", 1024)}
            fields.update(memoryLimit=values.get("maxmem", fields["memory"]), cpuCount=values.get("vcpus", 1))
            fields.update(cpuCountLimit=values.get("maxvcpus", fields["cpuCount"]))
            fields["osType"] = values.get("OVM_os_type", "Other Linux")
            fields["vmDomainType"] = str(values.get("OVM_domain_type", "xen_hvm")).upper()
            world.store.add("Vm", path.parent.name, **fields)


def read_config(text: str) -> dict[str, Any]:
    """The assignments of a vm.cfg; lines that are none are passed over."""
    values: dict[str, Any] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            try:
                values[key.strip()] = ast.literal_eval(value.strip())
            except (ValueError, SyntaxError):
                continue
    return values


@action("POST", "Server", "RepositoryExport")
def create_export(call: Call) -> Obj:
    document, server, world = call.new_document(), call.obj, call.world
    repository = call.required_reference("Repository", "repositoryId")
    if not document.get("clientHostname"):
        raise null_argument("clientHostname")

    def check() -> None:
        repo = world.store.get(*repository)
        if world.file_system_kind(repository) != "ocfs2":
            raise rule("OVMRU_002070E", f"Repository: {repo.name} is not on an OCFS2 file system.", world.now)
        if server.ref not in repo["presentedServerIds"]:
            text = f"Repository: {repo.name} is not presented to server: {server.name}."
            raise rule("OVMRU_002071E", text, world.now)

    world.rule_checks(check)

    def work(run: Run) -> Work:
        check()
        yield world.jobs.job_seconds
        export = world.store.add(
            "RepositoryExport",
            new_id("RepositoryExport"),
            name=document.get("name") or "",
            description=document.get("description") or "",
            clientHostname=document["clientHostname"],
            exportFsType="NFS",
            options=document.get("options") or "",
            repositoryPath=f"/OVS/Repositories/{repository.id}",
            repositoryId=repository,
            serverId=server.ref,
        )
        world.store.touch(server.ref)
        return export.ref

    name = f"Create Repository Export: {document.get('name') or ''}"
    return call.submit("export.create", name, work, locks=[server.ref])


def _delete_export(call: Call, export: Obj) -> Obj:
    def work(run: Run) -> Work:
        yield call.world.jobs.job_seconds
        call.world.store.remove(export.ref)
        call.world.store.touch(export["serverId"])
        return None

    return call.submit("export.delete", f"Delete Repository Export: {export.name}", work, locks=[export.ref])


@action("DELETE", "Server", "RepositoryExport")
def delete_export_of_server(call: Call) -> Obj:
    assert call.child_id is not None
    export = call.world.store.get("RepositoryExport", call.child_id)
    if export["serverId"] != call.obj.ref:
        raise ApiError("GEN_000007", f"RepositoryExport {export.name} does not belong to Server {call.obj.name}")
    return _delete_export(call, export)


@action("DELETE", "RepositoryExport")
def delete_export(call: Call) -> Obj:
    return _delete_export(call, call.obj)
