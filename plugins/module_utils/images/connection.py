# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The connection to a server: one that is shared, the programs behind it, and how all of that is ended."""

from __future__ import annotations

import contextlib
import inspect
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from ..errors import ServerAuthenticationError, ServerToolError
from . import dom0, dom0_files, dom0_program, dom0_write
from .channel import Channel, Frame, Output, Peer, Process
from .ssh import SshSettings, parse_address, remote_command, ssh_arguments

_Work = TypeVar("_Work")

_SOCKET_PATH = 80  # sun_path has 108 bytes, and ssh puts 17 behind the path while it makes the socket
_DEPTH = 2  # requests that a program has: it never waits for the next one
_GROWTH = 8  # works for which a further stream is not worth its start
_NO_PYTHON = "ovm.backup: there is no Python"

# Starts the first Python that runs, without what sites and users add to it. That reads a length of 8 digits and as many
# bytes of program, and no byte more. For the user's shell all of this is one word in single quotes, the same for all
# servers and images.
_LOADER = (
    "import os,sys\\ndef r(n):\\n b=os.read(0,0)\\n while len(b)<n:\\n  d=os.read(0,n-len(b))\\n  if not d:sys.exit(9)"
    "\\n  b+=d\\n return b\\nexec(r(int(r(8))))"
)
# The program, in the order in which its parts need each other.
PARTS = (dom0, dom0_files, dom0_write, dom0_program)
BOOTSTRAP = (
    "for p in python python2 python2.6 python2.7 python3; do "
    'if command -v $p >/dev/null 2>&1 && $p -ES -c "import json,zlib" </dev/null >/dev/null 2>&1; then '
    f'exec $p -ES -c "exec(\\"{_LOADER}\\")"; fi; done; echo "{_NO_PYTHON}" >&2; exit 127'
)


def program() -> bytes:
    """Return what the loader reads: the source of the program, behind its length."""
    # Also in a module that Ansible has packed into an archive.
    source = "\n".join(inspect.getsource(part) for part in PARTS).encode("utf-8")
    return b"%08d" % len(source) + source


class NoPython(Exception):
    """There is no Python on the server."""


class Connection:
    """A connection to a server; a context manager. What it starts ends with it, whatever happens.

    The control channel answers what is short. Others carry data, each with a program of its own.
    """

    def __init__(self, settings: SshSettings, address: str, server: str, *, client: str = "ssh") -> None:
        self.peer = Peer(settings, server, address)
        self._address = parse_address(address)
        self._client = client
        self._only_sha1 = False
        self._folder: str | None = None
        self._control: Channel | None = None
        self._idle: list[Channel] = []
        self._all: list[Process] = []

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @property
    def control(self) -> Channel:
        """Return the channel for short requests; connects first. Raises C(NoPython) and C(ServerError)s."""
        if self._control is None:
            try:
                self._control = self._first()
            except ServerAuthenticationError:
                if not self.peer.settings.legacy or self._only_sha1:
                    raise
                # Some servers announce signatures with SHA-2 and refuse them all the same.
                self._only_sha1 = True
                self._control = self._first()
        return self._control

    def borrow(self) -> Channel:
        """Return a channel for data that nobody else uses until C(give_back).

        The first shares the connection, so that it is quick to start. Further ones have connections of their own: one
        connection is encrypted by one processor.
        """
        while self._idle:
            channel = self._idle.pop()
            if channel.error is None and not channel.finished:
                return channel
            self.forget(channel)
        others = any(process is not self.control for process in self._all)
        return self._start(shared=not others)

    def give_back(self, channel: Channel) -> None:
        """Take a borrowed channel back; one with open answers is ended."""
        if channel.unanswered or channel.error is not None:
            self.forget(channel)
        else:
            self._idle.append(channel)

    def deal(
        self, works: Iterable[_Work], prepare: Callable[[Channel], None], send: Callable[[Channel, _Work], None]
    ) -> Iterator[tuple[_Work, Iterator[Frame]]]:
        """Have each work done by one of up to C(streams) channels in turn; yield the answers in the order of the works.

        C(prepare) is called once for each channel. The frames of an answer must be taken before the next one.
        """
        streams = self.peer.settings.streams
        source = iter(works)
        channels: list[Channel] = []
        open_works: deque[tuple[Channel, _Work]] = deque()
        sent = 0
        try:
            while True:
                while len(open_works) < max(1, len(channels)) * _DEPTH:
                    work = next(source, None)
                    if work is None:
                        break
                    if len(channels) < streams and sent >= len(channels) * _GROWTH:
                        channels.append(self.borrow())
                        prepare(channels[-1])
                    channel = channels[sent % len(channels)]
                    send(channel, work)
                    open_works.append((channel, work))
                    sent += 1
                if not open_works:
                    return
                channel, work = open_works.popleft()
                yield work, channel.answer(channels)
        finally:
            for channel in channels:
                self.give_back(channel)

    def share(self) -> Output:
        """Connect without a program of ours, so that the scripts of C(run) are quick to start."""
        self._folder = self._folder or private_folder()
        process = Output(self._command("echo; exec cat", master=True), self.peer)
        self._all.append(process)
        return process

    def run(self, script: str, data: bytes = b"") -> Output:
        """Start a script of ours on the server, with some data as its input."""
        process = Output(self._command(script, master=False), self.peer)
        self._all.append(process)
        process.write(data)
        process.end_input()
        return process

    def close(self) -> None:
        """End all that was started."""
        try:
            # The connection itself ends last.
            for process in reversed(self._all):
                process.end_input()
            while self._all:
                self._all[-1].close()
                self._all.pop()
        finally:
            for process in self._all:
                process.kill()
            self._all, self._idle, self._control = [], [], None
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder = None

    def forget(self, process: Process) -> None:
        """End a process at once. It may have ended with the connection."""
        process.kill()
        if process in self._all:
            self._all.remove(process)

    def open_channels(self) -> list[Channel]:
        """Return the channels that can be asked something now."""
        return [channel for channel in [*self._idle, self._control] if channel is not None and channel.error is None]

    def _first(self) -> Channel:
        if self._folder is None:
            self._folder = private_folder()
        channel = self._start(master=True)
        try:
            channel.ask({"do": "hello"})
        except ServerToolError as error:
            self.forget(channel)
            if _NO_PYTHON in str(error.details.get("output")):
                raise NoPython from error
            raise
        except BaseException:
            self.forget(channel)
            raise
        return channel

    def _start(self, *, master: bool = False, shared: bool = True) -> Channel:
        channel = Channel(self._command(BOOTSTRAP, master=master, shared=shared), program(), self.peer)
        self._all.append(channel)
        return channel

    def _command(self, script: str, *, master: bool, shared: bool = True) -> list[str]:
        settings = self.peer.settings
        control = os.path.join(self._folder, "s") if self._folder and shared else None
        arguments = ssh_arguments(
            settings, self._address, program=self._client, control=control, master=master, only_sha1=self._only_sha1
        )
        return [*arguments, remote_command(settings, script)]


def private_folder() -> str:
    """Return a new directory of ours for a socket, where its path is short enough."""
    for parent in (tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR"), "/tmp", "/dev/shm"):
        if parent and len(os.fsencode(parent)) <= _SOCKET_PATH - 20:
            with contextlib.suppress(OSError):
                return tempfile.mkdtemp(prefix="ovm-ssh-", dir=parent)
    raise ServerToolError("There is no directory for the socket of ssh on this proxy: /tmp must be writable")
