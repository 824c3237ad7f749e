# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The file systems on the disks of a guest: which there are, which system they belong to, and mounting them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ..errors import GuestFileError, InvalidInputError
from .libguestfs import Argument

# What libguestfs lists beside what holds files.
_WITHOUT_FILES = ("swap", "unknown", "crypto_LUKS")


class Disks(Protocol):
    """What is asked of an appliance here."""

    def do(self, name: str, *arguments: Argument) -> int:
        """Call what returns a number."""

    def text(self, name: str, *arguments: Argument) -> str:
        """Call what returns a text."""

    def words(self, name: str, *arguments: Argument) -> list[bytes]:
        """Call what returns a list."""

    def pairs(self, name: str, *arguments: Argument) -> dict[bytes, bytes]:
        """Call what returns keys and values."""


@dataclass(frozen=True)
class FileSystem:
    """A file system; C(device) is the name that libguestfs gives it, C(size) that of the device in bytes."""

    device: str
    type: str
    label: str | None
    uuid: str | None
    size: int | None

    @property
    def holds_files(self) -> bool:
        """Return whether there can be files in it."""
        return self.type not in _WITHOUT_FILES

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class GuestSystem:
    """An operating system. C(mounts) maps a directory to the device that is mounted there, the root first."""

    root: str
    type: str
    distribution: str
    product: str
    hostname: str
    mounts: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        mounts = [{"directory": directory, "device": device} for directory, device in self.mounts.items()]
        return {**asdict(self), "mounts": mounts}


def find_file_systems(disks: Disks) -> list[FileSystem]:
    """Return all file systems, also those in logical volumes, by device."""
    found = disks.pairs("list_filesystems")
    return [_describe(disks, device, found[device].decode()) for device in sorted(found)]


def find_systems(disks: Disks) -> list[GuestSystem]:
    """Return the operating systems that libguestfs recognises."""
    systems = []
    for root in disks.words("inspect_os"):
        mounts = {directory.decode(): device.decode() for directory, device in _mounts(disks, root).items()}
        systems.append(
            GuestSystem(
                root=root.decode(),
                type=disks.text("inspect_get_type", root),
                distribution=disks.text("inspect_get_distro", root),
                product=disks.text("inspect_get_product_name", root),
                hostname=disks.text("inspect_get_hostname", root),
                mounts={directory: mounts[directory] for directory in sorted(mounts, key=_depth)},
            )
        )
    return systems


def mount_one(disks: Disks, device: str) -> None:
    """Mount one file system as the root, read only; raise C(InvalidInputError) for what cannot be the name of one."""
    check_device(device)
    disks.do("mount_ro", device.encode(), b"/")


def mount_system(disks: Disks, systems: Sequence[GuestSystem]) -> list[str]:
    """Mount the file systems of the only operating system as it has them itself; return what is worth a note.

    Without one the only file system is mounted. C(GuestFileError) says what there is when that leaves a choice.
    """
    if len(systems) == 1:
        notes = []
        for directory, device in systems[0].mounts.items():
            try:
                disks.do("mount_ro", device.encode(), directory.encode())
            except GuestFileError as error:
                if directory == "/":
                    raise
                # Its disk may not have been backed up, or may not have been asked for.
                notes.append(f"{device} is not mounted at {directory}: {error.message}")
        return notes
    usable = [one.device for one in find_file_systems(disks) if one.holds_files]
    if not systems and len(usable) == 1:
        mount_one(disks, usable[0])
        return [f"There is no operating system that is known: the only file system, {usable[0]}, is taken"]
    what = "several operating systems" if systems else "no operating system that is known"
    if not usable:
        raise GuestFileError(f"The guest has {what}, and no file system")
    raise GuestFileError(f"The guest has {what}, and the file systems {', '.join(usable)}: name one")


def check_device(device: str) -> None:
    """Raise C(InvalidInputError) for what cannot be the name of a file system."""
    if not device.startswith(("/dev/", "btrfsvol:/dev/")) or "\0" in device:
        raise InvalidInputError(
            f"{device!r} is not the name of a file system in a guest: those are names like /dev/sda1, /dev/vg/lv or "
            "btrfsvol:/dev/sda2/root. The module guest_file_info lists them",
            option="filesystem",
        )


def _describe(disks: Disks, device: bytes, kind: str) -> FileSystem:
    def known(name: str) -> str | None:
        try:
            return disks.text(name, device) or None
        except GuestFileError:
            return None

    try:
        size = disks.do("blockdev_getsize64", device)
    except GuestFileError:
        size = None  # a part of a file system, as btrfs has them
    return FileSystem(device.decode(), kind, known("vfs_label"), known("vfs_uuid"), size)


def _mounts(disks: Disks, root: bytes) -> dict[bytes, bytes]:
    found = disks.pairs("inspect_get_mountpoints", root)
    return found if b"/" in found else {b"/": root, **found}


def _depth(directory: str) -> tuple[int, str]:
    return len(directory.rstrip("/").split("/")), directory
