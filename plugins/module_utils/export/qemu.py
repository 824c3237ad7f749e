# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The command that starts a machine on qemu, cut off from everything, and the process that it becomes.

The guest is a stranger. It gets no device of the host and no way out: its network ends in qemu (C(restrict=on)), qemu
may start no programs and gain no rights (C(-sandbox)). Its disks are read-only; what it writes goes to temporary files
that have no name any more as soon as qemu has opened them, so they are gone with the process, however it ends.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from ..errors import BootTestError, InvalidInputError
from .mapping import Target

ACCELERATORS = ("auto", "kvm", "tcg")
_PROGRAMS = ("qemu-system-x86_64", "/usr/libexec/qemu-kvm", "qemu-kvm")
_FIRMWARE = (
    "/usr/share/OVMF/OVMF_CODE.fd",
    "/usr/share/OVMF/OVMF_CODE_4M.fd",
    "/usr/share/edk2/ovmf/OVMF_CODE.fd",
    "/usr/share/qemu/ovmf-x86_64-code.bin",
)
_SATA_PORTS = 6  # of a controller
_NICS = {"virtio": "virtio-net-pci", "e1000": "e1000", "rtl8139": "rtl8139"}
# Asks the kernel for a signal when the parent dies (PR_SET_PDEATHSIG), then becomes the program. Done in the child, as
# Python code between fork and exec is not safe where there are threads.
_WITH_PARENT = """\
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True)
class Network:
    """The network of the guest, which ends in qemu. C(port) of the guest is reached by a port of 127.0.0.1."""

    address: ipaddress.IPv4Interface
    port: int | None = None

    @classmethod
    def parse(cls, address: str | None, port: int | None) -> Network:
        """Return it; raise C(InvalidInputError) for what cannot be. Without an address the guest gets one by DHCP."""
        if port is not None and not 1 <= port <= 65535:
            raise InvalidInputError(f"port must be from 1 to 65535, not {port}", key="port", value=port)
        try:
            found = ipaddress.IPv4Interface(address or "10.0.2.15/24")
        except ValueError as error:
            raise InvalidInputError(
                f"address must be the guest's own with its network, as 192.168.5.20/24, not {address!r}",
                key="address",
                value=address,
            ) from error
        if found.network.prefixlen > 28 or found.ip in (found.network.network_address, found.network.broadcast_address):
            raise InvalidInputError(
                f"address must be one of a host in a network of 16 addresses or more, not {address}",
                key="address",
                value=address,
            )
        return cls(found, port)

    @property
    def option(self) -> str:
        """Return the value of qemu's option."""
        network, guest = self.address.network, self.address.ip
        free = [host for host in _some_hosts(network) if host != guest]
        parts = ["user", "id=net0", "restrict=on", "ipv6=off", f"net={network}", f"host={free[0]}", f"dns={free[1]}"]
        parts.append(f"dhcpstart={guest}")
        if self.port is not None:
            parts.append(f"hostfwd=tcp:127.0.0.1:0-{guest}:{self.port}")
        return ",".join(parts)


@dataclass(frozen=True)
class Hardware:
    """What a machine is started with. C(disks) are the addresses of the disks by slot."""

    program: str
    accelerator: str
    memory: int
    cpus: int
    target: Target
    disks: Mapping[int, str]
    network: Network | None = None
    firmware: str | None = None
    extra: tuple[str, ...] = field(default=())


def find_qemu() -> str:
    """Return the program; raise C(BootTestError) that names the package when there is none."""
    for name in _PROGRAMS:
        found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/bin:/usr/local/bin")
        if found is not None:
            return found
    raise BootTestError(
        "qemu is not installed: install the package qemu-system-x86 (Debian) or qemu-kvm (Oracle Linux)",
        package="qemu-system-x86",
    )


def find_firmware(kind: str) -> str | None:
    """Return the file of a UEFI firmware, nothing for a BIOS, which qemu brings; raise C(BootTestError) without one."""
    if kind != "uefi":
        return None
    for path in _FIRMWARE:
        if os.path.exists(path):
            return path
    raise BootTestError(
        "There is no UEFI firmware for qemu: install the package ovmf (Debian) or edk2-ovmf (Oracle Linux)",
        package="ovmf",
    )


def choose_accelerator(wanted: str, *, device: str = "/dev/kvm", cpus: str = "/proc/cpuinfo") -> str:
    """Return kvm where this user can use it, otherwise tcg, which emulates the processor and is much slower.

    A device alone proves nothing: inside of a VM it may be there without a processor that can do it.
    """
    if wanted not in ACCELERATORS:
        raise InvalidInputError(
            f"accelerator must be one of {', '.join(ACCELERATORS)}, not {wanted!r}", key="accelerator", value=wanted
        )
    usable = os.access(device, os.R_OK | os.W_OK)
    capable = False
    with contextlib.suppress(OSError), open(cpus, encoding="utf-8", errors="replace") as file:
        capable = any(line.startswith("flags") and {"vmx", "svm"} & set(line.split()) for line in file)
    if wanted == "kvm" and not usable:
        raise BootTestError(f"accelerator kvm was asked for, but this user cannot use {device}: take auto or tcg")
    if wanted == "auto":
        return "kvm" if usable and capable else "tcg"
    return wanted


def command(hardware: Hardware, socket: str) -> list[str]:
    """Return the command. The serial console is the standard output of the process."""
    target = hardware.target
    found = [hardware.program, "-nodefaults", "-no-user-config", "-name", "ovm-boot-test", "-display", "none"]
    found += ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
    found += ["-machine", f"{target.chipset},accel={hardware.accelerator}"]
    found += ["-cpu", "host" if hardware.accelerator == "kvm" else "max"]
    found += ["-m", str(hardware.memory), "-smp", str(hardware.cpus)]
    found += ["-rtc", f"base={target.clock}", "-vga", "std", "-no-shutdown"]
    found += ["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]
    found += ["-qmp", f"unix:{_escaped(socket)},server=on,wait=off"]
    if hardware.firmware is not None:
        found += ["-drive", f"if=pflash,format=raw,readonly=on,file={_escaped(hardware.firmware)}"]
    found += _disks(hardware)
    if hardware.network is not None and target.nics:
        found += ["-netdev", hardware.network.option]
        found += ["-device", f"{_NICS[target.nics[0].model]},netdev=net0,mac={target.nics[0].mac},romfile="]
    return [*found, *hardware.extra]


def start(arguments: Sequence[str], scratch: str, errors: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start qemu. It dies with the thread that started it. What its disks take up meanwhile lies in C(scratch)."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "TMPDIR": scratch, "LC_ALL": "C"}
    return subprocess.Popen(  # pylint: disable=ansible-bad-function
        [sys.executable, "-I", "-S", "-c", _WITH_PARENT, str(os.getpid()), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=environment,
        cwd=scratch,
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """End qemu at once: the guest's disks are worth nothing."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _disks(hardware: Hardware) -> list[str]:
    found: list[str] = []
    buses = {disk.bus for disk in hardware.target.disks}
    if "virtio_scsi" in buses:
        found += ["-device", "virtio-scsi-pci,id=scsi"]
    if "sata" in buses:
        # The chipset has a controller of its own, which is not enough for all.
        for number in range(1, -(-len(hardware.target.disks) // _SATA_PORTS)):
            found += ["-device", f"ich9-ahci,id=ahci{number}"]
    for place, disk in enumerate(hardware.target.disks):
        # What is written goes to a temporary file of qemu's own that is removed as soon as it is open.
        drive = f"id=disk{place},if=none,format=raw,snapshot=on,cache=unsafe,discard=unmap"
        found += ["-drive", f"{drive},file={_escaped(hardware.disks[disk.source.slot])}"]
        device = {
            "virtio": "virtio-blk-pci",
            "virtio_scsi": "scsi-hd,bus=scsi.0",
            "sata": f"ide-hd,bus={_sata_bus(place)}",
            "ide": f"ide-hd,bus=ide.{place // 2},unit={place % 2}",
        }[disk.bus]
        boot = ",bootindex=1" if disk.boots else ""
        found += ["-device", f"{device},drive=disk{place}{boot}"]
    return found


def _sata_bus(place: int) -> str:
    number, port = divmod(place, _SATA_PORTS)
    return f"ahci{number}.{port}" if number else f"ide.{port}"


def _escaped(value: str) -> str:
    return value.replace(",", ",,")


def _some_hosts(network: ipaddress.IPv4Network) -> list[ipaddress.IPv4Address]:
    first = int(network.network_address) + 2
    return [ipaddress.IPv4Address(first + number) for number in range(4)]
