# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A vault with a recovery point of a guest that has real file systems, made without root.

Usage: python -m unit.guest.disks IMAGES DIRECTORY. The images are made in IMAGES unless they are there already, the
vault in DIRECTORY. Prints one line of JSON that says what it is, or why there can be none on this machine.

libguestfs itself makes the disks: a system disk with a partition table, ext4 as the root and LVM with xfs and swap, and
a data disk with NTFS. The content is always the same, and chosen to be difficult where files are copied out.
"""

from __future__ import annotations

import ctypes
import glob
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from unit.transfer.builders import Estate, disk, ticking, vm_plan

from ansible_collections.ovm.backup.plugins.module_utils.errors import ApplianceError
from ansible_collections.ovm.backup.plugins.module_utils.guest.libguestfs import Handle, check_library
from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point

MIB = 1024 * 1024
SYSTEM, DATA = 512 * MIB, 32 * MIB
MODIFIED = 1_700_000_000
BIG = bytes(3 * MIB) + b"in the middle" + bytes(2 * MIB)  # mostly a hole

FILES: dict[bytes, bytes] = {
    b"/etc/os-release": b'NAME="Oracle Linux Server"\nID="ol"\nVERSION_ID="7.9"\n',
    b"/etc/oracle-release": b"Oracle Linux Server release 7.9\n",
    b"/etc/hostname": b"files01.example.com\n",
    b"/etc/fstab": b"/dev/sda1 / ext4 defaults 0 1\n/dev/vg0/data /srv xfs defaults 0 2\n",
    b"/etc/motd": b"hello\n",
    b'/home/a b/it\'s; $(touch x) `y` "z".txt': b"a name for shells\n",
    b"/home/a b/\xff\xfe not utf-8": b"a name of bytes\n",
    b"/home/a b/big.bin": BIG,
    b"/home/a b/empty": b"",
    b"/srv/inside xfs": b"xfs in LVM\n",
}
LINKS: dict[bytes, bytes] = {
    b"/home/a b/outside": b"/etc/shadow",
    b"/home/a b/up": b"../../../../../../tmp",
    b"/etc/link to home": b"/home",
}
WINDOWS: dict[bytes, bytes] = {b"/Users/Anna/letter.txt": b"on NTFS\r\n", b"/boot.ini": b"[boot]\r\n"}


def make_disks(system: Path, data: Path) -> None:
    """Make the images of both disks."""
    for path, size in ((system, SYSTEM), (data, DATA)):
        with path.open("wb") as file:
            file.truncate(size)
    handle = Handle()
    try:
        handle.do("set_backend", b"direct")
        # KVM is there and broken in some nested machines; here it only has to work.
        handle.do("set_backend_settings", [b"force_tcg"])
        for path in (system, data):
            handle.do("add_drive", os.fsencode(path))
        handle.do("launch")
        _make_system(handle)
        _make_data(handle)
        handle.do("shutdown")
    finally:
        handle.close()


def _make_system(handle: Handle) -> None:
    handle.do("part_init", b"/dev/sda", b"mbr")
    for first, last in ((2048, 131071), (131072, SYSTEM // 512 - 1)):
        _long(handle, "part_add", b"/dev/sda", b"p", first, last)
    handle.do("mkfs", b"ext4", b"/dev/sda1")
    handle.do("set_label", b"/dev/sda1", b"root")
    handle.do("pvcreate", b"/dev/sda2")
    handle.do("vgcreate", b"vg0", [b"/dev/sda2"])
    handle.do("lvcreate", b"data", b"vg0", 400)
    handle.do("lvcreate", b"swap", b"vg0", 16)
    handle.do("mkfs", b"xfs", b"/dev/vg0/data")
    handle.do("mkswap", b"/dev/vg0/swap")
    handle.do("mount", b"/dev/sda1", b"/")
    for directory in (b"/bin", b"/boot", b"/dev", b"/root", b"/usr", b"/var", b"/srv"):
        handle.do("mkdir_p", directory)
    handle.do("mount", b"/dev/vg0/data", b"/srv")
    _fill(handle, FILES)
    for path, target in LINKS.items():
        handle.do("ln_s", target, path)
    handle.do("mknod", 0o20600, 1, 3, b"/home/a b/device")
    handle.do("mkfifo", 0o600, b"/home/a b/fifo")
    handle.do("chmod", 0o4755, b"/etc/motd")
    handle.do("umount_all")


def _make_data(handle: Handle) -> None:
    handle.do("part_disk", b"/dev/sdb", b"mbr")
    handle.do("mkfs", b"ntfs", b"/dev/sdb1")
    handle.do("mount", b"/dev/sdb1", b"/")
    _fill(handle, WINDOWS)
    handle.do("umount_all")


def _fill(handle: Handle, files: dict[bytes, bytes]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        local = Path(directory, "file")
        for path, content in files.items():
            handle.do("mkdir_p", os.path.dirname(path))
            local.write_bytes(content)
            handle.do("upload", os.fsencode(local), path)
            _long(handle, "utimens", path, MODIFIED, 123456789, MODIFIED, 500_000_000)


def _long(handle: Handle, name: str, *arguments: bytes | int) -> None:
    """Call a function that takes numbers of 64 bits."""
    function = getattr(handle._library, f"guestfs_{name}")
    given: list[Any] = [ctypes.c_void_p(handle._handle)]
    given += [ctypes.c_char_p(one) if isinstance(one, bytes) else ctypes.c_int64(one) for one in arguments]
    assert function(*given) == 0, handle._library.guestfs_last_error(given[0])


def missing() -> str | None:
    """Return what this machine lacks for looking into disks, or nothing."""
    for name in ("nbdkit", "qemu-img", "qemu-system-x86_64", "supermin"):
        if shutil.which(name) is None:
            return f"{name} is not installed"
    if not glob.glob("/usr/lib/*/nbdkit/plugins/nbdkit-python-plugin.so"):
        return "nbdkit has no plugin for Python"
    if not any(os.access(path, os.R_OK) for path in glob.glob("/boot/vmlinuz-*")):
        return "there is no kernel in /boot that can be read"
    try:
        check_library()
    except ApplianceError as error:
        return error.message
    return None


def images(directory: Path) -> tuple[Path, Path]:
    """Return the images of both disks; they are made once for what this file says of them."""
    version = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    made = directory / f"guest-{version}"
    if not made.exists():
        making = Path(tempfile.mkdtemp(dir=directory))
        make_disks(making / "system.img", making / "data.img")
        making.rename(made)
    return made / "system.img", made / "data.img"


def make_vault(cache: Path, directory: Path) -> tuple[Estate, Point]:
    """Make a vault with one full recovery point of the guest; the disks have the slots 0 and 2."""
    estate = Estate(directory)
    for slot, image in zip((0, 2), images(cache), strict=True):
        estate.image(slot).unlink(missing_ok=True)
        subprocess.run(["cp", "--sparse=always", str(image), str(estate.image(slot))], check=True)
    return estate, backup_vm(estate.vault, estate.request(vm_plan(disk(0), disk(2, "data"))), clock=ticking()).point


def main() -> None:
    """Run as a program."""
    reason = missing()
    if reason is not None:
        print(json.dumps({"missing": reason}))
        return
    estate, point = make_vault(Path(sys.argv[1]), Path(sys.argv[2]))
    print(json.dumps({"vault": estate.vault.path, "client": estate.client.name, "point": point.id}))


if __name__ == "__main__":
    main()
