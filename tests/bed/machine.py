# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Start, find and stop beds.

Each bed has a directory of its own below C(build/bed/run): C(main) is the one of C(make bed), others belong to the
process that started them and end with it. Whether a bed lives is told by the lock in its directory, which its
processes hold: no process id is trusted that might have become somebody else's.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .build import build
from .keeper import Specification
from .layout import (
    HERE,
    LEGACY_PORT,
    MODERN_PORT,
    REPOSITORIES,
    REPOSITORIES_PATH,
    USER_NO_PYTHON,
    USER_PLAIN,
    USER_SUDO,
    BedError,
    BedUnavailable,
    base_directory,
    is_locked,
    locked,
)

MAIN = "main"
MEMORY = "1G"
DISK_SIZE = 16 << 30  # sparse
BOOT_SECONDS = 120  # a loaded machine; seconds are usual
END_SECONDS = 20
POLL = 0.05


# What this process started and has to collect when it ends; a bed outlives the process of `make bed`.
_started: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Options:
    """What a bed is made of."""

    disks: int = len(REPOSITORIES)
    disk_size: int = DISK_SIZE
    memory: str = MEMORY


def check_machine() -> None:
    """Install what is missing; :raises BedUnavailable: with the reason, if this machine cannot run a bed."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise BedUnavailable(f"the bed needs Linux on x86_64, this is {sys.platform} on {os.uname().machine}")
    if os.geteuid() != 0:
        raise BedUnavailable("the bed needs root, for namespaces and a network interface in them")
    if not Path("/dev/net/tun").exists():
        raise BedUnavailable("the bed needs /dev/net/tun, which this machine does not have")
    done = subprocess.run([HERE / "packages.sh"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BedUnavailable(done.stderr.strip() or "the Debian packages of the bed cannot be installed")
    probe = ["unshare", "--net", "--pid", "--mount", "--fork", "true"]
    done = subprocess.run(probe, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BedUnavailable(f"the bed needs namespaces, which this machine refuses: {done.stderr.strip()}")


def find(name: str = MAIN) -> dict[str, Any] | None:
    """Return what a running bed said of itself, None if there is none by this name."""
    run_dir = base_directory() / "run" / name
    if not is_locked(run_dir / "lock"):
        return None
    try:
        found: dict[str, Any] = json.loads((run_dir / "bed.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found


def start(name: str = MAIN, options: Options | None = None, lifeline: int | None = None) -> dict[str, Any]:
    """Start a bed, or return the running one of this name.

    :param lifeline: a descriptor: the bed ends when its other end is closed, at the latest with this process.
    :raises BedUnavailable: this machine cannot run one. :raises BedError: it did not come up.
    """
    check_machine()
    base = base_directory()
    guest = build(base)
    with locked(base / "start.lock"):
        sweep(base)
        running = find(name)
        if running is not None:
            return running
        run_dir = base / "run" / name
        end(run_dir)
        run_dir.mkdir(parents=True)
        try:
            return _boot(run_dir, guest, options or Options(), lifeline)
        except BaseException:
            end(run_dir)
            raise


def _boot(run_dir: Path, guest: Path, options: Options, lifeline: int | None) -> dict[str, Any]:
    disks = _disks(run_dir, options)
    with ExitStack() as stack:
        lock = stack.enter_context((run_dir / "lock").open("a", encoding="utf-8"))
        listeners = [stack.enter_context(_listener()) for _port in (MODERN_PORT, LEGACY_PORT)]
        ports = [listener.getsockname()[1] for listener in listeners]
        spec = Specification(
            run_dir=str(run_dir),
            kernel=str(guest / "vmlinux"),
            initrd=str(guest / "initrd"),
            memory=options.memory,
            disks=[str(disk) for disk in disks],
            repositories=list(REPOSITORIES[: options.disks]),
            forwards=[(listeners[0].fileno(), MODERN_PORT), (listeners[1].fileno(), LEGACY_PORT)],
            lock=lock.fileno(),
            lifeline=lifeline,
        )
        process = _keeper(spec, run_dir)
    info = _describe(run_dir, guest, ports, options)
    _wait(process, ports, run_dir)
    scratch = run_dir / "bed.json.new"
    scratch.write_text(json.dumps(info) + "\n", encoding="utf-8")
    scratch.rename(run_dir / "bed.json")
    return info


def _keeper(spec: Specification, run_dir: Path) -> subprocess.Popen[bytes]:
    fcntl.flock(spec.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    command = ["unshare", "--net", "--pid", "--mount", "--mount-proc", "--fork", "--kill-child=KILL", "--"]
    command += [sys.executable, "-m", f"{__package__}.keeper", spec.dump()]
    descriptors = [descriptor for descriptor, _port in spec.forwards] + [spec.lock]
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    with (run_dir / "keeper.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(HERE.parent), "PATH": path},
            pass_fds=[*descriptors, *([spec.lifeline] if spec.lifeline is not None else [])],
            start_new_session=True,
        )
    (run_dir / "pid").write_text(f"{process.pid}\n", encoding="utf-8")
    _started[process.pid] = process
    return process


def _listener() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    listener.set_inheritable(True)
    return listener


def _disks(run_dir: Path, options: Options) -> list[Path]:
    """Make the disks of the repositories; formatting here takes a tenth of the time that it takes in the guest."""
    running = []
    paths = [run_dir / f"repository{number + 1}.img" for number in range(options.disks)]
    for number, path in enumerate(paths):
        with path.open("wb") as file:
            file.truncate(options.disk_size)
        command = ["mkfs.ocfs2", "-q", "-F", "-x", "-b", "4K", "-C", "1M", "-N", "2", "-J", "size=32M", "-M", "local"]
        command += ["-T", "vmstore", "-L", f"bed{number + 1}", "--fs-feature-level=max-features", str(path)]
        environment = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
        pipe = subprocess.PIPE
        running.append(subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe))
    for process in running:
        _output, errors = process.communicate()
        if process.returncode != 0:
            raise BedError(f"mkfs.ocfs2 failed: {errors.decode(errors='replace').strip()}")
    return paths


def _describe(run_dir: Path, guest: Path, ports: Sequence[int], options: Options) -> dict[str, Any]:
    keys = run_dir / "keys"
    shutil.copytree(guest / "keys", keys)
    known_hosts = run_dir / "known_hosts"
    lines = []
    for port in ports:
        for kind in ("ed25519", "rsa"):
            words = (keys / f"host_{kind}.pub").read_text(encoding="utf-8").split()
            lines.append(f"[127.0.0.1]:{port} {words[0]} {words[1]}\n")
    known_hosts.write_text("".join(lines), encoding="utf-8")
    return {
        "host": "127.0.0.1",
        "port": ports[0],
        "legacy_port": ports[1],
        "user": "root",
        "users": {"sudo": USER_SUDO, "plain": USER_PLAIN, "no_python": USER_NO_PYTHON},
        "key_file": str(keys / "id_ed25519"),
        "rsa_key_file": str(keys / "id_rsa"),
        "known_hosts": str(known_hosts),
        "repositories_path": REPOSITORIES_PATH,
        "repositories": [
            {"id": identifier, "path": f"{REPOSITORIES_PATH}/{identifier}"}
            for identifier in REPOSITORIES[: options.disks]
        ],
        "run_dir": str(run_dir),
    }


def _wait(process: subprocess.Popen[bytes], ports: Sequence[int], run_dir: Path) -> None:
    """Wait until both ssh servers greet; they start after the repositories are mounted."""
    deadline = time.monotonic() + BOOT_SECONDS
    for port in ports:
        while not _greets(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise BedError(f"the bed did not come up:\n{_log(run_dir)}")
            time.sleep(POLL)
    problems = [line for line in _log(run_dir).splitlines() if line.startswith("bed: ") and "ready" not in line]
    if problems:
        raise BedError(f"the bed came up incomplete: {'; '.join(problems)}")


def _greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            return connection.recv(8).startswith(b"SSH-2.0")
    except OSError:
        return False


def _log(run_dir: Path) -> str:
    """Return the end of what the bed's processes and the guest's kernel said."""
    logs = [run_dir / name for name in ("keeper.log", "console.log")]
    texts = [log.read_text(encoding="utf-8", errors="replace") for log in logs if log.exists()]
    return "\n".join("\n".join(texts).splitlines()[-30:])


def stop(name: str = MAIN) -> bool:
    """Stop a bed and remove what it leaves; tell whether one ran. Its disks are thrown away."""
    base = base_directory()
    with locked(base / "start.lock"):
        sweep(base)
        run_dir = base / "run" / name
        running = is_locked(run_dir / "lock")
        end(run_dir)
    return running


def sweep(base: Path) -> None:
    """Remove what beds left that were killed."""
    for run_dir in (base / "run").glob("*"):
        if not is_locked(run_dir / "lock"):
            end(run_dir)


def end(run_dir: Path) -> None:
    """End a bed's processes, unmount what shows its repositories, remove its directory."""
    lock = run_dir / "lock"
    try:
        pid = int((run_dir / "pid").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        pid = 0
    if pid and is_locked(lock):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + END_SECONDS
    while is_locked(lock):
        if time.monotonic() > deadline:
            raise BedError(f"the bed in {run_dir} does not end")
        time.sleep(POLL)
    if pid in _started:
        _started.pop(pid).wait()
    for mount in mounts(run_dir):
        subprocess.run(["umount", "--lazy", mount], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    shutil.rmtree(run_dir, ignore_errors=True)


def mount_name(run_dir: Path | str) -> str:
    """What mounts of a bed's repositories are called in this machine's table of mounts."""
    return f"bed:{run_dir}"


def mounts(run_dir: Path) -> list[str]:
    """Where this machine has mounted repositories of the bed."""
    found = []
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        source, target = line.split(" ")[:2]
        if source == mount_name(run_dir):
            found.append(target.encode("ascii", "backslashreplace").decode("unicode_escape"))
    return found
