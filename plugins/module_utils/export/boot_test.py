# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Starting a recovery point from the vault on qemu, to see whether it comes up.

Its disks are read from the vault as the guest asks for them; nothing is restored, nothing of the vault is written.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Callable

from .._version import COLLECTION_VERSION
from ..errors import BootTestError, InvalidInputError
from ..guest.serving import ServedPoint, find_nbdkit, serve_point
from ..vault.boot_test_record import BootTest
from ..vault.manifest import Point, chosen_disks
from ..vault.points import Client
from . import qemu
from .disk_start import disk_start
from .machine import Machine, read_machine
from .mapping import Target, Wishes, map_machine
from .watch import Conditions, Outcome, Watch

_SMALLEST_MEMORY = 64
# A log for people: its beginning and its end are kept.
_LOG_LIMIT = 1024 * 1024


@dataclass(frozen=True)
class BootTestRequest:
    """What is to be started, and what counts as up. C(memory) in MiB, C(timeout) in seconds."""

    conditions: Conditions
    wishes: Wishes = field(default_factory=Wishes)
    slots: Collection[int] | None = None
    accelerator: str = "auto"
    memory: int | None = None
    cpus: int | None = None
    address: str | None = None
    network: bool = True
    timeout: float = 600.0
    scratch: str | None = None


@dataclass(frozen=True)
class BootPlan:
    """A machine that can be started, as far as that can be told before."""

    machine: Machine
    target: Target
    hardware: qemu.Hardware
    point: Point

    def as_dict(self) -> dict[str, Any]:
        """Return the machine in plain JSON types, as the record keeps it."""
        target = self.target
        return {
            "accelerator": self.hardware.accelerator,
            "chipset": target.chipset,
            "firmware": target.firmware,
            "disk_bus": target.disks[0].bus if target.disks else "",
            "nic_model": target.nics[0].model if target.nics and self.hardware.network is not None else "",
            "memory": self.hardware.memory,
            "cpus": self.hardware.cpus,
        }


@dataclass(frozen=True)
class Started:
    """What came of it: the record without its files, and these."""

    result: BootTest
    screenshot: bytes | None
    log: bytes


def plan_boot_test(client: Client, point: Point, request: BootTestRequest) -> BootPlan:
    """Say what will be started; raise for anything that could not work, before anything is."""
    request.conditions.check()
    if request.timeout <= 0:
        raise InvalidInputError(f"timeout must be more than 0, not {request.timeout:g}", key="timeout")
    if request.scratch is not None and not os.path.isdir(request.scratch):
        raise InvalidInputError(f"scratch_directory {request.scratch} is not a directory", key="scratch_directory")
    if request.conditions.port is not None and not request.network:
        raise InvalidInputError("port needs the network: leave network out or set it to true", key="network")
    network = qemu.Network.parse(request.address, request.conditions.port) if request.network else None
    disks = chosen_disks(point, request.slots)
    slots = {disk.slot for disk in disks}
    machine = read_machine(client, point)
    machine = replace(machine, disks=tuple(item for item in machine.disks if item.slot in slots))
    if request.conditions.port is not None and not machine.nics:
        raise InvalidInputError(f"port cannot be reached: {machine.name!r} has no network card", key="port")
    starts = {}
    for disk in disks:
        with client.open_disk(point, disk) as chain:
            starts[disk.slot] = disk_start(chain)
    target = map_machine(machine, starts, request.wishes)
    program = qemu.find_qemu()
    find_nbdkit()
    hardware = qemu.Hardware(
        program=program,
        accelerator=qemu.choose_accelerator(request.accelerator),
        memory=_memory(request.memory, machine.memory),
        cpus=_cpus(request.cpus, machine.cpu_count),
        target=target,
        disks={},
        network=network,
        firmware=qemu.find_firmware(target.firmware),
    )
    return BootPlan(machine, target, hardware, point)


def run_boot_test(
    client: Client,
    plan: BootPlan,
    request: BootTestRequest,
    *,
    clock: Callable[[], float] = time.time,
) -> Started:
    """Start the machine, wait for a verdict, and end it, whatever happens. Use the main thread.

    Raises C(BootTestError) when qemu itself does not work, and what the vault has to say about damaged data.
    """
    begun, started = clock(), time.monotonic()
    slots = [disk.source.slot for disk in plan.target.disks]
    with (
        serve_point(client, plan.point, slots=slots) as served,
        tempfile.TemporaryDirectory(prefix="ovm-boot-", dir=request.scratch) as scratch,
    ):
        hardware = replace(plan.hardware, disks={slot: served.uri(slot) for slot in slots})
        with _running(hardware, served, scratch) as watch:
            outcome = watch.wait(request.conditions, timeout=request.timeout)
            version = watch.version()
        served.check()
    return Started(
        BootTest(
            tested_at=begun,
            ok=outcome.ok,
            verdict=outcome.verdict,
            duration=round(time.monotonic() - started, 3),
            machine=plan.as_dict(),
            versions={"collection": COLLECTION_VERSION, "qemu": version},
        ),
        screenshot=outcome.screenshot,
        log=log_bytes(outcome),
    )


def log_bytes(outcome: Outcome) -> bytes:
    """Return the log of the consoles, with its middle left out where it is long."""
    parts = [f"== {outcome.verdict}\n".encode()]
    if outcome.text:
        parts.append(f"== text screen\n{outcome.text}\n".encode("utf-8", "replace"))
    parts.append(b"== serial console\n")
    log = outcome.console
    if len(log) > _LOG_LIMIT:
        half = _LOG_LIMIT // 2
        log = log[:half] + f"\n== {len(log) - 2 * half} bytes left out\n".encode() + log[-half:]
    return b"".join([*parts, log])


@contextlib.contextmanager
def _running(hardware: qemu.Hardware, served: ServedPoint, scratch: str) -> Iterator[Watch]:
    # Beside the socket of nbdkit, whose path is short enough: the scratch directory's may be too long.
    socket = os.path.join(served.directory, "qmp")
    with open(os.path.join(served.directory, "qemu.log"), "w+b") as errors:
        process = qemu.start(qemu.command(hardware, socket), scratch, errors)
        try:
            picture = os.path.join(scratch, "screen.ppm")
            with contextlib.closing(Watch(process, socket, picture, served.check)) as watch:
                yield watch
        except BootTestError as error:
            served.check()
            errors.seek(0)
            output = errors.read(4000).decode("utf-8", "replace").strip()
            last = re.sub(r"^\S*qemu\S*: ", "", output.splitlines()[-1]) if output else ""
            message = f"{error.message}: {last}" if last else error.message
            if hardware.accelerator == "kvm":
                message += ". The accelerator tcg works without virtualization by the processor"
            raise BootTestError(message, **{**error.details, "output": output or None}) from error
        finally:
            qemu.end(process)


def _memory(wanted: int | None, saved: int) -> int:
    """Return the memory of the machine: what the VM had, but by itself no more than half of what is free here."""
    free = _free_memory()
    if wanted is None:
        return max(_SMALLEST_MEMORY, min(saved, free // 2) if free is not None else saved)
    if wanted < _SMALLEST_MEMORY:
        raise InvalidInputError(f"memory must be {_SMALLEST_MEMORY} MiB or more, not {wanted}", key="memory")
    if free is not None and wanted > free:
        raise InvalidInputError(f"memory of {wanted} MiB was asked for, {free} MiB are free here", key="memory")
    return wanted


def _cpus(wanted: int | None, saved: int) -> int:
    if wanted is None:
        return max(1, min(saved, os.cpu_count() or 1))
    if not 1 <= wanted <= 64:
        raise InvalidInputError(f"cpus must be from 1 to 64, not {wanted}", key="cpus", value=wanted)
    return wanted


def _free_memory() -> int | None:
    """Return how many MiB of memory are free on this host, if it tells."""
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) // 1024
    return None
