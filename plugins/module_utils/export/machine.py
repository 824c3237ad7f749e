# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The VM of a recovery point as its saved configuration describes it.

The manager's JSON (C(vm.json)) says most; the server's C(vm.cfg) says what the manager does not know, or all that is
known where there is no JSON. Both come from outside and may lack anything: what neither says gets a careful default,
and a note.
"""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import PointNotFoundError
from ..manager.inventory import disk_kind
from ..manager.objects import by_id, flag, number, optional_text, reference, references, text
from ..transfer.point_restore import saved_configuration
from ..vault.manifest import Point, PointDisk
from ..vault.points import Client

HVM, HVM_PV, PVM = "XEN_HVM", "XEN_HVM_PV_DRIVERS", "XEN_PVM"
LINUX, WINDOWS, OTHER = "linux", "windows", "other"
_LINUX = re.compile(r"linux|red hat|centos|suse|ubuntu|debian|fedora", re.IGNORECASE)
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\Z", re.IGNORECASE)


@dataclass(frozen=True)
class MachineDisk:
    """A disk of the recovery point, with what its mapping to the VM said."""

    disk: PointDisk
    read_only: bool = False
    shared: bool = False

    @property
    def slot(self) -> int:
        """Return the slot in which the VM had it."""
        return self.disk.slot


@dataclass(frozen=True)
class MachineNic:
    """A virtual network card. C(network) is the name of its network, or its id where only that is known."""

    mac: str | None
    network: str


@dataclass(frozen=True)
class Machine:
    """What the recovery point knows of its VM. Memory in MiB, C(boot_order) of the words DISK, CDROM and PXE."""

    name: str
    vm_id: str
    uuid: str | None
    description: str
    domain_type: str
    os_type: str
    memory: int
    memory_limit: int
    cpu_count: int
    cpu_limit: int
    boot_order: tuple[str, ...]
    mouse: str
    keymap: str
    local_time: bool | None
    restart_on_crash: bool
    disks: tuple[MachineDisk, ...]
    nics: tuple[MachineNic, ...]
    cdroms: int
    skipped_disks: tuple[dict[str, Any], ...]
    consistency: str
    guessed: tuple[str, ...]  # what the configuration does not say

    @property
    def family(self) -> str:
        """Return which kind of operating system it is."""
        if "windows" in self.os_type.lower():
            return WINDOWS
        return LINUX if _LINUX.search(self.os_type) else OTHER

    @property
    def is_pvm(self) -> bool:
        """Return whether the kernel was started by the server itself, without firmware and emulated devices."""
        return self.domain_type == PVM


def read_machine(client: Client, point: Point) -> Machine:
    """Return the VM of a recovery point; raise C(CorruptVaultError) for a damaged file of its configuration."""
    document: Mapping[str, Any] = {}
    vm_cfg = b""
    with contextlib.suppress(PointNotFoundError):
        document = saved_configuration(client, point)
    with contextlib.suppress(PointNotFoundError):
        vm_cfg = client.read_file(point, "vm_cfg")
    return parse_machine(point, document, parse_vm_cfg(vm_cfg.decode("utf-8", "replace")))


def parse_machine(point: Point, document: Mapping[str, Any], vm_cfg: Mapping[str, Any]) -> Machine:
    """Return the VM of a recovery point from the manager's JSON and the values of vm.cfg, as far as there are any."""
    found = _Reader(point, document, vm_cfg)
    memory = found.count("memory", "memory", 1024)
    cpus = found.count("cpuCount", "vcpus", 1)
    return Machine(
        name=point.vm_name,
        vm_id=point.vm_id,
        uuid=_uuid(point.vm_id, vm_cfg),
        description=text(found.vm, "description"),
        domain_type=found.domain_type(),
        os_type=text(found.vm, "osType") or _string(vm_cfg.get("OVM_os_type")),
        memory=memory,
        memory_limit=max(memory, number(found.vm, "memoryLimit") or _count(vm_cfg.get("maxmem")) or memory),
        cpu_count=cpus,
        cpu_limit=max(cpus, number(found.vm, "cpuCountLimit") or _count(vm_cfg.get("maxvcpus")) or cpus),
        boot_order=found.boot_order(),
        mouse=text(found.vm, "vmMouseType"),
        keymap=text(found.vm, "keymapName") or _string(vm_cfg.get("keymap")),
        local_time=bool(vm_cfg["localtime"]) if "localtime" in vm_cfg else None,
        restart_on_crash="RESTART" in (text(found.vm, "restartActionOnCrash"), _string(vm_cfg.get("on_crash")).upper()),
        disks=found.disks(),
        nics=found.nics(),
        cdroms=found.cdroms(),
        skipped_disks=point.skipped_disks,
        consistency=point.consistency,
        guessed=tuple(found.guessed),
    )


def parse_vm_cfg(content: str) -> dict[str, Any]:
    """Return the values of a vm.cfg: assignments of plain values in the syntax of Python. Nothing of it is run.

    What is anything else, and a file that is cut off, loses only the assignments that cannot be read.
    """
    values: dict[str, Any] = {}
    lines = content.splitlines()
    start = 0
    while start < len(lines):
        for end in range(start + 1, min(start + 200, len(lines)) + 1):
            try:
                parsed = ast.parse("\n".join(lines[start:end]) + "\n")
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue  # a list may go over several lines
            for statement in parsed.body:
                if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                    try:
                        values[statement.targets[0].id] = ast.literal_eval(statement.value)
                    except (ValueError, TypeError, RecursionError, MemoryError):
                        continue
            break
        else:
            end = start + 1
        start = end
    return values


class _Reader:
    """Looks things up in the two descriptions, the manager's first."""

    def __init__(self, point: Point, document: Mapping[str, Any], vm_cfg: Mapping[str, Any]) -> None:
        self._point = point
        self._cfg = vm_cfg
        self._document = document
        vm = document.get("vm")
        self.vm: Mapping[str, Any] = vm if isinstance(vm, Mapping) else {}
        self.guessed: list[str] = []

    def count(self, key: str, cfg_key: str, default: int) -> int:
        value = number(self.vm, key) or _count(self._cfg.get(cfg_key))
        if not value or value < 0:
            self.guessed.append(cfg_key)
            return default
        return value

    def domain_type(self) -> str:
        told = (text(self.vm, "vmDomainType") or _string(self._cfg.get("OVM_domain_type"))).upper()
        if told in (HVM, HVM_PV, PVM):
            return told
        if self._cfg.get("builder") == "hvm":
            return HVM
        if "bootloader" in self._cfg or "kernel" in self._cfg:
            return PVM
        self.guessed.append("domain_type")
        return HVM

    def boot_order(self) -> tuple[str, ...]:
        told = self.vm.get("bootOrder")
        words = [word for word in told if word in ("DISK", "CDROM", "PXE")] if isinstance(told, list) else []
        if not words:
            letters = {"c": "DISK", "d": "CDROM", "n": "PXE"}
            words = [letters[letter] for letter in _string(self._cfg.get("boot")) if letter in letters]
        return tuple(dict.fromkeys(words)) or ("DISK",)

    def disks(self) -> tuple[MachineDisk, ...]:
        mappings = {number(item, "diskTarget"): item for item in self._items("disk_mappings")}
        virtual = by_id(self._items("virtual_disks"))
        found = []
        for disk in sorted(self._point.disks, key=lambda disk: disk.slot):
            item = virtual.get(disk.disk_id, {})
            shared = flag(item, "shareable") or len(references(item, "vmDiskMappingIds")) > 1
            read_only = text(mappings.get(disk.slot, {}), "diskWriteMode") == "READ_ONLY"
            found.append(MachineDisk(disk, read_only, shared))
        return tuple(found)

    def nics(self) -> tuple[MachineNic, ...]:
        items = self._items("virtual_nics")
        if items:
            return tuple(MachineNic(_mac(optional_text(item, "macAddress")), _network(item)) for item in items)
        return tuple(map(_vif, self._strings("vif")))

    def cdroms(self) -> int:
        mappings = self._items("disk_mappings")
        if mappings:
            virtual = by_id(self._items("virtual_disks"))
            ids = [reference(item, "virtualDiskId") or "" for item in mappings]
            return sum(bool(one) and disk_kind(one, virtual.get(one, {})) == "cdrom" for one in ids)
        return sum(":cdrom" in entry for entry in self._strings("disk"))

    def _items(self, key: str) -> list[Mapping[str, Any]]:
        found = self._document.get(key)
        return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []

    def _strings(self, key: str) -> list[str]:
        found = self._cfg.get(key)
        return [item for item in found if isinstance(item, str)] if isinstance(found, list) else []


def _network(nic: Mapping[str, Any]) -> str:
    network = nic.get("networkId")
    name = network.get("name") if isinstance(network, Mapping) else None
    return name if isinstance(name, str) and name else reference(nic, "networkId") or ""


def _vif(entry: str) -> MachineNic:
    parts = dict(part.strip().partition("=")[::2] for part in entry.split(","))
    return MachineNic(_mac(parts.get("mac")), parts.get("bridge", ""))


def _mac(value: str | None) -> str | None:
    return value.lower() if value is not None and _MAC.match(value) else None


def _uuid(vm_id: str, vm_cfg: Mapping[str, Any]) -> str | None:
    """Return the id that the guest saw as that of its machine; the id of the VM with hyphens (ovm-rest-api 2.1)."""
    digits = _string(vm_cfg.get("uuid")).replace("-", "").lower() or vm_id.lower()
    if not re.fullmatch(r"[0-9a-f]{32}", digits):
        return None
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
