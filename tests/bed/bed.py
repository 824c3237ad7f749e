# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Use a bed from Python: C(with running() as bed: bed.run("df"))."""

from __future__ import annotations

import base64
import itertools
import json
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import machine
from .layout import BedError, BedUnavailable


class GuestError(BedError):
    """The guest refused; C(errno) is the name of the kernel's reason, if it was one."""

    def __init__(self, text: str, errno: str | None = None) -> None:
        super().__init__(text)
        self.errno = errno


@dataclass(frozen=True)
class Result:
    """What a command in the guest ended with."""

    code: int
    output: bytes
    errors: bytes

    @property
    def text(self) -> str:
        """The output without the last line's end."""
        return self.output.decode().rstrip("\n")


class Agent:
    """One ssh session with the helper program in the guest; requests are answered one after the other."""

    def __init__(self, command: Sequence[str]) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
        self._lock = threading.Lock()
        self.ended = False

    def __call__(self, op: str, **arguments: Any) -> Any:
        """Do it. :raises GuestError: with the guest's reason."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._lock:
            try:
                self._process.stdin.write(json.dumps({"op": op, **arguments}).encode() + b"\n")
                self._process.stdin.flush()
                line = self._process.stdout.readline()
            except (BrokenPipeError, ValueError):  # ended just now, or earlier
                line = b""
        if not line:
            raise BedError(f"the session with the bed has ended: {self._complaint()}")
        answer = json.loads(line)
        if "error" in answer:
            raise GuestError(answer["error"], answer["errno"])
        return answer["ok"]

    def _complaint(self) -> str:
        if self.ended:
            return "earlier"
        self._process.kill()
        _output, errors = self._process.communicate()
        self.ended = True
        return errors.decode(errors="replace").strip() or "without a reason"

    def close(self) -> None:
        """End the session, and with it what was started in it."""
        if not self.ended:
            try:
                self._process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.communicate()
            self.ended = True


class Bed:
    """A running bed. All paths are paths of the guest, unless it says otherwise."""

    def __init__(self, info: dict[str, Any]) -> None:
        self.info = info
        self._agent: Agent | None = None

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """Port of the modern ssh server on 127.0.0.1."""
        return int(self.info["port"])

    @property
    def legacy_port(self) -> int:
        """Port of the ssh server that speaks only what OpenSSH 5.3 does."""
        return int(self.info["legacy_port"])

    def repository(self, number: int = 0) -> str:
        """Path of a storage repository."""
        return str(self.info["repositories"][number]["path"])

    def repository_id(self, number: int = 0) -> str:
        """Id of a storage repository."""
        return str(self.info["repositories"][number]["id"])

    def image(self, name: str, number: int = 0) -> str:
        """Path of a disk image of a storage repository."""
        return f"{self.repository(number)}/VirtualDisks/{name}"

    def ssh_settings(self, user: str = "root", *, legacy: bool = False) -> dict[str, Any]:
        """Return values in the form of the variable C(ovm_backup_ssh)."""
        return {
            "user": user,
            "port": self.legacy_port if legacy else self.port,
            "key_file": self.info["rsa_key_file" if legacy else "key_file"],
            "known_hosts": self.info["known_hosts"],
            "legacy": legacy,
        }

    # -- reaching it --------------------------------------------------------------------------------------------

    def ssh_options(self, *, legacy: bool = False) -> list[str]:
        """Options of ssh, sftp and sshfs, without port and user."""
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "20",
            "IdentitiesOnly": "yes",
            "IdentityFile": self.info["rsa_key_file" if legacy else "key_file"],
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": self.info["known_hosts"],
        }
        if legacy:
            options |= {"HostKeyAlgorithms": "ssh-rsa", "PubkeyAcceptedAlgorithms": "ssh-rsa"}
        words = ["-F", "none"]
        for name, value in options.items():
            words += ["-o", f"{name}={value}"]
        return words

    def ssh_command(self, *command: str, user: str = "root", legacy: bool = False) -> list[str]:
        """Return the command that runs one in the guest, or logs in; there, a shell sees the words joined by blanks."""
        port = self.legacy_port if legacy else self.port
        return ["ssh", *self.ssh_options(legacy=legacy), "-p", str(port), f"{user}@127.0.0.1", *command]

    @property
    def agent(self) -> Agent:
        """The session that the methods below share."""
        if self._agent is None or self._agent.ended:
            self._agent = self.new_agent()
        return self._agent

    def new_agent(self) -> Agent:
        """Return a session of its own, for work beside other work. It starts the helper program, which is slow."""
        return Agent(self.ssh_command("bed-agent"))

    def open(self) -> None:
        """Begin the session without waiting for it."""
        _begun = self.agent

    def close(self) -> None:
        """End the session; the bed stays."""
        if self._agent is not None:
            self._agent.close()
            self._agent = None

    # -- doing things in it -------------------------------------------------------------------------------------

    def run(self, command: str | Sequence[str], *, data: bytes | None = None, check: bool = True) -> Result:
        """Run a command of the shell, or a program if it is a list. :raises GuestError: it failed, unless unchecked."""
        encoded = None if data is None else base64.b64encode(data).decode()
        words = command if isinstance(command, str) else list(command)
        answer = self.agent("run", command=words, input=encoded)
        result = Result(answer["code"], *(base64.b64decode(answer[name]) for name in ("output", "errors")))
        if check and result.code != 0:
            raise GuestError(f"{command}: exit code {result.code}: {result.errors.decode(errors='replace').strip()}")
        return result

    def start(self, command: Sequence[str], log: str = "/dev/null") -> int:
        """Start a program that goes on beside; return its process id."""
        return int(self.agent("start", command=list(command), log=log))

    def stop(self, pid: int) -> int:
        """End a program that was started; return its exit code."""
        return int(self.agent("stop", pid=pid))

    def is_running(self, pid: int) -> bool:
        """Tell whether a program that was started still runs."""
        return bool(self.agent("running", pid=pid))

    def create(self, path: str, size: int) -> None:
        """Make a file that is one hole."""
        self.agent("create", path=path, size=size)

    def write(self, path: str, offset: int, data: bytes, how: str = "buffered") -> None:
        """Write bytes; C(how): buffered, direct, sync, fsync or mmap."""
        self.agent("write", path=path, offset=offset, how=how, data=base64.b64encode(data).decode())

    def write_noise(self, path: str, offset: int, length: int, *, seed: str = "bed", how: str = "buffered") -> None:
        """Write bytes that do not compress, made in the guest, the same for the same seed."""
        self.agent("write", path=path, offset=offset, how=how, length=length, seed=seed)

    def scribble(
        self,
        path: str,
        count: int,
        *,
        how: str = "buffered",
        block: int = 4096,
        begin: int = 0,
        end: int | None = None,
        seed: str = "bed",
    ) -> list[int]:
        """Write noise into that many random blocks between two offsets; return the blocks' offsets."""
        words = {"count": count, "how": how, "block": block, "begin": begin, "end": end, "seed": seed}
        return list(self.agent("scribble", path=path, **words))

    def read(self, path: str, offset: int, length: int) -> bytes:
        """Read bytes."""
        return base64.b64decode(self.agent("read", path=path, offset=offset, length=length))

    def truncate(self, path: str, size: int) -> None:
        """Grow or shrink a file."""
        self.agent("truncate", path=path, size=size)

    def allocate(self, path: str, offset: int, length: int) -> None:
        """Allocate space without writing to it (unwritten extents)."""
        self.agent("allocate", path=path, offset=offset, length=length)

    def punch(self, path: str, offset: int, length: int) -> None:
        """Punch a hole."""
        self.agent("punch", path=path, offset=offset, length=length)

    def reflink(self, source: str, target: str) -> None:
        """Clone a file, as a hot clone does. :raises GuestError: errno EEXIST, EXDEV, ENOTTY ..."""
        self.agent("reflink", source=source, target=target)

    def copy(self, source: str, target: str) -> None:
        """Copy a file byte by byte over what is there."""
        self.agent("copy", source=source, target=target)

    def replace_by_copy(self, path: str) -> None:
        """Put a copy of the same bytes into the place of a file: all its clusters are new."""
        self.copy(path, f"{path}.copy")
        self.rename(f"{path}.copy", path)

    def revert(self, path: str, clone: str) -> None:
        """Put a clone of an older clone into the place of a file."""
        self.reflink(clone, f"{path}.reverted")
        self.rename(f"{path}.reverted", path)

    def rename(self, source: str, target: str) -> None:
        """Rename a file over what is there."""
        self.agent("rename", source=source, target=target)

    def remove(self, path: str) -> None:
        """Remove a file, or a directory with all in it."""
        self.agent("remove", path=path)

    def mkdir(self, path: str) -> None:
        """Make a directory and those above it."""
        self.agent("mkdir", path=path)

    def names(self, path: str) -> list[str]:
        """Names in a directory."""
        return list(self.agent("list", path=path))

    def stat(self, path: str) -> dict[str, Any]:
        """C(inode), C(size), C(allocated), C(mode), C(mtime), C(ctime)."""
        return dict(self.agent("stat", path=path))

    def digest(self, path: str) -> str:
        """SHA-256 of a file."""
        return str(self.agent("digest", path=path))

    def extents(self, path: str, *, sync: bool = False) -> list[tuple[int, int, int, int]]:
        """Logical and physical offset, length and flags of each extent, read by a program of the tests' own."""
        return [tuple(extent) for extent in self.agent("extents", path=path, sync=sync)]

    def differing(self, old: str, new: str, block: int = 4096) -> list[int]:
        """Offsets of the blocks of a file whose bytes are not those of another; found by reading both."""
        return list(self.agent("differing", old=old, new=new, block=block))

    def acknowledged(self, path: str) -> list[int]:
        """What a writer (C(bed-writer)) has acknowledged."""
        return list(self.agent("ack", path=path))

    def wait_for(self, path: str, value: int, pid: int, *, index: int = 0) -> list[int]:
        """Wait until a writer that was started has acknowledged so much; return what it has acknowledged then."""
        return list(self.agent("wait", path=path, index=index, value=value, pid=pid))

    def reflink_all(self, pairs: Sequence[tuple[str, str]], ack: str | None = None) -> list[dict[str, Any]]:
        """Clone files one after the other; of each C(begin) and C(end) (seconds), C(before) and C(after) (C(ack)'s)."""
        return list(self.agent("reflink_all", pairs=[list(pair) for pair in pairs], ack=ack))

    def clear(self) -> None:
        """Remove everything from the storage repositories."""
        for item in self.info["repositories"]:
            self.run(f"find {item['path']} -mindepth 1 -maxdepth 1 ! -name lost+found -exec rm -rf {{}} +")
            for folder in ("Assemblies", "ISOs", "Templates", "VirtualDisks", "VirtualMachines"):
                self.mkdir(f"{item['path']}/{folder}")

    # -- from the outside ---------------------------------------------------------------------------------------

    def fetch(self, path: str, target: Path) -> None:
        """Copy a file of the guest to this machine, over ssh, with C(cat)."""
        with target.open("wb") as output:
            done = subprocess.run(self.ssh_command(f"cat '{path}'"), stdout=output, stderr=subprocess.PIPE, check=False)
        if done.returncode != 0:
            raise GuestError(f"{path}: {done.stderr.decode(errors='replace').strip()}")


@contextmanager
def running(options: machine.Options | None = None, *, own: bool = False) -> Iterator[Bed]:
    """Yield the bed of C(make bed) if there is one, cleared, else one that ends with the block (or with this process).

    :param own: never use the one of C(make bed).
    :raises BedUnavailable: this machine cannot run one; the text says why.
    """
    adopted = None if own else machine.find()
    if adopted is not None:
        bed = Bed(adopted)
        bed.clear()
        try:
            yield bed
        finally:
            bed.close()
        return
    name = f"{os.getpid()}-{next(_numbers)}"
    reader, writer = os.pipe()
    try:
        bed = Bed(machine.start(name, options, lifeline=reader))
        try:
            yield bed
        finally:
            bed.close()
    finally:
        os.close(reader)
        os.close(writer)
        machine.stop(name)


_numbers = itertools.count()

__all__ = ["Agent", "Bed", "BedError", "BedUnavailable", "GuestError", "Result", "running"]
