# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The process that a bed consists of, in namespaces of its own for network, processes and mounts.

Started by C(unshare) as the first process of its process namespace: when it ends, however it ends, the kernel ends the
guest with it, and the network interface and the guest's memory file go with their namespaces. The sockets on which it
listens were made outside, on 127.0.0.1; whatever it connects itself is inside, where only the guest is.

Usage: python -m bed.keeper SPECIFICATION (JSON, see C(Specification))
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

INTERFACE = "bed0"
HOST_ADDRESS, GUEST_ADDRESS, BITS = "10.99.0.1", "10.99.0.2", 24
CHUNK = 1 << 20


@dataclass(frozen=True)
class Specification:
    """What to run. C(forwards): listening descriptor and port of the guest; C(lifeline): end when it closes."""

    run_dir: str
    kernel: str
    initrd: str
    memory: str
    disks: list[str]
    repositories: list[str]
    forwards: list[tuple[int, int]]
    lock: int
    lifeline: int | None = None

    def dump(self) -> str:
        """The argument of the program."""
        return json.dumps(asdict(self))


def pump(source: socket.socket, target: socket.socket) -> None:
    """Move bytes one way until there are no more, through a pipe so that they stay in the kernel."""
    reader, writer = os.pipe()
    try:
        while True:
            count = os.splice(source.fileno(), writer, CHUNK)
            if not count:
                break
            while count:
                count -= os.splice(reader, target.fileno(), count)
    except OSError:
        pass  # one of the two has gone: the other is told below
    finally:
        os.close(reader)
        os.close(writer)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def forward(client: socket.socket, port: int) -> None:
    """Serve one connection."""
    with client:
        try:
            guest = socket.create_connection((GUEST_ADDRESS, port), timeout=5)
        except OSError:
            return  # the guest is not up yet
        with guest:
            guest.settimeout(None)
            for end in (client, guest):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=pump, args=(guest, client), daemon=True)
            back.start()
            pump(client, guest)
            back.join()


def serve(listener: socket.socket, port: int) -> None:
    """Accept connections for ever."""
    while True:
        client, _address = listener.accept()
        threading.Thread(target=forward, args=(client, port), daemon=True).start()


def network() -> None:
    """Make the only interface that the guest will see."""
    for words in (
        "link set lo up",
        f"tuntap add dev {INTERFACE} mode tap",
        f"address add {HOST_ADDRESS}/{BITS} dev {INTERFACE}",
        f"link set {INTERFACE} up",
    ):
        subprocess.run(["ip", *words.split()], check=True)


def start_guest(spec: Specification) -> subprocess.Popen[bytes]:
    """Start the guest; its memory is a file, on a file system in memory that nobody else sees."""
    memory = Path(spec.run_dir) / "memory"
    memory.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=700", "bed", str(memory)], check=True)
    command = [
        spec.kernel,
        f"mem={spec.memory}",
        "umid=bed",
        "uml_dir=./",  # the name of a socket in it must not be long
        f"initrd={spec.initrd}",
        *(f"ubd{number}={disk}" for number, disk in enumerate(spec.disks)),
        f"vec0:transport=tap,ifname={INTERFACE},depth=128,gro=1",
        *"con0=null,fd:2 con1=fd:0,fd:1 con=null ssl=null quiet panic=-1".split(),
        f"bed_address={GUEST_ADDRESS}/{BITS}",
        f"bed_repositories={','.join(spec.repositories)}",
    ]
    with (Path(spec.run_dir) / "console.log").open("wb") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=memory,
            env={"TMPDIR": str(memory), "PATH": os.environ["PATH"]},
            # The lock is held until the last process of the bed is gone.
            pass_fds=[spec.lock],
        )


def main() -> int:
    """Run as a program, until told to end, until the guest ends, or until the lifeline closes."""
    spec = Specification(**json.loads(sys.argv[1]))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: sys.exit(0))
    network()
    guest = start_guest(spec)
    for descriptor, port in spec.forwards:
        threading.Thread(target=serve, args=(socket.socket(fileno=descriptor), port), daemon=True).start()
    ended = os.pidfd_open(guest.pid)
    waiting = [ended] if spec.lifeline is None else [ended, spec.lifeline]
    select.select(waiting, [], [])
    return 0


if __name__ == "__main__":
    sys.exit(main())
