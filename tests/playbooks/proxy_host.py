# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stand-ins for proxies that are hosts of their own: each is a sshd on its own address with its own Python environment.

They share the machine, its kernel and its clock. What differs between hosts, their Python environments say: the host
has another name, and its clock may be off.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import venv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from playbooks.bench import wait_until

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
SITE = """\
import platform, time
_time, _node = time.time, {name!r}
time.time = lambda: _time() + {ahead!r}
platform.node = lambda: _node
"""
CONFIG = """\
ListenAddress {address}
Port {port}
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
MaxStartups 100
SetEnv {environment}
"""


@dataclass
class ProxyHost:
    """One proxy. C(ahead) are the seconds by which its clock is ahead of the machine's, C(sockets)
    is where Ansible keeps its connections, as it does by default."""

    name: str
    address: str
    directory: Path
    sockets: Path  # short, because the path of a socket may not be longer than 108 bytes
    ahead: float = 0.0
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True)
        for key in ("host_key", "user_key"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.directory / key)]
            subprocess.run(command, check=True)
        python = self.directory / "python"
        venv.create(python, symlinks=True, with_pip=False)
        library = next(python.glob("lib/python3*/site-packages"))
        # Not by a sitecustomize: Debian's own one is found before that of an environment.
        site = SITE.format(name=self.name, ahead=self.ahead)
        (library / "proxy_host_site.py").write_text(site, encoding="utf-8")
        paths = f"{sysconfig.get_path('purelib')}\nimport proxy_host_site\n"
        (library / "shared.pth").write_text(paths, encoding="utf-8")
        with socket.create_server((self.address, 0)) as free:
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the ssh server."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # OpenSSH started by root insists on it
        environment = " ".join(
            f'"{name}={value}"' for name, value in {"PROXY_HOST": self.name, **self.environment}.items()
        )
        config = self.directory / "sshd_config"
        config.write_text(
            CONFIG.format(address=self.address, port=self.port, directory=self.directory, environment=environment),
            encoding="utf-8",
        )
        with (self.directory / "sshd.log").open("wb") as log:
            command = [str(SSHD), "-D", "-e", "-f", str(config)]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self._answers, f"the ssh server of {self.name} answers")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self.address, self.port), timeout=1):
            return True
        return False

    @property
    def facts(self) -> dict[str, Any]:
        """Return what the inventory says of it."""
        known = self.directory / "known_hosts"
        public = (self.directory / "host_key.pub").read_text(encoding="utf-8")
        known.write_text(f"[{self.address}]:{self.port} {public}", encoding="utf-8")
        options = [
            f"UserKnownHostsFile={known}",
            "GlobalKnownHostsFile=/dev/null",
            "ControlMaster=auto",
            "ControlPersist=60",
            f"ControlPath={self.sockets}/%C",
            "IdentitiesOnly=yes",
        ]
        return {
            "ansible_connection": "ssh",
            "ansible_host": self.address,
            "ansible_port": self.port,
            "ansible_user": getpass.getuser(),
            "ansible_ssh_private_key_file": str(self.directory / "user_key"),
            "ansible_ssh_args": " ".join(["-F none", *(f"-o {option}" for option in options)]),
            "ansible_python_interpreter": str(self.directory / "python/bin/python"),
        }

    def sessions(self) -> list[int]:
        """Return the processes that live below the ssh server, itself included."""
        parents = {}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError, IndexError):
                pid = int(entry.name)
                parents[pid] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        found = [self.process.pid] if self.process is not None else []
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def transfers(self) -> list[int]:
        """Return the modules on this host that have an image of a VM open."""
        found = []
        for pid in self.sessions():
            with contextlib.suppress(OSError):
                if any("VirtualDisks" in os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()):
                    found.append(pid)
        return found

    def cut_off(self, *, spare: list[int]) -> None:
        """Kill the ssh server and all that it has started, but for some processes, which nobody listens to any more."""
        for pid in self.sessions():
            if pid not in spare:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.end()

    def end(self) -> None:
        """End it, and the connections to it."""
        command = ["ssh", "-F", "none", "-o", f"ControlPath={self.sockets}/%C", "-O", "exit", "-p", str(self.port)]
        subprocess.run([*command, f"{getpass.getuser()}@{self.address}"], check=False, capture_output=True)
        if self.process is not None:
            for pid in reversed(self.sessions()):
                if pid == self.process.pid:
                    self.process.kill()
            self.process.wait()
            self.process = None


@contextlib.contextmanager
def proxy_hosts(directory: Path, *hosts: dict[str, Any]) -> Iterator[list[ProxyHost]]:
    """Run proxies, each with an address of its own on the loopback interface."""
    if SSHD is None or shutil.which("ssh-keygen") is None:
        pytest.skip("there is no OpenSSH server on this machine")
    made: list[ProxyHost] = []
    sockets = Path(tempfile.mkdtemp(prefix="ovm-ssh-"))
    try:
        for number, facts in enumerate(hosts):
            name = facts.get("name", f"proxy{number + 1}")
            rest = {key: value for key, value in facts.items() if key != "name"}
            made.append(ProxyHost(name, f"127.0.0.{number + 11}", directory / name, sockets, **rest))
            made[-1].start()
        yield made
    finally:
        for host in made:
            host.end()
        shutil.rmtree(sockets)


def continue_and_wait(pid: int) -> None:
    """Let a process that was stopped go on, and wait until it has ended."""
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), f"process {pid} ends")
