# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real S3 server: the object gateway of Ceph on a cluster of one monitor and one OSD that keeps all in memory.

All is as Debian ships it. The cluster begins with nothing and listens on 127.0.0.1 only; it is there within two
seconds, and gone with the process that started it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import trustme

HOST = "127.0.0.1"
PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph-authtool", "monmaptool", "ceph", "setpriv")
ACCESS_KEY, SECRET_KEY = "OVMBACKUPTEST", "secret-of-the-test/+Key"
_FSID = "6d0c4a1e-5b1f-4a0e-9d53-0d6f0a6f5b10"
_OSD_ID = "0f2ac1a4-7a5b-4a4c-8f5d-6f6a0b0f4b11"
_LIMIT = 60.0

_CONFIGURATION = """
[global]
fsid = {fsid}
keyring = {directory}/keyring
run dir = {directory}
log file = {directory}/$name.log
admin socket =
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
mon host = [v2:127.0.0.1:{monitor}]
public network = 127.0.0.0/8
ms bind ipv6 = false
ms bind port min = {first}
ms bind port max = {last}
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data avail crit = 0
mon data avail warn = 0
mon cluster log to file = false
# The gateway makes its pools one by one: without these each waits for a second.
paxos propose interval = 0.02
paxos min wait = 0.01
[mon]
mon data = {directory}/mon
[osd]
osd data = {directory}/osd
osd objectstore = memstore
osd crush update on start = false
memstore device bytes = 2147483648
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{gateway} {tls}
rgw thread pool size = 32
rgw enable usage log = false
rgw enable gc threads = false
rgw enable lc threads = false
rgw enable quota threads = false
rgw run sync thread = false
"""


def missing_programs() -> list[str]:
    """Return which programs are not installed; tests/s3/packages.sh installs them."""
    return [name for name in PROGRAMS if shutil.which(name, path=_PATH) is None]


_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


@dataclass
class Server:
    """A running server. C(directory) holds its logs."""

    directory: Path
    port: int
    secure_port: int
    _monitor: int
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def secure_endpoint(self) -> str:
        """The same server by TLS; its CA is in C(ca.pem)."""
        return f"https://{HOST}:{self.secure_port}"

    def start_gateway(self) -> None:
        """Start the gateway (again), and wait until it answers."""
        self._begin("radosgw", "-f", "-n", "client.rgw")
        deadline = time.monotonic() + _LIMIT
        while True:
            with contextlib.suppress(OSError):
                connection = http.client.HTTPConnection(HOST, self.port, timeout=5)
                connection.request("GET", "/")
                connection.getresponse().read()
                connection.close()
                return
            process = self._processes["radosgw"]
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"radosgw does not answer: {self._tail('client.rgw.log')}")
            time.sleep(0.02)

    def kill_gateway(self) -> None:
        """Kill the gateway as a power cut would; what it has stored stays."""
        process = self._processes.pop("radosgw")
        process.send_signal(signal.SIGKILL)
        process.wait()

    def add_user(self, name: str, access_key: str, secret_key: str) -> None:
        """Make a user with these credentials."""
        self._run(
            "radosgw-admin", "-n", "client.rgw", "user", "create", f"--uid={name}", f"--display-name={name}",
            f"--access-key={access_key}", f"--secret={secret_key}",
        )  # fmt: skip

    def set_quota(self, name: str, size: int) -> None:
        """Let the buckets of a user hold so many bytes."""
        base = ("radosgw-admin", "-n", "client.rgw", "quota")
        self._run(*base, "set", f"--uid={name}", "--quota-scope=user", f"--max-size={size}")
        self._run(*base, "enable", f"--uid={name}", "--quota-scope=user")

    def stop(self) -> None:
        """End everything."""
        for process in reversed(list(self._processes.values())):
            process.kill()
            process.wait()
        self._processes.clear()

    def _start_cluster(self) -> None:
        conf = self.directory
        keyring, monmap = str(conf / "keyring"), str(conf / "monmap")
        keys = (
            ("mon.", ("mon", "allow *")),
            ("client.admin", ("mon", "allow *"), ("osd", "allow *")),
            ("osd.0", ("mon", "allow profile osd"), ("osd", "allow *")),
            ("client.rgw", ("mon", "allow rw"), ("osd", "allow rwx")),
        )
        for number, (name, *caps) in enumerate(keys):
            flags = [word for cap in caps for word in ("--cap", *cap)]
            create = ["--create-keyring"] if number == 0 else []
            self._run("ceph-authtool", keyring, *create, "--gen-key", "-n", name, *flags, configured=False)
        address = f"[v2:{HOST}:{self._monitor}]"
        self._run("monmaptool", "--create", "--fsid", _FSID, "--addv", "a", address, monmap, configured=False)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
        self._begin("ceph-mon", "-f", "-i", "a")
        self._run("ceph", "osd", "create", _OSD_ID)
        self._run("ceph", "osd", "crush", "add", "osd.0", "1.0", "root=default")
        (conf / "osd").mkdir()
        self._run("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", _OSD_ID)
        self._begin("ceph-osd", "-f", "-i", "0")
        self.start_gateway()
        self.add_user("tester", ACCESS_KEY, SECRET_KEY)

    def _command(self, program: str, arguments: tuple[str, ...], configured: bool) -> list[str]:
        found = shutil.which(program, path=_PATH)
        assert found is not None, program
        return [found, *(["-c", str(self.directory / "ceph.conf")] if configured else []), *arguments]

    def _run(self, program: str, *arguments: str, configured: bool = True) -> str:
        done = subprocess.run(
            self._command(program, arguments, configured),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LIMIT, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{program} {' '.join(arguments)}: {done.stderr[-2000:]}")
        return done.stdout

    def _begin(self, program: str, *arguments: str) -> None:
        with open(self.directory / f"{program}.out", "ab") as output:
            # Dies with us, whatever becomes of us.
            self._processes[program] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self._command(program, arguments, True)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip

    def _tail(self, name: str) -> str:
        with contextlib.suppress(OSError):
            return (self.directory / name).read_text(errors="replace")[-2000:]
        return ""


@contextlib.contextmanager
def serve(directory: Path) -> Iterator[Server]:
    """Run a server with its files in an empty directory."""
    (directory / "mon").mkdir(parents=True)
    gateway, secure, monitor = _free_ports(3)
    first = random.randrange(40_000, 60_000, 64)
    pem = directory / "tls.pem"
    tls = f"ssl_endpoint={HOST}:{secure} ssl_certificate={pem} ssl_private_key={pem}"
    text = _CONFIGURATION.format(
        fsid=_FSID, directory=directory, monitor=monitor, gateway=gateway, tls=tls, first=first, last=first + 63
    )
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(str(pem))
    (directory / "ceph.conf").write_text(text)
    server = Server(directory, gateway, secure, monitor)
    try:
        server._start_cluster()
        yield server
    finally:
        server.stop()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _number in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]


def main() -> None:
    """Serve until interrupted; print where."""
    import tempfile

    with tempfile.TemporaryDirectory() as place, serve(Path(place) / "ceph") as server:
        print(json.dumps({"endpoint": server.endpoint, "access_key_id": ACCESS_KEY}), flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
