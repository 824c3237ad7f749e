# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Storage repositories that lie on a test bed (tests/bed): real OCFS2, where a clone is a real reflink.

The bed's repositories are mounted by sshfs where the simulator keeps its own, so that everything else reads and writes
files as ever. Only what a remote file system cannot do goes to the bed itself: clones, and the space that a file takes.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bed.bed import Bed, BedError, GuestError
from bed.machine import mount_name

MOUNT_SECONDS = 30
PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>
# Nothing is cached: what tests do in the guest is seen here at once.
OPTIONS = "dir_cache=no,attr_timeout=0,entry_timeout=0,negative_timeout=0,direct_io,workaround=rename"


def _end_with_parent() -> None:
    """Have the kernel tell sshfs to end, which unmounts, should the simulator be killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class BedStorage:
    """The repositories of a bed under the directory that holds the simulator's."""

    def __init__(self, info: dict[str, Any], root: Path) -> None:
        self._bed = Bed(info)
        self._root = root
        self._stack = ExitStack()
        self._mounted: dict[Path, str] = {}

    def __enter__(self) -> BedStorage:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stack.close()

    def place(self, estate: dict[str, Any]) -> None:
        """Let the first OCFS2 repositories of an estate file lie on the bed, and their servers be the bed.

        ValueError if there are none.
        """
        chosen = [item for item in estate["repositories"] if item["storage"] != "nfs"]
        ids = [item["id"] for item in self._bed.info["repositories"]]
        if not chosen:
            raise ValueError("the estate has no OCFS2 repository that could lie on the bed")
        self._stack.callback(self._bed.close)
        self._bed.open()  # beside the sessions of sshfs, as each takes a second
        for item, identifier in zip(chosen, ids, strict=False):
            item["id"] = identifier
            self._mount(identifier)
            names = item.get("servers", [server["name"] for server in estate["servers"]])
            for server in estate["servers"]:
                if server["name"] in names:
                    server["ip"] = self._bed.info["host"]

    def _mount(self, identifier: str) -> None:
        remote, local = f"{self._bed.info['repositories_path']}/{identifier}", self._root / identifier
        lock = self._stack.enter_context((Path(self._bed.info["run_dir"]) / f"{identifier}.lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"the storage repository {identifier} of the bed is in use by another simulator") from None
        local.mkdir(parents=True)
        self._stack.callback(local.rmdir)
        command = ["sshfs", "-f", "-o", f"{OPTIONS},fsname={mount_name(self._bed.info['run_dir'])}"]
        command += [*self._bed.ssh_options(), "-p", str(self._bed.port), f"root@127.0.0.1:{remote}", str(local)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - there are no other threads here
        )
        self._stack.callback(_unmount, process, local)
        self._clear(remote)  # a simulator that was killed left something; sshfs logs in meanwhile
        deadline = time.monotonic() + MOUNT_SECONDS
        while not os.path.ismount(local):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the bed's repository {identifier} cannot be mounted by sshfs")
            time.sleep(0.02)
        self._stack.callback(self._clear, remote)
        self._mounted[local] = remote

    def _clear(self, remote: str) -> None:
        """Remove what a simulator made in a repository; folders of tests stay."""
        try:
            self._bed.run(
                f"cd {remote} && rm -rf .ovsrepo .ovsmeta VirtualMachines/* Templates/* Assemblies/* ISOs/* && "
                "find VirtualDisks -maxdepth 1 -type f -delete"
            )
        except GuestError as problem:
            raise RuntimeError(str(problem)) from None
        except BedError:
            pass  # the bed has gone, and all that was on it

    def _remote(self, path: Path) -> str | None:
        """What the bed calls a path; None if it does not lie there."""
        for local, remote in self._mounted.items():
            if path.is_relative_to(local):
                return f"{remote}/{path.relative_to(local)}"
        return None

    def clone(self, source: Path, target: Path) -> bool:
        """Clone an image by a reflink; False if that is not for the bed to do. OSError if it fails."""
        old, new = self._remote(source), self._remote(target)
        if old is None or new is None or old.split("/")[3] != new.split("/")[3]:
            return False
        try:
            self._bed.reflink(old, new)
        except GuestError as problem:
            number = getattr(errno, problem.errno or "EIO", errno.EIO)
            raise OSError(number, os.strerror(number), str(target)) from None
        return True

    def allocated(self, path: Path) -> int | None:
        """Bytes that a file of the bed occupies; None if it does not lie there. OSError if it is missing."""
        remote = self._remote(path)
        if remote is None:
            return None
        try:
            return int(self._bed.stat(remote)["allocated"])
        except GuestError as problem:
            raise FileNotFoundError(str(problem)) from None


def _unmount(process: subprocess.Popen[bytes], local: Path) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if os.path.ismount(local) or local in map(Path, _mount_points()):
        subprocess.run(["umount", "--lazy", local], stdin=subprocess.DEVNULL, capture_output=True, check=False)


def _mount_points() -> list[str]:
    """Where something is mounted, dead mounts included, which nothing can be asked about."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return [line.split(" ")[1].encode("ascii", "backslashreplace").decode("unicode_escape") for line in lines]
