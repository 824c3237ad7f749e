# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stands in for ssh and for a server: a script in place of the client that runs the remote command right here."""

from __future__ import annotations

import shlex
import stat
import sys
from pathlib import Path
from typing import Any

from ansible_collections.ovm.backup.plugins.module_utils.images.connection import BOOTSTRAP
from ansible_collections.ovm.backup.plugins.module_utils.images.remote import Server
from ansible_collections.ovm.backup.plugins.module_utils.images.ssh import SshSettings

# A stand-in for the ssh client: no connection, no keys, no server. What the real one does with them, test_sshd.py and
# the tests with the bed show.
_HEAD = '#!/bin/sh\n# Stands in for the ssh client: runs the remote command on this machine.\necho "$$" >> {log}\n'
_COMMAND = "for command; do :; done\nPATH={tools}:$PATH\n"
_RUN = 'exec sh -c "$command"\n'


class StandIn:
    """Makes clients; each writes its process id into a log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "pids"
        self.tools = folder / "tools"
        self.tools.mkdir()
        self.tool("python", f'exec {shlex.quote(sys.executable)} "$@"\n')

    def tool(self, name: str, body: str) -> None:
        """Put a program in front of those of the server."""
        self._script(self.tools / name, f"#!/bin/sh\n{body}")

    def changed(self, code: str) -> None:
        """Let the server's Python run this before it becomes our program."""
        program = self.folder / "changed.py"
        program.write_text(f"{code}\nimport sys\nexec(sys.argv[3], {{'__name__': '__main__'}})\n")
        self.tool("python", f'exec {shlex.quote(sys.executable)} {shlex.quote(str(program))} "$@"\n')

    def no_python(self) -> None:
        """Let the server have no Python."""
        for name in ("python", "python2", "python2.6", "python2.7", "python3"):
            self.tool(name, "exit 127\n")

    def client(self, body: str = _RUN) -> str:
        """Return the path of a client; C(body) is what it does with C($command)."""
        head = (_HEAD + _COMMAND).format(log=shlex.quote(str(self.log)), tools=shlex.quote(str(self.tools)))
        path = self.folder / "ssh"
        self._script(path, head + body)
        return str(path)

    def saying(self, text: str, status: int = 255) -> str:
        """Return a client that fails with what real ones say."""
        return self.client(f"printf '%s\\n' {shlex.quote(text)} >&2\nexit {status}\n")

    def dropping(self, size: int, text: str = "Connection to 192.0.2.1 closed by remote host.") -> str:
        """Return a client whose connection is lost after so many bytes of output."""
        return self._cutting(size, f"sys.stderr.write({text!r}); child.kill(); sys.exit(255)")

    def hanging(self, size: int) -> str:
        """Return a client that hangs after so many bytes of output."""
        return self._cutting(size, "signal.pause()")

    def _cutting(self, size: int, then: str) -> str:
        program = self.folder / "cutting.py"
        program.write_text(
            "import os, signal, subprocess, sys\n"
            "child = subprocess.Popen(['sh', '-c', sys.argv[1]], stdout=subprocess.PIPE)\n"
            f"left = {size}\n"
            "while left:\n"
            "    data = os.read(child.stdout.fileno(), min(left, 65536))\n"
            "    left -= len(data) or left\n"
            "    os.write(1, data)\n"
            f"{then}\n"
        )
        return self.client(f'exec {shlex.quote(sys.executable)} {shlex.quote(str(program))} "$command"\n')

    def pids(self) -> list[int]:
        """Return the clients that were started."""
        return [int(line) for line in self.log.read_text().split()] if self.log.exists() else []

    @staticmethod
    def _script(path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)


def server(client: str, **settings: Any) -> Server:
    """Return a server behind a stand-in."""
    return Server(SshSettings(**settings), "192.0.2.1", "ovs1", client=client)


def loader() -> list[str]:
    """Return the command that waits for the program, as the server's shell is told."""
    return ["/bin/sh", "-c", BOOTSTRAP]
