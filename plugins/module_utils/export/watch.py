# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Watching a machine that starts, until it is up, has failed, or has taken too long."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import Any, Callable

from ..errors import BootTestError, InvalidInputError
from .qmp import Qmp, QmpEndError, connect
from .screen import TEXT_ADDRESS, TEXT_SIZE, Picture, parse_ppm, screen_text

# What a guest says that will not come up by itself. Searched for in its consoles.
FAILURES = (
    r"Kernel panic - not syncing",
    r"No bootable device",
    r"Boot failed: not a bootable disk",
    r"No operating system found",
    r"Operating system not found",
    r"Missing operating system",
    r"error: no such (device|partition)",
    r"grub rescue>",
    r"dracut:/#",
    r"\(initramfs\)",
    r"You are in emergency mode",
    r"Give root password for maintenance",
    r"INACCESSIBLE_BOOT_DEVICE",
    r"Waiting .* for root device.* failed",
)
_STEP = 0.25
_LOOK = 1.0  # seconds between looks at the screen
_RESETS = 3
_MOST_CONSOLE = 64 * 1024 * 1024


@dataclass(frozen=True)
class Conditions:
    """What counts as up: all that is given. C(screen_seconds): so long the screen has shown the same."""

    pattern: str | None = None
    port: int | None = None
    screen_seconds: float | None = None
    failures: tuple[str, ...] = FAILURES

    def check(self) -> None:
        """Raise C(InvalidInputError) for what cannot be."""
        if self.pattern is None and self.port is None and self.screen_seconds is None:
            raise InvalidInputError("Say what counts as up: one or more of pattern, port and screen_seconds")
        for key, pattern in [("pattern", self.pattern), *(("failure_patterns", one) for one in self.failures)]:
            try:
                re.compile(pattern or "")
            except re.error as error:
                raise InvalidInputError(
                    f"{key} must be a regular expression, and {pattern!r} is none: {error}", key=key, value=pattern
                ) from error
        if self.screen_seconds is not None and not 1 <= self.screen_seconds <= 3600:
            raise InvalidInputError(
                f"screen_seconds must be from 1 to 3600, not {self.screen_seconds:g}",
                key="screen_seconds",
                value=self.screen_seconds,
            )


@dataclass(frozen=True)
class Outcome:
    """How it went, the last screen as PNG, its letters in text mode, and all that came from the serial console."""

    ok: bool
    verdict: str
    screenshot: bytes | None
    text: str
    console: bytes


class Watch:
    """Looks at a machine. C(check) raises what nbdkit has met: a guest only sees a disk that cannot be read."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        qmp_path: str,
        picture_path: str,
        check: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._process = process
        self._picture_path = picture_path
        self._check = check
        self._clock = clock
        self._console = bytearray()
        self._resets = 0
        self._forward: socket.socket | None = None
        if process.stdout is None:
            raise ValueError("the console of the process has to be a pipe")
        self._output = process.stdout.fileno()
        os.set_blocking(self._output, False)
        self._qmp: Qmp = connect(qmp_path, lambda: process.poll() is None)

    def close(self) -> None:
        """Close what is open; the process is somebody else's."""
        if self._forward is not None:
            self._forward.close()
        self._qmp.close()

    def version(self) -> str:
        """Return the version of qemu."""
        found = self._qmp.command("query-version")["qemu"]
        return f"{found['major']}.{found['minor']}.{found['micro']}"

    def wait(self, conditions: Conditions, *, timeout: float) -> Outcome:
        """Return when there is a verdict, or when the time is over."""
        begun = self._clock()
        missing: list[str] = []
        screen = _Screen(conditions.screen_seconds)
        looked = begun - _LOOK
        text = ""
        while True:
            self._check()
            failed = self._failed()
            self._read_console()
            now = self._clock()
            if now - looked >= _LOOK or failed is not None:
                looked = now
                with contextlib.suppress(QmpEndError):
                    text = self._text()
                    screen.add(self._picture(), now)
            seen = f"{self._console.decode('utf-8', 'replace')}\n{text}"
            bad = next((one for one in conditions.failures if re.search(one, seen)), None)
            missing = self._missing(conditions, seen, screen)
            after = f"after {now - begun:.0f} s"
            if not missing:
                return self._outcome(True, f"up {after}: {_told(conditions)}", screen, text)
            if failed is None and bad is not None:
                failed = f"its console says {_found(bad, seen)!r}"
            if failed is not None:
                return self._outcome(False, f"not up {after}: {failed}", screen, text)
            if now - begun >= timeout:
                return self._outcome(False, f"not up {after}: {', '.join(missing)}", screen, text)

    def _outcome(self, ok: bool, verdict: str, screen: _Screen, text: str) -> Outcome:
        self._read_console()
        if not (ok and screen.last is not None and screen.seconds is not None):
            with contextlib.suppress(BootTestError):
                screen.add(self._picture(), self._clock())
                text = self._text()
        picture = screen.last
        return Outcome(ok, verdict, None if picture is None else picture.png(), text, bytes(self._console))

    def _missing(self, conditions: Conditions, seen: str, screen: _Screen) -> list[str]:
        missing = []
        if conditions.pattern is not None and not re.search(conditions.pattern, seen):
            missing.append(f"its consoles do not say {conditions.pattern!r}")
        if conditions.screen_seconds is not None and not screen.stable:
            missing.append("its screen is blank or goes on changing")
        # Asked last, and so only when the rest is there: each question is a connection to the guest.
        if conditions.port is not None and not missing and not self._reached(conditions.port):
            missing.append(f"it does not answer on port {conditions.port}")
        elif conditions.port is not None and missing:
            missing.append(f"its port {conditions.port} was not tried")
        return missing

    # --- qemu --------------------------------------------------------------------------------------------------------

    def _failed(self) -> str | None:
        """Wait a moment for events; return why the machine cannot come up any more."""
        try:
            events = self._qmp.events(_STEP)
        except BootTestError as error:
            self._process.wait(5)
            raise BootTestError(f"qemu has ended with status {self._process.returncode}") from error
        for event in events:
            if event["event"] == "RESET" and event.get("data", {}).get("guest"):
                self._resets += 1
            elif event["event"] == "SHUTDOWN":
                return "it has shut itself down"
            elif event["event"] in ("STOP", "GUEST_PANICKED"):
                status = self._qmp.command("query-status").get("status")
                if status == "internal-error":
                    return "the processor's virtualization failed (internal error): use the accelerator tcg"
                if status not in ("running", "shutdown"):
                    return f"the machine has stopped ({status})"
        return f"it has started over {self._resets} times" if self._resets > _RESETS else None

    def _picture(self) -> Picture | None:
        self._qmp.command("screendump", filename=self._picture_path)
        try:
            with open(self._picture_path, "rb") as file:
                return parse_ppm(file.read())
        except (OSError, ValueError):
            return None
        finally:
            with contextlib.suppress(OSError):
                os.unlink(self._picture_path)

    def _text(self) -> str:
        path = f"{self._picture_path}.text"
        try:
            self._qmp.command("pmemsave", val=TEXT_ADDRESS, size=TEXT_SIZE, filename=path)
            with open(path, "rb") as file:
                return screen_text(file.read())
        except (OSError, QmpEndError):
            return ""
        except BootTestError:
            return ""
        finally:
            with contextlib.suppress(OSError):
                os.unlink(path)

    def _read_console(self) -> None:
        while True:
            try:
                piece = os.read(self._output, 65536)
            except BlockingIOError:
                return
            if not piece:
                return
            if len(self._console) < _MOST_CONSOLE:
                self._console += piece

    def _reached(self, port: int) -> bool:
        """Return whether the guest has taken a connection.

        Qemu takes it at once in the guest's place, so only what it says of the guest's side of it counts.
        """
        if self._forward is None:
            found = self._connections("HOST_FORWARD", port)
            if not found:
                return False
            self._forward = socket.create_connection(("127.0.0.1", found[0]), 5)
            self._forward.setblocking(False)
            return False
        if self._connections("(?:ESTABLISHED|CLOSE_WAIT)", port) or self._has_data(self._forward):
            return True
        if not any(self._connections(state, port) for state in ("SYN_SENT", "SYN_RCVD")):
            self._forward.close()  # refused: not yet
            self._forward = None
        return False

    @staticmethod
    def _has_data(forward: socket.socket) -> bool:
        """Return whether the guest has said something before it closed the connection."""
        try:
            return bool(forward.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def _connections(self, state: str, port: int) -> list[int]:
        """Return the ports of this host whose connections to a port of the guest are in a state."""
        told: Any = self._qmp.command("human-monitor-command", **{"command-line": "info usernet"})
        pattern = rf"TCP\[{state}\]\s+\S+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+{port}\s"
        return [int(found) for found in re.findall(pattern, str(told))]


class _Screen:
    """The last picture, and since when it is the same."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.last: Picture | None = None
        self._since = 0.0
        self._now = 0.0

    def add(self, picture: Picture | None, now: float) -> None:
        if picture is None:
            return
        if self.last is None or not picture.is_like(self.last):
            self._since = now
        self.last, self._now = picture, now

    @property
    def stable(self) -> bool:
        lasted = self._now - self._since
        return self.seconds is not None and self.last is not None and not self.last.blank and lasted >= self.seconds


def _told(conditions: Conditions) -> str:
    told = []
    if conditions.pattern is not None:
        told.append(f"its consoles say {conditions.pattern!r}")
    if conditions.port is not None:
        told.append(f"it answers on port {conditions.port}")
    if conditions.screen_seconds is not None:
        told.append(f"its screen has been the same for {conditions.screen_seconds:g} s")
    return ", ".join(told)


def _found(pattern: str, seen: str) -> str:
    match = re.search(pattern, seen)
    return match[0] if match is not None else pattern
