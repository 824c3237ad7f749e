# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Start a simulator that outlives this program, or stop it.

Usage: python simulator.py start DIRECTORY ends-with-play|goes-on OPTION...
       python simulator.py stop DIRECTORY

A started simulator keeps its state in DIRECTORY, its line of JSON is printed. A keeper stays with it and ends it when
it is told to, and with ``ends-with-play`` also when the ansible-playbook that started it has gone. Stopping removes
DIRECTORY; it fails when the simulator reported an error of its own.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

STOP_LIMIT = 10.0  # seconds


def main() -> int:
    """Run as a program."""
    verb, directory = sys.argv[1], Path(sys.argv[2])
    if verb == "start":
        return start(directory, ends_with_play=sys.argv[3] == "ends-with-play", options=sys.argv[4:])
    if verb == "stop":
        return stop(directory)
    return keep(directory, int(sys.argv[3]), sys.argv[4:])


def start(directory: Path, *, ends_with_play: bool, options: list[str]) -> int:
    """Start the keeper and print what the simulator says when it is ready."""
    stop(directory)
    directory.mkdir(parents=True)
    play = playbook() if ends_with_play else 0
    command = [sys.executable, __file__, "keep", str(directory), str(play), *options]
    with log(directory).open("w", encoding="utf-8") as errors:
        keeper = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    pid_file(directory).write_text(f"{keeper.pid}\n", encoding="ascii")
    assert keeper.stdout is not None
    line = keeper.stdout.readline()
    if not line:
        print(log(directory).read_text(encoding="utf-8"), file=sys.stderr)
        return keeper.wait() or 1
    print(line, end="")
    return 0


def stop(directory: Path) -> int:
    """Stop the keeper and with it the simulator; none running is fine."""
    errors = ""
    with contextlib.suppress(FileNotFoundError):
        end(int(pid_file(directory).read_text(encoding="ascii")))
        errors = log(directory).read_text(encoding="utf-8")
    if directory.exists():
        shutil.rmtree(directory)
    print(errors, file=sys.stderr)
    return 1 if "Traceback" in errors else 0


def end(pid: int) -> None:
    """End a keeper and wait until it has gone."""
    with contextlib.suppress(ProcessLookupError):
        process = os.pidfd_open(pid)
        try:
            os.kill(pid, signal.SIGTERM)
            if not gone(process, STOP_LIMIT):
                os.killpg(pid, signal.SIGKILL)
        finally:
            os.close(process)


def gone(process: int, seconds: float) -> bool:
    """Return whether a process ends within some seconds."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def keep(directory: Path, play: int, options: list[str]) -> int:
    """Run the simulator until it ends by itself, somebody ends this keeper, or the playbook has gone."""
    command = [sys.executable, "-m", "simulator", "--state-dir", str(directory / "state"), *options]
    simulator = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    # Whoever reads the line of the simulator shall see the end of it should there be none.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    signal.signal(signal.SIGTERM, lambda _number, _frame: simulator.terminate())
    poll = select.poll()
    poll.register(os.pidfd_open(simulator.pid), select.POLLIN)
    with contextlib.suppress(ProcessLookupError):
        if play:
            poll.register(os.pidfd_open(play), select.POLLIN)
        poll.poll()
    simulator.terminate()
    return simulator.wait()


def playbook() -> int:
    """Return the process id of the ansible-playbook that runs this: the topmost one among our ancestors, else 0."""
    pid, found = os.getppid(), 0
    while pid > 1:
        process = Path(f"/proc/{pid}")
        if b"ansible-playbook" in (process / "cmdline").read_bytes():
            found = pid
        # The name of the program, in parentheses, may hold blanks; the parent is the second field after it.
        pid = int((process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    return found


def pid_file(directory: Path) -> Path:
    """Return the file that holds the process id of the keeper."""
    return directory / "pid"


def log(directory: Path) -> Path:
    """Return the file that takes what the simulator writes to standard error."""
    return directory / "log"


if __name__ == "__main__":
    sys.exit(main())
