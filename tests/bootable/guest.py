# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The image of a disk with a small Linux that boots, the same bytes for the same packages every time.

Sector 0 holds the boot code of syslinux and a table of two partitions: one for the boot loader, the kernel and its
first file system (FAT), one for the guest's own files (ext4). The guest finds its disk as a virtio, SCSI or IDE disk,
reads its name from it, says on both consoles that it is up, and answers on port 80.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from simulator.images import ImageSpec, provide

from .cpio import archive

MIB = 1 << 20
EPOCH = 1_582_725_527
PACKAGE = "linux-image-cloud-amd64"
# What the guest says when it is up, on its screen and on its serial console. HOST is the content of /etc/hostname.
READY = "{host} is up and has read its disk"
_RECIPE = 1  # part of a cached image's name: raise it when the recipe changes
_DRIVERS = ("virtio_pci", "virtio_blk", "virtio_scsi", "virtio_net", "sd_mod", "ata_piix")
_LOADER = "/usr/lib/syslinux"
_BOOT = 1 * MIB, 30 * MIB  # where the partitions begin, and their sizes
_ROOT = 31 * MIB, 8 * MIB
SIZE = 40 * MIB

_INIT = """\
#!/bin/sh
export PATH=/bin
mkdir -p /proc /sys /dev /disk /www
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
for driver in $(cat /drivers/order); do insmod /drivers/$driver; done
for _try in 1 2 3 4 5 6 7 8 9 10; do
  # Disks are found in any order.
  for disk in /dev/vda2 /dev/sda2 /dev/vdb2 /dev/sdb2; do
    [ -b $disk ] && mount -t ext4 $disk /disk && break 2
  done
  sleep 0.2
done
host=$(cat /disk/etc/hostname) || host="no disk"
hostname "$host"
for console in /dev/tty0 /dev/ttyS0; do echo "@READY@" >$console; done
if [ -e /sys/class/net/eth0 ]; then
  ip link set eth0 up
  ip address add 10.0.2.15/24 dev eth0
  echo "$host" >/www/index.html
  httpd -p 80 -h /www
fi
# Written to its disk, which must never reach the vault.
date >/disk/booted
sync
while :; do sleep 1000; done
"""


class GuestUnavailable(Exception):
    """The image cannot be built here, or nothing can start it."""


def install_packages() -> None:
    """Install what is missing to build the image and to start it, where that is possible."""
    script = Path(__file__).with_name("packages.sh")
    done = subprocess.run([str(script)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise GuestUnavailable(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else str(script))


@dataclass(frozen=True)
class Kernel:
    """A kernel of Debian, unpacked."""

    version: str
    image: Path
    drivers: Path


def build(cache: Path, target: Path, *, host: str = "guest01") -> None:
    """Put the image at ``target``, built in ``cache`` if it is not there yet. Takes about a second.

    Raises ``GuestUnavailable`` with the reason where it cannot be built.
    """
    install_packages()
    cache.mkdir(parents=True, exist_ok=True)
    kernel = unpack_kernel(cache)
    cached = cache / f"bootable-{_RECIPE}-{kernel.version}-{host}.img"
    if not cached.exists():
        with tempfile.TemporaryDirectory(dir=cache, prefix=".building-") as scratch:
            made = Path(scratch) / "disk.img"
            _write_disk(Path(scratch), made, kernel, host)
            os.replace(made, cached)
    _run("cp", "--sparse=always", str(cached), str(target))


def unpack_kernel(cache: Path) -> Kernel:
    """Return the newest kernel that the package lists know; downloads 26 MB once."""
    depends = _run("apt-cache", "depends", PACKAGE)
    found = re.search(r"Depends: linux-image-(\S+)", depends)
    if found is None:
        raise GuestUnavailable(f"apt does not know the package {PACKAGE}: run apt-get update")
    version = found[1]
    folder = cache / f"kernel-{version}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=cache, prefix=".unpacking-") as scratch:
            _run("apt-get", "-qq", "download", f"linux-image-{version}", cwd=scratch)
            (package,) = Path(scratch).glob("*.deb")
            _run("dpkg-deb", "-x", str(package), f"{scratch}/files")
            with contextlib.suppress(FileExistsError):  # another process was as quick
                os.rename(f"{scratch}/files", folder)
    return Kernel(version, folder / "boot" / f"vmlinuz-{version}", folder / "lib" / "modules" / version)


def first_file_system(kernel: Kernel) -> bytes:
    """Return what the kernel unpacks into memory: busybox, drivers and the first program."""
    script = _INIT.replace("@READY@", READY.format(host="$host"))
    files = {"init": (stat.S_IFREG | 0o755, script.encode())}
    busybox = shutil.which("busybox") or "/bin/busybox"
    files["bin/busybox"] = (stat.S_IFREG | 0o755, Path(busybox).read_bytes())
    for name in "sh mkdir mount cat insmod sleep hostname echo ip httpd date sync".split():
        files[f"bin/{name}"] = (stat.S_IFLNK | 0o777, b"busybox")
    order = _with_dependencies(kernel.drivers, _DRIVERS)
    for path in order:
        files[f"drivers/{path.name}"] = (stat.S_IFREG | 0o644, path.read_bytes())
    files["drivers/order"] = (stat.S_IFREG | 0o644, " ".join(path.name for path in order).encode())
    return archive(files)


def _with_dependencies(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """Return the files of drivers, each after those that it needs. What has no file is a part of the kernel."""
    known = {path.stem.replace("-", "_"): path for path in folder.rglob("*.ko")}
    order: list[Path] = []

    def add(name: str) -> None:
        path = known.get(name.replace("-", "_"))
        if path is None or path in order:
            return
        needs = re.search(rb"\0depends=([^\0]*)\0", path.read_bytes())
        for needed in needs[1].decode().split(",") if needs is not None else []:
            add(needed)
        order.append(path)

    for name in names:
        add(name)
    return order


def _write_disk(scratch: Path, disk: Path, kernel: Kernel, host: str) -> None:
    with disk.open("wb") as file:
        file.truncate(SIZE)
    files = scratch / "boot"
    files.mkdir()
    shutil.copy(kernel.image, files / "vmlinuz")
    (files / "initrd").write_bytes(first_file_system(kernel))
    (files / "syslinux.cfg").write_text(
        "SERIAL 0 115200\nDEFAULT linux\nPROMPT 0\nLABEL linux\n  KERNEL vmlinuz\n  INITRD initrd\n"
        "  APPEND console=tty0 console=ttyS0,115200 panic=1\n",
        encoding="ascii",
    )
    for path in files.iterdir():
        os.utime(path, (EPOCH, EPOCH))
    part = f"{disk}@@{_BOOT[0]}"
    _run("mformat", "-i", part, "-N", "0badcafe", "-T", str(_BOOT[1] // 512), "-h", "255", "-s", "63", "::")
    _run("mcopy", "-m", "-i", part, *(str(path) for path in sorted(files.iterdir())), "::/")
    _run("syslinux", "--offset", str(_BOOT[0]), "--install", str(disk))
    _write_root(scratch.parent, disk, host)
    with disk.open("r+b") as file:
        code = Path(f"{_LOADER}/mbr/mbr.bin").read_bytes()
        table = _partition(0x80, 0x0E, *_BOOT) + _partition(0, 0x83, *_ROOT) + bytes(32)
        file.write(code.ljust(440, b"\0") + struct.pack("<IH", 0x0BADCAFE, 0) + table + b"\x55\xaa")


def _partition(active: int, kind: int, start: int, size: int) -> bytes:
    return struct.pack("<B3sB3sII", active, b"\xfe\xff\xff", kind, b"\xfe\xff\xff", start // 512, size // 512)


def _write_root(cache: Path, disk: Path, host: str) -> None:
    image = disk.with_suffix(".root")
    provide(ImageSpec(size=_ROOT[1] // MIB, data=0.5, seed=host), cache, image)
    _run("dd", f"if={image}", f"of={disk}", "bs=1M", f"seek={_ROOT[0] // MIB}", "conv=notrunc,sparse", "status=none")


def _run(*command: str, cwd: str | None = None) -> str:
    environment = {
        "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin",
        "SOURCE_DATE_EPOCH": str(EPOCH),
        "E2FSPROGS_FAKE_TIME": str(EPOCH),
        "TZ": "UTC",
        "LC_ALL": "C",
        "MTOOLS_SKIP_CHECK": "1",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=cwd)
    if done.returncode != 0:
        raise GuestUnavailable(f"{command[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
