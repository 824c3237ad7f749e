# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disk images with real ext4 file systems and real files, the same bytes every time, made without root."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import UUID

from .storage import copy_image

MIB = 1 << 20
EPOCH = 1_582_725_527
_FORMAT = 1  # part of a cached image's name: raise it when the recipe changes


@dataclass(frozen=True)
class ImageSpec:
    """What is in an image: ``size`` and ``data`` in MiB, ``seed`` decides the contents, ``kind`` disk or iso."""

    size: int
    data: float
    seed: str
    kind: str = "disk"

    def key(self) -> str:
        """Name of the image in a cache."""
        text = json.dumps([_FORMAT, asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


def tool(name: str) -> str:
    """Path of a program of e2fsprogs, which may lie outside of a user's PATH. RuntimeError if it is not there."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        raise RuntimeError(f"{name} is missing: install e2fsprogs")
    return found


def provide(spec: ImageSpec, cache: Path, target: Path) -> None:
    """Put an image at ``target``, built in ``cache`` if it is not there yet."""
    cache.mkdir(parents=True, exist_ok=True)
    cached = cache / f"{spec.key()}.{spec.kind}"
    if not cached.exists():
        _build(spec, cached)
    copy_image(cached, target)


def _build(spec: ImageSpec, path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".building-") as scratch:
        image = Path(scratch) / "image"
        with image.open("wb") as file:
            file.truncate(spec.size * MIB)
        if spec.kind == "iso":
            _fill_iso(spec, image)
        else:
            files = Path(scratch) / "files"
            files.mkdir()
            _write_files(spec, files)
            _make_file_system(spec, image, files)
        os.replace(image, path)


def _fill_iso(spec: ImageSpec, image: Path) -> None:
    # Not an ISO 9660 file system, only a volume descriptor's magic in its place and data: never backed up.
    generator = random.Random(spec.seed)
    with image.open("r+b") as file:
        file.seek(32768)
        file.write(b"\x01CD001\x01\x00")
        file.seek(65536)
        file.write(generator.randbytes(int(spec.data * MIB)))


def _write_files(spec: ImageSpec, folder: Path) -> None:
    """Files as a guest has them: a few texts and logs (compressible), the rest noise (not compressible)."""
    generator = random.Random(spec.seed)
    (folder / "etc").mkdir()
    (folder / "etc" / "hostname").write_text(f"{spec.seed}\n", encoding="utf-8")
    (folder / "var" / "log").mkdir(parents=True)
    (folder / "srv").mkdir()
    left = int(spec.data * MIB)
    lines = (f"{EPOCH + n} {spec.seed} service[{generator.randrange(9999)}]: request {n} done\n" for n in range(10**9))
    log_size = min(left // 3, 3 * MIB)
    with (folder / "var" / "log" / "messages").open("w", encoding="utf-8") as log:
        while log.tell() < log_size:
            log.write("".join(next(lines) for _unused in range(1000)))
    left -= log_size
    number = 0
    while left > 0:
        size = min(left, generator.randrange(64 << 10, 2 * MIB))
        (folder / "srv" / f"data-{number:03}.bin").write_bytes(generator.randbytes(size))
        left -= size
        number += 1
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (EPOCH, EPOCH))
        path.chmod(0o755 if path.is_dir() else 0o644)


def _make_file_system(spec: ImageSpec, image: Path, files: Path) -> None:
    uuid = str(UUID(bytes=hashlib.sha256(spec.seed.encode()).digest()[:16]))
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "SOURCE_DATE_EPOCH": str(EPOCH),
        "E2FSPROGS_FAKE_TIME": str(EPOCH),
        "MKE2FS_CONFIG": "/dev/null",  # the machine's defaults must not change the bytes
    }
    arguments = ["-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-m", "0", "-U", uuid, "-L", "guest"]
    arguments += ["-O", "has_journal,extent,64bit,flex_bg,sparse_super,large_file,dir_index,filetype,metadata_csum"]
    arguments += ["-J", "size=4"] if spec.size >= 16 else ["-O", "^has_journal"]
    arguments += ["-E", f"hash_seed={uuid},root_owner=0:0,lazy_itable_init=1,nodiscard"]
    _run([tool("mke2fs"), *arguments, "-d", str(files), str(image)], environment)
    # mke2fs copies the change time of the files it reads, and their owner: overwrite both.
    commands = []
    for path in sorted([files, *files.rglob("*")]):
        name = "/" if path == files else f"/{path.relative_to(files)}"
        commands += [f"set_inode_field {name} ctime @{EPOCH}", f"set_inode_field {name} crtime @{EPOCH}"]
        commands += [f"set_inode_field {name} atime @{EPOCH}"]
        commands += [f"set_inode_field {name} uid 0", f"set_inode_field {name} gid 0"]
    script = "\n".join(commands) + "\n"
    _run([tool("debugfs"), "-w", "-f", "-", str(image)], environment, script)


def _run(command: list[str], environment: dict[str, str], text: str = "") -> None:
    result = subprocess.run(command, env=environment, input=text, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {result.stderr.strip()}")
