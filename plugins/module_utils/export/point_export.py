# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""A recovery point as images, a domain of libvirt, an OVF descriptor and a report: a directory, whole or not there."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Callable

from .._version import COLLECTION_VERSION
from ..errors import InvalidInputError
from ..transfer.disk_restore import data_size, restore_to
from ..transfer.point_restore import for_disk
from ..vault.chain import DiskChain
from ..vault.manifest import Point, PointDisk, chosen_disks
from ..vault.points import Client
from .attention import Attention, attention
from .directory import CURRENT, MISSING, ExportDirectory
from .disk_start import DiskStart, disk_start
from .libvirt_xml import libvirt_xml
from .machine import Machine, read_machine
from .mapping import Target, Wishes, map_machine
from .ovf import ovf_descriptor
from .qcow2 import COMPRESSIONS, Qcow2Target
from .report_text import report_text

Progress = Callable[[str, int, int], None]
REPORT = "report.txt"


@dataclass(frozen=True)
class ExportRequest:
    """What somebody wants. C(image_directory): where the images will lie on the host that runs the VM."""

    directory: str
    wishes: Wishes = field(default_factory=Wishes)
    slots: Collection[int] | None = None
    compression: str = "none"
    image_directory: str | None = None
    verify: bool = True
    overwrite: bool = False

    def check(self) -> None:
        """Raise C(InvalidInputError) for what cannot be."""
        if self.compression not in COMPRESSIONS:
            raise InvalidInputError(
                f"compression must be one of {', '.join(COMPRESSIONS)}, not {self.compression!r}",
                key="compression",
                value=self.compression,
            )
        if self.image_directory is not None and not os.path.isabs(self.image_directory):
            raise InvalidInputError(
                f"image_directory must be an absolute path, not {self.image_directory!r}",
                key="image_directory",
                value=self.image_directory,
            )
        self.wishes.check()


@dataclass(frozen=True)
class ExportPlan:
    """What there will be. C(state): missing, current (all of it is there already) or different."""

    machine: Machine
    target: Target
    point: Point
    files: dict[int, str]
    attention: list[Attention]
    needed: int
    state: str
    place: ExportDirectory
    identity: dict[str, Any]

    @property
    def xml(self) -> str:
        """Return the name of the document for libvirt."""
        return f"{self.point.client}.xml"

    @property
    def ovf(self) -> str:
        """Return the name of the OVF descriptor."""
        return f"{self.point.client}.ovf"

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        directory = self.place.path
        return {
            "directory": directory,
            "name": self.target.name,
            "domain_type": self.machine.domain_type,
            "chipset": self.target.chipset,
            "firmware": self.target.firmware,
            "disks": [
                {
                    "slot": disk.source.slot,
                    "disk_id": disk.source.disk.disk_id,
                    "name": disk.source.disk.name,
                    "size": disk.source.disk.size,
                    "content_hash": disk.source.disk.content_hash,
                    "path": os.path.join(directory, self.files[disk.source.slot]),
                    "bus": disk.bus,
                    "old_device": disk.old,
                    "new_device": disk.new,
                    "boots": disk.boots,
                }
                for disk in self.target.disks
            ],
            "nics": [asdict(nic) for nic in self.target.nics],
            "libvirt_xml": os.path.join(directory, self.xml),
            "ovf": os.path.join(directory, self.ovf),
            "report": os.path.join(directory, REPORT),
            "attention": [item.as_dict() for item in self.attention],
        }


def plan_export(
    client: Client, point: Point, request: ExportRequest, *, progress: Progress | None = None
) -> ExportPlan:
    """Say what there will be; raise for anything that could not work, before anything is written.

    Of the disks nothing but the first bytes is read. What lies there from an earlier export is read and compared.
    """
    request.check()
    disks = chosen_disks(point, request.slots)
    machine = _without_left_out(read_machine(client, point), disks)
    starts: dict[int, DiskStart] = {}
    needed = 0
    for disk in disks:
        with client.open_disk(point, disk) as chain:
            starts[disk.slot] = disk_start(chain)
            needed += _needed(chain, request.compression)
    target = map_machine(machine, starts, request.wishes)
    identity = {
        "client": client.name,
        "point": point.id,
        "vm_id": point.vm_id,
        "wishes": asdict(request.wishes),
        "slots": [disk.slot for disk in disks],
        "compression": request.compression,
        "image_directory": request.image_directory or os.path.abspath(request.directory),
        "version": COLLECTION_VERSION,
    }
    place = ExportDirectory(os.path.abspath(request.directory))
    state = place.state(identity, progress=progress)
    if state not in (MISSING, CURRENT) and not request.overwrite:
        raise InvalidInputError(
            f"{place.path} holds another export, or one that was changed: allow it to be overwritten, or name another "
            "directory",
            path=place.path,
        )
    if state != CURRENT:
        place.check_room(needed)
    return ExportPlan(
        machine=machine,
        target=target,
        point=point,
        files={disk.slot: f"{disk.file[: -len('.img.zst')]}.qcow2" for disk in disks},
        attention=attention(machine, target, starts),
        needed=needed,
        state=state,
        place=place,
        identity=identity,
    )


def write_export(client: Client, plan: ExportPlan, request: ExportRequest, *, progress: Progress | None = None) -> int:
    """Write what was planned; return how many bytes of the disks were not zeros."""
    written = 0
    with plan.place.new(plan.identity) as made:
        for disk in plan.target.disks:
            source = disk.source.disk
            path = made.path(plan.files[source.slot])
            with (
                client.open_disk(plan.point, source) as chain,
                Qcow2Target(path, chain.geometry.size, request.compression) as image,
            ):
                written += restore_to(
                    chain,
                    image,
                    content_hash=source.content_hash,
                    verify=request.verify,
                    progress=for_disk(progress, source),
                ).written
        sizes = {slot: os.path.getsize(made.path(name)) for slot, name in plan.files.items()}
        images = str(plan.identity["image_directory"])
        made.add(plan.xml, libvirt_xml(plan.machine, plan.target, plan.files, images))
        made.add(plan.ovf, ovf_descriptor(plan.machine, plan.target, plan.files, sizes, plan.point.id))
        text = report_text(
            plan.machine, plan.target, plan.attention, plan.point, plan.files, xml=plan.xml, ovf=plan.ovf
        )
        made.add(REPORT, text.encode("utf-8", "backslashreplace"))
        made.publish([item.as_dict() for item in plan.attention])
    return written


def _needed(chain: DiskChain, compression: str) -> int:
    """Return how many bytes an image will take: of compressed ones an estimate from what the vault takes for them."""
    data = data_size(chain)
    if compression == "none":
        return data
    stored = 0
    for resolved in chain.segments():
        stored += sum(piece.record.length for piece in resolved.pieces if piece.mask & ~piece.record.zero)
    # Smaller pieces compress a bit worse.
    return min(data, stored * 5 // 4)


def _without_left_out(machine: Machine, disks: list[PointDisk]) -> Machine:
    """Return the machine with the chosen disks only; the others become disks that somebody has to look after."""
    slots = {disk.slot for disk in disks}
    left_out = tuple(
        {"slot": item.slot, "name": item.disk.name, "kind": "virtual", "reason": "it was not asked for"}
        for item in machine.disks
        if item.slot not in slots
    )
    return replace(
        machine,
        disks=tuple(item for item in machine.disks if item.slot in slots),
        skipped_disks=(*machine.skipped_disks, *left_out),
    )
