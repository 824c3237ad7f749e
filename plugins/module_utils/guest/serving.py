# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""A recovery point as read-only block devices straight from the vault: nbdkit on a unix socket."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .. import errors
from .._children import child_environment
from ..errors import OvmBackupError, ServingError
from ..vault.attaching import environment_for, libraries_for
from ..vault.manifest import Point, chosen_disks
from ..vault.points import Client
from ..vault.random_access import CACHE_SIZE
from . import plugin
from .plugin import LOG, PROBLEM, SCRIPT, SCRIPT_NAME, SETTINGS, SOCKET

# What a unix socket's path may be long, in bytes; Linux ends it with a zero byte.
SOCKET_LIMIT = 107
# What nbdkit's Python needs for any vault.
LIBRARIES = ("blake3", "zstandard")
# The tables of a long chain on a slow network file system take their time; this is for what never gets ready.
_START_LIMIT = 600.0
_END_LIMIT = 10.0


@dataclass(frozen=True)
class ServedDisk:
    """A disk and the name of its export."""

    slot: int
    name: str
    size: int
    export: str

    def as_dict(self, socket: str) -> dict[str, Any]:
        """Return plain JSON types, with the address at C(socket)."""
        return {"slot": self.slot, "name": self.name, "size": self.size, "uri": uri(socket, self.export)}


class ServedPoint:
    """A recovery point that is served now. C(socket) is where; each disk is an export that is named after its slot."""

    def __init__(self, directory: str, disks: Sequence[ServedDisk], process: subprocess.Popen[bytes]) -> None:
        self.directory = directory
        self.socket = os.path.join(directory, SOCKET)
        self.disks = tuple(disks)
        self._process = process

    def uri(self, slot: int | None = None) -> str:
        """Return the address of a disk, without a slot that of the first one."""
        return uri(self.socket, "" if slot is None else str(slot))

    def check(self) -> None:
        """Raise what nbdkit met: damage in the vault is only an I/O error for who reads a device, or its own end."""
        raise_problem(self.directory)
        if self._process.poll() is not None:
            raise ServingError(f"nbdkit has ended with status {self._process.returncode} while it was needed")


def uri(socket: str, export: str = "") -> str:
    """Return the address of an export, as qemu, nbdinfo and libnbd take it."""
    return f"nbd+unix:///{export}?socket={urllib.parse.quote(socket)}"


@contextlib.contextmanager
def serve_point(client: Client, point: Point, *, slots: Collection[int] | None = None) -> Iterator[ServedPoint]:
    """Serve the disks of a point (those in C(slots)) for the length of the block.

    nbdkit ends with the block, and also with the thread that entered it, however that ends: use the main thread.
    Raises C(ServingError), and C(CorruptVaultError) or C(VaultError) for files that cannot be opened.
    """
    program = find_nbdkit()
    directory = tempfile.mkdtemp(prefix="ovm-served-", dir=_short_directory())
    process = None
    try:
        disks = prepare(client, point, directory, slots=slots)
        process = start(nbdkit_command(program, directory), directory, client.vault_path)
        yield ServedPoint(directory, disks, process)
    finally:
        if process is not None:
            end(process)
        shutil.rmtree(directory, ignore_errors=True)


def find_nbdkit() -> str:
    """Return the program; raise C(ServingError) that names the package when there is none."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    program = shutil.which("nbdkit", path=path)
    if program is None:
        raise ServingError(
            "nbdkit is not installed: install the packages nbdkit and nbdkit-plugin-python (Debian) or "
            "nbdkit-python-plugin (Oracle Linux)",
            package="nbdkit",
        )
    return program


def nbdkit_command(program: str, directory: str) -> list[str]:
    """Return the command that serves what was prepared; C(start) adds where nbdkit says that it is ready."""
    socket = os.path.join(directory, SOCKET)
    options = ["--exit-with-parent", "--foreground", "--readonly", "--threads=4", f"--unix={socket}"]
    return [program, *options, "python", os.path.join(directory, SCRIPT_NAME)]


def prepare(
    client: Client,
    point: Point,
    directory: str,
    *,
    slots: Collection[int] | None,
    cache_size: int = 2 * CACHE_SIZE,
    about: dict[str, Any] | None = None,
) -> list[ServedDisk]:
    """Write into a private directory what nbdkit needs to know; return the disks that it will serve.

    nbdkit adds to C(about) which process it is, and leaves it in the directory.
    """
    check_length(directory)
    chosen = chosen_disks(point, slots)
    vault = client.vault_path
    libraries = [*LIBRARIES, *libraries_for(vault)]
    settings = {
        "vault": vault,
        "libraries": libraries,
        "about": about,
        "cache_size": cache_size,
        "disks": [
            {
                "export": str(disk.slot),
                "description": f"{point.vm_name}, recovery point {point.id}, slot {disk.slot}: {disk.name}",
                "files": [(path, header_hash) for path, header_hash, _size in client.disk_files(point, disk)],
            }
            for disk in chosen
        ],
    }
    _write(os.path.join(directory, SETTINGS), json.dumps(settings))
    script = SCRIPT.format(
        packages=_packages(),
        version=list(sys.version_info[:2]),
        libraries=_library_directories(libraries),
        module=plugin.__name__,
        directory=directory,
    )
    _write(os.path.join(directory, SCRIPT_NAME), script)
    return [ServedDisk(disk.slot, disk.name, disk.size, str(disk.slot)) for disk in chosen]


def check_length(directory: str) -> None:
    """Raise C(ServingError) when the path is too long for a socket in it."""
    if len(os.fsencode(os.path.join(directory, SOCKET))) > SOCKET_LIMIT:
        raise ServingError(
            f"The path of {directory} is too long for a socket in it: use one of at most "
            f"{SOCKET_LIMIT - len(SOCKET) - 1} bytes",
            path=directory,
        )


def start(command: Sequence[str], directory: str, vault: str) -> subprocess.Popen[bytes]:
    """Run a command that ends in one of C(nbdkit_command), and return when the socket accepts connections.

    C(vault) is the path of the vault that the disks are in.
    """
    # What the task's own Python has in its environment may be for another version than nbdkit's. That one finds its
    # standard library by the first python3 of the path, which has to be the one that it was built with.
    environment = {name: value for name, value in child_environment().items() if not name.startswith("PYTHON")}
    environment["PATH"] = f"/usr/bin:/bin:{environment.get('PATH', os.defpath)}"
    environment.update(environment_for(vault))
    ready, tell = os.pipe()
    try:
        with open(os.path.join(directory, LOG), "wb") as log:
            at = command.index("python")
            process = subprocess.Popen(  # pylint: disable=ansible-bad-function
                [*command[:at], f"--pidfile=/dev/fd/{tell}", *command[at:]],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                pass_fds=(tell,),
                env=environment,
            )
        os.close(tell)
        tell = -1
        try:
            _wait_until_ready(ready, directory)
        except BaseException:
            end(process)
            raise
        return process
    finally:
        os.close(ready)
        if tell >= 0:
            os.close(tell)


def end(process: subprocess.Popen[bytes]) -> None:
    """End nbdkit, if need be the hard way."""
    process.terminate()
    try:
        process.wait(_END_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def raise_problem(directory: str) -> None:
    """Raise the failure that the plugin has noted, if there is one, as what it was there."""
    try:
        with open(os.path.join(directory, PROBLEM), encoding="utf-8") as file:
            problem = json.load(file)
    except FileNotFoundError:
        return
    details = dict(problem["failure"])
    details.pop("retryable", None)
    kind = getattr(errors, str(details.pop("kind")), ServingError)
    raise (kind if issubclass(kind, OvmBackupError) else ServingError)(problem["message"], **details)


def _wait_until_ready(ready: int, directory: str) -> None:
    """Return when nbdkit has written its process id, which it does when it listens; the end of the pipe is its own."""
    found, _none, _none_either = select.select([ready], [], [], _START_LIMIT)
    if found and os.read(ready, 1):
        return
    raise_problem(directory)
    with open(os.path.join(directory, LOG), encoding="utf-8", errors="replace") as file:
        output = file.read(4000).strip()
    if "nbdkit-python-plugin.so: cannot open" in output:
        raise ServingError(
            "nbdkit has no plugin for Python: install the package nbdkit-plugin-python (Debian) or "
            "nbdkit-python-plugin (Oracle Linux)",
            package="nbdkit-plugin-python",
            output=output,
        )
    what = "does not start" if found else f"is not ready after {_START_LIMIT:.0f} seconds"
    lines = [line for line in output.splitlines() if "error" in line] or output.splitlines() or ["it says nothing"]
    raise ServingError(f"nbdkit {what}: {lines[-1]}", output=output or None)


def _short_directory() -> str | None:
    """Return a directory for temporary files whose path leaves room for a socket's, if the usual one does not."""
    usual = tempfile.gettempdir()
    return usual if len(os.fsencode(usual)) < SOCKET_LIMIT - 40 else "/tmp"


def _packages() -> str:
    """Return where the collections are, which may be inside of the archive that Ansible has sent."""
    here = os.path.abspath(__file__)
    return here[: here.rindex(f"{os.sep}ansible_collections{os.sep}")] + f"{os.sep}ansible_collections"


def _library_directories(libraries: Sequence[str]) -> list[str]:
    """Return the directories that our libraries are in, for a Python of the same version as ours."""
    found = []
    for name in libraries:
        with contextlib.suppress(ImportError):
            file = importlib.import_module(name).__file__
            if file is not None:
                found.append(os.path.dirname(os.path.dirname(os.path.abspath(file))))
    return sorted(set(found))


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
