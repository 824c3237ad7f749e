# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Change files inside of a disk image as its guest would.

A stand-in: no guest runs here, debugfs writes into the file system instead (no root needed, nothing is mounted).
Only images of the simulator (ext4 on the whole disk) are understood.

    python -m simulator.guest write IMAGE /srv/new.bin --size 262144 --seed monday
    python -m simulator.guest write IMAGE /etc/motd --text "hello"
    python -m simulator.guest list IMAGE /srv
    python -m simulator.guest read IMAGE /etc/motd
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path, PurePosixPath

from .images import tool


class GuestError(RuntimeError):
    """The file system in the image did not take the change, or there is no such file."""


def write_file(image: Path, path: str, data: bytes) -> None:
    """Create or replace a file; its folder must exist."""
    where = _checked(path)
    with tempfile.NamedTemporaryFile(prefix="guest-") as source:
        source.write(data)
        source.flush()
        commands = [f'cd "{where.parent}"']
        if _exists(image, where):
            commands.append(f'rm "{where.name}"')
        commands.append(f'write {source.name} "{where.name}"')
        _debugfs(image, commands, write=True)


def remove_file(image: Path, path: str) -> None:
    """Remove a file."""
    _debugfs(image, [f'rm "{_checked(path)}"'], write=True)


def read_file(image: Path, path: str) -> bytes:
    """Contents of a file."""
    where = _checked(path)
    if not _exists(image, where):
        raise GuestError(f"{image}: there is no {path}")
    with tempfile.TemporaryDirectory(prefix="guest-") as folder:
        target = Path(folder) / "file"
        _debugfs(image, [f'dump "{where}" {target}'])
        return target.read_bytes()


def list_files(image: Path, path: str = "/") -> dict[str, int]:
    """Names in a folder with their sizes in bytes, ``.`` and ``..`` left out."""
    found = {}
    for line in _debugfs(image, [f'ls -p "{_checked(path)}"']).splitlines():
        # /inode/mode/uid/gid/name/size/
        words = line.split("/")
        if len(words) >= 8 and words[5] not in (".", "..", ""):
            found[words[5]] = int(words[6] or 0)
    return found


def noise(size: int, seed: str) -> bytes:
    """Bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def _checked(path: str) -> PurePosixPath:
    where = PurePosixPath(path)
    if not where.is_absolute() or '"' in path or "\n" in path or ".." in where.parts:
        raise GuestError(f"{path!r} is no usable absolute path")
    return where


def _exists(image: Path, where: PurePosixPath) -> bool:
    return where.name in list_files(image, str(where.parent))


def _debugfs(image: Path, commands: list[str], *, write: bool = False) -> str:
    if not image.is_file():
        raise GuestError(f"{image} is no file")
    arguments = [tool("debugfs"), *(["-w"] if write else []), "-f", "-", str(image)]
    text = "\n".join(commands) + "\n"
    result = subprocess.run(arguments, input=text, capture_output=True, text=True, check=False)
    # debugfs has no useful exit status: anything beside its banner is a complaint.
    complaints = [line for line in result.stderr.splitlines() if line.strip() and not line.startswith("debugfs 1.")]
    if result.returncode != 0 or complaints:
        raise GuestError(f"{image}: {' '.join(complaints) or 'debugfs failed'}")
    return "\n".join(line for line in result.stdout.splitlines() if not line.startswith("debugfs:"))


def main(arguments: list[str] | None = None) -> int:
    """Command line; exit code 1 with a message if it did not work."""
    parse = argparse.ArgumentParser(prog="python -m simulator.guest", description="Change files inside of an image")
    commands = parse.add_subparsers(dest="command", required=True)
    for name in ("write", "list", "read", "remove"):
        command = commands.add_parser(name)
        command.add_argument("image", type=Path)
        command.add_argument("path", nargs="?" if name == "list" else None, default="/")
        if name == "write":
            source = command.add_mutually_exclusive_group(required=True)
            source.add_argument("--text")
            source.add_argument("--from", dest="source", type=Path)
            source.add_argument("--size", type=int, help="that many bytes that do not compress")
            command.add_argument("--seed", default="guest", help="what --size is made from")
    options = parse.parse_args(arguments)
    try:
        _run(options)
    except (GuestError, OSError, RuntimeError) as problem:
        print(f"guest: {problem}", file=sys.stderr)
        return 1
    return 0


def _run(options: argparse.Namespace) -> None:
    if options.command == "list":
        for name, size in sorted(list_files(options.image, options.path).items()):
            print(f"{size:>12} {name}")
    elif options.command == "read":
        sys.stdout.buffer.write(read_file(options.image, options.path))
    elif options.command == "remove":
        remove_file(options.image, options.path)
    elif options.text is not None:
        write_file(options.image, options.path, options.text.encode())
    elif options.source is not None:
        write_file(options.image, options.path, options.source.read_bytes())
    else:
        write_file(options.image, options.path, noise(options.size, options.seed))


if __name__ == "__main__":
    raise SystemExit(main())
