# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Estate files: what a simulated manager manages (format in README.md)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from .actions.disks import make_disk
from .actions.mappings import make_mapping, make_nic
from .actions.storage import refresh_sizes
from .actions.vms import make_vm
from .images import ImageSpec, provide
from .infrastructure import Infrastructure
from .storage_parts import fixed, fixed_id
from .store import Obj, Ref
from .world import World

if TYPE_CHECKING:
    from .bed_storage import BedStorage

MIB = 1 << 20
FOLDER = Path(__file__).parent / "estates"
_VM_KEYS = set(
    """name state repository server pool os domain memory cpus description tags nics disks key ignore_shutdown
    generation""".split()
)
_DISK_KEYS = {"name", "size", "data", "repository", "physical", "iso", "cdrom", "use", "shareable", "slot", "seed"}


def load(world: World, estate: str, cache: Path, bed: BedStorage | None = None) -> None:
    """Fill a world from an estate file, given by path or by the name of one in ``estates/``. ValueError if wrong.

    With a bed, the first OCFS2 repositories lie there.
    """
    path = Path(estate) if "/" in estate or estate.endswith((".yml", ".yaml")) else FOLDER / f"{estate}.yml"
    if not path.is_file():
        names = ", ".join(sorted(item.stem for item in FOLDER.glob("*.yml")))
        raise ValueError(f"there is no estate {estate!r}; built in are: {names}")
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    if bed is not None:
        bed.place(document)
        world.storage.elsewhere = bed
    infrastructure = Infrastructure(world, document)
    infrastructure.build()
    builder = _Vms(world, infrastructure, cache)
    builder.isos(document.get("isos", []))
    for item in document["vms"]:
        builder.vm(item)
    for fs in world.store.all("FileSystem"):
        refresh_sizes(world, fs)
    world.sync()


class _Vms:
    """Makes VMs with their disks, cards and tags."""

    def __init__(self, world: World, infrastructure: Infrastructure, cache: Path) -> None:
        self._world = world
        self._store = world.store
        self._names = infrastructure
        self._cache = cache
        self._disks: dict[str, Ref] = {}
        self._tags: dict[str, Obj] = {}
        values: dict[str, Any] = {
            "diskType": "VIRTUAL_CDROM",
            "size": 0,
            "onDiskSize": 0,
            "shareable": True,
            "importFileName": None,
        }
        self._store.add("VirtualDisk", "EMPTY_CDROM", name="Empty CDROM", assemblyVirtualDiskId=None, **values)

    def isos(self, items: list[dict[str, Any]]) -> None:
        """ISO images in repositories."""
        for item in items:
            identifier = fixed_id("VirtualDisk", "iso", item["name"], suffix=".iso")
            spec = ImageSpec(int(item["size"]), float(item["data"]), item["name"], "iso")
            values = {"id": identifier, "importFileName": item["name"], "shareable": True, "diskType": "VIRTUAL_CDROM"}
            disk = make_disk(
                self._world, self._names.repositories[item["repository"]], item["name"], spec.size * MIB, **values
            )
            provide(spec, self._cache, self._world.storage.disk(disk))
            self._disks[item["name"]] = disk.ref

    def vm(self, item: dict[str, Any]) -> None:
        """One VM or template."""
        unknown = set(item) - _VM_KEYS
        if unknown:
            raise ValueError(f"VM {item.get('name')!r}: unknown keys {', '.join(sorted(unknown))}")
        key = str(item.get("key", item["name"]))
        state = item.get("state", "RUNNING")
        template = state == "TEMPLATE"
        server = self._names.servers[item["server"]] if item.get("server") and not template else None
        pool = self._store.get(*server)["serverPoolId"] if server else None
        vm = make_vm(
            self._world,
            str(item["name"]),
            repositoryId=self._names.repositories[item["repository"]],
            serverId=server,
            serverPoolId=pool,
            osType=item.get("os"),
            vmDomainType=item.get("domain"),
            memory=item.get("memory"),
            memoryLimit=item.get("memory"),
            cpuCount=item.get("cpus"),
            cpuCountLimit=item.get("cpus"),
        )
        self._rename(vm, fixed_id("Vm", key))
        vm.generation = int(item.get("generation", 5))
        vm["description"] = item.get("description", "")
        vm["vmRunState"] = state
        if item.get("ignore_shutdown"):
            self._world.ignore_shutdown.add(vm.id)
        for position, disk in enumerate(item.get("disks", [])):
            self._disk(vm, key, int(disk.get("slot", position)), disk, item["repository"])
        self._nics(vm, key, int(item.get("nics", 1)), template)
        for tag in item.get("tags", []):
            self._tag(tag)["resourceIds"].append(vm.ref)

    def _rename(self, obj: Obj, identifier: str) -> None:
        """Give a fresh object the id that it has in every run."""
        self._store.remove(obj.ref)
        obj.id = identifier
        self._store.put(obj)

    def _disk(self, vm: Obj, key: str, slot: int, item: dict[str, Any], repository: str) -> None:
        unknown = set(item) - _DISK_KEYS
        if unknown:
            raise ValueError(f"VM {vm.name!r}, slot {slot}: unknown keys {', '.join(sorted(unknown))}")
        mode = "READ_WRITE"
        element: Ref | None = None
        disk: Ref | None = None
        if "physical" in item:
            element = self._names.elements[item["physical"]]
        elif "iso" in item:
            disk, mode = self._disks[item["iso"]], "READ_ONLY"
        elif "cdrom" in item:
            disk, mode = Ref("VirtualDisk", "EMPTY_CDROM"), "READ_ONLY"
        elif "use" in item:
            disk = self._disks[item["use"]]
        else:
            disk = self._new_disk(key, slot, item, item.get("repository", repository))
        mapping = make_mapping(self._world, vm.ref, slot, disk=disk, element=element, mode=mode)
        self._rename(mapping, fixed_id("VmDiskMapping", key, str(slot)))

    def _new_disk(self, key: str, slot: int, item: dict[str, Any], repository: str) -> Ref:
        spec = ImageSpec(int(item["size"]), float(item["data"]), str(item.get("seed", f"{key}-{slot}")))
        disk = make_disk(
            self._world,
            self._names.repositories[repository],
            item["name"],
            spec.size * MIB,
            id=fixed_id("VirtualDisk", key, str(slot), suffix=".img"),
            shareable=bool(item.get("shareable", False)),
        )
        provide(spec, self._cache, self._world.storage.disk(disk))
        self._disks[item["name"]] = disk.ref
        return disk.ref

    def _nics(self, vm: Obj, key: str, count: int, template: bool) -> None:
        networks = [ref for ref in self._names.networks if "VIRTUAL_MACHINE" in self._store.get(*ref)["roles"]]
        for number in range(count):
            digits = fixed("nic", key, str(number))
            mac = f"00:21:f6:{digits[:2]}:{digits[2:4]}:{digits[4:6]}"
            nic = make_nic(self._world, vm.ref, networks[number % len(networks)], mac, template=template)
            self._rename(nic, fixed_id("VirtualNic", key, str(number)))
            if vm["vmRunState"] == "RUNNING":
                address = f"192.0.2.{int(digits[6:8], 16) % 200 + 50}"
                values = {"type": "IPV4", "configType": "DYNAMIC", "address": address, "netmask": None}
                nic["ipAddresses"] = [values]

    def _tag(self, name: str) -> Obj:
        if name not in self._tags:
            values = {"resourceIds": [], "type": "USER_LABEL"}
            self._tags[name] = self._store.add("ResourceGroup", fixed_id("ResourceGroup", name), 2, name=name, **values)
        return self._tags[name]
